import ArgumentParser
import Glibc
import PacketFSGram
import SystemPackage

/// What the work is done on: tables of descriptors.
struct Shape {
    /// Which one of those that are measured.
    let key: Key
    /// For people and for JSON, such as `64 KiB` or `64 x 64...319 B in 1.3 MB`.
    let name: String
    /// The tables, all of one size, one after the other.
    let descriptors: [Descriptor]
    /// Descriptors of a table.
    let perTable: Int
    /// The bytes of each table.
    let tableBytes: [Int]
    /// Bytes of the blob that the descriptors reach over.
    var extent: Int { descriptors.reduce(0) { max($0, Int($1.offset) + Int($1.length)) } }
}

extension Shape {
    /// The shapes that are measured, as the command line names them.
    enum Key: String, CaseIterable, ExpressibleByArgument {
        case b64 = "64B"
        case b192 = "192B"
        case b320 = "320B"
        case kib1 = "1K"
        case kib4 = "4K"
        case kib64 = "64K"
        case mib1 = "1M"
        case dram
        case tableL1 = "table-l1"
        case table
        case tableDRAM = "table-dram"

        /// Whether it is more than the caches hold.
        var isBeyondCaches: Bool { self == .dram || self == .tableDRAM }
        /// Whether it consists of tables of random descriptors.
        var isTable: Bool { self == .tableL1 || self == .table || self == .tableDRAM }

        /// The length of its ranges; nil where that depends on the machine or the shape is a table.
        fileprivate var size: Int? {
            switch self {
            case .b64: 64
            case .b192: 192
            case .b320: 320
            case .kib1: 1024
            case .kib4: 4096
            case .kib64: 65536
            case .mib1: 1 << 20
            case .dram, .tableL1, .table, .tableDRAM: nil
            }
        }
    }

    private init(key: Key, name: String, descriptors: [Descriptor], perTable: Int) {
        self.key = key
        self.name = name
        self.descriptors = descriptors
        self.perTable = perTable
        tableBytes = stride(from: 0, to: descriptors.count, by: perTable).map {
            descriptors[$0..<$0 + perTable].reduce(0) { $0 + Int($1.length) }
        }
    }

    /// - Parameters:
    ///   - key: which one.
    ///   - lastLevelCache: bytes of the largest cache; `dram` is four times that.
    ///   - range: bytes that `table-dram` lies in.
    init(_ key: Key, lastLevelCache: Int, range: Int) {
        switch key {
        case .tableL1: self.init(tables: key, in: 16 << 10, count: 64)
        case .table: self.init(tables: key, in: 1_300_000, count: 200)
        case .tableDRAM:
            // Go round tables for so long that nothing of a table is left in the caches when its turn comes again.
            self.init(tables: key, in: range, count: max(200, 4 * lastLevelCache / (64 * 192)))
        default: self.init(blocks: key, of: key.size ?? Self.beyond(lastLevelCache))
        }
    }

    /// The size of a range that the caches do not hold.
    static func beyond(_ lastLevelCache: Int) -> Int { (4 * lastLevelCache >> 20) << 20 }

    /// Ranges of one size: short ones as a table of several that together fit in the first-level cache.
    private init(blocks key: Key, of size: Int) {
        let count = size >= 16384 ? 1 : max(4, min(64, 16384 / size))
        let stride = (size + 63) / 64 * 64
        self.init(
            key: key, name: (count > 1 ? "\(count) x " : "") + Self.sizeName(size),
            descriptors: (0..<count).map { Descriptor(offset: UInt64($0 * stride), length: UInt32(size)) },
            perTable: count)
    }

    /// Tables of 64 descriptors as the runners draw them: 64 to 319 bytes, at multiples of 64 in the first `range` bytes.
    private init(tables key: Key, in range: Int, count: Int) {
        let perTable = 64
        let generator = RandomDescriptors(region: 0..<UInt64(range), alignment: 64, seed: 1, stream: 0)
        let descriptors = [Descriptor](unsafeUninitializedCapacity: count * perTable) { buffer, count in
            buffer.initialize(repeating: Descriptor(offset: 0, length: 0))
            generator.fill(buffer, from: 0)
            count = buffer.count
        }
        let place = range >= 1 << 30 ? "\(range >> 30) GiB" : Self.sizeName(range)
        self.init(key: key, name: "64 x 64...319 B in \(place)", descriptors: descriptors, perTable: perTable)
    }

    private static func sizeName(_ size: Int) -> String {
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
