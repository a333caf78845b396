extension CRC32C {
    /// Joins checksums of consecutive ranges, the second of which always has the same length: ``combine(_:_:lengthB:)`` with
    /// the part that depends on the length done once.
    public struct Joiner: Sendable {
        private let power: UInt32

        /// For second ranges of `lengthB` bytes.
        public init(lengthB: UInt64) { power = CRC32C.power(ofBytes: lengthB) }

        /// The checksum of two ranges one after the other, from those of each.
        public func combine(_ a: UInt32, _ b: UInt32) -> UInt32 { CRC32C.multiply(a, power) ^ b }
    }
}
