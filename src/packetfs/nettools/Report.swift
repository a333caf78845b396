import ArgumentParser
import Glibc
import PacketFSNet
import PacketFSPCPU
import PacketFSTools
import SystemPackage

/// What a runner prints in the end: for people, or with `--json` the one document.
public enum NetReport {
    /// The configuration of a sender as it was understood.
    public struct SendConfig: Encodable {
        let path: String
        let len: Int
        let content: String
        let dpf: Int?
        let program: String?
        let batch: Int
        let pps: UInt64
        let count: UInt64?
        let durationS: Double?
        let crc: Bool
        let seed: UInt64
        let stream: UInt32

        /// Makes one; `path` says where frames went, such as `eth0` or `192.0.2.1:9000`.
        public init(path: String, _ options: SendOptions, _ producer: FrameProducer) {
            self.path = path
            len = producer.byteCount
            if case .descriptors(let descriptors, _) = producer.content {
                content = "descriptors"
                dpf = descriptors
            } else {
                content = "payload"
                dpf = nil
            }
            program = (try? options.choice.program())?.map(\.description)
            batch = options.batch
            pps = options.pps
            count = options.count
            durationS = options.common.duration
            crc = options.crc
            seed = options.common.seed
            stream = producer.stream
        }
    }

    /// The configuration of a receiver as it was understood.
    public struct ReceiveConfig: Encodable {
        let path: String
        let program: String?
        let runsCarriedPrograms: Bool
        let verify: Bool
        let count: UInt64?
        let durationS: Double?
        let idleMs: Int
        let blobMb: Int
        let seed: UInt64

        /// Makes one; `path` says where frames came from.
        public init(path: String, _ options: ReceiveOptions) {
            self.path = path
            program = (try? options.choice.program())?.map(\.description)
            runsCarriedPrograms = !options.ignorePrograms
            verify = options.verify
            count = options.count
            durationS = options.common.duration
            idleMs = options.idleMs
            blobMb = options.common.blobMb
            seed = options.common.seed
        }
    }

    /// Figures, with what only one path knows beside them: `mode` (how frames really went), and `path`.
    struct Result<Figures: Encodable, Path: Encodable>: Encodable {
        let mode: String
        let isa: String
        let figures: Figures
        let path: Path

        private enum Keys: String, CodingKey { case mode, isa, path }

        func encode(to encoder: any Encoder) throws {
            try figures.encode(to: encoder)
            var container = encoder.container(keyedBy: Keys.self)
            try container.encode(mode, forKey: .mode)
            try container.encode(isa, forKey: .isa)
            try container.encode(path, forKey: .path)
        }
    }

    /// Prints a sender's report. Throws the exit code of a run that a signal ended.
    ///
    /// - Parameters:
    ///   - tool: the executable's name.
    ///   - options: as they were given.
    ///   - config: what they came to.
    ///   - figures: what the run counted.
    ///   - mode: how frames really went, such as `TPACKET_V3, qdisc bypassed`.
    ///   - isa: the kernels that were used.
    ///   - path: figures that only this path has; `result.path` of the document.
    ///   - warnings: what makes the figures weak.
    public static func print(
        tool: String, _ options: SendOptions, _ config: SendConfig, _ figures: SendFigures, mode: String, isa: ISA,
        path: some Encodable, warnings: [String]
    ) throws {
        let result = Result(mode: mode, isa: "\(isa)", figures: figures, path: path)
        guard !options.common.json else {
            try printDocument(ToolReport(tool: tool, config: config, result: result, warnings: warnings))
            return try endBySignal(figures.endedBy)
        }
        var lines = [
            "\(config.content) over \(config.path) (\(mode)): \(figures.frames) frames of \(config.len) bytes in "
                + "\(decimals(Double(figures.elapsedNs) / 1e9, 2)) s",
            "  sent        \(scaled(figures.framesPerS))frames/s, \(decimals(figures.throughputMbPerS, 1)) MB/s",
            "  CPU time    \(decimals(Double(figures.cpuNs) / 1e9, 2)) s; no room \(figures.stalls) times",
            "  stream      \(figures.stream), ended by \(figures.endedBy), \(figures.ends) end frames",
        ]
        lines += warnings.map { "  warning     \($0)" }
        try CommandLineTool.write(lines.joined(separator: "\n"))
        try endBySignal(figures.endedBy)
    }

    /// A run that a signal ended exits with 128 plus its number, as if the signal had struck.
    private static func endBySignal(_ endedBy: String) throws {
        guard endedBy.hasPrefix("signal "), let signal = Int32(endedBy.dropFirst(7)) else { return }
        throw ExitCode(128 + signal)
    }

    /// Prints a receiver's report; see the other function. Throws exit code 65 (`ToolExit.verificationFailed`) where the run
    /// verified and something differs.
    public static func print(
        tool: String, _ options: ReceiveOptions, _ config: ReceiveConfig, _ figures: ReceiveFigures, mode: String,
        isa: ISA, path: some Encodable, warnings: [String]
    ) throws {
        let result = Result(mode: mode, isa: "\(isa)", figures: figures, path: path)
        if options.common.json {
            try printDocument(ToolReport(tool: tool, config: config, result: result, warnings: warnings))
        } else {
            try CommandLineTool.write(summary(config, figures, mode: mode, warnings: warnings))
        }
        if figures.verified == false {
            throw ToolError(.verificationFailed, "verification failed: \(figures.difference ?? "results differ")")
        }
        try endBySignal(figures.endedBy)
    }

    private static func summary(
        _ config: ReceiveConfig, _ figures: ReceiveFigures, mode: String, warnings: [String]
    ) -> String {
        var lines = [
            "from \(config.path) (\(mode)): \(figures.frames) frames, \(figures.bytes) bytes in "
                + "\(decimals(Double(figures.elapsedNs) / 1e9, 2)) s, ended by \(figures.endedBy)",
            "  received    \(scaled(figures.framesPerS))frames/s, \(decimals(figures.throughputMbPerS, 1)) MB/s",
            "  worked on   \(decimals(figures.effectiveMbPerS, 1)) MB/s: \(figures.workedBytes) bytes in "
                + "\(figures.executed) frames",
            "  lost        \(figures.lost) of "
                + (figures.announced.map { "\($0) announced" } ?? "those below the highest number"),
            "  order       \(figures.duplicates) duplicates, \(figures.reordered) reordered "
                + "(by \(figures.reorderingExtent) at most), \(figures.stale) stale, \(figures.jumps) jumps",
            "  refused     \(figures.foreign) foreign, \(figures.malformed) malformed, \(figures.badChecksums) checksums, "
                + "\(figures.rejected) rejected, \(figures.otherStreams) of other streams",
            "  CPU time    \(decimals(Double(figures.cpuNs) / 1e9, 2)) s",
        ]
        for total in figures.totals { lines.append("  total       \(total.op) = \(total.value)") }
        if let fault = figures.firstFault { lines.append("  refused first: \(fault)") }
        switch figures.verified {
        case true?: lines.append("  verified    yes: what came and what it yielded equal the reference's")
        case false?: lines.append("  verified    NO: \(figures.difference ?? "results differ")")
        case nil: break
        }
        lines += warnings.map { "  warning     \($0)" }
        return lines.joined(separator: "\n")
    }

    private static func printDocument(_ document: ToolReport<some Encodable, some Encodable>) throws(ToolError) {
        let text: String
        do {
            text = try document.text()
        } catch {
            throw ToolError(.system, "cannot encode the report: \(error)")
        }
        try CommandLineTool.write(text)
    }
}

extension ToolError {
    /// The error for a right that is missing, with the line that grants it.
    ///
    /// - Parameters:
    ///   - what: what was refused, such as `a packet socket`.
    ///   - capabilities: as setcap(8) takes them, such as `cap_net_raw`.
    public static func lacksPermission(_ what: String, capabilities: String) -> ToolError {
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = readlink("/proc/self/exe", &buffer, buffer.count - 1)
        let path = String(decoding: buffer.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return ToolError(
            .permission,
            "\(what) needs \(capabilities.uppercased()): run as root, or once: sudo setcap \(capabilities)+ep \(path)")
    }
}
