/// Everything that was found out about a device.
struct ProbeResult: Encodable {
    let device: DeviceRow
    let attach: [AttachRow]
    let sockets: [Trial]

    /// For people: the device, what attaches, a table of sockets, and each problem once.
    var text: String {
        func count(_ queues: Int?) -> String { queues.map { "\($0)" } ?? "unknown" }
        var lines = [
            "\(device.name): driver \(device.driver ?? "none"), \(device.mac), MTU \(device.mtu), "
                + "\(device.up ? "up" : "down"), queues \(count(device.rxQueues)) rx, \(count(device.txQueues)) tx",
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
        let widths = heading.indices.map { column in cells.map { $0[column].count }.max() ?? 0 }
        lines += cells.map { row in
            "  "
                + zip(row, widths).map { $0 + String(repeating: " ", count: $1 - $0.count) }.joined(separator: "  ")
                .trimmedEnd
        }
        let problems =
            attach.map(\.outcome.problem) + sockets.map(\.bind.problem) + sockets.map { $0.busyPoll?.problem }
        var told: Set<String> = []
        for case let problem? in problems where told.insert(problem).inserted { lines.append("- \(problem)") }
        return lines.joined(separator: "\n")
    }
}

extension String {
    fileprivate var trimmedEnd: String {
        var copy = self[...]
        while copy.last == " " { copy.removeLast() }
        return String(copy)
    }
}
