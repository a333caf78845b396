import Glibc
import SystemPackage

/// A call of the system that failed.
public struct SystemError: Error, Sendable, CustomStringConvertible {
    /// What was tried: a call, or a phrase.
    public let what: String
    /// Why it failed.
    public let errno: Errno
    /// Whether this machine, or what this process may use of it, cannot give what was asked for.
    public let isUnavailable: Bool

    /// Takes the calling thread's errno unless `errno` is given.
    public init(_ what: String, _ errno: Errno = Errno(rawValue: Glibc.errno), isUnavailable: Bool = false) {
        (self.what, self.errno, self.isUnavailable) = (what, errno, isUnavailable)
    }

    /// What failed and why.
    public var description: String { "\(what): \(errno)" }
}

/// The calling thread's errno, for modules that do not import Glibc.
public func errnoNow() -> CInt { errno }
