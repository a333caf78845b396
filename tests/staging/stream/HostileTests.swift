import Foundation
import Glibc
import PacketFSGram
import PacketFSMemory
import PacketFSPCPU
import PacketFSRing
import Synchronization
import SystemPackage
import Testing
import ToolTesting

/// The ring of a pair, as a consumer that keeps no rules has it.
private final class FakeConsumer {
    let region: SharedRegion
    @exclusivity(unchecked) var ring: RingConsumer

    init(_ place: Place) throws {
        try place.await("s.pfs-ring")
        let region = try SharedRegion.open(named: "s.pfs-ring", in: FilePath(place.path))
        ring = try RingConsumer(attaching: region.base, byteCount: region.byteCount, lock: region.fileDescriptor)
        self.region = region
    }

    /// Releases everything up to the end record, which `answer` may write into before.
    func takeAll(answer: (UnsafeMutableRawBufferPointer) -> Void = { _ in }) throws {
        while true {
            guard let bytes = try ring.peek() else {
                ring.notifyProducer()
                try #require(try ring.waitForRecords(timeout: .seconds(60)))
                continue
            }
            var isEnd = false
            if case .end? = try? StreamControl(validating: bytes) {
                isEnd = true
                answer(UnsafeMutableRawBufferPointer(mutating: bytes))
            }
            ring.release()
            ring.notifyProducer()
            if isEnd { return }
        }
    }
}

/// A thread that moves a consumer's index forwards and backwards by one entry until it is stopped.
private final class Oscillation: @unchecked Sendable {
    // Unchecked: the pointer is only used for atomic access, and the thread is set once, before it starts.
    private let tail: UnsafeMutablePointer<Atomic<UInt32>>
    private let isStopped = Atomic(false)
    private let hasEnded = DispatchSemaphore(value: 0)
    private(set) var thread = Thread()

    init(_ tail: UnsafeMutablePointer<Atomic<UInt32>>) {
        self.tail = tail
        thread = Thread { [self] in
            while !isStopped.load(ordering: .relaxed) {
                for index in [1, 0] as [UInt32] {
                    self.tail.pointee.store(index, ordering: .releasing)
                    usleep(700)
                }
            }
            hasEnded.signal()
        }
    }

    func stop() {
        isStopped.store(true, ordering: .relaxed)
        hasEnded.wait()
    }
}

/// A ring and a blob, as a producer that keeps no rules makes them.
private final class FakeProducer {
    let region: SharedRegion
    let blob: HugeBlob
    @exclusivity(unchecked) var ring: RingProducer

    init(_ place: Place) throws {
        let folder = FilePath(place.path)
        let blob = try HugeBlob.create(named: "s.pfs-blob", in: folder, byteCount: 1 << 20)
        try blob.fill(seed: 1, range: 0..<1 << 20)
        let geometry = try RingGeometry(slots: 64, slabByteCount: 1 << 16)
        let region = try SharedRegion.create(byteCount: Int(geometry.regionByteCount), in: folder)
        try Ring.create(at: region.base, byteCount: region.byteCount, geometry: geometry)
        ring = try RingProducer(attaching: region.base, byteCount: region.byteCount, lock: region.fileDescriptor)
        try region.publish(as: "s.pfs-ring", in: folder)
        self.region = region
        self.blob = blob
    }

    var blobFile: UInt64 {
        var status = stat()
        fstat(blob.fileDescriptor.rawValue, &status)
        return UInt64(status.st_ino)
    }

    /// A beginning that is right.
    var begin: StreamBegin {
        StreamBegin(
            seed: 5, firstRecord: 0, range: 0..<1 << 20, blobByteCount: 1 << 20, blobFile: blobFile,
            descriptorsPerRecord: 8, alignment: 64, flags: [], instructions: [Instruction(opcode: 5)])
    }

    func send(_ begin: StreamBegin) throws {
        try put(StreamControl.byteCount(of: begin)) { StreamControl.write(begin, to: $0) }
    }

    func send(_ end: StreamEnd) throws { try put(StreamControl.byteCountOfEnd) { StreamControl.write(end, to: $0) } }

    /// Records `range` of the stream that `begin` speaks of; the sum of their bytes.
    @discardableResult
    func send(_ range: Range<UInt64>) throws -> UInt64 {
        let generator = RandomDescriptors(region: 0..<1 << 20, alignment: 64, seed: 5, stream: 0)
        var bytes: UInt64 = 0
        for record in range {
            let count = RecordFormat.byteCount(descriptors: 8, instructions: 1)
            try put(count) { memory in
                let table = RecordEncoder.begin(
                    in: memory, descriptorCount: 8, instructions: [Instruction(opcode: 5)])
                generator.fill(table, from: record * 8)
                bytes += table.reduce(0) { $0 + UInt64($1.length) }
            }
        }
        return bytes
    }

    func put(_ byteCount: Int, _ write: (UnsafeMutableRawBufferPointer) -> Void) throws {
        while true {
            if let memory = try ring.reserve(byteCount: byteCount) {
                write(memory)
                ring.commit()
                ring.notifyConsumer()
                return
            }
            try #require(try ring.waitForSpace(timeout: .seconds(60)), "the receiver takes nothing")
        }
    }
}

@Suite("pfs_stream_fastpath_tx and _rx: a peer that keeps no rules", .serialized)
struct HostileTests {
    // MARK: - Consumers

    /// What a transmitter of 300 records says to a consumer.
    private func transmit(_ arguments: [String], to work: (FakeConsumer) throws -> Void) throws -> Tool.Result {
        let place = try Place()
        let tx = try place.tx(["--records", "300", "--patience", "3"] + arguments)
        let consumer = try FakeConsumer(place)
        try work(consumer)
        // It stays attached.
        let result = try withExtendedLifetime(consumer) { try tx.finish() }
        #expect(!result.wasSignalled, "\(result)")
        #expect(try place.names == [])
        return result
    }

    @Test("A consumer that answers nothing, or nonsense")
    func noAnswer() throws {
        let silent = try transmit(["--verify"]) { try $0.takeAll() }
        #expect(silent.status == 71 && silent.errors.contains("without an answer"), "\(silent)")
        let nonsense = try transmit(["--verify"]) {
            try $0.takeAll { record in for index in 40..<record.count where index < 336 { record[index] = 0xFF } }
        }
        #expect(nonsense.status == 71 && nonsense.errors.contains("without an answer"), "\(nonsense)")
    }

    @Test("A consumer that lies about what it did", arguments: [0, 1, 2, 3])
    func lies(lie: Int) throws {
        let generator = RandomDescriptors(region: 0..<1 << 20, alignment: 64, seed: 1, stream: 0)
        let bytes = (0..<300 * 64).reduce(0) { $0 + UInt64(generator[UInt64($1)].length) }
        var tally = Tally()
        (tally.records, tally.descriptors, tally.bytes) = (300, 300 * 64, bytes)
        var answer = StreamAnswer(tally, totals: [1])
        switch lie {
        case 0: break  // the total
        case 1: answer.tally.records = 1 << 63
        case 2: answer.tally.bytes += 1
        default: answer.totals = [1, 2, 3]
        }
        let result = try transmit(["--verify"]) { try $0.takeAll { StreamControl.answer(answer, to: $0) } }
        #expect(result.status == 65, "\(result)")
        #expect(try result.result()["verified"] as? Bool == false)
    }

    @Test("A consumer that takes nothing, and one whose index cannot be")
    func idle() throws {
        let idle = try transmit([]) { _ in }
        #expect(idle.status == 71 && idle.errors.contains("has taken nothing"), "\(idle)")
        let corrupt = try transmit([]) { consumer in
            for _ in 0..<1000 {
                (consumer.region.base + 256).storeBytes(of: 0x8000_0000, as: UInt32.self)
                usleep(500)
            }
        }
        #expect(corrupt.status == 71, "\(corrupt)")
    }

    @Test("A consumer that moves its index to and fro does not keep the transmitter beyond its patience")
    func oscillating() throws {
        let place = try Place()
        let tx = try place.tx(["--records", "300", "--patience", "3"])
        let consumer = try FakeConsumer(place)
        let tail = (consumer.region.base + 256).assumingMemoryBound(to: Atomic<UInt32>.self)
        let oscillation = Oscillation(tail)
        oscillation.thread.start()
        let result = try withExtendedLifetime(consumer) { try tx.finish() }
        oscillation.stop()
        #expect(result.status == 71 && !result.wasSignalled, "\(result)")
        #expect(result.errors.contains("corrupt") || result.errors.contains("has taken nothing"), "\(result)")
        #expect(try place.names == [])
    }

    // MARK: - Producers

    /// What a receiver says to a producer.
    private func receive(_ arguments: [String] = [], from work: (FakeProducer) throws -> Void) throws -> Tool.Result {
        let place = try Place()
        let producer = try FakeProducer(place)
        let rx = try place.rx(["--patience", "5"] + arguments)
        try work(producer)
        let result = try rx.finish()
        #expect(!result.wasSignalled, "\(result)")
        return result
    }

    @Test("A producer that keeps the rules, for comparison")
    func honest() throws {
        let result = try receive(["--verify"]) { producer in
            try producer.send(producer.begin)
            let bytes = try producer.send(0..<500)
            try producer.send(StreamEnd(records: 500, descriptors: 4000, bytes: bytes))
        }
        #expect(result.status == 0, "\(result)")
        #expect(try result.result()["verified"] as? Bool == true)
    }

    @Test("A stream that is not what its beginning or its end says", arguments: [0, 1, 2, 3])
    func lyingStream(lie: Int) throws {
        let result = try receive(["--verify"]) { producer in
            var begin = producer.begin
            if lie == 0 { begin.seed += 1 }
            if lie == 1 { begin.firstRecord = .max }
            try producer.send(begin)
            let bytes = try producer.send(0..<100)
            let records: UInt64 = lie == 2 ? 101 : 100
            try producer.send(StreamEnd(records: records, descriptors: 0, bytes: lie == 3 ? bytes + 1 : bytes))
        }
        #expect(result.status == 65, "\(result)")
        #expect(try result.result()["verified"] as? Bool == false)
    }

    @Test("Beginnings that cannot be are counted; a blob that is another one is refused")
    func beginnings() throws {
        let counted = try receive { producer in
            for program in [Instruction(opcode: 77), Instruction(opcode: 5, immediate: 1)] {
                var begin = producer.begin
                begin.instructions = [program]
                try producer.send(begin)
            }
            for change in [64, 68, 72, 40] {
                let begin = producer.begin
                try producer.put(StreamControl.byteCount(of: begin)) {
                    StreamControl.write(begin, to: $0)
                    $0.storeBytes(of: 0xFFFF_FFFF, toByteOffset: change, as: UInt32.self)
                }
            }
            try producer.send(producer.begin)
            let bytes = try producer.send(0..<10)
            try producer.send(StreamEnd(records: 10, descriptors: 80, bytes: bytes))
        }
        #expect(counted.status == 71 && counted.errors.contains("6 records were refused"), "\(counted)")
        #expect(try counted.result()["records"] as? Int == 10)

        for change in 0..<2 {
            let refused = try receive { producer in
                var begin = producer.begin
                if change == 0 { begin.blobFile += 1 } else { begin.blobByteCount = 1 << 40 }
                try producer.send(begin)
            }
            #expect(refused.status == 69 && refused.errors.contains("is not the blob"), "\(refused)")
        }
    }

    @Test("Records without a beginning are passed over")
    func noBeginning() throws {
        let result = try receive { producer in
            try producer.send(0..<20)
            try producer.send(StreamEnd(records: 20, descriptors: 160, bytes: 1))
            try producer.send(producer.begin)
            let bytes = try producer.send(0..<30)
            try producer.send(StreamEnd(records: 30, descriptors: 240, bytes: bytes))
        }
        #expect(result.status == 0, "\(result)")
        #expect(try result.result()["records"] as? Int == 30)
        #expect(try result.result()["skipped_records"] as? Int == 21)
    }

    @Test("Damaged records are counted and not executed", arguments: 0..<10 as Range<UInt64>)
    func damaged(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let result = try receive { producer in
            try producer.send(producer.begin)
            for _ in 0..<200 {
                let kind = Int.random(in: 0..<3, using: &random)
                try producer.put(RecordFormat.byteCount(descriptors: 8, instructions: 1)) { memory in
                    let table = RecordEncoder.begin(
                        in: memory, descriptorCount: 8, instructions: [Instruction(opcode: 5)])
                    for index in table.indices { table[index] = Descriptor(offset: UInt64(index) * 64, length: 64) }
                    switch kind {
                    case 0:  // anything, but no control record, as it begins with something else
                        for index in 1..<memory.count { memory[index] = .random(in: 0...255, using: &random) }
                        memory[0] = 0
                    case 1: table[7] = Descriptor(offset: (1 << 20) - 63, length: 64)
                    default:
                        memory[Int.random(in: 0..<12, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
                    }
                }
            }
            try producer.send(StreamEnd(records: 200, descriptors: 1600, bytes: 0))
        }
        #expect(result.status == 71, "\(seed) \(result)")
        #expect(try result.result()["rejected_records"] as? Int == 200, "\(seed)")
    }

    @Test("Positions outside the slab are counted, an index that cannot be ends it")
    func indices() throws {
        let counted = try receive { producer in
            try producer.send(producer.begin)
            for value in [UInt32.max, 1 << 10, 1 << 31] {
                while !producer.ring.tryPush(value) { usleep(100) }
            }
            producer.ring.notifyConsumer()
            let bytes = try producer.send(0..<5)
            try producer.send(StreamEnd(records: 5, descriptors: 40, bytes: bytes))
        }
        #expect(counted.status == 71, "\(counted)")
        #expect(try counted.result()["rejected_records"] as? Int == 3)

        let place = try Place()
        let producer = try FakeProducer(place)
        let rx = try place.rx()
        try producer.send(producer.begin)
        try rx.await("receiving")
        (producer.region.base + 128).storeBytes(of: 0x4000_0000, as: UInt32.self)
        producer.ring.notifyConsumer()
        let corrupt = try rx.finish()
        #expect(corrupt.status == 71 && corrupt.errors.contains("corrupt"), "\(corrupt)")
    }

    @Test("Garbage written into the live region: neither side crashes or hangs", arguments: 0..<3 as Range<UInt64>)
    func scribble(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let place = try Place()
        let tx = try place.tx("--duration", "5", "--patience", "2", "--prog", "xor:1,fnv")
        let rx = try place.rx("--patience", "2")
        try rx.await("receiving")
        let region = try SharedRegion.open(named: "s.pfs-ring", in: FilePath(place.path))
        // First the slab alone, then slots too, then everything but the constants.
        let slab = 512 + 4 << 14
        let first = [slab, 512, 128][Int(seed % 3)]
        // For as long as both are there: what is written once, both may write over before either reads it.
        while tx.process.isRunning && rx.process.isRunning {
            for _ in 0..<20_000 {
                let offset = Int.random(in: first..<region.byteCount - 8, using: &random) & ~7
                (region.base + offset).storeBytes(of: random.next(), as: UInt64.self)
            }
            usleep(1000)
        }
        let results = [try tx.finish(), try rx.finish()]
        for result in results {
            #expect(!result.wasSignalled, "\(seed) \(result)")
            #expect([0, 65, 69, 71].contains(result.status), "\(seed) \(result)")
        }
        #expect(results.contains { $0.status == 71 }, "\(seed): it was noticed")
        #expect(try results[1].result()["rejected_records"] as? Int ?? 0 > 0 || first != slab, "\(seed)")
    }
}
