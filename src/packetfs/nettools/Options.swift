import ArgumentParser
import PacketFSGram
import PacketFSMemory
import PacketFSNet
import PacketFSPCPU
import PacketFSTools

/// Options of the program, as all runners have them.
public struct ProgramChoice: ParsableArguments {
    /// A program of one operation.
    @Option(help: "A program of one operation: xor, add, counteq, crc32c or fnv.")
    public var op: String?
    /// Its immediate.
    @Option(help: "Immediate of --op, 0 to 255, decimal or 0x.")
    public var imm: String?
    /// A program of several.
    @Option(help: "A program of several operations, such as xor:255,add:7,counteq:0.")
    public var prog: String?

    /// For the argument parser.
    public init() {}

    /// The program asked for, or nil.
    public func program() throws(ToolError) -> Program? {
        guard op == nil || prog == nil else { throw ToolError(.usage, "--op and --prog exclude each other") }
        guard op != nil || prog != nil || imm != nil else { return nil }
        return try Program(op: op, immediate: imm, program: prog, default: "")
    }
}

/// What both ends of a path must agree on, and what concerns any run.
public struct CommonOptions: ParsableArguments {
    /// Seed.
    @Option(help: "Seed of payload, descriptors and blob; the same at both ends.")
    public var seed: UInt64 = 1
    /// Size of the blob.
    @Option(help: "MiB of the blob that descriptors point into; the same at both ends.")
    public var blobMb = 64
    /// Alignment of descriptors.
    @Option(help: "Alignment of descriptors in bytes, a power of two; the same at both ends.")
    public var align: UInt32 = 64
    /// Seconds.
    @Option(help: "Seconds to run (default: 5 to send; to receive, until the stream ends).")
    public var duration: Double?
    /// Milliseconds between reports.
    @Option(help: "Milliseconds between lines on standard error; 0 for none.")
    public var reportMs = 500
    /// CPU.
    @Option(help: "Run on this CPU only.")
    public var cpu: Int?
    /// JSON.
    @Flag(help: "Print one JSON document and nothing else.")
    public var json = false

    /// For the argument parser.
    public init() {}

    /// Checks the values against themselves.
    func check() throws(ToolError) {
        guard 1...(1 << 20) ~= blobMb else { throw ToolError(.usage, "--blob-mb \(blobMb): must be from 1 to 1048576") }
        guard align.nonzeroBitCount == 1, align <= 1 << 20 else {
            throw ToolError(.usage, "--align \(align): must be a power of two from 1 to 1048576")
        }
        if let duration, !(duration > 0 && duration <= 86_400) {
            throw ToolError(.usage, "--duration \(duration): must be more than 0 and at most 86400 seconds")
        }
        guard 0...3_600_000 ~= reportMs else {
            throw ToolError(.usage, "--report-ms \(reportMs): must be from 0 to 3600000")
        }
    }

    /// Pins the process if asked to.
    public func pin() throws(ToolError) {
        if let cpu { try ToolError.coded { try CPUs.pin(to: [cpu]) } }
    }

    /// The generator of descriptors that both ends share.
    public var descriptors: RandomDescriptors {
        RandomDescriptors(region: 0..<UInt64(blobMb) << 20, alignment: align, seed: seed, stream: 0)
    }
}

/// Options of every sender.
public struct SendOptions: ParsableArguments {
    /// See ``CommonOptions``.
    @OptionGroup public var common: CommonOptions
    /// The program that frames carry.
    @OptionGroup(title: "The program that frames carry") public var choice: ProgramChoice
    /// Bytes of a frame.
    @Option(help: "Bytes of a frame, link header included; over UDP, of a datagram.")
    public var len = 1500
    /// Send records.
    @Flag(help: "Send records of descriptors into a blob that both ends hold, instead of payload.")
    public var descriptors = false
    /// Descriptors of a record.
    @Option(help: "Descriptors of a record (default: as many as fit into --len).")
    public var dpf: Int?
    /// Frames.
    @Option(help: "Stop after so many frames.")
    public var count: UInt64?
    /// Frames handed over at a time.
    @Option(help: "Frames handed to the kernel or driver at a time, 1 to 4096.")
    public var batch = 64
    /// Rate.
    @Option(help: "Frames per second at most; 0 for as many as go.")
    public var pps: UInt64 = 0
    /// Checksums.
    @Flag(help: "Give each frame a CRC-32C.")
    public var crc = false
    /// Number of the stream.
    @Option(help: "Number of this run, 0 to 4294967295 (default: drawn).")
    public var stream: UInt32?
    /// End frames.
    @Option(help: "Frames at the end that say that the stream is over, 0 to 1000.")
    public var ends = 10

    /// For the argument parser.
    public init() {}

    /// Checks the values against themselves, and fixes those that are drawn.
    public mutating func check() throws(ToolError) {
        try common.check()
        guard 1...4096 ~= batch else { throw ToolError(.usage, "--batch \(batch): must be from 1 to 4096") }
        guard 0...1000 ~= ends else { throw ToolError(.usage, "--ends \(ends): must be from 0 to 1000") }
        guard pps <= 1_000_000_000 else { throw ToolError(.usage, "--pps \(pps): must be at most 1000000000") }
        if let count, count == 0 { throw ToolError(.usage, "--count 0: at least one frame must be sent") }
        guard dpf == nil || descriptors else { throw ToolError(.usage, "--dpf needs --descriptors") }
        // Distinct from the run before is all that it must be.
        stream = stream ?? UInt32(truncatingIfNeeded: Clock.realtime() / 1000)
    }

    /// The producer of this run's frames.
    ///
    /// - Parameters:
    ///   - link: the Ethernet header, or nil over UDP.
    ///   - limit: the most bytes of a frame that the path takes.
    ///   - limitName: what sets that limit, for the message, such as `eth0 has an MTU of 1500`.
    ///   - isa: the kernels that compute checksums.
    public func producer(
        link: EthernetHeader?, limit: Int, limitName: String, isa: ISA
    ) throws(ToolError) -> FrameProducer {
        let program = try choice.program()
        let instructions = program?.steps.count ?? 0
        let linkByteCount = link == nil ? 0 : EthernetHeader.byteCount
        let most = min(limit, linkByteCount + FrameFormat.maximumByteCount)
        guard len <= most else {
            throw ToolError(.usage, "--len \(len): at most \(most) bytes are possible: \(limitName)")
        }
        let content: FrameContent
        if descriptors {
            let fixed =
                linkByteCount
                + FrameFormat.byteCount(
                    body: RecordFormat.byteCount(descriptors: 0, instructions: instructions))
            let fitting = (len - fixed) / MemoryLayout<Descriptor>.stride
            let count = dpf ?? fitting
            guard count >= 1, len >= fixed, count <= fitting else {
                throw ToolError(
                    .usage, "--len \(len): \(max(1, count)) descriptors need \(fixed + 16 * max(1, count)) bytes")
            }
            content = .descriptors(count: count, common.descriptors)
        } else {
            let fixed = linkByteCount + FrameFormat.byteCount(body: 0, instructions: instructions)
            guard len >= fixed else {
                throw ToolError(.usage, "--len \(len): headers and program alone take \(fixed) bytes")
            }
            content = .payload(byteCount: len - fixed)
        }
        return FrameProducer(
            content, program: program, seed: common.seed, stream: stream ?? 0, link: link, isChecksummed: crc, isa: isa)
    }
}

/// Options of every receiver.
public struct ReceiveOptions: ParsableArguments {
    /// See ``CommonOptions``.
    @OptionGroup public var common: CommonOptions
    /// The program for frames that bring none.
    @OptionGroup(title: "The program for frames that bring none") public var choice: ProgramChoice
    /// No programs of others.
    @Flag(help: "Do not run the programs that frames bring, but only --op or --prog.")
    public var ignorePrograms = false
    /// Compare.
    @Flag(help: "Compare payload or descriptors with what the seed calls for, and results with the reference's.")
    public var verify = false
    /// Frames.
    @Option(help: "Stop after so many frames.")
    public var count: UInt64?
    /// Silence.
    @Option(help: "Stop after so many milliseconds without a frame, once there was one; 0 for never.")
    public var idleMs = 0
    /// Number of the stream.
    @Option(help: "Number of the run to listen to (default: that of the first frame of data).")
    public var stream: UInt32?
    /// Pages of the blob, a `PagePreference` (PacketFSMemory).
    @Option(help: "Pages of the blob: auto (best first), 1g, 2m, thp or 4k; all but auto are demands.")
    public var pageSize = PagePreference.automatic.rawValue

    /// For the argument parser.
    public init() {}

    /// Checks the values against themselves.
    public func check() throws(ToolError) {
        try common.check()
        guard 0...3_600_000 ~= idleMs else { throw ToolError(.usage, "--idle-ms \(idleMs): must be from 0 to 3600000") }
        if let count, count == 0 { throw ToolError(.usage, "--count 0: at least one frame must be received") }
        _ = try pages()
        _ = try choice.program()
    }

    private func pages() throws(ToolError) -> PagePreference {
        guard let pages = PagePreference(rawValue: pageSize) else {
            let known = PagePreference.allCases.map(\.rawValue).joined(separator: ", ")
            throw ToolError(.usage, "--page-size \(pageSize): must be one of \(known)")
        }
        return pages
    }

    /// The blob that descriptors point into, filled with the seed's pattern.
    public func makeBlob() throws(ToolError) -> HugeBlob {
        let pages = try pages()
        do throws(MemoryError) {
            let byteCount = common.blobMb << 20
            let blob = try HugeBlob.create(byteCount: byteCount, pages: pages)
            try blob.fill(seed: common.seed, range: 0..<byteCount)
            return blob
        } catch {
            throw ToolError(any: error)
        }
    }

    /// What is to be done with frames.
    public func work(hasLinkHeader: Bool) throws(ToolError) -> FrameWorkConfiguration {
        var configuration = FrameWorkConfiguration()
        configuration.hasLinkHeader = hasLinkHeader
        configuration.program = try choice.program()
        configuration.runsCarriedPrograms = !ignorePrograms
        configuration.stream = stream
        if verify {
            configuration.verification = FrameVerification(seed: common.seed, descriptors: common.descriptors)
        }
        return configuration
    }
}

extension MACAddress: ExpressibleByArgument {
    /// Six bytes in hexadecimal, joined by colons.
    public init?(argument: String) { self.init(argument) }
    /// For help texts.
    public var defaultValueDescription: String { description }
}
