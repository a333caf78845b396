import Foundation

/// Runs a command found on `PATH`, or below `folder`, in `folder`; returns its status and what it printed.
func capture(_ command: [String], in folder: URL) throws -> (status: Int32, output: Data) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = command
    process.currentDirectoryURL = folder
    let output = Pipe()
    process.standardOutput = output
    process.standardInput = FileHandle.nullDevice
    try process.run()
    let data = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return (process.terminationStatus, data)
}

/// A command that must succeed did not.
struct CommandFailed: Error, CustomStringConvertible {
    let description: String
}

/// As `capture`, for commands that must succeed: throws when the status is not 0.
func run(_ command: [String], in folder: URL) throws -> Data {
    let (status, output) = try capture(command, in: folder)
    guard status == 0 else {
        throw CommandFailed(
            description: "`\(command.joined(separator: " "))` ended with \(status); see its messages above")
    }
    return output
}
