import PacketFSEngine
import PacketFSPCPU
import PacketFSRing
import PacketFSTools
import RandomRuns

/// What the two stream tools put into their ``ToolReport``.
enum StreamReport {
    struct Config: Encodable {
        let transport: String
        let ring: String
        let blob: String
        let patienceSeconds: Double
        let wait: Bool
        let cpu: Int?
        /// The producer's alone.
        let durationSeconds: Double?
        let records: UInt64?
        let blobBytes: Int?
        let dpf: Int?
        let alignBytes: Int?
        let ringBytes: Int?
        let ringSlots: Int?
        let file: String?
        let rangeOffsetBytes: UInt64?
        let rangeLengthBytes: UInt64?
        let program: String?
        let seed: String?
        let keep: Bool?
    }

    /// What the consumer answered to the producer.
    struct Answer: Encodable {
        let records: UInt64
        let rejectedRecords: UInt64
        let descriptors: UInt64
        let bytes: UInt64
    }

    struct Total: Encodable {
        let program: String
        let op: String
        let value: String
    }

    struct Result: Encodable {
        let bytes: UInt64
        let opBytes: UInt64
        let elapsedNs: UInt64
        let throughputMbPerS: Double
        let recordsPerS: Double
        let records: UInt64
        let descriptors: UInt64
        let rejectedRecords: UInt64
        let skippedRecords: UInt64
        let streams: Int
        let totals: [Total]
        let answer: Answer?
        let backing: String?
        let isa: String
        let verified: Bool?
        let difference: String?
        let endedEarly: String?

        /// Written out so that values which are not there are null and not absent. There is no baseline: it and what follows
        /// from it are null.
        func encode(to encoder: any Encoder) throws {
            var box = encoder.container(keyedBy: Key.self)
            try box.encode(bytes, forKey: .bytes)
            try box.encode(opBytes, forKey: .opBytes)
            try box.encode(elapsedNs, forKey: .elapsedNs)
            try box.encode(throughputMbPerS, forKey: .throughputMbPerS)
            try box.encodeNil(forKey: .baselineMbPerS)
            try box.encodeNil(forKey: .cpupwn)
            try box.encodeNil(forKey: .cpupwnPerCpu)
            try box.encode(recordsPerS, forKey: .recordsPerS)
            try box.encode(records, forKey: .records)
            try box.encode(descriptors, forKey: .descriptors)
            try box.encode(rejectedRecords, forKey: .rejectedRecords)
            try box.encode(skippedRecords, forKey: .skippedRecords)
            try box.encode(streams, forKey: .streams)
            try box.encode(totals, forKey: .totals)
            try box.encode(answer, forKey: .answer)
            try box.encode(backing, forKey: .backing)
            try box.encode(isa, forKey: .isa)
            try box.encode(verified, forKey: .verified)
            try box.encode(difference, forKey: .difference)
            try box.encode(endedEarly, forKey: .endedEarly)
        }

        private enum Key: String, CodingKey {
            case bytes, opBytes, elapsedNs, throughputMbPerS, baselineMbPerS, cpupwn, cpupwnPerCpu, recordsPerS, records
            case descriptors, rejectedRecords, skippedRecords, streams, totals, answer, backing, isa, verified,
                difference
            case endedEarly
        }
    }
}

extension StreamOutcome {
    /// The tool that this side is.
    private var tool: String { role == .producer ? "pfs_stream_fastpath_tx" : "pfs_stream_fastpath_rx" }

    /// The report as one JSON document, with `warnings` that were given meanwhile.
    package func json(warnings: [String]) throws -> String {
        let run = transmitter?.configuration.run
        let work = run?.work
        let config = StreamReport.Config(
            transport: side.place.kind, ring: side.place.ringPath.string, blob: side.place.blobPath.string,
            patienceSeconds: side.patienceSeconds, wait: side.waits, cpu: side.cpu,
            durationSeconds: run.flatMap { $0.work.recordsPerPCore == nil ? $0.durationSeconds : nil },
            records: work?.recordsPerPCore, blobBytes: run?.blobByteCount, dpf: work?.descriptorsPerRecord,
            alignBytes: work?.alignment, ringBytes: transmitter?.configuration.ringByteCount,
            ringSlots: run.map { 1 << $0.ringPowerOfTwo }, file: run?.file?.string,
            rangeOffsetBytes: transmitter?.range.lowerBound,
            rangeLengthBytes: transmitter.map { UInt64($0.range.count) }, program: work?.mix.description,
            seed: work.map { "\($0.seed)" }, keep: transmitter?.configuration.keeps)
        let result = StreamReport.Result(
            bytes: tally.bytes, opBytes: tally.operationBytes, elapsedNs: elapsedNanoseconds,
            throughputMbPerS: megabytesPerSecond,
            recordsPerS: recordsPerSecond, records: tally.records, descriptors: tally.descriptors,
            rejectedRecords: tally.rejectedRecords, skippedRecords: skippedRecords, streams: streams,
            totals: eachTotal.map { .init(program: $0.program, op: $0.step, value: "\($0.value)") },
            answer: answer.map {
                .init(
                    records: $0.records, rejectedRecords: $0.rejectedRecords, descriptors: $0.descriptors,
                    bytes: $0.bytes)
            }, backing: backing?.description, isa: isa.rawValue, verified: verified, difference: disagreement,
            endedEarly: fault?.description)
        return try ToolReport(tool: tool, config: config, result: result, warnings: warnings).text()
    }

    private var eachTotal: [(program: String, step: String, value: UInt64)] {
        totals.flatMap { entry in
            zip(entry.program.reducers, entry.values).map {
                (entry.program.description, $0.description, $1)
            }
        }
    }

    /// The summary for people.
    package var summary: String {
        let work = program.map { "\($0)" } ?? "no stream"
        var lines = [
            role == .producer ? "\(work), sent to \(side.place.ringPath)" : "\(work), from \(side.place.ringPath)"
        ]
        func line(_ name: String, _ text: String) {
            lines.append("  " + name + String(repeating: " ", count: max(1, 12 - name.count)) + text)
        }
        line(
            "throughput",
            "\(decimals(megabytesPerSecond, 1)) MB/s: \(scaled(Double(tally.bytes)))B in \(decimals(seconds, 2)) s, "
                + "\(scaled(recordsPerSecond))records/s, \(scaled(Double(tally.descriptors) / seconds))descriptors/s")
        line(
            "records",
            "\(tally.records), \(tally.descriptors) descriptors, \(tally.bytes) bytes"
                + (streams > 1 ? ", in \(streams) streams" : ""))
        if let answer {
            line(
                "consumer",
                "executed \(answer.records) records, \(answer.bytes) bytes, rejected \(answer.rejectedRecords)")
        }
        for total in eachTotal { line(total.step, "\(total.value)") }
        if let backing { line("blob", "\(side.place.blobPath): \(backing)") }
        if role == .consumer { line("kernels", isa.rawValue) }
        if tally.rejectedRecords > 0 { line("rejected", "\(tally.rejectedRecords) records, damaged or out of bounds") }
        if skippedRecords > 0 {
            line("skipped", "\(skippedRecords) records of a stream whose beginning was not seen")
        }
        switch verified {
        case true?:
            line("verified", "yes: every result and every byte of the blob equals the reference implementation's")
        case false?: line("verified", "NO: \(disagreement ?? "records were rejected")")
        case nil: line("verified", unverifiable.map { "no: \($0)" } ?? "not asked for (--verify)")
        }
        if let fault { line("ended early", "\(fault)") }
        return lines.joined(separator: "\n")
    }
}
