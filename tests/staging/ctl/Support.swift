import Foundation
import Glibc
import Testing
import ToolTesting

/// The tool that these suites run.
let tool = Tool("pfs_ctl")

/// A folder of a test's own in /dev/shm, removed with what is in it; or one with huge pages of 2 MiB.
final class Folder: Sendable {
    let path: String
    private let isMounted: Bool

    init(mountHugePages: Bool = false) throws {
        path = "/dev/shm/pfs-ctl-test-\(UUID())"
        isMounted = mountHugePages
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        if mountHugePages {
            try #require(mount("none", path, "hugetlbfs", 0, "pagesize=2M") == 0, "mount: \(errno)")
        }
    }

    deinit {
        if isMounted { umount2(path, Int32(MNT_DETACH)) }
        chmod(path, 0o700)
        try? FileManager.default.removeItem(atPath: path)
    }

    var names: [String] { get throws { try FileManager.default.contentsOfDirectory(atPath: path).sorted() } }

    /// Runs pfs_ctl on this folder.
    func ctl(_ arguments: [String]) throws -> Tool.Result { try tool.run(arguments + ["--dir", path]) }
    func ctl(_ arguments: String...) throws -> Tool.Result { try ctl(arguments) }

    /// The region that a command reports.
    func region(_ arguments: String...) throws -> [String: Any] {
        let run = try ctl(arguments + ["--json"])
        #expect(run.status == 0, "\(run)")
        return try #require(try run.result()["region"] as? [String: Any])
    }

    /// Overwrites bytes of a file.
    func write(_ bytes: [UInt8], to name: String, at offset: Int) throws {
        let file = open("\(path)/\(name)", O_WRONLY)
        defer { close(file) }
        try #require(pwrite(file, bytes, bytes.count, offset) == bytes.count)
    }
}
