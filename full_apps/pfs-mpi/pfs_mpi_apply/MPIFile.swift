import CPacketFSMPI
import Glibc
import PacketFSTools

/// A file that this rank reads or writes by MPI-IO. Used by one thread.
final class MPIFile {
    private var handle: OpaquePointer?
    private let name: String

    private let pieceByteCount: Int

    /// Opens a file that exists; `path` is absolute.
    ///
    /// - Parameter pieceByteCount: the most that one call writes.
    init(_ path: String, writes: Bool, pieceByteCount: Int = .max) throws(ToolError) {
        name = path
        self.pieceByteCount = pieceByteCount
        let code = pfs_mpi_open(path, writes ? 1 : 0, &handle)
        guard code == 0 else {
            throw ToolError(
                writes ? .cannotCreate : .noInput,
                "cannot open \(path) by MPI-IO: \(Communicator.errorText(code))")
        }
    }

    /// Fills `memory`.
    func read(into memory: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(ToolError) {
        var done = 0
        while done < memory.count {
            var got = 0
            let code = pfs_mpi_read(
                handle, memory.baseAddress! + done, memory.count - done, offset + UInt64(done), &got)
            guard code == 0 else { throw ToolError(.io, "cannot read \(name): \(Communicator.errorText(code))") }
            guard got > 0 else { throw ToolError(.io, "\(name) became shorter while it was read; nothing was written") }
            done += got
        }
    }

    /// Writes all of `memory`.
    func write(_ memory: UnsafeRawBufferPointer, at offset: UInt64) throws(ToolError) {
        var done = 0
        while done < memory.count {
            var put = 0
            let code = pfs_mpi_write(
                handle, memory.baseAddress! + done, min(pieceByteCount, memory.count - done), offset + UInt64(done),
                &put)
            guard code == 0 else { throw ToolError(.io, "cannot write \(name): \(Communicator.errorText(code))") }
            guard put > 0 else { throw ToolError(.io, "cannot write \(name): there is no room") }
            done += put
        }
    }

    /// Returns when everything that was written is safe.
    func sync() throws(ToolError) {
        let code = pfs_mpi_sync(handle)
        guard code == 0 else { throw ToolError(.io, "cannot save \(name): \(Communicator.errorText(code))") }
    }

    func close() throws(ToolError) {
        guard let open = handle else { return }
        handle = nil
        let code = pfs_mpi_close(open)
        guard code == 0 else { throw ToolError(.io, "cannot close \(name): \(Communicator.errorText(code))") }
    }
}
