import Glibc
import SystemPackage

/// A piece of shared memory that both sides map: a nameless file in memory, gone with its last user.
struct SharedFile: ~Copyable {
    let file: FileDescriptor
    let base: UnsafeMutableRawPointer
    let byteCount: Int

    /// Makes a new one, all zero.
    static func create(byteCount: Int) throws(BenchError) -> SharedFile {
        do {
            // O_TMPFILE, which the C library declares for GNU sources only.
            let nameless = FileDescriptor.OpenOptions(rawValue: 0o20_000_000 | O_DIRECTORY)
            let file = try FileDescriptor.open(
                "/dev/shm", .readWrite, options: [nameless, .closeOnExec], permissions: .ownerReadWrite)
            // Allocated for real, as a full file system would otherwise kill whoever touches the memory first.
            let status = posix_fallocate(file.rawValue, 0, off_t(byteCount))
            guard status == 0 else {
                throw Errno(rawValue: status)
            }
            return try SharedFile(mapping: file, byteCount: byteCount)
        } catch let error as BenchError {
            throw error
        } catch {
            throw .unavailable("no shared memory of \(byteCount) bytes in /dev/shm: \(error); make room there")
        }
    }

    /// Maps what another process made; takes over the descriptor.
    init(mapping file: FileDescriptor, byteCount: Int) throws(BenchError) {
        guard let base = mmap(nil, byteCount, PROT_READ | PROT_WRITE, MAP_SHARED, file.rawValue, 0), base != MAP_FAILED
        else {
            throw .system("mmap of \(byteCount) bytes of shared memory", Errno(rawValue: errno))
        }
        self.file = file
        self.base = base
        self.byteCount = byteCount
    }

    deinit {
        munmap(base, byteCount)
        try? file.close()
    }
}
