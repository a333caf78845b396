import PacketFSGram

/// The kernels in plain Swift, for architectures without kernels of their own.
///
/// One descriptor after the other, in tiles that stay in the first-level cache, so that memory is passed once however many
/// operations there are.
enum Portable {
    private static let tileBytes = 4096

    /// Adds to one row of values, or, with `each`, sets a row for each descriptor.
    static func execute(
        _ schedule: Schedule, on base: UnsafeMutableRawPointer, descriptors: UnsafeBufferPointer<Descriptor>,
        each: Bool, into values: UnsafeMutableBufferPointer<UInt64>
    ) {
        if each { values.update(repeating: 0) }
        let rowLength = schedule.sources.count
        var row = 0
        var results = Results(schedule)
        withUnsafeTemporaryAllocation(byteCount: tileBytes, alignment: 64) { scratch in
            for descriptor in descriptors {
                let bytes = UnsafeMutableRawBufferPointer(
                    start: base + Int(descriptor.offset), count: Int(descriptor.length))
                results.reset()
                run(schedule, bytes, scratch, &results)
                for (index, source) in schedule.sources.enumerated() { values[row + index] &+= results[source] }
                if each { row += rowLength }
            }
        }
    }

    /// What a program yields for one descriptor.
    private struct Results {
        var counts: [UInt64]
        var crcs: [UInt32]
        var fnvs: [UInt64]

        init(_ schedule: Schedule) {
            counts = [UInt64](repeating: 0, count: schedule.counters.count)
            crcs = [UInt32](repeating: .max, count: schedule.levels.count)
            fnvs = [UInt64](repeating: FNV.offsetBasis, count: schedule.levels.count)
        }

        mutating func reset() {
            for index in counts.indices { counts[index] = 0 }
            for index in crcs.indices { (crcs[index], fnvs[index]) = (.max, FNV.offsetBasis) }
        }

        subscript(source: Schedule.Source) -> UInt64 {
            switch source {
            case .counter(let counter): counts[counter]
            case .crc32c(let level): UInt64(~crcs[level])
            case .fnv(let level): fnvs[level]
            }
        }
    }

    private static func run(
        _ schedule: Schedule, _ bytes: UnsafeMutableRawBufferPointer, _ scratch: UnsafeMutableRawBufferPointer,
        _ results: inout Results
    ) {
        var start = 0
        while start < bytes.count {
            let end = min(start + tileBytes, bytes.count)
            let tile = UnsafeMutableRawBufferPointer(rebasing: bytes[start..<end])
            start = end
            for (index, byte) in schedule.counters.enumerated() {
                results.counts[index] &+= Reference.countEqual(UnsafeRawBufferPointer(tile), to: byte)
            }
            if !schedule.levels.isEmpty {
                let copy = UnsafeMutableRawBufferPointer(rebasing: scratch[..<tile.count])
                copy.copyMemory(from: UnsafeRawBufferPointer(tile))
                let bytes = UnsafeRawBufferPointer(copy)
                for (index, level) in schedule.levels.enumerated() {
                    apply(level.step, to: copy)
                    if level.crc32c { results.crcs[index] = CRC32C.update(results.crcs[index], bytes) }
                    if level.fnv { results.fnvs[index] = FNV.update(results.fnvs[index], bytes) }
                }
            }
            apply(schedule.final, to: tile)
        }
    }

    private static func apply(_ map: ByteMap, to bytes: UnsafeMutableRawBufferPointer) {
        for round in map.rounds {
            for i in bytes.indices { bytes[i] = (bytes[i] ^ round.xor) &+ round.add }
        }
    }
}

/// FNV-1a with 64 bits (IETF draft-eastlake-fnv).
enum FNV {
    static let offsetBasis: UInt64 = 14_695_981_039_346_656_037
    static let prime: UInt64 = 1_099_511_628_211

    static func update(_ hash: UInt64, _ bytes: UnsafeRawBufferPointer) -> UInt64 {
        bytes.reduce(hash) { ($0 ^ UInt64($1)) &* prime }
    }
}
