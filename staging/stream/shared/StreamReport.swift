import PacketFSGram
import PacketFSPCPU
import PacketFSRing
import PacketFSTools
import RandomRuns

/// The stream as one side understood it.
package struct StreamConfig: ReportObject {
    let outcome: StreamOutcome

    private var side: StreamSide { outcome.side }
    private var transmitter: TransmitterConfiguration? { outcome.transmitter?.configuration }
    private var run: RunConfiguration? { transmitter?.run }

    package static var figures: [Figure<Self>] {
        Figure("transport", "`device` or `shared memory`", \.side.place.kind)
        Figure("ring", "its path", \.side.place.ringPath.string)
        Figure("blob", "its path", \.side.place.blobPath.string)
        Figure("patience_seconds", "to wait for the other side", \.side.patienceSeconds)
        Figure("wait", "whether to wait without limit", \.side.waits)
        Figure("cpu", "null for the kernel's choice", \.side.cpu)
        Figure(
            "duration_seconds",
            "how long; null with `records`. This and all that follow are the transmitter's, and null of a receiver"
        ) {
            $0.run.flatMap { $0.work.recordsPerPCore == nil ? $0.durationSeconds : nil }
        }
        Figure("records", "how many; null with `duration_seconds`") { $0.run?.work.recordsPerPCore }
        Figure("blob_bytes", "of the blob", \.run?.blobByteCount)
        Figure("dpf", "descriptors per record", \.run?.work.descriptorsPerRecord)
        Figure("align_bytes", "alignment of descriptors", \.run?.work.alignment)
        Figure("ring_bytes", "header, slots and slab", \.transmitter?.ringByteCount)
        Figure("ring_slots", "of the ring") { $0.run.map { 1 << $0.ringPowerOfTwo } }
        Figure("file", "that was copied into the blob; null for the seeded pattern") { $0.run?.file?.string }
        Figure("range_offset_bytes", "where the range of descriptors begins", \.outcome.transmitter?.range.lowerBound)
        Figure("range_length_bytes", "of that range", \.outcome.transmitter?.range.count)
        Figure("program", "that records carried", \.run?.work.mix.description)
        Figure("seed", "of descriptors and pattern") { $0.run.map { Word($0.work.seed) } }
        Figure("keep", "whether ring and blob were left behind", \.transmitter?.keeps)
    }
}

extension StreamAnswer: ReportObject {
    package static var figures: [Figure<Self>] {
        Figure("records", "executed", \.records)
        Figure("rejected_records", "refused", \.rejectedRecords)
        Figure("descriptors", "executed", \.descriptors)
        Figure("bytes", "of payload", \.bytes)
    }
}

extension StreamOutcome: ReportObject {
    package static var figures: [Figure<Self>] {
        rates
        work
        verdict
    }

    @FigureList<Self> private static var rates: [Figure<Self>] {
        Figure("bytes", "payload of executed records, or of those that were sent and released", \.tally.bytes)
        Figure("op_bytes", "`bytes`, times the number of operations", \.tally.operationBytes)
        Figure("elapsed_ns", "during which a stream was on", \.elapsedNanoseconds)
        Figure("throughput_mb_per_s", "`bytes` / `elapsed_ns`", \.megabytesPerSecond, label: "throughput") {
            "\(decimals($0.megabytesPerSecond, 1)) MB/s: \(scaled(Double($0.tally.bytes)))B in \(decimals($0.seconds, 2)) s, "
                + "\(scaled($0.recordsPerSecond))records/s, \(scaled(Double($0.tally.descriptors) / $0.seconds))descriptors/s"
        }
        Figure("baseline_mb_per_s", "null, as the next two: there is no baseline") { _ in Double?.none }
        Figure("cpupwn", "null") { _ in Double?.none }
        Figure("cpupwn_per_cpu", "null") { _ in Double?.none }
        Figure("records_per_s", "`records` / `elapsed_ns`", \.recordsPerSecond)
    }

    @FigureList<Self> private static var work: [Figure<Self>] {
        Figure("records", "executed, or sent and released", \.tally.records) {
            "\($0.tally.records), \($0.tally.descriptors) descriptors, \($0.tally.bytes) bytes"
                + ($0.streams > 1 ? ", in \($0.streams) streams" : "")
        }
        Figure("descriptors", "of those records", \.tally.descriptors)
        Figure("streams", "beginnings: one for each receiver, or for each transmitter that was received", \.streams)
        Figure("answer", "the transmitter's: what the last receiver executed; else null", \.answer, label: "consumer") {
            $0.answer.map { "executed \($0.records) records, \($0.bytes) bytes, rejected \($0.rejectedRecords)" }
        }
        Figure("totals", "one for each yielding operation; the transmitter's are the receiver's answer", \.eachTotal) {
            $0.eachTotal.map { ($0.op, "\($0.value)") }
        }
        Figure("backing", "the blob's memory that was really got", \.backing?.description, label: "blob") { outcome in
            outcome.backing.map { "\(outcome.side.place.blobPath): \($0)" }
        }
        Figure("isa", "the kernels that were used", \.isa.rawValue, label: "kernels") {
            $0.role == .consumer ? $0.isa.rawValue : nil
        }
    }

    @FigureList<Self> private static var verdict: [Figure<Self>] {
        Figure("rejected_records", "damaged or out of bounds", \.tally.rejectedRecords, label: "rejected") {
            $0.tally.rejectedRecords > 0 ? "\($0.tally.rejectedRecords) records, damaged or out of bounds" : nil
        }
        Figure(
            "skipped_records", "passed over, because the beginning of their stream was not seen", \.skippedRecords,
            label: "skipped"
        ) {
            $0.skippedRecords > 0 ? "\($0.skippedRecords) records of a stream whose beginning was not seen" : nil
        }
        Figure("verified", "null for a run that was not asked to, or that cannot be verified", \.verified) {
            switch $0.verified {
            case true?: "yes: every result and every byte of the blob equals the reference implementation's"
            case false?: "NO: \($0.disagreement ?? "records were rejected")"
            case nil: $0.unverifiable.map { "no: \($0)" } ?? "not asked for (--verify)"
            }
        }
        Figure("difference", "what the two sides disagree about, or what differs from the reference", \.disagreement)
        Figure("ended_early", "why; null for a stream that came to its end", \.fault?.description, label: "ended early")
        {
            $0.fault?.description
        }
    }

    private var eachTotal: [OperationTotal] {
        totals.flatMap { entry in
            zip(entry.program.reducers, entry.values).map {
                OperationTotal(program: entry.program.description, op: $0.description, value: $1)
            }
        }
    }

    /// The first line of the summary.
    var title: String {
        let work = program.map { "\($0)" } ?? "no stream"
        return role == .producer ? "\(work), sent to \(side.place.ringPath)" : "\(work), from \(side.place.ringPath)"
    }
}
