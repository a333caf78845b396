/// A value in a report. What is absent is null in JSON and empty in CSV.
package enum ReportValue: Encodable, Equatable {
    case absent
    case flag(Bool)
    case integer(Int64)
    case unsigned(UInt64)
    case number(Double)
    case text(String)
    case list([ReportValue])
    case object([Field])

    package struct Field: Equatable {
        let key: String
        let value: ReportValue
    }

    private struct Key: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    /// The only encoder of reports: everything that tools report comes through here.
    package func encode(to encoder: any Encoder) throws {
        switch self {
        case .object(let fields):
            var box = encoder.container(keyedBy: Key.self)
            for field in fields { try box.encode(field.value, forKey: Key(stringValue: field.key)) }
        case .list(let values):
            var box = encoder.unkeyedContainer()
            for value in values { try box.encode(value) }
        default:
            var box = encoder.singleValueContainer()
            switch self {
            case .flag(let value): try box.encode(value)
            case .integer(let value): try box.encode(value)
            case .unsigned(let value): try box.encode(value)
            // JSON knows no infinity.
            case .number(let value) where value.isFinite: try box.encode(value)
            case .text(let value): try box.encode(value)
            default: try box.encodeNil()
            }
        }
    }

    /// The value as a cell of a table with `separator` between cells, quoted where it must be. Lists have blanks between their elements.
    package func cell(separator: Character = ",") -> String {
        switch self {
        case .absent, .object: return ""
        case .flag(let value): return "\(value)"
        case .integer(let value): return "\(value)"
        case .unsigned(let value): return "\(value)"
        case .number(let value): return "\(value)"
        case .list(let values): return values.map { $0.cell(separator: separator) }.joined(separator: " ")
        case .text(let value):
            let isPlain = !value.contains { $0 == separator || "\"\n\r".contains($0) }
            return isPlain ? value : "\"" + value.replacing("\"", with: "\"\"") + "\""
        }
    }
}

/// What can stand in a report.
package protocol Reportable {
    var reportValue: ReportValue { get }
    /// The fields of an object, or of each object in a list; empty for plain values.
    static var reportFields: [FieldDescription] { get }
}

extension Reportable {
    package static var reportFields: [FieldDescription] { [] }
}

/// A count or a size. Options and the length of runs keep it below 2^53, which JSON numbers hold everywhere; what uses all 64 bits
/// is a ``Word``.
extension UInt64: Reportable { package var reportValue: ReportValue { .unsigned(self) } }
extension Int: Reportable { package var reportValue: ReportValue { .integer(Int64(self)) } }
extension Int32: Reportable { package var reportValue: ReportValue { .integer(Int64(self)) } }
extension UInt32: Reportable { package var reportValue: ReportValue { .unsigned(UInt64(self)) } }
extension UInt16: Reportable { package var reportValue: ReportValue { .unsigned(UInt64(self)) } }
extension Double: Reportable { package var reportValue: ReportValue { .number(self) } }
extension Bool: Reportable { package var reportValue: ReportValue { .flag(self) } }
extension String: Reportable { package var reportValue: ReportValue { .text(self) } }

/// A number that uses all of 64 bits, such as a seed or the value of an operation: a decimal string.
package struct Word: Reportable {
    let value: UInt64
    package init(_ value: UInt64) { self.value = value }
    package var reportValue: ReportValue { .text("\(value)") }
}

/// A number with so many decimals, for tables.
package struct Rounded: Reportable {
    let value: Double, places: Int
    package init(_ value: Double, _ places: Int) { (self.value, self.places) = (value, places) }
    package var reportValue: ReportValue { .text(decimals(value, places)) }
}

extension Optional: Reportable where Wrapped: Reportable {
    package var reportValue: ReportValue { self?.reportValue ?? .absent }
    package static var reportFields: [FieldDescription] { Wrapped.reportFields }
}

extension Array: Reportable where Element: Reportable {
    package var reportValue: ReportValue { .list(map(\.reportValue)) }
    package static var reportFields: [FieldDescription] {
        Element.reportFields.map {
            FieldDescription(path: "[]" + ($0.path.hasPrefix("[]") ? "" : ".") + $0.path, meaning: $0.meaning)
        }
    }
}
