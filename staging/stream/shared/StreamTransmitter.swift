import Glibc
import PacketFSEngine
import PacketFSGram
import PacketFSMemory
import PacketFSPCPU
import PacketFSRing
import PacketFSTools
import RandomRuns
import SystemPackage

/// The producing side of a stream: makes ring and blob, writes program-carrying records into the slab and publishes them.
///
/// A stream is begun anew for every consumer, and ended by a record that the consumer answers with what it has executed. When a
/// consumer dies, the next one gets the records that the dead one had not released; see docs/pfs_stream_fastpath.md.
package struct StreamTransmitter {
    /// How often signals and the consumer are looked at. No consumer can be replaced within this time unnoticed: starting one
    /// takes longer.
    private static let look: UInt64 = 4_000_000
    private static let nap = Duration.milliseconds(4)
    private static let sampleInterval: UInt64 = 500_000_000
    /// What a consumer gets to answer after a signal has asked for the end.
    private static let grace: UInt64 = 2_000_000_000
    /// Records between two looks at the clock.
    private static let turn = 512

    private let configuration: TransmitterConfiguration
    private let isa: ISA
    private let report: (RunEvent) -> Void
    private let signals: TerminationSignals

    /// Checks the configuration against itself and the machine. From here on SIGINT, SIGTERM and SIGHUP end the stream in order.
    package init(_ configuration: TransmitterConfiguration, report: @escaping (RunEvent) -> Void) throws(ToolError) {
        try configuration.validate()
        self.configuration = configuration
        self.report = report
        isa = try Kernels.selected()
        signals = try ToolError.coded(TerminationSignals.init)
    }

    private var side: StreamSide { configuration.side }
    private var place: StreamPlace { configuration.side.place }

    /// Does it all. Whatever way it ends, ring and blob are removed, unless they are to be kept.
    package func run() throws -> StreamOutcome {
        let file = try configuration.run.openFile()
        var ring: TransmitterRing? = try TransmitterRing.open(configuration, report)
        defer {
            ring?.removeName()
            ring = nil
            if !configuration.keeps { place.resetDevice() }
        }
        guard let opened = ring else { throw ToolError(.system, "there is no ring") }
        return try transmit(file, through: opened)
    }

    private func transmit(_ file: InputFile?, through ring: TransmitterRing) throws -> StreamOutcome {
        let blob = try TransmitterBlob.open(configuration, replaces: ring.wasThere, report)
        var run = configuration.run
        run.blobByteCount = blob.blob.byteCount
        let range = try run.range(fileByteCount: blob.isOurs ? file?.byteCount : nil)
        try blob.fill(file, seed: run.work.seed, range: range)
        let program = run.work.mix.entries[0].program
        try side.pin()
        let begin = StreamBegin(
            seed: run.work.seed, firstRecord: 0, range: range, blobByteCount: UInt64(blob.blob.byteCount),
            blobFile: fileNumber(blob.blob.fileDescriptor),
            descriptorsPerRecord: UInt32(run.work.descriptorsPerRecord), alignment: UInt32(run.work.alignment),
            flags: flags(blob), instructions: program.instructions)
        let verifier = side.verify ? try StreamVerifier(begin, program, blob.blob) : nil
        ring.feed.source = RandomRecords(run.work, pcore: 0, region: range, countsBytes: true)
        var progress = StreamProgress(feed: ring.feed, watch: ring.watch, begin: begin)
        var fault: StreamFault?
        while true {
            fault = try awaitConsumer(progress)
            if fault == nil { fault = send(&progress) }
            do throws(RingError) {
                try progress.rewindToUnreleased()
            } catch {
                fault = .corrupt(error)
            }
            guard side.waits, case .peerGone? = fault else { break }
            report(.warning("the consumer died or left; waiting for another one (--wait)"))
            progress.answer = nil
        }
        var outcome = outcome(progress, run, range, try blob.blob.backing(), fault)
        if let verifier { try verify(&outcome, progress, verifier, blob.blob) }
        return outcome
    }

    private func flags(_ blob: TransmitterBlob) -> StreamBegin.Flags {
        guard !configuration.keeps else { return [] }
        return blob.isOurs ? [.removesRing, .removesBlob] : .removesRing
    }

    // MARK: - How far a stream is

    /// How far a stream has come.
    private struct StreamProgress {
        let feed: RingFeed<RandomRecords>
        let watch: PeerWatch
        var begin: StreamBegin
        /// Whether the ring has a begin record of this stream, and the end record.
        var hasBegun = false, hasEnded = false
        /// What the consumer answered, and how many consumers there were.
        var answer: StreamAnswer?
        var consumers = 0
        /// Time during which a consumer was attached, and when the present one was found.
        var elapsed: UInt64 = 0
        var resumed: UInt64 = 0
        /// When the consumer was last seen to release something, and what.
        var movedAt: UInt64 = 0
        var released: UInt32 = 0
        var lookedAt: UInt64 = 0
        var sampledAt: UInt64 = 0
        var sample: Sample?
        /// After a signal: when to give up.
        var interruption: (signal: Int32, deadline: UInt64)?

        /// After a consumer has gone: makes the records that it has not released the next ones.
        mutating func rewindToUnreleased() throws(RingError) {
            guard hasBegun, answer == nil else { return }
            // Of what is still in the ring, the last entry may be the end, and the first ones the beginning and what was there
            // before.
            let sent = feed.source.produced - begin.firstRecord
            let left = UInt64(max(0, try feed.unreleased().count - (hasEnded ? 1 : 0)))
            feed.source.rewind(to: feed.source.produced - min(left, sent))
            begin.firstRecord = feed.source.produced
            hasBegun = false
            hasEnded = false
        }
    }

    /// Waits until a consumer is there; the fault that ended the waiting, if there is something to report already.
    private func awaitConsumer(_ progress: StreamProgress) throws -> StreamFault? {
        let deadline = Clock.monotonic() + side.patience
        var isTold = false
        while try !progress.watch.isAttached() {
            if let signal = signals.take() {
                guard progress.consumers > 0 else { throw Interrupted(signal: signal) }
                return .interrupted(signal: signal)
            }
            if !isTold { report(.phase("waiting for a consumer on \(place.ringPath)")) }
            isTold = true
            guard side.waits || Clock.monotonic() < deadline else {
                throw ToolError(
                    .unavailable,
                    "no consumer came to \(place.ringPath) within \(format(side.patienceSeconds)) s: start "
                        + "pfs_stream_fastpath_rx there, or wait longer with --patience or --wait")
            }
            usleep(5000)
        }
        return nil
    }

    /// Sends a stream from its beginning to its end; the fault that ended it early, if any.
    private func send(_ progress: inout StreamProgress) -> StreamFault? {
        let now = Clock.monotonic()
        progress.resumed = now
        progress.movedAt = now
        progress.consumers += 1
        defer { progress.elapsed += Clock.monotonic() - progress.resumed }
        do {
            let begin = progress.begin
            let (_, position) = try insert(&progress, byteCount: StreamControl.byteCount(of: begin)) {
                StreamControl.write(begin, to: $0)
            }
            progress.hasBegun = true
            // The consumer opens the blob now; measurement starts when it is ready.
            try awaitRelease(of: position, &progress)
            progress.resumed = Clock.monotonic()
            let bytesBefore = progress.feed.source.bytes
            report(.phase("sending"))
            try produce(&progress)
            let end = StreamEnd(
                records: progress.feed.source.produced - begin.firstRecord,
                descriptors: (progress.feed.source.produced - begin.firstRecord)
                    * UInt64(configuration.run.work.descriptorsPerRecord),
                bytes: progress.feed.source.bytes &- bytesBefore)
            let (record, endPosition) = try insert(&progress, byteCount: StreamControl.byteCountOfEnd) {
                StreamControl.write(end, to: $0)
            }
            progress.hasEnded = true
            try awaitRelease(of: endPosition, &progress)
            progress.answer = StreamControl.answer(in: record)
            if progress.answer == nil { return .unanswered }
            return progress.interruption.map { .interrupted(signal: $0.signal) }
        } catch let fault as StreamFault {
            return fault
        } catch let error as RingError {
            return .corrupt(error)
        } catch {
            return .failed(ToolError(any: error))
        }
    }

    private func produce(_ progress: inout StreamProgress) throws {
        let feed = progress.feed
        let run = configuration.run
        let seconds = run.work.recordsPerPCore == nil ? UInt64(run.durationSeconds * 1e9) : UInt64.max >> 1
        let end = progress.resumed + (seconds > progress.elapsed ? seconds - progress.elapsed : 0)
        while progress.interruption == nil, Clock.monotonic() < end {
            let made = try feed.fill(atMost: Self.turn)
            if made == 0 {
                if let limit = run.work.recordsPerPCore, feed.source.produced >= limit { return }
                try feed.waitForLowWater(timeout: Self.nap)
            }
            try lookAround(&progress)
        }
    }

    /// Publishes a control record as soon as there is room for it.
    private func insert(
        _ progress: inout StreamProgress, byteCount: Int, _ write: (UnsafeMutableRawBufferPointer) -> Void
    ) throws -> (record: UnsafeRawBufferPointer, position: UInt32) {
        while true {
            if let inserted = try progress.feed.insert(byteCount: byteCount, write) { return inserted }
            try lookAround(&progress)
            try progress.feed.waitForSpace(timeout: Self.nap)
        }
    }

    /// Waits until the consumer has released an entry, whatever it is.
    private func awaitRelease(of position: UInt32, _ progress: inout StreamProgress) throws {
        while Int32(bitPattern: try progress.feed.unreleased().position &- position) <= 0 {
            try lookAround(&progress)
            try progress.feed.waitUntilEmpty(timeout: Self.nap)
        }
    }

    /// Looks, not too often, for signals, the consumer's end, and whether it still takes something.
    private func lookAround(_ progress: inout StreamProgress) throws {
        let now = Clock.monotonic()
        guard now >= progress.lookedAt + Self.look else { return }
        progress.lookedAt = now
        if let signal = signals.take(), progress.interruption == nil {
            progress.interruption = (signal, now + Self.grace)
        }
        if let (signal, deadline) = progress.interruption, now > deadline {
            throw StreamFault.interrupted(signal: signal)
        }
        guard try progress.watch.isAttached() else { throw StreamFault.peerGone(.consumer) }
        let (position, count) = try progress.feed.unreleased()
        if position != progress.released || count == 0 {
            progress.released = position
            progress.movedAt = now
        } else if now - progress.movedAt > side.patience {
            throw StreamFault.peerIdle(.consumer, seconds: side.patienceSeconds)
        }
        guard now >= progress.sampledAt + Self.sampleInterval else { return }
        let next = Sample(
            tally(progress), elapsedNanoseconds: progress.elapsed + now - progress.resumed, after: progress.sample,
            isa: isa)
        if progress.sampledAt > 0 { report(.sample(next)) }
        progress.sampledAt = now
        progress.sample = next
    }

    /// What was sent.
    private func tally(_ progress: StreamProgress) -> Tally {
        let source = progress.feed.source
        let work = configuration.run.work
        var tally = Tally()
        tally.records = source.produced
        tally.descriptors = source.produced * UInt64(work.descriptorsPerRecord)
        tally.bytes = source.bytes
        tally.operationBytes = source.bytes &* UInt64(work.mix.entries[0].program.steps.count)
        return tally
    }

    // MARK: - Afterwards

    private func outcome(
        _ progress: StreamProgress, _ run: RunConfiguration, _ range: Range<UInt64>, _ backing: Backing,
        _ fault: StreamFault?
    ) -> StreamOutcome {
        var outcome = StreamOutcome(
            role: .producer, side: side, isa: isa)
        outcome.program = run.work.mix.entries[0].program
        outcome.backing = backing
        outcome.transmitter = (configuration, range)
        outcome.tally = tally(progress)
        outcome.elapsedNanoseconds = max(1, progress.elapsed)
        outcome.streams = progress.consumers
        outcome.answer = progress.answer
        outcome.tally.rejectedRecords = progress.answer?.rejectedRecords ?? 0
        if let answer = progress.answer { outcome.add(answer.totals, of: run.work.mix.entries[0].program) }
        outcome.fault = fault
        if let answer = progress.answer, progress.consumers == 1 {
            outcome.disagreement = disagreement(answer, outcome)
        }
        return outcome
    }

    /// What the consumer's answer has other than what was sent.
    private func disagreement(_ answer: StreamAnswer, _ sent: StreamOutcome) -> String? {
        guard answer.records == sent.records, answer.descriptors == sent.descriptors, answer.bytes == sent.bytes else {
            return
                "\(sent.records) records of \(sent.bytes) bytes were sent, the consumer executed \(answer.records) of "
                + "\(answer.bytes) bytes and rejected \(answer.rejectedRecords)"
        }
        guard answer.totals.count == sent.program?.reducers.count else {
            return "the consumer answered with \(answer.totals.count) totals"
        }
        return nil
    }

    private func verify(
        _ outcome: inout StreamOutcome, _ progress: StreamProgress, _ verifier: StreamVerifier,
        _ blob: borrowing HugeBlob
    ) throws {
        if case .interrupted? = outcome.fault {
            outcome.unverifiable = "interrupted"
            return
        }
        guard let answer = progress.answer, progress.consumers == 1 else {
            outcome.unverifiable =
                progress.consumers > 1
                ? "the consumer was replaced, and only the last one answered" : "the consumer did not answer"
            return
        }
        guard outcome.disagreement == nil, answer.rejectedRecords == 0 else {
            outcome.verified = false
            return
        }
        report(.phase("verifying \(answer.records) records with the reference implementation"))
        do {
            let difference = try verifier.difference(answer, from: 0, on: blob, signals)
            outcome.disagreement = difference?.description { _ in "the consumer" }
            outcome.verified = difference == nil
        } catch let interrupted as Interrupted {
            outcome.fault = .interrupted(signal: interrupted.signal)
            outcome.unverifiable = "interrupted"
        }
    }
}
