import ArgumentParser
import PacketFSGram
import PacketFSMemory
import PacketFSNet
import PacketFSPCPU
import PacketFSTools

/// What both ends of a path must agree on, and what concerns any run.
package struct CommonOptions: ParsableArguments {
    @Option(.seed)
    package var seed: UInt64 = 1
    @Option(.blobMb)
    var blobMb = 64
    @Option(.align)
    var align = 64
    @Option(.duration, absent: "5 to send; to receive, until the stream ends")
    var duration: Double?
    @Option(.whole("Stop after so many frames", 1...1 << 48))
    var count: UInt64?
    @Option(.whole("Milliseconds between lines on standard error, 0 for none", 0...3_600_000))
    var reportMs = 500
    @Option(.cpu)
    package var cpu: Int?
    @OptionGroup package var output: OutputOptions

    package init() {}

    var blobByteCount: Int { blobMb << 20 }

    /// The blob that descriptors point into, filled with the seed's pattern.
    package func makeBlob(pages: PagePreference = .automatic) throws(ToolError) -> HugeBlob {
        do throws(MemoryError) {
            let blob = try HugeBlob.create(byteCount: blobByteCount, pages: pages)
            try blob.fill(seed: seed, range: 0..<blobByteCount)
            return blob
        } catch {
            throw ToolError(any: error)
        }
    }

    /// Pins the process if asked to.
    package func pin() throws(ToolError) {
        if let cpu { try ToolError.coded { try CPUs.pin(to: [cpu]) } }
    }

    /// The generator of descriptors that both ends share.
    package var descriptors: RandomDescriptors {
        RandomDescriptors(region: 0..<UInt64(blobByteCount), alignment: UInt32(align), seed: seed, stream: 0)
    }
}

/// Options of every sender.
package struct SendOptions: ParsableArguments {
    @OptionGroup package var common: CommonOptions
    @OptionGroup(title: "The program that frames carry") var choice: ProgramOptions
    @Option(.whole("Bytes of a frame, link header included; over UDP, of a datagram", 1...65_535))
    package var len = 1500
    @Flag(help: "Send records of descriptors into a blob that both ends hold, instead of payload.")
    package var descriptors = false
    @Option(.dpf, absent: "as many as fit into --len")
    var dpf: Int?
    @Option(.whole("Frames handed to the kernel or driver at a time", 1...4096))
    package var batch = 64
    @Option(.whole("Frames per second at most, 0 for as many as go", 0...1_000_000_000))
    var pps: UInt64 = 0
    @Flag(help: "Give each frame a CRC-32C.")
    var crc = false
    @OptionGroup var number: StreamNumber
    @Option(.whole("Frames at the end that say that the stream is over", 0...1000))
    var ends = 10

    package init() {}

    /// Checks the values against each other.
    package func validate() throws {
        guard dpf == nil || descriptors else { throw ValidationError("--dpf needs --descriptors") }
    }

    /// The number of a run that has none; distinct from that of the run before is all that it must be.
    private static let drawn = UInt32(truncatingIfNeeded: Clock.realtime() / 1000)

    /// The producer of this run's frames.
    ///
    /// - Parameters:
    ///   - link: the Ethernet header, or nil over UDP.
    ///   - limit: the most bytes of a frame that the path takes.
    ///   - limitName: what sets that limit, for the message, such as `eth0 has an MTU of 1500`.
    ///   - isa: the kernels that compute checksums.
    package func producer(
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
            content, program: program, seed: common.seed, stream: number.stream ?? Self.drawn, link: link,
            isChecksummed: crc, isa: isa)
    }
}

/// The option that names a run.
package struct StreamNumber: ParsableArguments {
    @Option(
        .whole("Number of the run, which its frames carry", 0...UInt32.max), absent: "drawn, or that of the first frame"
    )
    package var stream: UInt32?

    package init() {}
}

/// Options of every receiver.
package struct ReceiveOptions: ParsableArguments {
    @OptionGroup package var common: CommonOptions
    @OptionGroup(title: "The program for frames that bring none") package var choice: ProgramOptions
    @Flag(help: "Do not run the programs that frames bring, but only --op or --prog.")
    var ignorePrograms = false
    @Flag(help: OptionHelp.verify)
    var verify = false
    @Option(.whole("Stop after so many milliseconds without a frame, once there was one; 0 for never", 0...3_600_000))
    var idleMs = 0
    @OptionGroup var number: StreamNumber
    @Option(help: OptionHelp.pageSize)
    var pageSize = PagePreference.automatic

    package init() {}

    /// The blob that descriptors point into, filled with the seed's pattern.
    package func makeBlob() throws(ToolError) -> HugeBlob { try common.makeBlob(pages: pageSize) }

    /// What is to be done with frames.
    package func work(hasLinkHeader: Bool) throws(ToolError) -> FrameWorkConfiguration {
        var configuration = FrameWorkConfiguration()
        configuration.hasLinkHeader = hasLinkHeader
        configuration.program = try choice.program()
        configuration.runsCarriedPrograms = !ignorePrograms
        configuration.stream = number.stream
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
