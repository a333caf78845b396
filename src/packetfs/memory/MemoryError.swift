import SystemPackage

/// Why memory could not be made, opened, mapped or filled. Each case carries what is needed to act on it;
/// ``description`` is a message for people.
public enum MemoryError: Error, Sendable, Hashable {
    /// This machine has too little of something, counted in `unit`s: huge pages, memory, room in a tmpfs.
    /// `remedy` is a command, or an advice, that fixes it.
    case shortage(of: String, needed: Int, free: Int, unit: String, remedy: String)
    /// This machine does not have `what` at all, or has it switched off.
    case unavailable(what: String, remedy: String)
    /// The system call `call` failed on `subject`.
    case system(call: String, subject: String, errno: Errno)
    /// The bytes `lowerBound..<upperBound` (counted from the start of `what`) do not lie in its `limit` bytes.
    case outOfRange(what: String, lowerBound: Int, upperBound: Int, limit: Int)
    /// A file or descriptor that was handed over cannot be used as shared memory.
    case notUsable(subject: String, reason: String)
    /// A file ended before the bytes asked for: `needed` from `fileOffset` on, only `got` were there.
    case inputTooShort(fileOffset: Int64, needed: Int, got: Int)
    /// An argument has no meaning here whatever the machine offers: a size of 0, a name with a slash.
    case invalid(argument: String, value: String, reason: String)
}

extension MemoryError: CustomStringConvertible {
    /// One or two sentences: what was wrong, where, and what to do.
    public var description: String {
        switch self {
        case .shortage(let resource, let needed, let free, let unit, let remedy):
            "not enough \(resource): needed \(needed) \(unit), free \(free); \(remedy)"
        case .unavailable(let what, let remedy):
            "not available here: \(what); \(remedy)"
        case .system(let call, let subject, let errno):
            "\(call) failed on \(subject): \(errno) (errno \(errno.rawValue))"
        case .outOfRange(let what, let lower, let upper, let limit):
            "bytes \(lower)..<\(upper) are outside the \(what), which has \(limit) bytes"
        case .notUsable(let subject, let reason):
            "\(subject) cannot be used as shared memory: \(reason)"
        case .inputTooShort(let offset, let needed, let got):
            "the file is too short: needed \(needed) bytes from offset \(offset), found \(got)"
        case .invalid(let argument, let value, let reason):
            "\(argument) \(value) is not valid: \(reason)"
        }
    }
}

extension MemoryError {
    /// The error of the C call that has just failed in this thread; read before anything else can change `errno`.
    static func last(_ call: String, _ subject: String) -> MemoryError {
        .system(call: call, subject: subject, errno: .current)
    }
}
