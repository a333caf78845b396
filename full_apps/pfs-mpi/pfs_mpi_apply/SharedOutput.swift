import ApplyTool
import Glibc
import PacketFSEngine
import PacketFSTools
import SystemPackage

/// A file that all ranks write their parts of. It has a name of its own beside the final one, `.NAME.pfs-partial`, until all of
/// it is there. Used by one thread.
final class SharedOutput {
    /// Where it will be.
    let path: FilePath
    private let communicator: Communicator
    private let partial: String
    private let mayBeKept: Bool
    private let file: MPIFile
    /// The partial file as this rank found it.
    private let identity: (device: dev_t, number: ino_t)

    /// Makes the partial file, or goes on with the one that is there. Collective.
    ///
    /// - Parameters:
    ///   - path: the final name; what it links to is what is replaced.
    ///   - resumes: whether parts of it are written already.
    ///   - mayBeKept: whether a run that fails may leave the partial file for another one.
    init(_ path: FilePath, communicator: Communicator, resumes: Bool, mayBeKept: Bool) throws {
        let target = realpath(path.string, nil)
        defer { free(target) }
        let final = target.map { FilePath(platformString: $0) } ?? path
        self.path = final
        self.communicator = communicator
        self.mayBeKept = mayBeKept
        partial = try communicator.together { try Self.partialPath(of: final) }
        let partial = partial
        try communicator.together {
            if communicator.rank == 0 { try Self.prepare(partial, for: final, resumes: resumes) }
        }
        (file, identity) = try communicator.together {
            var status = stat()
            do {
                // MPI does not say what the file is, nor on which file system.
                let look = try FileDescriptor.open(FilePath(partial), .readOnly, options: .closeOnExec)
                defer { try? look.close() }
                fstat(look.rawValue, &status)
                let piece =
                    InputChoice.remoteFileSystem(of: look) == nil ? StagedFile.pieceByteCount(look) : Int.max
                let file = try MPIFile(partial, writes: true, pieceByteCount: piece)
                return (file, (status.st_dev, status.st_ino))
            } catch let error as Errno {
                throw ToolError(.cannotCreate, "\(partial): \(error)")
            }
        }
    }

    private static func partialPath(of path: FilePath) throws(ToolError) -> String {
        guard let name = path.lastComponent?.string else { throw ToolError(.cannotCreate, "\"\(path)\" names no file") }
        let parent = path.removingLastComponent().string
        guard let folder = realpath(parent.isEmpty ? "." : parent, nil) else {
            throw ToolError(.cannotCreate, "cannot create \(path): \(Errno(rawValue: errno))")
        }
        defer { free(folder) }
        return "\(String(cString: folder))/.\(name).pfs-partial"
    }

    private static func prepare(_ partial: String, for path: FilePath, resumes: Bool) throws(ToolError) {
        var status = stat()
        let replaces = stat(path.string, &status) == 0
        guard !replaces || status.st_mode & S_IFMT == S_IFREG else {
            throw ToolError(.usage, "\(path) is not a regular file: ranks write to many places of it at once")
        }
        guard !replaces || access(path.string, W_OK) == 0 else {
            throw ToolError(.cannotCreate, "cannot replace \(path): \(Errno(rawValue: errno))")
        }
        if resumes {
            guard access(partial, W_OK) == 0 else {
                throw ToolError(
                    .noInput,
                    "what was written so far, \(partial), is not there (\(Errno(rawValue: errno))); "
                        + "remove the journal to begin anew")
            }
            return
        }
        unlink(partial)  // of a job that was killed
        do {
            let file = try FileDescriptor.open(
                FilePath(partial), .writeOnly, options: [.create, .exclusiveCreate, .closeOnExec],
                permissions: FilePermissions(rawValue: 0o666))
            if replaces {
                // As far as this process may: a file of somebody else's becomes ours, as with every editor.
                _ = fchown(file.rawValue, status.st_uid, status.st_gid)
                _ = fchmod(file.rawValue, status.st_mode & 0o7777)
            }
            try file.close()
        } catch {
            throw ToolError(.cannotCreate, "cannot create \(path): \(error)")
        }
    }

    /// Writes bytes to their place.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(ToolError) {
        try file.write(bytes, at: offset)
    }

    /// Returns when everything that this rank has written is safe.
    func sync() throws(ToolError) { try file.sync() }

    private var isOurs: Bool {
        var status = stat()
        return stat(partial, &status) == 0 && status.st_dev == identity.device && status.st_ino == identity.number
    }

    /// Gives it its name, once every rank is here. A file that is replaced is let go only when this one is safe on disk.
    /// Collective.
    func commit() throws {
        try communicator.together {
            if access(path.string, F_OK) == 0 || mayBeKept { try file.sync() }
            try file.close()
        }
        try communicator.together {
            guard communicator.rank == 0 else { return }
            guard isOurs else {
                throw ToolError(.io, "\(partial) is another job's by now: two jobs write \(path); nothing was changed")
            }
            guard rename(partial, path.string) == 0 else {
                throw ToolError(.io, "cannot name \(path): \(Errno(rawValue: errno)); nothing was changed")
            }
            let parent = path.removingLastComponent()
            if let folder = try? FileDescriptor.open(parent.isEmpty ? "." : parent, .readOnly, options: .directory) {
                _ = fsync(folder.rawValue)
                try? folder.close()
            }
        }
    }

    /// Removes the partial file of a run that failed, unless it is one to be kept. Any rank may; the first does.
    func discard(unlessKept keeps: Bool) {
        if !(keeps && mayBeKept), isOurs { unlink(partial) }
    }
}
