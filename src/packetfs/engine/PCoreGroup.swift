import CPacketFSShims
import Glibc
import PacketFSGram
import PacketFSMemory
import PacketFSProcess
import PacketFSRing
import SystemPackage

/// Records of a killed pcore of which nobody knows whether they ran, wholly or in part.
public struct DoubtfulRecords: Sendable {
    /// The pcore.
    public let pcore: Int
    /// Its first such record, counted from its first one of the run, and how many there are.
    public let firstRecord: UInt64, count: Int
    /// Their descriptors.
    package var descriptors: [Descriptor] = []
}

/// What becomes of a run when one of its pcores dies.
package enum RestartPolicy {
    /// The run ends.
    case never
    /// A successor runs again what the pcore had not finished: records can be run twice without harm.
    case runAgain
    /// A successor goes on behind what the pcore had not finished, which is reported as in doubt: a record that was run in part
    /// has changed bytes.
    case passOver
}

/// The pcores of a run, seen from the parent: their processes, the control region and the rings.
///
/// One thread does everything: it produces, watches its children's pidfds and its signals, and sleeps on one doorbell. No lock
/// is needed, and a dead child is noticed within ``tick``. Whatever happens, no pcore outlives the group.
package struct PCoreGroup<Source: RecordSource>: ~Copyable {
    /// How often the loop looks up from its work.
    package static var tick: UInt64 { 5_000_000 }
    /// What pcores may take to end, in an orderly run and in one that has failed or was interrupted.
    private static var orderlyGrace: UInt64 { 10_000_000_000 }
    private static var hastyGrace: UInt64 { 400_000_000 }
    /// A pcore that dies this often is not restarted any more: it would die again.
    private static var maximumRestarts: Int { 16 }

    package let control: ControlRegion
    package let feeds: [RingFeed<Source>]
    private var processes = ChildProcesses()
    private let cpus: [Int]
    private let files: [PCoreFiles]
    private let policy: RestartPolicy
    private let report: (String) -> Void
    private let willRunAgain: (RingFeed<Source>) throws -> Void
    private var restarts: [Int]
    package private(set) var doubtful: [DoubtfulRecords] = []

    private init(
        control: consuming ControlRegion, feeds: [RingFeed<Source>], cpus: [Int], files: [PCoreFiles],
        policy: RestartPolicy, report: @escaping (String) -> Void,
        willRunAgain: @escaping (RingFeed<Source>) throws -> Void
    ) {
        self.control = control
        self.feeds = feeds
        self.cpus = cpus
        self.files = files
        self.policy = policy
        self.report = report
        self.willRunAgain = willRunAgain
        restarts = Array(repeating: 0, count: feeds.count)
    }

    /// Starts one pcore per source, the pcores going round over `cpus`.
    ///
    /// - Parameters:
    ///   - numa: where the ring of pcore `index` is placed.
    ///   - willRunAgain: called before a pcore is replaced by one that begins with the oldest record that is not released,
    ///     which may be half done.
    ///   - files: what pcore `index` inherits; the control region and its ring are added.
    package static func start(
        control: consuming ControlRegion, geometry: RingGeometry, cpus: [Int], sources: [Source], lowWater: Int,
        policy: RestartPolicy, report: @escaping (String) -> Void,
        willRunAgain: @escaping (RingFeed<Source>) throws -> Void = { _ in },
        numa: (Int) throws -> NUMAPolicy = { _ in .systemDefault }, files: (Int) throws -> PCoreFiles
    ) throws -> PCoreGroup {
        try raiseDescriptorLimit(to: UInt64(4 * sources.count + 64), pcores: sources.count)
        var allFiles: [PCoreFiles] = []
        var feeds: [RingFeed<Source>] = []
        for (index, source) in sources.enumerated() {
            let feed = try RingFeed(geometry: geometry, source: source, lowWater: lowWater, numa: numa(index))
            var own = try files(index)
            own.control = control.region.fileDescriptor
            own.ring = feed.descriptor
            allFiles.append(own)
            feeds.append(feed)
        }
        var group = PCoreGroup(
            control: control, feeds: feeds, cpus: cpus, files: allFiles, policy: policy, report: report,
            willRunAgain: willRunAgain)
        for index in feeds.indices { try group.start(index) }
        return group
    }

    /// How often each pcore was replaced.
    package var restartCount: Int { restarts.reduce(0, +) }

    private mutating func start(_ index: Int) throws(SystemError) {
        try processes.start(
            index, as: PCoreWorker.role,
            arguments: PCoreWorker.arguments(index: index, cpu: cpus[index % cpus.count], files: files[index]),
            descriptors: files[index].existing)
    }

    /// Waits until all pcores are ready; the fault that prevented it, if any. Calls `tick` every few milliseconds.
    package mutating func awaitReady(_ signals: TerminationSignals?, tick: () throws -> Void = {}) throws -> RunFault? {
        var ready = 0
        while true {
            while ready < feeds.count, control.block(ready).state.pointee.load(ordering: .acquiring) != 0 { ready += 1 }
            if ready == feeds.count { return nil }
            try tick()
            for ended in processes.collectEnded(timeout: 2) {
                if let fault = try replace(ended) { return fault }
            }
            if let signal = signals?.take() { return .interrupted(signal: signal) }
        }
    }

    /// Calls `work` again and again until `isOver`; the fault that ended it early, if any.
    ///
    /// - Parameters:
    ///   - signals: an arriving one is a fault.
    ///   - isOver: asked before each call of `work`, with the time (CLOCK_MONOTONIC).
    ///   - tick: called every ``tick`` nanoseconds or so, with the time.
    ///   - work: gives pcores work and takes their results; returns how much there was to do. When there was nothing the
    ///     thread sleeps until a pcore rings.
    package mutating func drive(
        _ signals: TerminationSignals?, until isOver: (UInt64, borrowing PCoreGroup) -> Bool,
        tick: (UInt64, borrowing ControlRegion) throws -> Void, work: ([RingFeed<Source>]) throws -> Int
    ) throws -> RunFault? {
        let doorbell = control.doorbell
        var nextTick: UInt64 = 0
        while true {
            let now = Clock.monotonic()
            if now >= nextTick {
                nextTick = now + Self.tick
                for ended in processes.collectEnded() {
                    if let fault = try replace(ended) { return fault }
                }
                if let signal = signals?.take() { return .interrupted(signal: signal) }
                try tick(now, control)
            }
            if isOver(now, self) { return nil }
            // Arm, look again, sleep: the handshake of Doorbell, with pcores that release records and then ring.
            if try work(feeds) == 0 {
                doorbell.arm()
                if try work(feeds) == 0, !isOver(now, self) {
                    _ = doorbell.sleep(timeout: .nanoseconds(Int64(Self.tick)))
                }
                doorbell.disarm()
            }
        }
    }

    /// Tells all pcores to end and waits until they have; the fault that showed in that, or `fault`.
    package mutating func finish(_ fault: RunFault?) -> RunFault? {
        control.stop()
        for feed in feeds { feed.wake() }
        let ended = processes.finish(grace: fault == nil ? Self.orderlyGrace : Self.hastyGrace)
        if let fault { return fault }
        if let forced = ended.ends.first(where: { ended.forced.contains($0.pid) }) {
            return .unresponsive(pcore: forced.index, pid: forced.pid)
        }
        return ended.ends.first { $0.end != .exited(0) }.map { Self.fault($0) }
    }

    // MARK: - Sudden ends

    private static func fault(_ ended: ChildProcesses.Ended) -> RunFault {
        .died(pcore: ended.index, pid: ended.pid, end: ended.end)
    }

    /// Replaces a pcore that has ended, if the policy has it so; the fault otherwise.
    ///
    /// The ring says what the pcore has released, and its newer snapshot what it has counted. They differ when it died between
    /// the two: then the records between are done and counted, and its successor passes over them.
    private mutating func replace(_ ended: ChildProcesses.Ended) throws -> RunFault? {
        let index = ended.index
        let block = control.block(index)
        guard policy != .never, block.failure == nil, ended.end != .exited(PCoreExit.io),
            restarts[index] < Self.maximumRestarts
        else { return Self.fault(ended) }
        let (released, queued) = try feeds[index].unreleased()
        let counted = block.latest.position &- released
        guard counted <= UInt32(min(PCoreWorker.batch, queued)) else { return Self.fault(ended) }
        // What a predecessor's predecessor left, if the predecessor died before it had passed over that.
        let pending = block.resumePosition &- released
        var passedOver = counted == 0 && pending <= UInt32(PCoreWorker.batch) ? pending : counted
        var text = "restarted"
        if passedOver == 0, policy == .passOver, queued > 0 {
            passedOver = UInt32(min(PCoreWorker.batch, queued))
            let first = attempted(by: index)
            doubtful.append(DoubtfulRecords(pcore: index, firstRecord: first, count: Int(passedOver)))
            text += "; its records \(first) to \(first + UInt64(passedOver) - 1) are in doubt and were passed over"
        }
        if policy == .runAgain, passedOver == 0, queued > 0 { try willRunAgain(feeds[index]) }
        block.resumePosition = released &+ passedOver
        block.state.pointee.store(PCoreState.starting.rawValue, ordering: .releasing)
        restarts[index] += 1
        try start(index)
        report("\(Self.fault(ended)); \(text)")
        return nil
    }

    /// Records of pcore `index` that were executed, rejected or passed over.
    package func attempted(by index: Int) -> UInt64 {
        let tally = control.block(index).latest.tally
        return tally.records + tally.rejectedRecords + inDoubt(of: index)
    }

    /// Records of pcore `index` that were passed over uncounted.
    private func inDoubt(of index: Int) -> UInt64 {
        doubtful.reduce(0) { $0 + ($1.pcore == index ? UInt64($1.count) : 0) }
    }

    /// Raises this process's soft limit of open descriptors (a ring needs three) within the hard one.
    private static func raiseDescriptorLimit(to needed: UInt64, pcores: Int) throws(EngineError) {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        guard limit.rlim_cur < needed else { return }
        guard limit.rlim_max >= needed else {
            throw EngineError.tooFewDescriptors(processes: pcores, needed: needed, limit: UInt64(limit.rlim_max))
        }
        limit.rlim_cur = rlim_t(needed)
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
}

extension ControlRegion {
    /// Lets ready pcores run.
    package func start() { setPhase(.running) }
    /// Tells pcores to end.
    package func stop() { setPhase(.stopping) }

    private func setPhase(_ phase: RunPhase) {
        phaseWord.pointee.store(phase.rawValue, ordering: .releasing)
        UnsafeMutableRawPointer(phaseWord).withMemoryRebound(to: UInt32.self, capacity: 1) {
            _ = pfs_futex_wake($0, .max)
        }
    }
}

/// Why a run ended before its time.
public enum RunFault: Sendable, CustomStringConvertible {
    /// A signal asked this process to end.
    case interrupted(signal: Int32)
    /// A pcore's process ended.
    case died(pcore: Int, pid: Int32, end: ChildEnd)
    /// A pcore was told to end, did not within the time it has for that, and was killed.
    case unresponsive(pcore: Int, pid: Int32)

    /// What happened.
    public var description: String {
        switch self {
        case .interrupted(let signal): "interrupted by \(signal == SIGINT ? "Ctrl-C" : "signal \(signal)")"
        case .died(let pcore, let pid, let end): "pcore \(pcore) (pid \(pid)) \(end)"
        case .unresponsive(let pcore, let pid):
            "pcore \(pcore) (pid \(pid)) did not end when told to (is it stopped?) and was killed"
        }
    }
}
