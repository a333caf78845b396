import PacketFSEngine
import PacketFSPCPU
import PacketFSTools
import RandomRuns

/// The run as it was understood.
struct RunConfig: ReportObject {
    let outcome: RunOutcome

    private var run: RunConfiguration { outcome.configuration }

    static var figures: [Figure<Self>] {
        Figure("pcores", "processes", \.run.pcores)
        Figure("duration_seconds", "how long; null with `records_per_pcore`") {
            $0.run.work.recordsPerPCore == nil ? $0.run.durationSeconds : nil
        }
        Figure("records_per_pcore", "how many; null with `duration_seconds`", \.run.work.recordsPerPCore)
        Figure("blob_bytes", "of the blob", \.run.blobByteCount)
        Figure("dpf", "descriptors per record", \.run.work.descriptorsPerRecord)
        Figure("align_bytes", "alignment of descriptors", \.run.work.alignment)
        Figure("ring_slots", "of each ring") { 1 << $0.run.ringPowerOfTwo }
        Figure("slab_bytes", "of each ring's slab", \.run.slabByteCount)
        Figure("file", "that was copied into the blob; null for the seeded pattern", \.run.file?.string)
        Figure("range_offset_bytes", "where the range of descriptors begins", \.outcome.range.lowerBound)
        Figure("range_length_bytes", "of that range", \.outcome.range.count)
        Figure(
            "program", "what was run; programs with their weights where there are several", \.run.work.mix.description)
        Figure("programs", "one for each program", \.run.work.mix.entries)
        Figure("carries_program", "whether each record carried its program", \.run.work.carriesProgram)
        Figure("seed", "of descriptors and pattern") { Word($0.run.work.seed) }
        Figure("shared_range", "whether pcores of a writing program shared the range", \.run.sharedRange)
        Figure("pcore_cpus", "that pcores were spread over", \.outcome.pcoreCPUs)
        Figure("producer_cpu", "null if the producer was not pinned", \.outcome.producerCPU)
        Figure("numa", "`bind`, `interleave` or `local`; null for the kernel's way", \.run.numa?.rawValue)
    }
}

extension ProgramMix.Entry: ReportObject {
    package static var figures: [Figure<Self>] {
        Figure("program", "the program", \.program.description)
        Figure("weight", "its share of the records", \.weight)
    }
}

/// A NUMA node and what of the blob lies on it.
private struct Node: ReportObject {
    let node: Int, bytes: Int

    static var figures: [Figure<Self>] {
        Figure("node", "its number", \.node)
        Figure("bytes", "of the blob that lie on it", \.bytes)
    }
}

extension PCoreResult: ReportObject {
    package static var figures: [Figure<Self>] {
        Figure("cpu", "that it was pinned to", \.cpu)
        Figure("records", "executed", \.records)
        Figure("bytes", "of payload", \.bytes)
        Figure("rejected_records", "refused as out of bounds", \.rejectedRecords)
        Figure("sleeps", "how often it found its ring empty and slept", \.sleeps)
        Figure("cpu_ns", "CPU time while the run was on", \.cpuNanoseconds)
        Figure("totals", "values of the yielding operations, as `result.totals`") { $0.totals.map(Word.init) }
    }
}

extension DoubtfulRecords: ReportObject {
    private struct Range: ReportObject {
        let offset: UInt64, lengthBytes: UInt32

        static var figures: [Figure<Self>] {
            Figure("offset", "in the blob", \.offset)
            Figure("length_bytes", "of the range", \.lengthBytes)
        }
    }

    package static var figures: [Figure<Self>] {
        Figure("pcore", "which one died", \.pcore)
        Figure("first_record", "its number in the pcore's stream", \.firstRecord)
        Figure("records", "how many", \.count)
        Figure("ranges", "their descriptors") { doubtful in
            doubtful.descriptors.map { Range(offset: $0.offset, lengthBytes: $0.length) }
        }
    }
}

extension RunOutcome: ReportObject {
    static var figures: [Figure<Self>] {
        rates
        work
        times
        verdict
    }

    @FigureList<Self> private static var rates: [Figure<Self>] {
        Figure("bytes", "payload of executed records", \.final.bytes)
        Figure("elapsed_ns", "from the start signal to the last pcore's end", \.elapsedNanoseconds)
        Figure("throughput_mb_per_s", "`bytes` / `elapsed_ns`", \.final.megabytesPerSecond, label: "throughput") {
            "\(decimals($0.final.megabytesPerSecond, 1)) MB/s: \(scaled(Double($0.final.bytes)))B in "
                + "\(decimals($0.seconds, 2)) s, \(scaled($0.final.recordsPerSecond))records/s, "
                + "\(scaled(Double($0.final.descriptors) / $0.seconds))descriptors/s"
        }
        Figure("op_bytes", "`bytes`, times the number of operations", \.operationBytes, label: "operations") {
            guard $0.operationBytes > $0.final.bytes else { return nil }
            return "\(decimals(Double($0.operationBytes) / $0.seconds / 1e6, 1)) MB/s: "
                + "\(decimals(Double($0.operationBytes) / Double($0.final.bytes), 2)) operations on each byte"
        }
        Figure(
            "baseline_mb_per_s", "one process, the same program, no ring; null without a baseline, as the next two",
            \.final.baselineMegabytesPerSecond, label: "baseline"
        ) { outcome in
            outcome.final.baselineMegabytesPerSecond.map {
                "\(decimals($0, 1)) MB/s: one process, the same program, no ring, "
                    + "\(format(outcome.configuration.baselineSeconds)) s"
            }
        }
        Figure("cpupwn", "`throughput_mb_per_s` / `baseline_mb_per_s`", \.final.cpupwn, label: "CPUpwn") {
            guard let cpupwn = $0.final.cpupwn, let each = $0.final.cpupwnPerCPU else { return nil }
            return "\(decimals(cpupwn, 2)) (\(decimals(each, 2)) per CPU used)"
        }
        Figure("cpupwn_per_cpu", "`cpupwn` / CPUs used", \.final.cpupwnPerCPU)
    }

    @FigureList<Self> private static var work: [Figure<Self>] {
        Figure("records", "executed", \.final.records)
        Figure("descriptors", "executed", \.final.descriptors)
        Figure("totals", "one for each yielding operation of each program", \.eachTotal) { outcome in
            let isMixed = outcome.configuration.work.mix.entries.count > 1
            return outcome.eachTotal.map {
                ("total", "\($0.op)\(isMixed ? " of \($0.program)" : "") = \($0.value)")
            }
        }
        Figure("pcores", "one for each pcore", \.pcores)
    }

    @FigureList<Self> private static var times: [Figure<Self>] {
        Figure("pcore_cpu_ns", "CPU time of all pcores while the run was on", \.pcoreCPUNanoseconds, label: "CPU time")
        {
            let pcores = Double($0.pcoreCPUNanoseconds) / 1e9
            let producer = Double($0.producerCPUNanoseconds) / 1e9
            return "pcores \(decimals(pcores, 2)) s, producing \(decimals(producer, 2)) s "
                + "(\(decimals(pcores > 0 ? 100 * producer / pcores : 0, 1)) % of theirs); "
                + "all pcores ready after \(decimals(Double($0.readyNanoseconds) / 1e9, 2)) s"
        }
        Figure("producer_cpu_ns", "CPU time of the producer while the run was on", \.producerCPUNanoseconds)
        Figure("ready_ns", "from the first pcore's creation until all were ready", \.readyNanoseconds)
        Figure(
            "backing", "the memory that was really got", \.backing.description, label: "memory",
            text: \.backing.description)
        Figure("nodes", "one for each NUMA node that the blob lies on") {
            $0.backing.nodeBytes.sorted { $0.key < $1.key }.map { Node(node: $0.key, bytes: $0.value) }
        }
        Figure("isa", "the kernels that were used", \.isa.rawValue, label: "kernels", text: \.isa.rawValue)
    }

    @FigureList<Self> private static var verdict: [Figure<Self>] {
        Figure("restarts", "pcores that died and were replaced", \.restarts) {
            $0.restarts > 0 ? "\($0.restarts): pcores died and were replaced" : nil
        }
        Figure(
            "in_doubt", "records that a dead pcore of a writing program may have run in part", \.doubtful,
            label: "in doubt"
        ) {
            guard !$0.doubtful.isEmpty else { return nil }
            let places = $0.doubtful.map { "pcore \($0.pcore) from record \($0.firstRecord)" }
            return "\($0.doubtful.reduce(0) { $0 + $1.count }) records, \(places.joined(separator: ", "))"
                + ": may have run in part and are not counted; --json lists their byte ranges"
        }
        Figure("rejected_records", "refused as out of bounds", \.rejectedRecords, label: "rejected") {
            $0.rejectedRecords > 0 ? "\($0.rejectedRecords) records, out of bounds" : nil
        }
        Figure("verified", "null for a run that was not asked to, and where records are in doubt", \.verified) {
            guard let verified = $0.verified else {
                return $0.doubtful.isEmpty ? "not asked for (--verify)" : "no: records are in doubt"
            }
            guard verified else { return "NO: \($0.difference?.description ?? "records were rejected")" }
            return "yes: every result\($0.configuration.work.mix.writes ? " and every byte of the blob" : "") "
                + "equals the reference implementation's"
        }
        Figure("difference", "the first difference", \.difference?.description)
        Figure("ended_early", "why; null for a run that came to its end", \.fault?.description, label: "ended early") {
            $0.fault?.description
        }
    }

    private var seconds: Double { Double(elapsedNanoseconds) / 1e9 }
    private var eachTotal: [OperationTotal] {
        zip(configuration.work.mix.reducers, totals).map {
            OperationTotal(program: $0.program.description, op: $0.step.description, value: $1)
        }
    }

    /// The first line of the summary.
    var title: String {
        let what = configuration.file.map { "\($0)" } ?? "the seeded pattern"
        return "\(configuration.work.mix) over \(what), \(scaled(Double(range.count)))B from byte \(range.lowerBound): "
            + "\(configuration.pcores) pcore\(configuration.pcores == 1 ? "" : "s") "
            + "on CPU\(final.cpuCount == 1 ? "" : "s") " + CPUs.describe(pcores.map(\.cpu))
    }
}
