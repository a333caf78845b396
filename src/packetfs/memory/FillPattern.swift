/// The deterministic contents of a blob: a counter-based generator, so that any byte can be computed by itself.
///
/// Word `i` (8 bytes, little endian, at position `8 * i`) of seed `s` is the output number `i` of SplitMix64 started with
/// state `s` (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014).
public enum FillPattern {
    private static let increment: UInt64 = 0x9E37_79B9_7F4A_7C15

    /// The word at position `8 * index`.
    public static func word(seed: UInt64, index: UInt64) -> UInt64 {
        mixed(seed &+ (index &+ 1) &* increment)
    }

    /// The byte at `position`, 0 or more.
    public static func byte(seed: UInt64, position: Int) -> UInt8 {
        UInt8(truncatingIfNeeded: word(seed: seed, index: UInt64(position >> 3)) >> UInt64((position & 7) * 8))
    }

    @inline(__always)
    private static func mixed(_ state: UInt64) -> UInt64 {
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// Writes the bytes of positions `position..<position + target.count`.
    static func fill(_ target: UnsafeMutableRawBufferPointer, seed: UInt64, position: Int) {
        let head = min(-position & 7, target.count)
        for i in 0..<head { target[i] = byte(seed: seed, position: position + i) }
        let words = (target.count - head) / 8
        if words > 0, let base = target.baseAddress {
            let first = base + head
            var state = seed &+ UInt64((position + head) / 8) &* increment
            for i in 0..<words {
                state &+= increment
                first.storeBytes(of: mixed(state).littleEndian, toByteOffset: i &* 8, as: UInt64.self)
            }
        }
        for i in head + words * 8..<target.count { target[i] = byte(seed: seed, position: position + i) }
    }
}
