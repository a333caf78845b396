import PacketFSMemory

/// The bytes that payload frames carry, so that a receiver that knows the seed can compare.
///
/// Frame number s carries the bytes of the seed's `FillPattern` (PacketFSMemory) from position 64 * (s mod 64) on: 64 different
/// windows into 68 KiB, which stay in a CPU's cache. A sender whose buffer still holds the window of s may leave it there and
/// write the header alone.
public final class PayloadWindows: Sendable {
    /// Windows until they repeat.
    public static let count = 64
    /// The longest window in bytes.
    public static let maximumByteCount = 1 << 16

    nonisolated(unsafe) private let memory: UnsafeMutableRawBufferPointer

    /// The windows of a seed.
    public init(seed: UInt64) {
        memory = .allocate(byteCount: (Self.count - 1) * 64 + Self.maximumByteCount, alignment: 64)
        for index in 0..<memory.count / 8 {
            let word = FillPattern.word(seed: seed, index: UInt64(index))
            memory.storeBytes(of: word.littleEndian, toByteOffset: index * 8, as: UInt64.self)
        }
    }

    deinit { memory.deallocate() }

    /// Which window frame `sequence` carries: 0 to 63.
    @inlinable
    public static func index(of sequence: UInt64) -> Int { Int(truncatingIfNeeded: sequence & UInt64(count - 1)) }

    /// The `byteCount` bytes (at most 65,536, precondition) that frame `sequence` carries. Valid while this object lives.
    public func window(of sequence: UInt64, byteCount: Int) -> UnsafeRawBufferPointer {
        precondition(0...Self.maximumByteCount ~= byteCount, "no window is that long")
        return UnsafeRawBufferPointer(rebasing: memory[(Self.index(of: sequence) * 64)...].prefix(byteCount))
    }
}
