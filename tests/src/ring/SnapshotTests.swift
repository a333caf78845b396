import Glibc
import PacketFSRing
import SystemPackage
import Testing

/// A ring looked at from outside.
@Suite("Snapshots")
struct SnapshotTests {
    @Test("It shows what is there, across the wrap of the indices")
    func figures() throws {
        let region = try TestRegion(slots: 8, slabByteCount: 4096 - 512 - 128, firstIndex: .max - 1)
        var producer = try region.producer()
        var consumer = try region.consumer()
        for _ in 0..<5 {
            _ = try need(try producer.reserve(byteCount: 100))
            producer.commit()
        }
        _ = try consumer.peek()
        consumer.release()
        let snapshot = try RingSnapshot(reading: region.file)
        check(snapshot.geometry == (try RingGeometry(slots: 8, slabByteCount: 4096 - 512 - 128)))
        check(snapshot.head == 3 && snapshot.tail == .max && snapshot.queued == 4)
        check(snapshot.slabNext == 10 && !snapshot.consumerSleeps && !snapshot.producerSleeps)
        region[132] = UInt32(1)
        check(try RingSnapshot(reading: region.file).consumerSleeps)
        try snapshot.checkEntries(in: region.file)
    }

    @Test("Wrong entries are found where they are queued, and only there")
    func entries() throws {
        let region = try TestRegion(slots: 8, slabByteCount: 4096 - 512 - 128, firstIndex: 6)
        var producer = try region.producer()
        for _ in 0..<4 { check(producer.tryPush(53)) }
        for slot in 0..<8 {
            region[512 + 4 * slot] = UInt32(54)  // one unit behind the last
            let isQueued = [6, 7, 0, 1].contains(slot)
            let snapshot = try RingSnapshot(reading: region.file)
            check(isCorrupt { try snapshot.checkEntries(in: region.file) } == isQueued, "slot \(slot)")
            region[512 + 4 * slot] = UInt32(53)
        }
        // Without a slab an entry may be anything.
        let values = try TestRegion(slots: 8)
        var other = try values.producer()
        check(other.tryPush(.max))
        try RingSnapshot(reading: values.file).checkEntries(in: values.file)
    }

    @Test("What attaching refuses, it refuses; a file may be too short or get shorter")
    func refused() throws {
        let region = try TestRegion(slots: 16, slabByteCount: 256)
        for (offset, value) in [(8, 2), (16, 3), (20, 7), (56, 1), (128, 17), (136, 4)] as [(Int, UInt32)] {
            let right = region[offset, as: UInt32.self]
            region[offset] = value
            #expect(throws: RingError.self) { _ = try RingSnapshot(reading: region.file) }
            region[offset] = right
        }
        let snapshot = try RingSnapshot(reading: region.file)
        region[128] = UInt32(2)
        try region.file.resize(to: 640)
        #expect(throws: RingError.regionTooSmall(needed: 896, found: 640)) {
            _ = try RingSnapshot(reading: region.file)
        }
        try region.file.resize(to: 511)
        #expect(throws: RingError.regionTooSmall(needed: 512, found: 511)) {
            _ = try RingSnapshot(reading: region.file)
        }
        try snapshot.checkEntries(in: region.file)  // nothing was queued then
        let writeOnly = try FileDescriptor.open("/dev/null", .writeOnly)
        defer { try? writeOnly.close() }
        #expect(throws: RingError.regionTooSmall(needed: 512, found: 0)) { _ = try RingSnapshot(reading: writeOnly) }
    }

    @Test("An honest ring at work never looks corrupt", arguments: [1, 4, 64] as [UInt32])
    func honest(slots: UInt32) throws {
        let region = try TestRegion(slots: slots, slabByteCount: 2048, firstIndex: .max - 5000)
        let watching = Finished()
        try together([
            {
                defer { for _ in 0..<2 { watching.add() } }
                for _ in 0..<3000 {
                    let snapshot = try RingSnapshot(reading: region.file)
                    try snapshot.checkEntries(in: region.file)
                    guard snapshot.queued <= slots else { throw Failure("\(snapshot)") }
                }
            },
            {
                var producer = try region.producer()
                while !watching.all {
                    guard try producer.reserve(byteCount: 128) != nil else {
                        sched_yield()
                        continue
                    }
                    producer.commit()
                }
            },
            {
                var consumer = try region.consumer()
                while !watching.all {
                    if try consumer.peek() == nil { sched_yield() } else { consumer.release() }
                }
            },
        ])
    }
}
