import CPacketFSShims
import Glibc
import PacketFSEngine
import PacketFSGram
import PacketFSMemory
import PacketFSPCPU
import PacketFSRing
import PacketFSTools
import RandomRuns
import SystemPackage

/// The consuming side of a stream: reads records out of the ring, checks them and executes them on the blob.
///
/// Only what follows a begin record is executed; what was in the ring before, for a consumer that died, is passed over.
package final class StreamReceiver {
    private static let look: UInt64 = 5_000_000
    private static let sampleInterval: UInt64 = 500_000_000
    private static let nap = Duration.milliseconds(20)
    /// How long records may come that belong to no stream before this side doubts that the producer knows of it.
    private static let doubt: UInt64 = 250_000_000

    private let side: StreamSide
    private let isa: ISA
    private let report: (RunEvent) -> Void
    private let signals: TerminationSignals
    private var outcome: StreamOutcome
    private var lookedAt: UInt64 = 0
    private var movedAt: UInt64 = 0
    private var sampledAt: UInt64 = 0
    private var sample: Sample?
    private var attachedAt: UInt64 = 0
    private var hasYielded = false
    /// The most records that were seen to wait in the ring.
    private var peak = 0

    /// Checks what it is told. From here on SIGINT, SIGTERM and SIGHUP end the work in order.
    package init(_ side: StreamSide, report: @escaping (RunEvent) -> Void) throws(ToolError) {
        self.side = side
        self.report = report
        isa = try Kernels.selected()
        signals = try ToolError.coded(TerminationSignals.init)
        outcome = StreamOutcome(role: .consumer, side: side, isa: isa)
    }

    private var place: StreamPlace { side.place }

    /// Receives one stream to its end; with ``StreamSide/waits`` also what follows when a producer dies.
    package func run() throws -> StreamOutcome {
        try side.pin()
        var link: ReceiverRing?
        var flags: StreamBegin.Flags = []
        while true {
            guard let connected = try connect(link) else { break }
            link = connected
            var active: ActiveStream?
            outcome.fault = receive(connected, &active)
            if let active {
                try complete(active)
                flags = active.begin.flags
                if !side.waits { cleanUp(connected, active) }
            }
            if case .notBegun? = outcome.fault {
                // A producer that has not noticed that its consumer was replaced notices now.
                link = nil
                usleep(100_000)
                continue
            }
            guard isToGoOn else { break }
        }
        if case .failed(let error)? = outcome.fault, outcome.streams == 0 { throw error }
        link = nil
        if flags.contains(.removesRing) { place.resetDevice() }
        return outcome
    }

    private var isToGoOn: Bool {
        guard side.waits, case .peerGone? = outcome.fault else { return false }
        report(.warning("the producer died or left; waiting for another one (--wait)"))
        return true
    }

    // MARK: - Meeting the producer

    /// Waits until a ring with a producer is there; nil when a signal ended the waiting and there is something to report.
    private func connect(_ current: ReceiverRing?) throws -> ReceiverRing? {
        let deadline = Clock.monotonic() + side.patience
        let isFirst = current == nil
        var link = current
        var isTold = false
        while true {
            if let present = link {
                if try present.watch.isAttached() { return present }
                if try present.watch.isRemoved() { link = nil }
            }
            if link == nil, let opened = try ReceiverRing.open(place) {
                link = opened
                continue
            }
            if let signal = signals.take() {
                guard !isFirst else { throw Interrupted(signal: signal) }
                outcome.fault = .interrupted(signal: signal)
                return nil
            }
            if !isTold { report(.phase("waiting for a producer on \(place.ringPath)")) }
            isTold = true
            guard side.waits || Clock.monotonic() < deadline else {
                throw ToolError(
                    .unavailable,
                    "no producer came to \(place.ringPath) within \(format(side.patienceSeconds)) s: start "
                        + "pfs_stream_fastpath_tx there, or wait longer with --patience or --wait")
            }
            usleep(5000)
        }
    }

    /// Removes what a producer that died would have removed.
    private func cleanUp(_ link: ReceiverRing, _ active: ActiveStream) {
        guard case .peerGone? = outcome.fault, active.begin.flags.contains(.removesRing) else { return }
        let blob = active.begin.flags.contains(.removesBlob) ? active.blob.fileDescriptor : nil
        if link.removeNames(place, blob: blob) {
            report(.warning("removed what the producer had left behind"))
        }
    }

    // MARK: - Receiving

    /// Receives until the end record, or until nothing more can come: the fault that ended it early, if any.
    private func receive(_ link: ReceiverRing, _ active: inout ActiveStream?) -> StreamFault? {
        movedAt = Clock.monotonic()
        attachedAt = movedAt
        do {
            while try step(link, &active) {}
            return nil
        } catch let fault as StreamFault {
            return fault
        } catch let error as RingError {
            return .corrupt(error)
        } catch {
            return .failed(ToolError(any: error))
        }
    }

    /// Takes what is at the front of the ring, or waits for it; false at the end of the stream.
    private func step(_ link: ReceiverRing, _ active: inout ActiveStream?) throws -> Bool {
        let now = Clock.monotonic()
        if now >= lookedAt + Self.look { try lookAround(now, active) }
        guard let first = try link.ring.peekRecord(ahead: 0) else {
            try awaitRecord(link)
            return true
        }
        movedAt = now
        if StreamControl.isControl(first) { return try obey(first, link, &active) }
        guard let stream = active else {
            if !hasYielded, outcome.streams == 0, now > attachedAt + Self.doubt {
                hasYielded = true
                throw StreamFault.notBegun
            }
            outcome.skippedRecords += 1
            release(1, of: link)
            return true
        }
        let taken = try execute(first, link, stream)
        stream.endedAt = Clock.monotonic()
        release(taken, of: link)
        return true
    }

    /// Executes records from the first one on, up to a control record; how many.
    private func execute(_ first: UnsafeRawBufferPointer, _ link: ReceiverRing, _ stream: ActiveStream) throws -> Int {
        var taken = 0
        var next: UnsafeRawBufferPointer? = first
        while let bytes = next {
            taken += 1
            next = taken < PCoreWorker.batch ? try link.ring.peekRecord(ahead: taken) : nil
            if let ahead = next {
                if StreamControl.isControl(ahead) {
                    next = nil
                } else {
                    // Fetched while this record runs, it is here when its turn comes.
                    pfs_prefetch(ahead.baseAddress, min(ahead.count, stream.work.usualRecordByteCount))
                }
            }
            stream.work.execute(bytes)
        }
        return taken
    }

    /// Gives records back, and wakes the producer once half of what it had put there is gone.
    private func release(_ count: Int, of link: ReceiverRing) {
        link.ring.release(count)
        let left = link.ring.count
        peak = max(peak, left + count)
        if left <= peak / 2 { link.ring.notifyProducer() }
    }

    private func awaitRecord(_ link: ReceiverRing) throws {
        link.ring.notifyProducer()
        guard try !link.ring.waitForRecords(timeout: Self.nap) else { return }
        // First the role, then the ring: a producer publishes before it goes.
        if try !link.watch.isAttached(), try link.ring.peekRecord(ahead: 0) == nil {
            throw StreamFault.peerGone(.producer)
        }
        guard Clock.monotonic() - movedAt < side.patience else {
            throw StreamFault.peerIdle(.producer, seconds: side.patienceSeconds)
        }
    }

    private func lookAround(_ now: UInt64, _ active: ActiveStream?) throws {
        lookedAt = now
        if let signal = signals.take() { throw StreamFault.interrupted(signal: signal) }
        guard let active, now >= sampledAt + Self.sampleInterval else { return }
        let next = Sample(
            outcome.tally + active.work.tally,
            elapsedNanoseconds: outcome.elapsedNanoseconds + now - active.startedAt, after: sample, isa: isa)
        if sampledAt > active.startedAt { report(.sample(next)) }
        sampledAt = now
        sample = next
    }

    // MARK: - Control records

    /// Does what a control record says; false if that is the end.
    private func obey(
        _ record: UnsafeRawBufferPointer, _ link: ReceiverRing, _ active: inout ActiveStream?
    ) throws -> Bool {
        defer {
            release(1, of: link)
            link.ring.notifyProducer()
        }
        guard let control = try? StreamControl(validating: record) else {
            if let active { active.work.tally.rejectedRecords += 1 } else { outcome.tally.rejectedRecords += 1 }
            return true
        }
        switch control {
        case .begin(let begin):
            guard let program = try? Program(decoding: begin.instructions) else {
                outcome.tally.rejectedRecords += 1
                return true
            }
            if let active {
                report(.warning("another stream begins, without an end of the one before"))
                try complete(active)
            }
            active = nil
            active = try ActiveStream(begin, program, side, isa)
            outcome.backing = try active?.blob.backing()
            report(.phase("receiving"))
            movedAt = Clock.monotonic()
            return true
        case .end(let end):
            guard let stream = active else {
                outcome.skippedRecords += 1
                return true
            }
            StreamControl.answer(
                stream.answer, to: UnsafeMutableRawBufferPointer(mutating: record))
            stream.end = end
            return false
        }
    }

    /// Adds what came of a stream to the outcome, and verifies it if asked.
    private func complete(_ stream: ActiveStream) throws {
        let answer = stream.answer
        outcome.streams += 1
        outcome.program = stream.program
        outcome.tally += answer.tally
        outcome.elapsedNanoseconds += stream.endedAt - stream.startedAt
        outcome.add(answer.totals, of: stream.program)
        if let end = stream.end, end.records != answer.records || end.bytes != answer.bytes {
            outcome.disagreement =
                "the producer sent \(end.records) records of \(end.bytes) bytes, \(answer.records) of \(answer.bytes) "
                + "bytes were executed and \(answer.rejectedRecords) rejected"
        }
        guard let verifier = stream.takeVerifier() else { return }
        if case .interrupted? = outcome.fault {
            outcome.unverifiable = "interrupted"
            return
        }
        guard outcome.disagreement == nil, answer.rejectedRecords == 0, outcome.verified != false else {
            outcome.verified = false
            return
        }
        report(.phase("verifying \(answer.records) records with the reference implementation"))
        do {
            let difference = try verifier.difference(
                answer, from: stream.begin.firstRecord, on: stream.blob, signals)
            outcome.disagreement = difference?.description { _ in "this consumer" }
            outcome.verified = difference == nil
        } catch let interrupted as Interrupted {
            outcome.fault = .interrupted(signal: interrupted.signal)
            outcome.verified = nil
            outcome.unverifiable = "interrupted"
        }
    }
}
