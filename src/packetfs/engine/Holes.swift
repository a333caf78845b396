import CPacketFSShims
import Glibc
import SystemPackage

/// Where a sparse file has holes: ranges that read as zeros and take no room.
struct Holes {
    private let descriptor: FileDescriptor
    /// The hole found last.
    private var known: Range<UInt64> = 0..<0
    /// From the end of that hole up to here there is data.
    private var dataEnd: UInt64 = 0

    /// A file that takes as much room as it is long is not searched: on tmpfs, looking for a hole goes through all pages, which
    /// for one process on each CPU beside the pcores takes a tenth of the time. Should there be one all the same, zeros are read.
    init(of descriptor: FileDescriptor) {
        self.descriptor = descriptor
        var status = stat()
        if fstat(descriptor.rawValue, &status) == 0, Int(status.st_blocks) >= (Int(status.st_size) + 511) / 512 {
            dataEnd = .max
        }
    }

    /// The end of the hole that `offset` is in, or `offset` itself where there is data. Offsets must not go down.
    mutating func end(at offset: UInt64, fileByteCount: UInt64) -> UInt64 {
        if known.contains(offset) { return known.upperBound }
        if offset < dataEnd { return offset }
        let data = pfs_next_data(descriptor.rawValue, Int64(offset))
        if data < 0 {
            // ENXIO: nothing but a hole up to the end. Anything else: a file system that does not know holes.
            known = offset..<(errno == ENXIO ? fileByteCount : offset)
            if known.isEmpty { dataEnd = .max }
            return known.upperBound
        }
        known = offset..<UInt64(data)
        let hole = pfs_next_hole(descriptor.rawValue, data)
        dataEnd = hole < 0 ? .max : UInt64(hole)
        return known.isEmpty ? offset : known.upperBound
    }
}
