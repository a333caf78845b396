import PacketFSEngine
import PacketFSMemory
import PacketFSPCPU
// What a tool needs of processes comes with this module.
@_exported import PacketFSProcess

/// Exit codes of every tool, after sysexits(3). A run ended by a signal exits with 128 plus its number.
public enum ToolExit: Int32, Sendable {
    /// The work is done.
    case done = 0
    /// Something on the command line is wrong.
    case usage = 64
    /// A result differs from its recomputation.
    case verificationFailed = 65
    /// An input is missing or cannot be read.
    case noInput = 66
    /// This machine cannot give what was asked for.
    case unavailable = 69
    /// The system failed: a call, or a process of the run that died.
    case system = 71
    /// An output cannot be created.
    case cannotCreate = 73
    /// Reading or writing failed midway.
    case io = 74
    /// The caller lacks a permission.
    case permission = 77
}

/// An error that ends a tool: a message for people (what, where, what to do) and an exit code.
public struct ToolError: Error, Sendable, CustomStringConvertible {
    /// The exit code.
    public let exit: ToolExit
    /// The message, without the tool's name and without a final full stop.
    public let description: String

    /// Makes an error.
    public init(_ exit: ToolExit, _ description: String) {
        self.exit = exit
        self.description = description
    }
}

extension ToolError {
    /// Gives any error of the libraries its exit code.
    public init(any error: any Error) {
        switch error {
        case let error as ToolError: self = error
        case let error as MemoryError: self.init(Self.exit(for: error), error.description)
        case let error as SystemError: self.init(error.isUnavailable ? .unavailable : .system, error.description)
        case let error as ISAError: self.init(error.isUnknownName ? .usage : .unavailable, error.description)
        case EngineError.tooFewDescriptors: self.init(.unavailable, "--pcores: \(error)")
        case let error as EngineError: self.init(Self.exit(for: error), error.description)
        default: self.init(.system, "\(error)")
        }
    }

    private static func exit(for error: EngineError) -> ToolExit {
        switch error {
        case .invalid: .usage
        case .tooFewDescriptors: .unavailable
        case .inputEnded, .readingInput, .writingOutput: .io
        case .ended, .rejected, .damaged: .system
        }
    }

    private static func exit(for error: MemoryError) -> ToolExit {
        switch error {
        case .shortage, .unavailable, .notUsable: .unavailable
        case .invalid, .outOfRange: .usage
        case .inputTooShort: .io
        case .system(_, _, .permissionDenied), .system(_, _, .notPermitted): .permission
        case .system(_, _, .noSuchFileOrDirectory), .system(_, _, .notDirectory): .noInput
        case .system: .system
        }
    }
}

extension ISAError {
    fileprivate var isUnknownName: Bool {
        if case .unknown = self { true } else { false }
    }
}

extension ToolError {
    /// Runs `body`; an error that it throws gets its exit code.
    public static func coded<Result>(_ body: () throws -> Result) throws(ToolError) -> Result {
        do { return try body() } catch { throw ToolError(any: error) }
    }
}
