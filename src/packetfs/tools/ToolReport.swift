import FoundationEssentials
import SystemPackage

/// The report of a tool: what was asked for, what came out, and what makes that weak. docs/reports.md describes the document.
package struct ToolReport<Config: ReportObject, Result: ReportObject>: ReportObject {
    private let tool: String
    private let config: Config
    package let result: Result
    private let warnings: [String]
    private let machine = MachineInfo()

    package init(tool: String, config: Config, result: Result, warnings: [String]) {
        self.tool = tool
        self.config = config
        self.result = result
        self.warnings = warnings
    }

    package static var figures: [Figure<Self>] {
        Figure("schema_version", "increases when a field changes its meaning or goes") { _ in reportSchemaVersion }
        Figure("tool", "the executable", \.tool)
        Figure("version", "its version") { _ in PacketFSVersion.current }
        Figure("config", "the run as it was understood, defaults included", \.config)
        Figure("machine", "where it ran", \.machine)
        Figure("result", "what came out", \.result)
        Figure("warnings", "sentences that are also printed on standard error", \.warnings)
    }

    /// The document as text, keys sorted.
    package func json() throws(ToolError) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        do {
            return String(decoding: try encoder.encode(reportValue), as: UTF8.self)
        } catch {
            throw ToolError(.system, "cannot encode the report: \(error)")
        }
    }

    /// Writes the document or, for people, a title over the summary's lines; nothing without a title. Tells the warnings on standard
    /// error, unless they have been told already.
    package func write(
        json isJSON: Bool, title: @autoclosure () -> String?, tellsWarnings: Bool = true,
        to target: FileDescriptor = .standardOutput
    ) throws(ToolError) {
        if tellsWarnings {
            for warning in warnings { FileDescriptor.standardError.writeLine("\(tool): warning: \(warning)") }
        }
        if isJSON { return try CommandLineTool.write(json(), to: target) }
        guard let title = title() else { return }
        try CommandLineTool.write(([title] + result.summaryLines).joined(separator: "\n"), to: target)
    }
}

/// The version of all reports' schema.
private let reportSchemaVersion = 2

/// The fields of one kind of report, for docs/reports.md.
package struct ReportDescription {
    package let name: String
    package let fields: [FieldDescription]

    /// The fields of a tool's `config` and `result`; what all tools have in common is left out.
    package init<Config: ReportObject, Result: ReportObject>(
        _ name: String, _ config: Config.Type, _ result: Result.Type
    ) {
        self.name = name
        fields = [("config.", Config.reportFields), ("result.", Result.reportFields)].flatMap { prefix, fields in
            fields.map { FieldDescription(path: prefix + $0.path, meaning: $0.meaning) }
        }
    }

    /// The columns of a file.
    package init<Row: ReportObject>(_ name: String, columns row: Row.Type) {
        self.name = name
        fields = Row.reportFields
    }

    /// A heading and a table in Markdown.
    package var markdown: String {
        (["### \(name)", "", "| Field | Meaning |", "|---|---|"]
            + fields.map { "| `\($0.path)` | \($0.meaning) |" }).joined(separator: "\n")
    }
}
