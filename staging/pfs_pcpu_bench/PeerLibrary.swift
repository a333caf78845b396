import Glibc
import PacketFSGram
import PacketFSPCPU

/// A function of a library that others wrote, ready to be measured.
struct PeerLibrary {
    /// The column's name.
    let name: String
    /// What it computes: a program's text, or the name of another function that is there for reference only.
    let work: String
    /// Where it comes from: a file, or a package and its version.
    let origin: String
    /// One call for each descriptor.
    let contender: Contender
}

extension PeerLibrary {
    /// A function that the programs do not have but that has the same purpose as `fnv`: how fast a hash can be that was made for vectors.
    static let otherHash = "xxh3"

    /// Those that are there, and those of ``known`` that are not: what they are and how to get them.
    ///
    /// - Parameter folder: where `utils/bench-peers-install` has put libraries; it need not exist.
    static func found(in folder: String) -> (libraries: [PeerLibrary], missing: [String]) {
        let found = (fromSystem() + files(in: folder).compactMap { Library(ifPresent: $0) }.compactMap(uniform))
        let missing = known.filter { known in !found.contains { $0.name == known.name } }
        return (found, missing.map { "\($0.name) (\($0.package), or just bench-peers-install)" })
    }

    /// What the benchmark misses where it is not there, and in which package it is.
    private static let known = [
        (name: "isa-l", package: "Debian package libisal2"),
        (name: "aws-checksums", package: "PyPI package awscrt"),
        (name: "google-crc32c", package: "PyPI package google-crc32c"),
        (name: "fnv-c", package: "PyPI package fnv-c"),
        (name: otherHash, package: "Debian package libxxhash-dev"),
    ]

    private typealias Call = @convention(c) (UnsafePointer<UInt8>, Int) -> UInt64
    private typealias ISAL = @convention(c) (UnsafePointer<UInt8>, Int32, UInt32) -> UInt32

    /// ISA-L as the distribution has it. `crc32_iscsi` takes and returns the raw register.
    private static func fromSystem() -> [PeerLibrary] {
        guard let library = ["libisal.so.2", "libisal.so"].lazy.compactMap({ Library(ifPresent: $0) }).first,
            let function = library.function("crc32_iscsi", as: ISAL.self)
        else { return [] }
        return [
            PeerLibrary(name: "isa-l", work: "crc32c", origin: library.path) { bytes, count in
                UInt64(~function(bytes, Int32(truncatingIfNeeded: count), .max))
            }
        ]
    }

    /// A library with the functions that `utils/bench-peers-install` gives all of them; nil where it is something else or cannot work.
    private static func uniform(_ library: Library) -> PeerLibrary? {
        func text(_ symbol: String) -> String? {
            library.symbol(symbol).map { String(cString: $0.assumingMemoryBound(to: CChar.self)) }
        }
        guard let name = text("pfs_peer_name"), let work = text("pfs_peer_work"), let origin = text("pfs_peer_origin"),
            let isReady = library.function("pfs_peer_ready", as: (@convention(c) () -> Int32).self), isReady() == 1,
            let call = library.function("pfs_peer_call", as: Call.self)
        else { return nil }
        return PeerLibrary(name: name, work: work, origin: origin) { call($0, $1) }
    }

    private init(
        name: String, work: String, origin: String, _ call: @escaping (UnsafePointer<UInt8>, Int) -> UInt64
    ) {
        self.name = name
        self.work = work
        self.origin = origin
        contender = Contender(work: work, by: name, form: origin) { base, table in
            let bytes = UnsafePointer(base.assumingMemoryBound(to: UInt8.self))
            return table.reduce(0) { $0 &+ call(bytes + Int($1.offset), Int($1.length)) }
        }
    }

    /// The shared libraries in a folder, in alphabetical order.
    private static func files(in folder: String) -> [String] {
        guard let directory = opendir(folder) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name.hasSuffix(".so") { names.append("\(folder)/\(name)") }
        }
        return names.sorted()
    }
}
