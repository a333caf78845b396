import Glibc
import PacketFSTools
import SystemPackage

/// Functions that others wrote, loaded at run time.
struct Peers {
    /// A loop of peer.c: bytes, their number, an operand.
    typealias Loop = @convention(c) (UnsafeMutablePointer<UInt8>, Int, UInt8) -> UInt64
    /// ISA-L's crc32_iscsi: bytes, their number, the raw register before; returns the raw register.
    typealias ISAL = @convention(c) (UnsafeMutablePointer<UInt8>, Int32, UInt32) -> UInt32

    /// How peer.c was compiled.
    let compiler: String
    /// Where ISA-L came from; nil where it is not installed.
    let isalLibrary: String?
    let isal: ISAL?
    private let library: Library

    /// Compiles and loads peer.c and looks for ISA-L.
    init(compiler cc: String) throws(ToolError) {
        let library = try Self.build(cc)
        self.library = library
        compiler = "\(cc) \(Self.options.joined(separator: " "))"
        let candidates = ["libisal.so.2", "libisal.so"]
        let found = candidates.lazy.compactMap { name in dlopen(name, RTLD_NOW).map { (name, Library(handle: $0)) } }
            .first
        isalLibrary = found?.0
        isal = found?.1.symbol("crc32_iscsi").map { unsafeBitCast($0, to: ISAL.self) }
    }

    /// The loop of peer.c with this name.
    func loop(_ name: String) throws(ToolError) -> Loop {
        guard let symbol = library.symbol(name) else { throw ToolError(.system, "peer.c has no function \(name)") }
        return unsafeBitCast(symbol, to: Loop.self)
    }

    private static let options = ["-O3", "-march=native", "-shared", "-fPIC"]

    /// A loaded library; never unloaded.
    private struct Library: @unchecked Sendable {
        let handle: UnsafeMutableRawPointer
        func symbol(_ name: String) -> UnsafeMutableRawPointer? { dlsym(handle, name) }
    }

    private static func build(_ cc: String) throws(ToolError) -> Library {
        let folder = try ScratchFolder("pfs_pcpu_bench")
        let source = folder.path.appending("peer.c").string
        let object = folder.path.appending("peer.so").string
        defer { folder.remove(with: ["peer.c", "peer.so"]) }
        do {
            let file = try FileDescriptor.open(
                FilePath(source), .writeOnly, options: [.create, .truncate], permissions: .ownerReadWrite)
            try file.closeAfter { _ = try file.writeAll(PackageResources.peer_c) }
        } catch {
            throw ToolError(.cannotCreate, "cannot write \(source): \(error)")
        }
        try run([cc] + options + ["-o", object, source])
        guard let handle = dlopen(object, RTLD_NOW) else {
            throw ToolError(.system, "cannot load the compiled loops: \(String(cString: dlerror()))")
        }
        return Library(handle: handle)
    }

    private static func run(_ command: [String]) throws(ToolError) {
        var process: pid_t = 0
        var arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) }
        defer { for argument in arguments { free(argument) } }
        arguments.append(nil)
        let failure = posix_spawnp(&process, command[0], nil, nil, &arguments, environ)
        guard failure == 0 else {
            throw ToolError(
                .unavailable,
                "cannot start \(command[0]): \(Errno(rawValue: failure)); install gcc or name a compiler with --cc")
        }
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0 && errno == EINTR {}
        guard status == 0 else {
            throw ToolError(.system, "\(command.joined(separator: " ")) failed (status \(status))")
        }
    }
}
