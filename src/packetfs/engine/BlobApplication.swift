import PacketFSMemory
import PacketFSPCPU
import PacketFSProcess

extension Program {
    /// Applies this program to every block of `blob`, in place, with one process for each of `processes`.
    ///
    /// The executable is started again for each process, so its `main` must begin with ``PCoreWorker/runIfAsked(parentDied:failed:)``. The
    /// processes go round over the CPUs that the caller may use. Calls of one thread only.
    ///
    /// - Parameters:
    ///   - blob: a blob that has a file descriptor, as all made by `HugeBlob` have; what is in it changes if the program writes.
    ///   - blockByteCount: what a reducing operation sees at a time.
    ///   - processes: how many; nil means one for each CPU.
    /// - Returns: what the blocks have come to. Throws ``EngineError``, and what memory, rings and the system throw.
    public func apply(
        to blob: borrowing HugeBlob, blockByteCount: Int = 1 << 20, processes: Int? = nil
    ) throws -> ChunkTotals {
        guard blockByteCount > 0, processes.map({ 1...PCoreWorker.maximumPCores ~= $0 }) ?? true else {
            throw EngineError.invalid(
                "blocks have at least 1 byte, and there are 1 to \(PCoreWorker.maximumPCores) processes")
        }
        var job = BlockJob(program: self)
        job.blockByteCount = blockByteCount
        job.pcores = processes
        let byteCount = blob.byteCount
        let driver = WholeRange(
            0..<UInt64(byteCount), ChunkTotals(program: self, blockByteCount: blockByteCount, end: UInt64(byteCount)))
        let run = try ChunkRun(
            job, cpus: CPUs.allowed(), input: .blob(blob.fileDescriptor, byteCount: byteCount),
            chunkByteCount: byteCount, driver: driver)
        _ = try run.run()
        return driver.totals
    }
}

/// Deals out one chunk, the whole range, and keeps what it comes to.
private final class WholeRange: ChunkDriver {
    private(set) var totals: ChunkTotals
    private var left: Range<UInt64>

    init(_ range: Range<UInt64>, _ totals: ChunkTotals) { (left, self.totals) = (range, totals) }

    func claim() -> ChunkClaim {
        guard !left.isEmpty else { return .exhausted }
        defer { left = left.upperBound..<left.upperBound }
        return .chunk(left)
    }

    func finish(_ chunk: ChunkResult) { totals.add(chunk) }
    func willBegin(pass: Int) {}
    func didEnd(pass: Int) {}
    func tick() {}
    func read(into memory: UnsafeMutableRawBufferPointer, at offset: UInt64) {}
    func write(_ memory: UnsafeRawBufferPointer, at offset: UInt64) {}
}
