import CPacketFSShims
import Glibc
import Synchronization

/// The sleep and wake handshake over one shared word: 1 while somebody sleeps on it or is about to, otherwise 0.
///
///     sleeper                               ringer
///     arm:    word = 1                      publishes what the sleeper waits for
///             full fence [F1]               ring:   full fence [F2]
///     looks again for what it waits for             word == 1 ? word = 0, wake : nothing
///     sleep:  until woken, while word == 1
///     disarm: word = 0
///
/// [F1] pairs with [F2]: one of the two fences comes first. If [F1] does, the ringer sees the armed word and wakes; if
/// [F2] does, the sleeper's second look finds what was published and it does not sleep. With anything less than a full
/// fence on *both* sides, each store could still wait in its processor's buffer while the other side looks: a wake-up
/// would be lost. The kernel closes the last gap, between the second look and sleeping, by sleeping only while the word
/// is still 1.
///
/// theoretical/ring/ring.pml models this; its steps are S1 and S2 (arm), S3 (look again), S4 and S5 (sleep), S6 (disarm), and
/// R1 (fence), R2 (look at the word), R3 (take it) and R4 (wake).
///
/// One sleeper at a time; any number of ringers, in any processes. Whoever writes nonsense into the word causes wake-ups
/// for nothing or a sleep that lasts to its timeout, nothing else.
public struct Doorbell: @unchecked Sendable {
    // Unchecked: the pointer is only ever used for atomic access, which any thread may do.
    @usableFromInline let word: UnsafeMutablePointer<Atomic<UInt32>>
    /// What sleeping and waking go through where the word's memory carries no futex.
    private let device: DeviceDoorbell?

    /// How a sleep ended.
    public enum WakeReason: Sendable, Hashable {
        /// Somebody rang, or the bell was not armed any more, or for no reason at all: look again.
        case rung
        /// The time was over.
        case timedOut
        /// A signal handler ran.
        case interrupted
    }

    /// Uses the word at `word`, which must be 0 at first, and mapped (shared, if the two sides are processes) as long as
    /// the doorbell is in use.
    public init(_ word: UnsafeMutablePointer<Atomic<UInt32>>) {
        self.init(word, device: nil)
    }

    /// Uses the word at `word` of the mapping of a device, or with nil of other shared memory.
    init(_ word: UnsafeMutablePointer<Atomic<UInt32>>, device: DeviceDoorbell?) {
        self.word = word
        self.device = device
    }

    /// Announces a sleep. The sleeper must then look once more for what it waits for, and only sleep if it is not there.
    public func arm() {
        word.pointee.store(1, ordering: .relaxed)
        atomicMemoryFence(ordering: .sequentiallyConsistent)  // [F1] pairs with [F2]
    }

    /// Takes the announcement back, after a sleep or instead of one.
    public func disarm() {
        word.pointee.store(0, ordering: .relaxed)
    }

    /// Sleeps until somebody rings, at most `timeout` (nil: without limit). Only the sleeper may call it, armed.
    public func sleep(timeout: Duration?) -> WakeReason {
        sleep(nanoseconds: timeout.map(nanoseconds) ?? -1)
    }

    private func sleep(nanoseconds: Int64) -> WakeReason {
        if let device { return device.sleep(nanoseconds: nanoseconds) }
        if pfs_futex_wait(UnsafeRawPointer(word).assumingMemoryBound(to: UInt32.self), 1, nanoseconds) == 0 {
            return .rung
        }
        switch errno {
        case ETIMEDOUT:
            return .timedOut
        case EINTR:
            return .interrupted
        case EAGAIN:
            return .rung
        default:
            // EFAULT: the memory cannot carry a futex, as that of some device mappings. Waking does nothing there, so look
            // again after a nap.
            let nap = nanoseconds < 0 ? Doorbell.napNanoseconds : min(nanoseconds, Doorbell.napNanoseconds)
            var time = timespec(tv_sec: 0, tv_nsec: Int(nap))
            return nanosleep(&time, nil) == 0 ? .rung : .interrupted
        }
    }

    /// Wakes the sleeper if there is one. Call it after publishing; costs a full fence and one load when nobody sleeps.
    @inlinable
    public func ring() {
        atomicMemoryFence(ordering: .sequentiallyConsistent)  // [F2] pairs with [F1]
        if word.pointee.load(ordering: .relaxed) != 0 {
            wake()
        }
    }

    /// Wakes the sleeper whatever the word says. For a side that takes over: its predecessor may have died after it published
    /// and before it rang, or after it took the announcement back for the sleeper and before the system call.
    func ringAnyway() {
        atomicMemoryFence(ordering: .sequentiallyConsistent)  // [F2] pairs with [F1]
        _ = word.pointee.exchange(0, ordering: .relaxed)
        wakeSleeper()
    }

    @usableFromInline
    func wake() {
        // Of several ringers, one takes the announcement and pays for the system call.
        if word.pointee.exchange(0, ordering: .relaxed) != 0 { wakeSleeper() }
    }

    private func wakeSleeper() {
        if let device { return device.wake() }
        _ = pfs_futex_wake(UnsafeRawPointer(word).assumingMemoryBound(to: UInt32.self), 1)
    }

    /// Waits until `ready` says true: looks `spins` times, then sleeps between looks.
    ///
    /// Only the sleeper may call it. Returns false when `timeout` is over (nil: never) or a signal handler ran, and
    /// `ready` still says false. Whatever `ready` throws ends the wait. A `timeout` of zero looks and never sleeps.
    public func wait<Failure>(
        spins: Int = Doorbell.defaultSpins, timeout: Duration?, until ready: () throws(Failure) -> Bool
    ) throws(Failure) -> Bool {
        for _ in 0..<max(1, spins) {
            if try ready() { return true }
            pfs_cpu_relax()
        }
        let deadline = timeout.map { now().addingReportingOverflow(nanoseconds($0)) }
        while true {
            var left: Int64 = -1
            if let deadline, !deadline.overflow {
                left = deadline.partialValue - now()
                if left <= 0 { return try ready() }
            }
            arm()
            do {
                if try ready() {
                    disarm()
                    return true
                }
            } catch {
                disarm()
                throw error
            }
            let reason = sleep(nanoseconds: left)
            disarm()
            if try ready() { return true }
            if reason == .interrupted { return false }
        }
    }

    /// Looks before the first sleep. A few microseconds: about what one wake-up costs the side that rings.
    public static var defaultSpins: Int { 100 }

    private static var napNanoseconds: Int64 { 200_000 }
}

/// Nanoseconds of a duration, from 0 to `Int64.max`.
private func nanoseconds(_ duration: Duration) -> Int64 {
    let (seconds, attoseconds) = duration.components
    let (scaled, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    if overflow { return seconds < 0 ? 0 : .max }
    let (sum, carry) = scaled.addingReportingOverflow(attoseconds / 1_000_000_000)
    return carry ? .max : max(0, sum)
}

/// The monotonic clock in nanoseconds.
private func now() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
}
