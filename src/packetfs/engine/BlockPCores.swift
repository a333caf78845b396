import Glibc
import PacketFSGram
import PacketFSMemory
import PacketFSPCPU
import PacketFSProcess
import PacketFSRing
import SystemPackage

/// What runs that yield values block by block have in common: their pcores, how these end, and the tables through which values
/// come back. Used by one thread.
package final class BlockPCores {
    package let program: Program
    package let isa: ISA
    /// CPUs that pcores go round over, and how many pcores there are.
    package let cpus: [Int], count: Int
    package let blockByteCount: Int
    /// Nanoseconds from the start of the first pcore's process until all were ready.
    package private(set) var readyNanoseconds: UInt64 = 0
    /// Records executed, and how often a pcore that died was replaced; final after ``end(_:)``.
    package private(set) var records: UInt64 = 0, restarts = 0

    private let restartsFailed: Bool
    private let report: (String) -> Void
    private var tables = ValueTables()
    private var zeroCache: [Int: [UInt64]] = [:]

    /// - Parameter report: is told what the user should know.
    package init(
        _ job: BlockJob, isa: ISA, cpus: [Int], report: @escaping (String) -> Void
    ) {
        program = job.program
        self.isa = isa
        self.cpus = cpus
        count = job.pcores ?? cpus.count
        blockByteCount = job.blockByteCount
        restartsFailed = job.restartsFailed
        self.report = report
    }

    package var reducerCount: Int { program.reducers.count }

    /// The most blocks of a record: so many that a pcore is busy for a while and FNV has several to interleave.
    package var blocksPerRecord: Int { max(1, min((8 << 20) / blockByteCount, 4096)) }

    /// Slots of each pcore's ring: a record in hand and some to follow.
    package static let slots = 8

    /// The records of one pcore out of `spans`.
    package func records(of spans: any SpanSource) -> SpanRecords {
        SpanRecords(spans: spans, instructions: program.instructions, rows: Self.slots)
    }

    /// Starts the pcores, and lets them run once all are ready.
    ///
    /// - Parameters:
    ///   - job: what pcores do with blocks of this many bytes in all, `limit`.
    ///   - blocksPerRecord: the most blocks of a span.
    ///   - policy: what becomes of a pcore that dies, if such pcores are to be replaced at all.
    ///   - files: what pcores inherit; the table of values is added.
    ///   - willRunAgain: see ``PCoreGroup``.
    ///   - whileWaiting: called every few milliseconds until all are ready.
    package func start(
        _ spans: any SpanSource, job: PCoreJob, limit: Int, blocksPerRecord blocks: Int, policy: RestartPolicy,
        files: PCoreFiles,
        signals: TerminationSignals?, willRunAgain: @escaping (RingFeed<SpanRecords>) throws -> Void = { _ in },
        whileWaiting: () throws -> Void = {}
    ) throws -> PCoreGroup<SpanRecords> {
        let began = Clock.monotonic()
        let parameters = RunParameters(
            pcores: count, limit: limit, descriptorsPerRecord: blocks, lowWater: Self.slots, job: job)
        tables = try ValueTables(pcores: count, slots: Self.slots, rowCount: blocks * reducerCount)
        let record = RecordFormat.byteCount(descriptors: blocks, instructions: program.steps.count)
        let whole = (record + RecordFormat.alignment - 1) / RecordFormat.alignment * RecordFormat.alignment
        let (report, tables) = (report, tables)
        var group = try PCoreGroup.start(
            control: ControlRegion(parameters: parameters, mix: ProgramMix(program)),
            geometry: RingGeometry(slots: UInt32(Self.slots), slabByteCount: UInt64((Self.slots + 1) * whole)),
            cpus: cpus, sources: (0..<count).map { _ in records(of: spans) },
            lowWater: Self.slots, policy: restartsFailed ? policy : .never,
            report: report, willRunAgain: willRunAgain
        ) { index in
            var files = files
            files.values = tables.descriptor(index)
            return files
        }
        let fault = try group.awaitReady(signals, tick: whileWaiting)
        readyNanoseconds = Clock.monotonic() - began
        try check(fault, group)
        group.control.start()
        return group
    }

    /// Gives records to pcores that have room, until none has; how many.
    package func deal(_ feeds: [RingFeed<SpanRecords>]) throws -> Int {
        var made = 0
        // One record each in turn, so that the last ones are spread.
        var again = true
        while again {
            again = false
            for feed in feeds {
                guard try feed.produce(atMost: 1) > 0 else { continue }
                made += 1
                again = true
            }
        }
        return made
    }

    /// Takes the values of what pcores have released; how many records that was.
    package func collect(_ feeds: [RingFeed<SpanRecords>], _ take: (BlockSpan, [UInt64]) throws -> Void) throws -> Int {
        var taken = 0
        for (index, feed) in feeds.enumerated() where !feed.source.pending.isEmpty {
            for done in feed.source.takeDone(unreleased: try feed.unreleased().count) {
                let blocks = (done.span.byteCount + blockByteCount - 1) / blockByteCount
                try take(
                    done.span,
                    tables.values(pcore: index, position: done.position, count: blocks * reducerCount))
                taken += 1
            }
        }
        return taken
    }

    /// What the program yields for so many zeros.
    package func zeroValues(_ count: Int) -> [UInt64] {
        if let known = zeroCache[count] { return known }
        let zeros = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 64)
        defer { zeros.deallocate() }
        zeros.initializeMemory(as: UInt8.self, repeating: 0)
        var values = [UInt64](repeating: 0, count: reducerCount)
        withUnsafePointer(to: Descriptor(offset: 0, length: UInt32(count))) { descriptor in
            values.withUnsafeMutableBufferPointer { values in
                Plan(program, isa: isa).execute(
                    on: zeros.baseAddress!, descriptors: UnsafeBufferPointer(start: descriptor, count: 1),
                    values: values)
            }
        }
        zeroCache[count] = values
        return values
    }

    /// Ends the pcores in order.
    package func end(_ group: inout PCoreGroup<SpanRecords>) throws {
        let fault = group.finish(nil)
        try check(fault, group)
        let tally = (0..<count).reduce(Tally()) { $0 + group.control.block($1).latest.tally }
        records = tally.records
        restarts = group.restartCount
        guard tally.rejectedRecords == 0 else {
            throw EngineError.rejected(records: tally.rejectedRecords)
        }
    }

    /// Ends with what a fault means, if there was one.
    package func check(_ fault: RunFault?, _ group: borrowing PCoreGroup<SpanRecords>) throws {
        guard let fault else { return }
        if case .interrupted(let signal) = fault { throw Interrupted(signal: signal) }
        guard case .died(let pcore, _, let end) = fault, end == .exited(PCoreExit.io) else {
            throw EngineError.ended(fault)
        }
        guard let failure = group.control.block(pcore).failure else { throw EngineError.inputEnded }
        let reason = Errno(rawValue: failure.errno)
        switch failure.during {
        case .inputEnded: throw EngineError.inputEnded
        case .readingInput: throw EngineError.readingInput(reason)
        case .writingOutput: throw EngineError.writingOutput(reason)
        }
    }
}

/// The tables through which pcores give back values, one each.
private final class ValueTables {
    private final class Table {
        let region: SharedRegion
        init(_ region: consuming SharedRegion) { self.region = region }
    }

    private let tables: [Table]
    private let slots: Int
    private let rowCount: Int

    /// None.
    init() { (tables, slots, rowCount) = ([], 1, 0) }

    init(pcores: Int, slots: Int, rowCount: Int) throws(MemoryError) {
        self.slots = slots
        self.rowCount = rowCount
        var tables: [Table] = []
        for _ in 0..<pcores {
            tables.append(
                Table(try SharedRegion.create(byteCount: max(8, slots * rowCount * 8), name: "pfs-values")))
        }
        self.tables = tables
    }

    func descriptor(_ pcore: Int) -> FileDescriptor { tables[pcore].region.fileDescriptor }

    /// A copy of the first values of the row of ring entry `position`, which the pcore has released.
    func values(pcore: Int, position: UInt32, count: Int) -> [UInt64] {
        let first =
            tables[pcore].region.base.assumingMemoryBound(to: UInt64.self)
            + (Int(position) & (slots - 1)) * rowCount
        return Array(UnsafeBufferPointer(start: first, count: count))
    }
}
