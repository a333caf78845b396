import ApplyTool
import Glibc
import PacketFSEngine
import PacketFSPCPU
import PacketFSTools
import SystemPackage

/// The chunks of a range: cut at multiples of a chunk from its first byte on.
struct ChunkPlan {
    let range: Range<UInt64>
    let chunkByteCount: Int
    /// Numbers of the chunks that are left to do; nil: all.
    var remaining: [Int]?

    /// Chunks of the whole range.
    var count: Int { (range.count + chunkByteCount - 1) / chunkByteCount }

    /// Chunks that are left to do.
    var remainingCount: Int { remaining?.count ?? count }

    func chunk(_ number: Int) -> Range<UInt64> {
        let first = range.lowerBound + UInt64(number) * UInt64(chunkByteCount)
        return first..<min(first + UInt64(chunkByteCount), range.upperBound)
    }

    /// The chunk that is the `index`th of those left to do.
    func remainingChunk(_ index: Int) -> Range<UInt64> { chunk(remaining?[index] ?? index) }

    /// The number of a chunk, or nil if the range is none of the plan's.
    func number(of range: Range<UInt64>) -> Int? {
        guard range.lowerBound >= self.range.lowerBound, range.lowerBound < self.range.upperBound else { return nil }
        let number = Int(range.lowerBound - self.range.lowerBound) / chunkByteCount
        return chunk(number) == range ? number : nil
    }

    /// The usual size: at most 64 MiB, and so that every rank gets 128 and none waits long for the last one in the end, but
    /// not below 1 MiB; whole blocks.
    static func chunkByteCount(range: Range<UInt64>, ranks: Int, block: Int) -> Int {
        let wanted = max(1 << 20, min(64 << 20, range.count / (128 * ranks)))
        return max(1, wanted / block) * block
    }
}

/// A chunk's result as it travels to rank 0 and is kept in the journal.
///
/// Words of 64 bits, little-endian: ``magic``, first byte and end of the chunk in the file, bytes in holes, number of values, the
/// values, and the CRC-32C of all bytes before it. Described in docs/formats.md.
enum JournalRecord {
    /// "PFSCHNK1".
    static let magic: UInt64 = 0x314B_4E48_4353_4650
    /// Words beside the values.
    private static let frame = 6

    static func encode(_ chunk: ChunkResult) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity((frame + chunk.values.count) * 8)
        func append(_ word: UInt64) { withUnsafeBytes(of: word.littleEndian) { bytes += $0 } }
        append(magic)
        append(chunk.range.lowerBound)
        append(chunk.range.upperBound)
        append(chunk.holeBytes)
        append(UInt64(chunk.values.count))
        for value in chunk.values { append(value) }
        append(UInt64(bytes.withUnsafeBytes { CRC32C.checksum($0) }))
        return bytes
    }

    /// The record at the beginning of `bytes` and its length, or nil if there is no whole and undamaged one.
    static func decode(_ bytes: UnsafeRawBufferPointer) -> (ChunkResult, byteCount: Int)? {
        guard bytes.count >= frame * 8 else { return nil }
        func word(_ index: Int) -> UInt64 {
            UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: index * 8, as: UInt64.self))
        }
        let count = word(4)
        guard word(0) == magic, word(1) < word(2), word(2) < 1 << 62, count <= UInt64(bytes.count / 8 - frame) else {
            return nil
        }
        let last = 5 + Int(count)
        let crc = CRC32C.checksum(UnsafeRawBufferPointer(rebasing: bytes[..<(last * 8)]))
        guard word(last) == UInt64(crc) else { return nil }
        let chunk = ChunkResult(range: word(1)..<word(2), values: (5..<last).map(word), holeBytes: word(3))
        return (chunk, (last + 1) * 8)
    }
}

/// What rank 0 keeps on disk of the chunks that are finished, so that another run can go on from there. Used by one thread.
///
/// Lines that say what the job is, an empty line, then records (``JournalRecord``) in the order in which they came. Only the end
/// can be torn, and a record that is not whole does not count.
final class Journal {
    /// What the job is: a journal goes with the same job only.
    struct Job {
        var lines: [(key: String, value: String)]

        static let magic = "# packetfs journal 1"

        func text(chunkByteCount: Int) -> String {
            let all = lines + [("chunk_bytes", "\(chunkByteCount)")]
            return ([Self.magic] + all.map { "# \($0.key): \($0.value)" }).joined(separator: "\n") + "\n\n"
        }
    }

    private let path: FilePath
    private let descriptor: FileDescriptor
    /// Whether there is no record in it.
    private(set) var isEmpty: Bool
    private var lastSave = Clock.monotonic()
    private var isUnsaved = false
    /// What was in it, if it was there.
    let found: [ChunkResult]
    /// The chunk of the run that it comes from, if it was there.
    let chunkByteCount: Int?
    /// Bytes at the end that were no whole record, and are gone.
    let tornByteCount: Int

    /// Opens the journal, or makes a new one.
    ///
    /// - Parameters:
    ///   - resumes: whether it may be there already.
    ///   - wantedChunk: the chunk that was asked for, if one was; else the usual one.
    init(
        _ path: FilePath, job: Job, resumes: Bool, wantedChunk: Int?, usualChunk: Int, range: Range<UInt64>,
        program: Program, blockByteCount: Int
    ) throws(ToolError) {
        self.path = path
        func failure(_ exit: ToolExit, _ text: String) -> ToolError { ToolError(exit, "--journal \(path): \(text)") }
        let opened: FileDescriptor
        do {
            opened = try FileDescriptor.open(
                path, .readWrite,
                options: resumes ? [.create, .closeOnExec] : [.create, .exclusiveCreate, .closeOnExec],
                permissions: [.ownerReadWrite, .groupRead, .otherRead])
        } catch Errno.fileExists {
            throw failure(.usage, "is there already; --resume goes on from it, or remove it")
        } catch {
            throw failure(.cannotCreate, "\(error)")
        }
        descriptor = opened
        var isKept = false
        defer { if !isKept { try? opened.close() } }
        guard flock(opened.rawValue, LOCK_EX | LOCK_NB) == 0 else {
            throw failure(.unavailable, "another job works with it")
        }
        let bytes = try InputFile.contents(path)
        guard !bytes.isEmpty else {
            let chunk = wantedChunk ?? usualChunk
            do {
                try opened.writeAll(job.text(chunkByteCount: chunk).utf8)
            } catch {
                throw failure(.io, "\(error)")
            }
            (found, chunkByteCount, tornByteCount, isEmpty, isKept) = ([], nil, 0, true, true)
            return
        }
        guard let end = Self.headEnd(bytes) else { throw failure(.usage, "is no journal") }
        let lines = String(decoding: bytes[..<end], as: UTF8.self).split(separator: "\n")
        guard lines.first == Substring(Job.magic) else {
            throw failure(.usage, "is not \"\(Job.magic)\": no journal that this version reads")
        }
        let key = "# chunk_bytes: "
        guard let chunk = lines.last.flatMap({ $0.hasPrefix(key) ? Int($0.dropFirst(key.count)) : nil }), chunk > 0
        else {
            throw failure(.usage, "does not say how long chunks are")
        }
        let expected = job.text(chunkByteCount: chunk).split(separator: "\n")
        if let (there, here) = zip(lines, expected).first(where: { $0 != $1 }) {
            throw failure(
                .usage, "is of another job: it says \"\(there.dropFirst(2))\", this one \"\(here.dropFirst(2))\"")
        }
        guard lines.count == expected.count else { throw failure(.usage, "is of another job") }
        if let wantedChunk, wantedChunk != chunk {
            throw failure(.usage, "is of chunks of \(chunk) bytes: leave --chunk away")
        }
        let plan = ChunkPlan(range: range, chunkByteCount: chunk, remaining: nil)
        var chunks: [Int: ChunkResult] = [:]
        var at = end
        bytes.withUnsafeBytes { all in
            while let (record, length) = JournalRecord.decode(UnsafeRawBufferPointer(rebasing: all[at...])) {
                let values = ChunkResult.valueCount(of: record.range, program: program, blockByteCount: blockByteCount)
                guard let number = plan.number(of: record.range), record.values.count == values else { break }
                chunks[number] = record
                at += length
            }
        }
        tornByteCount = bytes.count - at
        guard ftruncate(opened.rawValue, off_t(at)) == 0, lseek(opened.rawValue, off_t(at), SEEK_SET) >= 0 else {
            throw failure(.io, "\(Errno(rawValue: errno))")
        }
        found = chunks.sorted { $0.key < $1.key }.map(\.value)
        chunkByteCount = chunk
        isEmpty = found.isEmpty
        isKept = true
    }

    deinit { try? descriptor.close() }

    /// Behind the empty line.
    private static func headEnd(_ bytes: [UInt8]) -> Int? {
        let newline = UInt8(ascii: "\n")
        return bytes.prefix(1 << 16).indices.dropFirst().first { bytes[$0] == newline && bytes[$0 - 1] == newline }
            .map { $0 + 1 }
    }

    /// Keeps a record.
    func append(_ record: [UInt8]) throws(ToolError) {
        do {
            try descriptor.writeAll(record)
        } catch {
            throw ToolError(.io, "cannot append to \(path): \(error)")
        }
        isEmpty = false
        isUnsaved = true
    }

    /// Makes safe what was appended, once in a second.
    func tick() {
        let now = Clock.monotonic()
        guard isUnsaved, now - lastSave > 1_000_000_000 else { return }
        lastSave = now
        isUnsaved = false
        _ = fdatasync(descriptor.rawValue)
    }

    /// Removes it: the job is done, or nothing of it.
    func remove() { unlink(path.string) }
}
