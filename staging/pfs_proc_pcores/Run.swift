import Glibc
import PacketFSEngine
import PacketFSGram
import PacketFSMemory
import PacketFSPCPU
import PacketFSRing
import PacketFSTools
import RandomRuns
import Synchronization
import SystemPackage

/// Runs the process-per-pcore benchmark once.
struct ProcPcoresRun {
    private static let sampleInterval: UInt64 = 500_000_000
    /// Records produced for one pcore before the next one gets its turn: enough to be worth a switch of processes.
    private static let turn = 512

    private let configuration: RunConfiguration
    private let isa: ISA
    private let pcoreCPUs: [Int]
    private let producerCPU: Int?
    private let range: Range<UInt64>
    private let file: InputFile?
    private let regions: [Range<UInt64>]
    private let report: (RunEvent) -> Void

    /// Checks the configuration against itself, the input file and the machine. Nothing is allocated or started yet.
    init(_ configuration: RunConfiguration, report: @escaping (RunEvent) -> Void) throws(ToolError) {
        try configuration.validate()
        self.configuration = configuration
        self.report = report
        isa = try Kernels.selected()
        pcoreCPUs = try CPUs.chosen(first: configuration.firstCPU, count: configuration.cpuCount)
        producerCPU = try Self.chooseProducerCPU(configuration, pcoreCPUs: pcoreCPUs)
        file = try configuration.openFile()
        range = try configuration.range(fileByteCount: file?.byteCount)
        if configuration.partitions {
            let grain = UInt64(max(configuration.work.alignment, 64))
            guard let regions = partition(range, into: configuration.pcores, alignment: grain) else {
                throw ToolError(
                    .usage,
                    "--pcores \(configuration.pcores): the range of \(range.count) bytes is too short to give each "
                        + "pcore of a writing program a region of \(grain) bytes; use fewer pcores or a longer range")
            }
            self.regions = regions
        } else {
            regions = Array(repeating: range, count: configuration.pcores)
        }
    }

    /// Does the whole run. Whatever way it ends, no process, file or page of it is left.
    func run() throws -> RunOutcome {
        let blob = try makeBlob()
        try fill(blob)
        // Only from here on is there anything that a signal must not cut short.
        let signals = try TerminationSignals()
        var fault: RunFault?
        var baseline: Double?
        if configuration.baselineSeconds > 0 {
            baseline = try measureBaseline(blob, &fault, signals)
            // A writing baseline has changed the bytes that the run starts from.
            if fault == nil, configuration.work.mix.writes { try fill(blob) }
        }
        if case .interrupted(let signal)? = fault { throw Interrupted(signal: signal) }
        let outcome = try runPCores(blob, baseline: baseline, signals)
        return try verifyIfAsked(outcome, blob, signals)
    }

    // MARK: - Setting up

    private static func chooseProducerCPU(
        _ configuration: RunConfiguration, pcoreCPUs: [Int]
    ) throws(ToolError) -> Int? {
        let allowed = try ToolError.coded(CPUs.allowed)
        guard configuration.pinsProducer else { return nil }
        guard let asked = configuration.producerCPU else {
            return allowed.first { !pcoreCPUs.prefix(configuration.pcores).contains($0) } ?? pcoreCPUs.last
        }
        guard allowed.contains(asked) else {
            throw ToolError(
                .unavailable, "--producer-cpu \(asked): this process may use CPUs \(CPUs.describe(allowed)) only")
        }
        return asked
    }

    private func cpu(of pcore: Int) -> Int { pcoreCPUs[pcore % pcoreCPUs.count] }

    private func makeBlob() throws -> HugeBlob {
        report(.phase("allocating \(configuration.blobByteCount >> 20) MiB"))
        let numa = try blobPolicy()
        guard let directory = configuration.hugeDirectory else {
            return try HugeBlob.create(byteCount: configuration.blobByteCount, pages: configuration.pages, numa: numa)
        }
        // Without a name: the pcores inherit the descriptor, and no end of the run, not even SIGKILL, leaves a file.
        return try HugeBlob.create(
            named: nil, in: directory, byteCount: configuration.blobByteCount, pages: configuration.pages, numa: numa)
    }

    private func node(of pcore: Int) throws(ToolError) -> Int {
        let cpu = cpu(of: pcore)
        guard let node = NUMAPolicy.node(ofCPU: cpu) else {
            throw ToolError(.unavailable, "--numa: CPU \(cpu) belongs to no NUMA node")
        }
        return node
    }

    private func blobPolicy() throws(ToolError) -> NUMAPolicy {
        guard let placement = configuration.numa else { return .systemDefault }
        var nodes: [Int] = []
        for pcore in 0..<configuration.pcores { nodes.append(try node(of: pcore)) }
        let distinct = Set(nodes).sorted()
        switch placement {
        case .bind: return .bind(distinct)
        case .interleave: return .interleave(distinct)
        case .local where configuration.partitions:
            return .placed(
                zip(regions, nodes).map { region, node in
                    NUMAPolicy.Part(range: Int(region.lowerBound)..<Int(region.upperBound), node: node)
                })
        case .local:
            report(.warning("--numa local: the pcores share the range, so it is interleaved over nodes \(distinct)"))
            return .interleave(distinct)
        }
    }

    private func ringPolicy(_ pcore: Int) throws(ToolError) -> NUMAPolicy {
        configuration.numa == nil ? .systemDefault : .preferred(try node(of: pcore))
    }

    private func fill(_ blob: borrowing HugeBlob) throws {
        guard let file else {
            return try blob.fill(seed: configuration.work.seed, range: Int(range.lowerBound)..<Int(range.upperBound))
        }
        try blob.fill(from: file.descriptor, fileOffset: 0, count: file.byteCount, at: 0)
    }

    private func parameters(pcores: Int, _ job: PCoreJob) -> RunParameters {
        RunParameters(
            pcores: pcores, limit: configuration.blobByteCount,
            descriptorsPerRecord: configuration.work.descriptorsPerRecord, lowWater: lowWater, job: job)
    }

    /// Half of what ring and slab can hold: a pcore below it asks for more long before it runs dry.
    private var lowWater: Int {
        let inSlab =
            configuration.slabByteCount
            / ((configuration.work.recordByteCount + 63) & ~63)
        return max(1, min(1 << configuration.ringPowerOfTwo, inSlab) / 2)
    }

    private func generator(_ pcore: Int) -> RandomDescriptors {
        configuration.work.descriptors(of: pcore, in: regions[pcore])
    }

    // MARK: - Baseline

    private func measureBaseline(
        _ blob: borrowing HugeBlob, _ fault: inout RunFault?, _ signals: TerminationSignals
    ) throws -> Double? {
        report(.phase("baseline: one process, no ring, \(format(configuration.baselineSeconds)) s"))
        let job = PCoreJob.baseline(
            RandomParameters(configuration.work, range: range),
            nanoseconds: UInt64(configuration.baselineSeconds * 1e9))
        let control = try ControlRegion(parameters: parameters(pcores: 1, job), mix: configuration.work.mix)
        var files = PCoreFiles()
        files.control = control.region.fileDescriptor
        files.blob = blob.fileDescriptor
        var processes = ChildProcesses()
        try processes.start(
            0, as: PCoreWorker.role,
            arguments: PCoreWorker.arguments(index: 0, cpu: pcoreCPUs[0], files: files), descriptors: files.existing)
        let block = control.block(0)
        var start: UInt64 = 0
        while fault == nil, processes.count > 0 {
            if start == 0, block.state.pointee.load(ordering: .acquiring) == PCoreState.ready.rawValue {
                start = Clock.monotonic()
                control.start()
            }
            for ended in processes.collectEnded(timeout: start == 0 ? 2 : 20) where ended.end != .exited(0) {
                throw ToolError(.system, "the baseline process \(ended.end)")
            }
            fault = signals.take().map { .interrupted(signal: $0) }
        }
        guard fault == nil else { return nil }
        return Double(block.latest.tally.bytes) / Double(block.endNanoseconds - start) * 1000
    }

    // MARK: - The run

    private func runPCores(
        _ blob: borrowing HugeBlob, baseline: Double?, _ signals: TerminationSignals
    ) throws -> RunOutcome {
        let count = configuration.pcores
        report(.phase("starting \(count) pcores on CPUs \(CPUs.describe(pcoreCPUs))"))
        let began = Clock.monotonic()
        var files = PCoreFiles()
        files.blob = blob.fileDescriptor
        var group = try PCoreGroup.start(
            control: ControlRegion(
                parameters: parameters(
                    pcores: count, .random(RandomParameters(configuration.work, range: range))),
                mix: configuration.work.mix),
            geometry: RingGeometry(
                slots: 1 << UInt32(configuration.ringPowerOfTwo), slabByteCount: UInt64(configuration.slabByteCount)),
            cpus: pcoreCPUs,
            sources: (0..<count).map {
                RandomRecords(configuration.work, pcore: $0, region: regions[$0])
            }, lowWater: lowWater, policy: policy, report: { [report] in report(.warning($0)) }, numa: ringPolicy
        ) { _ in files }
        var fault = try group.awaitReady(signals)
        let readyNanoseconds = Clock.monotonic() - began
        let allowed = try CPUs.allowed()
        if let producerCPU { try CPUs.pin(to: [producerCPU]) }

        report(.phase("running"))
        let cpuAtStart = Clock.processCPU()
        let start = Clock.monotonic()
        if fault == nil {
            group.control.start()
            fault = try produce(&group, start: start, baseline: baseline, signals)
        }
        let producerCPUNanoseconds = Clock.processCPU() - cpuAtStart
        try CPUs.pin(to: allowed)
        fault = group.finish(fault)
        return RunOutcome(
            configuration: configuration, isa: isa, pcoreCPUs: pcoreCPUs, producerCPU: producerCPU, range: range,
            backing: try blob.backing(), control: group.control, start: start, baseline: baseline,
            readyNanoseconds: readyNanoseconds, producerCPUNanoseconds: producerCPUNanoseconds,
            restarts: group.restartCount, doubtful: group.doubtful.map(withDescriptors), fault: fault)
    }

    /// Adds the descriptors, which are a function of pcore and record.
    private func withDescriptors(_ doubtful: DoubtfulRecords) -> DoubtfulRecords {
        var doubtful = doubtful
        let each = configuration.work.descriptorsPerRecord
        doubtful.descriptors = Array(unsafeUninitializedCapacity: doubtful.count * each) { buffer, count in
            let table = UnsafeMutableBufferPointer(rebasing: buffer[..<(doubtful.count * each)])
            generator(doubtful.pcore).fill(table, from: doubtful.firstRecord &* UInt64(each))
            count = table.count
        }
        return doubtful
    }

    private var policy: RestartPolicy {
        configuration.restartsFailed ? (configuration.work.mix.writes ? .passOver : .runAgain) : .never
    }

    /// Keeps the rings filled until the run is over; the fault that ended it early, if any.
    private func produce(
        _ group: inout PCoreGroup<RandomRecords>, start: UInt64, baseline: Double?, _ signals: TerminationSignals
    ) throws -> RunFault? {
        let end = start + UInt64(configuration.durationSeconds * 1e9)
        var last: Sample?
        return try group.drive(signals) { now, group in
            guard let limit = configuration.work.recordsPerPCore else { return now >= end }
            for index in 0..<configuration.pcores {
                if group.attempted(by: index) < limit { return false }
            }
            return true
        } tick: { now, control in
            guard now - start >= (last?.elapsedNanoseconds ?? 0) + Self.sampleInterval else { return }
            // Each tally is read once, so that the pcores' rows add up to the aggregate's.
            let pcores = (0..<configuration.pcores).map {
                PCoreResult(cpu: cpu(of: $0), tally: control.block($0).latest.tally)
            }
            let sample = Sample(
                pcores.reduce(Tally()) { $0 + $1.tally }, elapsedNanoseconds: now - start, after: last, isa: isa,
                baselineMegabytesPerSecond: baseline, cpuCount: min(pcoreCPUs.count, pcores.count), pcores: pcores)
            last = sample
            report(.sample(sample))
        } work: { feeds in
            try fill(feeds)
        }
    }

    private func fill(_ feeds: [RingFeed<RandomRecords>]) throws(RingError) -> Int {
        var made = 0
        for feed in feeds { made += try feed.fill(atMost: Self.turn) }
        return made
    }

    // MARK: - Verification

    private func verifyIfAsked(
        _ outcome: RunOutcome, _ blob: borrowing HugeBlob, _ signals: TerminationSignals
    ) throws -> RunOutcome {
        guard configuration.verify, outcome.fault == nil, outcome.doubtful.isEmpty else { return outcome }
        report(
            .phase(
                "verifying \(outcome.final.bytes / 1_000_000) MB with the reference implementation "
                    + "(one byte at a time: this takes longer than the run)"))
        var verified = outcome
        let verifier = try Verifier(
            work: configuration.work, range: range, file: file.map { ($0.descriptor, $0.byteCount) })
        verified.difference = try verifier.firstDifference(
            of: verified.pcores, blob: blob, generators: (0..<configuration.pcores).map(generator), signals: signals)
        verified.verified = verified.difference == nil && verified.rejectedRecords == 0
        return verified
    }
}
