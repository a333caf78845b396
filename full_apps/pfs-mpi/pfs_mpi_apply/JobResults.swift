import ApplyTool
import Glibc
import PacketFSEngine
import PacketFSMemory
import PacketFSPCPU
import PacketFSTools
import SystemPackage

/// What a job does with the results of its ranks.
extension Job {
    struct Reduction {
        let totals: ChunkTotals
        let sent: UInt64
        let nanoseconds: UInt64
    }

    /// Joins the results of all ranks.
    func reduce(_ driver: RankDriver, _ run: inout ChunkRunOutcome, _ range: Range<UInt64>) throws -> Reduction {
        try communicator.barrier()
        let began = Clock.monotonic()
        var totals = driver.totals
        let own = totals.sums
        let sums = try communicator.reduce(own + [run.records, UInt64(run.restarts), driver.sent], .sum)
        totals.replace(sums: Array(sums.prefix(own.count)), wholeCRCs: try communicator.reduce(totals.wholeCRCs, .xor))
        let nanoseconds = Clock.monotonic() - began
        (run.records, run.restarts) = (sums[own.count], Int(sums[own.count + 1]))
        guard totals.bytes == UInt64(range.count) else {
            throw ToolError(
                .system, "\(totals.bytes) of \(range.count) bytes were done: chunks were lost or done twice")
        }
        return Reduction(totals: totals, sent: sums[own.count + 2], nanoseconds: nanoseconds)
    }

    /// At rank 0: waits for the results of all ranks, and compares them with the digests.
    func compare(_ comparison: DigestComparison?, _ collector: Collector, _ sent: UInt64) throws {
        try communicator.wait { collector.count == sent }
        guard let comparison else { return }
        for chunk in collector.chunks.sorted(by: { $0.range.lowerBound < $1.range.lowerBound }) {
            try comparison.compare(chunk)
        }
        try comparison.finish()
    }

    /// Copies what the program was not applied to, at rank 0.
    func copyRest(_ setup: Setup, to output: SharedOutput) throws {
        try communicator.together {
            guard communicator.rank == 0 else { return }
            let input = try openInput(setup.configuration)
            let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
            defer { memory.deallocate() }
            for part in [0..<setup.range.lowerBound, setup.range.upperBound..<UInt64(setup.fileByteCount)] {
                for offset in stride(from: part.lowerBound, to: part.upperBound, by: memory.count) {
                    let piece = UnsafeMutableRawBufferPointer(
                        rebasing: memory[..<Int(min(UInt64(memory.count), part.upperBound - offset))])
                    try input.read(into: piece, at: offset)
                    try output.write(UnsafeRawBufferPointer(piece), at: offset)
                }
            }
            try input.close()
        }
    }

    /// Writes the digests: every rank the lines of its own chunks, at the place that the lengths of all others give.
    func write(
        _ header: DigestHeader, _ plan: ChunkPlan, _ chunks: [ChunkResult], to output: SharedOutput
    ) throws {
        var lengths = [UInt64](repeating: 0, count: plan.count)
        for chunk in chunks {
            if let number = plan.number(of: chunk.range) { lengths[number] = UInt64(header.lines(chunk).count) }
        }
        lengths = try communicator.reduce(lengths, .sum)
        var offset = UInt64(header.text.utf8.count)
        let offsets = lengths.map { length in
            defer { offset += length }
            return offset
        }
        try communicator.together {
            if communicator.rank == 0 { try Array(header.text.utf8).withUnsafeBytes { try output.write($0, at: 0) } }
            for chunk in chunks {
                guard let number = plan.number(of: chunk.range) else { continue }
                try header.lines(chunk).withUnsafeBytes { try output.write($0, at: offsets[number]) }
            }
        }
    }

    /// Tells people; the exit status.
    func write(_ report: JobReport) throws -> Int32 {
        if let rankTable {
            try rankTable.append(
                Array((RankRow.header() + "\n" + RankRow.lines(report.ranks.map { RankRow(report: $0) })).utf8))
            try rankTable.commit()
        }
        if !options.output.json {
            for difference in report.outcome.differences ?? [] {
                try CommandLineTool.write(
                    "\(report.outcome.configuration.input): block at \(difference.offset): \(difference)")
            }
        }
        try ToolReport(
            tool: MPIApply.name, config: JobConfig(job: report, check: options.check), result: report,
            warnings: report.ranks.flatMap(\.warnings)
        ).write(
            json: options.output.json, title: options.quiet ? nil : report.outcome.title, tellsWarnings: false)
        return report.outcome.isAsExpected == false ? ToolExit.verificationFailed.rawValue : 0
    }
}
