import ArgumentParser
import CPacketFSShims
import PacketFSTools
import SystemPackage

/// How a rank gets at the input's bytes, and why so.
struct InputChoice {
    enum Access: String {
        case mmap
        case mpiIO = "mpi-io"
    }

    /// What can be asked for.
    enum Preference: String, ExpressibleByArgument, CaseIterable {
        case automatic = "auto"
        case mmap
        case mpiIO = "mpi-io"

        var access: Access? { Access(rawValue: rawValue) }
    }

    let access: Access
    let reason: String

    /// File systems over a network, by the numbers that statfs(2) gives (linux/magic.h, and the file systems' own headers).
    private static let remote: [Int64: String] = [
        0x6969: "NFS", 0xFF53_4D42: "CIFS", 0xFE53_4D42: "SMB", 0x0BD0_0BD0: "Lustre", 0x4750_4653: "GPFS",
        0x00C3_6400: "Ceph", 0x0102_1997: "9P", 0x6573_5546: "FUSE", 0x1983_0326: "BeeGFS", 0x7461_636F: "OCFS2",
        0x0116_1970: "GFS2", 0xAAD7_AAEA: "PanFS", 0x2003_0528: "PVFS2",
    ]

    /// What the file system that holds a file is called, if it is reached over a network.
    static func remoteFileSystem(of file: FileDescriptor) -> String? {
        var status = pfs_file_system()
        return pfs_file_system(file.rawValue, &status) == 0 ? remote[status.magic] : nil
    }

    init(_ access: Access, because reason: String) { (self.access, self.reason) = (access, reason) }

    /// - Parameters:
    ///   - wanted: what was asked for; automatic is what suits program and file system.
    ///   - moves: whether bytes have to be moved in any case, because they are transformed or written.
    init(wanted: Preference, moves: Bool, file: FileDescriptor) throws(ToolError) {
        if moves {
            guard wanted != .mmap else {
                throw ToolError(.usage, "--io mmap: only for programs that only read, without --out and --in-place")
            }
            (access, reason) = (.mpiIO, "the program's bytes are written")
        } else if let access = wanted.access {
            (self.access, reason) = (access, "as asked for")
        } else {
            guard let name = Self.remoteFileSystem(of: file) else {
                (access, reason) = (.mmap, "a local file system, and the program only reads")
                return
            }
            (access, reason) = (.mpiIO, "the file is on \(name)")
        }
    }
}
