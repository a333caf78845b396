import SystemPackage

/// Why work in many processes could not be done. Errors of memory and rings come as those libraries' own.
public enum EngineError: Error, Sendable, CustomStringConvertible {
    /// What was asked for cannot be done: a phrase that says why.
    case invalid(String)
    /// So many open descriptors are needed for `processes`, and the limit that this process may have is lower.
    case tooFewDescriptors(processes: Int, needed: UInt64, limit: UInt64)
    /// The input became shorter while it was read.
    case inputEnded
    /// The input cannot be read.
    case readingInput(Errno)
    /// The output cannot be written.
    case writingOutput(Errno)
    /// A process died or had to be killed: the work is not complete.
    case ended(RunFault)
    /// Records were out of bounds although none of this engine's is: somebody else wrote to the shared memory.
    case rejected(records: UInt64)
    /// What a pcore process was given to start with is not what it must be.
    case damaged(String)

    /// What happened.
    public var description: String {
        switch self {
        case .invalid(let what), .damaged(let what): what
        case .tooFewDescriptors(let processes, let needed, let limit):
            "\(processes) processes need \(needed) open descriptors, the limit is \(limit); raise it with `ulimit -Hn \(needed)`"
        case .inputEnded: "the input became shorter while it was read"
        case .readingInput(let errno): "cannot read the input: \(errno)"
        case .writingOutput(let errno): "cannot write the output: \(errno)"
        case .ended(let fault): "\(fault): the work is not complete"
        case .rejected(let records): "\(records) records were out of bounds: shared memory was corrupted"
        }
    }
}
