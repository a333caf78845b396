/// A range of bytes in the blob: the unit of data that a program is applied to.
///
/// Wire layout (`PfsGramDesc`): 16 bytes, little endian, no padding: `u64 offset`, `u32 len`, `u32 flags`. The layout of
/// this struct is the wire layout, so a table of descriptors is read and written in place.
@frozen
public struct Descriptor: Sendable, Hashable {
    /// First byte of the range, counted from the start of the blob. Normally 64-byte aligned; any value is legal.
    public var offset: UInt64
    /// Length of the range in bytes; 0 is legal and means no bytes.
    public var length: UInt32
    /// Reserved; writers set 0 and readers reject anything else.
    public var flags: UInt32

    /// Makes a descriptor; nothing is checked here, see ``fits(in:)``.
    @inlinable
    public init(offset: UInt64, length: UInt32, flags: UInt32 = 0) {
        self.offset = offset
        self.length = length
        self.flags = flags
    }

    /// Whether the range lies inside a blob of `size` bytes and the reserved flags are zero. Cannot overflow.
    @inlinable
    public func fits(in size: UInt64) -> Bool {
        flags == 0 && UInt64(length) <= size && offset <= size - UInt64(length)
    }
}
