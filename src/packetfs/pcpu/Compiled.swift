import CPacketFSKernels

/// A schedule in the form that the C kernels take.
///
/// Immutable after `init`, which is what makes sharing it between threads safe.
final class Compiled: @unchecked Sendable {
    let plan: UnsafePointer<pfs_plan>

    init(_ schedule: Schedule) {
        let plan = UnsafeMutablePointer<pfs_plan>.allocate(capacity: 1)
        plan.initialize(to: pfs_plan())
        plan.pointee.counter_count = UInt32(schedule.counters.count)
        withUnsafeMutableBytes(of: &plan.pointee.counters) { $0.copyBytes(from: schedule.counters) }
        plan.pointee.final = pfs_rounds(schedule.final)
        plan.pointee.level_count = UInt32(schedule.levels.count)
        plan.pointee.first_level_is_final = schedule.levels.first?.map.table == schedule.final.table ? 1 : 0
        withUnsafeMutableBytes(of: &plan.pointee.levels) { levels in
            levels.withMemoryRebound(to: pfs_level.self) { levels in
                for (index, level) in schedule.levels.enumerated() {
                    levels[index].step = pfs_rounds(level.step)
                    levels[index].digests =
                        (level.crc32c ? 1 << PFS_DIGEST_CRC32C.rawValue : 0)
                        | (level.fnv ? 1 << PFS_DIGEST_FNV.rawValue : 0)
                }
            }
        }
        plan.pointee.reducer_count = UInt32(schedule.sources.count)
        withUnsafeMutableBytes(of: &plan.pointee.sources) { sources in
            for (index, source) in schedule.sources.enumerated() { sources[index] = source.valueIndex }
        }
        self.plan = UnsafePointer(plan)
    }

    deinit { plan.deallocate() }

    /// The kernels' constants: computed once in a process, when the first plan for C kernels is made.
    static let constants: Constants = Constants()

    /// Owns the constants. Immutable after `init`; lives as long as the process.
    struct Constants: @unchecked Sendable {
        let pointer: UnsafePointer<pfs_constants>

        fileprivate init() {
            // Vectors are loaded from it: each from one cache line.
            let memory = UnsafeMutableRawPointer.allocate(
                byteCount: MemoryLayout<pfs_constants>.size, alignment: 64)
            let constants = memory.bindMemory(to: pfs_constants.self, capacity: 1)
            pfs_constants_init(constants)
            pointer = UnsafePointer(constants)
        }
    }
}

extension pfs_rounds {
    fileprivate init(_ map: ByteMap) {
        self.init()
        count = UInt32(map.rounds.count)
        withUnsafeMutableBytes(of: &flip) { $0.copyBytes(from: map.rounds.map(\.xor)) }
        withUnsafeMutableBytes(of: &add) { $0.copyBytes(from: map.rounds.map(\.add)) }
    }
}

extension Schedule.Source {
    /// The index of the value, as `pfs_plan` numbers them.
    fileprivate var valueIndex: UInt8 {
        switch self {
        case .counter(let counter): UInt8(counter)
        case .crc32c(let level): UInt8(PFS_MAX_REDUCERS) + 2 * UInt8(level) + UInt8(PFS_DIGEST_CRC32C.rawValue)
        case .fnv(let level): UInt8(PFS_MAX_REDUCERS) + 2 * UInt8(level) + UInt8(PFS_DIGEST_FNV.rawValue)
        }
    }
}
