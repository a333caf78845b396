import Glibc
import SystemPackage

/// A folder in /tmp that only this user can enter, for files that a tool makes on the way. Ends with ``remove(with:)``.
public struct ScratchFolder: Sendable {
    /// The folder.
    public let path: FilePath

    /// Makes a folder whose name begins with `name`; mkdtemp(3) finds the rest.
    public init(_ name: String) throws(ToolError) {
        var template = Array(("/tmp/\(name)." + String(repeating: "X", count: 6)).utf8CString)
        guard mkdtemp(&template) != nil else {
            throw ToolError(.cannotCreate, "cannot make a folder in /tmp: \(Errno(rawValue: errno))")
        }
        path = FilePath(String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self))
    }

    /// Removes the folder and the files called `names` in it.
    public func remove(with names: [String]) {
        for name in names { unlink(path.appending(name).string) }
        rmdir(path.string)
    }
}
