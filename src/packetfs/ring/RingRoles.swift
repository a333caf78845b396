import CPacketFSShims
import Glibc
import SystemPackage

extension Ring {
    /// The two roles of a ring.
    public enum Role: String, Sendable, CaseIterable, CustomStringConvertible {
        /// The side that writes.
        case producer
        /// The side that reads.
        case consumer

        /// `producer` or `consumer`.
        public var description: String { rawValue }
    }

    /// Whether somebody is attached in `role`, according to the kernel: a process that died no longer is.
    ///
    /// `lock` is the region's file, opened in any way. Any process that has it may ask. The answer is true of the moment
    /// of asking. Throws ``RingError/system(call:errno:)``.
    public static func isTaken(_ role: Role, lock: FileDescriptor) throws(RingError) -> Bool {
        switch pfs_ofd_byte_is_locked(lock.rawValue, RoleLock.offset(of: role)) {
        case 0: return false
        case 1: return true
        default: throw .system(call: "fcntl(F_OFD_GETLK)", errno: Errno(rawValue: errno))
        }
    }

    /// The byte of the region's file whose lock is the role, for tools that look for its holder.
    package static func lockPosition(of role: Role) -> Int64 { RoleLock.offset(of: role) }
}

/// A role, held as a write lock on one byte of the region's file.
///
/// The lock belongs to an open file description of its own, made by opening the file again through /proc/self/fd. So two
/// owners in one process exclude each other too, descriptors that children inherited do not matter, and the kernel drops
/// the lock when the process ends in whatever way. The bytes lie far beyond any file's end, where they meet nobody.
@usableFromInline
struct RoleLock: ~Copyable {
    /// Nil for a role that an open file of the device holds.
    private let file: FileDescriptor?

    static func offset(of role: Ring.Role) -> Int64 {
        let base: Int64 = 1 << 62
        return switch role {
        case .producer: base
        case .consumer: base + 1
        }
    }

    /// Throws ``RingError/alreadyTaken(_:)`` or ``RingError/system(call:errno:)``.
    static func take(_ role: Ring.Role, of lock: FileDescriptor) throws(RingError) -> RoleLock {
        let file = try reopen(lock)
        let taken = RoleLock(file: file)
        if pfs_ofd_lock_byte(file.rawValue, offset(of: role)) != 0 {
            let code = Errno(rawValue: errno)
            if code == .resourceTemporarilyUnavailable || code == .permissionDenied {
                throw .alreadyTaken(role)
            }
            throw .system(call: "fcntl(F_OFD_SETLK)", errno: code)
        }
        return taken
    }

    /// The lock of a role that an open file of the device holds: nothing to do.
    static var none: RoleLock { RoleLock(file: nil) }

    private init(file: FileDescriptor?) {
        self.file = file
    }

    private static func reopen(_ file: FileDescriptor) throws(RingError) -> FileDescriptor {
        let path = "/proc/self/fd/\(file.rawValue)"
        do {
            return try FileDescriptor.open(path, .readWrite, options: .closeOnExec)
        } catch {
            throw .system(call: "open(\(path))", errno: error as? Errno ?? .ioError)
        }
    }

    deinit {
        guard let file else { return }
        // Closing alone would leave the lock with a child that is just being started and has this descriptor until it
        // executes its program. Nothing can be done about a failure; at the latest the end of the processes helps.
        _ = pfs_ofd_unlock(file.rawValue)
        try? file.close()
    }
}
