import ArgumentParser
import FoundationEssentials
import PacketFSMemory
import PacketFSTools
import SystemPackage

/// One of the processes that share an interface's frames (`--fanout`): this executable, started again.
enum FanoutWorker {
    /// Its arguments: the group, the descriptor for its figures, the blob's descriptor, and the arguments of the process that started
    /// it.
    static let role = ChildRole("__worker")

    /// Becomes such a process if the command line says so, and never returns then.
    static func runIfAsked() {
        role.run { arguments in
            guard arguments.count > 2, let group = UInt16(arguments[0]), let result = Int32(arguments[1]),
                let blob = Int32(arguments[2])
            else { throw ToolError(.usage, "\(role.word) is for this tool itself") }
            // Asked to end once it is about to anyway, it must not die of that.
            let signals = try TerminationSignals()
            defer { withExtendedLifetime(signals) {} }
            let command = try PacketReceive.parse(Array(arguments.dropFirst(3)))
            let blobMemory = try HugeBlob.adopt(FileDescriptor(rawValue: blob))
            let outcome = try command.receive(in: blobMemory, try Kernels.selected(), group: group)
            try FileDescriptor(rawValue: result).writeAll(JSONEncoder().encode(outcome))
        } failed: { error in
            let error = ToolError(any: error)
            FileDescriptor.standardError.writeLine("yeet_afp_rx: \(error)")
            return error.exit.rawValue
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
