import FoundationEssentials

/// The one JSON document that a tool prints with `--json`: the fields that all tools share around what each reports.
///
/// Units are in the names; MB is 10^6 bytes. Counts that may exceed 2^53 are decimal strings, because JSON numbers do not
/// hold 64 bits everywhere. Described in docs/reports.md.
public struct ToolReport<Config: Encodable, Result: Encodable>: Encodable {
    private let schemaVersion = 1
    private let tool: String
    private let version = PacketFSVersion.current
    private let config: Config
    private let machine = MachineInfo()
    private let result: Result
    private let warnings: [String]

    /// Puts a report together, with the present machine's description.
    ///
    /// - Parameters:
    ///   - tool: the executable's name.
    ///   - config: what was asked for, defaults included.
    ///   - result: what came out.
    ///   - warnings: what makes the result weak or surprising, as told on standard error.
    public init(tool: String, config: Config, result: Result, warnings: [String]) {
        self.tool = tool
        self.config = config
        self.result = result
        self.warnings = warnings
    }

    /// The document as text: keys in snake case, sorted.
    public func text() throws -> String {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(self), as: UTF8.self)
    }
}
