import Glibc
import PacketFSEngine
import PacketFSTools
import RandomRuns
import SystemPackage

/// The log of one run by pcore: a file of its own, with a row for each pcore at each sample and a final one.
///
/// Columns: `ts_s` (seconds since 1970), `elapsed_s` (since the start), `pcore`, `cpu` (the one it is pinned to), `bytes`
/// (payload so far), `mbps` (10^6 bytes/s since this pcore's row before; over the whole run in a final row), `records`,
/// `rejected`, `sleeps` (so far), `cpu_s` (CPU time used while running; known at the end only, empty before), `kind` (`live`
/// or `final`), `program`.
///
/// Rows of one sample share `ts_s` and `elapsed_s` and are written in one call, formatted without the detour over `String`,
/// because the thread that appends is the one that feeds the pcores. Not thread-safe: one thread appends.
final class PCoreCSV {
    static let header = "ts_s,elapsed_s,pcore,cpu,bytes,mbps,records,rejected,sleeps,cpu_s,kind,program"
    /// The file: `DIRECTORY/<start, UTC>-<process>.csv`, such as `20260131T235959Z-4711.csv`; names sort by time.
    let path: FilePath
    private let descriptor: FileDescriptor
    private let programField: [UInt8]
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
        programField = Array("\"\(configuration.work.mix)\"\n".utf8)
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
    func append(_ sample: Sample) throws(ToolError) {
        var rows = Rows(count: sample.pcores.count)
        let elapsed = sample.elapsedNanoseconds
        let times = Times(elapsed: elapsed)
        for (index, pcore) in sample.pcores.enumerated() where index < last.count {
            let before = last[index]
            // What a replaced pcore has to do again may take its counters back.
            let bytes = pcore.bytes > before.bytes ? pcore.bytes - before.bytes : 0
            last[index] = (pcore.bytes, elapsed)
            rows.append(times, index, pcore, rate: Self.tenths(bytes, over: elapsed - before.elapsed), cpu: nil)
            rows.bytes.append(contentsOf: programField)
        }
        try write(rows)
    }

    /// Appends the final row of each pcore, all in one write.
    func append(final outcome: RunOutcome) throws(ToolError) {
        var rows = Rows(count: outcome.pcores.count)
        let times = Times(elapsed: outcome.elapsedNanoseconds)
        for (index, pcore) in outcome.pcores.enumerated() {
            rows.append(
                times, index,
                pcore,
                rate: Self.tenths(pcore.bytes, over: outcome.elapsedNanoseconds),
                cpu: Self.milliseconds(pcore.cpuNanoseconds))
            rows.bytes.append(contentsOf: programField)
        }
        try write(rows)
    }

    private func write(_ rows: Rows) throws(ToolError) {
        do {
            try descriptor.writeAll(rows.bytes)
            isEmpty = false
        } catch {
            throw ToolError(.io, "cannot append to \(path): \(error)")
        }
    }

    /// The times of a sample, in milliseconds.
    private struct Times {
        let wall: UInt64
        let elapsed: UInt64

        init(elapsed nanoseconds: UInt64) {
            wall = PCoreCSV.milliseconds(Clock.realtime())
            elapsed = PCoreCSV.milliseconds(nanoseconds)
        }
    }

    /// Rows in the making.
    private struct Rows {
        var bytes: [UInt8] = []

        init(count: Int) { bytes.reserveCapacity(count * 128) }

        /// Appends a row without its program. `rate` is in tenths of MB/s; `cpu` in milliseconds makes the row final.
        mutating func append(_ times: Times, _ index: Int, _ pcore: PCoreResult, rate: UInt64, cpu: UInt64?) {
            field(times.wall, decimals: 3)
            field(times.elapsed, decimals: 3)
            field(UInt64(index))
            field(UInt64(pcore.cpu))
            field(pcore.bytes)
            field(rate, decimals: 1)
            field(pcore.records)
            field(pcore.rejectedRecords)
            field(pcore.sleeps)
            if let cpu {
                field(cpu, decimals: 3)
            } else {
                bytes.append(UInt8(ascii: ","))
            }
            bytes.append(contentsOf: (cpu == nil ? "live," : "final,").utf8)
        }

        /// Appends `value` / 10^`decimals` and a comma.
        private mutating func field(_ value: UInt64, decimals: Int = 0) {
            let start = bytes.count
            var rest = value
            var written = 0
            // Backwards, and at least one digit before the point.
            repeat {
                if decimals > 0, written == decimals { bytes.append(UInt8(ascii: ".")) }
                bytes.append(UInt8(ascii: "0") + UInt8(rest % 10))
                rest /= 10
                written += 1
            } while rest > 0 || written <= decimals
            var (low, high) = (start, bytes.count - 1)
            while low < high {
                bytes.swapAt(low, high)
                low += 1
                high -= 1
            }
            bytes.append(UInt8(ascii: ","))
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
