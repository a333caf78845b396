import Foundation
import SystemPackage
import Testing

@testable import PacketFSEngine

/// Where holes are found in files on tmpfs, which knows them page by page.
@Suite("PacketFSEngine: holes")
struct HolesTests {
    /// Calls `body` with a file of `pages` pages, of which those in `data` are written to.
    private func withFile(pages: Int, data: [Int], _ body: (FileDescriptor) throws -> Void) throws {
        let path = FilePath("/dev/shm/packetfs-holes-\(UUID().uuidString)")
        let file = try FileDescriptor.open(
            path, .readWrite, options: [.create, .exclusiveCreate], permissions: .ownerReadWrite)
        unlink(path.string)
        try file.closeAfter {
            try file.resize(to: Int64(pages * 4096))
            for page in data { _ = try file.writeAll(toAbsoluteOffset: Int64(page * 4096), [1]) }
            try body(file)
        }
    }

    @Test func findsWhatIsNotWritten() throws {
        for round in 0..<50 {
            let pages = 1 + round
            // None, all, and some in between.
            let data = (0..<pages).filter { ($0 * 7919 + round * 104_729) % 49 < round }
            try withFile(pages: pages, data: data) { file in
                var holes = Holes(of: file)
                for page in 0..<pages {
                    let end = holes.end(at: UInt64(page * 4096), fileByteCount: UInt64(pages * 4096))
                    let next = data.contains(page) ? page : data.first { $0 > page } ?? pages
                    #expect(end == UInt64(next * 4096), "page \(page) of \(pages), written: \(data)")
                }
            }
        }
    }

    @Test func aFileWithoutHolesIsNotSearched() throws {
        try withFile(pages: 3, data: [0, 1, 2]) { file in
            var holes = Holes(of: file)
            // One that comes into being later is not seen; zeros are read there.
            try file.resize(to: 0)
            try file.resize(to: 3 * 4096)
            #expect(holes.end(at: 4096, fileByteCount: 3 * 4096) == 4096)
        }
    }
}
