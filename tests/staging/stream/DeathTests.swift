import Foundation
import Testing
import ToolTesting

/// Seconds that no test runs for: each ends by what it does. Small records, so that what is in the ring is soon done.
private let long = ["--duration", "100", "--dpf", "4", "--ring-pow2", "6", "--ring-bytes", "65536"]

@Suite("pfs_stream_fastpath_tx and _rx: sudden ends", .serialized)
struct DeathTests {
    /// A pair that would go on for long, at work.
    private func start(
        _ place: Place, tx: [String] = [], rx: [String] = []
    ) throws -> (tx: Tool.Running, rx: Tool.Running) {
        let sending = try place.tx(long + tx)
        let receiving = try place.rx(rx)
        try receiving.await("receiving")
        try sending.await("sending")
        return (sending, receiving)
    }

    @Test("A killed receiver: the transmitter says so, ends with 71, and leaves nothing", arguments: 0..<4)
    func receiverDies(round: Int) throws {
        let place = try Place()
        let (tx, rx) = try start(place)
        usleep(UInt32.random(in: 0...50_000))
        rx.signal(SIGKILL)
        let result = try tx.finish()
        #expect(result.status == 71, "\(result)")
        #expect(result.errors.contains("the consumer died"), "\(result.errors)")
        #expect(try result.result()["ended_early"] as? String != nil)
        #expect(try rx.finish().wasSignalled)
        #expect(try place.names == [])
    }

    @Test("A killed transmitter: the receiver says so, ends with 71, and cleans up", arguments: 0..<4)
    func transmitterDies(round: Int) throws {
        let place = try Place()
        let (tx, rx) = try start(place, rx: ["--verify"])
        usleep(UInt32.random(in: 0...50_000))
        tx.signal(SIGKILL)
        let result = try rx.finish()
        #expect(result.status == 71, "\(result)")
        #expect(result.errors.contains("the producer died"), "\(result.errors)")
        let values = try result.result()
        #expect(values["verified"] as? Bool == true, "what was received is right: \(result)")
        #expect(try tx.finish().wasSignalled)
        #expect(try place.names == [])
    }

    @Test("--wait: the transmitter goes on with the next receiver, at the first record that was not released")
    func nextReceiver() throws {
        let place = try Place()
        // Until the last receiver is there, the end is out of reach.
        let hold = try PausedRun(records: 15_000)
        let tx = try place.tx(["--records", "20000", "--dpf", "8", "--wait", "--verify"], hold: hold)
        var rx = try place.rx()
        for _ in 0..<3 {
            try rx.await("receiving")
            usleep(UInt32.random(in: 0...100_000))
            rx.signal(SIGKILL)
            #expect(try rx.finish().wasSignalled)
            rx = try place.rx("--verify")
        }
        try rx.await("receiving")
        hold.release()
        let received = try rx.finish()
        let sent = try tx.finish()
        #expect(received.status == 0, "\(received)")
        #expect(sent.status == 0, "\(sent)")
        let values = try sent.result()
        #expect(values["records"] as? Int == 20000)
        #expect(values["streams"] as? Int == 4, "\(sent)")
        #expect(values["verified"] is NSNull, "three receivers took their totals with them")
        let last = try received.result()
        #expect(last["verified"] as? Bool == true)
        let answer = try #require(values["answer"] as? [String: Any])
        #expect(answer["records"] as? Int == last["records"] as? Int)
        #expect(try place.names == [])
    }

    @Test("--wait: the receiver goes on with the next transmitter", arguments: ["fnv", "xor:1,counteq:0"])
    func nextTransmitter(program: String) throws {
        let place = try Place()
        let rx = try place.rx("--wait", "--verify")
        let first = try place.tx(long + ["--prog", program])
        try rx.await("receiving")
        try eventually("records to be taken") { try place.takenEntries > 2 }
        first.signal(SIGKILL)
        #expect(try first.finish().wasSignalled)
        try rx.await("waiting for another one")
        let second = try place.tx("--records", "200", "--prog", program, "--dpf", "4", "--verify").finish()
        #expect(second.status == 0, "\(second)")
        #expect(second.errors.contains("has a consumer"), "\(second.errors)")
        let result = try rx.finish()
        #expect(result.status == 0, "\(result)")
        let values = try result.result()
        #expect(values["streams"] as? Int == 2)
        #expect(values["verified"] as? Bool == true)
        #expect(try #require(values["records"] as? Int) > 200, "\(result)")
        #expect(try place.names == [])
    }

    @Test("Both killed: the next pair replaces what they left behind, and says so")
    func bothDie() throws {
        let place = try Place()
        let (tx, rx) = try start(place)
        rx.signal(SIGSTOP)
        tx.signal(SIGKILL)
        rx.signal(SIGKILL)
        #expect(try tx.finish().wasSignalled && rx.finish().wasSignalled)
        #expect(try place.names == ["s.pfs-blob", "s.pfs-ring"])
        // The receiver meets the old ring first, and the new one when that is gone.
        let receiving = try place.rx("--verify")
        let sending = try place.tx("--records", "100", "--verify").finish()
        let received = try receiving.finish()
        #expect(sending.status == 0, "\(sending)")
        #expect(received.status == 0, "\(received)")
        #expect(
            sending.errors.contains("left behind") || sending.errors.contains("has a consumer"), "\(sending.errors)")
        #expect(try received.result()["records"] as? Int == 100)
        #expect(try place.names == [])
    }

    @Test(
        "A signal ends either side with its figures; the other one sees the end", arguments: [SIGINT, SIGTERM, SIGHUP])
    func signals(number: Int32) throws {
        let place = try Place()
        var (tx, rx) = try start(place)
        usleep(UInt32.random(in: 0...50_000))
        tx.signal(number)
        var sent = try tx.finish()
        var received = try rx.finish()
        #expect(sent.status == 128 + number && !sent.wasSignalled, "\(sent)")
        #expect(received.status == 0, "an end in order: \(received)")
        #expect(try sent.result()["records"] as? Int == received.result()["records"] as? Int)
        #expect(try place.names == [])

        (tx, rx) = try start(place)
        usleep(UInt32.random(in: 0...50_000))
        rx.signal(number)
        received = try rx.finish()
        sent = try tx.finish()
        #expect(received.status == 128 + number && !received.wasSignalled, "\(received)")
        #expect(try received.result()["ended_early"] as? String != nil)
        #expect(sent.status == 71, "\(sent)")
        #expect(try place.names == [])
    }

    @Test("A signal while waiting ends either side, and nothing is left")
    func signalWhileWaiting() throws {
        let place = try Place()
        let tx = try place.tx("--wait")
        try tx.await("waiting for a consumer")
        tx.signal(SIGINT)
        #expect(try tx.finish().status == 130)
        #expect(try place.names == [])
        let rx = try place.rx("--wait")
        try rx.await("waiting for a producer")
        rx.signal(SIGTERM)
        #expect(try rx.finish().status == 143)
    }

    @Test("A stopped side is waited for no longer than --patience")
    func stopped() throws {
        let place = try Place()
        var (tx, rx) = try start(place, tx: ["--patience", "0.5"])
        rx.signal(SIGSTOP)
        let sent = try tx.finish()
        #expect(sent.status == 71 && sent.errors.contains("has taken nothing for 0.5 s"), "\(sent)")
        rx.signal(SIGCONT)
        #expect(try rx.finish().status == 71)

        (tx, rx) = try start(place, rx: ["--patience", "0.5"])
        tx.signal(SIGSTOP)
        let received = try rx.finish()
        #expect(received.status == 71 && received.errors.contains("has sent nothing for 0.5 s"), "\(received)")
        tx.signal(SIGCONT)
        #expect(try tx.finish().status == 71)
        #expect(try place.names == [])
    }
}
