import CPacketFSShims
import Glibc
import SystemPackage

/// Folders that hold named blobs and regions, and what names in them may look like.
package enum RegionFolder {
    /// Refuses names that could lead out of the folder, hide in it or confuse a terminal: a name has 1 to 255 letters,
    /// digits, `.`, `_` or `-`, and does not start with a dot. `kind` is for the message.
    package static func validate(name: String, of kind: String) throws(MemoryError) {
        let allowed = name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
                true
            default: false
            }
        }
        guard allowed, (1...255).contains(name.utf8.count), name.utf8.first != UInt8(ascii: ".") else {
            throw .invalid(
                argument: "\(kind) name", value: "\"\(name)\"",
                reason: "use 1 to 255 letters, digits, '.', '_' or '-', and no dot at the start")
        }
    }

    /// Bytes of a page of the file system that `directory` is on; fails unless that is a tmpfs or a hugetlbfs.
    package static func pageSize(of directory: FilePath) throws(MemoryError) -> Int {
        try memory(directory, open(directory)).pageSize
    }

    static func open(_ directory: FilePath) throws(MemoryError) -> OwnedDescriptor {
        let flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC
        return try OwnedDescriptor(Glibc.open(directory.string, flags), "open", directory.string)
    }

    /// The file system of an open folder, which must keep its files in memory.
    static func memory(
        _ directory: FilePath, _ folder: borrowing OwnedDescriptor
    ) throws(MemoryError) -> FileSystem {
        let system = try FileSystem(folder.value, directory.string)
        guard system.kind != .other else {
            throw .notUsable(
                subject: directory.string, reason: "it lies on a disk; a tmpfs or hugetlbfs is needed")
        }
        return system
    }

    /// Gives a nameless file of the folder's file system its name. The name has been validated.
    static func link(_ file: FileDescriptor, as name: String, in directory: FilePath) throws(MemoryError) {
        let folder = try open(directory)
        guard pfs_link_nameless(file.rawValue, folder.value.rawValue, name) == 0 else {
            throw .last("link", directory.appending(name).string)
        }
    }

    /// Opens the file of that name. The name has been validated.
    static func openFile(_ name: String, in directory: FilePath) throws(MemoryError) -> OwnedDescriptor {
        let folder = try open(directory)
        let path = directory.appending(name).string
        return try OwnedDescriptor(pfs_open_existing(folder.value.rawValue, name), "open", path)
    }

    /// Removes a name. The memory lives on with those who have it. The name has been validated.
    static func remove(_ name: String, from directory: FilePath) throws(MemoryError) {
        let folder = try open(directory)
        guard unlinkat(folder.value.rawValue, name, 0) == 0 else {
            throw .last("unlink", directory.appending(name).string)
        }
    }
}

/// What a region is for. Its file's name ends accordingly: a blob holds nothing but its user's bytes, and hugetlbfs keeps no
/// extended attributes, so the name is the only place for it.
package enum RegionKind: String, CaseIterable, Sendable, Encodable {
    case ring, blob

    package var suffix: String { ".pfs-\(rawValue)" }

    /// What the name of a file says, nil for a file that is not ours.
    package init?(fileName: String) {
        guard let kind = Self.allCases.first(where: { fileName.hasSuffix($0.suffix) && fileName != $0.suffix }) else {
            return nil
        }
        self = kind
    }

    /// `name` with this kind's ending.
    package func fileName(_ name: String) throws(MemoryError) -> String {
        if let other = Self.allCases.first(where: { name.hasSuffix($0.suffix) }), other != self {
            throw .invalid(
                argument: "\(self) name", value: "\"\(name)\"", reason: "it is the name of a \(other.rawValue)")
        }
        let whole = name.hasSuffix(suffix) ? name : name + suffix
        try RegionFolder.validate(name: whole, of: "region")
        return whole
    }
}
