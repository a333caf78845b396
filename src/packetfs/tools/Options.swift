import ArgumentParser
import PacketFSGram
import PacketFSMemory
import PacketFSPCPU

/// Options that several tools have: one wording, one set of limits and one parser for each.
extension NumberOption<Int> {
    package static let blobMb = whole("Size of the blob in MiB", 1...1 << 24)
    package static let slabMb = whole("MiB of a ring's slab, which holds the records that wait", 0...262_144)
    package static let ringPow2 = whole("Slots of a ring, as a power of two", 0...26)
    package static let dpf = whole("Descriptors per record", 1...RecordFormat.maximumDescriptors)
    package static let align = powerOfTwo(
        "Alignment of descriptors in bytes, whose lengths are uniform in ALIGN ..< 5*ALIGN", 1...1 << 20)
    package static let pcores = whole("Pcores to run, one process each", 1...4096)
    package static let cpu = whole("Run on this CPU only", 0...4095)
    package static let cpuFirst = whole("First CPU for pcores", 0...4095)
    package static let cpuCount = whole("How many CPUs pcores are spread over", 1...4096)
    package static let rangeOff = bytes("First byte of the range that is worked on", 0...1 << 44)
    package static let rangeLen = bytes("Bytes of the range that is worked on", 0...1 << 44)
}

extension NumberOption<UInt64> {
    package static let records = whole(
        "Exactly this many records for each pcore or stream, instead of --duration", 1...1 << 40)
    package static let seed = whole(
        "Seed of everything that is drawn: patterns, payload and descriptors", 0...UInt64.max)
}

extension NumberOption<Double> {
    /// The longest run: a day, within which no counter of a run reaches 2^53.
    package static let longest = 86_400.0
    package static let duration = decimal("Seconds to run", 0.001...longest)
}

/// Wordings of options that are no numbers.
package enum OptionHelp {
    package static let pageSize: ArgumentHelp =
        "Pages of the memory that is worked on: auto (best first), 1g, 2m, thp or 4k; all but auto are demands."
    package static let iface: ArgumentHelp = "The network interface."
    package static let dstMac: ArgumentHelp = "Hardware address to send to."
    package static let verify: ArgumentHelp =
        "Compare all results with the reference implementation's; exit 65 if anything differs."
    package static let restartFailed: ArgumentHelp = "Replace pcores that die instead of ending the run."
    package static let explain: ArgumentHelp =
        "Print how the program would be executed on this CPU, and run nothing."
    package static let file: ArgumentHelp = "File to copy to the start of the blob. (default: a seeded pattern)"
    package static let hugeDir: ArgumentHelp = "Take the blob from this folder, such as a mounted hugetlbfs."
    package static let device: ArgumentHelp = "The kernel module's device file."
}

extension PagePreference: ExpressibleByArgument {}

/// The option that every tool has.
package struct OutputOptions: ParsableArguments {
    @Flag(help: "Write one JSON document to standard output and nothing else there.")
    package var json = false

    package init() {}
}

/// Options of tools that show how far they are.
package struct ProgressOptions: ParsableArguments {
    @Flag(help: "No progress on standard error.")
    package var quiet = false

    package init() {}
}

/// The options that say which program to run.
package struct ProgramOptions: ParsableArguments {
    @Option(help: "A program of one operation: xor, add, counteq, crc32c or fnv.")
    package var op: String?
    @Option(help: "Immediate of --op, 0 to 255, decimal or 0x.")
    package var imm: String?
    @Option(help: "A program of several operations, such as xor:255,add:7,counteq:0.")
    package var prog: String?

    package init() {}

    package var isGiven: Bool { op != nil || prog != nil || imm != nil }

    /// The program asked for; nil if none is.
    package func program() throws(ToolError) -> Program? { isGiven ? try program(default: "") : nil }

    /// The program asked for, or that of the text `fallback`.
    package func program(default fallback: String) throws(ToolError) -> Program {
        guard op == nil || prog == nil else { throw ToolError(.usage, "--op and --prog exclude each other") }
        guard imm == nil || op != nil else { throw ToolError(.usage, "--imm needs --op") }
        if let op, op.contains(where: { $0 == ":" || $0 == "," }) {
            throw ToolError(
                .usage, "--op \"\(op)\": takes one operation's name; use --imm for its immediate, --prog for several")
        }
        do {
            return try Program(parsing: prog ?? (op ?? fallback) + (imm.map { ":" + $0 } ?? ""))
        } catch {
            throw ToolError(.usage, "\(prog == nil ? "--op" : "--prog"): \(error)")
        }
    }
}
