import CPacketFSShims
import Glibc
import SystemPackage

/// A file descriptor that is closed when its owner goes.
struct OwnedDescriptor: ~Copyable {
    let value: FileDescriptor

    init(_ value: FileDescriptor) { self.value = value }

    /// Takes the result of a C call that returns a descriptor, or -1 with `errno`.
    init(_ result: CInt, _ call: String, _ subject: String) throws(MemoryError) {
        guard result >= 0 else { throw .last(call, subject) }
        value = FileDescriptor(rawValue: result)
    }

    /// Leaves the descriptor open: somebody else owns it now.
    consuming func giveAway() { discard self }

    deinit { try? value.close() }
}

/// A file mapped from its start, shared and writable, together with its descriptor: the one owner behind every kind of
/// shared memory here. Unmaps and closes when it goes.
///
/// Unchecked: the memory is shared with other processes anyway; whoever touches it keeps the order (see ``HugeBlob``).
struct Mapping: ~Copyable, @unchecked Sendable {
    let base: UnsafeMutableRawPointer
    /// Bytes mapped: whole pages.
    let byteCount: Int
    private let file: OwnedDescriptor

    var descriptor: FileDescriptor { file.value }

    /// Maps `byteCount` bytes, a multiple of the file's page size, at an address that is a multiple of `alignment` (a
    /// power of two; 1 leaves it to the kernel). Leaves the descriptor alone when it fails.
    static func map(
        _ descriptor: FileDescriptor, byteCount: Int, alignment: Int = 1
    ) throws(MemoryError) -> UnsafeMutableRawPointer {
        let subject = "\(byteCount) bytes of descriptor \(descriptor.rawValue)"
        let access = PROT_READ | PROT_WRITE
        guard alignment > 1 else {
            guard let base = mmap(nil, byteCount, access, MAP_SHARED, descriptor.rawValue, 0), base != MAP_FAILED else {
                throw .last("mmap", subject)
            }
            return base
        }
        // The kernel does not promise more than its small pages' alignment, and transparent huge pages need theirs:
        // reserve addresses with room to spare, map inside, give the rest back.
        let span = byteCount + alignment
        guard
            let reserved = mmap(nil, span, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0),
            reserved != MAP_FAILED
        else { throw .last("mmap", subject) }
        let head = -Int(bitPattern: reserved) & (alignment - 1)
        let base = mmap(reserved + head, byteCount, access, MAP_SHARED | MAP_FIXED, descriptor.rawValue, 0)
        guard let base, base != MAP_FAILED else {
            let error = MemoryError.last("mmap", subject)
            munmap(reserved, span)
            throw error
        }
        if head > 0 { munmap(reserved, head) }
        munmap(base + byteCount, alignment - head)
        return base
    }

    /// Takes over what ``map(_:byteCount:alignment:)`` returned, and the descriptor.
    init(base: UnsafeMutableRawPointer, byteCount: Int, file: consuming OwnedDescriptor) {
        self.base = base
        self.byteCount = byteCount
        self.file = file
    }

    /// Gives the file `byteCount` bytes and maps them.
    init(sizing file: consuming OwnedDescriptor, to byteCount: Int, alignment: Int = 1) throws(MemoryError) {
        guard ftruncate(file.value.rawValue, byteCount) == 0 else {
            throw .last("ftruncate", "\(byteCount) bytes of descriptor \(file.value.rawValue)")
        }
        base = try Mapping.map(file.value, byteCount: byteCount, alignment: alignment)
        self.byteCount = byteCount
        self.file = file
    }

    deinit { munmap(base, byteCount) }

    /// One system call does not span more than this, so that signals are handled in between: a fraction of a second even
    /// where a virtual machine gets its memory from the host page by page.
    private static let chunk = 64 << 20

    /// Allocates the pages of `range` (page-aligned offsets) and maps them into this process. Reports what would be a
    /// SIGBUS on a plain write as an error.
    func populate(_ range: Range<Int>) throws(MemoryError) {
        var offset = range.lowerBound
        while offset < range.upperBound {
            let count = min(Mapping.chunk, range.upperBound - offset)
            if madvise(base + offset, count, CInt(PFS_MADV_POPULATE_WRITE)) == 0 {
                offset += count
                continue
            }
            switch Errno.current {
            case .interrupted: continue
            case .invalidArgument:  // Linux before 5.14: the file is allocated, the page table fills on first touch
                try allocate(offset..<range.upperBound)
                return
            default: throw .last("madvise(MADV_POPULATE_WRITE)", "\(byteCount) bytes of shared memory")
            }
        }
    }

    /// Allocates the pages of `range` in the file without mapping them into this process.
    func allocate(_ range: Range<Int>) throws(MemoryError) {
        var offset = range.lowerBound
        while offset < range.upperBound {
            let count = min(Mapping.chunk, range.upperBound - offset)
            if pfs_fallocate(descriptor.rawValue, Int64(offset), Int64(count)) == 0 {
                offset += count
                continue
            }
            guard Errno.current == .interrupted else {
                throw .last("fallocate", "\(byteCount) bytes of shared memory")
            }
        }
    }

    /// Says whether transparent huge pages are wanted. Advice: a kernel without them refuses, and that is fine.
    func adviseHugePages(_ wanted: Bool) {
        madvise(base, byteCount, CInt(wanted ? PFS_MADV_HUGEPAGE : PFS_MADV_NOHUGEPAGE))
    }

    /// Makes the size of a memfd final, for everybody who has it: nobody can cut pages off under a reader.
    func seal() throws(MemoryError) {
        let seals = CInt(PFS_F_SEAL_SHRINK) | CInt(PFS_F_SEAL_GROW) | CInt(PFS_F_SEAL_SEAL)
        guard pfs_fcntl_seals(descriptor.rawValue, CInt(PFS_F_ADD_SEALS), seals) == 0 else {
            throw .last("fcntl(F_ADD_SEALS)", "descriptor \(descriptor.rawValue)")
        }
    }
}

/// What kind of shared-memory file a descriptor from somebody else refers to.
enum SharedFile {
    /// A file of tmpfs, hugetlbfs or memfd with `byteCount` bytes, all of them allocated.
    case memory(byteCount: Int, pageSize: Int, isHugetlb: Bool)
    /// A character device; its size is not known.
    case device

    /// Seals a memfd against shrinking, then looks at the descriptor, and refuses what would fail later: a memfd that cannot be
    /// sealed, other files, empty ones, and sparse ones, on which a full file system or a short pool would show as SIGBUS on
    /// the first touch. In this order: a size that is looked at before the seal may be cut before the file is mapped.
    init(sealing descriptor: FileDescriptor, _ subject: String) throws(MemoryError) {
        let isSealed = SharedFile.seal(descriptor)
        var status = stat()
        guard fstat(descriptor.rawValue, &status) == 0 else { throw .last("fstat", subject) }
        switch status.st_mode & S_IFMT {
        case S_IFCHR: self = .device
        case S_IFREG:
            let system = try FileSystem(descriptor, subject)
            guard system.kind != .other else {
                throw .notUsable(subject: subject, reason: "it lies on a disk; a memfd, tmpfs or hugetlbfs is needed")
            }
            if !isSealed, try SharedFile.isMemfd(status, system) {
                throw .notUsable(
                    subject: subject,
                    reason:
                        "its size cannot be sealed; create the memfd with MFD_ALLOW_SEALING, and pass it on for writing"
                )
            }
            guard status.st_size > 0 else { throw .notUsable(subject: subject, reason: "it is empty") }
            let held = Int(status.st_blocks) * 512
            guard held >= status.st_size else {
                throw .notUsable(
                    subject: subject, reason: "only \(held) of its \(status.st_size) bytes are allocated")
            }
            self = .memory(
                byteCount: status.st_size, pageSize: system.pageSize, isHugetlb: system.kind == .hugetlbfs)
        default: throw .notUsable(subject: subject, reason: "it is not a file in memory")
        }
    }

    /// `asked` when it fits into `held` bytes; all of them when nothing was asked.
    static func byteCount(_ asked: Int?, of held: Int, _ what: String) throws(MemoryError) -> Int {
        guard let asked else { return held }
        try requirePositive(asked)
        guard asked <= held else { throw .outOfRange(what: what, lowerBound: 0, upperBound: asked, limit: held) }
        return asked
    }

    /// Whether a file is a memfd, which can be sealed, and no file of a mounted tmpfs or hugetlbfs, which cannot. All memfds with
    /// pages of one size lie on one file system of the kernel's own, so a new one tells its number.
    private static func isMemfd(_ status: stat, _ system: FileSystem) throws(MemoryError) -> Bool {
        let shift = system.kind == .hugetlbfs ? CUnsignedInt(system.pageSize.trailingZeroBitCount) : 0
        let probe = try OwnedDescriptor(pfs_memfd_create("packetfs-probe", shift), "memfd_create", "packetfs-probe")
        var own = stat()
        guard fstat(probe.value.rawValue, &own) == 0 else { throw .last("fstat", "packetfs-probe") }
        return own.st_dev == status.st_dev
    }

    /// Sees to it that a memfd never gets shorter; false for one that does not allow that, and for any other file.
    private static func seal(_ descriptor: FileDescriptor) -> Bool {
        let shrink = CInt(PFS_F_SEAL_SHRINK)
        if pfs_fcntl_seals(descriptor.rawValue, CInt(PFS_F_ADD_SEALS), shrink) == 0 { return true }
        // It may take no more seals because it has this one.
        let seals = pfs_fcntl_seals(descriptor.rawValue, CInt(PFS_F_GET_SEALS), 0)
        return seals >= 0 && seals & shrink != 0
    }

    /// Keeps programs that this process starts from inheriting the descriptor unless they are given it.
    static func closeOnExec(_ descriptor: FileDescriptor) {
        _ = fcntl(descriptor.rawValue, F_SETFD, FD_CLOEXEC)
    }
}

/// Refuses sizes that no memory can have.
func requirePositive(_ byteCount: Int) throws(MemoryError) {
    guard byteCount > 0 else {
        throw .invalid(argument: "size", value: String(byteCount), reason: "it must be at least 1 byte")
    }
}

/// The file system that holds a file.
struct FileSystem {
    enum Kind { case hugetlbfs, tmpfs, other }

    var kind: Kind
    /// Bytes of a page; for hugetlbfs the huge page.
    var pageSize: Int
    /// Bytes still free; meaningless where the file system has no limit.
    var freeBytes: Int

    init(_ descriptor: FileDescriptor, _ subject: String) throws(MemoryError) {
        var status = pfs_file_system()
        guard pfs_file_system(descriptor.rawValue, &status) == 0 else { throw .last("fstatfs", subject) }
        kind =
            switch status.magic {
            case PFS_HUGETLBFS_MAGIC: .hugetlbfs
            case Int64(PFS_TMPFS_MAGIC): .tmpfs
            default: .other
            }
        pageSize = Int(status.block_size)
        freeBytes = Int(status.free_bytes)
    }
}

extension Errno {
    /// The `errno` of this thread.
    static var current: Errno { Errno(rawValue: Glibc.errno) }
}
