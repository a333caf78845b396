import Glibc
import SystemPackage
import Testing

@testable import PacketFSMemory

@Suite struct SharedRegionTests {
    @Test(arguments: [1, 4096, 4097, 1 << 20])
    func createdRegionIsZeroSealedAndShared(byteCount: Int) throws {
        let region = try SharedRegion.create(byteCount: byteCount, name: "packetfs-ring")
        #expect(region.byteCount == byteCount)
        #expect(Int(bitPattern: region.base) % 4096 == 0)
        #expect((0..<byteCount).allSatisfy { region.base.load(fromByteOffset: $0, as: UInt8.self) == 0 })
        #expect(ftruncate(region.fileDescriptor.rawValue, 0) == -1)
        #expect(fcntl(region.fileDescriptor.rawValue, F_GETFD) & FD_CLOEXEC != 0)
        let other = try SharedRegion.adopt(region.fileDescriptor.duplicate())
        #expect(other.byteCount == (byteCount + 4095) & ~4095)
        other.base.storeBytes(of: 7, toByteOffset: byteCount - 1, as: UInt8.self)
        #expect(region.base.load(fromByteOffset: byteCount - 1, as: UInt8.self) == 7)
        let exact = try SharedRegion.adopt(region.fileDescriptor.duplicate(), byteCount: byteCount)
        #expect(exact.byteCount == byteCount)
    }

    @Test func sizesThatCannotBe() {
        for byteCount in [0, -1] {
            let error = failure { () throws(MemoryError) in
                _ = try SharedRegion.create(byteCount: byteCount, name: "x")
            }
            guard case .invalid(argument: "size", _, _) = error else {
                Issue.record("wrong error \(String(describing: error))")
                continue
            }
        }
        let error = failure { () throws(MemoryError) in _ = try SharedRegion.create(byteCount: 1 << 46, name: "x") }
        guard case .shortage = error else {
            Issue.record("wrong error \(String(describing: error))")
            return
        }
        let name = String(repeating: "n", count: 250)
        let long = failure { () throws(MemoryError) in _ = try SharedRegion.create(byteCount: 1, name: name) }
        #expect(long == .system(call: "memfd_create", subject: name, errno: .invalidArgument))
    }

    @Test func mapRefusesWhatIsTooSmallOrNoMemory() throws {
        let region = try SharedRegion.create(byteCount: 4096, name: "packetfs-ring")
        let copy = try region.fileDescriptor.duplicate()
        let tooMuch = failure { () throws(MemoryError) in _ = try SharedRegion.adopt(copy, byteCount: 4097) }
        #expect(
            tooMuch
                == .outOfRange(
                    what: "descriptor \(copy.rawValue)", lowerBound: 0, upperBound: 4097, limit: 4096))
        try copy.close()
        let pipe = try FileDescriptor.pipe()
        let noMemory = failure { () throws(MemoryError) in _ = try SharedRegion.adopt(pipe.readEnd, byteCount: 1) }
        guard case .notUsable = noMemory else {
            Issue.record("wrong error \(String(describing: noMemory))")
            return
        }
        try pipe.readEnd.close()
        try pipe.writeEnd.close()
    }

    @Test func devicesNeedASize() throws {
        let device = try FileDescriptor.open("/dev/zero", .readWrite)
        let error = failure { () throws(MemoryError) in _ = try SharedRegion.adopt(device) }
        guard case .invalid(argument: "size", _, _) = error else {
            Issue.record("wrong error \(String(describing: error))")
            return
        }
        let region = try SharedRegion.adopt(device, byteCount: 5000)
        #expect(region.byteCount == 5000)
        region.base.storeBytes(of: 1, toByteOffset: 4999, as: UInt8.self)
        let null = try FileDescriptor.open("/dev/null", .readWrite)
        let refused = failure { () throws(MemoryError) in _ = try SharedRegion.adopt(null, byteCount: 4096) }
        guard case .system(call: "mmap", _, Errno(rawValue: ENODEV)) = refused else {
            Issue.record("wrong error \(String(describing: refused))")
            return
        }
        try null.close()
    }
}

/// Regions with a name, for processes that are no relatives.
@Suite struct NamedRegionTests {
    @Test(arguments: [1, 4096, 10_000])
    func appearsWholeAndStaysUntilRemoved(byteCount: Int) throws {
        let folder = try TemporaryFolder(in: "/dev/shm")
        let region = try SharedRegion.create(byteCount: byteCount, in: folder.path)
        #expect(folder.names == [], "no name before it is ready")
        #expect((0..<byteCount).allSatisfy { region.base.load(fromByteOffset: $0, as: UInt8.self) == 0 })
        region.base.storeBytes(of: 7, toByteOffset: byteCount - 1, as: UInt8.self)
        try region.publish(as: "region-1", in: folder.path)
        #expect(folder.names == ["region-1"])
        var status = stat()
        #expect(lstat(folder.path.appending("region-1").string, &status) == 0)
        #expect(status.st_mode & 0o7777 == 0o600)
        #expect(status.st_size == (byteCount + 4095) & ~4095 && status.st_blocks * 512 >= status.st_size)
        do {
            let other = try SharedRegion.open(named: "region-1", in: folder.path)
            #expect(other.byteCount == Int(status.st_size))
            #expect(other.base.load(fromByteOffset: byteCount - 1, as: UInt8.self) == 7)
            #expect(fcntl(other.fileDescriptor.rawValue, F_GETFD) & FD_CLOEXEC != 0)
        }
        try SharedRegion.remove(named: "region-1", in: folder.path)
        #expect(folder.names == [])
        #expect(region.base.load(fromByteOffset: byteCount - 1, as: UInt8.self) == 7, "who has it keeps it")
    }

    @Test func nothingIsReplacedAndNothingIsLeft() throws {
        let folder = try TemporaryFolder(in: "/dev/shm")
        do {
            let first = try SharedRegion.create(byteCount: 1, in: folder.path)
            let second = try SharedRegion.create(byteCount: 1, in: folder.path)
            try first.publish(as: "taken", in: folder.path)
            let path = folder.path
            let error = failure { () throws(MemoryError) in try second.publish(as: "taken", in: path) }
            guard case .system(_, _, .fileExists) = error else {
                Issue.record("\(String(describing: error))")
                return
            }
        }
        #expect(folder.names == ["taken"])
    }

    @Test(arguments: ["", ".", "..", ".x", "a/b", "../x", "a b", "a\nb", "\u{e4}", String(repeating: "n", count: 256)])
    func badNames(name: String) throws {
        let folder = try TemporaryFolder(in: "/dev/shm")
        let path = folder.path
        let region = try SharedRegion.create(byteCount: 1, in: path)
        let errors = [
            failure { () throws(MemoryError) in try region.publish(as: name, in: path) },
            failure { () throws(MemoryError) in _ = try SharedRegion.open(named: name, in: path) },
            failure { () throws(MemoryError) in try SharedRegion.remove(named: name, in: path) },
        ]
        for error in errors {
            guard case .invalid(argument: "region name", _, _) = error else {
                Issue.record("\(String(describing: error))")
                continue
            }
        }
    }

    @Test func whatIsNoRegion() throws {
        let folder = try TemporaryFolder(in: "/dev/shm")
        let path = folder.path
        let missing = failure { () throws(MemoryError) in _ = try SharedRegion.open(named: "missing", in: path) }
        guard case .system(_, _, .noSuchFileOrDirectory) = missing else {
            Issue.record("\(String(describing: missing))")
            return
        }
        #expect(
            creat(path.appending("sparse").string, 0o600) >= 0 && truncate(path.appending("sparse").string, 4096) == 0)
        #expect(symlink("sparse", path.appending("link").string) == 0)
        let sparse = failure { () throws(MemoryError) in _ = try SharedRegion.open(named: "sparse", in: path) }
        guard case .notUsable = sparse else {
            Issue.record("\(String(describing: sparse))")
            return
        }
        let link = failure { () throws(MemoryError) in _ = try SharedRegion.open(named: "link", in: path) }
        guard case .system(_, _, .tooManySymbolicLinkLevels) = link else {
            Issue.record("\(String(describing: link))")
            return
        }
    }

    @Test func foldersThatCannotHoldOne() {
        let disk = failure { () throws(MemoryError) in _ = try SharedRegion.create(byteCount: 1, in: "/usr") }
        guard case .notUsable = disk else {
            Issue.record("\(String(describing: disk))")
            return
        }
        let missing = failure { () throws(MemoryError) in _ = try SharedRegion.create(byteCount: 1, in: "/nonexistent")
        }
        guard case .system(_, _, .noSuchFileOrDirectory) = missing else {
            Issue.record("\(String(describing: missing))")
            return
        }
    }

    @Test("A full tmpfs: how much is needed, how much is free", .enabled(if: geteuid() == 0, "needs root"))
    func fullFolder() throws {
        let folder = try TemporaryFolder(mount: ["-t", "tmpfs", "-o", "size=64k"])
        let path = folder.path
        let error = failure { () throws(MemoryError) in _ = try SharedRegion.create(byteCount: 1 << 20, in: path) }
        guard case .shortage(_, needed: 1 << 20, free: 65536, unit: "bytes", _) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        _ = try SharedRegion.create(byteCount: 65536, in: path)
    }
}
