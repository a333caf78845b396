import ArgumentParser
import PacketFSMemory
import PacketFSPCPU
import PacketFSTools
import RandomRuns
import StreamTool
import SystemPackage

@main
struct StreamTransmit: ParsableCommand {
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
    @Option(help: "Bytes of the ring: header, slots and slab.")
    var ringBytes = 2 << 20
    @Option(help: "Slots of the ring, as a power of two.")
    var ringPow2 = 14
    @Option(help: "Seconds to send.")
    var duration = 5.0
    @Option(help: "Exactly this many records, instead of --duration.")
    var records: UInt64?
    @Option(help: "Size of the blob in MiB. (default: 256, or that of the blob that --blob names)")
    var blobMb: Int?
    @Option(help: "Descriptors per record.")
    var dpf = 64
    @Option(help: "Alignment of descriptors in bytes; lengths are uniform in ALIGN ..< 5*ALIGN.")
    var align = 64
    @Option(help: "File to copy to the start of the blob (default: a seeded pattern).")
    var file: String?
    @Option(help: "First byte of the range that descriptors lie in.")
    var rangeOff = 0
    @Option(help: "Bytes of that range (default: to the end of the file, or of the blob).")
    var rangeLen: Int?
    @Option(help: "A program of one operation (default: fnv).")
    var op: String?
    @Option(help: "Immediate of --op, 0 to 255, decimal or 0x.")
    var imm: String?
    @Option(help: "A program of several operations, such as xor:255,add:7,counteq:0.")
    var prog: String?
    @Option(help: "Seed of the descriptors, and of the pattern.")
    var seed: UInt64 = 1
    @Flag(help: "Leave ring and blob behind.")
    var keep = false

    func run() throws {
        try side.run(Self.configuration.commandName ?? "") { report in
            try StreamTransmitter(configuration(), report: report).run()
        }
    }

    private func configuration() throws(ToolError) -> TransmitterConfiguration {
        guard op == nil || prog == nil else { throw ToolError(.usage, "--op and --prog exclude each other") }
        let program = try Program(op: op, immediate: imm, program: prog, default: "fnv")
        var configuration = TransmitterConfiguration(side: try side.configured(), program: program)
        configuration.ringByteCount = ringBytes
        configuration.keeps = keep
        configuration.run.ringPowerOfTwo = ringPow2
        configuration.run.durationSeconds = duration
        configuration.run.work.recordsPerPCore = records
        if let blobMb {
            guard 1...(1 << 30) ~= blobMb else {
                throw ToolError(.usage, "--blob-mb \(blobMb): must be from 1 to \(1 << 30)")
            }
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
