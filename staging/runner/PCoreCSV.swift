import Glibc
import SystemPackage

/// The log of one run by pcore: a file of its own, with a row for each pcore at each sample and a final one.
///
/// Columns: `ts_s` (seconds since 1970), `elapsed_s` (since the start), `pcore`, `cpu` (the one it is pinned to), `bytes`
/// (payload so far), `mbps` (10^6 bytes/s since this pcore's row before; over the whole run in a final row), `records`,
/// `rejected`, `sleeps` (so far), `cpu_s` (CPU time used while running; known at the end only, empty before), `kind` (`live`
/// or `final`), `program`.
///
/// Rows of one sample share `ts_s` and `elapsed_s` and are written in one call, formatted without the detour over `String`:
/// 256 of them cost the producing thread some 50 microseconds. Not thread-safe: one thread appends.
public final class PCoreCSV {
    static let header = "ts_s,elapsed_s,pcore,cpu,bytes,mbps,records,rejected,sleeps,cpu_s,kind,program"
    /// The file: `DIRECTORY/<start, UTC>-<process>.csv`, such as `20260131T235959Z-4711.csv`; names sort by time.
    public let path: FilePath
    private let descriptor: FileDescriptor
    private let programField: [UInt8]
    private var isEmpty = true
    /// Bytes and time of each pcore's row before.
    private var last: [(bytes: UInt64, elapsed: UInt64)]
    private var rows: [UInt8] = []

    /// Makes the run's file in `directory`, and that folder if it does not exist.
    ///
    /// - Parameters:
    ///   - directory: where the file goes.
    ///   - configuration: the run's.
    public init(in directory: FilePath, configuration: RunConfiguration) throws(ToolError) {
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
        programField = Array("\"\(configuration.mix)\"\n".utf8)
        do {
            try descriptor.writeAll((Self.header + "\n").utf8)
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

    /// Appends a row for each pcore of `sample`, all in one write.
    public func append(_ sample: Sample) throws(ToolError) {
        begin()
        let now = Clock.realtime()
        for (index, pcore) in sample.pcores.enumerated() where index < last.count {
            let before = last[index]
            // A pcore that was replaced starts counting anew.
            let bytes = pcore.bytes > before.bytes ? pcore.bytes - before.bytes : 0
            last[index] = (pcore.bytes, sample.elapsedNanoseconds)
            row(
                now: now, elapsed: sample.elapsedNanoseconds, pcore: index, counters: pcore,
                rate: Self.tenths(bytes, over: sample.elapsedNanoseconds - before.elapsed), cpuNanoseconds: nil)
        }
        try write()
    }

    /// Appends the final row of each pcore, all in one write.
    public func append(final outcome: RunOutcome) throws(ToolError) {
        begin()
        let now = Clock.realtime()
        for (index, pcore) in outcome.pcores.enumerated() {
            row(
                now: now, elapsed: outcome.elapsedNanoseconds, pcore: index,
                counters: PCoreSample(
                    cpu: pcore.cpu, bytes: pcore.bytes, records: pcore.records,
                    rejectedRecords: pcore.rejectedRecords, sleeps: pcore.sleeps),
                rate: Self.tenths(pcore.bytes, over: outcome.elapsedNanoseconds),
                cpuNanoseconds: pcore.cpuNanoseconds)
        }
        try write()
    }

    // MARK: - Rows

    private func begin() {
        rows.removeAll(keepingCapacity: true)
    }

    private func row(
        now: UInt64, elapsed: UInt64, pcore: Int, counters: PCoreSample, rate: UInt64, cpuNanoseconds: UInt64?
    ) {
        field(Self.milliseconds(now), decimals: 3)
        field(Self.milliseconds(elapsed), decimals: 3)
        field(UInt64(pcore))
        field(UInt64(counters.cpu))
        field(counters.bytes)
        field(rate, decimals: 1)
        field(counters.records)
        field(counters.rejectedRecords)
        field(counters.sleeps)
        if let cpuNanoseconds {
            field(Self.milliseconds(cpuNanoseconds), decimals: 3)
        } else {
            rows.append(UInt8(ascii: ","))
        }
        rows.append(contentsOf: (cpuNanoseconds == nil ? "live," : "final,").utf8)
        rows.append(contentsOf: programField)
    }

    /// Appends `value` / 10^`decimals` and a comma.
    private func field(_ value: UInt64, decimals: Int = 0) {
        let start = rows.count
        var rest = value
        var written = 0
        // Backwards, and at least one digit before the point.
        repeat {
            if decimals > 0, written == decimals { rows.append(UInt8(ascii: ".")) }
            rows.append(UInt8(ascii: "0") + UInt8(rest % 10))
            rest /= 10
            written += 1
        } while rest > 0 || written <= decimals
        rows[start...].reverse()
        rows.append(UInt8(ascii: ","))
    }

    private func write() throws(ToolError) {
        do {
            try descriptor.writeAll(rows)
            isEmpty = false
        } catch {
            throw ToolError(.io, "cannot append to \(path): \(error)")
        }
    }

    private static func milliseconds(_ nanoseconds: UInt64) -> UInt64 { (nanoseconds + 500_000) / 1_000_000 }

    /// Tenths of 10^6 bytes per second.
    private static func tenths(_ bytes: UInt64, over nanoseconds: UInt64) -> UInt64 {
        UInt64((Double(bytes) * 1e4 / Double(max(nanoseconds, 1))).rounded())
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
