import ArgumentParser
import CPacketFSShims
import FoundationEssentials
import Glibc
import PacketFSMemory
import PacketFSTools
import SystemPackage

/// One of the processes that share an interface's frames (`--fanout`): this executable, started again.
enum FanoutWorker {
    /// The first argument of such a process. After it: the group, the descriptor for its figures, the blob's descriptor, and the
    /// arguments of the process that started it.
    static let word = "__worker"

    /// Becomes such a process if the command line says so, and never returns then.
    static func runIfAsked() {
        let arguments = CommandLine.arguments
        guard arguments.count > 4, arguments[1] == word, let group = UInt16(arguments[2]),
            let result = Int32(arguments[3]), let blob = Int32(arguments[4])
        else { return }
        pfs_set_parent_death_signal(SIGKILL)
        do {
            // Asked to end once it is about to anyway, it must not die of that.
            let signals = try TerminationSignals()
            defer { withExtendedLifetime(signals) {} }
            let command = try PacketReceive.parse(Array(arguments.dropFirst(5)))
            let blob = try HugeBlob.adopt(FileDescriptor(rawValue: blob))
            let outcome = try command.receive(in: blob, try Kernels.selected(), group: group)
            try FileDescriptor(rawValue: result).writeAll(JSONEncoder().encode(outcome))
            exit(0)
        } catch {
            let error = ToolError(any: error)
            FileDescriptor.standardError.writeLine("yeet_afp_rx: \(error)")
            exit(error.exit.rawValue)
        }
    }

    /// What such a process wrote.
    static func read(_ descriptor: FileDescriptor) throws(ToolError) -> PacketReceive.Outcome {
        do {
            let size = Int(try descriptor.seek(offset: 0, from: .end))
            let bytes = try [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
                count = try descriptor.read(fromAbsoluteOffset: 0, into: UnsafeMutableRawBufferPointer(buffer))
            }
            return try JSONDecoder().decode(PacketReceive.Outcome.self, from: Data(bytes))
        } catch {
            throw ToolError(.system, "a process left no figures: \(error)")
        }
    }
}
