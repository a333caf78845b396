import PacketFSEngine
import PacketFSTools
import RandomRuns
import SystemPackage

/// A row of the aggregate log.
struct MetricsRow: ReportObject {
    let sample: Sample
    let isFinal: Bool
    let configuration: RunConfiguration

    static var figures: [Figure<Self>] {
        Figure("ts_s", "seconds since 1970") { _ in Rounded(Double(Clock.realtime()) / 1e9, 3) }
        Figure("pcores", "number of pcores", \.configuration.pcores)
        Figure("bytes", "payload so far", \.sample.bytes)
        Figure("mbps", "10^6 bytes/s since the row before; in a final row over the whole run") {
            Rounded($0.sample.megabytesPerSecond, 1)
        }
        Figure("records", "so far", \.sample.records)
        Figure("baseline_mbps", "empty without a baseline, as the next two") {
            $0.sample.baselineMegabytesPerSecond.map { Rounded($0, 1) }
        }
        Figure("cpupwn", "`mbps` / `baseline_mbps`") { $0.sample.cpupwn.map { Rounded($0, 3) } }
        Figure("cpupwn_per_cpu", "`cpupwn` / CPUs used") { $0.sample.cpupwnPerCPU.map { Rounded($0, 3) } }
        Figure("kind", "`live` or `final`") { $0.isFinal ? "final" : "live" }
        Figure("elapsed_s", "seconds since the start") { Rounded(Double($0.sample.elapsedNanoseconds) / 1e9, 3) }
        Figure("dpf", "descriptors per record", \.configuration.work.descriptorsPerRecord)
        Figure("align", "alignment of descriptors in bytes", \.configuration.work.alignment)
        Figure("isa", "the kernels", \.sample.isa.rawValue)
        Figure("program", "quoted where it holds commas", \.configuration.work.mix.description)
    }
}

/// The aggregate log of runs: one ``MetricsRow`` per sample, appended, with a header written once.
final class MetricsCSV {
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
        let expected = MetricsRow.header() + "\n"
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
        let row = MetricsRow(sample: sample, isFinal: isFinal, configuration: configuration)
        do {
            try descriptor.writeAll(MetricsRow.lines([row]).utf8)
        } catch {
            throw ToolError(.io, "cannot append to \(path): \(error)")
        }
    }
}
