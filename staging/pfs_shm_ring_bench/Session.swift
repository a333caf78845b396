import CPacketFSShims
import Glibc
import PacketFSRing
import Synchronization
import SystemPackage

/// One measurement: so many values, so many at a time.
struct Round: BitwiseCopyable {
    var count: UInt64
    var batch: UInt64
}

/// How a measurement went.
struct Outcome {
    var elapsedNanoseconds: Int64
    var mismatches: UInt64
}

/// Where the two sides run.
struct Placement {
    var producerCPU: Int
    var consumerCPU: Int
}

/// Pins the calling thread to a CPU.
func pin(to cpu: Int) throws(BenchError) {
    guard pfs_pin_thread(Int32(clamping: cpu)) == 0 else {
        throw .unavailable(
            "CPU \(cpu) cannot be used (\(Errno(rawValue: errno))); `taskset -cp $$` lists those that can")
    }
}

/// Attaches a side, with the benchmark's kind of error.
private func attached<T: ~Copyable>(_ body: () throws(RingError) -> T) throws(BenchError) -> T {
    do {
        return try body()
    } catch {
        throw .ring(error)
    }
}

/// The consumer in a process of its own: the same executable, started anew.
///
/// The two talk over a socket, which the worker finds as its descriptor 0 while the ring's file is 3: a `Round` there, an
/// empty answer when ready, another when done. The worker ends when the socket does, and when its parent dies.
struct WorkerProcess: ~Copyable {
    private let process: pid_t
    private let channel: Channel

    /// What a worker is started with, behind the name of the program.
    static let ringFile = FileDescriptor(rawValue: 3)

    private init(process: pid_t, channel: consuming Channel) {
        self.process = process
        self.channel = channel
    }

    /// Starts a consumer for the ring in `ring`, to be pinned to `cpu`.
    static func start(ring: borrowing SharedFile, cpu: Int) throws(BenchError) -> WorkerProcess {
        var ends: [Int32] = [0, 0]
        let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        guard socketpair(AF_UNIX, type, 0, &ends) == 0 else {
            throw .system("socketpair", Errno(rawValue: errno))
        }
        let theirs = Channel(file: FileDescriptor(rawValue: ends[1]))
        let channel = Channel(file: FileDescriptor(rawValue: ends[0]))

        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, theirs.file.rawValue, 0)
        posix_spawn_file_actions_adddup2(&actions, ring.file.rawValue, WorkerProcess.ringFile.rawValue)

        let words = ["pfs_shm_ring_bench", "--worker", "\(ring.byteCount)", "--cpu-consumer", "\(cpu)"]
        var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) }
        defer { arguments.forEach { free($0) } }
        arguments.append(nil)
        var child: pid_t = 0
        let status = posix_spawn(&child, "/proc/self/exe", &actions, nil, arguments, environ)
        guard status == 0 else {
            throw .system("starting the consumer process", Errno(rawValue: status))
        }
        return WorkerProcess(process: child, channel: channel)
    }

    /// Runs one measurement with this process as the producer.
    func measure(_ round: Round, with ring: inout RingProducer, lock: FileDescriptor) throws(BenchError) -> Outcome {
        try channel.send(round)
        _ = try channel.receive(Report.self, from: "consumer")
        let started = Flow.now()
        try Flow.produce(round.count, batch: Int(round.batch), into: &ring, lock: lock)
        let report = try channel.receive(Report.self, from: "consumer")
        return Outcome(elapsedNanoseconds: report.finished - started, mismatches: report.mismatches)
    }

    deinit {
        // The worker ends by itself once it sees the end of the socket; the kill is for one that is stuck.
        kill(process, SIGKILL)
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0 && errno == EINTR {}
    }

    /// The worker's side: serves measurements until the parent closes the socket.
    static func serve(byteCount: Int, cpu: Int) throws(BenchError) {
        guard pfs_die_with_parent() == 0 else {
            throw .system("prctl(PR_SET_PDEATHSIG)", Errno(rawValue: errno))
        }
        try pin(to: cpu)
        let channel = Channel(file: FileDescriptor(rawValue: 0))
        let region = try SharedFile(mapping: ringFile, byteCount: byteCount)
        var ring = try attached { () throws(RingError) in
            try RingConsumer(attaching: region.base, byteCount: region.byteCount, lock: region.file)
        }
        while let round = try channel.receiveOrEnd(Round.self) {
            try channel.send(Report(finished: 0, mismatches: 0))
            let arrival = try Flow.consume(round.count, batch: Int(round.batch), from: &ring, lock: region.file)
            try channel.send(Report(finished: arrival.finished, mismatches: arrival.mismatches))
        }
    }

    private struct Report: BitwiseCopyable {
        var finished: Int64
        var mismatches: UInt64
    }
}

/// Both sides as threads of this process.
enum WorkerThread {
    /// Runs one measurement with the calling thread as the producer and a new thread as the consumer.
    static func measure(
        _ round: Round, region: borrowing SharedFile, with ring: inout RingProducer, cpu: Int
    ) throws(BenchError) -> Outcome {
        let job = ThreadedRound(
            base: region.base, byteCount: region.byteCount, file: region.file, round: round, cpu: cpu)
        var thread = pthread_t()
        let status = pthread_create(&thread, nil, ThreadedRound.main, Unmanaged.passRetained(job).toOpaque())
        guard status == 0 else {
            Unmanaged.passUnretained(job).release()
            throw .system("starting the consumer thread", Errno(rawValue: status))
        }
        while !job.ready.load(ordering: .acquiring) {
            usleep(50)
        }
        let started = Flow.now()
        let produced = Result { () throws(BenchError) in
            try Flow.produce(round.count, batch: Int(round.batch), into: &ring, lock: region.file)
        }
        pthread_join(thread, nil)
        let arrival = try job.result.get()
        try produced.get()
        return Outcome(elapsedNanoseconds: arrival.finished - started, mismatches: arrival.mismatches)
    }

    /// What the thread is given and what it leaves behind. `ready` and the join order all accesses.
    private final class ThreadedRound {
        let base: UnsafeMutableRawPointer
        let byteCount: Int
        let file: FileDescriptor
        let round: Round
        let cpu: Int
        let ready = Atomic(false)
        var result: Result<Flow.Arrival, BenchError> = .failure(.peerGone("consumer"))

        init(base: UnsafeMutableRawPointer, byteCount: Int, file: FileDescriptor, round: Round, cpu: Int) {
            self.base = base
            self.byteCount = byteCount
            self.file = file
            self.round = round
            self.cpu = cpu
        }

        static let main: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = { argument in
            if let argument {
                Unmanaged<ThreadedRound>.fromOpaque(argument).takeRetainedValue().run()
            }
            return nil
        }

        private func run() {
            result = Result { () throws(BenchError) in
                // Whatever happens here, the producer must not wait for ever.
                defer { ready.store(true, ordering: .releasing) }
                try pin(to: cpu)
                var ring = try attached { () throws(RingError) in
                    try RingConsumer(attaching: base, byteCount: byteCount, lock: file)
                }
                ready.store(true, ordering: .releasing)
                return try Flow.consume(round.count, batch: Int(round.batch), from: &ring, lock: file)
            }
        }
    }
}

/// A stream socket that carries values of fixed size between two processes of the same program.
private struct Channel: ~Copyable {
    let file: FileDescriptor

    func send<T: BitwiseCopyable>(_ value: T) throws(BenchError) {
        // A message this small goes through whole. MSG_NOSIGNAL: a dead peer is an error, not a signal.
        let sent = withUnsafeBytes(of: value) {
            Glibc.send(file.rawValue, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
        }
        guard sent == MemoryLayout<T>.size else {
            throw .system("talking to the other side of the benchmark", Errno(rawValue: errno))
        }
    }

    func receive<T: BitwiseCopyable>(_ type: T.Type, from peer: String) throws(BenchError) -> T {
        guard let value = try receiveOrEnd(type) else { throw .peerGone(peer) }
        return value
    }

    /// Nil at the end of the stream.
    func receiveOrEnd<T: BitwiseCopyable>(_ type: T.Type) throws(BenchError) -> T? {
        let size = MemoryLayout<T>.size
        return try withUnsafeTemporaryAllocation(byteCount: size, alignment: MemoryLayout<T>.alignment) {
            (buffer) throws(BenchError) -> T? in
            var received = 0
            repeat {
                received = recv(file.rawValue, buffer.baseAddress, size, Int32(MSG_WAITALL))
            } while received < 0 && errno == EINTR
            if received == 0 || (received < 0 && errno == ECONNRESET) { return nil }
            guard received == size else {
                throw .system("listening to the other side of the benchmark", Errno(rawValue: errno))
            }
            return buffer.loadUnaligned(as: T.self)
        }
    }

    deinit {
        try? file.close()
    }
}
