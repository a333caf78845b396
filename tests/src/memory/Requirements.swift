import Glibc
import SystemPackage
import Testing
import ToolTesting

@testable import PacketFSMemory

/// What some tests need of the machine. A test that cannot run is shown as skipped, with the reason.
extension Trait where Self == ConditionTrait {
    /// Mounting file systems and changing the machine's pools.
    static var needsRoot: Self { .enabled(if: geteuid() == 0, "needs root, to mount a small file system") }

    /// `count` pages of 2 MiB, free already or to be had by enlarging the pool; see ``withHugePages(_:_:)``.
    static func needsHugePages(_ count: Int) -> Self {
        .enabled(
            if: (try? withHugePages(count) { true }) ?? false,
            "needs \(count) free pages of 2 MiB: run as root, or reserve them with `just hugepages`")
    }

    /// Transparent huge pages for memfds, on already or to be switched on; see ``withTransparentHugePages(_:)``.
    static var needsTransparentHugePages: Self {
        .enabled(
            if: (try? withTransparentHugePages { true }) ?? false,
            "needs transparent huge pages: `echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled` as root")
    }

    /// A tmpfs at /dev/shm.
    static var needsDevShm: Self { .enabled(if: access("/dev/shm", W_OK) == 0, "needs a writable /dev/shm") }
}

/// Runs `body` while memfds may have transparent huge pages; restores the machine's setting afterwards.
func withTransparentHugePages<Result>(_ body: () throws -> Result) throws -> Result {
    let file = "/sys/kernel/mm/transparent_hugepage/shmem_enabled"
    if TransparentHugePages.enabledForMemfd() { return try body() }
    let chosen = readText(file)?.split(separator: "[").last?.split(separator: "]").first
    guard let chosen else { throw ResourceUnavailable() }
    try write("advise", to: file)
    defer { try? write(String(chosen), to: file) }
    return try body()
}

/// Writes a word into a file of /sys.
private func write(_ text: String, to path: String) throws {
    let descriptor = try FileDescriptor.open(FilePath(path), .writeOnly)
    try descriptor.closeAfter { _ = try descriptor.writeAll(text.utf8) }
}

/// A fresh folder, with its contents removed when it goes; optionally with a small file system mounted on it.
struct TemporaryFolder: ~Copyable {
    let path: FilePath
    private let isMounted: Bool

    init(in parent: String = "/tmp", mount arguments: [String] = []) throws {
        path = try TemporaryFolder.make(parent, arguments)
        isMounted = !arguments.isEmpty
    }

    private static func make(_ parent: String, _ arguments: [String]) throws -> FilePath {
        var template = Array("\(parent)/packetfs-test-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw Errno(rawValue: errno) }
        let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        if !arguments.isEmpty, try run(["mount"] + arguments + ["none", path]) != 0 {
            rmdir(path)
            throw ResourceUnavailable()
        }
        return FilePath(path)
    }

    deinit {
        if isMounted {
            // Lazily, so that a test which fails with a file still open leaves no mount behind.
            _ = try? run(["umount", "--lazy", path.string])
        } else {
            for name in names { unlink(path.appending(name).string) }
        }
        rmdir(path.string)
    }

    /// The files in it, sorted.
    var names: [String] { folderEntries(path.string) }
}

/// The names in a folder without `.` and `..`, sorted.
func folderEntries(_ path: String) -> [String] {
    guard let folder = opendir(path) else { return [] }
    defer { closedir(folder) }
    var names: [String] = []
    while let entry = readdir(folder) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) {
            $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        if name != "." && name != ".." { names.append(name) }
    }
    return names.sorted()
}

/// Runs a program and waits for it; its exit status.
func run(_ arguments: [String]) throws -> CInt {
    var pid: pid_t = 0
    var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
    defer { for argument in argv { free(argument) } }
    let status = posix_spawnp(&pid, arguments[0], nil, nil, &argv, environ)
    guard status == 0 else { throw Errno(rawValue: status) }
    var result: CInt = 0
    while waitpid(pid, &result, 0) < 0 && errno == EINTR {}
    return result
}

/// The generator of all tests.
typealias SeededGenerator = ToolTesting.SeededGenerator

/// The error of `body`, nil when it succeeds.
func failure(_ body: () throws(MemoryError) -> Void) -> MemoryError? {
    do throws(MemoryError) {
        try body()
        return nil
    } catch {
        return error
    }
}

/// For bodies of exit tests: throws, and so fails the process, when `condition` does not hold.
func require(_ condition: Bool, line: UInt = #line) throws {
    struct Failed: Error { var line: UInt }
    guard condition else { throw Failed(line: line) }
}
