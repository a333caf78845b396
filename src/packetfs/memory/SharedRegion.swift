import CPacketFSShims
import Glibc
import SystemPackage

/// A small piece of shared memory for rings and counters: a sealed memfd on ordinary pages, or whatever a descriptor maps at
/// offset 0 (a file in memory, a character device).
///
/// The owner is unique: when it goes, the memory is unmapped and the descriptor closed. Any thread may call anything;
/// ordering is the business of what is built on top.
public struct SharedRegion: ~Copyable, Sendable {
    private let mapping: Mapping
    /// Size in bytes, as asked for.
    public let byteCount: Int

    private init(_ mapping: consuming Mapping, byteCount: Int) {
        self.mapping = mapping
        self.byteCount = byteCount
    }

    /// The first byte, aligned to a page. Valid as long as the region.
    public var base: UnsafeMutableRawPointer { mapping.base }

    /// The descriptor, to be inherited by processes that map the region. Stays the region's property: do not close it.
    public var fileDescriptor: FileDescriptor { mapping.descriptor }

    /// Creates a region of zeros: a memfd, close-on-exec, its size sealed, all of it allocated and mapped.
    ///
    /// - Parameters:
    ///   - byteCount: size in bytes, at least 1; the file is rounded up to whole pages.
    ///   - name: what /proc shows, up to 249 bytes; it need not be unique.
    ///   - numa: where to place the pages.
    /// - Throws: ``MemoryError/shortage(of:needed:free:unit:remedy:)`` when memory is short,
    ///   ``MemoryError/unavailable(what:remedy:)`` for nodes that this machine does not have,
    ///   ``MemoryError/invalid(argument:value:reason:)`` for a size below 1, system errors.
    public static func create(
        byteCount: Int, name: String, numa: NUMAPolicy = .systemDefault
    ) throws(MemoryError) -> SharedRegion {
        try requirePositive(byteCount)
        try numa.validate()
        let whole = try wholePages(byteCount, Int(getpagesize()))
        try AvailableMemory.require(whole)
        let file = try OwnedDescriptor(pfs_memfd_create(name, 0), "memfd_create", name)
        let mapping = try Mapping(sizing: file, to: whole)
        try numa.apply(to: mapping.base, byteCount: whole, pageSize: Int(getpagesize()))
        mapping.adviseHugePages(false)
        try mapping.populate(0..<whole)
        try mapping.seal()
        return SharedRegion(mapping, byteCount: byteCount)
    }

    /// Maps a descriptor that came from elsewhere, and touches nothing. The descriptor is made close-on-exec and, where that
    /// is still open, sealed against shrinking.
    ///
    /// - Parameters:
    ///   - descriptor: a fully allocated file in memory or a character device. It belongs to the region from now on; after
    ///     an error it is still the caller's.
    ///   - byteCount: how much to map; nil takes the file's size. A device has none: say how much.
    /// - Throws: ``MemoryError/notUsable(subject:reason:)`` for other kinds of descriptors,
    ///   ``MemoryError/outOfRange(what:lowerBound:upperBound:limit:)`` when the file is smaller, system errors (a device
    ///   refuses sizes that it does not have with EINVAL).
    public static func map(_ descriptor: FileDescriptor, byteCount: Int? = nil) throws(MemoryError) -> SharedRegion {
        let subject = "descriptor \(descriptor.rawValue)"
        let count: Int
        let whole: Int
        switch try SharedFile(descriptor, subject) {
        case .memory(let held, let pageSize, _):
            count = try SharedFile.byteCount(byteCount, of: held, subject)
            whole = try wholePages(count, pageSize)
        case .device:
            guard let byteCount else {
                throw .invalid(argument: "size", value: "nil", reason: "\(subject) is a device: say how much to map")
            }
            try requirePositive(byteCount)
            count = byteCount
            whole = try wholePages(count, Int(getpagesize()))
        }
        SharedFile.protect(descriptor)
        let base = try Mapping.map(descriptor, byteCount: whole)
        let file = OwnedDescriptor(descriptor)
        return SharedRegion(Mapping(base: base, byteCount: whole, file: file), byteCount: count)
    }
}
