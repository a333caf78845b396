import PacketFSEngine
import PacketFSTools
import RandomRuns
import SystemPackage

/// The aggregate log of runs: one row per sample, appended, with a header written once.
///
/// Columns: `ts_s` (seconds since 1970), `pcores`, `bytes` (payload so far), `mbps` (10^6 bytes/s since the row before; over the
/// whole run in a final row), `records` (so far), `baseline_mbps`, `cpupwn`, `cpupwn_per_cpu`, `kind` (`live` or `final`),
/// `elapsed_s`, `dpf`, `align`, `isa`, `program`. A value that was not measured is empty.
final class MetricsCSV {
    static let header =
        "ts_s,pcores,bytes,mbps,records,baseline_mbps,cpupwn,cpupwn_per_cpu,kind,elapsed_s,dpf,align,isa,program"
    private let path: FilePath
    private let descriptor: FileDescriptor

    /// Opens `path` for appending; makes it, and its folder, if it does not exist.
    init(_ path: FilePath) throws(ToolError) {
        self.path = path
        let folder = path.removingLastComponent()
        if !folder.isEmpty { Directory.create(folder) }
        do {
            descriptor = try FileDescriptor.open(
                path, .readWrite, options: [.append, .create, .closeOnExec],
                permissions: [.ownerReadWrite, .groupRead, .otherRead])
        } catch {
            throw ToolError(.cannotCreate, "cannot write \(path): \(error); choose another file with --csv")
        }
        try writeHeaderIfNew()
    }

    deinit { try? descriptor.close() }

    private func writeHeaderIfNew() throws(ToolError) {
        let expected = Self.header + "\n"
        do {
            var start = [UInt8](repeating: 0, count: expected.utf8.count)
            let count = try start.withUnsafeMutableBytes { try descriptor.read(fromAbsoluteOffset: 0, into: $0) }
            if count == 0 {
                try descriptor.writeAll(expected.utf8)
                return
            }
            if start.prefix(count).elementsEqual(expected.utf8) { return }
        } catch {
            throw ToolError(.cannotCreate, "cannot write \(path): \(error)")
        }
        throw ToolError(
            .cannotCreate, "\(path) has other columns than this version writes; move it away or choose another --csv")
    }

    /// Appends a row in one write, so that runs at the same time do not mix theirs.
    func append(
        _ sample: Sample, isFinal: Bool, configuration: RunConfiguration
    ) throws(ToolError) {
        let fields = [
            decimals(Double(Clock.realtime()) / 1e9, 3), "\(configuration.pcores)", "\(sample.bytes)",
            decimals(sample.megabytesPerSecond, 1), "\(sample.records)",
            sample.baselineMegabytesPerSecond.map { decimals($0, 1) } ?? "",
            sample.cpupwn.map { decimals($0, 3) } ?? "", sample.cpupwnPerCPU.map { decimals($0, 3) } ?? "",
            isFinal ? "final" : "live", decimals(Double(sample.elapsedNanoseconds) / 1e9, 3),
            "\(configuration.work.descriptorsPerRecord)", "\(configuration.work.alignment)", sample.isa.rawValue,
            "\"\(configuration.work.mix)\"",
        ]
        do {
            try descriptor.writeAll((fields.joined(separator: ",") + "\n").utf8)
        } catch {
            throw ToolError(.io, "cannot append to \(path): \(error)")
        }
    }
}
