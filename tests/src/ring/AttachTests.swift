import Glibc
import PacketFSRing
import PacketFSUAPI
import SystemPackage
import Testing

@Suite("Formatting and attaching")
struct AttachTests {
    @Test(arguments: [0, 3, 6, 1000, .max] as [UInt32])
    func badSlots(slots: UInt32) {
        #expect(throws: RingError.self) { try RingGeometry(slots: slots) }
    }

    @Test(arguments: [1, 63, 65, 64 << 32 + 64, .max] as [UInt64])
    func badSlab(byteCount: UInt64) {
        #expect(throws: RingError.self) { try RingGeometry(slots: 4, slabByteCount: byteCount) }
    }

    @Test("The largest ring is 8 GiB of slots and 256 GiB of slab")
    func largest() throws {
        let geometry = try RingGeometry(slots: 1 << 31, slabByteCount: 64 << 32)
        check(geometry.regionByteCount == 512 + 4 << 31 + 64 << 32)
    }

    @Test("Format refuses a mapping that is too short or misaligned")
    func badMapping() throws {
        let region = try TestRegion(byteCount: 4096)
        let geometry = try RingGeometry(slots: 16, slabByteCount: 64)
        check(geometry.regionByteCount == 512 + 128 + 64)
        #expect(throws: RingError.regionTooSmall(needed: 704, found: 703)) {
            try Ring.create(at: region.base, byteCount: 703, geometry: geometry)
        }
        #expect(throws: RingError.misalignedRegion) {
            try Ring.create(at: region.base + 64, byteCount: 1024, geometry: geometry)
        }
        #expect(throws: RingError.notReady) { _ = try region.producer() }
    }

    @Test("The mapping must hold what the header promises")
    func shortMapping() throws {
        let region = try TestRegion(slots: 16, slabByteCount: 64)
        for length in [0, 511] {
            #expect(throws: RingError.regionTooSmall(needed: 512, found: UInt64(length))) {
                _ = try RingConsumer(attaching: region.base, byteCount: length, lock: region.file)
            }
        }
        #expect(throws: RingError.regionTooSmall(needed: 704, found: 703)) {
            _ = try RingConsumer(attaching: region.base, byteCount: 703, lock: region.file)
        }
        _ = try RingConsumer(attaching: region.base, byteCount: 704, lock: region.file)
    }

    @Test("An empty region is not ready; another magic is no ring; another version says which")
    func firstWords() throws {
        let region = try TestRegion(slots: 16, slabByteCount: 256)
        region[0] = UInt64(0)
        #expect(throws: RingError.notReady) { _ = try region.producer() }
        region[0] = UInt64(PFS_FP_MAGIC) ^ 1
        check(isCorrupt { _ = try region.producer() })
        region[0] = UInt64(PFS_FP_MAGIC)
        region[8] = UInt32(2)
        #expect(throws: RingError.wrongVersion(found: 2)) { _ = try region.consumer() }
    }

    /// Every constant word of the header behind magic and version.
    @Test(arguments: stride(from: 12, to: 128, by: 4).map { $0 })
    func constants(offset: Int) throws {
        let region = try TestRegion(slots: 16, slabByteCount: 256)
        let right = region[offset, as: UInt32.self]
        for wrong: UInt32 in [0, 1, 16, 32, 0x8000_0000, .max, right &+ 1, right &- 1, right ^ 64, right &* 2]
        where wrong != right {
            region[offset] = wrong
            check(isCorrupt { _ = try region.producer() }, "\(wrong) at \(offset)")
            check(isCorrupt { _ = try region.consumer() }, "\(wrong) at \(offset)")
        }
        region[offset] = right
        _ = try region.producer()
        _ = try region.consumer()
    }

    @Test("A consistent header for a larger ring than is mapped is refused")
    func consistentLie() throws {
        let region = try TestRegion(slots: 16, slabByteCount: 256)
        let large = try TestRegion(slots: 16, slabByteCount: 1 << 20)
        region.base.copyMemory(from: large.base, byteCount: 128)
        #expect(throws: RingError.regionTooSmall(needed: 640 + 1 << 20, found: 4096)) { _ = try region.producer() }
    }

    @Test("Indices that claim more entries than there are slots are refused")
    func indices() throws {
        let region = try TestRegion(slots: 16, slabByteCount: 256, firstIndex: .max)
        for head: UInt32 in [15, .max - 1, 0x7fff_ffff] {
            region[128] = head
            let isFull = head == 15
            check(isCorrupt { _ = try region.producer() } == !isFull, "\(head)")
            check(isCorrupt { _ = try region.consumer() } == !isFull, "\(head)")
        }
        region[128] = UInt32.max
        region[136] = UInt32(4)
        check(isCorrupt { _ = try region.producer() })
        region[136] = UInt32(3)
        _ = try region.producer()
    }

    @Test("Each role is given once, and again when its owner is gone")
    func roles() throws {
        let region = try TestRegion(slots: 16)
        check(try !Ring.isTaken(.producer, lock: region.file))
        do {
            let producer = try region.producer()
            check(try Ring.isTaken(.producer, lock: region.file))
            check(try !Ring.isTaken(.consumer, lock: region.file))
            #expect(throws: RingError.alreadyTaken(.producer)) { _ = try region.producer() }
            let consumer = try region.consumer()
            #expect(throws: RingError.alreadyTaken(.consumer)) { _ = try region.consumer() }
            _ = consumer.count + producer.count
        }
        check(try !Ring.isTaken(.producer, lock: region.file))
        check(try !Ring.isTaken(.consumer, lock: region.file))
        _ = try region.producer()
        _ = try region.consumer()
    }

    @Test("A role ends with its owner, even while a child holds a copy of its descriptor")
    func inheritedLock() throws {
        let region = try TestRegion(slots: 16)
        var own = stat()
        fstat(region.file.rawValue, &own)
        var copies: [Int32] = []
        do {
            let producer = try region.producer()
            // What a child has between being forked and executing its program: the same open file description.
            for descriptor in try openDescriptors() where descriptor != region.file.rawValue {
                var status = stat()
                guard fstat(descriptor, &status) == 0, status.st_ino == own.st_ino, status.st_dev == own.st_dev else {
                    continue
                }
                copies.append(dup(descriptor))
            }
            _ = producer.count
        }
        check(copies.count == 1 && copies[0] >= 0)
        check(try !Ring.isTaken(.producer, lock: region.file))
        _ = try region.producer()
        for copy in copies { close(copy) }
    }

    private func openDescriptors() throws -> [Int32] {
        let folder = try need(opendir("/proc/self/fd"))
        defer { closedir(folder) }
        var numbers: [Int32] = []
        while let entry = readdir(folder) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if let number = Int32(name), number != dirfd(folder) { numbers.append(number) }
        }
        return numbers
    }

    @Test("A failed attach leaves the role free")
    func failedAttach() throws {
        let region = try TestRegion(slots: 16)
        region[128] = UInt32(17)
        check(isCorrupt { _ = try region.producer() })
        check(try !Ring.isTaken(.producer, lock: region.file))
    }

    @Test("A descriptor that is none is a system error")
    func badLock() throws {
        let region = try TestRegion(slots: 16)
        let none = FileDescriptor(rawValue: 1 << 20)
        #expect(throws: RingError.system(call: "open(/proc/self/fd/1048576)", errno: .noSuchFileOrDirectory)) {
            _ = try RingProducer(attaching: region.base, byteCount: region.byteCount, lock: none)
        }
        #expect(throws: RingError.system(call: "fcntl(F_OFD_GETLK)", errno: .badFileDescriptor)) {
            _ = try Ring.isTaken(.producer, lock: none)
        }
    }

    @Test("A producer that takes over continues behind its predecessor's records")
    func producerTakesOver() throws {
        let region = try TestRegion(slots: 8, slabByteCount: 640, firstIndex: .max - 1)
        var consumer = try region.consumer()
        var sizes: [Int] = []
        var released = 0
        for (turn, size) in [192, 320, 128, 256, 64, 256, 640, 64].enumerated() {
            var producer = try region.producer()
            if let lost = try producer.reserve(byteCount: 64) {
                fill(lost, seed: 999)
            }
            producer.discard()
            while try producer.reserve(byteCount: size) == nil {
                let record = try need(try consumer.peek())
                check(isIntact(record, byteCount: sizes[released], seed: UInt64(released)))
                consumer.release()
                released += 1
            }
            producer.discard()
            fill(try need(try producer.reserve(byteCount: size)), seed: UInt64(turn))
            producer.commit()
            sizes.append(size)
            // The first three fit side by side: a successor must know where its predecessor stopped.
            check(turn > 2 || released == 0, "turn \(turn)")
        }
        while let record = try consumer.peek() {
            check(isIntact(record, byteCount: sizes[released], seed: UInt64(released)))
            consumer.release()
            released += 1
        }
        check(released == sizes.count)
    }

    @Test("A consumer that takes over gets again what was not released")
    func consumerTakesOver() throws {
        let region = try TestRegion(slots: 8, slabByteCount: 640)
        var producer = try region.producer()
        for seed in 0..<3 {
            fill(try need(try producer.reserve(byteCount: 64)), seed: UInt64(seed))
            producer.commit()
        }
        do {
            var first = try region.consumer()
            _ = try first.peek(ahead: 2)
            first.release()
        }
        var second = try region.consumer()
        check(second.count == 2)
        check(isIntact(try need(try second.peek()), byteCount: 64, seed: 1))
    }

    @Test("Every error says something")
    func descriptions() {
        let errors: [RingError] = [
            .notReady, .wrongVersion(found: 7), .corrupt(reason: "why"), .alreadyTaken(.consumer),
            .invalidGeometry(reason: "why"), .regionTooSmall(needed: 2, found: 1), .misalignedRegion,
            .recordTooLarge(byteCount: 2, slabByteCount: 1), .system(call: "open", errno: .notPermitted),
        ]
        check(Set(errors.map(\.description)).count == errors.count)
        check(RingError.wrongVersion(found: 7).description.contains("7"))
        check(RingError.alreadyTaken(.consumer).description.contains("consumer"))
    }
}

/// Whether `body` throws `RingError.corrupt`.
func isCorrupt(_ body: () throws -> Void) -> Bool {
    do {
        try body()
    } catch RingError.corrupt {
        return true
    } catch {}
    return false
}
