import Glibc
import PacketFSNet
import PacketFSTools

/// One way in for frames: a receive ring, a socket, a port. One thread uses it.
public protocol FrameReceiver: AnyObject {
    /// Hands what has arrived to `work`, some frames at least, and ends their batch before their memory is given back. Waits
    /// for a first one at most so many milliseconds.
    ///
    /// - Returns: how many were handed over.
    func receive(_ work: FrameWork, milliseconds: Int32) throws(ToolError) -> Int
}

/// What a receiver got and did. Times run from the first frame of data to the last.
public struct ReceiveFigures: Sendable, Codable {
    /// Frames of the stream, each number once, end frames not counted.
    public var frames: UInt64 = 0
    /// Their bytes, link header and padding included.
    public var bytes: UInt64 = 0
    /// Bytes of their payload or records.
    public var bodyBytes: UInt64 = 0
    /// From the first to the last frame.
    public var elapsedNs: UInt64 = 0
    /// Frames per second over that time.
    public var framesPerS = 0.0
    /// Millions of `bytes` per second over that time.
    public var throughputMbPerS = 0.0
    /// Millions of bytes per second that programs worked on over that time.
    public var effectiveMbPerS = 0.0
    /// CPU time of the process from its first wait to its end, kernel included.
    public var cpuNs: UInt64 = 0
    /// Frames to which a program was applied.
    public var executed: UInt64 = 0
    /// Descriptors that came.
    public var descriptors: UInt64 = 0
    /// Bytes that programs worked on.
    public var workedBytes: UInt64 = 0
    /// Those, times the number of operations.
    public var opBytes: UInt64 = 0
    /// Frames that the sender says it sent, or nil without an end frame.
    public var announced: UInt64?
    /// Of those, or of the numbers below the highest that came, how many did not come.
    public var lost: UInt64 = 0
    /// Frames whose number had come before.
    public var duplicates: UInt64 = 0
    /// Frames behind a higher number.
    public var reordered: UInt64 = 0
    /// How far behind, at most.
    public var reorderingExtent: UInt64 = 0
    /// Frames too far behind to tell, and not worked on.
    public var stale: UInt64 = 0
    /// Frames too far ahead to be believed, and not worked on.
    public var jumps: UInt64 = 0
    /// Frames that are none of ours.
    public var foreign: UInt64 = 0
    /// Frames that cannot be read.
    public var malformed: UInt64 = 0
    /// Frames whose checksum is wrong.
    public var badChecksums: UInt64 = 0
    /// Frames whose record or program cannot be executed.
    public var rejected: UInt64 = 0
    /// Frames of other streams.
    public var otherStreams: UInt64 = 0
    /// End frames.
    public var ends: UInt64 = 0
    /// Frames that differ from what the seed calls for.
    public var mismatches: UInt64 = 0
    /// The number of the stream, or nil if no data came.
    public var stream: UInt32?
    /// One for each yielding operation of each program.
    public var totals: [ProgramTotal] = []
    /// Whether everything is as the reference makes it; nil for a run that did not look.
    public var verified: Bool?
    /// The first difference.
    public var difference: String?
    /// Why the first frame was not accepted.
    public var firstFault: String?
    /// What ended it: `end`, `count`, `duration`, `idle` or `signal N`.
    public var endedBy = ""

    /// The highest number that came, plus 1.
    var next: UInt64 = 0
    /// When the first and the last frame came, on the machine's clock.
    var firstNs: UInt64 = 0
    var lastNs: UInt64 = 0

    private enum CodingKeys: String, CodingKey {
        case frames, bytes, bodyBytes, elapsedNs, framesPerS, throughputMbPerS, effectiveMbPerS, cpuNs, executed
        case descriptors, workedBytes, opBytes, announced, lost, duplicates, reordered, reorderingExtent, stale, jumps
        case foreign, malformed, badChecksums, rejected, otherStreams, ends, mismatches, stream, totals, verified
        case difference, firstFault, endedBy, next, firstNs, lastNs
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

    mutating func computeRates() {
        elapsedNs = lastNs - firstNs
        let elapsed = Double(max(elapsedNs, 1))
        framesPerS = elapsedNs == 0 ? 0 : Double(frames) * 1e9 / elapsed
        throughputMbPerS = elapsedNs == 0 ? 0 : Double(bytes) * 1e3 / elapsed
        effectiveMbPerS = elapsedNs == 0 ? 0 : Double(workedBytes) * 1e3 / elapsed
    }

    /// One receiver's figures out of those of several that shared a stream. Loss is what none of them got; order is known
    /// within each only. Precondition: all listened to the same stream.
    public static func merged(_ parts: [ReceiveFigures]) -> ReceiveFigures {
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
            if whole.endedBy.hasPrefix("signal") { whole.endedBy = part.endedBy }
            whole.verified = part.verified.map { $0 && whole.verified ?? true }
            if part.frames > 0 {
                whole.firstNs = isFirst ? part.firstNs : min(whole.firstNs, part.firstNs)
                whole.lastNs = max(whole.lastNs, part.lastNs)
            }
            for total in part.totals { whole.add(total) }
        }
        whole.lost = max(whole.announced ?? whole.next, whole.next) - whole.frames
        whole.computeRates()
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
public enum ReceiveRun {
    /// Receives until the stream ends, the options' count, duration or silence is reached, or a signal comes.
    ///
    /// - Parameters:
    ///   - receiver: the path.
    ///   - work: what is done with frames.
    ///   - options: after ``ReceiveOptions/check()``.
    ///   - name: the tool's, for reports.
    ///   - finishesWhenAsked: a signal does not end the run before everything that has arrived is worked on.
    ///   - ready: called when everything is in place, before the first wait.
    public static func run(
        _ receiver: some FrameReceiver, _ work: FrameWork, _ options: ReceiveOptions, name: String,
        finishesWhenAsked: Bool = false, ready: () -> Void = {}
    ) throws(ToolError) -> ReceiveFigures {
        let signals = try ToolError.coded(TerminationSignals.init)
        var figures = ReceiveFigures()
        let cpuStart = Clock.processCPU()
        let start = Clock.monotonic()
        let deadline = options.common.duration.map { start + UInt64($0 * 1e9) } ?? .max
        let patience = options.idleMs == 0 ? UInt64.max : UInt64(options.idleMs) * 1_000_000
        let limit = options.count ?? .max
        var ticker = Ticker(name: name, unit: "received", milliseconds: options.common.reportMs, start: start)
        var seen: UInt64 = 0
        var asked: String?
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
            if work.hasEnded { figures.endedBy = "end" } else if frames >= limit { figures.endedBy = "count" }
            // A system call: too dear for each batch of a fast path.
            if now >= nextLook {
                nextLook = now + 1_000_000
                if let signal = signals.take() { asked = "signal \(signal)" }
            }
            if let asked, got == 0 || !finishesWhenAsked { figures.endedBy = asked }
            if now >= deadline { figures.endedBy = "duration" }
            if seen > 0, now - figures.lastNs > patience { figures.endedBy = "idle" }
            if !figures.endedBy.isEmpty { break }
            ticker.show(now, frames: frames, bytes: work.counts.bytes, work.lost > 0 ? "  \(work.lost) lost" : "")
        }
        figures.cpuNs = Clock.processCPU() - cpuStart
        figures.verified = work.verify()
        figures.difference = work.firstMismatch
        figures.take(work)
        figures.computeRates()
        return figures
    }
}
