import ArgumentParser
import SystemPackage

/// A tool: how it begins, and what it reports.
package protocol Tool: ParsableCommand {
    /// The fields of its reports, for the documentation. `--report-fields` alone prints them as tables.
    static var reports: [ReportDescription] { get }

    /// Where the process was started as a part of another one of this tool: becomes that, and never returns.
    static func runAsChildIfAsked()
}

extension Tool {
    package static func runAsChildIfAsked() {}

    /// What every tool does first.
    package static func start() {
        runAsChildIfAsked()
        if CommandLine.arguments.dropFirst().elementsEqual(["--report-fields"]) {
            FileDescriptor.standardOutput.writeLine(reports.map(\.markdown).joined(separator: "\n\n"))
            exit()
        }
    }

    package static func main() {
        start()
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch {
            end(error)
        }
    }

    /// Ends the tool with what went wrong on its command line: one line in the form that all its errors have.
    package static func end(_ error: any Error) -> Never {
        guard exitCode(for: error).rawValue == ToolExit.usage.rawValue, !message(for: error).isEmpty else {
            exit(withError: error)
        }
        let name = configuration.commandName ?? ""
        FileDescriptor.standardError.writeLine("\(name): \(message(for: error))\nSee `\(name) --help`.")
        exit(withError: ExitCode(ToolExit.usage.rawValue))
    }
}

/// How every tool writes and ends.
public enum CommandLineTool {
    /// Runs the body of the tool called `name`. What it throws becomes one line on standard error, behind that name, and an exit
    /// code: that of a ``ToolError`` or of what `toolError` makes of another error, 128 plus the signal for `Interrupted`. An
    /// `ExitCode` passes.
    ///
    /// - Parameters:
    ///   - name: the tool's.
    ///   - interrupted: what to say when a signal ended the work before there was anything to report.
    ///   - toolError: for errors that this tool gives another code than ``ToolError/init(any:)`` does.
    ///   - body: what the tool does.
    public static func run(
        _ name: String, interrupted: String = "interrupted before there were figures",
        toolError: (any Error) -> ToolError = { ToolError(any: $0) }, _ body: () throws -> Void
    ) throws {
        do {
            try body()
        } catch let code as ExitCode {
            throw code
        } catch let signal as Interrupted {
            FileDescriptor.standardError.writeLine("\(name): \(interrupted)")
            throw ExitCode(128 + signal.signal)
        } catch {
            let error = toolError(error)
            FileDescriptor.standardError.writeLine("\(name): \(error)")
            throw ExitCode(error.exit.rawValue)
        }
    }

    /// Writes a result and a newline to standard output, or to `target` where that carries data. A failure is
    /// ``ToolExit/io``: nobody has seen the result.
    public static func write(_ text: String, to target: FileDescriptor = .standardOutput) throws(ToolError) {
        do {
            try target.writeAll((text + "\n").utf8)
        } catch {
            throw ToolError(
                .io, "cannot write the result to standard \(target == .standardError ? "error" : "output"): \(error)")
        }
    }
}
