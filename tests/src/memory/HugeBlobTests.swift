import CPacketFSShims
import Foundation
import Glibc
import Synchronization
import SystemPackage
import Testing
import ToolTesting

@testable import PacketFSMemory

@Suite struct HugeBlobTests {
    static let sizes = [1, 4095, 4096, 4097, (2 << 20) + 1]

    @Test(arguments: sizes, [PagePreference.automatic, .small])
    func createGivesZeroedWritableMemory(byteCount: Int, pages: PagePreference) throws {
        var blob = try HugeBlob.create(byteCount: byteCount, pages: pages)
        #expect(blob.byteCount == byteCount)
        #expect(blob.bytes.byteCount == byteCount)
        let allZero = blob.withUnsafeMutableBytes { $0.allSatisfy { $0 == 0 } }
        #expect(allZero)
        var bytes = blob.mutableBytes
        bytes.storeBytes(of: 0xA5, toByteOffset: byteCount - 1, as: UInt8.self)
        let last = blob.bytes.unsafeLoad(fromByteOffset: byteCount - 1, as: UInt8.self)
        #expect(last == 0xA5)
    }

    @Test(arguments: [0, -1, Int.min])
    func sizesBelowOneAreRefused(byteCount: Int) {
        let error = failure { () throws(MemoryError) in _ = try HugeBlob.create(byteCount: byteCount) }
        guard case .invalid(argument: "size", value: String(byteCount), reason: _) = error else {
            Issue.record("wrong error: \(String(describing: error))")
            return
        }
    }

    @Test(arguments: PagePreference.allCases, [Int.max, Int.max - (1 << 30), 1 << 46])
    func sizesBeyondMemoryAreErrors(pages: PagePreference, byteCount: Int) {
        let error = failure { () throws(MemoryError) in _ = try HugeBlob.create(byteCount: byteCount, pages: pages) }
        switch error {
        case .shortage, .invalid, .unavailable: break
        default: Issue.record("wrong error: \(String(describing: error))")
        }
    }

    @Test func moreThanMemoryNamesNeededAndFree() throws {
        let available = try #require(AvailableMemory.now())
        let asked = available.byteCount + (1 << 30)
        let error = failure { () throws(MemoryError) in
            _ = try HugeBlob.create(byteCount: asked, pages: .small)
        }
        guard case .shortage(_, let needed, let free, unit: "bytes", _) = error else {
            Issue.record("wrong error: \(String(describing: error))")
            return
        }
        #expect(needed >= asked)
        #expect(free < needed && free > 0)
    }

    @Test func sealsFixTheSize() throws {
        let blob = try HugeBlob.create(byteCount: 8192, pages: .small)
        for size in [0, 4096, 12288] {
            #expect(ftruncate(blob.fileDescriptor.rawValue, size) == -1)
            #expect(errno == EPERM)
        }
        var status = stat()
        #expect(fstat(blob.fileDescriptor.rawValue, &status) == 0)
        #expect(status.st_size == 8192)
        #expect(fcntl(blob.fileDescriptor.rawValue, F_GETFD) & FD_CLOEXEC != 0)
    }

    @Test func everythingIsAllocatedAtCreation() throws {
        let blob = try HugeBlob.create(byteCount: 1 << 20, pages: .small)
        var status = stat()
        #expect(fstat(blob.fileDescriptor.rawValue, &status) == 0)
        #expect(status.st_blocks * 512 == 1 << 20)
        let file = try OwnedDescriptor(pfsMemfd(), "memfd_create", "test")
        let mapping = try Mapping(sizing: file, to: 1 << 20)
        try mapping.allocate(0..<1 << 20)  // what stands in for populating on old kernels
        #expect(fstat(mapping.descriptor.rawValue, &status) == 0)
        #expect(status.st_blocks * 512 == 1 << 20)
    }

    @Test(arguments: [1, 5000, (2 << 20) + 1])
    func backingIsWhatTheKernelReports(byteCount: Int) throws {
        let blob = try HugeBlob.create(byteCount: byteCount, pages: .small)
        let backing = try blob.backing()
        #expect(backing.kind == .small)
        #expect(backing.pageSize == Int(getpagesize()))
        #expect(backing.hugeBytes == 0)
        #expect(backing.mappedBytes == (byteCount + 4095) & ~4095)
        #expect(!backing.isNamed)
        #expect(backing.nodes.allSatisfy { NUMAPolicy.allowedNodes().contains($0) })
        #expect(!backing.nodes.isEmpty)
        let start = blob.withUnsafeMutableBytes { UInt(bitPattern: $0.baseAddress) }
        let smaps = try Smaps(containing: start)
        #expect(smaps.kilobytes["Size"] == backing.mappedBytes >> 10)
        #expect(smaps.kilobytes["Rss"] == backing.mappedBytes >> 10)
        #expect(smaps.kilobytes["KernelPageSize"] == backing.pageSize >> 10)
        #expect("\(backing)".hasPrefix("4 KiB pages (memfd), 0 bytes huge, node"))
    }

    /// In a process of its own, where no other test opens anything. Its libraries do, though: a thread that starts in some
    /// round brings a guard page, malloc an arena. What leaks does so in every round, hence the bounds.
    @Test func descriptorsAndMappingsDoNotLeak() async {
        await #expect(processExitsWith: .success) {
            let folder = try TemporaryFolder()
            let rounds = 40
            var before = (descriptors: 0, mappings: 0, reserved: 0)
            for round in 0...rounds {
                do {
                    let blob = try HugeBlob.create(byteCount: (4 << 20) + round, pages: .small)
                    let copy = try HugeBlob.adopt(blob.fileDescriptor.duplicate())
                    try require(copy.byteCount >= blob.byteCount)
                    let region = try SharedRegion.create(byteCount: 1, name: "packetfs-blob-region")
                    try require(mappingCount("packetfs-blob") == before.mappings + 3 && region.byteCount == 1)
                }
                let failures = [
                    failure { () throws(MemoryError) in _ = try HugeBlob.create(byteCount: 1 << 46) },
                    failure { () throws(MemoryError) in _ = try HugeBlob.create(byteCount: 1 << 46, pages: .huge2M) },
                    failure { () throws(MemoryError) in _ = try HugeBlob.create(byteCount: 1, numa: .bind([4095])) },
                    failure { () throws(MemoryError) in
                        _ = try HugeBlob.create(named: "blob", in: folder.path, byteCount: 1 << 46)
                    },
                    failure { () throws(MemoryError) in _ = try HugeBlob.open(named: "blob", in: folder.path) },
                ]
                try require(failures.allSatisfy { $0 != nil })
                let now = (
                    descriptors: folderEntries("/proc/self/fd").count, mappings: mappingCount("packetfs-blob"),
                    reserved: reservedBytes()
                )
                // The first round may open what the libraries keep.
                if round == 0 { before = now }
                try require(now.mappings == before.mappings)
                try require(now.descriptors < before.descriptors + rounds)
                try require(now.reserved < before.reserved + rounds * Int(getpagesize()))
            }
        }
    }

    // MARK: Adoption

    @Test func adoptedBlobSharesTheBytes() throws {
        let blob = try HugeBlob.create(byteCount: 5000, pages: .small)
        try blob.fill(seed: 7, range: 0..<5000)
        let whole = try HugeBlob.adopt(blob.fileDescriptor.duplicate())
        let exact = try HugeBlob.adopt(blob.fileDescriptor.duplicate(), byteCount: 5000)
        #expect(whole.byteCount == 8192)
        #expect(exact.byteCount == 5000)
        #expect(fcntl(exact.fileDescriptor.rawValue, F_GETFD) & FD_CLOEXEC != 0)
        #expect(content(exact) == content(blob))
        exact.withUnsafeMutableBytes { $0[4999] ^= 0xFF }
        #expect(content(exact) == content(blob))
    }

    @Test func adoptionTouchesNothing() throws {
        let blob = try HugeBlob.create(byteCount: 8 << 20, pages: .small)
        let other = try HugeBlob.adopt(blob.fileDescriptor.duplicate())
        let start = other.withUnsafeMutableBytes { UInt(bitPattern: $0.baseAddress) }
        #expect(try Smaps(containing: start).kilobytes["Rss"] == 0)
        #expect(try other.backing().nodes == [] || NUMAPolicy.allowedNodes() == [0])
        try other.prefault(4097..<4098)
        #expect(try Smaps(containing: start).kilobytes["Rss"] == 4)
        try other.prefault(0..<8 << 20)
        #expect(try Smaps(containing: start).kilobytes["Rss"] == 8 << 10)
    }

    @Test func adoptOfAWrongDescriptorIsRefusedAndLeavesIt() throws {
        let folder = try TemporaryFolder()
        let onDisk = try FileDescriptor.open(
            folder.path.appending("file"), .readWrite, options: [.create, .exclusiveCreate],
            permissions: .ownerReadWrite)
        try onDisk.writeAll([1, 2, 3])
        let pipe = try FileDescriptor.pipe()
        let empty = FileDescriptor(rawValue: pfsMemfd())
        let sparse = FileDescriptor(rawValue: pfsMemfd())
        #expect(ftruncate(sparse.rawValue, 1 << 20) == 0)
        let device = try FileDescriptor.open("/dev/zero", .readWrite)
        let wrong = [onDisk, pipe.readEnd, empty, sparse, device]
        for descriptor in wrong {
            let error = failure { () throws(MemoryError) in _ = try HugeBlob.adopt(descriptor) }
            // On machines where /tmp is a tmpfs, three bytes there are a legal blob but for the seals; elsewhere a disk.
            guard case .notUsable(subject: "descriptor \(descriptor.rawValue)", _) = error else {
                Issue.record("descriptor \(descriptor.rawValue): wrong error \(String(describing: error))")
                continue
            }
        }
        for descriptor in wrong + [pipe.writeEnd] { try descriptor.close() }  // throws if adopt had closed it
        let closed = failure { () throws(MemoryError) in _ = try HugeBlob.adopt(sparse) }
        #expect(closed == .system(call: "fstat", subject: "descriptor \(sparse.rawValue)", errno: .badFileDescriptor))
    }

    @Test func adoptRefusesMoreThanThereIs() throws {
        let blob = try HugeBlob.create(byteCount: 4096, pages: .small)
        for asked in [0, -1, 4097, Int.max] {
            let copy = try blob.fileDescriptor.duplicate()
            let error = failure { () throws(MemoryError) in _ = try HugeBlob.adopt(copy, byteCount: asked) }
            switch error {
            case .invalid where asked < 1: break
            case .outOfRange(_, 0, asked, 4096): break
            default: Issue.record("\(asked): wrong error \(String(describing: error))")
            }
            try copy.close()
        }
    }

    @Test func adoptSealsWhatIsNotSealed() throws {
        let file = FileDescriptor(rawValue: pfsMemfd())
        try file.writeAll([UInt8](repeating: 1, count: 4096))
        let blob = try HugeBlob.adopt(file)
        #expect(ftruncate(blob.fileDescriptor.rawValue, 0) == -1 && errno == EPERM)
    }

    @Test("A memfd that cannot be sealed is refused, whatever its pages", arguments: [true, false])
    func adoptRefusesWhatCannotBeSealed(isWritable: Bool) throws {
        let file = FileDescriptor(rawValue: pfsMemfd())
        try file.writeAll([UInt8](repeating: 1, count: 4096))
        var asked = file
        if isWritable {
            try #require(pfs_fcntl_seals(file.rawValue, CInt(PFS_F_ADD_SEALS), CInt(PFS_F_SEAL_SEAL)) == 0)
        } else {
            asked = try FileDescriptor.open("/proc/self/fd/\(file.rawValue)", .readOnly)
        }
        for error in [
            failure { () throws(MemoryError) in _ = try HugeBlob.adopt(asked) },
            failure { () throws(MemoryError) in _ = try SharedRegion.adopt(asked) },
        ] {
            guard case .notUsable(subject: "descriptor \(asked.rawValue)", let reason) = error else {
                Issue.record("wrong error \(String(describing: error))")
                continue
            }
            #expect(reason.contains("sealed"))
        }
        try file.close()  // throws if adopt had closed it
    }

    @Test("A size that changes while the memfd is adopted never leaves a mapping longer than the file")
    func adoptAgainstAFileThatChanges() throws {
        let byteCount = 16 << 12
        for _ in 0..<200 {
            let file = FileDescriptor(rawValue: pfsMemfd())
            let peer = try file.duplicate()
            let stop = Stop()
            let thread = Thread {
                while !stop.isSet {
                    ftruncate(peer.rawValue, 0)
                    ftruncate(peer.rawValue, byteCount)
                    _ = pfs_fallocate(peer.rawValue, 0, Int64(byteCount))
                }
                stop.hasEnded.signal()
            }
            thread.start()
            // Refused as long as the file is seen empty or sparse. It is sealed then, so it is whole in the end.
            func insist() -> HugeBlob {
                while true {
                    if let blob = try? HugeBlob.adopt(file) { return blob }
                }
            }
            let blob = insist()
            stop.set()
            stop.hasEnded.wait()
            var status = stat()
            try #require(fstat(blob.fileDescriptor.rawValue, &status) == 0)
            try #require(status.st_size >= blob.byteCount, "reading would be a SIGBUS")
            #expect(
                blob.byteCount > 0 && blob.bytes.unsafeLoad(fromByteOffset: blob.byteCount - 1, as: UInt8.self) == 0)
            try peer.close()
        }
    }

    // MARK: Filling

    @Test func fillFromFileCopiesExactly() throws {
        let folder = try TemporaryFolder()
        let input = (0..<10_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let file = try FileDescriptor.open(
            folder.path.appending("in"), .readWrite, options: [.create], permissions: .ownerReadWrite)
        defer { try? file.close() }
        try file.writeAll(input)
        let blob = try HugeBlob.create(byteCount: 6000, pages: .small)
        try blob.fill(from: file, fileOffset: 17, count: 5000, at: 1000)
        let bytes = content(blob)
        #expect(Array(bytes[0..<1000]) == [UInt8](repeating: 0, count: 1000))
        #expect(Array(bytes[1000...]) == Array(input[17..<5017]))
        try blob.fill(from: file, fileOffset: 1 << 40, count: 0, at: 6000)

        let short = failure { () throws(MemoryError) in
            try blob.fill(from: file, fileOffset: 9000, count: 1001, at: 0)
        }
        #expect(short == .inputTooShort(fileOffset: 9000, needed: 1001, got: 1000))
        #expect(short?.description.contains("needed 1001 bytes from offset 9000, found 1000") == true)
    }

    @Test(arguments: [(0, 6001, 0), (0, 1, 6000), (0, 1, -1), (0, Int.max, 1), (-1, 1, 0), (0, -1, 0)])
    func fillOutOfRangeCopiesNothing(fileOffset: Int, count: Int, blobOffset: Int) throws {
        let blob = try HugeBlob.create(byteCount: 6000, pages: .small)
        let file = try FileDescriptor.open("/dev/zero", .readOnly)
        defer { try? file.close() }
        try blob.fill(seed: 1, range: 0..<6000)
        let before = content(blob)
        let error = failure { () throws(MemoryError) in
            try blob.fill(from: file, fileOffset: Int64(fileOffset), count: count, at: blobOffset)
        }
        switch error {
        case .outOfRange where fileOffset >= 0 && count >= 0: break
        case .invalid where fileOffset < 0 || count < 0: break
        default: Issue.record("wrong error \(String(describing: error))")
        }
        #expect(content(blob) == before)
    }

    @Test func fillFromAPipeIsAnError() throws {
        let blob = try HugeBlob.create(byteCount: 16, pages: .small)
        let pipe = try FileDescriptor.pipe()
        let error = failure { () throws(MemoryError) in
            try blob.fill(from: pipe.readEnd, fileOffset: 0, count: 1, at: 0)
        }
        #expect(error == .system(call: "pread", subject: "the input file", errno: .illegalSeek))
        try pipe.readEnd.close()
        try pipe.writeEnd.close()
    }

    @Test(arguments: [-1..<1, 0..<4097, 4097..<4097, Int.min..<Int.max])
    func rangesOutsideTheBlobAreErrors(range: Range<Int>) throws {
        let blob = try HugeBlob.create(byteCount: 4096, pages: .small)
        let expected = MemoryError.outOfRange(
            what: "blob", lowerBound: range.lowerBound, upperBound: range.upperBound, limit: 4096)
        #expect(failure { () throws(MemoryError) in try blob.fill(seed: 0, range: range) } == expected)
        #expect(failure { () throws(MemoryError) in try blob.prefault(range) } == expected)
        #expect(content(blob).allSatisfy { $0 == 0 })
    }

    @Test func emptyRangesAreFine() throws {
        let blob = try HugeBlob.create(byteCount: 4096, pages: .small)
        for position in [0, 1, 4096] {
            try blob.fill(seed: 0, range: position..<position)
            try blob.prefault(position..<position)
        }
        #expect(content(blob).allSatisfy { $0 == 0 })
    }

    // MARK: NUMA

    @Test func policiesOnNodesThatExist() throws {
        let node = try #require(NUMAPolicy.allowedNodes().first)
        for policy in [NUMAPolicy.bind([node]), .interleave([node]), .preferred(node)] {
            let blob = try HugeBlob.create(byteCount: 1 << 20, pages: .small, numa: policy)
            #expect(try blob.backing().nodes == [node])
        }
    }

    @Test func partsOnNodesOfTheirOwn() throws {
        let nodes = NUMAPolicy.allowedNodes()
        let (first, last) = (try #require(nodes.first), try #require(nodes.last))
        let policy = NUMAPolicy.placed([
            .init(range: 0..<300_001, node: first), .init(range: 300_001..<1_000_000, node: last),
        ])
        let backing = try HugeBlob.create(byteCount: 1_000_000, pages: .small, numa: policy).backing()
        #expect(Set(backing.nodes) == [first, last])
        #expect(backing.nodeBytes.values.reduce(0, +) == backing.mappedBytes)
        let outside = failure { () throws(MemoryError) in
            _ = try HugeBlob.create(
                byteCount: 4096, pages: .small, numa: .placed([.init(range: 0..<9000, node: first)]))
        }
        #expect(outside == .outOfRange(what: "memory", lowerBound: 0, upperBound: 9000, limit: 4096))
    }

    @Test func cpusHaveNodes() throws {
        #expect(NUMAPolicy.allowedNodes().contains(try #require(NUMAPolicy.node(ofCPU: 0))))
        #expect(NUMAPolicy.node(ofCPU: 100_000) == nil)
    }

    @Test(arguments: [-1, 4095, 100_000, Int.max])
    func absentNodesAreNamedWithThoseThatExist(node: Int) {
        for policy in [NUMAPolicy.bind([node]), .interleave([0, node]), .preferred(node)] {
            let error = failure { () throws(MemoryError) in _ = try HugeBlob.create(byteCount: 1, numa: policy) }
            guard case .unavailable(what: "NUMA node \(node)", let remedy) = error else {
                Issue.record("wrong error \(String(describing: error))")
                continue
            }
            let allowed = NUMAPolicy.allowedNodes().map(String.init).joined(separator: ", ")
            #expect(remedy == "use one of the nodes \(allowed)")
        }
        let empty = failure { () throws(MemoryError) in _ = try HugeBlob.create(byteCount: 1, numa: .bind([])) }
        #expect(empty == .invalid(argument: "NUMA node list", value: "[]", reason: "name at least one node"))
    }
}

/// Pages that only some machines give. Serialized: the tests change the machine's pool.
@Suite(.serialized) struct HugePageTests {
    /// 2 MiB pages of which a terabyte would be needed: no pool here has them.
    static let tooMany = 1 << 40

    @Test func shortPoolsNameNeededFreeAndTheCommand() throws {
        for (pages, pageSize, folder) in [
            (PagePreference.huge2M, 2 << 20, "hugepages-2048kB"), (.huge1G, 1 << 30, "hugepages-1048576kB"),
        ] {
            let error = failure { () throws(MemoryError) in
                _ = try HugeBlob.create(byteCount: HugePageTests.tooMany, pages: pages)
            }
            guard let pool = HugePagePool(pageSize: pageSize) else {
                guard case .unavailable = error else {
                    Issue.record("wrong error \(String(describing: error))")
                    continue
                }
                continue
            }
            let needed = HugePageTests.tooMany / pageSize
            guard case .shortage(_, needed, let free, unit: "pages", let remedy) = error else {
                Issue.record("wrong error \(String(describing: error))")
                continue
            }
            #expect(free < needed)
            #expect(remedy.contains("`just hugepages`"))
            #expect(remedy.contains("| sudo tee /sys/kernel/mm/hugepages/\(folder)/nr_hugepages`"))
            #expect(remedy.contains("echo \(pool.total + needed - free) |"))
        }
    }

    @Test(.needsHugePages(3)) func hugePagesOnDemand() throws {
        try withHugePages(3) {
            let pageSize = 2 << 20
            do {
                let blob = try HugeBlob.create(byteCount: 2 * pageSize + 1, pages: .huge2M, numa: .bind([0]))
                #expect(blob.byteCount == 2 * pageSize + 1)
                let backing = try blob.backing()
                #expect(backing.kind == .hugetlb)
                #expect(backing.pageSize == pageSize)
                #expect(backing.hugeBytes == 3 * pageSize)
                #expect("\(backing)" == "2 MiB pages (memfd, hugetlb), \(3 * pageSize) bytes huge, node 0")
                let start = blob.withUnsafeMutableBytes { UInt(bitPattern: $0.baseAddress) }
                let smaps = try Smaps(containing: start)
                #expect(smaps.kilobytes["KernelPageSize"] == 2048)
                #expect(
                    (smaps.kilobytes["Shared_Hugetlb"] ?? 0) + (smaps.kilobytes["Private_Hugetlb"] ?? 0) == 3 * 2048)
                try blob.fill(seed: 3, range: 0..<blob.byteCount)
                #expect(ftruncate(blob.fileDescriptor.rawValue, 2 * pageSize) == -1 && errno == EPERM)

                let other = try HugeBlob.adopt(blob.fileDescriptor.duplicate(), byteCount: blob.byteCount)
                #expect(try other.backing().hugeBytes == 3 * pageSize)
                try other.prefault(pageSize + 5..<pageSize + 6)
                let last = other.bytes.unsafeLoad(fromByteOffset: 2 * pageSize, as: UInt8.self)
                #expect(last == FillPattern.byte(seed: 3, position: 2 * pageSize))
                let region = try SharedRegion.adopt(blob.fileDescriptor.duplicate(), byteCount: 100)
                #expect(region.base.load(as: UInt8.self) == FillPattern.byte(seed: 3, position: 0))
            }
            // The pages are free again.
            #expect(try #require(HugePagePool(pageSize: pageSize)).free >= 3)
        }
    }

    @Test(.needsHugePages(2)) func automaticTakesThePoolWhereItFits() throws {
        try withHugePages(2) {
            let pageSize = 2 << 20
            let full = try HugeBlob.create(byteCount: 2 * pageSize).backing()
            #expect(full.kind == .hugetlb)
            // One byte more than a page would waste almost all of a second one.
            let wasteful = try HugeBlob.create(byteCount: pageSize + 1).backing()
            #expect(wasteful.kind == .small)
        }
    }

    @Test func automaticFallsBack() throws {
        let free = HugePagePool(pageSize: (2 << 20))?.free ?? 0
        try #require(free < 1 << 15, "this machine has more huge pages reserved than the test wants to outgrow")
        let blob = try HugeBlob.create(byteCount: (free + 4) << 21)
        #expect(try blob.backing().kind != .hugetlb)
    }

    @Test(.needsRoot, .needsHugePages(3)) func namedBlobsInHugetlbfs() throws {
        try withHugePages(3) {
            let folder = try TemporaryFolder(mount: ["-t", "hugetlbfs", "-o", "pagesize=2M"])
            let pageSize = 2 << 20
            do {
                let blob = try HugeBlob.create(named: "blob", in: folder.path, byteCount: pageSize + 1)
                try blob.fill(seed: 5, range: 0..<blob.byteCount)
                let backing = try blob.backing()
                #expect(backing.kind == .hugetlb && backing.isNamed && backing.hugeBytes == 2 * pageSize)
                let other = try HugeBlob.open(named: "blob", in: folder.path, byteCount: pageSize + 1)
                #expect(
                    other.bytes.unsafeLoad(fromByteOffset: pageSize, as: UInt8.self)
                        == FillPattern.byte(seed: 5, position: pageSize))
            }
            for pages in [PagePreference.huge1G, .transparent, .small] {
                let error = failure { () throws(MemoryError) in
                    _ = try HugeBlob.create(named: "other", in: folder.path, byteCount: 1, pages: pages)
                }
                guard case .unavailable = error else {
                    Issue.record("\(pages): wrong error \(String(describing: error))")
                    continue
                }
            }
            let error = failure { () throws(MemoryError) in
                _ = try HugeBlob.create(named: "other", in: folder.path, byteCount: HugePageTests.tooMany)
            }
            guard case .shortage(_, _, _, unit: "pages", _) = error else {
                Issue.record("wrong error \(String(describing: error))")
                return
            }
            #expect(folder.names == ["blob"])
            try HugeBlob.remove(named: "blob", in: folder.path)
            #expect(folder.names == [])
        }
    }

    @Test(.needsTransparentHugePages) func transparentOnDemand() throws {
        try withTransparentHugePages {
            let blob = try HugeBlob.create(byteCount: 8 << 20, pages: .transparent)
            let backing = try blob.backing()
            #expect(backing.kind == .transparent)
            #expect(backing.hugeBytes > 0)
            let tiny = try HugeBlob.create(byteCount: 1, pages: .transparent).backing()
            #expect(tiny.kind == .transparent && tiny.hugeBytes == 2 << 20)
            let start = blob.withUnsafeMutableBytes { UInt(bitPattern: $0.baseAddress) }
            #expect(try Smaps(containing: start).kilobytes["ShmemPmdMapped"] == backing.hugeBytes >> 10)
            let small = try HugeBlob.create(byteCount: 8 << 20, pages: .small)
            #expect(try small.backing().kind == .small)
        }
    }

    @Test(.disabled(if: TransparentHugePages.enabledForMemfd(), "transparent huge pages are on here"))
    func transparentSwitchedOffIsAnError() {
        let error = failure { () throws(MemoryError) in
            _ = try HugeBlob.create(byteCount: 8 << 20, pages: .transparent)
        }
        guard case .unavailable(_, let remedy) = error else {
            Issue.record("wrong error \(String(describing: error))")
            return
        }
        #expect(remedy.contains("echo advise | sudo tee /sys/kernel/mm/transparent_hugepage/shmem_enabled"))
    }
}

/// Blobs with a name, in tmpfs.
@Suite(.needsDevShm) struct NamedBlobTests {
    @Test func createOpenRemove() throws {
        let folder = try TemporaryFolder(in: "/dev/shm")
        let blob = try HugeBlob.create(named: "a.b_c-1", in: folder.path, byteCount: 5000)
        #expect(folder.names == ["a.b_c-1"])
        try blob.fill(seed: 11, range: 0..<5000)
        #expect(try blob.backing().isNamed)
        #expect(fcntl(blob.fileDescriptor.rawValue, F_GETFD) & FD_CLOEXEC != 0)
        var status = stat()
        #expect(fstat(blob.fileDescriptor.rawValue, &status) == 0)
        #expect(status.st_mode & 0o777 == 0o600)
        #expect(status.st_blocks * 512 == 8192)

        let other = try HugeBlob.open(named: "a.b_c-1", in: folder.path, byteCount: 5000)
        #expect(content(other) == content(blob))
        #expect(try HugeBlob.open(named: "a.b_c-1", in: folder.path).byteCount == 8192)

        let taken = failure { () throws(MemoryError) in
            _ = try HugeBlob.create(named: "a.b_c-1", in: folder.path, byteCount: 1)
        }
        guard case .system(_, _, .fileExists) = taken else {
            Issue.record("wrong error \(String(describing: taken))")
            return
        }
        try HugeBlob.remove(named: "a.b_c-1", in: folder.path)
        #expect(folder.names == [])
        #expect(content(other) == content(blob))  // those who have it keep it
        for error in [
            failure { () throws(MemoryError) in _ = try HugeBlob.open(named: "a.b_c-1", in: folder.path) },
            failure { () throws(MemoryError) in try HugeBlob.remove(named: "a.b_c-1", in: folder.path) },
        ] {
            guard case .system(_, _, .noSuchFileOrDirectory) = error else {
                Issue.record("wrong error \(String(describing: error))")
                continue
            }
        }
    }

    @Test(arguments: ["", ".", "..", ".x", "a/b", "/a", "a b", "a\u{0}b", "ä", String(repeating: "a", count: 256)])
    func badNamesAreRefused(name: String) throws {
        let folder = try TemporaryFolder(in: "/dev/shm")
        let errors = [
            failure { () throws(MemoryError) in
                _ = try HugeBlob.create(named: name, in: folder.path, byteCount: 1)
            },
            failure { () throws(MemoryError) in _ = try HugeBlob.open(named: name, in: folder.path) },
            failure { () throws(MemoryError) in try HugeBlob.remove(named: name, in: folder.path) },
        ]
        for error in errors {
            guard case .invalid(argument: "blob name", _, _) = error else {
                Issue.record("wrong error \(String(describing: error))")
                continue
            }
        }
        #expect(folder.names == [])
    }

    @Test func longestNameWorks() throws {
        let folder = try TemporaryFolder(in: "/dev/shm")
        let name = String(repeating: "a", count: 255)
        _ = try HugeBlob.create(named: name, in: folder.path, byteCount: 1)
        #expect(folder.names == [name])
    }

    @Test func symbolicLinksAndPipesAreNotFollowed() throws {
        let folder = try TemporaryFolder(in: "/dev/shm")
        _ = try HugeBlob.create(named: "blob", in: folder.path, byteCount: 1)
        #expect(symlink("blob", folder.path.appending("link").string) == 0)
        #expect(mkfifo(folder.path.appending("pipe").string, 0o600) == 0)
        let link = failure { () throws(MemoryError) in _ = try HugeBlob.open(named: "link", in: folder.path) }
        guard case .system(call: "open", _, .tooManySymbolicLinkLevels) = link else {
            Issue.record("wrong error \(String(describing: link))")
            return
        }
        let pipe = failure { () throws(MemoryError) in _ = try HugeBlob.open(named: "pipe", in: folder.path) }
        guard case .notUsable = pipe else {
            Issue.record("wrong error \(String(describing: pipe))")
            return
        }
        let taken = failure { () throws(MemoryError) in
            _ = try HugeBlob.create(named: "link", in: folder.path, byteCount: 1)
        }
        guard case .system(_, _, .fileExists) = taken else {
            Issue.record("wrong error \(String(describing: taken))")
            return
        }
    }

    @Test func foldersThatCannotHoldBlobs() throws {
        let missing = failure { () throws(MemoryError) in
            _ = try HugeBlob.create(named: "a", in: "/dev/shm/no-such-folder-here", byteCount: 1)
        }
        guard case .system(call: "open", subject: "/dev/shm/no-such-folder-here", .noSuchFileOrDirectory) = missing
        else {
            Issue.record("wrong error \(String(describing: missing))")
            return
        }
        let other = failure { () throws(MemoryError) in
            _ = try HugeBlob.create(named: "a", in: "/proc", byteCount: 1)
        }
        guard case .notUsable(subject: "/proc", _) = other else {
            Issue.record("wrong error \(String(describing: other))")
            return
        }
        let folder = try TemporaryFolder(in: "/dev/shm")
        let huge = failure { () throws(MemoryError) in
            _ = try HugeBlob.create(named: "a", in: folder.path, byteCount: 1, pages: .huge2M)
        }
        guard case .unavailable(_, let remedy) = huge else {
            Issue.record("wrong error \(String(describing: huge))")
            return
        }
        #expect(remedy.contains("sudo mount -t hugetlbfs -o pagesize=2M"))
        #expect(folder.names == [])
    }

    @Test(.needsRoot) func fullTmpfsIsAnErrorThatNamesTheNumbers() throws {
        let folder = try TemporaryFolder(mount: ["-t", "tmpfs", "-o", "size=1M"])
        let error = failure { () throws(MemoryError) in
            _ = try HugeBlob.create(named: "a", in: folder.path, byteCount: 2 << 20)
        }
        guard case .shortage(_, needed: 2 << 20, let free, unit: "bytes", let remedy) = error else {
            Issue.record("wrong error \(String(describing: error))")
            return
        }
        #expect(free <= 1 << 20 && free > 0)
        #expect(remedy.contains("sudo mount -o remount,size="))
        #expect(folder.names == [])
        // Nothing of the failed attempt stays allocated: half of the space is still to be had.
        let blob = try HugeBlob.create(named: "b", in: folder.path, byteCount: 1 << 19)
        try blob.fill(seed: 1, range: 0..<1 << 19)
        #expect(folder.names == ["b"])
        try HugeBlob.remove(named: "b", in: folder.path)
    }

    @Test(.needsRoot, arguments: ["always", "advise"]) func tmpfsWithHugePagesGivesThem(mode: String) throws {
        let folder = try TemporaryFolder(mount: ["-t", "tmpfs", "-o", "huge=\(mode),size=64M"])
        do {
            let blob = try HugeBlob.create(named: "a", in: folder.path, byteCount: 8 << 20, pages: .transparent)
            let backing = try blob.backing()
            #expect(backing.kind == .transparent && backing.isNamed && backing.hugeBytes > 0)
        }
        try HugeBlob.remove(named: "a", in: folder.path)
        let small = try HugeBlob.create(named: "b", in: folder.path, byteCount: 8 << 20, pages: .small)
        #expect(try small.backing().kind == .small || mode == "always")
        try HugeBlob.remove(named: "b", in: folder.path)
    }

    @Test(.needsRoot) func tmpfsWithoutHugePagesSaysHowToGetThem() throws {
        let folder = try TemporaryFolder(mount: ["-t", "tmpfs", "-o", "huge=never,size=64M"])
        let error = failure { () throws(MemoryError) in
            _ = try HugeBlob.create(named: "a", in: folder.path, byteCount: 8 << 20, pages: .transparent)
        }
        guard case .unavailable(_, let remedy) = error else {
            Issue.record("wrong error \(String(describing: error))")
            return
        }
        #expect(remedy.contains("sudo mount -o remount,huge=advise \(folder.path)"))
        #expect(folder.names == [])
    }
}

/// The bytes of a blob as an array.
func content(_ blob: borrowing HugeBlob) -> [UInt8] {
    blob.withUnsafeMutableBytes { [UInt8]($0) }
}

/// How many mappings of this process have `name` in their path.
func mappingCount(_ name: String) -> Int {
    (readText("/proc/self/maps") ?? "").split(separator: "\n").filter { $0.contains(name) }.count
}

/// Address space of this process that is reserved but not accessible, but for what malloc holds for its arenas' growth, each
/// of which ends at a multiple of 64 MiB (glibc's HEAP_MAX_SIZE).
func reservedBytes() -> Int {
    (readText("/proc/self/maps") ?? "").split(separator: "\n").filter { $0.contains(" ---p ") }.reduce(0) { sum, line in
        let bounds = line.prefix { $0 != " " }.split(separator: "-").compactMap { Int($0, radix: 16) }
        guard bounds.count == 2, !bounds[1].isMultiple(of: 64 << 20) else { return sum }
        return sum + bounds[1] - bounds[0]
    }
}

/// Tells a thread to end.
final class Stop: Sendable {
    private let flag = Atomic(false)
    let hasEnded = DispatchSemaphore(value: 0)
    var isSet: Bool { flag.load(ordering: .relaxed) }
    func set() { flag.store(true, ordering: .relaxed) }
}

/// An unsealed, empty memfd.
func pfsMemfd() -> CInt { pfs_memfd_create("packetfs-test", 0) }

/// One entry of /proc/self/smaps, read by other means than the library's.
struct Smaps {
    var kilobytes: [String: Int] = [:]

    init(containing address: UInt) throws {
        let text = try #require(readText("/proc/self/smaps"))
        let start = "\(String(address, radix: 16))-"
        let lines = text.split(separator: "\n").drop { !$0.hasPrefix(start) }.dropFirst()
        for line in lines {
            guard let colon = line.firstIndex(of: ":"), line.hasSuffix(" kB") else { break }
            let number = line[line.index(after: colon)...].dropLast(3)
            kilobytes[String(line[..<colon])] = Int(number.filter { $0 != " " })
        }
        try #require(!kilobytes.isEmpty)
    }
}
