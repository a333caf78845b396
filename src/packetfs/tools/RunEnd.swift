/// Why a run ended.
package enum RunEnd: Codable, Equatable, Sendable, Reportable, CustomStringConvertible {
    /// Everything that was asked for is done.
    case count
    /// Its time was over.
    case duration
    /// The sender said that there is no more.
    case end
    /// Nothing came any more.
    case idle
    case signal(Int32)

    /// `signal N`, or the case's name.
    package var description: String {
        switch self {
        case .count: "count"
        case .duration: "duration"
        case .end: "end"
        case .idle: "idle"
        case .signal(let number): "signal \(number)"
        }
    }

    /// What a tool exits with if nothing else is wrong: 0, or 128 plus the signal, as if that had struck.
    package var exitStatus: Int32 {
        if case .signal(let number) = self { 128 + number } else { ToolExit.done.rawValue }
    }

    package var reportValue: ReportValue { .text(description) }
}
