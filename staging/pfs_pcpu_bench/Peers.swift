import Glibc
import PacketFSGram
import PacketFSPCPU
import PacketFSTools
import SystemPackage

/// Functions that others wrote, loaded at run time.
struct Peers {
    /// A loop of peer.c: bytes, their number, an operand.
    typealias Loop = @convention(c) (UnsafeMutablePointer<UInt8>, Int, UInt8) -> UInt64

    /// How peer.c was compiled, each way once.
    let compilers: [String]
    /// The libraries that were found.
    var libraries: [PeerLibrary]
    /// What could have been measured too, in words: what it is and how to get it.
    let missing: [String]
    /// The libraries that take part, and where they are.
    var libraryNames: [String] { libraries.map { "\($0.name): \($0.origin)" } }
    private let compiled: [(options: String, library: Library)]

    /// Compiles and loads peer.c and looks for libraries.
    ///
    /// - Parameters:
    ///   - cc: the compiler.
    ///   - folder: where `just bench-peers-install` has put libraries; it need not exist.
    init(compiler cc: String, folder: String) throws(ToolError) {
        compiled = try Self.build(cc)
        compilers = compiled.map(\.options)
        (libraries, missing) = PeerLibrary.found(in: folder)
    }

    /// The loops that measure what memory gives.
    func limits() -> [Contender] {
        ["read", "modify"].flatMap { work in
            ["words", "vectors"].flatMap { form in
                compiled.compactMap { options, library in
                    library.function("peer_\(work)_\(form)", as: Loop.self).map { loop in
                        Contender(work: work, by: "limit", form: "\(form), \(options)") { base, table in
                            Self.run(loop, 0, base, table)
                        }
                    }
                }
            }
        }
    }

    /// The other contenders for a program: loops in C, one for each operation, and libraries.
    func contenders(_ program: Program, _ text: String, isSlow: Bool) throws(ToolError) -> [Contender] {
        var all: [Contender] = []
        if !(isSlow && program.steps.contains { $0.op == .crc32c || $0.op == .fnv }) {
            for form in Set(program.steps.flatMap { Self.forms($0.op) }).sorted() {
                for (options, library) in compiled {
                    let loops = program.steps.compactMap { step in
                        // A program of several operations takes the form for those that have it.
                        let form = Self.forms(step.op).contains(form) ? form : Self.forms(step.op)[0]
                        return library.function("peer_\(step.op.name)_\(form)", as: Loop.self)
                            .map { ($0, step.immediate, step.op.reduces) }
                    }
                    guard loops.count == program.steps.count else { continue }
                    all.append(
                        Contender(work: text, by: "c", form: "\(form), \(options)") { base, table in
                            var first: UInt64?
                            for (loop, immediate, reduces) in loops {
                                let value = Self.run(loop, immediate, base, table)
                                if reduces && first == nil { first = value }
                            }
                            return first ?? 0
                        })
                }
            }
        }
        if program.steps.count == 1 {
            all += libraries.filter { $0.work == text }.map(\.contender)
        }
        return all
    }

    /// Functions that no program has, for reference.
    var references: [Contender] { libraries.filter { $0.work == PeerLibrary.otherHash }.map(\.contender) }

    /// The names of an operation's loops in peer.c.
    private static func forms(_ op: Op) -> [String] {
        switch op {
        case .xor, .add, .counteq: ["bytes", "vectors"]
        case .crc32c: ["bytes", "slices", "instruction"]
        case .fnv: ["bytes", "words"]
        }
    }

    private static func run(
        _ loop: Loop, _ immediate: UInt8, _ base: UnsafeMutableRawPointer, _ table: UnsafeBufferPointer<Descriptor>
    ) -> UInt64 {
        let bytes = base.assumingMemoryBound(to: UInt8.self)
        var result: UInt64 = 0
        for descriptor in table {
            result &+= loop(bytes + Int(descriptor.offset), Int(descriptor.length), immediate)
        }
        return result
    }

    private static let common = ["-shared", "-fPIC"]
    /// Compilers prefer narrower vectors than there are on some CPUs with AVX-512; elsewhere the second is the same as the first.
    private static let variants = [["-O3", "-march=native"], ["-O3", "-march=native", "-mprefer-vector-width=512"]]

    private static func build(_ cc: String) throws(ToolError) -> [(String, Library)] {
        let folder = try ScratchFolder("pfs_pcpu_bench")
        let source = folder.path.appending("peer.c").string
        // The loader takes a name that it has seen for the library that it has loaded.
        let objects = variants.indices.map { "peer\($0).so" }
        defer { folder.remove(with: ["peer.c"] + objects) }
        do {
            let file = try FileDescriptor.open(
                FilePath(source), .writeOnly, options: [.create, .truncate], permissions: .ownerReadWrite)
            try file.closeAfter { _ = try file.writeAll(PackageResources.peer_c) }
        } catch {
            throw ToolError(.cannotCreate, "cannot write \(source): \(error)")
        }
        var built: [(String, Library)] = []
        for (options, name) in zip(variants, objects) {
            let object = folder.path.appending(name).string
            #if !arch(x86_64)
                if options.count > 2 { continue }
            #endif
            try run([cc] + options + common + ["-o", object, source])
            built.append(("\(cc) \(options.joined(separator: " "))", try Library(object, what: "the compiled loops")))
        }
        return built
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
