import Glibc
import PacketFSEngine
import PacketFSTools
import RandomRuns
import SystemPackage

/// A row of the log by pcore.
struct PCoreRow: ReportObject {
    /// When, in seconds since 1970 and since the start; the same for all rows of a sample.
    let times: (wall: Rounded, elapsed: Rounded)
    let pcore: Int
    let sample: PCoreResult
    let megabytesPerSecond: Double
    let cpuSeconds: Double?
    let program: String

    static var figures: [Figure<Self>] {
        Figure("ts_s", "seconds since 1970", \.times.wall)
        Figure("elapsed_s", "seconds since the start", \.times.elapsed)
        Figure("pcore", "its number from 0 on", \.pcore)
        Figure("cpu", "the one that it is pinned to", \.sample.cpu)
        Figure("bytes", "payload so far", \.sample.bytes)
        Figure("mbps", "10^6 bytes/s since this pcore's row before; in a final row over the whole run") {
            Rounded($0.megabytesPerSecond, 1)
        }
        Figure("records", "executed so far", \.sample.records)
        Figure("rejected", "refused so far", \.sample.rejectedRecords)
        Figure("sleeps", "how often it has found its ring empty and slept", \.sample.sleeps)
        Figure("cpu_s", "CPU time used while running; in final rows only") { $0.cpuSeconds.map { Rounded($0, 3) } }
        Figure("kind", "`live` or `final`") { $0.cpuSeconds == nil ? "live" : "final" }
        Figure("program", "quoted where it holds commas", \.program)
    }
}

/// The log of one run by pcore: a file of its own, with a ``PCoreRow`` for each pcore at each sample and a final one.
///
/// Rows of one sample are written in one call. Not thread-safe: one thread appends.
final class PCoreCSV {
    /// The file: `DIRECTORY/<start, UTC>-<process>.csv`, such as `20260131T235959Z-4711.csv`; names sort by time.
    let path: FilePath
    private let descriptor: FileDescriptor
    private let program: String
    private var isEmpty = true
    /// Bytes and time of each pcore's row before.
    private var last: [(bytes: UInt64, elapsed: UInt64)]

    /// Makes the run's file in `directory`, and that folder if it does not exist.
    ///
    /// - Parameters:
    ///   - directory: where the file goes.
    ///   - configuration: the run's.
    init(in directory: FilePath, configuration: RunConfiguration) throws(ToolError) {
        Directory.create(directory)
        let name = Self.timestamp(seconds: Clock.realtime() / 1_000_000_000) + "-\(getpid())"
        var attempt = 1
        while true {
            // Containers that share the folder may run the same process number in the same second.
            let path = directory.appending("\(name)\(attempt == 1 ? "" : "-\(attempt)").csv")
            do {
                descriptor = try FileDescriptor.open(
                    path, .writeOnly, options: [.append, .create, .exclusiveCreate, .closeOnExec],
                    permissions: [.ownerReadWrite, .groupRead, .otherRead])
                self.path = path
                break
            } catch {
                guard (error as? Errno) == .fileExists, attempt < 1000 else {
                    throw ToolError(
                        .cannotCreate, "cannot write \(path): \(error); choose another folder with --pcore-csv")
                }
                attempt += 1
            }
        }
        last = Array(repeating: (0, 0), count: configuration.pcores)
        program = configuration.work.mix.description
        do {
            try descriptor.writeAll((PCoreRow.header() + "\n").utf8)
        } catch {
            unlink(path.string)
            throw ToolError(.cannotCreate, "cannot write \(path): \(error); choose another folder with --pcore-csv")
        }
    }

    deinit {
        // A run that ended before its first sample leaves no file.
        if isEmpty { unlink(path.string) }
        try? descriptor.close()
    }

    /// Appends a row for each pcore of `sample`.
    func append(_ sample: Sample) throws(ToolError) {
        let elapsed = sample.elapsedNanoseconds
        let times = times(elapsed)
        var rows: [PCoreRow] = []
        for (index, pcore) in sample.pcores.enumerated() where index < last.count {
            let before = last[index]
            // What a replaced pcore has to do again may take its counters back.
            let bytes = pcore.bytes > before.bytes ? pcore.bytes - before.bytes : 0
            last[index] = (pcore.bytes, elapsed)
            rows.append(row(times, index, pcore, bytes, over: elapsed - before.elapsed))
        }
        try write(rows)
    }

    /// Appends the final row of each pcore.
    func append(final outcome: RunOutcome) throws(ToolError) {
        let times = times(outcome.elapsedNanoseconds)
        try write(
            outcome.pcores.enumerated().map { index, pcore in
                row(
                    times, index, pcore, pcore.bytes, over: outcome.elapsedNanoseconds,
                    cpuSeconds: Double(pcore.cpuNanoseconds) / 1e9)
            })
    }

    private func times(_ elapsed: UInt64) -> (wall: Rounded, elapsed: Rounded) {
        (Rounded(Double(Clock.realtime()) / 1e9, 3), Rounded(Double(elapsed) / 1e9, 3))
    }

    private func row(
        _ times: (wall: Rounded, elapsed: Rounded), _ index: Int, _ sample: PCoreResult, _ bytes: UInt64,
        over nanoseconds: UInt64, cpuSeconds: Double? = nil
    ) -> PCoreRow {
        PCoreRow(
            times: times, pcore: index, sample: sample,
            megabytesPerSecond: Double(bytes) * 1e3 / Double(max(nanoseconds, 1)), cpuSeconds: cpuSeconds,
            program: program)
    }

    private func write(_ rows: [PCoreRow]) throws(ToolError) {
        do {
            try descriptor.writeAll(PCoreRow.lines(rows).utf8)
            isEmpty = false
        } catch {
            throw ToolError(.io, "cannot append to \(path): \(error)")
        }
    }

    /// `yyyymmddThhmmssZ` of a time since 1970.
    private static func timestamp(seconds: UInt64) -> String {
        var time = time_t(seconds)
        var parts = tm()
        gmtime_r(&time, &parts)
        func two(_ value: Int32) -> String { value < 10 ? "0\(value)" : "\(value)" }
        return "\(parts.tm_year + 1900)\(two(parts.tm_mon + 1))\(two(parts.tm_mday))"
            + "T\(two(parts.tm_hour))\(two(parts.tm_min))\(two(parts.tm_sec))Z"
    }
}
