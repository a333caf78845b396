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
        let other = try SharedRegion.map(region.fileDescriptor.duplicate())
        #expect(other.byteCount == (byteCount + 4095) & ~4095)
        other.base.storeBytes(of: 7, toByteOffset: byteCount - 1, as: UInt8.self)
        #expect(region.base.load(fromByteOffset: byteCount - 1, as: UInt8.self) == 7)
        let exact = try SharedRegion.map(region.fileDescriptor.duplicate(), byteCount: byteCount)
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
        let tooMuch = failure { () throws(MemoryError) in _ = try SharedRegion.map(copy, byteCount: 4097) }
        #expect(
            tooMuch
                == .outOfRange(
                    what: "descriptor \(copy.rawValue)", lowerBound: 0, upperBound: 4097, limit: 4096))
        try copy.close()
        let pipe = try FileDescriptor.pipe()
        let noMemory = failure { () throws(MemoryError) in _ = try SharedRegion.map(pipe.readEnd, byteCount: 1) }
        guard case .notUsable = noMemory else {
            Issue.record("wrong error \(String(describing: noMemory))")
            return
        }
        try pipe.readEnd.close()
        try pipe.writeEnd.close()
    }

    @Test func devicesNeedASize() throws {
        let device = try FileDescriptor.open("/dev/zero", .readWrite)
        let error = failure { () throws(MemoryError) in _ = try SharedRegion.map(device) }
        guard case .invalid(argument: "size", _, _) = error else {
            Issue.record("wrong error \(String(describing: error))")
            return
        }
        let region = try SharedRegion.map(device, byteCount: 5000)
        #expect(region.byteCount == 5000)
        region.base.storeBytes(of: 1, toByteOffset: 4999, as: UInt8.self)
        let null = try FileDescriptor.open("/dev/null", .readWrite)
        let refused = failure { () throws(MemoryError) in _ = try SharedRegion.map(null, byteCount: 4096) }
        guard case .system(call: "mmap", _, Errno(rawValue: ENODEV)) = refused else {
            Issue.record("wrong error \(String(describing: refused))")
            return
        }
        try null.close()
    }
}
