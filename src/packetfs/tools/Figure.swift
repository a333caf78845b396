/// One figure of a report: how it is called in JSON and CSV, what it means, how to get it from `Source`, and the line of the summary
/// that tells it to people.
package struct Figure<Source> {
    package let key: String
    let meaning: String
    let nested: [FieldDescription]
    let value: (Source) -> ReportValue
    private let lines: (Source) -> [String]

    /// Makes a figure.
    ///
    /// - Parameters:
    ///   - key: in snake case, with the unit where it has one.
    ///   - meaning: for the documentation; a phrase.
    ///   - value: gets it; null where it is absent.
    ///   - label: what the line of the summary begins with; the key unless given.
    ///   - text: the rest of that line; nil where there is to be none.
    package init<Value: Reportable>(
        _ key: String, _ meaning: String, _ value: @escaping (Source) -> Value, label: String? = nil,
        text: @escaping (Source) -> String? = { _ in nil }
    ) {
        self.init(key, meaning, value) { source in text(source).map { [(label ?? key, $0)] } ?? [] }
    }

    /// The same with any number of lines in the summary: their labels and the rest.
    package init<Value: Reportable>(
        _ key: String, _ meaning: String, _ value: @escaping (Source) -> Value,
        lines: @escaping (Source) -> [(label: String, text: String)]
    ) {
        self.key = key
        self.meaning = meaning
        nested = Value.reportFields
        self.value = { value($0).reportValue }
        self.lines = { lines($0).map { summaryLine($0.label, $0.text) } }
    }

    private init<Inner>(_ inner: Figure<Inner>, of part: @escaping (Source) -> Inner) {
        (key, meaning, nested) = (inner.key, inner.meaning, inner.nested)
        value = { inner.value(part($0)) }
        lines = { inner.lines(part($0)) }
    }

    /// Its lines of the summary.
    func summary(_ source: Source) -> [String] { lines(source) }

    /// The figures of a part as figures of the whole.
    package static func from<Inner>(
        _ part: @escaping (Source) -> Inner, _ figures: [Figure<Inner>]
    ) -> [Figure<Source>] {
        figures.map { Figure($0, of: part) }
    }

}

/// A line of a summary: a label and what it is about, in columns.
package func summaryLine(_ label: String, _ text: String) -> String {
    "  " + label + String(repeating: " ", count: max(1, 12 - label.count)) + text
}

/// Collects figures in the order in which they are written.
@resultBuilder
package enum FigureList<Source> {
    package static func buildExpression(_ figure: Figure<Source>) -> [Figure<Source>] { [figure] }
    package static func buildExpression(_ figures: [Figure<Source>]) -> [Figure<Source>] { figures }
    package static func buildBlock(_ parts: [Figure<Source>]...) -> [Figure<Source>] { parts.flatMap { $0 } }
}

/// An object in a report, described by its figures. JSON, summary, CSV and the tables of fields in the documentation are made from
/// them.
package protocol ReportObject: Reportable {
    @FigureList<Self> static var figures: [Figure<Self>] { get }
}

extension ReportObject {
    package var reportValue: ReportValue {
        .object(Self.figures.map { .init(key: $0.key, value: $0.value(self)) })
    }

    package static var reportFields: [FieldDescription] {
        figures.flatMap { figure in
            [FieldDescription(path: figure.key, meaning: figure.meaning)]
                + figure.nested.map {
                    FieldDescription(
                        path: figure.key + ($0.path.hasPrefix("[]") ? "" : ".") + $0.path, meaning: $0.meaning)
                }
        }
    }

    /// The lines of the summary, in the order of the figures.
    package var summaryLines: [String] { Self.figures.flatMap { $0.summary(self) } }

    /// The keys of all figures, with `separator` between them.
    package static func header(separator: Character = ",") -> String {
        figures.map(\.key).joined(separator: String(separator))
    }

    /// A line for each row, with the values in the order of ``header(separator:)``.
    package static func lines(_ rows: [Self], separator: Character = ",") -> String {
        let figures = figures
        var text = ""
        for row in rows {
            text += figures.map { $0.value(row).cell(separator: separator) }.joined(separator: String(separator)) + "\n"
        }
        return text
    }
}

/// One field of a report, for the documentation.
package struct FieldDescription: Equatable {
    /// Where it stands, such as `result.pcores[].cpu`.
    package let path: String
    package let meaning: String
}
