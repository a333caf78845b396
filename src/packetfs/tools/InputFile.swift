import Glibc
import SystemPackage

/// A regular file that is open for reading.
public final class InputFile: Sendable {
    /// Where it was opened.
    public let path: FilePath
    /// Open for reading while this object lives.
    public let descriptor: FileDescriptor
    /// Its size in bytes when it was opened; it may change.
    public let byteCount: Int

    /// Opens a file; one that is missing, unreadable or not regular is ``ToolExit/noInput``.
    public init(_ path: FilePath) throws(ToolError) {
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
        guard try InputFile(path).byteCount <= 1 << 20 else {
            throw ToolError(.usage, "\(path) is larger than 1 MiB: no list of programs")
        }
        return String(decoding: try contents(path), as: UTF8.self)
    }

    /// All bytes of a file.
    public static func contents(_ path: FilePath) throws(ToolError) -> [UInt8] {
        let file = try InputFile(path)
        do {
            return try [UInt8](unsafeUninitializedCapacity: file.byteCount) { buffer, count in
                while count < buffer.count {
                    let rest = UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(buffer)[count...])
                    let got = try file.descriptor.read(into: rest)
                    guard got > 0 else { break }
                    count += got
                }
            }
        } catch {
            throw ToolError(.io, "cannot read \(path): \(error)")
        }
    }
}
