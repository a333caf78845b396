/// CRC-32C (Castagnoli) of plain byte ranges, and its algebra.
///
/// Reflected polynomial 0x82F63B78, initial and final complement (RFC 3720 section 12.1).
public enum CRC32C {
    /// The polynomial, reflected: bit 31 is the coefficient of x^0; that of x^32 is implied.
    static let polynomial: UInt32 = 0x82F6_3B78

    /// The checksum of `bytes`, in plain Swift.
    public static func checksum(_ bytes: UnsafeRawBufferPointer) -> UInt32 { ~update(.max, bytes) }

    /// The checksum of two ranges one after the other, from their checksums and the length of the second, in time that
    /// grows with the logarithm of that length.
    ///
    /// `combine(checksum(a), checksum(b), lengthB: b.count) == checksum(a + b)`.
    public static func combine(_ a: UInt32, _ b: UInt32, lengthB: UInt64) -> UInt32 {
        // Appending n zero bytes multiplies a raw register by x^(8n); complements of a and b cancel in the sum.
        multiply(a, power(ofBytes: lengthB)) ^ b
    }

    /// Continues a raw register (no complements) over `bytes`, eight bytes at a time.
    static func update(_ register: UInt32, _ bytes: UnsafeRawBufferPointer) -> UInt32 {
        tables.withUnsafeBufferPointer { tables in
            var crc = register
            var i = 0
            while i + 8 <= bytes.count {
                let word = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: i, as: UInt64.self)) ^ UInt64(crc)
                crc = 0
                for lane in 0..<8 {
                    crc ^= tables[(7 - lane) * 256 + Int(truncatingIfNeeded: (word >> (8 * UInt64(lane))) & 0xFF)]
                }
                i += 8
            }
            while i < bytes.count {
                crc = tables[Int((crc ^ UInt32(bytes[i])) & 0xFF)] ^ (crc >> 8)
                i += 1
            }
            return crc
        }
    }

    /// a * b modulo the polynomial, all three reflected.
    static func multiply(_ a: UInt32, _ b: UInt32) -> UInt32 {
        var product: UInt32 = 0
        var shifted = b
        for bit in 0..<32 {
            if a & (0x8000_0000 >> UInt32(bit)) != 0 { product ^= shifted }
            shifted = timesX(shifted)
        }
        return product
    }

    /// x^(8 * count) modulo the polynomial.
    static func power(ofBytes count: UInt64) -> UInt32 {
        var result: UInt32 = 0x8000_0000  // 1
        var square: UInt32 = 0x0080_0000  // x^8
        var remaining = count
        while remaining != 0 {
            if remaining & 1 != 0 { result = multiply(result, square) }
            square = multiply(square, square)
            remaining >>= 1
        }
        return result
    }

    private static func timesX(_ a: UInt32) -> UInt32 { (a & 1) != 0 ? (a >> 1) ^ polynomial : a >> 1 }

    /// Eight tables of 256: table k holds the register after a byte and k zero bytes.
    private static let tables: [UInt32] = {
        var tables = (0..<256).map { byte in (0..<8).reduce(UInt32(byte)) { crc, _ in timesX(crc) } }
        for k in 1..<8 {
            for byte in 0..<256 {
                let previous = tables[(k - 1) * 256 + byte]
                tables.append(tables[Int(previous & 0xFF)] ^ (previous >> 8))
            }
        }
        return tables
    }()
}
