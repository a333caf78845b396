import CPacketFSShims
import Glibc
import PacketFSUAPI
import SystemPackage

/// One open file of /dev/pfs_fastpath: a region that the kernel keeps for two processes that are no relatives.
///
/// The semantics stand in `uapi/pfs_fastpath.h`. In the usual order: ``create(_:)`` on one side, ``attach(_:)``, ``info()``, map the
/// file, attach to the ring with ``RingProducer/init(attaching:byteCount:device:)`` or its counterpart. The kernel gives the role back
/// when the file is closed and unmapped, however the process ends.
///
/// A view: it does not own the descriptor, which must stay open as long as what was attached through it. Any thread may
/// call anything.
public struct RingDevice: Sendable {
    /// The open file.
    public let descriptor: FileDescriptor

    /// Uses a file that was opened for reading and writing. Nothing is checked: a file of another kind makes the calls fail
    /// with ENOTTY.
    public init(_ descriptor: FileDescriptor) {
        self.descriptor = descriptor
    }

    /// What the kernel knows of the region.
    public struct Info: Sendable, Hashable {
        /// Whether there is a region.
        public let isReady: Bool
        /// Whether the region that this file is bound to has been reset since.
        public let isStale: Bool
        /// Bytes to map; 0 without a region.
        public let mapByteCount: Int
        /// Mappings of it, in all processes.
        public let mappings: Int
        /// Slots of the ring, and bytes of its slab.
        public let slots: UInt32, slabByteCount: UInt64
        /// Counts the channel's regions from 1 on.
        public let generation: UInt64
        /// The limits for ``RingDevice/create(_:)``.
        public let maximumSlots: UInt32, maximumRegionByteCount: UInt64
        private let held: UInt32
        private let mine: UInt32

        fileprivate init(_ info: pfs_fp_info) {
            isReady = info.flags & PFS_FP_INFO_READY != 0
            isStale = info.flags & PFS_FP_INFO_STALE != 0
            mapByteCount = Int(clamping: info.map_bytes)
            mappings = Int(info.mappings)
            slots = info.slots
            slabByteCount = info.slab_bytes
            generation = info.generation
            maximumSlots = info.max_slots
            maximumRegionByteCount = info.max_region_bytes
            held = info.roles_held
            mine = info.roles_mine
        }

        /// Whether some file, be it this one, holds the role.
        public func isTaken(_ role: Ring.Role) -> Bool { held & RingDevice.bit(role) != 0 }
        /// Whether this file holds the role.
        public func isMine(_ role: Ring.Role) -> Bool { mine & RingDevice.bit(role) != 0 }
        /// Whether nobody holds a role or has it mapped.
        public var isIdle: Bool { held == 0 && mappings == 0 }
    }

    /// Creates the channel's region, with an empty ring in it; false if there is a region already.
    ///
    /// Throws ``RingError/system(call:errno:)``: EFBIG or ENOSPC above the module's limits, ENOBUFS above the user's limit of
    /// locked memory (RLIMIT_MEMLOCK), ENOMEM, ENOTTY for another kind of file.
    public func create(_ geometry: RingGeometry) throws(RingError) -> Bool {
        var setup = pfs_fp_setup(ring_bytes: geometry.regionByteCount, slots: geometry.slots, flags: 0)
        do throws(RingError) {
            try call(PFS_FP_IOC_SETUP, "PFS_FP_IOC_SETUP", &setup)
            return true
        } catch .system(_, .fileExists) {
            return false
        }
    }

    /// Removes the region from the channel; false if somebody uses it, or there is none.
    ///
    /// Throws ``RingError/system(call:errno:)``.
    public func remove() throws(RingError) -> Bool {
        var flags: UInt32 = 0
        do throws(RingError) {
            try call(PFS_FP_IOC_RESET, "PFS_FP_IOC_RESET", &flags)
            return true
        } catch {
            switch error {
            case .system(_, .resourceBusy), .system(_, .noSuchAddressOrDevice), .system(_, .staleNFSFileHandle):
                return false
            default: throw error
            }
        }
    }

    /// Claims a role until the file is closed and unmapped.
    ///
    /// Throws ``RingError/notReady`` without a region, ``RingError/alreadyTaken(_:)``, or ``RingError/system(call:errno:)``, with
    /// ESTALE when the region to which the file is bound has been reset.
    public func attach(_ role: Ring.Role) throws(RingError) {
        var bit = Self.bit(role)
        do throws(RingError) {
            try call(PFS_FP_IOC_ATTACH, "PFS_FP_IOC_ATTACH", &bit)
        } catch {
            switch error {
            case .system(_, .noSuchAddressOrDevice): throw .notReady
            case .system(_, .resourceBusy): throw .alreadyTaken(role)
            case .system(_, .alreadyInProcess): return
            default: throw error
            }
        }
    }

    /// What the kernel knows now. Throws ``RingError/system(call:errno:)``.
    public func info() throws(RingError) -> Info {
        var info = pfs_fp_info()
        try call(PFS_FP_IOC_INFO, "PFS_FP_IOC_INFO", &info)
        return Info(info)
    }

    private func call(_ request: pfs_fp_ioc, _ name: String, _ argument: UnsafeMutableRawPointer) throws(RingError) {
        guard pfs_ioctl(descriptor.rawValue, request.rawValue, argument) == 0 else {
            throw .system(call: name, errno: Errno(rawValue: errno))
        }
    }

    static func bit(_ role: Ring.Role) -> UInt32 {
        role == .producer ? PFS_FP_ROLE_PRODUCER : PFS_FP_ROLE_CONSUMER
    }
}

/// Sleeping and waking on the device, in whose memory futexes do not work.
@usableFromInline
struct DeviceDoorbell: Sendable {
    let device: RingDevice
    /// The side that sleeps.
    let sleeper: Ring.Role

    /// Sleeps until the word is not 1 any more, for at most that many nanoseconds (below 0: without limit).
    func sleep(nanoseconds: Int64) -> Doorbell.WakeReason {
        var wait = pollfd(
            fd: device.descriptor.rawValue, events: Int16(sleeper == .consumer ? POLLIN : POLLOUT), revents: 0)
        // Rounded up, so that a rest below a millisecond does not become a busy loop.
        let milliseconds = nanoseconds < 0 ? -1 : Int32(clamping: (nanoseconds + 999_999) / 1_000_000)
        let result = poll(&wait, 1, milliseconds)
        if result < 0 { return errno == EINTR ? .interrupted : .rung }
        if result == 0 { return .timedOut }
        if wait.revents & Int16(POLLERR | POLLHUP | POLLNVAL) != 0 {
            // The region was reset, or the role is gone: nobody will ring any more, and poll does not wait.
            usleep(1000)
        }
        return .rung
    }

    /// Wakes whoever sleeps. The word is 0 already.
    @usableFromInline
    func wake() {
        var role = RingDevice.bit(sleeper)
        _ = pfs_ioctl(device.descriptor.rawValue, PFS_FP_IOC_DOORBELL.rawValue, &role)
    }
}
