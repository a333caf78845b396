import ArgumentParser
import PacketFSGram
import PacketFSMemory
import PacketFSPCPU
import PacketFSTools

/// What pfs_proc_pcores is measured against: its kernels and its distribution of descriptors, without its rings.
struct PlainThreads: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "threads",
        abstract: "One program in plain threads over tables as pfs_proc_pcores makes them, without rings or processes.",
        discussion: """
            Tables are generated before the measurement, 2^18 descriptors for each thread, and are used over and over. As in \
            pfs_proc_pcores, threads of a program that writes have a part of the range each.
            """)

    @OptionGroup var choice: ProgramOptions
    @Option(.whole("Threads, one for each CPU that may be used, from the first on", 1...4096))
    var threads = 2
    @Option(.duration)
    var duration = 2.0
    @Option(.blobMb)
    var blobMb = 1024
    @Option(.rangeLen, absent: "all of the blob")
    var rangeLen: Int?
    @Option(.dpf)
    var dpf = 64
    @Option(.align)
    var align = 64
    @Option(.seed)
    var seed: UInt64 = 1
    @Option(help: OptionHelp.pageSize)
    var pageSize = PagePreference.automatic
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard rangeLen.map({ (1...blobMb << 20).contains($0) }) ?? true else {
            throw ValidationError("--range-len must be from 1 to the blob's \(blobMb << 20) bytes.")
        }
    }

    func run() throws { try CommandLineTool.run("pfs_pcpu_bench", measure) }

    private func measure() throws {
        let program = try choice.program(default: "fnv")
        let allowed = try CPUs.allowed()
        guard threads <= allowed.count else {
            throw ToolError(
                .unavailable, "--threads \(threads): this process may use CPUs \(CPUs.describe(allowed)) only")
        }
        let cpus = Array(allowed.prefix(threads))
        let plan = Plan(program, isa: try Kernels.selected())
        let range = 0..<UInt64(rangeLen ?? blobMb << 20)
        let parts =
            program.writes
            ? partition(range, into: threads, alignment: UInt64(max(align, 64)))
            : Array(repeating: range, count: threads)
        guard let parts else {
            throw ToolError(.usage, "--range-len \(range.count): too short for \(threads) threads")
        }
        let blob = try HugeBlob.create(byteCount: blobMb << 20, pages: pageSize)
        try blob.fill(seed: seed, range: 0..<Int(range.upperBound))
        let backing = try blob.backing()
        var workers = parts.enumerated().map { index, part in
            Worker(
                plan: Plan(program, isa: plan.isa), nanoseconds: UInt64(duration * 1e9), perTable: dpf,
                generator: RandomDescriptors(
                    region: part, alignment: UInt32(align), seed: seed, stream: UInt64(index)))
        }
        let start = try blob.withUnsafeMutableBytes { bytes in
            // Not empty, so there is an address.
            let base = Base(address: bytes.baseAddress!)
            return try Threads.run(on: cpus, &workers) { $0.run(base.address) }
        }
        let bytes = workers.reduce(0) { $0 + $1.bytes }
        let elapsed = (workers.map(\.end).max() ?? start) - start
        let result = Result(
            bytes: bytes, elapsedNs: elapsed, backing: "\(backing)", isa: plan.isa)
        try ToolReport(
            tool: "pfs_pcpu_bench",
            config: Config(threads: self, program: program, cpus: cpus, range: range.count), result: result,
            warnings: []
        ).write(
            json: output.json,
            title: "\(program) in \(threads) threads on CPUs \(CPUs.describe(cpus)): "
                + "\(Int(result.throughputMbPerS.rounded())) MB/s; \(plan.isa) kernels, \(backing)")
    }

    struct Config: ReportObject {
        let threads: PlainThreads
        let program: Program
        let cpus: [Int]
        let range: Int

        static var figures: [Figure<Self>] {
            Figure("program", "what was run", \.program.description)
            Figure("threads", "one for each CPU", \.threads.threads)
            Figure("cpus", "where they ran", \.cpus)
            Figure("duration_seconds", "how long", \.threads.duration)
            Figure("blob_bytes", "of the blob") { $0.threads.blobMb << 20 }
            Figure("range_bytes", "that descriptors lie in, from the blob's start", \.range)
            Figure("dpf", "descriptors of a table", \.threads.dpf)
            Figure("align_bytes", "alignment of descriptors", \.threads.align)
            Figure("seed", "of descriptors and pattern") { Word($0.threads.seed) }
        }
    }

    struct Result: ReportObject {
        let bytes: UInt64
        let elapsedNs: UInt64
        let backing: String
        let isa: ISA

        var throughputMbPerS: Double { Double(bytes) / Double(elapsedNs) * 1000 }

        static var figures: [Figure<Self>] {
            Figure("bytes", "that were worked on", \.bytes)
            Figure("elapsed_ns", "from the start to the last thread's end", \.elapsedNs)
            Figure("throughput_mb_per_s", "`bytes` / `elapsed_ns`", \.throughputMbPerS)
            Figure("backing", "the memory that was really got", \.backing)
            Figure("isa", "the kernels that were used", \.isa.rawValue)
        }
    }

    /// The blob's address, handed to threads that write different parts of it or only read.
    private struct Base: @unchecked Sendable { let address: UnsafeMutableRawPointer }

    /// One thread's tables and what it has done.
    private struct Worker: @unchecked Sendable {
        let plan: Plan
        let nanoseconds: UInt64
        let perTable: Int
        let descriptors: [Descriptor]
        /// Payload bytes of each table.
        let byteCounts: [UInt64]
        var bytes: UInt64 = 0
        var end: UInt64 = 0

        init(plan: Plan, nanoseconds: UInt64, perTable: Int, generator: RandomDescriptors) {
            self.plan = plan
            self.nanoseconds = nanoseconds
            self.perTable = perTable
            let descriptors = [Descriptor](unsafeUninitializedCapacity: max(1, (1 << 18) / perTable) * perTable) {
                $0.initialize(repeating: Descriptor(offset: 0, length: 0))
                generator.fill($0, from: 0)
                $1 = $0.count
            }
            self.descriptors = descriptors
            byteCounts = stride(from: 0, to: descriptors.count, by: perTable).map {
                descriptors[$0..<$0 + perTable].reduce(0) { $0 + UInt64($1.length) }
            }
        }

        /// Does one table after the other, round and round, and looks at the clock after every eighth, as a pcore does.
        mutating func run(_ base: UnsafeMutableRawPointer) {
            let deadline = Clock.monotonic() + nanoseconds
            var next = 0
            // Workers are neighbours in memory: what changes for each table is on the thread's own stack.
            var bytes: UInt64 = 0
            descriptors.withUnsafeBufferPointer { descriptors in
                withUnsafeTemporaryAllocation(of: UInt64.self, capacity: plan.reducerCount) { totals in
                    totals.initialize(repeating: 0)
                    while Clock.monotonic() < deadline {
                        for _ in 0..<8 {
                            let start = next * perTable
                            let table = UnsafeBufferPointer(rebasing: descriptors[start..<start + perTable])
                            plan.execute(on: base, descriptors: table, totals: totals)
                            bytes += byteCounts[next]
                            next = next + 1 == byteCounts.count ? 0 : next + 1
                        }
                    }
                }
            }
            self.bytes = bytes
            end = Clock.monotonic()
        }
    }
}
