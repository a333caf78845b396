import CPacketFS

/// The version of PacketFS that the tools report.
public enum PacketFSVersion {
    /// Semantic version; `-dev` until released. packetfs.h states it, for C and for everything else.
    public static let current = PFS_VERSION
}
