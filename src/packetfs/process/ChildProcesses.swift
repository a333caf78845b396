import CPacketFSShims
import Glibc
import SystemPackage

/// How a child process ended.
public enum ChildEnd: Sendable, Equatable, CustomStringConvertible {
    /// By itself, with this exit code.
    case exited(Int32)
    /// By a signal.
    case killed(signal: Int32)

    init(waitStatus status: Int32) {
        let signal = status & 0x7F
        self = signal == 0 ? .exited((status >> 8) & 0xFF) : .killed(signal: signal)
    }

    /// A phrase to follow a process's name.
    public var description: String {
        switch self {
        case .exited(let code): "ended with exit code \(code)"
        case .killed(let signal): "was killed by signal \(signal) (\(String(cString: strsignal(signal))))"
        }
    }
}

/// The child processes of a run. Whatever happens, none of them outlives this owner.
///
/// Liveness comes from the kernel: each child has a pidfd that becomes readable when it ends. Not thread-safe: one thread
/// starts, watches and ends the children (the kernel's parent-death signal is tied to the thread that started a child).
public struct ChildProcesses: ~Copyable {
    private struct Child {
        let pid: pid_t
        let pidfd: FileDescriptor
    }

    private var children: [Int: Child] = [:]
    private var pollSet: [pollfd] = []
    private var pollIndices: [Int] = []

    /// Without children.
    public init() {}

    deinit {
        // Reached only on an error's way out: an orderly run has waited for every child already.
        for child in children.values {
            kill(child.pid, SIGKILL)
            Self.reap(child.pid)
            try? child.pidfd.close()
        }
    }

    /// A child that has ended.
    public struct Ended {
        /// The number that it was started under.
        public let index: Int
        /// Its process number, which may by now belong to another.
        public let pid: pid_t
        /// How it ended.
        public let end: ChildEnd
    }

    /// The number of children that have not been seen to end.
    public var count: Int { children.count }

    /// Starts this executable again in `role` with `arguments`, inheriting `descriptors` (at their numbers) and the standard three.
    public mutating func start(
        _ index: Int, as role: ChildRole, arguments: [String], descriptors: [FileDescriptor]
    ) throws(SystemError) {
        func check(_ result: Int32, _ call: String) throws(SystemError) {
            guard result == 0 else {
                throw SystemError(
                    "cannot start process \(index) (check `ulimit -u` and `ulimit -n`): \(call)",
                    Errno(rawValue: result))
            }
        }
        var actions = posix_spawn_file_actions_t()
        try check(posix_spawn_file_actions_init(&actions), "posix_spawn_file_actions_init")
        defer { posix_spawn_file_actions_destroy(&actions) }
        // Every descriptor of ours is close-on-exec; a dup2 onto itself clears that in the child alone.
        for descriptor in descriptors {
            try check(
                posix_spawn_file_actions_adddup2(&actions, descriptor.rawValue, descriptor.rawValue),
                "posix_spawn_file_actions_adddup2")
        }
        var attributes = posix_spawnattr_t()
        try check(posix_spawnattr_init(&attributes), "posix_spawnattr_init")
        defer { posix_spawnattr_destroy(&attributes) }
        // Ctrl-C, a terminal that closes and many a launcher reach the whole process group; only the parent acts on that, so that
        // the figures are complete and no child's end is mistaken for a fault.
        var mask = sigset_t()
        sigemptyset(&mask)
        for signal in [SIGINT, SIGTERM, SIGHUP] { sigaddset(&mask, signal) }
        try check(posix_spawnattr_setsigmask(&attributes, &mask), "posix_spawnattr_setsigmask")
        try check(posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK)), "posix_spawnattr_setflags")

        var pid: pid_t = 0
        var argv = ([CommandLine.arguments[0], role.word] + arguments).map { strdup($0) } + [nil]
        defer { for argument in argv { free(argument) } }
        try check(posix_spawn(&pid, "/proc/self/exe", &actions, &attributes, &argv, environ), "posix_spawn")
        let pidfd = pfs_pidfd_open(pid)
        guard pidfd >= 0 else {
            let reason = errno
            kill(pid, SIGKILL)
            Self.reap(pid)
            throw SystemError("pidfd_open (Linux 5.3 or later is needed)", Errno(rawValue: reason))
        }
        children[index] = Child(pid: pid, pidfd: FileDescriptor(rawValue: pidfd))
        pollSet.append(pollfd(fd: pidfd, events: Int16(POLLIN), revents: 0))
        pollIndices.append(index)
    }

    /// Children that have ended since the last call, reaped. Waits at most `timeout` milliseconds for the first one.
    public mutating func collectEnded(timeout: Int32 = 0) -> [Ended] {
        guard !pollSet.isEmpty, poll(&pollSet, nfds_t(pollSet.count), timeout) > 0 else { return [] }
        var ended: [Ended] = []
        for position in pollSet.indices.reversed() where pollSet[position].revents != 0 {
            let index = pollIndices[position]
            pollSet.remove(at: position)
            pollIndices.remove(at: position)
            guard let child = children.removeValue(forKey: index) else { continue }
            ended.append(Ended(index: index, pid: child.pid, end: Self.reap(child.pid)))
            try? child.pidfd.close()
        }
        return ended.reversed()
    }

    /// Sends a signal to every child that has not been seen to end.
    public func ask(_ signal: Int32) {
        for child in children.values { kill(child.pid, signal) }
    }

    /// Waits until every child has ended, and kills those that have not after `grace` nanoseconds.
    ///
    /// - Returns: how each ended, and process numbers of those that had to be killed.
    public mutating func finish(grace: UInt64) -> (ends: [Ended], forced: Set<pid_t>) {
        let deadline = Clock.monotonic() + grace
        var ends: [Ended] = []
        var forced: Set<pid_t> = []
        while !children.isEmpty {
            if forced.isEmpty, Clock.monotonic() >= deadline {
                forced = Set(children.values.map(\.pid))
                for child in children.values { kill(child.pid, SIGKILL) }
            }
            ends += collectEnded(timeout: 20)
        }
        return (ends, forced)
    }

    @discardableResult
    private static func reap(_ pid: pid_t) -> ChildEnd {
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
        return ChildEnd(waitStatus: status)
    }
}
