import Glibc
import PacketFSGram
import SystemPackage

/// What the work is done on: tables of descriptors.
struct Shape {
    /// For people and for JSON, such as `64 KiB` or `64 x 64...319 B in 1.3 MB`.
    let name: String
    /// Whether it is more than the caches hold.
    let isBeyondCaches: Bool
    /// The tables, all of one size, one after the other.
    let descriptors: [Descriptor]
    /// Descriptors of a table.
    let perTable: Int
    /// The bytes of the first table, about those of every other.
    var bytesPerTable: Int { descriptors[..<perTable].reduce(0) { $0 + Int($1.length) } }
    /// Bytes of the blob that the descriptors reach over.
    var extent: Int { descriptors.reduce(0) { max($0, Int($1.offset) + Int($1.length)) } }
}

extension Shape {
    /// Ranges of one size: short ones as a table of several that together fit in the first-level cache.
    static func blocks(of size: Int, lastLevelCache: Int) -> Shape {
        let count = size >= 16384 ? 1 : max(4, min(64, 16384 / size))
        let stride = (size + 63) / 64 * 64
        return Shape(
            name: (count > 1 ? "\(count) x " : "") + sizeName(size), isBeyondCaches: size > lastLevelCache,
            descriptors: (0..<count).map { Descriptor(offset: UInt64($0 * stride), length: UInt32(size)) },
            perTable: count)
    }

    /// Tables of 64 descriptors as the runners draw them: 64 to 319 bytes, at multiples of 64 in the first `range` bytes.
    static func randomTables(in range: Int, lastLevelCache: Int) -> Shape {
        let perTable = 64
        let isLarge = range > lastLevelCache
        // Go round tables for so long that nothing of a table is left in the caches when its turn comes again.
        let tables = isLarge ? max(200, 4 * lastLevelCache / (perTable * 192)) : 200
        let generator = RandomDescriptors(region: 0..<UInt64(range), alignment: 64, seed: 1, stream: 0)
        let descriptors = [Descriptor](unsafeUninitializedCapacity: tables * perTable) { buffer, count in
            buffer.initialize(repeating: Descriptor(offset: 0, length: 0))
            generator.fill(buffer, from: 0)
            count = buffer.count
        }
        let place = range >= 1 << 30 ? "\(range >> 30) GiB" : sizeName(range)
        return Shape(
            name: "64 x 64...319 B in \(place)", isBeyondCaches: isLarge, descriptors: descriptors, perTable: perTable)
    }

    static func sizeName(_ size: Int) -> String {
        switch size {
        case 1_300_000: "1.3 MB"
        case (1 << 20)...: "\(size >> 20) MiB"
        case 1024...: "\(size >> 10) KiB"
        default: "\(size) B"
        }
    }

    /// The size of the largest cache of the first CPU in bytes, as the kernel reports it; 32 MiB where it does not.
    static func lastLevelCache() -> Int {
        (0..<8).compactMap { index in
            let path = FilePath("/sys/devices/system/cpu/cpu0/cache/index\(index)/size")
            guard let file = try? FileDescriptor.open(path, .readOnly) else { return nil }
            defer { try? file.close() }
            var buffer = [UInt8](repeating: 0, count: 32)
            let count = (try? buffer.withUnsafeMutableBytes { try file.read(into: $0) }) ?? 0
            let text = String(decoding: buffer.prefix(count), as: UTF8.self)
            return Int(text.prefix { $0.isNumber }).map { $0 << (text.contains("M") ? 20 : 10) }
        }.max() ?? 32 << 20
    }
}
