import Glibc
import PacketFSTools
import Synchronization
import SystemPackage

/// Pinned threads that begin together.
enum Threads {
    /// Runs `body` on each element, each in a thread of its own on its CPU, and returns the time at which they began
    /// (CLOCK_MONOTONIC, nanoseconds), after all have ended.
    static func run<Element>(
        on cpus: [Int], _ elements: inout [Element], _ body: (inout Element) -> Void
    ) throws(ToolError) -> UInt64 {
        precondition(cpus.count == elements.count)
        let gate = Gate()
        var failure: CInt = 0
        withoutActuallyEscaping(body) { body in
            elements.withUnsafeMutableBufferPointer { elements in
                var threads: [pthread_t] = []
                for index in cpus.indices {
                    let element = elements.baseAddress! + index
                    let job = Job {
                        // Where pinning fails the figures are merely noisier; CPUs come from the allowed ones.
                        try? CPUs.pin(to: [cpus[index]])
                        gate.arriveAndWait()
                        body(&element.pointee)
                    }
                    var thread = pthread_t()
                    failure = pthread_create(
                        &thread, nil,
                        { argument in
                            Unmanaged<Job>.fromOpaque(argument!).takeRetainedValue().work()
                            return nil
                        }, Unmanaged.passRetained(job).toOpaque())
                    if failure != 0 { break }
                    threads.append(thread)
                }
                gate.open(after: threads.count)
                for thread in threads { pthread_join(thread, nil) }
            }
        }
        guard failure == 0 else { throw ToolError(.system, "cannot start a thread: \(Errno(rawValue: failure))") }
        return gate.openedAt
    }

    /// CLOCK_MONOTONIC in nanoseconds.
    static func now() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    private final class Job {
        let work: () -> Void
        init(_ work: @escaping () -> Void) { self.work = work }
    }

    private final class Gate {
        private let arrived = Atomic<Int>(0)
        private let isOpen = Atomic<Bool>(false)
        private(set) var openedAt: UInt64 = 0

        /// Spins: the threads have their CPUs to themselves, and a wake-up would cost more than the wait.
        func arriveAndWait() {
            arrived.add(1, ordering: .acquiringAndReleasing)
            while !isOpen.load(ordering: .acquiring) { sched_yield() }
        }

        func open(after count: Int) {
            while arrived.load(ordering: .acquiring) < count { sched_yield() }
            openedAt = Threads.now()
            isOpen.store(true, ordering: .releasing)
        }
    }
}
