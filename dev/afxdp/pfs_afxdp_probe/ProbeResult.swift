import PacketFSTools
import PacketFSXDP

/// Everything that was found out about a device.
struct ProbeResult: ReportObject {
    let device: NetDevice
    let attach: [AttachRow]
    let sockets: [Trial]

    static var figures: [Figure<Self>] {
        Figure("device", "the interface", \.device)
        Figure("attach", "one for each way in which a program can hang", \.attach)
        Figure("sockets", "one for each way to set up a socket", \.sockets)
    }

    /// For people: the device, what attaches, a table of sockets, and each problem once.
    var text: String {
        func count(_ queues: Int?) -> String { queues.map { "\($0)" } ?? "unknown" }
        var lines = [
            "\(device.name): driver \(device.driver ?? "none"), \(device.address), MTU \(device.mtu), "
                + "\(device.isUp ? "up" : "down"), queues \(count(device.receiveQueues)) rx, \(count(device.transmitQueues)) tx",
            "program     " + attach.map { "\($0.mode.rawValue) \($0.outcome.word)" }.joined(separator: ", "),
        ]
        let heading = [
            "PROGRAM", "MODE", "NEED-WAKEUP", "BIND", "TX WAKE", "RX WAKE", "BUSY POLL", "SENT", "CAME BACK",
        ]
        func word(_ value: Bool?) -> String { value.map { $0 ? "yes" : "no" } ?? "-" }
        let cells =
            [heading]
            + sockets.map { trial in
                [
                    trial.attach?.rawValue ?? "none (tx)", trial.copyMode.rawValue, trial.needWakeup ? "on" : "off",
                    trial.bind.word, word(trial.wakeupForSending), word(trial.wakeupForReceiving),
                    trial.busyPoll.map { $0.works ? "accepted" : "no" } ?? "-", word(trial.sent), word(trial.received),
                ]
            }
        lines += TextTable.lines(cells).map { "  " + $0 }
        let problems =
            attach.map(\.outcome.problem) + sockets.map(\.bind.problem) + sockets.map { $0.busyPoll?.problem }
        var told: Set<String> = []
        for case let problem? in problems where told.insert(problem).inserted { lines.append("- \(problem)") }
        return lines.joined(separator: "\n")
    }
}
