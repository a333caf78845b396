import SystemPackage

/// Why a ring could not be created, attached to, used or waited on.
public enum RingError: Error, Hashable, CustomStringConvertible {
    /// The region holds no ring yet: nobody created one, or that is still under way. Try again later.
    case notReady
    /// The ring was created by a release that lays it out differently.
    case wrongVersion(found: UInt32)
    /// The region contradicts itself: damaged, not a ring, or written by a peer that does not keep the rules.
    case corrupt(reason: String)
    /// Another process, or another owner in this one, holds the role.
    case alreadyTaken(Ring.Role)
    /// The caller asked for a ring that cannot exist.
    case invalidGeometry(reason: String)
    /// The mapping is shorter than the ring in it, or than the ring that was to be put there; both in bytes.
    case regionTooSmall(needed: UInt64, found: UInt64)
    /// The mapping does not start at a multiple of `PFS_FP_LINE` bytes.
    case misalignedRegion
    /// The record does not fit into the slab even when it is empty; both in bytes.
    case recordTooLarge(byteCount: Int, slabByteCount: Int)
    /// A system call failed.
    case system(call: String, errno: Errno)

    /// What is wrong, where, and what to do.
    public var description: String {
        switch self {
        case .notReady:
            "the ring is not ready: its region holds none yet; create it, or attach again a little later"
        case .wrongVersion(let found):
            "the ring has layout version \(found), this program speaks version \(Ring.version); "
                + "use the same release on both sides"
        case .corrupt(let reason):
            "the ring is corrupt: \(reason); stop both sides and create the ring anew"
        case .alreadyTaken(let role):
            "the ring already has a \(role); each ring takes one, so end the other one or use another ring"
        case .invalidGeometry(let reason):
            "no ring can have this shape: \(reason)"
        case .regionTooSmall(let needed, let found):
            "the ring needs a region of \(needed) bytes, but \(found) bytes are mapped"
        case .misalignedRegion:
            "the ring's region must be mapped at a multiple of \(Ring.lineByteCount) bytes"
        case .recordTooLarge(let byteCount, let slabByteCount):
            "a record of \(byteCount) bytes can never fit into a slab of \(slabByteCount) bytes; "
                + "make the slab larger or the record smaller"
        case .system(let call, let errno):
            "\(call) failed on the ring: \(errno)"
        }
    }
}
