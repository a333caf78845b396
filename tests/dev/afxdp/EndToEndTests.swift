import Foundation
import Testing
import ToolTesting

/// From one network namespace to another, with what arrives compared with what was sent.
///
/// So few frames go that a veth interface's own queue (256 of them) holds all: nothing may be lost, however slow the machine.
@Suite("AF_XDP: end to end", .serialized, .enabled(if: VethPair.areAvailable, "needs network namespaces"))
struct EndToEndTests {
    static let count: UInt64 = 200

    struct Way: CustomTestStringConvertible, Sendable {
        var mode = "native"
        var send: [String] = []
        var receive: [String] = []
        /// Values that programs yield.
        var totals = 0
        /// Whether programs are run at all.
        var runs = false
        var testDescription: String { (send + ["->", mode] + receive).joined(separator: " ") }
    }

    @Test(arguments: [
        Way(),
        Way(mode: "skb", send: ["--copy"], receive: ["--copy"]),
        Way(send: ["--crc", "--prog", "counteq:7,xor:255,crc32c"], totals: 2, runs: true),
        Way(mode: "skb", send: ["--len", "64", "--chunks", "64"], receive: ["--op", "fnv"], totals: 1, runs: true),
        Way(send: ["--len", "60", "--batch", "1", "--no-need-wakeup"], receive: ["--no-need-wakeup"]),
        Way(send: ["--chunk-bytes", "4096", "--pages", "4k"], receive: ["--chunk-bytes", "4096", "--pages", "4k"]),
        Way(send: ["--descriptors", "--prog", "crc32c"], totals: 1, runs: true),
        Way(mode: "skb", send: ["--descriptors", "--prog", "add:1,crc32c", "--crc"], totals: 1, runs: true),
        Way(
            send: ["--descriptors", "--dpf", "5", "--len", "300", "--chunks", "64"],
            receive: ["--prog", "add:3,counteq:0"], totals: 1, runs: true),
        // The program's work on payload that lies in the chunks: one pass over a batch, unlike with --verify.
        Way(send: ["--op", "xor", "--imm", "3"], receive: ["--cpu", "0"], runs: true),
    ])
    func verified(way: Way) throws {
        let pair = try VethPair()
        let receiver = try pair.startReceiver(["--seed", "11", "--mode", way.mode, "--verify"] + way.receive)
        let sent = try pair.send(["--seed", "11", "--count", "\(Self.count)"] + way.send)
        let received = try receiver.finish()
        #expect(sent.status == 0 && received.status == 0, "\(sent)\n\(received)")
        #expect(try sent.number("frames") == Self.count && sent.number("unsent") == 0 && sent.number("refused") == 0)
        #expect(try received.field("verified") as? Bool == true, "\(received)")
        #expect(try received.field("ended_by") as? String == "end")
        for (field, expected) in [
            ("frames", Self.count), ("announced", Self.count), ("lost", 0), ("duplicates", 0), ("reordered", 0),
            ("foreign", 0), ("malformed", 0), ("bad_checksums", 0), ("rejected", 0), ("mismatches", 0),
            ("bytes", try sent.number("bytes")), ("stream", try sent.number("stream")),
            ("executed", way.runs ? Self.count : 0),
            ("rx_dropped", 0), ("rx_ring_full", 0), ("rx_fill_ring_empty", 0), ("rx_invalid_descriptors", 0),
        ] {
            #expect(try received.number(field) == expected, "\(field): \(received)")
        }
        #expect(try (received.result()["totals"] as? [Any])?.count == way.totals)
        // What was got is what was asked for, and is told.
        #expect(try received.field("attach") as? String == way.mode)
        for run in [sent, received] {
            #expect(try run.field("copy_mode") as? String == "copy")
            let needsWakeup = !way.send.contains("--no-need-wakeup")
            #expect(try run.field("need_wakeup") as? Bool == needsWakeup)
            #expect(try (run.field("mode") as? String)?.contains("need-wakeup") == needsWakeup)
        }
        #expect(try sent.number("tx_invalid_descriptors") == 0)
        #expect(try !pair.hasProgram())
    }

    @Test("Totals do not depend on whether payload is worked on one by one or a batch at a time")
    func batches() throws {
        let pair = try VethPair()
        var values: [String?] = []
        for arguments in [["--verify"], []] {
            let receiver = try pair.startReceiver(arguments)
            _ = try pair.send(["--count", "\(Self.count)", "--prog", "add:9,crc32c"])
            let received = try receiver.finish()
            #expect(try received.number("frames") == Self.count)
            values.append(try (received.result()["totals"] as? [[String: Any]])?.first?["value"] as? String)
        }
        #expect(values[0] != nil && values[0] == values[1])
    }

    @Test("A queue that was just given up can be bound again, many times over")
    func rebinding() throws {
        let pair = try VethPair()
        for round in 0..<8 {
            let receiver = try pair.startReceiver(["--mode", round % 2 == 0 ? "native" : "skb"])
            #expect(try pair.send(["--count", "20", "--len", "100"]).status == 0)
            let received = try receiver.finish()
            #expect(received.status == 0, "\(received)")
            #expect(try received.number("frames") == 20)
        }
    }

    @Test("A receiver that is told another seed notices", arguments: [[], ["--descriptors"]])
    func otherSeed(more: [String]) throws {
        let pair = try VethPair()
        let receiver = try pair.startReceiver(["--verify", "--seed", "2"])
        _ = try pair.send(["--count", "10", "--seed", "1"] + more)
        let received = try receiver.finish()
        #expect(received.status == 65, "\(received)")
        #expect(try received.field("verified") as? Bool == false)
    }
}

/// What the probe finds is what is there.
@Suite("AF_XDP: probe", .enabled(if: VethPair.areAvailable, "needs network namespaces"))
struct ProbeTests {
    /// The sockets of a report that were tried with this program and in this mode.
    func sockets(_ result: [String: Any], _ attach: String?, _ mode: String) throws -> [[String: Any]] {
        try #require(result["sockets"] as? [[String: Any]]).filter {
            $0["attach"] as? String == attach && $0["copy_mode"] as? String == mode
        }
    }

    func works(_ row: [String: Any], _ what: String) -> Bool? { (row[what] as? [String: Any])?["works"] as? Bool }

    @Test func loopback() throws {
        let pair = try VethPair()
        let run = try probe.run(["--iface", "lo", "--json"], wrapper: pair.a.wrapper)
        #expect(run.status == 0, "\(run)")
        let result = try run.result()
        let attach = try #require(result["attach"] as? [[String: Any]])
        #expect(attach.map { works($0, "outcome") } == [false, true])
        let copying = try sockets(result, "skb", "copy")
        #expect(copying.count == 2)
        for row in copying {
            #expect(works(row, "bind") == true && row["sent"] as? Bool == true && row["received"] as? Bool == true)
        }
        for row in try sockets(result, "skb", "zero-copy") { #expect(works(row, "bind") == false) }
        #expect(try sockets(result, "native", "copy").isEmpty)
        #expect(try !pair.a.run("ip", "-d", "link", "show", "lo").contains("xdp"))
    }

    @Test func veth() throws {
        let pair = try VethPair()
        let run = try probe.run(["--iface", "vb", "--transmit", "--json"], wrapper: pair.b.wrapper)
        #expect(run.status == 0, "\(run)")
        let result = try run.result()
        let device = try #require(result["device"] as? [String: Any])
        #expect(device["driver"] as? String == "veth" && device["mac"] as? String == pair.b.mac)
        let attach = try #require(result["attach"] as? [[String: Any]])
        #expect(attach.map { works($0, "outcome") } == [true, true])
        for program in ["native", "skb", nil] {
            let copying = try sockets(result, program, "copy")
            #expect(copying.count == 2)
            for row in copying { #expect(works(row, "bind") == true && row["sent"] as? Bool == true) }
        }
        #expect(try !pair.hasProgram())
        let text = try probe.run(["--iface", "vb"], wrapper: pair.b.wrapper)
        #expect(text.output.contains("driver veth") && text.output.contains("native yes, skb yes"), "\(text)")
    }

    @Test func trouble() throws {
        let pair = try VethPair()
        let unknown = try probe.run(["--iface", "nosuch"], wrapper: pair.a.wrapper)
        #expect(unknown.status == 66 && unknown.errors.contains("no network device \"nosuch\""), "\(unknown)")
        #expect(try probe.run(["--iface", "va", "--queue", "64"], wrapper: pair.a.wrapper).status == 64)
        let drop = ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw"]
        let unprivileged = try probe.run(["--iface", "va"], wrapper: pair.a.wrapper + drop)
        #expect(unprivileged.status == 77 && unprivileged.errors.contains("setcap"), "\(unprivileged)")
        try pair.a.set("down")
        let down = try probe.run(["--iface", "va"], wrapper: pair.a.wrapper)
        #expect(down.status == 0 && down.errors.contains("is down"), "\(down)")
    }
}
