import PacketFSEngine
import PacketFSTools
import SystemPackage

/// Progress on standard error, on a terminal only: a bar, the rate and the time left. Used by one thread.
package final class ApplyProgressBar {
    private let isShown: Bool
    private var lastShown: UInt64 = 0
    private var isOpen = false
    /// What was warned of.
    package private(set) var warnings: [String] = []

    /// - Parameter isShown: whether it is wanted; it appears on a terminal only.
    package init(isShown: Bool) { self.isShown = isShown && FileDescriptor.standardError.isTerminal }

    /// Shows how far the run is, or a warning in a line of its own.
    package func show(_ event: ApplyEvent) {
        switch event {
        case .warning(let text):
            warnings.append(text)
            finish()
            FileDescriptor.standardError.writeLine("warning: \(text)")
        case .progress(let done, let total, let nanoseconds):
            guard isShown, nanoseconds > lastShown + 100_000_000 else { return }
            lastShown = nanoseconds
            isOpen = true
            let line = "\r\u{1B}[K" + Self.line(done: done, total: total, seconds: Double(nanoseconds) / 1e9)
            _ = try? FileDescriptor.standardError.writeAll(line.utf8)
        }
    }

    /// Takes the bar away.
    package func finish() {
        if isOpen { _ = try? FileDescriptor.standardError.writeAll("\r\u{1B}[K".utf8) }
        isOpen = false
    }

    static func line(done: UInt64, total: UInt64?, seconds: Double) -> String {
        let rate = seconds > 0 ? Double(done) / seconds : 0
        let speed = "\(decimals(rate / 1e6, 0)) MB/s"
        guard let total, total > 0 else { return "\(done >> 20) MiB  \(speed)  \(decimals(seconds, 1)) s" }
        let share = Double(done) / Double(total)
        let filled = Int(share * 30)
        let bar = String(repeating: "#", count: filled) + String(repeating: ".", count: 30 - filled)
        let left = rate > 0 ? decimals(Double(total - done) / rate, 1) + " s left" : ""
        return "[\(bar)] \(Int(share * 100)) %  \(speed)  \(left)"
    }
}
