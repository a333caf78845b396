import CPacketFSShims
import Glibc
import PacketFSMemory
import PacketFSRing
import PacketFSTools
import SystemPackage

/// What is measured.
enum Measurement: UInt64 {
    /// Values, so many at a time.
    case throughput
    /// One value there and back.
    case roundTrip
    /// The same, timed on the way there.
    case oneWay
    /// Records in the slab.
    case records
}

/// One measurement, as the second side is told.
struct Round: BitwiseCopyable {
    var measurement: UInt64
    var contender: UInt64
    var count: UInt64
    /// Values at a time, or bytes of a record.
    var size: UInt64
}

/// What the second side answers: once when ready, once when done.
struct Answer: BitwiseCopyable {
    var finished: UInt64 = 0
    var mismatches: UInt64 = 0
}

/// The two queues of a contender, one each way, in memory that both sides map.
struct RingPair: ~Copyable {
    let contender: Contender
    let there: SharedRegion
    let back: SharedRegion
    /// The peer's code; nil for ours.
    let code: PeerCode?
    let library: FileDescriptor?
}

/// The stream socket between the two sides. It carries values of fixed size, and the kernel hangs it up when a side ends.
struct Link: ~Copyable {
    let descriptor: FileDescriptor

    static var gone: ToolError { ToolError(.system, "the consumer ended before the measurement was over") }

    /// Both ends.
    static func pair() throws(ToolError) -> (Int32, Int32) {
        var ends: [Int32] = [0, 0]
        let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        guard socketpair(AF_UNIX, type, 0, &ends) == 0 else {
            throw ToolError(.system, "socketpair: \(Errno(rawValue: errno))")
        }
        return (ends[0], ends[1])
    }

    init(_ raw: Int32) { descriptor = FileDescriptor(rawValue: raw) }

    /// 1 as long as the other end is open.
    static let isUp: PeerCode.Alive = { raw in
        var entry = pollfd(fd: raw, events: 0, revents: 0)
        return poll(&entry, 1, 0) == 0 ? 1 : 0
    }

    func send<T: BitwiseCopyable>(_ value: T) throws(ToolError) {
        try withUnsafeBytes(of: value) { (bytes) throws(ToolError) in try send(bytes) }
    }

    /// MSG_NOSIGNAL: a dead peer is an error, not a signal.
    func send(_ bytes: UnsafeRawBufferPointer) throws(ToolError) {
        var rest = bytes
        while let base = rest.baseAddress, rest.count > 0 {
            let sent = Glibc.send(descriptor.rawValue, base, rest.count, Int32(MSG_NOSIGNAL))
            guard sent > 0 else { throw Link.gone }
            rest = UnsafeRawBufferPointer(rebasing: rest[sent...])
        }
    }

    func receive(into buffer: UnsafeMutableRawBufferPointer) -> Bool {
        var received = 0
        repeat {
            received = recv(descriptor.rawValue, buffer.baseAddress, buffer.count, Int32(MSG_WAITALL))
        } while received < 0 && errno == EINTR
        return received == buffer.count
    }

    /// Nil at the end of the stream.
    func receive<T: BitwiseCopyable>(_ initial: T) -> T? {
        var value = initial
        return withUnsafeMutableBytes(of: &value) { receive(into: $0) } ? value : nil
    }

    deinit { try? descriptor.close() }
}

/// The side that answers: the consumer, in a process or a thread of its own.
enum Responder {
    /// Its arguments: the CPU, the link's descriptor, and for each pair the contender and the descriptors of its regions and library.
    static let role = ChildRole("__consumer")

    static func arguments(cpu: Int, link: Int32, pairs: RingPairs) -> [String] {
        var words = ["\(cpu)", "\(link)"]
        pairs.forEach { pair in
            words.append(
                "\(pair.contender.rawValue),\(pair.there.fileDescriptor.rawValue),\(pair.back.fileDescriptor.rawValue),"
                    + "\(pair.library?.rawValue ?? -1)")
        }
        return words
    }

    /// Returns at once in an ordinary start; in a consumer process serves until the producer hangs up, and exits.
    static func runIfAsked() {
        role.run { words in
            let wrong = ToolError(.usage, "\(role.word) is for the benchmark itself")
            guard words.count > 2, let cpu = Int(words[0]), let link = Int32(words[1]) else { throw wrong }
            let pairs = RingPairs()
            for word in words.dropFirst(2) {
                let numbers = word.split(separator: ",").compactMap { Int32($0) }
                guard numbers.count == 4, let contender = Contender(rawValue: Int(numbers[0])) else { throw wrong }
                let library = numbers[3] < 0 ? nil : FileDescriptor(rawValue: numbers[3])
                pairs.add(
                    RingPair(
                        contender: contender, there: try SharedRegion.adopt(FileDescriptor(rawValue: numbers[1])),
                        back: try SharedRegion.adopt(FileDescriptor(rawValue: numbers[2])),
                        code: try library.map { file throws(ToolError) in try PeerCode(library: file) },
                        library: library))
            }
            try serve(Link(link), cpu: cpu, pairs: pairs)
        } failed: { error in
            FileDescriptor.standardError.writeLine("consumer: \(error)")
            return ToolExit.system.rawValue
        }
    }

    /// Serves measurements until the other side hangs up.
    static func serve(_ link: consuming Link, cpu: Int, pairs: RingPairs) throws {
        try CPUs.pin(to: [cpu])
        let socket = link.descriptor.rawValue
        let ours = pairs.first!
        var consumer = try RingConsumer(
            attaching: ours.there.base, byteCount: ours.there.byteCount, lock: ours.there.fileDescriptor)
        var producer = try RingProducer(
            attaching: ours.back.base, byteCount: ours.back.byteCount, lock: ours.back.fileDescriptor)
        while let round = link.receive(Round(measurement: 0, contender: 0, count: 0, size: 0)) {
            guard let measurement = Measurement(rawValue: round.measurement),
                let contender = Contender(rawValue: Int(round.contender)),
                let pair = pairs.pair(contender)
            else { throw Link.gone }
            let count = Int(round.count)
            let keepsSamples = measurement == .oneWay
            var samples = [UInt32](repeating: 0, count: keepsSamples ? count : 0)
            try link.send(Answer())
            var answer = Answer()
            switch (measurement, pair.code) {
            case (.throughput, nil):
                answer.mismatches = try MeasuredLoops.consume(
                    round.count, batch: Int(round.size), work: pairs.work, from: &consumer, link: socket)
            case (.records, _):
                answer.mismatches = try MeasuredLoops.consumeRecords(
                    round.count, byteCount: Int(round.size), from: &consumer, link: socket)
            case (_, nil):
                try samples.withUnsafeMutableBufferPointer { buffer in
                    try MeasuredLoops.pong(
                        count, samples: keepsSamples ? buffer : nil, from: &consumer, back: &producer, link: socket)
                }
            case (.throughput, let code?):
                guard
                    code.consume(pair.there.base, round.count, round.size, &answer.mismatches, Link.isUp, socket) == 0
                else { throw Link.gone }
            case (_, let code?):
                let status = samples.withUnsafeMutableBufferPointer {
                    code.pong(
                        pair.there.base, pair.back.base, round.count, keepsSamples ? $0.baseAddress : nil, Link.isUp,
                        socket)
                }
                guard status == 0 else { throw Link.gone }
            }
            answer.finished = Clock.monotonic()
            try link.send(answer)
            if keepsSamples { try samples.withUnsafeBytes { try link.send($0) } }
        }
    }
}

/// The pairs of a run; ours is the first.
final class RingPairs: @unchecked Sendable {
    // Unchecked: filled before the second thread starts, and only read afterwards.
    final class Box {
        let pair: RingPair
        init(_ pair: consuming RingPair) { self.pair = pair }
        var there: SharedRegion { _read { yield pair.there } }
        var back: SharedRegion { _read { yield pair.back } }
        var code: PeerCode? { pair.code }
        var library: FileDescriptor? { pair.library }
        var contender: Contender { pair.contender }
    }
    private var boxes: [Box] = []

    func add(_ pair: consuming RingPair) { boxes.append(Box(pair)) }
    var first: Box? { boxes.first }
    var contenders: [Contender] { boxes.map(\.contender) }
    func pair(_ contender: Contender) -> Box? { boxes.first { $0.contender == contender } }
    /// The same for all contenders of a run.
    var work: BatchWork { boxes.lazy.compactMap { $0.code?.work }.first ?? .own }
    func forEach(_ body: (Box) -> Void) { boxes.forEach(body) }
}

/// The side that asks and measures: the producer.
struct Session: ~Copyable {
    private let link: Link
    private let processes: ChildProcesses
    private let thread: pthread_t?
    private let pairs: RingPairs
    private var producer: RingProducer
    private var consumer: RingConsumer

    /// Starts the other side, in a process or a thread.
    init(pairs: RingPairs, consumerCPU: Int, producerCPU: Int, asThread: Bool) throws {
        // Tried here first, so that the complaint about a CPU that cannot be used comes once, from here.
        try CPUs.pin(to: [consumerCPU])
        try CPUs.pin(to: [producerCPU])
        let ours = pairs.first!
        let producer = try RingProducer(
            attaching: ours.there.base, byteCount: ours.there.byteCount, lock: ours.there.fileDescriptor)
        let consumer = try RingConsumer(
            attaching: ours.back.base, byteCount: ours.back.byteCount, lock: ours.back.fileDescriptor)
        let (mine, theirs) = try Link.pair()
        var processes = ChildProcesses()
        var thread: pthread_t?
        if asThread {
            let job = Unmanaged.passRetained(ThreadJob(link: theirs, cpu: consumerCPU, pairs: pairs)).toOpaque()
            var started = pthread_t()
            guard pthread_create(&started, nil, ThreadJob.main, job) == 0 else {
                throw ToolError(.system, "the consumer thread cannot be started")
            }
            thread = started
        } else {
            var descriptors = [FileDescriptor(rawValue: theirs)]
            pairs.forEach { pair in
                descriptors += [pair.there.fileDescriptor, pair.back.fileDescriptor]
                if let library = pair.library { descriptors.append(library) }
            }
            defer { try? FileDescriptor(rawValue: theirs).close() }
            let arguments = Responder.arguments(cpu: consumerCPU, link: theirs, pairs: pairs)
            try processes.start(0, as: Responder.role, arguments: arguments, descriptors: descriptors)
        }
        self.link = Link(mine)
        self.processes = processes
        self.thread = thread
        self.pairs = pairs
        self.producer = producer
        self.consumer = consumer
    }

    /// Runs one measurement: nanoseconds from the first push to the last checked value, and the samples of a latency.
    mutating func measure(
        _ measurement: Measurement, _ contender: Contender, count: UInt64, size: Int
    ) throws -> (elapsed: UInt64, samples: [UInt32]) {
        guard let pair = pairs.pair(contender) else { throw Link.gone }
        let socket = link.descriptor.rawValue
        let isLatency = measurement == .roundTrip || measurement == .oneWay
        var samples = [UInt32](repeating: 0, count: isLatency ? Int(count) : 0)
        try link.send(
            Round(
                measurement: measurement.rawValue, contender: UInt64(contender.rawValue), count: count,
                size: UInt64(size)))
        guard link.receive(Answer()) != nil else { throw Link.gone }
        let started = Clock.monotonic()
        var mismatches: UInt64 = 0
        switch (measurement, pair.code) {
        case (.throughput, nil):
            try MeasuredLoops.produce(count, batch: size, work: pairs.work, into: &producer, link: socket)
        case (.records, _):
            try MeasuredLoops.produceRecords(count, byteCount: size, into: &producer, link: socket)
        case (_, nil):
            mismatches = try samples.withUnsafeMutableBufferPointer {
                try MeasuredLoops.ping($0, out: &producer, back: &consumer, link: socket)
            }
        case (.throughput, let code?):
            guard code.produce(pair.there.base, count, UInt64(size), Link.isUp, socket) == 0 else { throw Link.gone }
        case (_, let code?):
            let status = samples.withUnsafeMutableBufferPointer {
                code.ping(pair.there.base, pair.back.base, count, $0.baseAddress!, &mismatches, Link.isUp, socket)
            }
            guard status == 0 else { throw Link.gone }
        }
        guard let answer = link.receive(Answer()) else { throw Link.gone }
        if measurement == .oneWay, !samples.withUnsafeMutableBytes({ link.receive(into: $0) }) { throw Link.gone }
        mismatches += answer.mismatches
        guard mismatches == 0 else {
            throw ToolError(
                .verificationFailed,
                "\(mismatches) of \(count) values were not the expected ones (\(contender), \(size))")
        }
        return (max(1, answer.finished &- started), samples)
    }

    /// Hangs up and waits for the other side.
    deinit {
        shutdown(link.descriptor.rawValue, Int32(SHUT_RDWR))
        if let thread { pthread_join(thread, nil) }
        // A consumer process is ended by the end of `processes`.
    }
}

/// What the consumer thread is given.
private final class ThreadJob {
    private let link: Int32
    private let cpu: Int
    private let pairs: RingPairs

    init(link: Int32, cpu: Int, pairs: RingPairs) {
        self.link = link
        self.cpu = cpu
        self.pairs = pairs
    }

    static let main: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = { argument in
        guard let argument else { return nil }
        let job = Unmanaged<ThreadJob>.fromOpaque(argument).takeRetainedValue()
        do {
            try Responder.serve(Link(job.link), cpu: job.cpu, pairs: job.pairs)
        } catch {
            FileDescriptor.standardError.writeLine("consumer thread: \(error)")
        }
        return nil
    }
}
