import ArgumentParser
import CPacketFSShims
import Glibc
import OsvYeet
import PacketFSGram
import PacketFSMemory
import PacketFSNet
import PacketFSNetTools
import PacketFSPCPU
import PacketFSTools
import SystemPackage

/// Receives PFS frames from a packet socket's receive ring and works on them.
@main
struct PacketReceive: Tool {
    static let reports = [NetReport.ofReceiver("yeet_afp_rx", PacketReceiveRing.Statistics.self)]
    static func runAsChildIfAsked() { FanoutWorker.runIfAsked() }

    static let configuration = CommandConfiguration(
        commandName: "yeet_afp_rx",
        abstract: "Receive PFS frames with AF_PACKET, count what is lost, and apply programs to them.",
        discussion: """
            Ends with the stream, or by --duration, --count or --idle-ms. Example:
              yeet_afp_rx --iface veth1 --verify
              yeet_afp_rx --iface veth1 --fanout 2 --op crc32c

            Needs CAP_NET_RAW. Exit codes: 0 done, 64 usage, 65 verification failed, 66 no such interface, 69 not available \
            on this machine, 71 system error, 74 receiving failed, 77 permission. See docs/osv-yeet.md.
            """,
        version: PacketFSVersion.current)

    @OptionGroup var options: ReceiveOptions
    @Option(help: OptionHelp.iface) var iface: String
    @Flag(help: "Look at frames of all types, and count the foreign ones.") var allTypes = false
    @Option(.whole("Share the frames among so many processes", 1...64)) var fanout = 1
    @Option(help: "How they are shared: lb (in turn), hash, cpu, rnd or qm.") var fanoutMode = FanoutMode.lb
    @Option(.whole("KiB of the ring, of each process, a multiple of --block-kb", 4...1 << 20)) var ringKb = 16_384
    @Option(.powerOfTwo("KiB of a block of the ring", 4...4096)) var blockKb = 256
    @Option(.whole("Milliseconds after which a block that is not full is handed over", 1...1000)) var blockMs: UInt32 =
        4

    func run() throws { try CommandLineTool.run("yeet_afp_rx") { try receive() } }

    private func receive() throws {
        try check()
        let isa = try Kernels.selected()
        let outcome = fanout > 1 ? try receiveShared() : try receiveAlone(isa)
        var warnings: [String] = []
        if outcome.path.kernelDrops > 0 {
            warnings.append("the kernel dropped \(outcome.path.kernelDrops) frames: no block was free; raise --ring-kb")
        }
        if outcome.path.linkDown > 0 { warnings.append("\(iface) was down for a while") }
        if outcome.path.cutFrames > 0 {
            warnings.append("\(outcome.path.cutFrames) frames did not fit a block: raise --block-kb")
        }
        try NetReport.print(
            tool: "yeet_afp_rx", .init(path: iface, options), outcome.figures,
            mode: fanout > 1 ? "AF_PACKET TPACKET_V3, \(fanout) processes by \(fanoutMode.rawValue)" : Self.mode,
            isa: isa, path: outcome.path, warnings: warnings)
    }

    private static let mode = "AF_PACKET TPACKET_V3"

    private func check() throws(ToolError) {
        guard ringKb % blockKb == 0 else {
            throw ToolError(.usage, "--ring-kb \(ringKb): must be a multiple of --block-kb \(blockKb)")
        }
        if fanout > 1, try options.choice.program()?.writes == true {
            throw ToolError(
                .usage, "--fanout with a program that writes: processes would race for the bytes of the blob")
        }
    }

    /// What one process, or all of them, got.
    struct Outcome: Codable {
        var figures: ReceiveFigures
        var path: PacketReceiveRing.Statistics
    }

    private func receiveAlone(_ isa: ISA) throws(ToolError) -> Outcome {
        _ = try Interface(iface)
        return try receive(in: try options.makeBlob(), isa, group: nil)
    }

    /// The work of one process.
    func receive(in blob: borrowing HugeBlob, _ isa: ISA, group: UInt16?) throws(ToolError) -> Outcome {
        let configuration = try options.work(hasLinkHeader: true)
        try options.common.pin()
        var size = ReceiveRingSize()
        size.blockByteCount = blockKb << 10
        size.blockCount = ringKb / blockKb
        size.blockMilliseconds = blockMs
        let ring = try PacketReceiveRing(
            try Interface(iface), size: size, etherType: allTypes ? nil : FrameFormat.etherType,
            fanout: group.map { ($0, fanoutMode) })
        let figures = try blob.withUnsafeMutableBytes { bytes throws(ToolError) in
            let work = FrameWork(configuration, blob: bytes, memory: ring.memory, isa: isa)
            return try ReceiveRun.run(
                ring, work, options, name: "yeet_afp_rx", finishesWhenAsked: group != nil
            ) {
                FileDescriptor.standardError.writeLine("yeet_afp_rx: listening on \(iface) (\(Self.mode))")
            }
        }
        return Outcome(figures: figures, path: ring.statistics())
    }

    /// Starts the processes that share the frames, and puts their figures together.
    private func receiveShared() throws(ToolError) -> Outcome {
        _ = try Interface(iface)
        let signals = try ToolError.coded(TerminationSignals.init)
        let blob = try options.makeBlob()
        var processes = ChildProcesses()
        var results: [FileDescriptor] = []
        defer { for result in results { try? result.close() } }
        let group = "\(UInt16(truncatingIfNeeded: getpid()))"
        for index in 0..<fanout {
            let result = FileDescriptor(rawValue: pfs_memfd_create("yeet_result", 0))
            guard result.rawValue >= 0 else {
                throw ToolError(.system, "memfd_create: \(Errno(rawValue: errno))")
            }
            results.append(result)
            let arguments = [group, "\(result.rawValue)", "\(blob.fileDescriptor.rawValue)"]
            try ToolError.coded {
                try processes.start(
                    index, as: FanoutWorker.role, arguments: arguments + CommandLine.arguments.dropFirst(),
                    descriptors: [result, blob.fileDescriptor])
            }
        }
        var failed: ToolError?
        var isEnding = false
        var interruption: RunEnd?
        var deadline = UInt64.max
        while processes.count > 0 {
            for ended in processes.collectEnded(timeout: 20) where ended.end != .exited(0) {
                failed = failed ?? ToolError(.system, "process \(ended.index) \(ended.end)")
                // Its own message stands above; only its exit code says more.
                if case .exited(let code) = ended.end, let exit = ToolExit(rawValue: code) {
                    failed = ToolError(exit, "process \(ended.index) \(ended.end)")
                }
            }
            if let signal = signals.take() {
                interruption = .signal(signal)
                isEnding = true
            }
            // Not every process gets an end frame; when one has, the others have had time enough a little later.
            if processes.count < fanout, deadline == .max { deadline = Clock.monotonic() + 200_000_000 }
            if isEnding || failed != nil || Clock.monotonic() > deadline {
                processes.ask(SIGTERM)
                isEnding = false
                deadline = Clock.monotonic() + 200_000_000
            }
        }
        if let failed { throw failed }
        var outcomes: [Outcome] = []
        for result in results { outcomes.append(try FanoutWorker.read(result)) }
        var path = PacketReceiveRing.Statistics()
        for outcome in outcomes { path.add(outcome.path) }
        var figures = ReceiveFigures.merged(outcomes.map(\.figures))
        figures.endedBy = interruption ?? figures.endedBy
        return Outcome(figures: figures, path: path)
    }
}

extension FanoutMode: ExpressibleByArgument {}
