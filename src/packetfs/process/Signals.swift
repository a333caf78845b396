import CPacketFSShims
import Glibc
import SystemPackage

/// SIGINT, SIGTERM and SIGHUP as something to ask for instead of something that strikes.
///
/// While an instance lives the three are blocked in the calling thread (make it before any other thread starts) and are
/// read from a signalfd; afterwards they act as before. ``take()`` may be called from any thread.
public final class TerminationSignals: Sendable {
    private let descriptor: FileDescriptor
    private let previousMask: sigset_t

    /// Blocks the three signals in the calling thread and opens the signalfd.
    public init() throws(SystemError) {
        var mask = sigset_t()
        sigemptyset(&mask)
        for signal in [SIGINT, SIGTERM, SIGHUP] { sigaddset(&mask, signal) }
        var previous = sigset_t()
        pthread_sigmask(SIG_BLOCK, &mask, &previous)
        let raw = pfs_signalfd(&mask)
        guard raw >= 0 else { throw SystemError("signalfd") }
        descriptor = FileDescriptor(rawValue: raw)
        previousMask = previous
    }

    deinit {
        try? descriptor.close()
        var mask = previousMask
        pthread_sigmask(SIG_SETMASK, &mask, nil)
    }

    /// The number of the next signal that has arrived, or nil.
    public func take() -> Int32? {
        let signal = pfs_signalfd_read(descriptor.rawValue)
        return signal == 0 ? nil : signal
    }
}

/// A signal asked a run to end before it had anything to report.
public struct Interrupted: Error, Sendable {
    /// Its number.
    public let signal: Int32

    /// Says which signal.
    public init(signal: Int32) { self.signal = signal }
}
