import Glibc
import PacketFSMemory
import PacketFSRing
import PacketFSTools
import SystemPackage

/// Where regions are.
enum Folders {
    /// Where a region is made that nobody wants elsewhere.
    static let standard: FilePath = "/dev/shm"

    /// ``standard`` and the folders on which a hugetlbfs is mounted, without those that this process cannot enter.
    static func all() -> [FilePath] {
        var folders = [standard]
        for line in readText("/proc/self/mounts").split(separator: "\n") {
            let fields = line.split(separator: " ")
            guard fields.count > 2, fields[2] == "hugetlbfs" else { continue }
            let folder = FilePath(unescaped(fields[1]))
            if !folders.contains(folder) { folders.append(folder) }
        }
        return folders.filter { access($0.string, R_OK | X_OK) == 0 }
    }

    /// The table of mounts writes blanks and backslashes as three octal digits.
    private static func unescaped(_ text: Substring) -> String {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "\\"), rest.count >= 3,
                let code = UInt8(String(decoding: rest.prefix(3), as: UTF8.self), radix: 8)
            {
                bytes.append(code)
                rest = rest.dropFirst(3)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// The names in a folder, sorted.
    static func names(in folder: FilePath) throws(ToolError) -> [String] {
        guard let stream = opendir(folder.string) else {
            throw ToolError(Errno(rawValue: errno), "\(folder) cannot be listed")
        }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            names.append(
                withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) })
        }
        return names.sorted()
    }
}

/// Which file it is, whatever its name.
struct FileIdentity: Hashable {
    let device: dev_t
    let inode: ino_t

    init(_ status: stat) {
        device = status.st_dev
        inode = status.st_ino
    }

    init(device: dev_t, inode: ino_t) {
        self.device = device
        self.inode = inode
    }
}

/// A descriptor that is closed when nobody has it any more.
final class OpenFile {
    let descriptor: FileDescriptor

    init(_ descriptor: FileDescriptor) { self.descriptor = descriptor }
    deinit { try? descriptor.close() }
}

/// A region as it was found: looked at, never mapped.
struct Region {
    enum State {
        case sound
        /// It is no region, whatever its name says, or a damaged one.
        case corrupt(String)
        /// The caller may not read it.
        case unreadable(String)
    }

    let name: String
    let kind: RegionKind
    let folder: FilePath
    let status: stat
    let pageByteCount: Int
    let file: OpenFile?
    let ring: RingSnapshot?
    let state: State

    var path: FilePath { folder.appending(name) }
    var identity: FileIdentity { FileIdentity(status) }
    var byteCount: Int { Int(status.st_size) }
    var allocatedByteCount: Int { Int(status.st_blocks) * 512 }

    /// All regions in a folder. What vanishes while this looks is left out.
    static func all(in folder: FilePath) throws -> [Region] {
        let pageByteCount = try RegionFolder.pageSize(of: folder)
        return try Folders.names(in: folder).compactMap { name in
            try RegionKind(fileName: name).flatMap { kind in
                (try? RegionFolder.validate(name: name, of: "region")) == nil
                    ? nil : try Region(name, kind, in: folder, pageByteCount)
            }
        }
    }

    /// The one region with that name, with or without its ending, in one of the folders.
    static func find(_ name: String, in folders: [FilePath]) throws -> Region {
        try RegionFolder.validate(name: name, of: "region")
        let kinds: [(String, RegionKind)] =
            RegionKind(fileName: name).map { [(name, $0)] } ?? RegionKind.allCases.map { (name + $0.suffix, $0) }
        var found: [Region] = []
        for folder in folders {
            let pageByteCount = try RegionFolder.pageSize(of: folder)
            for (file, kind) in kinds {
                if let region = try Region(file, kind, in: folder, pageByteCount) { found.append(region) }
            }
        }
        guard let first = found.first else {
            let places = folders.map(\.string).joined(separator: ", ")
            throw ToolError(.noInput, "there is no region \"\(name)\" in \(places); `pfs_ctl list` shows what there is")
        }
        guard found.count == 1 else {
            let paths = found.map(\.path.string).joined(separator: ", ")
            throw ToolError(.usage, "\"\(name)\" could be any of \(paths); say the whole name, and --dir")
        }
        return first
    }

    /// Looks at a file. Nil if there is none of that name or it is no ordinary file, which is never opened.
    private init?(_ name: String, _ kind: RegionKind, in folder: FilePath, _ pageByteCount: Int) throws(ToolError) {
        let path = folder.appending(name)
        var status = stat()
        guard lstat(path.string, &status) == 0 else {
            let code = Errno(rawValue: errno)
            if code == .noSuchFileOrDirectory { return nil }
            throw ToolError(code, "\(path) cannot be looked at")
        }
        guard status.st_mode & S_IFMT == S_IFREG else { return nil }
        let raw = open(path.string, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        var file: OpenFile?
        var ring: RingSnapshot?
        let state: State
        if raw >= 0 {
            let opened = OpenFile(FileDescriptor(rawValue: raw))
            guard fstat(raw, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
            file = opened
            (state, ring) = try Self.examine(opened.descriptor, kind, status, pageByteCount)
        } else {
            let code = Errno(rawValue: errno)
            switch code {
            case .noSuchFileOrDirectory, .tooManySymbolicLinkLevels: return nil
            case .permissionDenied, .notPermitted:
                state = .unreadable("\(path) belongs to uid \(status.st_uid), and you may not read it")
            default: throw ToolError(code, "\(path) cannot be opened")
            }
        }
        self.name = name
        self.kind = kind
        self.folder = folder
        self.status = status
        self.pageByteCount = pageByteCount
        self.file = file
        self.ring = ring
        self.state = state
    }

    private static func examine(
        _ file: FileDescriptor, _ kind: RegionKind, _ status: stat, _ pageByteCount: Int
    ) throws(ToolError) -> (State, RingSnapshot?) {
        let size = Int(status.st_size)
        var ring: RingSnapshot?
        if kind == .ring {
            do throws(RingError) {
                let snapshot = try RingSnapshot(reading: file)
                ring = snapshot
                try snapshot.checkEntries(in: file)
            } catch {
                if case .system(_, let errno) = error { throw ToolError(errno, error.description) }
                return (.corrupt(error.description), ring)
            }
        }
        guard size > 0 else { return (.corrupt("it is empty"), ring) }
        guard size % pageByteCount == 0 else {
            return (.corrupt("its \(size) bytes are not whole pages of \(pageByteCount) bytes"), ring)
        }
        let allocated = Int(status.st_blocks) * 512
        guard allocated >= size else {
            return (.corrupt("only \(allocated) of its \(size) bytes are allocated"), ring)
        }
        return (.sound, ring)
    }

    /// Whether somebody is attached in a role, as the kernel knows it.
    func isTaken(_ role: Ring.Role) -> Bool {
        guard ring != nil, let file else { return false }
        return (try? Ring.isTaken(role, lock: file.descriptor)) ?? false
    }

    /// Throws unless this is a region for certain, and nobody is known to use it.
    func requireRemovable(_ users: Users) throws(ToolError) {
        switch state {
        case .unreadable(let reason): throw ToolError(.permission, reason)
        case .corrupt(let reason):
            throw ToolError(
                .verificationFailed, "\(path) is damaged or somebody else's (\(reason)); --force removes it anyway")
        case .sound: break
        }
        var reasons = Ring.Role.allCases.filter(isTaken).map { "it has a \($0)" }
        let processes = users[identity].map(\.description)
        if !processes.isEmpty { reasons.append("used by " + processes.joined(separator: ", ")) }
        guard reasons.isEmpty else {
            throw ToolError(
                .unavailable,
                "\(path) is in use (\(reasons.joined(separator: "; "))); end these processes, or use --force")
        }
    }

    /// Takes the name away, unless another file has it by now.
    func remove() throws {
        var now = stat()
        guard lstat(path.string, &now) == 0, FileIdentity(now) == identity else {
            throw ToolError(.noInput, "\(path) was removed meanwhile")
        }
        do throws(MemoryError) {
            try SharedRegion.remove(named: name, in: folder)
        } catch {
            guard case .system(_, _, .noSuchFileOrDirectory) = error else { throw error }
            throw ToolError(.noInput, "\(path) was removed meanwhile")
        }
    }
}

extension ToolError {
    /// A failed call on a file.
    init(_ errno: Errno, _ what: String) {
        switch errno {
        case .noSuchFileOrDirectory, .notDirectory: self.init(.noInput, "\(what): \(errno)")
        case .permissionDenied, .notPermitted: self.init(.permission, "\(what): \(errno)")
        default: self.init(.system, "\(what): \(errno)")
        }
    }

    /// As ``init(any:)``, with the exit codes of creating and naming things.
    init(region error: any Error) {
        switch error {
        case MemoryError.system(_, let subject, .fileExists):
            self.init(.cannotCreate, "\(subject) exists already; remove it or choose another name")
        case RingError.invalidGeometry: self.init(.usage, "\(error)")
        default: self.init(any: error)
        }
    }
}

/// A text file of the kernel's; empty if it cannot be read.
func readText(_ path: FilePath) -> String {
    guard let file = try? FileDescriptor.open(path, .readOnly, options: .closeOnExec) else { return "" }
    defer { try? file.close() }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while let count = try? buffer.withUnsafeMutableBytes({ try file.read(into: $0) }), count > 0 {
        bytes += buffer[..<count]
    }
    return String(decoding: bytes, as: UTF8.self)
}
