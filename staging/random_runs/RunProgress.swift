import PacketFSEngine
import PacketFSTools
import SystemPackage

/// Progress on standard error: one line that is rewritten on a terminal, plain lines elsewhere.
package final class RunProgress {
    private let isQuiet: Bool
    private let rewrites = FileDescriptor.standardError.isTerminal
    private var lineIsOpen = false
    /// What was warned of, for reports.
    package private(set) var warnings: [String] = []

    /// Shows nothing but warnings if `isQuiet`.
    package init(isQuiet: Bool) { self.isQuiet = isQuiet }

    /// Tells an event.
    package func show(_ event: RunEvent) {
        switch event {
        case .phase(let text): if !isQuiet { say(text + " ...") }
        case .warning(let text): warn(text)
        case .sample(let sample): if !isQuiet { say(sample.liveLine, rewritable: true) }
        }
    }

    /// Tells and keeps a warning.
    package func warn(_ text: String) {
        warnings.append(text)
        say("warning: " + text)
    }

    /// Ends the line that was rewritten, if any.
    package func finish() {
        if lineIsOpen { FileDescriptor.standardError.writeLine("") }
        lineIsOpen = false
    }

    private func say(_ text: String, rewritable: Bool = false) {
        if rewritable, rewrites {
            _ = try? FileDescriptor.standardError.writeAll("\r\u{1B}[K\(text)".utf8)
            lineIsOpen = true
        } else {
            finish()
            FileDescriptor.standardError.writeLine(text)
        }
    }
}
