import Glibc
import SystemPackage

/// A regular file that is open for reading.
public final class InputFile: Sendable {
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

    /// The text of a small file.
    public static func text(_ path: FilePath) throws(ToolError) -> String {
        let file = try InputFile(path)
        guard file.byteCount <= 1 << 20 else {
            throw ToolError(.usage, "\(path) is larger than 1 MiB: no list of programs")
        }
        var bytes = [UInt8](repeating: 0, count: file.byteCount)
        do {
            let count = try bytes.withUnsafeMutableBytes { try file.descriptor.read(into: $0) }
            return String(decoding: bytes.prefix(count), as: UTF8.self)
        } catch {
            throw ToolError(.io, "cannot read \(path): \(error)")
        }
    }
}
