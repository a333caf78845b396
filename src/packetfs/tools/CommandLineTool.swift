import ArgumentParser
import SystemPackage

/// How every tool begins, writes and ends.
public enum CommandLineTool {
    /// Runs the body of the tool called `name`. What it throws becomes one line on standard error, behind that name, and an exit
    /// code: that of a ``ToolError`` or of what `toolError` makes of another error, 128 plus the signal for ``Interrupted``. An
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
