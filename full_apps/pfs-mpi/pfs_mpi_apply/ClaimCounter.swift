import CPacketFSMPI
import Glibc
import PacketFSTools

/// The counter from which ranks claim chunks. Used by one thread.
final class ClaimCounter {
    private var handle: OpaquePointer?
    private let words = UnsafeMutablePointer<UInt64>.allocate(capacity: 2)
    private let request = Request()
    private var began: UInt64?
    /// Nanoseconds that each claim took, from asking until the answer was seen; the first 65536 of them.
    private(set) var nanoseconds: [UInt64] = []
    /// Claims that were answered.
    private(set) var count: UInt64 = 0

    /// Collective.
    init() throws(ToolError) {
        words.initialize(repeating: 0, count: 2)
        try Communicator.check(
            pfs_mpi_counter_new(&handle),
            "cannot make the counter (if hosts are joined by TCP, mpirun --mca osc must not exclude pt2pt)")
    }

    deinit { words.deallocate() }

    /// The next number, counted from 0 over all ranks, once it is there; asks for it first.
    func next() throws(ToolError) -> UInt64? {
        if began == nil {
            words[0] = 1
            began = Clock.monotonic()
            try Communicator.check(pfs_mpi_counter_add(handle, words, words + 1, request.handle), "claiming a chunk")
        }
        guard let start = began, try request.isOver() else { return nil }
        if nanoseconds.count < 1 << 16 { nanoseconds.append(Clock.monotonic() - start) }
        began = nil
        count += 1
        return words[1]
    }

    /// Collective; no claim may be under way.
    func delete() throws(ToolError) {
        let counter = handle
        handle = nil
        try Communicator.check(pfs_mpi_counter_delete(counter), "the counter")
    }
}
