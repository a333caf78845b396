import Foundation
import Testing
import ToolTesting

/// Every way from one network namespace to another, with what arrives compared with what was sent.
///
/// So few frames go that ring or socket buffer hold all of them: nothing may be lost, however slow the machine.
@Suite("osv-yeet: end to end", .serialized, .enabled(if: VethPair.areAvailable, "needs network namespaces"))
struct EndToEndTests {
    static let count: UInt64 = 2000

    struct Way: CustomTestStringConvertible, Sendable {
        var send: [String] = []
        var receive: [String] = []
        /// Values that programs yield.
        var totals = 0
        var testDescription: String { (send + ["->"] + receive).joined(separator: " ") }
    }

    /// What must be true of a run in which nothing went wrong.
    func check(_ sent: Tool.Result, _ received: Tool.Result, _ way: Way) throws {
        #expect(sent.status == 0, "\(sent)")
        #expect(received.status == 0, "\(received)")
        #expect(try sent.number("frames") == Self.count && sent.number("unsent") == 0)
        let result = try received.result()
        #expect(result["verified"] as? Bool == true, "\(received)")
        #expect(result["ended_by"] as? String == "end")
        for (field, expected) in [
            ("frames", Self.count), ("announced", Self.count), ("lost", 0), ("duplicates", 0), ("reordered", 0),
            ("foreign", 0), ("malformed", 0), ("bad_checksums", 0), ("rejected", 0), ("mismatches", 0),
            ("bytes", try sent.number("bytes")), ("stream", try sent.number("stream")),
        ] {
            #expect(try received.number(field) == expected, "\(field): \(received)")
        }
        #expect((result["totals"] as? [Any])?.count == way.totals)
        #expect(try received.number("executed") == (way.totals > 0 || "\(way)".contains("xor") ? Self.count : 0))
    }

    @Test(
        "AF_PACKET",
        arguments: [
            Way(send: ["--tpacket", "v2"]),
            Way(send: ["--tpacket", "v3", "--crc", "--prog", "counteq:7,xor:255,crc32c"], totals: 2),
            Way(send: ["--tpacket", "v2", "--len", "64"], receive: ["--op", "fnv"], totals: 1),
            Way(send: ["--tpacket", "v3", "--len", "60", "--batch", "1", "--slots", "64"]),
            Way(send: ["--tpacket", "v3", "--descriptors", "--prog", "crc32c"], totals: 1),
            Way(
                send: ["--tpacket", "v2", "--descriptors", "--dpf", "5", "--len", "300", "--crc"],
                receive: ["--prog", "add:3,counteq:0"], totals: 1),
            Way(send: ["--descriptors", "--op", "xor", "--imm", "90", "--qdisc"], receive: ["--block-kb", "64"]),
            // On both sides of the length up to which the kernel copies whole frames.
            Way(send: ["--tpacket", "v2", "--len", "2048"]),
            Way(send: ["--tpacket", "v3", "--len", "2049"]),
            Way(send: ["--len", "9014", "--crc"]),
        ])
    func packets(way: Way) throws {
        let pair = try VethPair(mtu: 9000)
        let common = ["--blob-mb", "2", "--seed", "11"]
        let receiver = try pair.receive(common + ["--verify"] + way.receive)
        let sent = try pair.send(common + ["--count", "\(Self.count)"] + way.send)
        try check(sent, receiver.finish(), way)
    }

    @Test(
        "UDP",
        arguments: [
            Way(send: ["--len", "1400"]),
            Way(send: ["--len", "1400", "--gso", "--prog", "xor:1,crc32c"], receive: ["--gro"], totals: 1),
            Way(send: ["--len", "100", "--gso", "--crc"]),
            Way(send: ["--len", "900", "--descriptors", "--prog", "counteq:1"], receive: ["--gro"], totals: 1),
            Way(send: ["--len", "700", "--descriptors", "--gso"], receive: ["--gro", "--op", "fnv"], totals: 1),
        ])
    func datagrams(way: Way) throws {
        let pair = try VethPair()
        let common = ["--blob-mb", "2", "--seed", "11"]
        let receiver = try pair.receiveDatagrams(common + ["--verify", "--buffer-kb", "32768"] + way.receive)
        let sent = try pair.sendDatagrams(common + ["--count", "\(Self.count)"] + way.send)
        let received = try receiver.finish()
        try check(sent, received, way)
        if way.send.contains("--gso") { #expect(try sent.number("datagrams_per_message") > 1) }
        if way.send.contains("--gso") && way.receive.contains("--gro") {
            #expect(try received.number("joined_messages") > 0, "what was sent as one message should arrive as one")
        }
    }

    @Test("UDP over IPv6 on loopback")
    func loopback() throws {
        let pair = try VethPair()
        let receiver = try datagramReceive.start(
            ["--bind", "::1", "--duration", "50", "--json", "--verify", "--blob-mb", "1"], wrapper: pair.a.wrapper)
        #expect(receiver.says("listening at [::1]:9009"))
        let sent = try datagramSend.run(
            ["--host", "::1", "--json", "--len", "1400", "--count", "\(Self.count)"], wrapper: pair.a.wrapper)
        try check(sent, receiver.finish(), Way())
    }

    @Test("Fanout: processes share the frames, and their figures add up", arguments: [2, 3])
    func fanout(processes: Int) throws {
        let pair = try VethPair()
        let receiver = try pair.receive(
            ["--fanout", "\(processes)", "--verify", "--blob-mb", "2"], listeners: processes)
        let sent = try pair.send(["--count", "\(Self.count)", "--descriptors", "--prog", "crc32c", "--blob-mb", "2"])
        let received = try receiver.finish()
        try check(sent, received, Way(totals: 1))
        #expect(try received.number("blocks") >= UInt64(processes), "each process should have had some")

        let alone = try pair.receive(["--verify", "--blob-mb", "2"])
        _ = try pair.send(["--count", "\(Self.count)", "--descriptors", "--prog", "crc32c", "--blob-mb", "2"])
        let total = { (run: Tool.Result) in (try run.result()["totals"] as? [[String: Any]])?.first?["value"] as? String
        }
        #expect(try total(received) == total(alone.finish()))
    }

    @Test("A rate is kept to, a count and a signal end a run, and its figures are complete")
    func ends() throws {
        let pair = try VethPair()
        let receiver = try pair.receive(["--count", "300", "--blob-mb", "1"])
        let sent = try pair.send(["--pps", "1000", "--duration", "0.5"])
        // The upper bound holds however slow the machine is: that is what a rate is.
        #expect(try 1...501 ~= sent.number("frames"))
        let received = try receiver.finish()
        #expect(try received.result()["ended_by"] as? String == (sent.number("frames") < 300 ? "end" : "count"))

        let endless = try packetSend.start(
            ["--iface", "va", "--duration", "60", "--pps", "100", "--json"], wrapper: pair.a.wrapper)
        #expect(endless.says("sent"))
        endless.process.interrupt()
        let interrupted = try endless.finish()
        #expect(interrupted.status == 130, "\(interrupted)")
        #expect(try interrupted.result()["ended_by"] as? String == "signal 2")

        for arguments in [[], ["--fanout", "2"]] {
            let waiting = try pair.receive(arguments + ["--blob-mb", "1"], listeners: arguments.isEmpty ? 1 : 2)
            waiting.process.terminate()
            let ended = try waiting.finish()
            #expect(ended.status == 143, "\(ended)")
            #expect(try ended.result()["ended_by"] as? String == "signal 15")
        }
    }

    @Test("A receiver that is told another seed notices", arguments: [[], ["--descriptors"]])
    func otherSeed(more: [String]) throws {
        let pair = try VethPair()
        let receiver = try pair.receive(["--verify", "--seed", "2", "--blob-mb", "1"])
        _ = try pair.send(["--count", "10", "--seed", "1", "--blob-mb", "1"] + more)
        let received = try receiver.finish()
        #expect(received.status == 65, "\(received)")
        #expect(try received.result()["verified"] as? Bool == false)
        #expect(received.errors.contains("verification failed: "))
    }
}
