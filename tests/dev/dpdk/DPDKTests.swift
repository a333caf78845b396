import Foundation
import Testing
import ToolTesting

/// Virtual devices of one process.
@Suite("DPDK: one process", .serialized, .enabled(if: hasDPDK, "needs DPDK"))
struct LoopTests {
    @Test(
        "What goes through net_ring comes back as it was",
        arguments: [
            [], ["--prog", "xor:255,crc32c", "--crc"], ["--len", "64", "--burst", "1"],
            ["--descriptors", "--prog", "add:1,counteq:0"], ["--burst", "256", "--batch", "4096", "--len", "1514"],
        ])
    func ring(more: [String]) throws {
        // More frames than buffers: all are used again.
        let run = try send(["--vdev", "net_ring0", "--loop", "--verify", "--count", "20000"] + more)
        #expect(run.status == 0, "\(run)")
        #expect(try run.number("frames") == 20_000)
        for (field, expected) in [("frames", 20_000), ("lost", 0), ("duplicates", 0), ("foreign", 0), ("malformed", 0)]
            as [(String, UInt64)]
        {
            #expect(try run.back(field) == expected, "\(field): \(run)")
        }
        #expect(try run.field("verified") as? Bool == true)
        #expect(try run.field("mode") as? String == "net_ring, ordinary pages")
        #expect(try run.field("huge_pages") as? Bool == false)
    }

    @Test("net_null takes all and gives frames that are none of ours")
    func null() throws {
        let run = try send(["--vdev", "net_null0", "--count", "50000", "--len", "64", "--loop"])
        #expect(run.status == 0, "\(run)")
        #expect(try run.number("frames") == 50_000)
        #expect(try run.back("frames") == 0 && run.back("foreign") > 0)

        let received = try receive.run(common + ["--vdev", "net_null0", "--duration", "0.3", "--blob-mb", "1"])
        #expect(received.status == 0, "\(received)")
        #expect(try received.number("foreign") > 0 && received.number("frames") == 0)
        #expect(try received.number("polled_frames") == received.number("foreign"))
    }

    @Test("The probe finds the virtual devices and leaves nothing")
    func probing() throws {
        let run = try probe.run(["--no-huge", "--json", "--vdev", "net_ring0"])
        #expect(run.status == 0, "\(run)")
        let result = try run.result()
        #expect((result["dpdk"] as? String)?.hasPrefix("DPDK ") == true)
        for list in ["ports", "vdevs"] {
            let trials = try #require(result[list] as? [[String: Any]])
            #expect(trials.count == (list == "ports" ? 1 : 3))
            for trial in trials { #expect(trial["works"] as? Bool == true, "\(run)") }
        }
        let text = try probe.run(["--no-huge"])
        #expect(text.output.contains("net_memif9"), "\(text)")
    }

    struct Case: CustomTestStringConvertible, Sendable {
        let tool: Tool
        let arguments: [String]
        let status: Int32
        let message: String
        var testDescription: String { tool.path.split(separator: "/").last! + " " + arguments.joined(separator: " ") }
    }

    static let cases: [Case] =
        [transmit, receive].flatMap { tool in
            [
                Case(tool: tool, arguments: ["--no-huge"], status: 66, message: "--vdev names a virtual device"),
                Case(
                    tool: tool, arguments: ["--no-huge", "--vdev", "net_null0", "--port", "3"], status: 66,
                    message: "there is no port 3: DPDK has 0"),
                Case(
                    tool: tool, arguments: ["--no-huge", "--vdev", "net_nonsense0"], status: 69,
                    message: "does not start"),
                Case(
                    tool: tool, arguments: ["--no-huge", "--vdev", "net_af_packet0,iface=nosuch"], status: 66,
                    message: "DPDK has none"),
                Case(tool: tool, arguments: ["--no-huge", "--eal=--nonsense"], status: 69, message: "--nonsense"),
                Case(
                    tool: tool, arguments: ["--no-huge", "--memory-mb", "1"], status: 64,
                    message: "'1' is invalid for '--memory-mb"),
                Case(
                    tool: tool, arguments: ["--no-huge", "--memory-mb", "16", "--vdev", "net_null0"], status: 69,
                    message: "--memory-mb"),
                Case(tool: tool, arguments: ["--memory-mb", "65536"], status: 69, message: "or use --no-huge"),
                Case(
                    tool: tool, arguments: ["--no-huge", "--vdev", "net_null0", "--burst", "257"], status: 64,
                    message: "'257' is invalid for '--burst"),
                Case(
                    tool: tool, arguments: ["--no-huge", "--vdev", "net_null0", "--op", "sub"], status: 64,
                    message: "\"sub\", is unknown"),
            ]
        } + [
            Case(
                tool: transmit, arguments: ["--no-huge", "--vdev", "net_null0", "--len", "2000"], status: 64,
                message: "net_null0 has an MTU of 1500"),
            Case(tool: transmit, arguments: ["--len", "9601"], status: 64, message: "at most 9600 bytes"),
            Case(tool: transmit, arguments: ["--verify"], status: 64, message: "--verify needs --loop"),
            Case(
                tool: transmit,
                arguments: ["--no-huge", "--vdev", "net_memif0,role=server,socket=/pfs-nobody-comes"], status: 69,
                message: "is the other end there?"),
            Case(
                tool: receive, arguments: ["--frame-bytes", "100"], status: 64,
                message: "'100' is invalid for '--frame-bytes"),
            Case(tool: probe, arguments: ["--no-huge", "--iface", "a,b"], status: 64, message: "--iface"),
            Case(tool: probe, arguments: ["--memory-mb", "65536"], status: 69, message: "or use --no-huge"),
        ]

    @Test("What cannot be done is refused with a message that says what and where", arguments: cases)
    func badInput(test: Case) throws {
        let run = try test.tool.run(test.arguments + (test.tool.path == probe.path ? [] : ["--blob-mb", "1"]))
        #expect(run.status == test.status && !run.wasSignalled, "\(run)")
        #expect(run.errors.contains(test.message), "\(run)")
        #expect(run.output.isEmpty)
    }

    @Test("A killed run leaves no file behind, and the next one starts")
    func killed() throws {
        let before = Self.leftovers()
        for _ in 0..<2 {
            let sender = try transmit.start(
                ["--no-huge", "--vdev", "net_ring0", "--loop", "--duration", "60", "--report-ms", "20"])
            #expect(sender.says("sent"))
            kill(sender.process.processIdentifier, SIGKILL)
            #expect(try sender.finish().wasSignalled)
        }
        #expect(Self.leftovers() == before)
    }

    /// Where DPDK puts files, unless told otherwise.
    static func leftovers() -> [String] {
        ["/var/run/dpdk", "/dev/hugepages", "/dev/shm"].flatMap { folder in
            ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).map { "\(folder)/\($0)" }
        }.filter { $0.contains("dpdk") || $0.contains("rtemap") }.sorted()
    }
}

/// Two processes over shared memory.
@Suite("DPDK: memif", .serialized, .enabled(if: hasDPDK, "needs DPDK"))
struct MemifTests {
    func device(_ role: String, _ socket: String) -> [String] {
        ["--vdev", "net_memif0,role=\(role),socket=\(socket)"]
    }

    @Test(arguments: [
        [], ["--prog", "xor:9,crc32c", "--len", "200", "--crc"],
        ["--descriptors", "--prog", "add:1,counteq:0", "--dpf", "4"],
    ])
    func verified(more: [String]) throws {
        let socket = socketPath()
        defer { try? FileManager.default.removeItem(atPath: socket) }
        let receiver = try startReceiver(device("server", socket) + ["--verify"])
        let sent = try send(device("client", socket) + ["--count", "5000"] + more)
        #expect(sent.status == 0, "\(sent)")
        let received = try receiver.finish()
        #expect(received.status == 0, "\(received)")
        // A full queue holds the sender up: nothing is lost.
        #expect(try sent.number("frames") == 5000 && received.number("frames") == 5000)
        #expect(try received.number("lost") == 0 && received.number("announced") == 5000)
        #expect(try received.field("verified") as? Bool == true)
    }

    @Test("The receiver is killed: the sender goes on, and ends when it is told to")
    func killedReceiver() throws {
        let socket = socketPath()
        defer { try? FileManager.default.removeItem(atPath: socket) }
        let receiver = try startReceiver(device("server", socket))
        let sender = try transmit.start(
            ["--no-huge", "--duration", "60", "--report-ms", "20", "--pps", "2000"] + device("client", socket))
        #expect(sender.says("sent"))
        kill(receiver.process.processIdentifier, SIGKILL)
        #expect(try receiver.finish().wasSignalled)
        #expect(sender.saysAgain("sent", times: 5))
        sender.process.interrupt()
        let sent = try sender.finish()
        #expect(sent.status == 130 && !sent.wasSignalled, "\(sent)")
    }

    @Test(
        "testpmd sends to us: its frames are none of ours, and are counted",
        .enabled(if: Command.exists("dpdk-testpmd"), "needs the command dpdk-testpmd"))
    func foreignSender() throws {
        let socket = socketPath()
        defer { try? FileManager.default.removeItem(atPath: socket) }
        let receiver = try startReceiver(device("server", socket) + ["--report-ms", "20"])
        // It sends for longer than the receiver is there, because a memif driver may unmap what the other end shared while a burst is
        // still being read from there (docs/dpdk.md).
        let testpmd = try Command.start([
            "timeout", "-k", "5", "110", "dpdk-testpmd", "--no-huge", "-m", "192", "--no-pci", "--no-shconf",
            "--no-telemetry", "--vdev=net_memif0,role=client,socket=\(socket)", "--lcores", "(0,1)@(0-1)", "--",
            "--forward-mode=txonly", "--total-num-mbufs=8192", "--no-lsc-interrupt", "--auto-start",
            "--stats-period", "1",
        ])
        #expect(testpmd.waits { testpmd.outputSoFar.contains(/TX-packets: +[1-9]/) }, "\(testpmd.outputSoFar)")
        #expect(receiver.saysAgain("received", times: 2))
        receiver.process.interrupt()
        let received = try receiver.finish()
        testpmd.process.terminate()
        _ = try testpmd.finish()
        #expect(received.status == 130, "\(received)")
        #expect(try received.number("foreign") > 0 && received.number("frames") == 0, "\(received)")
    }
}

/// Devices of the kernel.
@Suite(
    "DPDK: over veth", .serialized, .enabled(if: hasDPDK, "needs DPDK"),
    .enabled(if: VethPair.areAvailable, "needs network namespaces"))
struct VethTests {
    static let count: UInt64 = 200

    @Test(
        "From DPDK to DPDK, verified",
        arguments: [
            ("net_af_packet0", []), ("net_af_packet0", ["--descriptors", "--op", "crc32c"]), ("net_af_xdp0", []),
        ])
    func both(driver: String, more: [String]) throws {
        let pair = try VethPair()
        let receiver = try startReceiver(["--vdev", "\(driver),iface=vb", "--verify"], wrapper: pair.b.wrapper)
        let sent = try send(
            ["--vdev", "\(driver),iface=va", "--count", "\(Self.count)", "--pps", "5000"] + more,
            wrapper: pair.a.wrapper)
        #expect(sent.status == 0, "\(sent)")
        let received = try receiver.finish()
        #expect(received.status == 0, "\(received)")
        #expect(try received.number("frames") == Self.count && received.number("lost") == 0, "\(received)")
        #expect(try received.field("verified") as? Bool == true)
    }

    @Test("AF_PACKET receives what DPDK sends")
    func toPacketSocket() throws {
        let pair = try VethPair()
        let receiver = try Tool("yeet_afp_rx").start(
            ["--iface", "vb", "--verify", "--blob-mb", "2", "--duration", "50", "--json"], wrapper: pair.b.wrapper)
        #expect(receiver.says("listening"), "\(receiver.errorsSoFar)")
        #expect(
            try send(
                ["--vdev", "net_af_packet0,iface=va", "--count", "\(Self.count)", "--crc", "--op", "fnv"],
                wrapper: pair.a.wrapper
            ).status == 0)
        let received = try receiver.finish()
        #expect(try received.number("frames") == Self.count && received.number("lost") == 0, "\(received)")
        #expect(try received.field("verified") as? Bool == true)
    }

    @Test("DPDK receives what AF_XDP sends")
    func fromXDP() throws {
        let pair = try VethPair()
        let receiver = try startReceiver(["--vdev", "net_af_packet0,iface=vb", "--verify"], wrapper: pair.b.wrapper)
        #expect(
            try Tool("pfs_afxdp_tx").run(
                ["--iface", "va", "--count", "\(Self.count)", "--report-ms", "0"], wrapper: pair.a.wrapper
            ).status == 0)
        let received = try receiver.finish()
        #expect(try received.number("frames") == Self.count && received.number("lost") == 0, "\(received)")
        #expect(try received.field("verified") as? Bool == true)
    }

    @Test(
        "net_tap: what DPDK sends, the kernel receives on an interface of its own",
        .enabled(if: FileManager.default.fileExists(atPath: "/dev/net/tun"), "needs /dev/net/tun"))
    func tap() throws {
        let pair = try VethPair()
        let sender = try transmit.start(
            ["--no-huge", "--vdev", "net_tap0,iface=pfstap", "--pps", "500", "--duration", "100", "--report-ms", "20"],
            wrapper: pair.a.wrapper)
        // It says that once the link is up.
        #expect(sender.says("sent"), "\(sender.errorsSoFar)")
        let received = try Tool("yeet_afp_rx").run(
            ["--iface", "pfstap", "--count", "50", "--verify", "--blob-mb", "1", "--duration", "50", "--json"],
            wrapper: pair.a.wrapper)
        sender.process.interrupt()
        #expect(try sender.finish().status == 130)
        #expect(received.status == 0, "\(received)")
        #expect(try received.number("frames") >= 50)
    }

    @Test(
        "trafgen sends to us: foreign frames, frames of ours, broken ones",
        .enabled(if: Command.exists("trafgen"), "needs the command trafgen"))
    func foreignSender() throws {
        let pair = try VethPair()
        let ethernet = "0x02,0,0,0,0,0x0b, 0x02,0,0,0,0,0x0a,"
        let packets = [
            "{ \(ethernet) c16(0x88b6), fill(0x41, 50) }",
            "{ \(ethernet) c16(0x88b5), 'P','F','S','F', 0,0,0,0, 2,1,0,0, fill(0, 40) }",
            "{ \(ethernet) c16(0x88b5), 'P','F','S','F', fill(0, 4) }",
            "{ \(ethernet) c16(0x88b5), 'P','F','S','F', 0,0,0,0, 1,1,0,0, 20,0,0,0, 0,0,0,0,0,0,0,0, 9,0,0,0, 0,0,0,0, "
                + "fill(0x41, 20) }",
        ]
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("pfs-dpdk-\(UUID())").path
        defer { try? FileManager.default.removeItem(atPath: file) }
        try packets.joined(separator: "\n").write(toFile: file, atomically: true, encoding: .utf8)
        let receiver = try startReceiver(
            ["--vdev", "net_af_packet0,iface=vb", "--op", "counteq", "--imm", "0x41"], wrapper: pair.b.wrapper)
        try pair.a.run("trafgen", "--dev", "va", "--conf", file, "--num", "200", "--cpus", "1", "--no-sock-mem", "-Q")
        #expect(
            try send(
                ["--vdev", "net_af_packet0,iface=va", "--stream", "9", "--count", "3", "--len", "100"],
                wrapper: pair.a.wrapper
            ).status == 0)
        let received = try receiver.finish()
        #expect(received.status == 0, "\(received)")
        #expect(try received.number("foreign") == 50 && received.number("malformed") == 100, "\(received)")
        #expect(try received.number("frames") == 3 && received.number("duplicates") == 49 + 1)
    }

    @Test("The probe tries the devices that work on an interface, and leaves no XDP program")
    func probing() throws {
        let pair = try VethPair()
        let run = try probe.run(["--no-huge", "--iface", "va", "--json"], wrapper: pair.a.wrapper)
        #expect(run.status == 0, "\(run)")
        let trials = try #require(run.result()["vdevs"] as? [[String: Any]])
        #expect(trials.count == 5)
        for trial in trials { #expect(trial["works"] as? Bool == true, "\(run)") }
        #expect(try !pair.a.run("ip", "-d", "link", "show", "va").contains("xdp"))
    }
}
