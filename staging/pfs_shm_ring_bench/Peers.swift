import Glibc
import PacketFSTools
import SystemPackage

/// Whose ring is measured.
enum Contender: Int, CaseIterable, CustomStringConvertible {
    case packetfs
    case dpdk
    case boost

    var description: String {
        switch self {
        case .packetfs: "packetfs"
        case .dpdk: "rte_ring"
        case .boost: "boost_spsc"
        }
    }
}

/// A ring of others: the loops of peers.txt around it, compiled for this run.
///
/// The functions stay valid as long as the process, which never unloads them.
struct PeerCode {
    typealias Alive = @convention(c) (Int32) -> Int32
    typealias Produce = @convention(c) (UnsafeMutableRawPointer, UInt64, UInt64, Alive, Int32) -> Int32
    typealias Consume =
        @convention(c) (UnsafeMutableRawPointer, UInt64, UInt64, UnsafeMutablePointer<UInt64>, Alive, Int32) -> Int32
    typealias Ping =
        @convention(c) (
            UnsafeMutableRawPointer, UnsafeMutableRawPointer, UInt64, UnsafeMutablePointer<UInt32>,
            UnsafeMutablePointer<UInt64>, Alive, Int32
        ) -> Int32
    typealias Pong =
        @convention(c) (
            UnsafeMutableRawPointer, UnsafeMutableRawPointer, UInt64, UnsafeMutablePointer<UInt32>?, Alive, Int32
        ) -> Int32

    /// What both sides do with a batch besides handing it over.
    let work: BatchWork
    let byteCount: @convention(c) () -> Int
    let initialize: @convention(c) (UnsafeMutableRawPointer) -> Void
    let produce: Produce
    let consume: Consume
    let ping: Ping
    let pong: Pong

    /// Loads what ``compile(_:slots:)`` made.
    init(library: FileDescriptor) throws(ToolError) {
        guard let handle = dlopen("/proc/self/fd/\(library.rawValue)", RTLD_NOW | RTLD_LOCAL) else {
            throw ToolError(.system, "a peer's code cannot be loaded: \(String(cString: dlerror()))")
        }
        func symbol<T>(_ name: String, _ type: T.Type) throws(ToolError) -> T {
            guard let address = dlsym(handle, name) else {
                throw ToolError(.system, "a peer's code has no \(name)")
            }
            // The type is that of the C++ function of this name in peers.txt.
            return unsafeBitCast(address, to: type)
        }
        work = BatchWork(
            fill: try symbol("peer_fill", BatchWork.Fill.self), check: try symbol("peer_check", BatchWork.Check.self))
        byteCount = try symbol("peer_bytes", (@convention(c) () -> Int).self)
        initialize = try symbol("peer_init", (@convention(c) (UnsafeMutableRawPointer) -> Void).self)
        produce = try symbol("peer_produce", Produce.self)
        consume = try symbol("peer_consume", Consume.self)
        ping = try symbol("peer_ping", Ping.self)
        pong = try symbol("peer_pong", Pong.self)
    }

    /// A contender that takes part, or why it does not.
    enum Compilation {
        case library(FileDescriptor)
        case absent(String)
    }

    /// Compiles the loops around a peer's ring of `slots` slots; nothing stays in the file system.
    static func compile(_ contender: Contender, slots: UInt32) -> Compilation {
        let header: String
        let package: String
        var flags = ["-std=c++17", "-O3", "-march=native", "-fPIC", "-shared", "-w", "-DCAPACITY=\(slots)"]
        switch contender {
        case .packetfs: return .absent("needs no compiling")
        case .dpdk:
            header = "/usr/include/dpdk/rte_ring.h"
            package = "libdpdk-dev"
            flags += ["-DPEER_DPDK", "-I/usr/include/dpdk", "-I/usr/include/\(machine)-linux-gnu/dpdk"]
        case .boost:
            header = "/usr/include/boost/lockfree/spsc_queue.hpp"
            package = "libboost-dev"
            flags += ["-DPEER_BOOST"]
        }
        guard access(header, R_OK) == 0 else { return .absent("\(header) is missing; install \(package)") }
        do {
            let folder = try ScratchFolder("pfs_shm_ring_bench")
            let source = folder.path.appending("peer.cpp")
            let library = folder.path.appending("peer.so")
            defer { folder.remove(with: ["peer.cpp", "peer.so"]) }
            let file = try FileDescriptor.open(
                source, .writeOnly, options: [.create, .exclusiveCreate], permissions: .ownerReadWrite)
            try file.closeAfter { _ = try file.writeAll(PackageResources.peers_txt) }
            guard run(["c++"] + flags + ["-o", library.string, source.string]) else {
                return .absent("c++ could not compile it; install g++")
            }
            return .library(try FileDescriptor.open(library, .readOnly, options: .closeOnExec))
        } catch {
            return .absent("its code could not be kept: \(error)")
        }
    }

    private static var machine: String {
        var names = utsname()
        uname(&names)
        return withUnsafeBytes(of: names.machine) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }

    /// Runs a command to its end; whether it was successful.
    private static func run(_ words: [String]) -> Bool {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
        var arguments = words.map { strdup($0) } + [nil]
        defer { for argument in arguments { free(argument) } }
        var process: pid_t = 0
        guard posix_spawnp(&process, words[0], &actions, nil, &arguments, environ) == 0 else { return false }
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0 && errno == EINTR {}
        return status == 0
    }
}
