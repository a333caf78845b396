import Glibc
import SystemPackage

/// A regular file (or block device's length is refused) that is open for reading.
final class InputFile: Sendable {
    let path: FilePath
    let descriptor: FileDescriptor
    let byteCount: Int

    init(_ path: FilePath) throws(ToolError) {
        self.path = path
        let opened: FileDescriptor
        do {
            opened = try FileDescriptor.open(path, .readOnly, options: [.closeOnExec, .nonBlocking])
        } catch {
            throw ToolError(.noInput, "cannot read \(path): \(error)")
        }
        var status = stat()
        guard fstat(opened.rawValue, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            try? opened.close()
            throw ToolError(.noInput, "\(path) is not a regular file")
        }
        descriptor = opened
        byteCount = Int(status.st_size)
    }

    deinit { try? descriptor.close() }
}
