import CPacketFSShims
import Glibc
import SystemPackage

/// A big blob of bytes in shared memory, on the largest pages to be had: the data that programs are applied to.
///
/// One process creates it; others adopt its inherited descriptor or open it by name. All memory is allocated at creation,
/// so that a short pool, a full file system or a small control group is an error then and never a SIGBUS later.
///
/// The file is `byteCount` rounded up to whole pages of the kind obtained; bytes past `byteCount` are zero and of no
/// meaning. The owner is unique: when it goes, the memory is unmapped and the descriptor closed, and the last process to
/// go frees a blob without a name.
///
/// Any thread may call anything. Nothing here orders accesses: who hands bytes to another thread or process does so through
/// a ring or a lock, whose release and acquire carry the bytes along.
public struct HugeBlob: ~Copyable, Sendable {
    private let mapping: Mapping
    private let pageSize: Int
    /// Size in bytes, as asked for at creation (or adoption).
    public let byteCount: Int

    init(_ mapping: consuming Mapping, pageSize: Int, byteCount: Int) {
        self.mapping = mapping
        self.pageSize = pageSize
        self.byteCount = byteCount
    }

    /// The descriptor, to be inherited by processes that adopt the blob. Stays the blob's property: do not close it.
    public var fileDescriptor: FileDescriptor { mapping.descriptor }
}

// MARK: - Creation

extension HugeBlob {
    /// Creates a blob without a name (a memfd): close-on-exec, its size sealed, all of it allocated and mapped.
    ///
    /// - Parameters:
    ///   - byteCount: size in bytes, at least 1.
    ///   - pages: the pages to use; anything but `.automatic` is a demand.
    ///   - numa: where to place the pages.
    /// - Throws: ``MemoryError/shortage(of:needed:free:unit:remedy:)`` when pages or memory are short,
    ///   ``MemoryError/unavailable(what:remedy:)`` for pages or nodes that this machine does not have,
    ///   ``MemoryError/invalid(argument:value:reason:)`` for a size below 1, and system errors.
    public static func create(
        byteCount: Int, pages: PagePreference = .automatic, numa: NUMAPolicy = .systemDefault
    ) throws(MemoryError) -> HugeBlob {
        try requirePositive(byteCount)
        try numa.validate()
        let attempts = attempts(byteCount: byteCount, pages: pages)
        for attempt in attempts.dropLast() {
            do throws(MemoryError) {
                return try create(byteCount: byteCount, attempt, numa)
            } catch {
                continue  // the last attempt decides, and reports what stops that one
            }
        }
        return try create(byteCount: byteCount, attempts[attempts.count - 1], numa)
    }

    /// One way to make a blob.
    private struct Attempt {
        var kind: PageKind
        var pageSize: Int
        /// Whether getting other pages instead is a failure.
        var isDemand = true
    }

    /// What to try, best first; never empty.
    private static func attempts(byteCount: Int, pages: PagePreference) -> [Attempt] {
        let transparentSize = TransparentHugePages.pageSize()
        let small = Attempt(kind: .small, pageSize: Int(getpagesize()))
        switch pages {
        case .huge1G: return [Attempt(kind: .hugetlb, pageSize: 1 << 30)]
        case .huge2M: return [Attempt(kind: .hugetlb, pageSize: 2 << 20)]
        case .transparent: return [Attempt(kind: .transparent, pageSize: transparentSize)]
        case .small: return [small]
        case .automatic:
            var attempts = [Attempt(kind: .hugetlb, pageSize: 1 << 30), Attempt(kind: .hugetlb, pageSize: 2 << 20)]
            if TransparentHugePages.enabledForMemfd() {
                attempts.append(Attempt(kind: .transparent, pageSize: transparentSize, isDemand: false))
            }
            return attempts.filter { fillsWell(byteCount, $0.pageSize) } + [small]
        }
    }

    /// Whether a blob of `byteCount` bytes has at least one page of this size and loses at most an eighth to the last.
    private static func fillsWell(_ byteCount: Int, _ pageSize: Int) -> Bool {
        guard byteCount >= pageSize, let whole = try? wholePages(byteCount, pageSize) else { return false }
        return whole - byteCount <= byteCount / 8
    }

    private static func create(
        byteCount: Int, _ attempt: Attempt, _ numa: NUMAPolicy
    ) throws(MemoryError) -> HugeBlob {
        let whole = try wholePages(byteCount, attempt.pageSize)
        if attempt.kind == .hugetlb {
            let pool = try pool(attempt.pageSize)
            let shift = CUnsignedInt(attempt.pageSize.trailingZeroBitCount)
            let file = try OwnedDescriptor(pfs_memfd_create(memfdName, shift), "memfd_create", memfdName)
            let mapping = try hugetlbMapping(file, whole, pool, numa)
            try mapping.seal()
            return HugeBlob(mapping, pageSize: attempt.pageSize, byteCount: byteCount)
        }
        let wantsHuge = attempt.kind == .transparent
        if attempt.isDemand && wantsHuge && !TransparentHugePages.enabledForMemfd() {
            throw TransparentHugePages.unavailable("shmem_enabled forbids them")
        }
        try AvailableMemory.require(whole, numa)
        let file = try OwnedDescriptor(pfs_memfd_create(memfdName, 0), "memfd_create", memfdName)
        let mapping = try Mapping(sizing: file, to: whole, alignment: alignment(whole))
        try numa.apply(to: mapping.base, byteCount: whole, pageSize: Int(getpagesize()))
        mapping.adviseHugePages(wantsHuge)
        try mapping.populate(0..<whole)
        try mapping.seal()
        let blob = HugeBlob(mapping, pageSize: Int(getpagesize()), byteCount: byteCount)
        if attempt.isDemand && wantsHuge { try blob.requireTransparent() }
        return blob
    }

    /// Sizes, maps and populates a file of a hugetlb pool; a short pool shows as ENOMEM when mapping reserves the pages,
    /// or, where reservation knows less than allocation (NUMA nodes, hugetlb control groups), when populating.
    static func hugetlbMapping(
        _ file: consuming OwnedDescriptor, _ whole: Int, _ pool: HugePagePool, _ numa: NUMAPolicy
    ) throws(MemoryError) -> Mapping {
        let needed = whole / pool.pageSize
        var boundNodes: [Int]?
        if case .bind(let nodes) = numa { boundNodes = nodes }
        do throws(MemoryError) {
            let mapping = try Mapping(sizing: file, to: whole)
            try numa.apply(to: mapping.base, byteCount: whole, pageSize: pool.pageSize)
            try mapping.populate(0..<whole)
            return mapping
        } catch {
            let part = boundNodes.flatMap { HugePagePool(pageSize: pool.pageSize, nodes: $0) } ?? pool
            if part.free < needed { throw part.shortage(needed: needed, nodes: boundNodes) }
            throw error
        }
    }

    static func pool(_ pageSize: Int) throws(MemoryError) -> HugePagePool {
        if let pool = HugePagePool(pageSize: pageSize) { return pool }
        throw .unavailable(
            what: "\(formatPageSize(pageSize)) huge pages",
            remedy: "this kernel or processor has none of that size; choose another page size")
    }

    /// Mappings that could hold a transparent huge page are laid so that each one is a whole entry of the page table, in
    /// the creator and in whoever adopts the blob.
    static func alignment(_ byteCount: Int) -> Int {
        let size = TransparentHugePages.pageSize()
        return byteCount >= size ? size : 1
    }

    func requireTransparent(in directory: FilePath? = nil) throws(MemoryError) {
        guard MappingReport(range: addresses).hugeBytes > 0 else {
            let why = "the kernel gave none: not switched on, less than one page asked for, or memory is fragmented"
            throw TransparentHugePages.unavailable(why, in: directory)
        }
    }

    private var addresses: Range<UInt> {
        let start = UInt(bitPattern: mapping.base)
        return start..<start + UInt(mapping.byteCount)
    }

    private static var memfdName: String { "packetfs-blob" }
}

// MARK: - Adoption

extension HugeBlob {
    /// Takes over the descriptor of a blob that another process created: checks that it is one, maps it, and touches
    /// nothing, so that a process starts as fast with a big blob as with a small one. A memfd is sealed against shrinking first, so
    /// that nobody can cut pages off under a reader; a named blob cannot be sealed, and its owner is trusted not to shorten it.
    /// The descriptor is made close-on-exec.
    ///
    /// - Parameters:
    ///   - descriptor: an inherited descriptor. It belongs to the blob from now on; after an error it is still the caller's.
    ///   - byteCount: the size with which the blob was created; nil takes the file's, rounded up to whole pages.
    /// - Throws: ``MemoryError/notUsable(subject:reason:)`` for anything but a fully allocated file in memory, and for a memfd that
    ///   cannot be sealed; ``MemoryError/outOfRange(what:lowerBound:upperBound:limit:)`` when it is smaller; system errors.
    public static func adopt(_ descriptor: FileDescriptor, byteCount: Int? = nil) throws(MemoryError) -> HugeBlob {
        let (base, size, pageSize, count) = try attach(descriptor, byteCount, "descriptor \(descriptor.rawValue)")
        let mapping = Mapping(base: base, byteCount: size, file: OwnedDescriptor(descriptor))
        return HugeBlob(mapping, pageSize: pageSize, byteCount: count)
    }

    /// Checks and maps a blob's file; the descriptor stays the caller's.
    static func attach(
        _ descriptor: FileDescriptor, _ asked: Int?, _ subject: String
    ) throws(MemoryError) -> (base: UnsafeMutableRawPointer, size: Int, pageSize: Int, byteCount: Int) {
        guard case .memory(let held, let pageSize, let isHugetlb) = try SharedFile(sealing: descriptor, subject)
        else {
            throw .notUsable(subject: subject, reason: "it is a device, not a blob")
        }
        let count = try SharedFile.byteCount(asked, of: held, subject)
        let size = try wholePages(held, pageSize)
        let base = try Mapping.map(descriptor, byteCount: size, alignment: isHugetlb ? 1 : alignment(size))
        SharedFile.closeOnExec(descriptor)
        return (base, size, pageSize, count)
    }
}

// MARK: - Bytes

extension HugeBlob {
    /// All bytes, to read. Other processes may write at any time; a value read twice may differ.
    public var bytes: RawSpan {
        let span = RawSpan(_unsafeStart: UnsafeRawPointer(mapping.base), byteCount: byteCount)
        return _overrideLifetime(span, borrowing: self)
    }

    /// All bytes, to write.
    public var mutableBytes: MutableRawSpan {
        mutating get {
            let span = MutableRawSpan(_unsafeStart: mapping.base, byteCount: byteCount)
            return _overrideLifetime(span, mutating: &self)
        }
    }

    /// Calls `body` with all bytes, for kernels and for threads that work on parts of their own: unlike ``mutableBytes``
    /// this claims no exclusive access. The pointer is valid only inside `body`.
    public func withUnsafeMutableBytes<Result: ~Copyable, Failure: Error>(
        _ body: (UnsafeMutableRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(UnsafeMutableRawBufferPointer(start: mapping.base, count: byteCount))
    }

    /// Copies `count` bytes of a file into the blob. Interrupted reads go on; the file's own position does not move.
    ///
    /// - Parameters:
    ///   - file: anything that pread(2) reads.
    ///   - fileOffset: first byte in the file.
    ///   - count: how many bytes.
    ///   - blobOffset: where they go.
    /// - Throws: ``MemoryError/inputTooShort(fileOffset:needed:got:)`` (what was there has been copied),
    ///   ``MemoryError/outOfRange(what:lowerBound:upperBound:limit:)`` before anything is copied, system errors.
    public func fill(
        from file: FileDescriptor, fileOffset: Int64, count: Int, at blobOffset: Int
    ) throws(MemoryError) {
        guard count >= 0, fileOffset >= 0, fileOffset <= Int64.max - Int64(count) else {
            throw .invalid(
                argument: "file range", value: "\(fileOffset) + \(count)",
                reason: "offset and count must not be negative")
        }
        let (end, overflow) = blobOffset.addingReportingOverflow(count)
        guard !overflow, blobOffset >= 0, end <= byteCount else {
            throw .outOfRange(
                what: "blob", lowerBound: blobOffset, upperBound: overflow ? Int.max : end, limit: byteCount)
        }
        var done = 0
        while done < count {
            // Below the 2 GiB that one read can return, and small enough to notice signals.
            let wanted = min(count - done, 64 << 20)
            let got = pread(file.rawValue, mapping.base + blobOffset + done, wanted, Int(fileOffset) + done)
            switch got {
            case 1...: done += got
            case 0: throw .inputTooShort(fileOffset: fileOffset, needed: count, got: done)
            default:
                guard Errno.current == .interrupted else { throw .last("pread", "the input file") }
            }
        }
    }

    /// Writes the pattern of `seed` into `range`. What a byte becomes depends on the seed and its position only, not on the
    /// machine and not on how a blob is split into ranges.
    ///
    /// - Throws: ``MemoryError/outOfRange(what:lowerBound:upperBound:limit:)``.
    public func fill(seed: UInt64, range: Range<Int>) throws(MemoryError) {
        try check(range)
        let target = UnsafeMutableRawBufferPointer(start: mapping.base + range.lowerBound, count: range.count)
        FillPattern.fill(target, seed: seed, position: range.lowerBound)
    }

    /// Maps the pages of `range` into this process now, rather than one by one on first touch.
    ///
    /// - Throws: ``MemoryError/outOfRange(what:lowerBound:upperBound:limit:)``, system errors.
    public func prefault(_ range: Range<Int>) throws(MemoryError) {
        try check(range)
        guard !range.isEmpty else { return }
        let start = range.lowerBound & ~(pageSize - 1)
        let end = min(try wholePages(range.upperBound, pageSize), mapping.byteCount)
        try mapping.populate(start..<end)
    }

    private func check(_ range: Range<Int>) throws(MemoryError) {
        guard range.lowerBound >= 0, range.upperBound <= byteCount else {
            throw .outOfRange(
                what: "blob", lowerBound: range.lowerBound, upperBound: range.upperBound, limit: byteCount)
        }
    }

    /// What the blob's memory is, asked from the kernel now. Takes time proportional to the mapping's pages: for reports.
    ///
    /// - Throws: system errors.
    public func backing() throws(MemoryError) -> Backing {
        let subject = "descriptor \(fileDescriptor.rawValue)"
        let system = try FileSystem(fileDescriptor, subject)
        let report = MappingReport(range: addresses)
        var backing = Backing(
            kind: .small, pageSize: pageSize, mappedBytes: mapping.byteCount, hugeBytes: report.hugeBytes,
            nodes: report.nodes ?? [0], nodeBytes: report.nodeBytes, isNamed: !report.path.hasPrefix("/memfd:"))
        if system.kind == .hugetlbfs {
            // The file's own count holds in every process; smaps knows only what this one has touched.
            var status = stat()
            guard fstat(fileDescriptor.rawValue, &status) == 0 else { throw .last("fstat", subject) }
            backing.kind = .hugetlb
            backing.hugeBytes = Int(status.st_blocks) * 512
        } else if report.hugeBytes > 0 {
            backing.kind = .transparent
            backing.pageSize = TransparentHugePages.pageSize()
        }
        return backing
    }
}
