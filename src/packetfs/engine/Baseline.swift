import PacketFSGram
import PacketFSProcess

extension TotalsExecutor {
    /// Executes the tables of `pool` over and over for the given time.
    mutating func runBaseline(
        _ pool: BaselinePool, _ nanoseconds: UInt64, block: PCoreBlock, control: borrowing ControlRegion
    ) {
        let deadline = Clock.monotonic() + nanoseconds
        var next = 0
        while Clock.monotonic() < deadline,
            control.phaseWord.pointee.load(ordering: .relaxed) == RunPhase.running.rawValue
        {
            for _ in 0..<PCoreWorker.batch {
                let table = pool.tables[next]
                run(table.program, table.descriptors, byteCount: table.byteCount)
                next = next + 1 < pool.tables.count ? next + 1 : 0
            }
        }
        block.endNanoseconds = Clock.monotonic()
        publish(to: block, position: 0)
        block.state.pointee.store(PCoreState.done.rawValue, ordering: .releasing)
    }
}

/// Tables generated ahead, so that the baseline measures the kernels and not the generator: 2^18 descriptors.
///
/// Lives until the process ends.
struct BaselinePool {
    struct Table {
        let program: Int
        let descriptors: UnsafeBufferPointer<Descriptor>
        let byteCount: UInt64
    }

    let tables: [Table]

    init(_ work: RandomParameters, descriptorsPerRecord each: Int, _ mix: ProgramMix) {
        let generator = RandomDescriptors(
            region: work.rangeStart..<work.rangeEnd, alignment: work.alignment,
            seed: work.seed, stream: UInt64.max)
        tables = (0..<max(1, (1 << 18) / each)).map { index in
            let table = UnsafeMutableBufferPointer<Descriptor>.allocate(capacity: each)
            generator.fill(table, from: UInt64(index * each))
            return Table(
                program: mix.choose(seed: work.seed, pcore: -1, record: UInt64(index)),
                descriptors: UnsafeBufferPointer(table), byteCount: table.reduce(0) { $0 + UInt64($1.length) })
        }
    }
}
