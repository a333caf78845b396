import PacketFSGram

/// The kernels in plain Swift, for architectures without kernels of their own.
///
/// One descriptor after the other, in tiles that stay in the first-level cache, so that memory is passed once however many
/// operations there are.
enum Portable {
    private static let tileBytes = 4096

    static func execute(
        _ schedule: Schedule, on base: UnsafeMutableRawPointer, descriptors: UnsafeBufferPointer<Descriptor>,
        totals: UnsafeMutableBufferPointer<UInt64>
    ) {
        var counts = [UInt64](repeating: 0, count: schedule.counters.count)
        var crcs = [UInt64](repeating: 0, count: schedule.levels.count)
        var fnvs = crcs
        withUnsafeTemporaryAllocation(byteCount: tileBytes, alignment: 64) { scratch in
            for descriptor in descriptors {
                let bytes = UnsafeMutableRawBufferPointer(
                    start: base + Int(descriptor.offset), count: Int(descriptor.length))
                digest(schedule, bytes, scratch, &counts, &crcs, &fnvs)
            }
        }
        for (index, source) in schedule.sources.enumerated() {
            switch source {
            case .counter(let counter): totals[index] &+= counts[counter]
            case .crc32c(let level): totals[index] &+= crcs[level]
            case .fnv(let level): totals[index] &+= fnvs[level]
            }
        }
    }

    private static func digest(
        _ schedule: Schedule, _ bytes: UnsafeMutableRawBufferPointer, _ scratch: UnsafeMutableRawBufferPointer,
        _ counts: inout [UInt64], _ crcs: inout [UInt64], _ fnvs: inout [UInt64]
    ) {
        var crc = [UInt32](repeating: .max, count: schedule.levels.count)
        var fnv = [UInt64](repeating: FNV.offsetBasis, count: schedule.levels.count)
        var start = 0
        while start < bytes.count {
            let end = min(start + tileBytes, bytes.count)
            let tile = UnsafeMutableRawBufferPointer(rebasing: bytes[start..<end])
            start = end
            for (index, byte) in schedule.counters.enumerated() {
                counts[index] &+= Reference.countEqual(UnsafeRawBufferPointer(tile), to: byte)
            }
            if !schedule.levels.isEmpty {
                let copy = UnsafeMutableRawBufferPointer(rebasing: scratch[..<tile.count])
                copy.copyMemory(from: UnsafeRawBufferPointer(tile))
                for (index, level) in schedule.levels.enumerated() {
                    apply(level.step, to: copy)
                    if level.crc32c { crc[index] = CRC32C.update(crc[index], UnsafeRawBufferPointer(copy)) }
                    if level.fnv { fnv[index] = FNV.update(fnv[index], UnsafeRawBufferPointer(copy)) }
                }
            }
            apply(schedule.final, to: tile)
        }
        for (index, level) in schedule.levels.enumerated() {
            if level.crc32c { crcs[index] &+= UInt64(~crc[index]) }
            if level.fnv { fnvs[index] &+= fnv[index] }
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
