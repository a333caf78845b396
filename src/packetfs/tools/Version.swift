/// The version of PacketFS that the tools report.
public enum PacketFSVersion {
    /// Semantic version; `-dev` until released.
    public static let current = "0.1.0-dev"
}
