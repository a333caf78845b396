extension Plan {
    /// The plan in a form that stays the same when that of the kernels changes: how `pfs_pcpu_bench` hands it to the kernels of another
    /// revision.
    ///
    /// Bytes, one after the other. A map is the number of its rounds, then `xor` and `add` of each.
    /// - the number of bytes to count in the original data, then those bytes;
    /// - the map from the original bytes to those that stay in memory;
    /// - 1 where the first level sees the bytes that stay in memory, else 0;
    /// - the number of levels, then for each the map from the level before (at first: from the original bytes), then 1 for crc32c plus
    ///   2 for fnv;
    /// - the number of reducing operations, then for each where its value comes from: 0 for a counter, 1 for crc32c, 2 for fnv, then
    ///   the index of the counter or level.
    package var listing: [UInt8] {
        var bytes = [UInt8(schedule.counters.count)] + schedule.counters
        func append(_ map: ByteMap) {
            bytes.append(UInt8(map.rounds.count))
            for round in map.rounds { bytes += [round.xor, round.add] }
        }
        append(schedule.final)
        bytes.append(schedule.levels.first?.map.table == schedule.final.table ? 1 : 0)
        bytes.append(UInt8(schedule.levels.count))
        for level in schedule.levels {
            append(level.step)
            bytes.append((level.crc32c ? 1 : 0) | (level.fnv ? 2 : 0))
        }
        bytes.append(UInt8(schedule.sources.count))
        for source in schedule.sources {
            switch source {
            case .counter(let index): bytes += [0, UInt8(index)]
            case .crc32c(let level): bytes += [1, UInt8(level)]
            case .fnv(let level): bytes += [2, UInt8(level)]
            }
        }
        return bytes
    }
}
