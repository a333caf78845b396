import Glibc
import SystemPackage

extension FileDescriptor {
    /// Writes `text` and a newline in one call, so that lines of several processes do not mix. Errors are ignored: there
    /// is nowhere left to report them.
    public func writeLine(_ text: String) {
        _ = try? writeAll((text + "\n").utf8)
    }

    /// Whether this is a terminal.
    public var isTerminal: Bool { isatty(rawValue) == 1 }
}
