import ArgumentParser
import PacketFSMemory
import PacketFSPCPU
import PacketFSTools
import RandomRuns
import StreamTool
import SystemPackage

@main
struct StreamTransmit: Tool {
    static let reports = [ReportDescription("pfs_stream_fastpath_tx", StreamConfig.self, StreamOutcome.self)]

    static let configuration = CommandConfiguration(
        commandName: "pfs_stream_fastpath_tx",
        abstract: "Send program-carrying records to pfs_stream_fastpath_rx through a ring that both have mapped.",
        discussion: """
            The ring is /dev/pfs_fastpath (--dev) or a region in shared memory (--shm NAME, without any module). It carries \
            records of random descriptors and the program to apply; the bytes are in a blob that both sides share by name. \
            Either side may be started first. At the end the consumer answers with what it has executed.

            Programs: xor:IMM add:IMM counteq:IMM crc32c fnv, joined by commas.

            Exit codes: 0 done, 64 usage, 65 verification failed, 66 input missing, 69 not available on this machine or no \
            other side came, 71 system error or the consumer died, 73 the blob exists, 74 I/O error, 77 permission; \
            128 + signal when interrupted (figures are printed all the same). See docs/pfs_stream_fastpath.md.
            """,
        version: PacketFSVersion.current)

    @OptionGroup var side: StreamOptions
    @Option(.bytes("Bytes of the ring: header, slots and slab", 1...64 << 30))
    var ringBytes = 2 << 20
    @Option(.ringPow2)
    var ringPow2 = 14
    @Option(.duration)
    var duration = 5.0
    @Option(.records, absent: "as many as --duration allows")
    var records: UInt64?
    @Option(.blobMb, absent: "256, or that of the blob that --blob names")
    var blobMb: Int?
    @Option(.dpf)
    var dpf = 64
    @Option(.align)
    var align = 64
    @Option(help: OptionHelp.file)
    var file: String?
    @Option(.rangeOff)
    var rangeOff = 0
    @Option(.rangeLen, absent: "to the end of the file, or of the blob")
    var rangeLen: Int?
    @OptionGroup(title: "The program (fnv unless one is named)") var choice: ProgramOptions
    @Option(.seed)
    var seed: UInt64 = 1
    @Flag(help: "Leave ring and blob behind.")
    var keep = false

    func run() throws {
        try side.run(Self.configuration.commandName ?? "") { report in
            try StreamTransmitter(configuration(), report: report).run()
        }
    }

    private func configuration() throws(ToolError) -> TransmitterConfiguration {
        let program = try choice.program(default: "fnv")
        var configuration = TransmitterConfiguration(side: try side.configured(), program: program)
        configuration.ringByteCount = ringBytes
        configuration.keeps = keep
        configuration.run.ringPowerOfTwo = ringPow2
        configuration.run.durationSeconds = duration
        configuration.run.work.recordsPerPCore = records
        if let blobMb {
            configuration.run.blobByteCount = blobMb << 20
            configuration.sizesBlob = true
        }
        configuration.run.work.descriptorsPerRecord = dpf
        configuration.run.work.alignment = align
        configuration.run.file = file.map { FilePath($0) }
        configuration.run.rangeOffset = rangeOff
        configuration.run.rangeLength = rangeLen
        configuration.run.work.seed = seed
        try configuration.validate()
        return configuration
    }
}
