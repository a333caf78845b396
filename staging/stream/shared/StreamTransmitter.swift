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
        ring.lane.source = RandomRecords(run.work, pcore: 0, region: range, countsBytes: true)
        var course = Course(lane: ring.lane, watch: ring.watch, begin: begin)
        var fault: StreamFault?
        while true {
            fault = try awaitConsumer(course)
            if fault == nil { fault = send(&course) }
            do throws(RingError) {
                try course.rewindToUnreleased()
            } catch {
                fault = .corrupt(error)
            }
            guard side.waits, case .peerGone? = fault else { break }
            report(.warning("the consumer died or left; waiting for another one (--wait)"))
            course.answer = nil
        }
        var outcome = outcome(course, run, range, try blob.blob.backing(), fault)
        if let verifier { try verify(&outcome, course, verifier, blob.blob) }
        return outcome
    }

    private func flags(_ blob: TransmitterBlob) -> StreamBegin.Flags {
        guard !configuration.keeps else { return [] }
        return blob.isOurs ? [.removesRing, .removesBlob] : .removesRing
    }

    // MARK: - The course of a stream

    /// How far a stream has come.
    private struct Course {
        let lane: Lane<RandomRecords>
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
            let sent = lane.source.produced - begin.firstRecord
            let left = UInt64(max(0, try lane.unreleased().count - (hasEnded ? 1 : 0)))
            lane.source.rewind(to: lane.source.produced - min(left, sent))
            begin.firstRecord = lane.source.produced
            hasBegun = false
            hasEnded = false
        }
    }

    /// Waits until a consumer is there; the fault that ended the waiting, if there is something to report already.
    private func awaitConsumer(_ course: Course) throws -> StreamFault? {
        let deadline = Clock.monotonic() + side.patience
        var isTold = false
        while try !course.watch.isAttached() {
            if let signal = signals.take() {
                guard course.consumers > 0 else { throw Interrupted(signal: signal) }
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
    private func send(_ course: inout Course) -> StreamFault? {
        let now = Clock.monotonic()
        course.resumed = now
        course.movedAt = now
        course.consumers += 1
        defer { course.elapsed += Clock.monotonic() - course.resumed }
        do {
            let begin = course.begin
            let (_, position) = try insert(&course, byteCount: StreamControl.byteCount(of: begin)) {
                StreamControl.write(begin, to: $0)
            }
            course.hasBegun = true
            // The consumer opens the blob now; measurement starts when it is ready.
            try awaitRelease(of: position, &course)
            course.resumed = Clock.monotonic()
            let bytesBefore = course.lane.source.bytes
            report(.phase("sending"))
            try produce(&course)
            let end = StreamEnd(
                records: course.lane.source.produced - begin.firstRecord,
                descriptors: (course.lane.source.produced - begin.firstRecord)
                    * UInt64(configuration.run.work.descriptorsPerRecord),
                bytes: course.lane.source.bytes &- bytesBefore)
            let (record, endPosition) = try insert(&course, byteCount: StreamControl.byteCountOfEnd) {
                StreamControl.write(end, to: $0)
            }
            course.hasEnded = true
            try awaitRelease(of: endPosition, &course)
            course.answer = StreamControl.answer(in: record)
            if course.answer == nil { return .unanswered }
            return course.interruption.map { .interrupted(signal: $0.signal) }
        } catch let fault as StreamFault {
            return fault
        } catch let error as RingError {
            return .corrupt(error)
        } catch {
            return .failed(ToolError(any: error))
        }
    }

    private func produce(_ course: inout Course) throws {
        let lane = course.lane
        let run = configuration.run
        let seconds = run.work.recordsPerPCore == nil ? UInt64(run.durationSeconds * 1e9) : UInt64.max >> 1
        let end = course.resumed + (seconds > course.elapsed ? seconds - course.elapsed : 0)
        while course.interruption == nil, Clock.monotonic() < end {
            let made = try lane.fill(atMost: Self.turn)
            if made == 0 {
                if let limit = run.work.recordsPerPCore, lane.source.produced >= limit { return }
                try lane.waitForLowWater(timeout: Self.nap)
            }
            try lookAround(&course)
        }
    }

    /// Publishes a control record as soon as there is room for it.
    private func insert(
        _ course: inout Course, byteCount: Int, _ write: (UnsafeMutableRawBufferPointer) -> Void
    ) throws -> (record: UnsafeRawBufferPointer, position: UInt32) {
        while true {
            if let inserted = try course.lane.insert(byteCount: byteCount, write) { return inserted }
            try lookAround(&course)
            try course.lane.waitForSpace(timeout: Self.nap)
        }
    }

    /// Waits until the consumer has released an entry, whatever it is.
    private func awaitRelease(of position: UInt32, _ course: inout Course) throws {
        while Int32(bitPattern: try course.lane.unreleased().position &- position) <= 0 {
            try lookAround(&course)
            try course.lane.waitUntilEmpty(timeout: Self.nap)
        }
    }

    /// Looks, not too often, for signals, the consumer's end, and whether it still takes something.
    private func lookAround(_ course: inout Course) throws {
        let now = Clock.monotonic()
        guard now >= course.lookedAt + Self.look else { return }
        course.lookedAt = now
        if let signal = signals.take(), course.interruption == nil {
            course.interruption = (signal, now + Self.grace)
        }
        if let (signal, deadline) = course.interruption, now > deadline {
            throw StreamFault.interrupted(signal: signal)
        }
        guard try course.watch.isAttached() else { throw StreamFault.peerGone(.consumer) }
        let (position, count) = try course.lane.unreleased()
        if position != course.released || count == 0 {
            course.released = position
            course.movedAt = now
        } else if now - course.movedAt > side.patience {
            throw StreamFault.peerIdle(.consumer, seconds: side.patienceSeconds)
        }
        guard now >= course.sampledAt + Self.sampleInterval else { return }
        let next = Sample(
            tally(course), elapsedNanoseconds: course.elapsed + now - course.resumed, after: course.sample, isa: isa)
        if course.sampledAt > 0 { report(.sample(next)) }
        course.sampledAt = now
        course.sample = next
    }

    /// What was sent.
    private func tally(_ course: Course) -> Tally {
        let source = course.lane.source
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
        _ course: Course, _ run: RunConfiguration, _ range: Range<UInt64>, _ backing: Backing, _ fault: StreamFault?
    ) -> StreamOutcome {
        var outcome = StreamOutcome(
            role: .producer, side: side, isa: isa)
        outcome.program = run.work.mix.entries[0].program
        outcome.backing = backing
        outcome.transmitter = (configuration, range)
        outcome.tally = tally(course)
        outcome.elapsedNanoseconds = max(1, course.elapsed)
        outcome.streams = course.consumers
        outcome.answer = course.answer
        outcome.tally.rejectedRecords = course.answer?.rejectedRecords ?? 0
        if let answer = course.answer { outcome.add(answer.totals, of: run.work.mix.entries[0].program) }
        outcome.fault = fault
        if let answer = course.answer, course.consumers == 1 {
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
        _ outcome: inout StreamOutcome, _ course: Course, _ verifier: StreamVerifier, _ blob: borrowing HugeBlob
    ) throws {
        if case .interrupted? = outcome.fault {
            outcome.unverifiable = "interrupted"
            return
        }
        guard let answer = course.answer, course.consumers == 1 else {
            outcome.unverifiable =
                course.consumers > 1
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
