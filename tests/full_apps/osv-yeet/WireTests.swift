import Foundation
import PacketFSGram
import PacketFSMemory
import PacketFSNet
import PacketFSPCPU
import Testing
import ToolTesting

/// What other people's tools see of us, and we of them.
@Suite("osv-yeet: on the wire", .serialized, .enabled(if: VethPair.areAvailable, "needs network namespaces"))
struct WireTests {
    /// Starts tcpdump on side b; it writes each frame to `file` as it comes.
    func capture(_ pair: VethPair, to file: String, filter: String, count: Int) throws -> Tool.Running {
        let running = try Command.start(
            pair.b.wrapper + ["tcpdump", "-i", "vb", "-U", "-w", file, "-c", "\(count)", filter])
        #expect(running.says("listening on"), "\(running.errorsSoFar)")
        return running
    }

    /// A number in a frame, little endian.
    func number(_ frame: [UInt8], _ offset: Int, _ bytes: Int) -> UInt64 {
        (0..<bytes).reduce(0) { $0 | UInt64(frame[offset + $1]) << UInt64(8 * $1) }
    }

    @Test(
        "tcpdump finds our frames as docs/formats.md has them",
        .enabled(if: Command.exists("tcpdump"), "needs the command tcpdump"), arguments: ["v2", "v3"])
    func captured(version: String) throws {
        let pair = try VethPair()
        let scratch = try Scratch()
        let file = scratch.file("wire.pcap")
        let tcpdump = try capture(pair, to: file, filter: "ether proto 0x88b5", count: 103)
        let sent = try pair.send([
            "--count", "100", "--ends", "3", "--len", "200", "--op", "xor", "--imm", "0x5a", "--crc", "--stream", "77",
            "--seed", "5", "--tpacket", version,
        ])
        #expect(sent.status == 0, "\(sent)")
        #expect(try tcpdump.finish().status == 0)
        let frames = try Capture(contentsOf: file).frames
        try #require(frames.count == 103)
        for (index, frame) in frames.enumerated() {
            let isEnd = index >= 100
            #expect(Array(frame[..<14]) == [2, 0, 0, 0, 0, 0x0B, 2, 0, 0, 0, 0, 0x0A, 0x88, 0xB5])
            #expect(Array(frame[14..<18]) == Array("PFSF".utf8))
            #expect(Array(frame[22..<26]) == [1, isEnd ? 3 : 1, isEnd ? 0 : 1, 1])
            #expect(number(frame, 26, 4) == (isEnd ? 0 : 200 - 14 - 32 - 4))
            #expect(number(frame, 30, 8) == UInt64(min(index, 100)))
            #expect(number(frame, 38, 4) == 77)
            #expect(number(frame, 42, 4) == 0)
            let end = isEnd ? 46 : 200
            #expect(frame.count == (isEnd ? 60 : 200))
            frame[22..<end].withUnsafeBytes {
                #expect(number(frame, 18, 4) == UInt64(Reference.crc32c($0)))
            }
            guard !isEnd else { continue }
            #expect(Array(frame[46..<50]) == [1, 0x5A, 0, 0])
            let expected = (0..<150).map { FillPattern.byte(seed: 5, position: 64 * (index % 64) + $0) }
            #expect(Array(frame[50...]) == expected)
        }
    }

    @Test(
        "tcpdump finds our datagrams, cut by the kernel or not",
        .enabled(if: Command.exists("tcpdump"), "needs the command tcpdump"), arguments: [false, true])
    func capturedDatagrams(isSegmenting: Bool) throws {
        let pair = try VethPair()
        let scratch = try Scratch()
        let file = scratch.file("wire.pcap")
        // A long message crosses a veth pair whole unless the interface says that it cannot cut: then it is cut before.
        if isSegmenting { try pair.a.set("gso_max_segs", "1") }
        let tcpdump = try capture(pair, to: file, filter: "udp dst port 9009", count: 65)
        _ = try pair.sendDatagrams(
            ["--count", "64", "--ends", "1", "--len", "300", "--descriptors"] + (isSegmenting ? ["--gso"] : []))
        #expect(try tcpdump.finish().status == 0)
        let frames = try Capture(contentsOf: file).frames
        try #require(frames.count == 65)
        let generator = RandomDescriptors(region: 0..<64 << 20, alignment: 64, seed: 1, stream: 0)
        for (index, frame) in frames.dropLast().enumerated() {
            // Ethernet 14, IPv4 20, UDP 8; then the frame: header 32, record header 16, 15 descriptors.
            #expect(number(frame, 42 + 16, 8) == UInt64(index))
            #expect(frame[42 + 9] == 2)
            #expect(number(frame, 42 + 32, 4) == 15)
            for position in 0..<15 {
                let descriptor = generator[UInt64(index * 15 + position)]
                #expect(number(frame, 42 + 48 + 16 * position, 8) == descriptor.offset)
                #expect(number(frame, 42 + 56 + 16 * position, 4) == UInt64(descriptor.length))
            }
        }
    }

    @Test(
        "trafgen sends to us: foreign frames, frames of ours, broken ones",
        .enabled(if: Command.exists("trafgen"), "needs the command trafgen"))
    func foreignSender() throws {
        let pair = try VethPair()
        let scratch = try Scratch()
        let file = scratch.file("packets.cfg")
        try ForeignFrames.trafgen.write(toFile: file, atomically: true, encoding: .utf8)
        let receiver = try pair.receive(["--all-types", "--op", "counteq", "--imm", "0x41", "--blob-mb", "1"])
        try pair.a.run("trafgen", "--dev", "va", "--conf", file, "--num", "600", "--cpus", "1", "--no-sock-mem", "-Q")
        #expect(try pair.send(["--stream", "9", "--count", "4", "--len", "100"]).status == 0)
        let received = try receiver.finish()
        #expect(received.status == 0, "\(received)")
        for (field, expected) in [
            ("foreign", 200), ("malformed", 200), ("lost", 0), ("kernel_drops", 0),
            // Frames 0 and 1 from trafgen, 2 and 3 from us; 0 and 1 again from both.
            ("frames", 4), ("duplicates", 198 + 2), ("executed", 4),
        ] as [(String, UInt64)] {
            #expect(try received.number(field) == expected, "\(field): \(received)")
        }
    }

    @Test(
        "100,000 mutated frames: all counted, and the good one after them is worked on",
        .enabled(if: Command.exists("tcpreplay"), "needs the command tcpreplay"))
    func mutated() throws {
        var generator = SystemRandomNumberGenerator()
        var frames: [[UInt8]] = []
        for sequence in 0..<100_000 as Range<UInt64> {
            var frame = [UInt8](repeating: 0, count: .random(in: 60...160, using: &generator))
            frame.withUnsafeMutableBytes { bytes in
                EthernetHeader(destination: .broadcast, source: .broadcast).write(into: bytes)
                let space = UnsafeMutableRawBufferPointer(rebasing: bytes[14...])
                let kind: FrameKind = Bool.random(using: &generator) ? .payload : .descriptors
                _ = FrameEncoder.begin(
                    .init(kind: kind, sequence: sequence, stream: 3), in: space,
                    bodyByteCount: .random(in: 0...space.count - 36, using: &generator),
                    instructions: kind == .payload ? [Instruction(opcode: 4)] : [])
            }
            for _ in 0..<Int.random(in: 0...4, using: &generator) {
                frame[.random(in: 0..<frame.count, using: &generator)] = .random(in: 0...255, using: &generator)
            }
            frames.append(frame)
        }
        let scratch = try Scratch()
        let file = scratch.file("mutated.pcap")
        try Capture(frames: frames).write(to: file)
        let pair = try VethPair()
        // A ring that holds all of them, however slow the receiver is.
        let receiver = try pair.receive([
            "--all-types", "--stream", "3", "--op", "fnv", "--blob-mb", "1", "--ring-kb", "131072",
        ])
        try pair.a.run("tcpreplay", "--intf1=va", "--topspeed", "--no-flow-stats", file)
        // Ends the stream, whatever the mutated frames said about it.
        let sent = try pair.send(["--stream", "3", "--count", "1", "--len", "100"])
        #expect(sent.status == 0)
        let received = try receiver.finish()
        #expect(received.status == 0, "\(received)")
        #expect(try received.number("kernel_drops") == 0)
        let fields = [
            "frames", "duplicates", "stale", "jumps", "foreign", "malformed", "bad_checksums", "other_streams", "ends",
        ]
        // A mutated frame may itself have been an end; then the receiver was gone before the last ones.
        let seen = try fields.reduce(0) { try $0 + received.number($1) }
        #expect(seen <= (try received.number("kernel_frames")))
        if try received.number("announced") == 1 { #expect(seen > 100_000) }
        #expect(try received.number("executed") + received.number("rejected") == received.number("frames"))
        #expect(try received.number("malformed") > 1000 && received.number("foreign") > 1000)
    }
}
