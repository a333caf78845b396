import Glibc
import PacketFSEngine
import PacketFSMemory
import PacketFSRing
import PacketFSTools
import RandomRuns
import SystemPackage

/// Where the two processes of a stream meet: what has to be the same on both sides.
package struct StreamPlace: Sendable {
    /// What the ring lies in.
    package enum Transport: Sendable, Hashable {
        /// A file of this name, with its ending, in a folder in memory.
        case shared(file: String, folder: FilePath)
        /// The character device.
        case device(FilePath)
    }

    /// The ring.
    package let transport: Transport
    /// The blob's file, with its ending, and the folder that it is in.
    package let blobFile: String, blobFolder: FilePath
    /// Whether the blob's name was asked for; if not, it follows from the ring's.
    package let namesBlob: Bool

    /// Makes a place out of the words of a command line.
    ///
    /// - Parameters:
    ///   - shared: name of a ring in shared memory, with or without its ending; nil means the device.
    ///   - device: path of the device.
    ///   - blob: name of the blob; nil takes the ring's, or the device's.
    ///   - folder: for files in shared memory.
    ///   - hugeFolder: for the blob, if it shall lie elsewhere.
    package init(
        shared: String?, device: String?, blob: String?, folder: String, hugeFolder: String?
    ) throws(ToolError) {
        guard shared == nil || device == nil else { throw ToolError(.usage, "--shm and --dev exclude each other") }
        do throws(MemoryError) {
            if let shared {
                transport = .shared(file: try RegionKind.ring.fileName(shared), folder: FilePath(folder))
            } else {
                transport = .device(FilePath(device ?? Self.standardDevice))
            }
            namesBlob = blob != nil
            let bare = shared.map { $0.hasSuffix(RegionKind.ring.suffix) ? String($0.dropLast(9)) : $0 }
            let name = blob ?? bare ?? FilePath(device ?? Self.standardDevice).lastComponent?.string ?? ""
            blobFile = try RegionKind.blob.fileName(name)
        } catch {
            throw ToolError(any: error)
        }
        blobFolder = FilePath(hugeFolder ?? folder)
    }

    /// Where the module's first channel is.
    package static let standardDevice = "/dev/pfs_fastpath"

    /// The ring's file or device.
    package var ringPath: FilePath {
        switch transport {
        case .shared(let file, let folder): folder.appending(file)
        case .device(let path): path
        }
    }

    /// The blob's file.
    package var blobPath: FilePath { blobFolder.appending(blobFile) }

    /// `shm` or `device`, for reports.
    var kind: String {
        if case .shared = transport { "shm" } else { "device" }
    }
}

/// Asks the kernel whether the other side is there.
struct PeerWatch: Sendable {
    /// The region's file, which somebody else keeps open.
    let file: FileDescriptor
    let isDevice: Bool
    /// The other side's role.
    let role: Ring.Role

    /// Whether somebody has the other role.
    func isAttached() throws(RingError) -> Bool {
        isDevice ? try RingDevice(file).info().isTaken(role) : try Ring.isTaken(role, lock: file)
    }

    /// Whether nobody can come any more, the region having been taken from its name or channel.
    func isRemoved() throws(RingError) -> Bool {
        if isDevice { return try RingDevice(file).info().isStale }
        var status = stat()
        return fstat(file.rawValue, &status) == 0 && status.st_nlink == 0
    }
}

/// A file's name that is to be removed, unless another file has it by then.
final class TemporaryName {
    private let path: FilePath
    private let file: UInt64
    /// Whether the name stays.
    var isKept: Bool

    /// The name of the file behind `descriptor`. It is removed at the latest when this object goes.
    init(_ path: FilePath, _ descriptor: FileDescriptor, isKept: Bool) {
        self.path = path
        self.isKept = isKept
        file = fileNumber(descriptor)
    }

    /// Removes the name, once.
    func remove() {
        var status = stat()
        if !isKept, lstat(path.string, &status) == 0, UInt64(status.st_ino) == file { unlink(path.string) }
        isKept = true
    }

    deinit { remove() }
}

/// The number of an open file (inode).
func fileNumber(_ descriptor: FileDescriptor) -> UInt64 {
    var status = stat()
    return fstat(descriptor.rawValue, &status) == 0 ? UInt64(status.st_ino) : 0
}

// MARK: - Opening

extension StreamPlace {
    /// An open file of the device.
    func openDevice(_ path: FilePath) throws(ToolError) -> FileDescriptor {
        do {
            return try FileDescriptor.open(path, .readWrite, options: .closeOnExec)
        } catch {
            switch error as? Errno ?? .ioError {
            case .noSuchFileOrDirectory, .noSuchAddressOrDevice, .operationNotSupportedByDevice:
                throw ToolError(
                    .unavailable, "\(path) does not exist: load the module with `just kernel-load`, or use --shm NAME")
            case .permissionDenied, .notPermitted:
                throw ToolError(.permission, "\(path) may not be opened: join the group that it belongs to, or be root")
            case let errno: throw ToolError(.unavailable, "\(path) cannot be opened: \(errno)")
            }
        }
    }

    /// What went wrong with the ring, with its place and an exit code.
    func error(_ error: RingError) -> ToolError {
        switch error {
        case .alreadyTaken(let role):
            ToolError(
                .unavailable,
                "\(ringPath) already has a \(role); end that process, or use another --shm NAME or device")
        case .system(_, .inappropriateIOCTLForDevice):
            ToolError(.unavailable, "\(ringPath) is not the device of pfs_fastpath")
        case .system(_, .fileTooLarge), .system(_, .noSpace):
            ToolError(.unavailable, "\(ringPath): the ring is larger than the module allows; lower --ring-bytes")
        case .system: ToolError(.system, "\(ringPath): \(error)")
        case .notReady, .wrongVersion, .corrupt, .regionTooSmall, .misalignedRegion:
            ToolError(
                .unavailable,
                "\(ringPath): \(error)"
                    + (kind == "shm" ? "; `pfs_ctl remove --force` takes it away when nobody uses it" : ""))
        case .invalidGeometry, .recordTooLarge: ToolError(.usage, "\(ringPath): \(error)")
        }
    }
}
