import CPacketFSShims
import Glibc
import PacketFSEngine
import PacketFSTools
import SystemPackage

/// A file under construction: nobody sees it under its name before it is whole, and nothing is left of it if it never is.
///
/// It has no name at first, where the file system can do that, so that not even SIGKILL leaves it behind; elsewhere a hidden
/// temporary one beside the final name, removed when this value goes.
package final class OutputFile {
    /// Where it will be.
    package let path: FilePath
    /// To write to. Stays this value's property.
    let descriptor: FileDescriptor
    private let folder: FileDescriptor
    private let name: String
    private let temporaryName: String
    private var hasTemporaryName = false

    /// Starts a file. Its permissions are those of the file that it will replace, or else the usual ones of a new file.
    package init(_ path: FilePath) throws(ToolError) {
        guard let name = path.lastComponent?.string else { throw ToolError(.cannotCreate, "\"\(path)\" names no file") }
        self.path = path
        self.name = name
        temporaryName = ".\(name).pfs-\(getpid())"
        let existing = Self.status(of: path)
        if let existing, existing.st_mode & S_IFMT != S_IFREG {
            throw ToolError(.cannotCreate, "\(path) is not a regular file")
        }
        if existing != nil, access(path.string, W_OK) != 0 {
            throw ToolError(.cannotCreate, "cannot replace \(path): \(Errno(rawValue: errno))")
        }
        let parent = path.removingLastComponent()
        do {
            folder = try FileDescriptor.open(
                parent.isEmpty ? "." : parent, .readOnly, options: [.directory, .closeOnExec])
        } catch {
            throw ToolError(.cannotCreate, "cannot create \(path): \(error)")
        }
        var raw = pfs_open_nameless(folder.rawValue)
        if raw < 0, [EOPNOTSUPP, EISDIR, ENOENT, EINVAL].contains(errno) {
            raw = pfs_create_new(folder.rawValue, temporaryName)
            hasTemporaryName = raw >= 0
        }
        guard raw >= 0 else {
            let reason = Errno(rawValue: errno)
            try? folder.close()
            throw ToolError(.cannotCreate, "cannot create \(path): \(reason)")
        }
        descriptor = FileDescriptor(rawValue: raw)
        if let existing {
            // As far as this process may: a file of somebody else's becomes ours, as with every editor.
            _ = fchown(raw, existing.st_uid, existing.st_gid)
            _ = fchmod(raw, existing.st_mode & 0o7777)
        } else {
            let mask = umask(0)
            umask(mask)
            _ = fchmod(raw, 0o666 & ~mask)
        }
    }

    deinit {
        if hasTemporaryName { unlinkat(folder.rawValue, temporaryName, 0) }
        try? descriptor.close()
        try? folder.close()
    }

    /// Writes at the end of what has been appended.
    package func append(_ bytes: [UInt8]) throws(ToolError) {
        do {
            try descriptor.writeAll(bytes)
        } catch {
            throw writeError(error)
        }
    }

    /// What to tell when writing failed.
    func writeError(_ error: any Error) -> ToolError {
        ToolError(.io, "cannot write \(path): \(error); nothing was changed")
    }

    /// Gives the file its name, replacing one that has it. A file that is replaced is let go only when this one is safe on disk.
    package func commit() throws(ToolError) {
        func check(_ result: Int32, _ what: String) throws(ToolError) {
            guard result == 0 else {
                throw ToolError(.io, "cannot \(what) \(path): \(Errno(rawValue: errno)); nothing was changed")
            }
        }
        let replaces = Self.status(of: path) != nil
        if replaces { try check(fsync(descriptor.rawValue), "save") }
        if !hasTemporaryName {
            if !replaces, pfs_link_nameless(descriptor.rawValue, folder.rawValue, name) == 0 { return }
            unlinkat(folder.rawValue, temporaryName, 0)  // of a process that had our number and was killed just here
            try check(pfs_link_nameless(descriptor.rawValue, folder.rawValue, temporaryName), "name")
            hasTemporaryName = true
        }
        try check(renameat(folder.rawValue, temporaryName, folder.rawValue, name), "name")
        hasTemporaryName = false
        if replaces { _ = fsync(folder.rawValue) }
    }

    private static func status(of path: FilePath) -> stat? {
        var found = stat()
        return stat(path.string, &found) == 0 ? found : nil
    }
}
