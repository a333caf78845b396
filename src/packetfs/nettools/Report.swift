import ArgumentParser
import Glibc
import PacketFSNet
import PacketFSPCPU
import PacketFSTools
import SystemPackage

/// The configuration of a sender as it was understood.
package struct SendConfig: ReportObject {
    let path: String
    let options: SendOptions
    let producer: FrameProducer

    /// `path` says where frames went, such as `eth0` or `192.0.2.1:9000`.
    package init(path: String, _ options: SendOptions, _ producer: FrameProducer) {
        self.path = path
        self.options = options
        self.producer = producer
    }

    var descriptors: Int? {
        if case .descriptors(let count, _) = producer.content { count } else { nil }
    }
    var content: String { descriptors == nil ? "payload" : "descriptors" }

    package static var figures: [Figure<Self>] {
        Figure("path", "where frames went: an interface, a port or an address", \.path)
        Figure("frame_bytes", "of a frame, link header included; over UDP, of a datagram", \.producer.byteCount)
        Figure("content", "`payload`, or `descriptors` into a blob", \.content)
        Figure("dpf", "descriptors of a record; null with payload", \.descriptors)
        Figure("program", "the one that frames carry; null for none") {
            (try? $0.options.choice.program()).flatMap { $0?.description }
        }
        Figure("batch", "frames handed over at a time", \.options.batch)
        Figure("pps", "frames per second at most; 0 for as many as go", \.options.pps)
        Figure("count", "frames after which the run ends; null for no limit", \.options.common.count)
        Figure("duration_seconds", "after which the run ends; null for the default", \.options.common.duration)
        Figure("crc", "whether frames have a CRC-32C", \.options.crc)
        Figure("seed", "of payload and descriptors") { Word($0.options.common.seed) }
        Figure("stream", "number of the run, which frames carry", \.producer.stream)
    }
}

/// The configuration of a receiver as it was understood.
package struct ReceiveConfig: ReportObject {
    let path: String
    let options: ReceiveOptions

    /// `path` says where frames came from.
    package init(path: String, _ options: ReceiveOptions) {
        self.path = path
        self.options = options
    }

    package static var figures: [Figure<Self>] {
        Figure("path", "where frames came from: an interface, a port or an address", \.path)
        Figure("program", "the one for frames that bring none; null for none") {
            (try? $0.options.choice.program()).flatMap { $0?.description }
        }
        Figure("runs_carried_programs", "whether programs that frames bring are run") { !$0.options.ignorePrograms }
        Figure("verify", "whether everything is compared with the reference", \.options.verify)
        Figure("count", "frames after which the run ends; null for no limit", \.options.common.count)
        Figure("duration_seconds", "after which the run ends; null for no limit", \.options.common.duration)
        Figure("idle_ms", "without a frame, after which the run ends; 0 for never", \.options.idleMs)
        Figure("blob_bytes", "the blob that descriptors point into", \.options.common.blobByteCount)
        Figure("seed", "of payload, descriptors and blob") { Word($0.options.common.seed) }
    }
}

/// What a run counted.
package protocol NetFigures: ReportObject {
    var endedBy: RunEnd { get }
}

/// Figures, with what only one path knows beside them.
package struct NetResult<Figures: NetFigures, Path: ReportObject>: ReportObject {
    let figures: Figures
    let mode: String
    let isa: String
    let path: Path

    package static var figures: [Figure<Self>] {
        Figure.from(\.figures, Figures.figures)
        Figure("mode", "how frames really went, such as `TPACKET_V3, qdisc bypassed`", \.mode)
        Figure("isa", "the kernels that were used", \.isa)
        Figure("path", "what only this path has", \.path)
    }
}

/// What a network tool prints in the end: for people, or with `--json` the one document.
package enum NetReport {
    /// The fields of a sender's report, for the documentation.
    package static func ofSender<Path: ReportObject>(_ tool: String, _: Path.Type) -> ReportDescription {
        ReportDescription(tool, SendConfig.self, NetResult<SendFigures, Path>.self)
    }

    /// The fields of a receiver's report.
    package static func ofReceiver<Path: ReportObject>(_ tool: String, _: Path.Type) -> ReportDescription {
        ReportDescription(tool, ReceiveConfig.self, NetResult<ReceiveFigures, Path>.self)
    }

    /// Prints a sender's report. Throws the exit code of a run that a signal ended.
    package static func print(
        tool: String, _ config: SendConfig, _ figures: SendFigures, mode: String, isa: ISA, path: some ReportObject,
        warnings: [String]
    ) throws {
        try write(
            tool, config, figures, mode, isa, path, warnings, json: config.options.common.output.json,
            title: "\(config.content) over \(config.path) (\(mode)): \(figures.frames) frames of "
                + "\(config.producer.byteCount) bytes in \(decimals(Double(figures.elapsedNs) / 1e9, 2)) s")
        try end(figures)
    }

    /// Prints a receiver's report. Throws ``ToolExit/verificationFailed`` where the run verified and something differs.
    package static func print(
        tool: String, _ config: ReceiveConfig, _ figures: ReceiveFigures, mode: String, isa: ISA,
        path: some ReportObject, warnings: [String]
    ) throws {
        try write(
            tool, config, figures, mode, isa, path, warnings, json: config.options.common.output.json,
            title: "from \(config.path) (\(mode)): \(figures.frames) frames, \(figures.bytes) bytes in "
                + "\(decimals(Double(figures.elapsedNs) / 1e9, 2)) s, ended by \(figures.endedBy)")
        if figures.verified == false {
            throw ToolError(.verificationFailed, "verification failed: \(figures.difference ?? "results differ")")
        }
        try end(figures)
    }

    private static func write(
        _ tool: String, _ config: some ReportObject, _ figures: some NetFigures, _ mode: String, _ isa: ISA,
        _ path: some ReportObject, _ warnings: [String], json: Bool, title: @autoclosure () -> String
    ) throws(ToolError) {
        try ToolReport(
            tool: tool, config: config, result: NetResult(figures: figures, mode: mode, isa: "\(isa)", path: path),
            warnings: warnings
        ).write(json: json, title: title())
    }

    private static func end(_ figures: some NetFigures) throws {
        let status = figures.endedBy.exitStatus
        if status != 0 { throw ExitCode(status) }
    }
}

extension ToolError {
    /// The error for a right that is missing, with the line that grants it.
    ///
    /// - Parameters:
    ///   - what: what was refused, such as `a packet socket`.
    ///   - capabilities: as setcap(8) takes them, such as `cap_net_raw`.
    package static func lacksPermission(_ what: String, capabilities: String) -> ToolError {
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = readlink("/proc/self/exe", &buffer, buffer.count - 1)
        let path = String(decoding: buffer.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return ToolError(
            .permission,
            "\(what) needs \(capabilities.uppercased()): run as root, or once: sudo setcap \(capabilities)+ep \(path)")
    }
}
