import PacketFSRing
import Testing

/// Random operations on a ring and on a plain model of it, in one thread: every answer must be the model's.
@Suite("Ring against a plain queue")
struct ModelTests {
    /// Indices that start just before they wrap, and some that do not.
    static let firstIndices: [UInt32] = [0, 5, .max, .max - 2, .max - 700]

    @Test(arguments: [1, 2, 4, 64, 1024] as [UInt32], firstIndices)
    func values(slots: UInt32, firstIndex: UInt32) throws {
        let seed = UInt64(slots) << 32 | UInt64(firstIndex)
        var random = SeededGenerator(seed: seed)
        let region = try TestRegion(slots: slots, firstIndex: firstIndex)
        var producer = try region.producer()
        var consumer = try region.consumer()
        var model: [UInt32] = []
        check(producer.capacity == Int(slots))
        check(consumer.capacity == Int(slots))

        for step in 0..<4000 {
            let context = "step \(step), seed \(seed)"
            // Phases that fill the ring alternate with phases that drain it.
            let filling = step / 200 % 2 == 0
            let choice = UInt.random(in: 0..<5, using: &random)
            switch filling ? choice : choice + 3 {
            case 0, 1, 6:
                let value = UInt32.random(in: 0 ... .max, using: &random)
                let fits = model.count < slots
                check(producer.tryPush(value) == fits, "\(context)")
                if fits { model.append(value) }
            case 2, 7:
                let size = Int.random(in: 0...min(2 * Int(slots), 300), using: &random)
                let values = (0..<size).map { _ in UInt32.random(in: 0 ... .max, using: &random) }
                let pushed = producer.push(contentsOf: values.span)
                check(pushed == min(size, Int(slots) - model.count), "\(context)")
                model += values[..<pushed]
            case 3, 5:
                var values = [UInt32](repeating: 0, count: Int.random(in: 0...min(2 * Int(slots), 300), using: &random))
                let size = values.count
                var span = values.mutableSpan
                let popped = consumer.pop(into: &span)
                check(popped == min(size, model.count), "\(context)")
                check(values[..<popped] == model[..<popped], "\(context)")
                model.removeFirst(popped)
            default:
                let expected = model.isEmpty ? nil : model.removeFirst()
                check(consumer.tryPop() == expected, "\(context)")
            }
            check(producer.count == model.count, "\(context)")
            check(consumer.count == model.count, "\(context)")
        }
    }

    /// A record as the model sees it.
    struct Record {
        var units: Range<Int>
        var byteCount: Int
        var seed: UInt64
    }

    static let shapes: [(slots: UInt32, units: Int)] = [
        (1, 1), (1, 7), (2, 1), (2, 5), (4, 3), (8, 64), (64, 52), (256, 40),
    ]

    @Test(arguments: shapes, firstIndices)
    func records(shape: (slots: UInt32, units: Int), firstIndex: UInt32) throws {
        let seed = UInt64(shape.slots) << 48 | UInt64(shape.units) << 32 | UInt64(firstIndex)
        var random = SeededGenerator(seed: seed)
        let region = try TestRegion(
            slots: shape.slots, slabByteCount: UInt64(shape.units * 64), firstIndex: firstIndex)
        let slab = region.base + Int(try RingGeometry(slots: shape.slots).regionByteCount)
        var producer = try region.producer()
        var consumer = try region.consumer()
        var model: [Record] = []

        for step in 0..<6000 {
            let context = "step \(step), seed \(seed)"
            let filling = step / 150 % 2 == 0
            if UInt.random(in: 0..<4, using: &random) < (filling ? 3 : 1) {
                let byteCount = byteCount(upTo: shape.units * 64, using: &random)
                let units = max(1, (byteCount + 63) / 64)
                let buffer = try producer.reserve(byteCount: byteCount)
                let possible = model.count < shape.slots && hasRoom(units, in: shape.units, beside: model)
                check((buffer != nil) == possible, "\(context)")
                guard let buffer, let address = buffer.baseAddress else { continue }

                let start = (UnsafeMutableRawPointer(address) - slab) / 64
                let record = Record(units: start..<start + units, byteCount: byteCount / 8 * 8, seed: random.next())
                check(Int(bitPattern: address) % 64 == 0 && buffer.count == units * 64, "\(context)")
                try need(start >= 0 && record.units.upperBound <= shape.units, "\(context)")
                try need(model.allSatisfy { !$0.units.overlaps(record.units) }, "\(context)")
                fill(buffer, seed: record.seed)
                if UInt.random(in: 0..<8, using: &random) == 0 {
                    producer.discard()
                } else {
                    producer.commit()
                    model.append(record)
                }
            } else {
                // Look at some, in any order, then release some of those that were seen.
                let depth = Int.random(in: 0...model.count, using: &random)
                for ahead in (0..<depth).shuffled(using: &random) {
                    let buffer = try need(try consumer.peek(ahead: ahead), "\(context)")
                    check(buffer.count == (shape.units - model[ahead].units.lowerBound) * 64, "\(context)")
                    let intact = isIntact(buffer, byteCount: model[ahead].byteCount, seed: model[ahead].seed)
                    check(intact, "record \(ahead) of \(model.count), \(context)")
                }
                check(try consumer.peek(ahead: model.count) == nil, "\(context)")
                let released = Int.random(in: 0...depth, using: &random)
                consumer.release(released)
                model.removeFirst(released)
            }
            check(producer.count == model.count, "\(context)")
        }
    }

    /// Mostly small records, now and then one up to the whole slab.
    private func byteCount(upTo limit: Int, using random: inout SeededGenerator) -> Int {
        switch UInt.random(in: 0..<10, using: &random) {
        case 0: limit
        case 1: 0
        case 2...4: Int.random(in: 0...limit, using: &random)
        default: Int.random(in: 0...max(64, limit / 8), using: &random)
        }
    }

    /// Whether the slab has so many contiguous free units. Those that were skipped at the end of the slab, because the
    /// next record did not fit there, come back together with the record before them.
    private func hasRoom(_ units: Int, in slabUnits: Int, beside records: [Record]) -> Bool {
        var isFree = [Bool](repeating: true, count: slabUnits)
        for (index, record) in records.enumerated() {
            let isSkip = index + 1 < records.count && records[index + 1].units.lowerBound < record.units.lowerBound
            let end = isSkip ? slabUnits : record.units.upperBound
            for unit in record.units.lowerBound..<end { isFree[unit] = false }
        }
        var run = 0
        for free in isFree {
            run = free ? run + 1 : 0
            if run >= units { return true }
        }
        return false
    }

    @Test("A record may be as large as the slab, and no larger")
    func largestRecord() throws {
        let region = try TestRegion(slots: 4, slabByteCount: 640)
        var producer = try region.producer()
        var consumer = try region.consumer()
        // Wherever the record before it ended.
        for size in [64, 128, 576, 640] {
            _ = try need(try producer.reserve(byteCount: size))
            producer.commit()
            check(try producer.reserve(byteCount: 640) == nil)
            _ = try need(try consumer.peek())
            consumer.release()
            check(try producer.reserve(byteCount: 640)?.count == 640)
            producer.discard()
        }
        #expect(throws: RingError.recordTooLarge(byteCount: 641, slabByteCount: 640)) {
            try producer.reserve(byteCount: 641)
        }
    }

    @Test("A bare queue has no room for records")
    func noSlab() throws {
        let region = try TestRegion(slots: 4)
        var producer = try region.producer()
        #expect(throws: RingError.recordTooLarge(byteCount: 0, slabByteCount: 0)) {
            try producer.reserve(byteCount: 0)
        }
    }
}
