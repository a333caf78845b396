import Glibc
import PacketFSRing
import PacketFSTools
import SystemPackage

/// The processes that have regions open or mapped, as far as /proc shows them to the caller.
struct Users {
    /// A process.
    struct User: ReportObject, CustomStringConvertible {
        let pid: pid_t
        /// Anything unprintable is replaced: it comes from whoever started the process.
        let command: String
        var isOpen = false, isMapped = false
        var roles: [String] = []

        var description: String { "\(pid) (\(command))" }

        static var figures: [Figure<Self>] {
            Figure("pid", "the process", \.pid)
            Figure("command", "its name", \.command)
            Figure("open", "whether it has the file open", \.isOpen)
            Figure("mapped", "whether it has the file mapped", \.isMapped)
            Figure("roles", "of the ring that its open files hold", \.roles)
        }
    }

    private var users: [FileIdentity: [User]] = [:]
    /// Processes that could not be looked at.
    private var hidden = 0

    /// Looks through all processes but this one; does nothing without regions.
    init(of regions: [Region]) {
        let wanted = Set(regions.map(\.identity))
        guard !wanted.isEmpty, let names = try? Folders.names(in: "/proc") else { return }
        for pid in names.compactMap({ pid_t($0) }).sorted() where pid != getpid() { look(at: pid, for: wanted) }
    }

    subscript(_ identity: FileIdentity) -> [User] { users[identity] ?? [] }

    /// What the list may lack.
    var warnings: [String] {
        hidden == 0
            ? []
            : ["\(hidden) processes of other users could not be looked at; they may use regions too (root sees all)"]
    }

    private mutating func look(at pid: pid_t, for wanted: Set<FileIdentity>) {
        let folder = FilePath("/proc/\(pid)")
        var found: [FileIdentity: User] = [:]
        lazy var command = Self.command(of: folder)
        func user(_ identity: FileIdentity) -> User { found[identity] ?? User(pid: pid, command: command) }

        guard let descriptors = try? Folders.names(in: folder.appending("fd")) else {
            // Gone meanwhile, or not ours to look at.
            if access(folder.string, F_OK) == 0 { hidden += 1 }
            return
        }
        for descriptor in descriptors where Int32(descriptor) != nil {
            var status = stat()
            guard stat(folder.appending("fd").appending(descriptor).string, &status) == 0 else { continue }
            let identity = FileIdentity(status)
            guard wanted.contains(identity) else { continue }
            var entry = user(identity)
            entry.isOpen = true
            entry.roles += Self.roles(readText(folder.appending("fdinfo").appending(descriptor)))
            found[identity] = entry
        }
        for line in readText(folder.appending("maps")).split(separator: "\n") {
            // addresses permissions offset major:minor inode path
            let fields = line.split(separator: " ", maxSplits: 5, omittingEmptySubsequences: true)
            guard fields.count > 4, let inode = ino_t(fields[4]), inode != 0 else { continue }
            let numbers = fields[3].split(separator: ":").compactMap { UInt64($0, radix: 16) }
            guard numbers.count == 2 else { continue }
            let identity = FileIdentity(device: Self.device(major: numbers[0], minor: numbers[1]), inode: inode)
            guard wanted.contains(identity) else { continue }
            var entry = user(identity)
            entry.isMapped = true
            found[identity] = entry
        }
        for (identity, user) in found { users[identity, default: []].append(user) }
    }

    /// The roles that an open file holds, from the lines `lock: 1: OFDLCK ADVISORY WRITE -1 device:inode start end`.
    private static func roles(_ text: String) -> [String] {
        text.split(separator: "\n").compactMap { line in
            let fields = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
            guard fields.first == "lock:", fields.contains("OFDLCK"), fields.count > 2 else { return nil }
            let start = Int64(fields[fields.count - 2])
            return Ring.Role.allCases.first { Ring.lockPosition(of: $0) == start }?.rawValue
        }
    }

    /// A device number as stat(2) gives it: makedev(3).
    private static func device(major: UInt64, minor: UInt64) -> dev_t {
        let low: UInt64 = (major & 0xfff) << 8 | (minor & 0xff)
        let high: UInt64 = (major & ~0xfff) << 32 | (minor & ~0xff) << 12
        return dev_t(low | high)
    }

    private static func command(of folder: FilePath) -> String {
        let name = readText(folder.appending("comm")).prefix { $0 != "\n" }
        return String(name.map { $0.isASCII && $0 >= " " && $0 != "\u{7f}" ? $0 : "?" })
    }
}
