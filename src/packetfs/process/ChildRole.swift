import CPacketFSShims
import Glibc
import SystemPackage

/// What an executable that starts itself again is to be in the new process.
///
/// Swift has no `fork`. A process with a role has the role's word as its first argument; everything that it shares with its parent
/// it inherits as open descriptors, whose numbers are among the arguments behind that word (``ChildProcesses``).
public struct ChildRole: Sendable {
    /// The first argument of such a process.
    public let word: String

    /// A role; the word begins with two underscores, so that it is no argument of a user's.
    public init(_ word: String) { self.word = word }

    /// In a process that was started in this role: runs `body` with the arguments behind the word and ends the process, with code 0
    /// or the one that `failed` makes of an error. Elsewhere it returns at once.
    ///
    /// - Parameters:
    ///   - deathSignal: what the kernel sends to this process when its parent dies, however that happens.
    ///   - body: what such a process does.
    ///   - failed: is given what `body` threw.
    public func run(
        deathSignal: Int32 = SIGKILL, _ body: ([String]) throws -> Void, failed: (any Error) -> Int32
    ) {
        guard CommandLine.arguments.count > 1, CommandLine.arguments[1] == word else { return }
        do {
            guard pfs_set_parent_death_signal(deathSignal) == 0 else { throw SystemError("prctl(PR_SET_PDEATHSIG)") }
            try body(Array(CommandLine.arguments.dropFirst(2)))
        } catch {
            exit(failed(error))
        }
        exit(0)
    }
}
