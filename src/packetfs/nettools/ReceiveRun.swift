import Glibc
import PacketFSNet
import PacketFSTools

/// One way in for frames: a receive ring, a socket, a port. One thread uses it.
package protocol FrameReceiver: AnyObject {
    /// Hands what has arrived to `work`, some frames at least, and ends their batch before their memory is given back. Waits
    /// for a first one at most so many milliseconds.
    ///
    /// - Returns: how many were handed over.
    func receive(_ work: FrameWork, milliseconds: Int32) throws(ToolError) -> Int
}

/// What a receiver got and did. Times run from the first frame of data to the last.
package struct ReceiveFigures: Sendable, Codable, NetFigures {
    package var frames: UInt64 = 0
    var bytes: UInt64 = 0, bodyBytes: UInt64 = 0
    package var cpuNs: UInt64 = 0
    var executed: UInt64 = 0, descriptors: UInt64 = 0, workedBytes: UInt64 = 0, opBytes: UInt64 = 0
    var announced: UInt64?
    package var lost: UInt64 = 0
    var duplicates: UInt64 = 0, reordered: UInt64 = 0, reorderingExtent: UInt64 = 0
    var stale: UInt64 = 0, jumps: UInt64 = 0
    var foreign: UInt64 = 0, malformed: UInt64 = 0, badChecksums: UInt64 = 0, rejected: UInt64 = 0
    var otherStreams: UInt64 = 0, ends: UInt64 = 0, mismatches: UInt64 = 0
    var stream: UInt32?
    var totals: [ProgramTotal] = []
    package var verified: Bool?
    package var difference: String?
    var firstFault: String?
    package var endedBy = RunEnd.end

    /// The highest number that came, plus 1.
    var next: UInt64 = 0
    /// When the first and the last frame came, on the machine's clock.
    var firstNs: UInt64 = 0
    var lastNs: UInt64 = 0

    var elapsedNs: UInt64 { lastNs - firstNs }
    /// A count per second.
    private func rate(_ count: UInt64) -> Double {
        elapsedNs == 0 ? 0 : Double(count) * 1e9 / Double(elapsedNs)
    }
    var framesPerS: Double { rate(frames) }

    package static var figures: [Figure<Self>] {
        counts
        losses
        ending
    }

    @FigureList<Self> private static var counts: [Figure<Self>] {
        Figure("frames", "of the stream, each number once, end frames not counted", \.frames)
        Figure("bytes", "of frames, link header and padding included", \.bytes)
        Figure("body_bytes", "of their payload or records", \.bodyBytes)
        Figure("elapsed_ns", "from the first to the last frame", \.elapsedNs)
        Figure("frames_per_s", "`frames` / `elapsed_ns`", \.framesPerS, label: "received") {
            "\(scaled($0.framesPerS))frames/s, \(decimals($0.rate($0.bytes) / 1e6, 1)) MB/s"
        }
        Figure("throughput_mb_per_s", "`bytes` / `elapsed_ns`") { $0.rate($0.bytes) / 1e6 }
        Figure(
            "effective_mb_per_s", "`worked_bytes` / `elapsed_ns`", { $0.rate($0.workedBytes) / 1e6 }, label: "worked on"
        ) {
            "\(decimals($0.rate($0.workedBytes) / 1e6, 1)) MB/s: \($0.workedBytes) bytes in \($0.executed) frames"
        }
        Figure("executed", "frames to which a program was applied", \.executed)
        Figure("descriptors", "that came", \.descriptors)
        Figure("worked_bytes", "that programs worked on", \.workedBytes)
        Figure("op_bytes", "`worked_bytes`, times the number of operations", \.opBytes)
    }

    @FigureList<Self> private static var losses: [Figure<Self>] {
        Figure("announced", "frames that the sender says it sent; null without an end frame", \.announced)
        Figure("lost", "of `announced`, or of the numbers below the highest that came, how many did not come", \.lost) {
            "\($0.lost) of " + ($0.announced.map { "\($0) announced" } ?? "those below the highest number")
        }
        Figure("duplicates", "frames whose number had come before", \.duplicates, label: "order") {
            "\($0.duplicates) duplicates, \($0.reordered) reordered (by \($0.reorderingExtent) at most), "
                + "\($0.stale) stale, \($0.jumps) jumps"
        }
        Figure("reordered", "frames behind a higher number", \.reordered)
        Figure("reordering_extent", "how far behind, at most", \.reorderingExtent)
        Figure("stale", "frames too far behind to tell, and not worked on", \.stale)
        Figure("jumps", "frames too far ahead to be believed, and not worked on", \.jumps)
        Figure("foreign", "frames that are none of ours", \.foreign, label: "refused") {
            "\($0.foreign) foreign, \($0.malformed) malformed, \($0.badChecksums) checksums, \($0.rejected) rejected, "
                + "\($0.otherStreams) of other streams"
        }
        Figure("malformed", "frames that cannot be read", \.malformed)
        Figure("bad_checksums", "frames whose checksum is wrong", \.badChecksums)
        Figure("rejected", "frames whose record or program cannot be executed", \.rejected)
        Figure("other_streams", "frames of other streams", \.otherStreams)
        Figure("ends", "end frames", \.ends)
        Figure("mismatches", "frames that differ from what the seed calls for", \.mismatches)
    }

    @FigureList<Self> private static var ending: [Figure<Self>] {
        Figure(
            "cpu_ns", "CPU time of the process from its first wait to its end, kernel included", \.cpuNs,
            label: "CPU time"
        ) {
            "\(decimals(Double($0.cpuNs) / 1e9, 2)) s"
        }
        Figure("stream", "its number; null if no data came", \.stream)
        Figure("totals", "one for each yielding operation of each program", \.totals) { figures in
            figures.totals.map { ("total", "\($0.op) = \($0.value)") }
        }
        Figure(
            "first_fault", "why the first frame was not accepted", \.firstFault, label: "first fault",
            text: \.firstFault)
        Figure(
            "verified", "whether everything is as the reference makes it; null for a run that did not look", \.verified
        ) {
            guard let verified = $0.verified else { return nil }
            return verified
                ? "yes: what came and what it yielded equal the reference's"
                : "NO: \($0.difference ?? "results differ")"
        }
        Figure("difference", "the first difference", \.difference)
        Figure("ended_by", "`end`, `count`, `duration`, `idle`, or `signal N`", \.endedBy)
    }

    mutating func take(_ work: FrameWork) {
        let counts = work.counts
        frames = counts.frames
        bytes = counts.bytes
        bodyBytes = counts.bodyBytes
        executed = counts.executed
        descriptors = counts.descriptors
        workedBytes = counts.workedBytes
        opBytes = counts.operationBytes
        announced = work.announcedCount
        lost = work.lost
        duplicates = work.sequences.duplicates
        reordered = work.sequences.reordered
        reorderingExtent = work.sequences.reorderingExtent
        stale = work.sequences.stale
        jumps = work.sequences.jumps
        foreign = counts.foreign
        malformed = counts.malformed
        badChecksums = counts.badChecksums
        rejected = counts.rejected
        otherStreams = counts.otherStreams
        ends = counts.ends
        mismatches = counts.mismatches
        stream = work.stream
        totals = work.totals
        firstFault = work.firstFault
        next = work.sequences.next
    }

    /// One receiver's figures out of those of several that shared a stream. Loss is what none of them got; order is known
    /// within each only. Precondition: all listened to the same stream.
    package static func merged(_ parts: [ReceiveFigures]) -> ReceiveFigures {
        guard var whole = parts.first else { return ReceiveFigures() }
        for part in parts.dropFirst() {
            let isFirst = whole.frames == 0
            for field in Self.sums { whole[keyPath: field] += part[keyPath: field] }
            whole.announced = whole.announced ?? part.announced
            whole.reorderingExtent = max(whole.reorderingExtent, part.reorderingExtent)
            whole.next = max(whole.next, part.next)
            whole.stream = whole.stream ?? part.stream
            whole.difference = whole.difference ?? part.difference
            whole.firstFault = whole.firstFault ?? part.firstFault
            // What ended one, not what told the others.
            if case .signal = whole.endedBy { whole.endedBy = part.endedBy }
            whole.verified = part.verified.map { $0 && whole.verified ?? true }
            if part.frames > 0 {
                whole.firstNs = isFirst ? part.firstNs : min(whole.firstNs, part.firstNs)
                whole.lastNs = max(whole.lastNs, part.lastNs)
            }
            for total in part.totals { whole.add(total) }
        }
        whole.lost = max(whole.announced ?? whole.next, whole.next) - whole.frames
        return whole
    }

    private static var sums: [WritableKeyPath<ReceiveFigures, UInt64>] {
        [
            \.frames, \.bytes, \.bodyBytes, \.cpuNs, \.executed, \.descriptors, \.workedBytes, \.opBytes, \.duplicates,
            \.reordered, \.stale, \.jumps, \.foreign, \.malformed, \.badChecksums, \.rejected, \.otherStreams, \.ends,
            \.mismatches,
        ]
    }

    private mutating func add(_ total: ProgramTotal) {
        if let index = totals.firstIndex(where: { $0.program == total.program && $0.op == total.op }) {
            let sum = (UInt64(totals[index].value) ?? 0) &+ (UInt64(total.value) ?? 0)
            totals[index] = ProgramTotal(program: total.program, op: total.op, value: sum)
        } else {
            totals.append(total)
        }
    }
}

/// Receives a stream of frames until it ends.
package enum ReceiveRun {
    /// Receives until the stream ends, the options' count, duration or silence is reached, or a signal comes.
    ///
    /// - Parameters:
    ///   - receiver: the path.
    ///   - work: what is done with frames.
    ///   - options: after ``ReceiveOptions/check()``.
    ///   - name: the tool's, for reports.
    ///   - finishesWhenAsked: a signal does not end the run before everything that has arrived is worked on.
    ///   - ready: called when everything is in place, before the first wait.
    package static func run(
        _ receiver: some FrameReceiver, _ work: FrameWork, _ options: ReceiveOptions, name: String,
        finishesWhenAsked: Bool = false, ready: () -> Void = {}
    ) throws(ToolError) -> ReceiveFigures {
        let signals = try ToolError.coded(TerminationSignals.init)
        var figures = ReceiveFigures()
        let cpuStart = Clock.processCPU()
        let start = Clock.monotonic()
        let deadline = options.common.duration.map { start + UInt64($0 * 1e9) } ?? .max
        let patience = options.idleMs == 0 ? UInt64.max : UInt64(options.idleMs) * 1_000_000
        let limit = options.common.count ?? .max
        var ticker = Ticker(name: name, unit: "received", milliseconds: options.common.reportMs, start: start)
        var seen: UInt64 = 0
        var asked: RunEnd?
        var end: RunEnd?
        var nextLook = start
        ready()
        while true {
            // Short enough to notice a signal, a deadline and silence in time.
            let got = try receiver.receive(work, milliseconds: 20)
            let now = Clock.monotonic()
            let frames = work.counts.frames
            if frames > seen {
                if seen == 0 { figures.firstNs = now }
                figures.lastNs = now
                seen = frames
            }
            if work.hasEnded { end = .end } else if frames >= limit { end = .count }
            // A system call: too dear for each batch of a fast path.
            if now >= nextLook {
                nextLook = now + 1_000_000
                if let signal = signals.take() { asked = .signal(signal) }
            }
            if let asked, got == 0 || !finishesWhenAsked { end = asked }
            if now >= deadline { end = .duration }
            if seen > 0, now - figures.lastNs > patience { end = .idle }
            if let end {
                figures.endedBy = end
                break
            }
            ticker.show(now, frames: frames, bytes: work.counts.bytes, work.lost > 0 ? "  \(work.lost) lost" : "")
        }
        figures.cpuNs = Clock.processCPU() - cpuStart
        figures.verified = work.verify()
        figures.difference = work.firstMismatch
        figures.take(work)
        return figures
    }
}

extension ProgramTotal: ReportObject {
    package static var figures: [Figure<Self>] {
        Figure("program", "the program", \.program)
        Figure("op", "the operation that yields the value", \.op)
        Figure("value", "the sum over all descriptors, wrapping; a decimal string, as it has 64 bits", \.value)
    }
}
