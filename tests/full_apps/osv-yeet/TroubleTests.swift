import Foundation
import Testing
import ToolTesting

/// Links that are cut, frames that do not fit, receivers that are gone: reported, and nothing hangs.
@Suite("osv-yeet: trouble", .serialized, .enabled(if: VethPair.areAvailable, "needs network namespaces"))
struct TroubleTests {
    @Test("A link that goes down and comes back")
    func cutLink() throws {
        let pair = try VethPair()
        let receiver = try pair.receive(["--blob-mb", "1"])
        let sender = try packetSend.start(
            ["--iface", "va", "--json", "--report-ms", "20", "--pps", "2000", "--duration", "60", "--len", "100"],
            wrapper: pair.a.wrapper)
        #expect(sender.says("sent"))
        try pair.a.set("down")
        #expect(sender.saysAgain("sent", times: 5))
        try pair.a.set("up")
        #expect(sender.saysAgain("sent", times: 5))
        sender.process.interrupt()
        let sent = try sender.finish()
        #expect(sent.status == 130, "\(sent)")
        #expect(try sent.number("link_down") > 0)
        #expect(sent.errors.isEmpty == false && sent.output.contains("was down for a while"))
        let received = try receiver.finish()
        #expect(received.status == 0, "\(received)")
        #expect(try received.result()["ended_by"] as? String == "end")
        #expect(try received.number("frames") > 0)
        #expect(try received.number("frames") + received.number("lost") == received.number("announced"))
    }

    @Test("The receiver's link goes down and comes back")
    func cutReceiver() throws {
        let pair = try VethPair()
        let receiver = try pair.receive(["--blob-mb", "1"])
        #expect(try pair.send(["--count", "5", "--ends", "0", "--stream", "1"]).status == 0)
        // The socket keeps the error until the receiver looks at it.
        try pair.b.set("down")
        try pair.b.set("up")
        #expect(try pair.send(["--count", "10", "--stream", "1"]).status == 0)
        let received = try receiver.finish()
        #expect(received.status == 0, "\(received)")
        #expect(try received.number("link_down") == 1)
        #expect(try received.number("frames") == 10 && received.number("duplicates") == 5)
    }

    @Test("An interface that is removed ends both sides with a message")
    func removed() throws {
        let pair = try VethPair()
        let receiver = try pair.receive(["--blob-mb", "1"])
        let sender = try packetSend.start(
            ["--iface", "va", "--report-ms", "20", "--pps", "1000", "--duration", "60"], wrapper: pair.a.wrapper)
        #expect(sender.says("sent"))
        try pair.a.run("ip", "link", "del", "va")
        for (running, name) in [(sender, "va"), (receiver, "vb")] {
            let ended = try running.finish()
            #expect(ended.status == 74, "\(ended)")
            #expect(ended.errors.contains("the interface \(name) has been removed"))
        }
    }

    @Test("Frames that the MTU does not allow")
    func smallMTU() throws {
        let pair = try VethPair(mtu: 600)
        let tooLong = try pair.send(["--len", "615"])
        #expect(tooLong.status == 64, "\(tooLong)")
        #expect(tooLong.errors.contains("--len 615: at most 614 bytes are possible: va has an MTU of 600"))
        #expect(try pair.send(["--len", "614", "--count", "3", "--ends", "0"]).status == 0)

        let cut = try pair.sendDatagrams(["--len", "700", "--gso", "--count", "10"])
        #expect(cut.status == 69, "\(cut)")
        #expect(cut.errors.contains("datagrams of 700 bytes do not fit the MTU"))

        // Lowered while frames are on their way.
        let sender = try packetSend.start(
            ["--iface", "va", "--report-ms", "20", "--pps", "1000", "--duration", "60", "--len", "600"],
            wrapper: pair.a.wrapper)
        #expect(sender.says("sent"))
        try pair.a.set("mtu", "300")
        let ended = try sender.finish()
        #expect(ended.status == 74, "\(ended)")
        #expect(ended.errors.contains("was its MTU lowered?"))
    }

    @Test("Nobody listens")
    func receiverGone() throws {
        let pair = try VethPair()
        let packets = try pair.send(["--count", "500"])
        #expect(packets.status == 0, "\(packets)")
        #expect(try packets.number("frames") == 500)

        let datagrams = try pair.sendDatagrams(["--len", "100", "--count", "300", "--pps", "1000"])
        #expect(datagrams.status == 0, "\(datagrams)")
        #expect(try datagrams.number("refused") > 0)
        #expect(datagrams.output.contains("nobody listens at 10.97.0.2:9009"))

        // One that is killed in the middle.
        let receiver = try pair.receive(["--fanout", "2", "--blob-mb", "1"], listeners: 2)
        let sender = try packetSend.start(
            ["--iface", "va", "--json", "--report-ms", "20", "--pps", "1000", "--duration", "60"],
            wrapper: pair.a.wrapper)
        #expect(sender.says("sent"))
        let workers = receiver.pcores
        #expect(workers.count == 2)
        kill(receiver.process.processIdentifier, SIGKILL)
        #expect(try receiver.finish().wasSignalled)
        #expect(sender.saysAgain("sent", times: 5))
        sender.process.interrupt()
        #expect(try sender.finish().status == 130)
        let deadline = Date(timeIntervalSinceNow: 60)
        while workers.contains(where: Processes.isAlive), Date() < deadline { usleep(2000) }
        #expect(!workers.contains(where: Processes.isAlive), "processes outlive the one that started them")
    }

    @Test("One of the processes that share the frames dies")
    func workerDies() throws {
        let pair = try VethPair()
        let receiver = try pair.receive(["--fanout", "3", "--blob-mb", "1"], listeners: 3)
        kill(try #require(receiver.pcores.first), SIGKILL)
        let received = try receiver.finish()
        #expect(received.status == 71, "\(received)")
        #expect(received.errors.contains("was killed by signal 9"))
    }

    @Test("A ring that is too small: the kernel's drops are reported, and sequences show the loss")
    func smallRing() throws {
        let pair = try VethPair()
        let receiver = try pair.receive([
            "--ring-kb", "32", "--block-kb", "4", "--block-ms", "1", "--blob-mb", "1", "--stream", "5", "--report-ms",
            "20",
        ])
        let sent = try pair.send(["--count", "3", "--ends", "0", "--stream", "5", "--len", "1000"])
        #expect(sent.status == 0)
        // Once it has those three, it is stopped while a thousand more come than the ring holds.
        #expect(receiver.says("  3 received"), "\(receiver.errorsSoFar)")
        kill(receiver.process.processIdentifier, SIGSTOP)
        #expect(try pair.send(["--count", "1000", "--ends", "0", "--stream", "5", "--len", "1000"]).status == 0)
        kill(receiver.process.processIdentifier, SIGCONT)
        // Its ends may find the ring full too, which is so small: they are sent until one has been seen.
        repeat {
            let more = ["--count", "1010", "--ends", "2", "--stream", "5", "--len", "1000", "--pps", "2000"]
            #expect(try pair.send(more).status == 0)
        } while receiver.process.isRunning
        let received = try receiver.finish()
        #expect(received.status == 0, "\(received)")
        #expect(try received.number("kernel_drops") > 0)
        #expect(received.output.contains("no block was free; raise --ring-kb"))
        let fields = ["frames", "duplicates", "stale", "jumps", "ends", "kernel_drops"]
        let seen = try fields.reduce(0) { try $0 + received.number($1) }
        #expect(seen <= (try received.number("kernel_frames")))
    }

    struct Case: CustomTestStringConvertible, Sendable {
        let tool: Tool
        let arguments: [String]
        let status: Int32
        let message: String
        var testDescription: String { tool.path.split(separator: "/").last! + " " + arguments.joined(separator: " ") }
    }

    static let cases: [Case] = [
        Case(
            tool: packetSend, arguments: ["--iface", "nosuch"], status: 66, message: "--iface nosuch: No such device"),
        Case(tool: packetSend, arguments: [], status: 64, message: "--iface"),
        Case(tool: packetSend, arguments: ["--iface", "va", "--dst-mac", "1:2:3"], status: 64, message: "--dst-mac"),
        Case(tool: packetSend, arguments: ["--iface", "va", "--tpacket", "v1"], status: 64, message: "--tpacket"),
        Case(
            tool: packetSend, arguments: ["--iface", "va", "--slots", "100"], status: 64,
            message: "'100' is invalid for '--slots"),
        Case(tool: packetSend, arguments: ["--iface", "va", "--len", "45"], status: 64, message: "take 46 bytes"),
        Case(
            tool: packetSend, arguments: ["--iface", "va", "--len=-1"], status: 64,
            message: "'-1' is invalid for '--len"),
        Case(
            tool: packetSend, arguments: ["--iface", "va", "--len", "70", "--descriptors"], status: 64,
            message: "1 descriptors need 78 bytes"),
        Case(
            tool: packetSend, arguments: ["--iface", "va", "--len", "100", "--descriptors", "--dpf", "9"], status: 64,
            message: "9 descriptors need 206 bytes"),
        Case(tool: packetSend, arguments: ["--iface", "va", "--dpf", "9"], status: 64, message: "needs --descriptors"),
        Case(
            tool: packetSend, arguments: ["--iface", "va", "--batch", "0"], status: 64,
            message: "'0' is invalid for '--batch"),
        Case(
            tool: packetSend, arguments: ["--iface", "va", "--count", "0"], status: 64,
            message: "'0' is invalid for '--count"),
        Case(
            tool: packetSend, arguments: ["--iface", "va", "--op", "sub"], status: 64, message: "\"sub\", is unknown"),
        Case(tool: packetSend, arguments: ["--iface", "va", "--imm", "1"], status: 64, message: "--imm needs --op"),
        Case(tool: packetSend, arguments: ["--iface", "va", "--duration", "nan"], status: 64, message: "--duration"),
        Case(
            tool: packetSend, arguments: ["--iface", "va", "--align", "3"], status: 64,
            message: "'3' is invalid for '--align"),
        Case(tool: packetReceive, arguments: ["--iface", "nosuch"], status: 66, message: "No such device"),
        Case(
            tool: packetReceive, arguments: ["--iface", "vb", "--fanout", "0"], status: 64,
            message: "'0' is invalid for '--fanout"),
        Case(
            tool: packetReceive, arguments: ["--iface", "vb", "--fanout", "2", "--op", "xor", "--imm", "1"], status: 64,
            message: "would race"),
        Case(
            tool: packetReceive, arguments: ["--iface", "vb", "--block-kb", "5"], status: 64,
            message: "'5' is invalid for '--block-kb"),
        Case(
            tool: packetReceive, arguments: ["--iface", "vb", "--ring-kb", "1"], status: 64,
            message: "'1' is invalid for '--ring-kb"),
        Case(
            tool: packetReceive, arguments: ["--iface", "vb", "--page-size", "8k"], status: 64,
            message: "'auto', '1g', '2m'"),
        Case(
            tool: packetReceive, arguments: ["--iface", "vb", "--blob-mb", "0"], status: 64,
            message: "'0' is invalid for '--blob-mb"),
        Case(tool: datagramSend, arguments: ["--host", "localhost"], status: 64, message: "numeric"),
        Case(
            tool: datagramSend, arguments: ["--host", "10.97.0.2", "--len", "65508"], status: 64,
            message: "at most 65507"),
        Case(tool: datagramSend, arguments: ["--host", "192.0.2.1"], status: 69, message: "Network is unreachable"),
        Case(tool: datagramReceive, arguments: ["--bind", "192.0.2.1"], status: 69, message: "Cannot assign"),
        Case(tool: datagramReceive, arguments: ["--port", "70000"], status: 64, message: "--port"),
    ]

    @Test("Bad input is refused with a message that says what and where")
    func badInput() throws {
        let pair = try VethPair()
        for test in Self.cases {
            let side = test.tool.path.hasSuffix("rx") ? pair.b : pair.a
            let run = try test.tool.run(test.arguments, wrapper: side.wrapper)
            #expect(run.status == test.status && !run.wasSignalled, "\(test.testDescription): \(run)")
            #expect(run.errors.contains(test.message), "\(test.testDescription): \(run)")
            #expect(run.output.isEmpty)
        }
        try pair.a.set("down")
        let down = try packetSend.run(["--iface", "va"], wrapper: pair.a.wrapper)
        #expect(down.status == 69 && down.errors.contains("`ip link set va up`"), "\(down)")
    }

    @Test(
        "Without CAP_NET_RAW both packet tools say how to grant it", arguments: [packetSend, packetReceive].map(\.path))
    func permission(path: String) throws {
        let pair = try VethPair()
        let run = try Tool(path: path).run(
            ["--iface", "va", "--blob-mb", "1"],
            wrapper: pair.a.wrapper + ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw"])
        #expect(run.status == 77, "\(run)")
        #expect(run.errors.contains("sudo setcap cap_net_raw+ep \(path)"), "\(run)")
    }
}
