import Foundation
import PacketFSGram
import PacketFSMemory
import PacketFSNet
import Testing
import ToolTesting

/// What other people's tools see of us, and we of them.
@Suite("AF_XDP: on the wire", .serialized, .enabled(if: VethPair.areAvailable, "needs network namespaces"))
struct WireTests {
    /// A path for a file that the test removes.
    static func file() -> String {
        FileManager.default.temporaryDirectory.appendingPathComponent("pfs-afxdp-\(UUID())").path
    }

    @Test(
        "tcpdump finds our frames, each whole and in order",
        .enabled(if: Command.exists("tcpdump"), "needs the command tcpdump"))
    func captured() throws {
        let pair = try VethPair()
        let file = Self.file()
        defer { try? FileManager.default.removeItem(atPath: file) }
        let tcpdump = try Command.start(
            pair.b.wrapper + ["tcpdump", "-i", "vb", "-U", "-w", file, "-c", "203", "ether proto 0x88b5"])
        #expect(tcpdump.says("listening on"), "\(tcpdump.errorsSoFar)")
        // Fewer chunks than frames: each is used again, its header alone rewritten.
        let sent = try pair.send([
            "--count", "200", "--ends", "3", "--len", "150", "--stream", "77", "--seed", "5", "--chunks", "64", "--crc",
        ])
        #expect(sent.status == 0, "\(sent)")
        #expect(try tcpdump.finish().status == 0)
        let frames = try Capture(contentsOf: file).frames
        try #require(frames.count == 203)
        for (index, frame) in frames.enumerated() {
            #expect(Array(frame[..<14]) == [2, 0, 0, 0, 0, 0x0B, 2, 0, 0, 0, 0, 0x0A, 0x88, 0xB5])
            try frame[14...].withUnsafeBytes { bytes in
                let view = try FrameView(validating: bytes)
                #expect(view.header.stream == 77 && view.header.sequence == UInt64(min(index, 200)))
                guard index < 200 else { return #expect(view.header.kind == .end) }
                let expected = (0..<104).map { FillPattern.byte(seed: 5, position: 64 * (index % 64) + $0) }
                #expect(Array(view.body) == expected)
            }
        }
    }

    @Test("AF_PACKET receives what AF_XDP sends", arguments: [[], ["--descriptors", "--op", "crc32c"]])
    func toPacketSocket(more: [String]) throws {
        let pair = try VethPair()
        let receiver = try Tool("yeet_afp_rx").start(
            ["--iface", "vb", "--verify", "--blob-mb", "2", "--duration", "50", "--json"], wrapper: pair.b.wrapper)
        #expect(receiver.says("listening"), "\(receiver.errorsSoFar)")
        #expect(try pair.send(["--count", "200", "--crc"] + more).status == 0)
        let received = try receiver.finish()
        #expect(received.status == 0, "\(received)")
        #expect(try received.number("frames") == 200 && received.number("lost") == 0)
        #expect(try received.field("verified") as? Bool == true)
    }

    @Test("AF_XDP receives what AF_PACKET sends", arguments: ["native", "skb"])
    func fromPacketSocket(mode: String) throws {
        let pair = try VethPair()
        let receiver = try pair.startReceiver(["--verify", "--mode", mode])
        let sent = try Tool("yeet_afp_tx").run(
            ["--iface", "va", "--count", "200", "--prog", "xor:7,counteq:0", "--report-ms", "0", "--json"],
            wrapper: pair.a.wrapper)
        #expect(sent.status == 0, "\(sent)")
        let received = try receiver.finish()
        #expect(try received.number("frames") == 200 && received.number("lost") == 0, "\(received)")
        #expect(try received.field("verified") as? Bool == true)
    }

    @Test(
        "trafgen sends to us: frames of ours, broken ones, and others, which pass on to the kernel",
        .enabled(if: Command.exists("trafgen"), "needs the command trafgen"),
        .enabled(if: Command.exists("tcpdump"), "needs the command tcpdump"), arguments: ["native", "skb"])
    func foreignSender(mode: String) throws {
        let pair = try VethPair()
        let (file, wire) = (Self.file(), Self.file())
        defer { for path in [file, wire] { try? FileManager.default.removeItem(atPath: path) } }
        try ForeignFrames.trafgen.write(toFile: file, atomically: true, encoding: .utf8)
        let receiver = try pair.startReceiver(["--op", "counteq", "--imm", "0x41", "--mode", mode])
        let tcpdump = try Command.start(
            pair.b.wrapper + ["tcpdump", "-i", "vb", "-U", "-w", wire, "-c", "30", "ether proto 0x88b6"])
        #expect(tcpdump.says("listening on"), "\(tcpdump.errorsSoFar)")
        try pair.a.run("trafgen", "--dev", "va", "--conf", file, "--num", "180", "--cpus", "1", "--no-sock-mem", "-Q")
        #expect(try pair.send(["--stream", "9", "--count", "4", "--len", "100"]).status == 0)
        let received = try receiver.finish()
        #expect(received.status == 0, "\(received)")
        for (field, expected) in [
            ("foreign", 30), ("malformed", 60), ("lost", 0),
            // Frames 0 and 1 from trafgen, 2 and 3 from us; 0 and 1 again from both.
            ("frames", 4), ("duplicates", 58 + 2), ("executed", 4),
        ] as [(String, UInt64)] {
            #expect(try received.number(field) == expected, "\(field): \(received)")
        }
        #expect(try tcpdump.finish().status == 0)
        #expect(try Capture(contentsOf: wire).frames.count == 30)
    }

    @Test(
        "100,000 mutated frames: no crash, what arrived is counted, and the receiver goes on",
        .enabled(if: Command.exists("tcpreplay"), "needs the command tcpreplay"), arguments: ["native", "skb"])
    func mutated(mode: String) throws {
        var generator = SystemRandomNumberGenerator()
        let frames = (0..<50_000 as Range<UInt64>).map { sequence -> [UInt8] in
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
                // Not the EtherType, by which the kernel chooses.
                let position = Int.random(in: 14..<frame.count, using: &generator)
                // Not to an end frame: the receiver would be right to end.
                frame[position] = .random(in: position == 23 ? 4...255 : 0...255, using: &generator)
            }
            return frame
        }
        let file = Self.file()
        defer { try? FileManager.default.removeItem(atPath: file) }
        try Capture(frames: frames).write(to: file)
        let pair = try VethPair()
        let receiver = try pair.startReceiver(["--stream", "3", "--op", "fnv", "--mode", mode, "--chunks", "65536"])
        try pair.a.run("tcpreplay", "--intf1=va", "--topspeed", "--no-flow-stats", "--loop=2", file)
        let sent = try pair.send(["--stream", "3", "--count", "1", "--len", "100"])
        #expect(sent.status == 0)
        let received = try receiver.finish()
        #expect(received.status == 0, "\(received)")
        #expect(try received.field("ended_by") as? String == "end")
        let fields = [
            "frames", "duplicates", "stale", "jumps", "foreign", "malformed", "bad_checksums", "other_streams", "ends",
        ]
        let seen = try fields.reduce(0) { try $0 + received.number($1) }
        // The veth queue may have been full at times: whatever did not get through is lost before us.
        #expect(seen <= 100_011 && seen > 10_000, "\(received)")
        #expect(try received.number("executed") + received.number("rejected") == received.number("frames"))
        #expect(try received.number("malformed") > 100 && received.number("foreign") > 100)
    }
}
