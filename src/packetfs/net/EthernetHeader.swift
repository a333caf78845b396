import PacketFSGram

/// A hardware address of six bytes.
public struct MACAddress: Sendable, Hashable, CustomStringConvertible {
    /// The address in the low 48 bits, its first byte uppermost.
    public let value: UInt64

    /// ff:ff:ff:ff:ff:ff.
    public static let broadcast = MACAddress(value: 0xFFFF_FFFF_FFFF)

    /// Makes an address from its low 48 bits.
    public init(value: UInt64) { self.value = value & 0xFFFF_FFFF_FFFF }

    /// Parses six bytes in hexadecimal, joined by colons; nil for anything else.
    public init?(_ text: String) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 6 else { return nil }
        var value: UInt64 = 0
        for part in parts {
            guard part.count == 2, part.allSatisfy(\.isHexDigit), let byte = UInt8(part, radix: 16) else { return nil }
            value = value << 8 | UInt64(byte)
        }
        self.value = value
    }

    /// Such as `02:00:00:00:00:01`.
    public var description: String {
        (0..<6).map { index in
            let digits = String(value >> UInt64(40 - 8 * index) & 0xFF, radix: 16)
            return digits.count == 1 ? "0" + digits : digits
        }.joined(separator: ":")
    }
}

/// The 14 bytes in front of a frame on Ethernet: destination, source, type.
public struct EthernetHeader: Sendable, Hashable {
    /// Bytes of the header.
    public static let byteCount = 14
    /// The fewest bytes of a frame without its check sequence; shorter ones are padded.
    public static let minimumFrameByteCount = 60

    /// Where the frame goes.
    public var destination: MACAddress
    /// Where it comes from.
    public var source: MACAddress

    /// Makes a header.
    public init(destination: MACAddress, source: MACAddress) {
        self.destination = destination
        self.source = source
    }

    /// Writes the header, with `FrameFormat.etherType`. Precondition: `memory` has 14 bytes.
    public func write(into memory: UnsafeMutableRawBufferPointer) {
        precondition(memory.count >= Self.byteCount, "memory too small for an Ethernet header")
        // Network byte order, most significant byte first.
        memory.storeBytes(of: (destination.value << 16 | source.value >> 32).bigEndian, as: UInt64.self)
        memory.storeBytes(of: UInt32(truncatingIfNeeded: source.value).bigEndian, toByteOffset: 8, as: UInt32.self)
        memory.storeBytes(of: FrameFormat.etherType.bigEndian, toByteOffset: 12, as: UInt16.self)
    }

    /// Whether `bytes` begin with an Ethernet header of type `FrameFormat.etherType`.
    @inlinable
    public static func announcesFrame(_ bytes: UnsafeRawBufferPointer) -> Bool {
        bytes.count >= byteCount
            && UInt16(bigEndian: bytes.loadUnaligned(fromByteOffset: 12, as: UInt16.self)) == FrameFormat.etherType
    }
}
