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

    /// Maps a descriptor that came from elsewhere, and touches nothing. A memfd is sealed against shrinking first, so that nobody
    /// can cut pages off under a reader; other files cannot be sealed, and their owners are trusted not to shorten them. The
    /// descriptor is made close-on-exec.
    ///
    /// - Parameters:
    ///   - descriptor: a fully allocated file in memory or a character device. It belongs to the region from now on; after
    ///     an error it is still the caller's.
    ///   - byteCount: how much to map; nil takes the file's size. A device has none: say how much.
    /// - Throws: ``MemoryError/notUsable(subject:reason:)`` for other kinds of descriptors and for a memfd that cannot be sealed,
    ///   ``MemoryError/outOfRange(what:lowerBound:upperBound:limit:)`` when the file is smaller, system errors (a device
    ///   refuses sizes that it does not have with EINVAL).
    public static func adopt(_ descriptor: FileDescriptor, byteCount: Int? = nil) throws(MemoryError) -> SharedRegion {
        let subject = "descriptor \(descriptor.rawValue)"
        let count: Int
        let whole: Int
        switch try SharedFile(sealing: descriptor, subject) {
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
        let base = try Mapping.map(descriptor, byteCount: whole)
        SharedFile.closeOnExec(descriptor)
        let file = OwnedDescriptor(descriptor)
        return SharedRegion(Mapping(base: base, byteCount: whole, file: file), byteCount: count)
    }
}

// MARK: - Named regions

extension SharedRegion {
    /// Creates a region of zeros in a folder of tmpfs or hugetlbfs, for processes that are no relatives; all of it is
    /// allocated and mapped. It has no name yet, so nobody sees it half made, and nothing is left of it should the process
    /// end here: prepare it, then ``publish(as:in:)`` it.
    ///
    /// - Parameters:
    ///   - byteCount: size in bytes, at least 1; the file is rounded up to whole pages of the folder's kind.
    ///   - directory: an existing folder.
    /// - Throws: ``MemoryError/notUsable(subject:reason:)`` for a folder on a disk,
    ///   ``MemoryError/shortage(of:needed:free:unit:remedy:)`` when memory, room or huge pages are short,
    ///   ``MemoryError/invalid(argument:value:reason:)`` for a size below 1, system errors.
    public static func create(byteCount: Int, in directory: FilePath) throws(MemoryError) -> SharedRegion {
        try requirePositive(byteCount)
        let folder = try RegionFolder.open(directory)
        let system = try RegionFolder.memory(directory, folder)
        let whole = try wholePages(byteCount, system.pageSize)
        if system.kind == .tmpfs { try AvailableMemory.require(whole) }
        let file = try OwnedDescriptor(pfs_open_nameless(folder.value.rawValue), "open(O_TMPFILE)", directory.string)
        do throws(MemoryError) {
            let mapping = try Mapping(sizing: file, to: whole)
            try mapping.allocate(0..<whole)
            try mapping.populate(0..<whole)
            return SharedRegion(mapping, byteCount: byteCount)
        } catch {
            guard case .system(_, _, let errno) = error, errno == .noSpace || errno == .noMemory else { throw error }
            if system.kind == .hugetlbfs, let pool = HugePagePool(pageSize: system.pageSize) {
                throw pool.shortage(needed: whole / system.pageSize)
            }
            throw .shortage(
                of: "room in \(directory)", needed: whole, free: system.freeBytes, unit: "bytes",
                remedy: "remove files there or enlarge it: `sudo mount -o remount,size=BYTES \(directory)`")
        }
    }

    /// Gives a region that ``create(byteCount:in:)`` made its name, with mode 0600. It stays until
    /// ``remove(named:in:)``.
    ///
    /// - Parameters:
    ///   - name: 1 to 255 letters, digits, `.`, `_` or `-`, the first one not a dot.
    ///   - directory: the folder in which it was created, or another of the same file system.
    /// - Throws: ``MemoryError/invalid(argument:value:reason:)`` for another name; a system error, with EEXIST when the
    ///   name is taken.
    public func publish(as name: String, in directory: FilePath) throws(MemoryError) {
        try RegionFolder.validate(name: name, of: "region")
        try RegionFolder.link(fileDescriptor, as: name, in: directory)
    }

    /// Opens and maps the region of that name, without touching it.
    ///
    /// - Throws: as ``adopt(_:byteCount:)``; a system error (ENOENT: no such region; EACCES: somebody else's).
    public static func open(named name: String, in directory: FilePath) throws(MemoryError) -> SharedRegion {
        try RegionFolder.validate(name: name, of: "region")
        let file = try RegionFolder.openFile(name, in: directory)
        let region = try adopt(file.value)
        file.giveAway()  // to the region
        return region
    }

    /// Removes the name. Processes that have the region keep it; the memory is freed when the last of them goes.
    ///
    /// - Throws: ``MemoryError/invalid(argument:value:reason:)``; a system error: ENOENT when there is no such file.
    public static func remove(named name: String, in directory: FilePath) throws(MemoryError) {
        try RegionFolder.validate(name: name, of: "region")
        try RegionFolder.remove(name, from: directory)
    }
}
