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

    @Option(help: "The program, such as xor:255,add:7,counteq:0.")
    var prog = "fnv"
    @Option(help: "Threads, one for each CPU that may be used, from the first on.")
    var threads = 2
    @Option(help: "Seconds to run.")
    var duration = 2.0
    @Option(help: "Blob size in MiB.")
    var blobMb = 1024
    @Option(help: "Bytes of the blob, from its start, that descriptors lie in (default: all).")
    var rangeLen: Int?
    @Option(help: "Descriptors of a table.")
    var dpf = 64
    @Option(help: "Alignment of descriptors in bytes; lengths are uniform in ALIGN ..< 5*ALIGN.")
    var align = 64
    @Option(help: "Seed of the descriptors, and of the pattern in the blob.")
    var seed: UInt64 = 1
    @Option(help: "Pages of the blob: auto (best first), 1g, 2m, thp or 4k; all but auto are demands.")
    var pageSize = PagePreference.automatic
    @Flag(help: "Print one JSON document and nothing else.")
    var json = false

    func validate() throws {
        func check(_ condition: Bool, _ message: String) throws {
            if !condition { throw ValidationError(message) }
        }
        try check((1...4096).contains(threads), "--threads is \(threads); it must be from 1 to 4096.")
        try check(duration > 0 && duration <= 3600, "--duration is \(duration); it must be above 0 and at most 3600.")
        try check((1...1 << 24).contains(blobMb), "--blob-mb is \(blobMb); it must be from 1 to 16777216.")
        try check(
            rangeLen.map { (1...blobMb << 20).contains($0) } ?? true,
            "--range-len is \(rangeLen ?? 0); it must be from 1 to the blob's \(blobMb << 20) bytes.")
        try check((1...65_536).contains(dpf), "--dpf is \(dpf); it must be from 1 to 65536.")
        try check(
            align.nonzeroBitCount == 1 && (1...1 << 20).contains(align),
            "--align is \(align); it must be a power of two from 1 to 1048576.")
    }

    func run() throws { try CommandLineTool.run("pfs_pcpu_bench", measure) }

    private func measure() throws {
        let program = try Program(op: nil, immediate: nil, program: prog, default: "fnv")
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
            bytes: bytes, elapsedNs: elapsed, throughputMbPerS: Double(bytes) / Double(elapsed) * 1000,
            backing: "\(backing)", isa: plan.isa.rawValue)
        guard json else {
            return print(
                "\(program) in \(threads) threads on CPUs \(CPUs.describe(cpus)): "
                    + "\(Int(result.throughputMbPerS.rounded())) MB/s; \(plan.isa) kernels, \(backing)")
        }
        let report = ToolReport(
            tool: "pfs_pcpu_bench",
            config: Config(
                program: "\(program)", threads: threads, cpus: cpus, durationS: duration, blobBytes: blob.byteCount,
                rangeBytes: range.count, descriptorsPerTable: dpf, alignBytes: align, seed: seed),
            result: result, warnings: [])
        print(try report.text())
    }

    private struct Config: Encodable {
        let program: String
        let threads: Int
        let cpus: [Int]
        let durationS: Double
        let blobBytes: Int
        let rangeBytes: Int
        let descriptorsPerTable: Int
        let alignBytes: Int
        let seed: UInt64
    }

    private struct Result: Encodable {
        let bytes: UInt64
        let elapsedNs: UInt64
        let throughputMbPerS: Double
        let backing: String
        let isa: String
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
