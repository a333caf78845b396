import CPacketFSShims
import Glibc
import SystemPackage

// Blobs that are files in a folder of hugetlbfs or tmpfs.

extension HugeBlob {
    /// Creates a blob as a file in a folder of hugetlbfs or tmpfs, for processes that are no relatives. The file appears under
    /// its name, with mode 0600, only when all of it is allocated, and never replaces another; a process that dies before
    /// leaves nothing behind. It stays until ``remove(named:in:)``.
    ///
    /// - Parameters:
    ///   - name: 1 to 255 letters, digits, `.`, `_` or `-`, the first one not a dot. Nil takes the folder's memory without
    ///     ever giving it a name: it is freed with the last process that has it, as a memfd is.
    ///   - directory: an existing folder. Its file system decides on the pages: a hugetlbfs has pages of one size, a tmpfs
    ///     gives transparent huge pages where it was mounted with `huge=`. A demand in `pages` that this cannot meet fails.
    ///   - byteCount: size in bytes, at least 1.
    ///   - pages: see above; `.automatic` takes what the folder has.
    ///   - numa: where to place the pages.
    /// - Throws: as ``create(byteCount:pages:numa:)``; a system error with EEXIST when the name is taken;
    ///   ``MemoryError/notUsable(subject:reason:)`` for a folder on a disk.
    public static func create(
        named name: String?, in directory: FilePath, byteCount: Int, pages: PagePreference = .automatic,
        numa: NUMAPolicy = .systemDefault
    ) throws(MemoryError) -> HugeBlob {
        try requirePositive(byteCount)
        if let name { try RegionFolder.validate(name: name, of: "blob") }
        try numa.validate()
        let folder = try RegionFolder.open(directory)
        let system = try FileSystem(folder.value, directory.string)
        // Found out now rather than after filling gigabytes; the link below decides.
        if let name, faccessat(folder.value.rawValue, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0 {
            throw .system(call: "create", subject: directory.appending(name).string, errno: .fileExists)
        }
        try require(pages, from: system, directory)
        let whole = try wholePages(byteCount, system.pageSize)
        let file = try OwnedDescriptor(pfs_open_nameless(folder.value.rawValue), "open(O_TMPFILE)", directory.string)
        let fileNumber = file.value.rawValue
        let mapping =
            system.kind == .hugetlbfs
            ? try hugetlbMapping(file, whole, try pool(system.pageSize), numa)
            : try tmpfsMapping(file, whole, system, directory, pages, numa)
        let blob = HugeBlob(mapping, pageSize: system.pageSize, byteCount: byteCount)
        if pages == .transparent { try blob.requireTransparent(in: directory) }
        if let name, pfs_link_nameless(fileNumber, folder.value.rawValue, name) != 0 {
            throw .last("link", directory.appending(name).string)
        }
        return blob
    }

    /// Opens a blob that another process created by name, without touching its pages.
    ///
    /// - Parameters:
    ///   - name: its name.
    ///   - directory: the folder it is in.
    ///   - byteCount: the size with which it was created; nil takes the file's, which is rounded up to whole pages.
    /// - Throws: a system error (ENOENT: no such blob; EACCES: somebody else's); ``MemoryError/notUsable(subject:reason:)``
    ///   for a file that no blob can be; ``MemoryError/outOfRange(what:lowerBound:upperBound:limit:)`` when it is smaller.
    public static func open(
        named name: String, in directory: FilePath, byteCount: Int? = nil
    ) throws(MemoryError) -> HugeBlob {
        try RegionFolder.validate(name: name, of: "blob")
        let folder = try RegionFolder.open(directory)
        let path = directory.appending(name).string
        let file = try OwnedDescriptor(pfs_open_existing(folder.value.rawValue, name), "open", path)
        let (base, size, pageSize, count) = try attach(file.value, byteCount, path)
        return HugeBlob(Mapping(base: base, byteCount: size, file: file), pageSize: pageSize, byteCount: count)
    }

    /// Removes the name. Processes that have the blob keep it; the memory is freed when the last of them goes.
    ///
    /// - Throws: a system error: ENOENT when there is no such file.
    public static func remove(named name: String, in directory: FilePath) throws(MemoryError) {
        try RegionFolder.validate(name: name, of: "blob")
        try RegionFolder.remove(name, from: directory)
    }

    /// Refuses a demand that the folder's file system cannot meet.
    private static func require(
        _ pages: PagePreference, from system: FileSystem, _ directory: FilePath
    ) throws(MemoryError) {
        let demanded: Int? =
            switch pages {
            case .huge1G: 1 << 30
            case .huge2M: 2 << 20
            default: nil
            }
        switch system.kind {
        case .other:
            throw .notUsable(subject: directory.string, reason: "it lies on a disk; a tmpfs or hugetlbfs is needed")
        case .hugetlbfs:
            guard pages != .automatic, demanded != system.pageSize else { return }
            throw .unavailable(
                what: "pages \"\(pages.rawValue)\" in \(directory)",
                remedy:
                    "it is a hugetlbfs with pages of \(formatPageSize(system.pageSize)); choose these or another folder"
            )
        case .tmpfs:
            guard let demanded else { return }
            throw .unavailable(
                what: "\(formatPageSize(demanded)) pages in the tmpfs \(directory)",
                remedy:
                    "choose a hugetlbfs folder: `sudo mount -t hugetlbfs -o pagesize=\(demanded >> 20)M hugetlbfs FOLDER`"
            )
        }
    }

    private static func tmpfsMapping(
        _ file: consuming OwnedDescriptor, _ whole: Int, _ system: FileSystem, _ directory: FilePath,
        _ pages: PagePreference, _ numa: NUMAPolicy
    ) throws(MemoryError) -> Mapping {
        try AvailableMemory.require(whole, numa)
        let mapping = try Mapping(sizing: file, to: whole, alignment: alignment(whole))
        try numa.apply(to: mapping.base, byteCount: whole, pageSize: Int(getpagesize()))
        mapping.adviseHugePages(pages != .small)
        do throws(MemoryError) {
            do throws(MemoryError) {
                try mapping.populate(0..<whole)
            } catch .system(_, _, .badAddress) {
                // What would be SIGBUS on a write. Allocating by another way says why: ENOSPC, the tmpfs is full. (Not the
                // first way, because fallocate does not know that this mapping wants huge pages.)
                try mapping.allocate(0..<whole)
                try mapping.populate(0..<whole)
            }
        } catch .system(_, _, .noSpace) {
            throw .shortage(
                of: "room in \(directory)", needed: whole, free: system.freeBytes, unit: "bytes",
                remedy: "remove files there or enlarge it: `sudo mount -o remount,size=BYTES \(directory)`")
        }
        return mapping
    }
}
