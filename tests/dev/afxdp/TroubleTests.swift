import Foundation
import Testing
import ToolTesting

/// Sudden ends, cut links, frames that do not fit, rights that are missing: reported, nothing hangs, nothing is left behind.
@Suite("AF_XDP: trouble", .serialized, .enabled(if: VethPair.areAvailable, "needs network namespaces"))
struct TroubleTests {
    @Test("A receiver that is killed leaves no XDP program, and the next one starts", arguments: ["native", "skb"])
    func killed(mode: String) throws {
        let pair = try VethPair()
        for _ in 0..<3 {
            let receiver = try pair.startReceiver(["--mode", mode])
            #expect(try pair.hasProgram(), "without a program nothing could be left behind")
            #expect(try pair.send(["--count", "50", "--ends", "0"]).status == 0)
            kill(receiver.process.processIdentifier, SIGKILL)
            #expect(try receiver.finish().wasSignalled)
            #expect(try !pair.hasProgram())
        }
        let receiver = try pair.startReceiver(["--mode", mode])
        #expect(try pair.send(["--count", "50"]).status == 0)
        #expect(try receiver.finish().number("frames") == 50)
    }

    @Test("A sender that is killed gives its queue up")
    func killedSender() throws {
        let pair = try VethPair()
        let sender = try transmit.start(
            ["--iface", "va", "--pps", "1000", "--duration", "60", "--report-ms", "20"], wrapper: pair.a.wrapper)
        #expect(sender.says("sent"))
        kill(sender.process.processIdentifier, SIGKILL)
        #expect(try sender.finish().wasSignalled)
        #expect(try pair.send(["--count", "5"]).status == 0)
    }

    @Test("A second receiver on a device is refused, and the first one goes on")
    func second() throws {
        let pair = try VethPair()
        let first = try pair.startReceiver([])
        for mode in ["native", "skb"] {
            let second = try receive.run(["--iface", "vb", "--mode", mode, "--blob-mb", "1"], wrapper: pair.b.wrapper)
            #expect(second.status == 69, "\(second)")
            #expect(second.errors.contains("another socket has this queue"), "\(second)")
        }
        #expect(try pair.send(["--count", "20"]).status == 0)
        #expect(try first.finish().number("frames") == 20)
    }

    @Test("Another's XDP program is left alone")
    func occupied() throws {
        let pair = try VethPair()
        // Two queues: the first receiver's program hangs on the device, but the second one's socket can be bound.
        try pair.a.run("ip", "link", "del", "va")
        try pair.b.run(
            "sh", "-c",
            "ip link add vb numrxqueues 2 numtxqueues 2 type veth peer name vc && ip link set vb up && ip link set vc up"
        )
        let first = try pair.startReceiver([])
        let second = try receive.run(
            ["--iface", "vb", "--queue", "1", "--blob-mb", "1"], wrapper: pair.b.wrapper)
        #expect(second.status == 69 && second.errors.contains("another one is there, and is left alone"), "\(second)")
        #expect(try pair.hasProgram())
        first.process.interrupt()
        #expect(try first.finish().status == 130)
        #expect(try !pair.hasProgram())
    }

    @Test("The sender's device goes down and comes back")
    func cutLink() throws {
        let pair = try VethPair()
        let receiver = try pair.startReceiver([])
        let sender = try transmit.start(
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
        #expect(try sent.number("outages") == 1)
        #expect(sent.output.contains("va was down 1 times"))
        let received = try receiver.finish()
        #expect(received.status == 0, "\(received)")
        #expect(try received.field("ended_by") as? String == "end")
        #expect(try received.number("frames") + received.number("lost") == received.number("announced"))
        #expect(try received.number("frames") > 0)
    }

    @Test("The receiver's device goes down and comes back: the sender counts what was refused")
    func cutReceiver() throws {
        let pair = try VethPair()
        let receiver = try pair.startReceiver(["--stream", "1"])
        #expect(try pair.send(["--count", "5", "--ends", "0", "--stream", "1"]).status == 0)
        try pair.b.set("down")
        let lost = try pair.send(["--count", "40", "--ends", "0", "--stream", "1"])
        #expect(lost.status == 0, "\(lost)")
        #expect(try lost.number("refused") + lost.number("unsent") == 40 && lost.number("refused") > 0)
        #expect(lost.output.contains("frames, which count as sent: its queue was full, or it has no carrier"))
        try pair.b.set("up")
        #expect(try pair.send(["--count", "10", "--stream", "1"]).status == 0)
        let received = try receiver.finish()
        #expect(received.status == 0, "\(received)")
        #expect(try received.number("frames") == 10 && received.number("duplicates") == 5)
    }

    @Test("A device that is removed ends both sides with a message")
    func removed() throws {
        let pair = try VethPair()
        let receiver = try pair.startReceiver([])
        let sender = try transmit.start(
            ["--iface", "va", "--report-ms", "20", "--pps", "1000", "--duration", "60"], wrapper: pair.a.wrapper)
        #expect(sender.says("sent"))
        try pair.a.run("ip", "link", "del", "va")
        for (running, name) in [(sender, "va"), (receiver, "vb")] {
            let ended = try running.finish()
            #expect(ended.status == 69, "\(ended)")
            #expect(ended.errors.contains("\(name) is gone"), "\(ended)")
        }
    }

    @Test("Nobody listens")
    func nobody() throws {
        let pair = try VethPair()
        let sent = try pair.send(["--count", "200"])
        #expect(sent.status == 0, "\(sent)")
        #expect(try sent.number("frames") == 200 && sent.number("unsent") == 0)
    }

    @Test("Too few chunks: the kernel's count of what it dropped is reported, and sequences show the loss")
    func fewChunks() throws {
        let pair = try VethPair()
        let receiver = try pair.startReceiver(["--chunks", "64", "--stream", "5", "--report-ms", "20"])
        kill(receiver.process.processIdentifier, SIGSTOP)
        #expect(try pair.send(["--count", "200", "--ends", "0", "--stream", "5", "--len", "100"]).status == 0)
        kill(receiver.process.processIdentifier, SIGCONT)
        // The end says how many there were; it comes when there is room again.
        #expect(receiver.says("  64 received"), "\(receiver.errorsSoFar)")
        #expect(try pair.send(["--count", "1", "--stream", "5", "--len", "100", "--pps", "1"]).status == 0)
        let received = try receiver.finish()
        #expect(received.status == 0, "\(received)")
        #expect(try received.number("frames") == 64)
        #expect(try received.number("rx_fill_ring_empty") == 136)
        #expect(received.output.contains("136 without a free chunk"), "\(received)")
    }

    @Test("Frames that neither MTU nor chunks allow")
    func tooLong() throws {
        let pair = try VethPair(mtu: 600)
        let long = try pair.send(["--len", "615"])
        #expect(long.status == 64, "\(long)")
        #expect(long.errors.contains("at most 614 bytes are possible: va has an MTU of 600"))
        #expect(try pair.send(["--len", "614", "--count", "3", "--ends", "0"]).status == 0)
        try pair.a.set("mtu", "3000")
        let chunk = try pair.send(["--len", "2500"])
        #expect(chunk.status == 64 && chunk.errors.contains("--chunk-bytes 4096 has more"), "\(chunk)")
        try pair.b.set("mtu", "3000")
        let receiver = try pair.startReceiver(["--chunk-bytes", "4096", "--verify"])
        #expect(try pair.send(["--len", "2500", "--chunk-bytes", "4096", "--count", "50"]).status == 0)
        let received = try receiver.finish()
        #expect(try received.number("frames") == 50 && received.number("lost") == 0, "\(received)")
        // Longer than a chunk of the receiver: dropped and counted there.
        let small = try pair.startReceiver(["--stream", "8"])
        #expect(try pair.send(["--len", "2500", "--chunk-bytes", "4096", "--count", "50", "--ends", "0"]).status == 0)
        #expect(try pair.send(["--len", "100", "--count", "10", "--stream", "8"]).status == 0)
        let dropped = try small.finish()
        #expect(try dropped.number("frames") == 10, "\(dropped)")
        #expect(try dropped.number("rx_dropped") == 50)
        #expect(dropped.output.contains("--chunk-bytes 4096 has more room"))
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
                Case(tool: tool, arguments: [], status: 64, message: "--iface"),
                Case(
                    tool: tool, arguments: ["--iface", "nosuch"], status: 66, message: "no network device \"nosuch\""),
                Case(
                    tool: tool, arguments: ["--iface", "a-name-that-is-too-long"], status: 66,
                    message: "no network device"),
                Case(
                    tool: tool, arguments: ["--iface", "lo", "--copy", "--zero-copy"], status: 64,
                    message: "exclude each other"),
                Case(tool: tool, arguments: ["--iface", "lo", "--queue", "-1"], status: 64, message: "--queue"),
                Case(
                    tool: tool, arguments: ["--iface", "lo", "--queue=64"], status: 64,
                    message: "'64' is invalid for '--queue"),
                Case(
                    tool: tool, arguments: ["--iface", "lo", "--queue=63"], status: 69,
                    message: "there is no such queue"),
                Case(
                    tool: tool, arguments: ["--iface", "lo", "--chunks", "100"], status: 64,
                    message: "'100' is invalid for '--chunks"),
                Case(
                    tool: tool, arguments: ["--iface", "lo", "--chunks", "131072"], status: 64,
                    message: "'131072' is invalid for '--chunks"),
                Case(
                    tool: tool, arguments: ["--iface", "lo", "--chunk-bytes", "1500"], status: 64,
                    message: "--chunk-bytes"),
                Case(tool: tool, arguments: ["--iface", "lo", "--pages", "3m"], status: 64, message: "--pages"),
                Case(
                    tool: tool, arguments: ["--iface", "lo", "--op", "sub"], status: 64, message: "\"sub\", is unknown"),
                Case(tool: tool, arguments: ["--iface", "lo", "--duration", "0"], status: 64, message: "--duration"),
                Case(tool: tool, arguments: ["--iface", "lo", "--cpu", "4000"], status: 69, message: "CPU 4000"),
            ]
        } + [
            Case(
                tool: transmit, arguments: ["--iface", "lo", "--zero-copy"], status: 69, message: "does not have this"),
            Case(
                tool: receive, arguments: ["--iface", "lo", "--zero-copy", "--mode", "skb"], status: 69,
                message: "does not have this"),
            Case(
                tool: receive, arguments: ["--iface", "lo"], status: 69,
                message: "has no native XDP; `--mode skb` works with any"),
            Case(tool: receive, arguments: ["--iface", "lo", "--mode", "hw"], status: 64, message: "--mode"),
            Case(tool: transmit, arguments: ["--iface", "lo", "--len", "45"], status: 64, message: "take 46 bytes"),
            Case(tool: transmit, arguments: ["--iface", "lo", "--dst-mac", "1:2"], status: 64, message: "--dst-mac"),
            Case(
                tool: transmit, arguments: ["--iface", "lo", "--batch", "0"], status: 64,
                message: "'0' is invalid for '--batch"),
        ]

    @Test("What cannot be done is refused with a message that says what and where")
    func badInput() throws {
        let pair = try VethPair()
        for test in Self.cases {
            let run = try test.tool.run(
                test.arguments + (test.arguments.isEmpty ? [] : ["--blob-mb", "1"]), wrapper: pair.a.wrapper)
            #expect(run.status == test.status && !run.wasSignalled, "\(test.testDescription): \(run)")
            #expect(run.errors.contains(test.message), "\(test.testDescription): \(run)")
            #expect(run.output.isEmpty)
        }
        try pair.a.set("down")
        let down = try transmit.run(["--iface", "va"], wrapper: pair.a.wrapper)
        #expect(down.status == 69 && down.errors.contains("`ip link set dev va up`"), "\(down)")
    }

    @Test("Without the rights both tools say how to grant them")
    func permissions() throws {
        let pair = try VethPair()
        func without(_ capability: String) -> [String] {
            pair.a.wrapper + ["setpriv", "--bounding-set=-\(capability)", "--inh-caps=-\(capability)"]
        }
        let send = try transmit.run(["--iface", "va"], wrapper: without("net_raw"))
        #expect(send.status == 77, "\(send)")
        #expect(send.errors.contains("sudo setcap cap_net_raw+ep \(transmit.path)"), "\(send)")
        for capability in ["net_raw", "net_admin,-bpf,-sys_admin"] {
            let run = try receive.run(["--iface", "va", "--blob-mb", "1"], wrapper: without(capability))
            #expect(run.status == 77, "\(run)")
            #expect(
                run.errors.contains("sudo setcap cap_net_raw,cap_net_admin,cap_bpf+ep \(receive.path)"), "\(run)")
        }
    }

    @Test("A limit on locked memory is explained")
    func lockedMemory() throws {
        let pair = try VethPair()
        let limit = ["prlimit", "--memlock=65536:65536", "setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock"]
        let run = try transmit.run(["--iface", "va"], wrapper: pair.a.wrapper + limit)
        #expect(run.status == 69, "\(run)")
        #expect(run.errors.contains("the limit is 65536 bytes") && run.errors.contains("ulimit -l"), "\(run)")
    }
}
