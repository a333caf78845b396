import PacketFSEngine
import PacketFSPCPU
import PacketFSTools
import RandomRuns

/// What pfs_proc_pcores puts into its ``ToolReport``.
enum RunReport {
    struct Config: Encodable {
        let pcores: Int
        let durationSeconds: Double?
        let recordsPerPcore: UInt64?
        let blobBytes: Int
        let dpf: Int
        let alignBytes: Int
        let ringSlots: Int
        let slabBytes: Int
        let file: String?
        let rangeOffsetBytes: UInt64
        let rangeLengthBytes: UInt64
        let program: String
        let programs: [WeightedProgram]
        let carriesProgram: Bool
        let seed: String
        let sharedRange: Bool
        let pcoreCpus: [Int]
        let producerCpu: Int?
        let numa: String?
    }

    struct WeightedProgram: Encodable {
        let program: String
        let weight: UInt32
    }

    struct Total: Encodable {
        let program: String
        let op: String
        let value: String
    }

    /// A NUMA node and what of the blob lies on it.
    struct Node: Encodable {
        let node: Int
        let bytes: Int
    }

    struct PCore: Encodable {
        let cpu: Int
        let records: UInt64
        let bytes: UInt64
        let rejectedRecords: UInt64
        let sleeps: UInt64
        let cpuNs: UInt64
        let totals: [String]
    }

    /// Records of one pcore that may have run in part; `ranges` are their descriptors.
    struct InDoubt: Encodable {
        let pcore: Int
        let firstRecord: UInt64
        let records: Int
        let ranges: [Range]

        struct Range: Encodable {
            let offset: UInt64
            let lengthBytes: UInt32
        }
    }

    struct Result: Encodable {
        let bytes: UInt64
        let opBytes: UInt64
        let elapsedNs: UInt64
        let throughputMbPerS: Double
        let baselineMbPerS: Double?
        let cpupwn: Double?
        let cpupwnPerCpu: Double?
        let records: UInt64
        let descriptors: UInt64
        let rejectedRecords: UInt64
        let totals: [Total]
        let backing: String
        let nodes: [Node]
        let isa: String
        let verified: Bool?
        let difference: String?
        let endedEarly: String?
        let restarts: Int
        let inDoubt: [InDoubt]
        let readyNs: UInt64
        let producerCpuNs: UInt64
        let pcoreCpuNs: UInt64
        let pcores: [PCore]

        /// Written out so that values which are not there are null and not absent.
        func encode(to encoder: any Encoder) throws {
            var box = encoder.container(keyedBy: Key.self)
            try box.encode(bytes, forKey: .bytes)
            try box.encode(opBytes, forKey: .opBytes)
            try box.encode(elapsedNs, forKey: .elapsedNs)
            try box.encode(throughputMbPerS, forKey: .throughputMbPerS)
            try box.encode(baselineMbPerS, forKey: .baselineMbPerS)
            try box.encode(cpupwn, forKey: .cpupwn)
            try box.encode(cpupwnPerCpu, forKey: .cpupwnPerCpu)
            try box.encode(records, forKey: .records)
            try box.encode(descriptors, forKey: .descriptors)
            try box.encode(rejectedRecords, forKey: .rejectedRecords)
            try box.encode(totals, forKey: .totals)
            try box.encode(backing, forKey: .backing)
            try box.encode(nodes, forKey: .nodes)
            try box.encode(isa, forKey: .isa)
            try box.encode(verified, forKey: .verified)
            try box.encode(difference, forKey: .difference)
            try box.encode(endedEarly, forKey: .endedEarly)
            try box.encode(restarts, forKey: .restarts)
            try box.encode(inDoubt, forKey: .inDoubt)
            try box.encode(readyNs, forKey: .readyNs)
            try box.encode(producerCpuNs, forKey: .producerCpuNs)
            try box.encode(pcoreCpuNs, forKey: .pcoreCpuNs)
            try box.encode(pcores, forKey: .pcores)
        }

        private enum Key: String, CodingKey {
            case bytes, opBytes, elapsedNs, throughputMbPerS, baselineMbPerS, cpupwn, cpupwnPerCpu, records, descriptors
            case rejectedRecords, totals, backing, nodes, isa, verified, difference, endedEarly, restarts, inDoubt,
                readyNs
            case producerCpuNs, pcoreCpuNs, pcores
        }
    }
}

extension RunOutcome {
    /// The report as one JSON document, with `warnings` that were given while the run was on.
    func json(warnings: [String]) throws -> String {
        let mix = configuration.work.mix
        let report = ToolReport(
            tool: "pfs_proc_pcores",
            config: RunReport.Config(
                pcores: configuration.pcores,
                durationSeconds: configuration.work.recordsPerPCore == nil ? configuration.durationSeconds : nil,
                recordsPerPcore: configuration.work.recordsPerPCore, blobBytes: configuration.blobByteCount,
                dpf: configuration.work.descriptorsPerRecord, alignBytes: configuration.work.alignment,
                ringSlots: 1 << configuration.ringPowerOfTwo, slabBytes: configuration.slabByteCount,
                file: configuration.file?.string, rangeOffsetBytes: range.lowerBound,
                rangeLengthBytes: UInt64(range.count), program: mix.description,
                programs: mix.entries.map { .init(program: $0.program.description, weight: $0.weight) },
                carriesProgram: configuration.work.carriesProgram,
                seed: "\(configuration.work.seed)", sharedRange: configuration.sharedRange, pcoreCpus: pcoreCPUs,
                producerCpu: producerCPU, numa: configuration.numa?.rawValue),
            result: RunReport.Result(
                bytes: final.bytes, opBytes: operationBytes, elapsedNs: elapsedNanoseconds,
                throughputMbPerS: final.megabytesPerSecond, baselineMbPerS: final.baselineMegabytesPerSecond,
                cpupwn: final.cpupwn, cpupwnPerCpu: final.cpupwnPerCPU, records: final.records,
                descriptors: final.descriptors, rejectedRecords: rejectedRecords,
                totals: zip(mix.reducers, totals).map {
                    .init(program: $0.program.description, op: $0.step.description, value: "\($1)")
                }, backing: backing.description,
                nodes: backing.nodeBytes.sorted { $0.key < $1.key }.map { .init(node: $0.key, bytes: $0.value) },
                isa: isa.rawValue, verified: verified, difference: difference?.description,
                endedEarly: fault?.description, restarts: restarts, inDoubt: doubtful.map(inDoubt),
                readyNs: readyNanoseconds, producerCpuNs: producerCPUNanoseconds,
                pcoreCpuNs: pcoreCPUNanoseconds,
                pcores: pcores.map { pcore in
                    .init(
                        cpu: pcore.cpu, records: pcore.records, bytes: pcore.bytes,
                        rejectedRecords: pcore.rejectedRecords, sleeps: pcore.sleeps, cpuNs: pcore.cpuNanoseconds,
                        totals: pcore.totals.map { "\($0)" })
                }),
            warnings: warnings)
        return try report.text()
    }

    private func inDoubt(_ doubtful: DoubtfulRecords) -> RunReport.InDoubt {
        .init(
            pcore: doubtful.pcore, firstRecord: doubtful.firstRecord, records: doubtful.count,
            ranges: doubtful.descriptors.map { .init(offset: $0.offset, lengthBytes: $0.length) })
    }

    /// The summary for people.
    var summary: String {
        let what = configuration.file.map { "\($0)" } ?? "the seeded pattern"
        let seconds = Double(elapsedNanoseconds) / 1e9
        var lines = [
            "\(configuration.work.mix) over \(what), \(scaled(Double(range.count)))B from byte \(range.lowerBound): "
                + "\(configuration.pcores) pcore\(configuration.pcores == 1 ? "" : "s") "
                + "on CPU\(final.cpuCount == 1 ? "" : "s") "
                + CPUs.describe(pcores.map(\.cpu))
        ]
        func line(_ name: String, _ text: String) {
            lines.append("  " + name + String(repeating: " ", count: max(1, 12 - name.count)) + text)
        }
        line(
            "throughput",
            "\(decimals(final.megabytesPerSecond, 1)) MB/s: \(scaled(Double(final.bytes)))B in "
                + "\(decimals(seconds, 2)) s, \(scaled(final.recordsPerSecond))records/s, \(scaled(Double(final.descriptors) / seconds))descriptors/s"
        )
        if operationBytes > final.bytes {
            line(
                "operations",
                "\(decimals(Double(operationBytes) / seconds / 1e6, 1)) MB/s: "
                    + "\(decimals(Double(operationBytes) / Double(final.bytes), 2)) operations on each byte")
        }
        if let baseline = final.baselineMegabytesPerSecond, let cpupwn = final.cpupwn, let each = final.cpupwnPerCPU {
            line(
                "baseline",
                "\(decimals(baseline, 1)) MB/s: one process, the same program, no ring, "
                    + "\(format(configuration.baselineSeconds)) s")
            line("CPUpwn", "\(decimals(cpupwn, 2)) (\(decimals(each, 2)) per CPU used)")
        }
        for (reducer, total) in zip(configuration.work.mix.reducers, totals) {
            let program = configuration.work.mix.entries.count > 1 ? " of \(reducer.program)" : ""
            line("total", "\(reducer.step)\(program) = \(total)")
        }
        let pcoreCPU = Double(pcoreCPUNanoseconds) / 1e9
        let producerCPU = Double(producerCPUNanoseconds) / 1e9
        line(
            "CPU time",
            "pcores \(decimals(pcoreCPU, 2)) s, producing \(decimals(producerCPU, 2)) s "
                + "(\(decimals(pcoreCPU > 0 ? 100 * producerCPU / pcoreCPU : 0, 1)) % of theirs); "
                + "all pcores ready after \(decimals(Double(readyNanoseconds) / 1e9, 2)) s")
        line("memory", "\(backing)")
        line("kernels", isa.rawValue)
        if restarts > 0 { line("restarts", "\(restarts): pcores died and were replaced") }
        if !doubtful.isEmpty {
            let count = doubtful.reduce(0) { $0 + $1.count }
            line(
                "in doubt",
                "\(count) records, "
                    + doubtful.map { "pcore \($0.pcore) from record \($0.firstRecord)" }.joined(separator: ", ")
                    + ": may have run in part and are not counted; --json lists their byte ranges")
        }
        if rejectedRecords > 0 { line("rejected", "\(rejectedRecords) records, out of bounds") }
        switch verified {
        case true?:
            line(
                "verified",
                "yes: every result\(configuration.work.mix.writes ? " and every byte of the blob" : "") "
                    + "equals the reference implementation's")
        case false?: line("verified", "NO: \(difference?.description ?? "records were rejected")")
        case nil: line("verified", doubtful.isEmpty ? "not asked for (--verify)" : "no: records are in doubt")
        }
        if let fault { line("ended early", "\(fault)") }
        return lines.joined(separator: "\n")
    }
}
