import CPacketFSMPI
import Glibc
import PacketFSTools

/// An operation of MPI's that may still be under way. Used by one thread.
final class Request {
    let handle = pfs_mpi_request_new()!

    deinit { pfs_mpi_request_delete(handle) }

    func isOver() throws(ToolError) -> Bool {
        var isOver: Int32 = 0
        try Communicator.check(pfs_mpi_test(handle, &isOver), "an operation")
        return isOver != 0
    }
}

/// What ranks tell each other outside of collective operations; the number is the message's tag.
enum Message: Int32 {
    /// To rank 0, now and then: this rank lives, and has done so many bytes of the pass (u64).
    case beat = 1
    /// The answer to a beat.
    case echo = 2
    /// To rank 0: a ``JournalRecord``.
    case chunk = 3
    /// Nothing more comes from this rank.
    case farewell = 4
}

/// How the words of all ranks become one.
enum ReductionOperation: Int32 {
    case sum = 0
    case xor = 1
    case minimum = 2
    case maximum = 3
}

/// All ranks know that something has failed, and end in order. The one that it failed on has the error and tells it.
struct CommonFailure: Error {
    let error: (any Error)?
    let exit: Int32
}

/// Rank 0 cannot be reached any more, so that there is no use in telling it.
struct ConnectionLost: Error {
    let description: String
}

/// The ranks of this job, seen from one of them. Used by one thread, the one that started MPI.
///
/// While anything is waited for, messages are taken, signals are looked at, and ranks that have not been heard of for too long
/// are noticed: every rank sends rank 0 a beat now and then and gets an answer. MPI itself would wait for ever.
final class Communicator {
    let rank: Int
    let size: Int
    let host: String
    /// Nanoseconds that starting MPI took.
    let startNanoseconds: UInt64
    /// Hosts by rank; of ranks other than 0 only their own and that of rank 0 are filled in.
    private(set) var hosts: [String]
    /// Bytes of the pass that this rank has done; beats carry it.
    var doneByteCount: UInt64 = 0
    /// Takes the records that arrive at rank 0.
    var takeChunk: (_ rank: Int, [UInt8]) throws -> Void = { _, _ in }

    /// Called now and then while something is waited for.
    var whileWaiting: () -> Void = {}

    private let signals: TerminationSignals
    /// Nanoseconds after which a silent rank is given up; 0: never.
    private let timeout: UInt64
    private let interval: UInt64
    private let message = pfs_mpi_message_new()!
    private var lastBeat: UInt64 = 0
    /// When each rank was heard of last (at rank 0: all, elsewhere: rank 0), and what it has done.
    private var heard: [UInt64]
    private var done: [UInt64]
    private var hasLeft: [Bool]
    /// Messages on their way, with what must stay until they are over.
    private var sending: [(request: Request, bytes: UnsafeMutableRawBufferPointer)] = []
    /// Beats, or answers to them, on their way; no second one goes to the same rank.
    private var beating: [Int: Request] = [:]
    private let beat = UnsafeMutablePointer<UInt64>.allocate(capacity: 1)

    /// Starts MPI. Signals are the caller's, and blocked already, so that MPI's threads do not get them.
    init(signals: TerminationSignals, timeoutSeconds: Int) throws {
        let began = Clock.monotonic()
        try Self.check(pfs_mpi_start(), "starting MPI")
        let now = Clock.monotonic()
        startNanoseconds = now - began
        rank = Int(pfs_mpi_rank())
        size = Int(pfs_mpi_size())
        host = Self.text(256) { pfs_mpi_host($0, $1) }
        self.signals = signals
        timeout = UInt64(timeoutSeconds) * 1_000_000_000
        // Rank 0 takes and answers a thousand beats in a second at most.
        interval = max(min(500_000_000, max(timeout / 8, 50_000_000)), UInt64(size) * 1_000_000)
        heard = Array(repeating: now, count: size)
        done = Array(repeating: 0, count: size)
        hasLeft = Array(repeating: false, count: size)
        hosts = Array(repeating: "", count: size)
        beat.initialize(to: 0)
        for (rank, name) in try gather(Array(host.utf8)).enumerated() {
            hosts[rank] = String(decoding: name, as: UTF8.self)
        }
        var first = [UInt8](repeating: 0, count: 256)
        for (index, byte) in hosts[0].utf8.prefix(255).enumerated() { first[index] = byte }
        hosts[0] = String(decoding: try broadcast(first).prefix { $0 != 0 }, as: UTF8.self)
        hosts[rank] = host
    }

    deinit {
        pfs_mpi_message_delete(message)
        beat.deallocate()
    }

    /// A rank as messages name it.
    func name(_ rank: Int) -> String { "rank \(rank) on \(hosts[rank])" }
    var name: String { name(rank) }

    /// Version of the library.
    static var library: String { text(256) { pfs_mpi_library($0, $1) } }

    private static func text(_ capacity: Int, _ fill: (UnsafeMutablePointer<CChar>, Int) -> Void) -> String {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: capacity) { buffer in
            buffer.initialize(repeating: 0)
            fill(buffer.baseAddress!, capacity)
            return String(cString: buffer.baseAddress!)
        }
    }

    static func check(_ code: Int32, _ what: @autoclosure () -> String) throws(ToolError) {
        guard code != 0 else { return }
        throw ToolError(.system, "\(what()): MPI says: \(errorText(code))")
    }

    static func errorText(_ code: Int32) -> String { text(512) { pfs_mpi_error(code, $0, $1) } }

    // MARK: - Waiting

    /// Takes messages, sends a beat when it is time, and fails if a rank is silent.
    func poll() throws {
        while let (sender, message, bytes) = try receive() {
            heard[sender] = Clock.monotonic()
            switch message {
            case .beat:
                done[sender] = bytes.withUnsafeBytes { $0.count == 8 ? $0.loadUnaligned(as: UInt64.self) : 0 }
                try sendBeat(.echo, to: sender)
            case .echo: break
            case .chunk: try takeChunk(sender, bytes)
            case .farewell: hasLeft[sender] = true
            }
        }
        // The oldest first: they are mostly over in order.
        while let oldest = sending.first, try oldest.request.isOver() {
            oldest.bytes.deallocate()
            sending.removeFirst()
        }
        let now = Clock.monotonic()
        guard size > 1, now - lastBeat >= interval else { return }
        lastBeat = now
        if rank > 0, !hasLeft[rank] {
            beat.pointee = doneByteCount
            try sendBeat(.beat, to: 0)
        }
        try lookForSilence(now)
    }

    private func lookForSilence(_ now: UInt64) throws {
        guard timeout > 0 else { return }
        func hint(_ other: Int) -> String {
            "\(name(other)) has not been heard of for \(timeout / 1_000_000_000) s; "
                + "is its host up, and the network to it? (--timeout)"
        }
        if rank > 0 {
            if now - heard[0] > timeout { throw ConnectionLost(description: hint(0)) }
        } else if let silent = (1..<size).first(where: { !hasLeft[$0] && now > heard[$0] && now - heard[$0] > timeout })
        {
            throw ToolError(.system, hint(silent))
        }
    }

    private func sendBeat(_ message: Message, to other: Int) throws(ToolError) {
        let request = beating[other] ?? Request()
        if beating[other] != nil, try !request.isOver() { return }
        beating[other] = request
        try Self.check(
            pfs_mpi_send(beat, message == .beat ? 8 : 0, Int32(other), message.rawValue, request.handle),
            "a message to \(name(other))")
    }

    private func receive() throws(ToolError) -> (rank: Int, Message, [UInt8])? {
        var isThere: Int32 = 0
        var sender: Int32 = 0
        var tag: Int32 = 0
        var count = 0
        try Self.check(pfs_mpi_look(message, &isThere, &sender, &tag, &count), "receiving")
        guard isThere != 0 else { return nil }
        var bytes = [UInt8](repeating: 0, count: count)
        try Self.check(pfs_mpi_receive(message, &bytes, count), "receiving from \(name(Int(sender)))")
        guard let message = Message(rawValue: tag) else {
            throw ToolError(.system, "a message of unknown kind \(tag) from \(name(Int(sender)))")
        }
        return (Int(sender), message, bytes)
    }

    /// Looks after everything else until `isOver`.
    func wait(until isOver: () throws -> Bool) throws {
        var turns = 0
        while try !isOver() {
            try poll()
            if let signal = signals.take() { throw Interrupted(signal: signal) }
            whileWaiting()
            turns += 1
            // Others on this host need the CPU more.
            if turns > 100 { usleep(turns > 2000 ? 500 : 50) }
        }
    }

    /// Bytes of the pass that all ranks have done, as far as rank 0 knows.
    var allDoneByteCount: UInt64 { done.dropFirst().reduce(doneByteCount, +) }

    /// Begins to count the bytes of a pass.
    func resetDone() {
        doneByteCount = 0
        for index in done.indices { done[index] = 0 }
    }

    // MARK: - Messages and collective operations

    /// Sends bytes to rank 0; they arrive in order.
    func send(_ message: Message, _ bytes: [UInt8]) throws(ToolError) {
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: max(1, bytes.count), alignment: 8)
        copy.copyBytes(from: bytes)
        let request = Request()
        sending.append((request, copy))
        try Self.check(
            pfs_mpi_send(copy.baseAddress, bytes.count, 0, message.rawValue, request.handle),
            "a message to \(name(0))")
    }

    private func collective(_ what: String, _ start: (OpaquePointer) -> Int32) throws {
        let request = Request()
        try Self.check(start(request.handle), what)
        try wait { try request.isOver() }
    }

    /// Waits until all ranks are here.
    func barrier() throws { try collective("a barrier") { pfs_mpi_barrier($0) } }

    /// Every rank's words, joined by `operation`. All ranks give as many.
    func reduce(_ words: [UInt64], _ operation: ReductionOperation) throws -> [UInt64] {
        guard !words.isEmpty else { return [] }
        let memory = UnsafeMutableBufferPointer<UInt64>.allocate(capacity: words.count)
        defer { memory.deallocate() }
        _ = memory.initialize(from: words)
        try collective("a reduction") { pfs_mpi_allreduce(memory.baseAddress, memory.count, operation.rawValue, $0) }
        return Array(memory)
    }

    /// Rank 0's bytes; all ranks give as many.
    func broadcast(_ bytes: [UInt8]) throws -> [UInt8] {
        guard !bytes.isEmpty else { return [] }
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 8)
        defer { memory.deallocate() }
        memory.copyBytes(from: bytes)
        try collective("a broadcast") { pfs_mpi_broadcast(memory.baseAddress, memory.count, $0) }
        return Array(memory)
    }

    /// Every rank's bytes, at rank 0; nothing elsewhere.
    func gather(_ bytes: [UInt8]) throws -> [[UInt8]] {
        let one = UnsafeMutableBufferPointer<UInt64>.allocate(capacity: size)
        defer { one.deallocate() }
        one.initialize(repeating: 0)
        one[rank] = UInt64(bytes.count)
        try collective("a reduction") { pfs_mpi_allreduce(one.baseAddress, size, PFS_MPI_SUM, $0) }
        let sizes = one.map { Int32(clamping: $0) }
        let total = one.reduce(0, +)
        guard total < 1 << 31 else { throw ToolError(.unavailable, "\(total) bytes are too much for one rank to take") }
        var end: Int32 = 0
        let offsets = sizes.map { size in
            defer { end += size }
            return end
        }
        let own = UnsafeMutableRawBufferPointer.allocate(byteCount: max(1, bytes.count), alignment: 8)
        let all = UnsafeMutableRawBufferPointer.allocate(byteCount: max(1, Int(total)), alignment: 8)
        defer {
            own.deallocate()
            all.deallocate()
        }
        own.copyBytes(from: bytes)
        try sizes.withUnsafeBufferPointer { sizes in
            try offsets.withUnsafeBufferPointer { offsets in
                try collective("collecting results") {
                    pfs_mpi_gather(
                        own.baseAddress, bytes.count, all.baseAddress, sizes.baseAddress, offsets.baseAddress, $0)
                }
            }
        }
        guard rank == 0 else { return [] }
        return (0..<size).map { Array(all[Int(offsets[$0])..<Int(offsets[$0]) + Int(sizes[$0])]) }
    }

    /// Does something that may fail on some ranks. If it does on any, no rank goes on: the error of the lowest such rank is what
    /// everybody knows of (``CommonFailure``).
    func together<T>(_ body: () throws -> T) throws -> T {
        let result = Result { try body() }
        var failure: (any Error)?
        if case .failure(let error) = result { failure = error }
        let lowest = try reduce([failure == nil ? UInt64(size) : UInt64(rank)], .minimum)[0]
        guard lowest < UInt64(size) else { return try result.get() }
        if lowest != UInt64(rank) { failure = nil }
        let exit = try reduce([UInt64(failure.map { ToolError(any: $0).exit.rawValue } ?? 0)], .maximum)[0]
        throw CommonFailure(error: failure, exit: Int32(exit))
    }

    /// This rank's place among those of its host that may use the same CPUs, and how many they are.
    func neighbours(_ cpus: [Int]) throws -> (index: Int, count: Int) {
        var key: UInt32 = 2_166_136_261
        for cpu in cpus { key = (key ^ UInt32(truncatingIfNeeded: cpu)) &* 16_777_619 }
        var index: Int32 = 0
        var count: Int32 = 1
        try Self.check(pfs_mpi_neighbours(Int32(key & 0x7FFF_FFFF), &index, &count), "finding this host's ranks")
        return (Int(index), Int(count))
    }

    /// Takes leave: after it no message is under way, and MPI has ended.
    func leave() throws {
        if size > 1 {
            hasLeft[rank] = true
            if rank > 0 { try send(.farewell, []) }
            try wait { sending.isEmpty && (rank == 0 ? hasLeft : [hasLeft[0]]).allSatisfy { $0 } }
            if rank == 0 {
                for other in 1..<size {
                    let request = Request()
                    sending.append((request, .allocate(byteCount: 1, alignment: 1)))
                    try Self.check(
                        pfs_mpi_send(beat, 0, Int32(other), Message.farewell.rawValue, request.handle), "taking leave")
                }
                try wait { sending.isEmpty }
            }
            for request in beating.values { try wait { try request.isOver() } }
        }
        try Self.check(pfs_mpi_finish(), "ending MPI")
    }

    /// Ends all ranks.
    func abort(_ status: Int32) -> Never { pfs_mpi_abort(status) }
}
