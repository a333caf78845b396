import CPacketFSShims
import Glibc
import PacketFSGram
import PacketFSMemory
import PacketFSPCPU
import PacketFSProcess
import SystemPackage

/// Why a pcore of a file job gives up.
struct BlockFailure: Error {
    let during: PCoreFailure
    let errno: Int32
}

/// Where the blocks of a file job are.
enum BlockStorage {
    /// All of the address space of descriptors is in memory.
    case memory(UnsafeMutableRawBufferPointer)
    /// Blocks are read, transformed and written one after the other.
    case staged(StagedFile)

    /// Takes over what the job needs of `files`. It stays until the process ends.
    init(_ files: PCoreFiles, _ parameters: RunParameters, pcore: Int) throws {
        func file(_ file: FileDescriptor?) throws(EngineError) -> FileDescriptor {
            guard let file else { throw EngineError.damaged("a descriptor of the job is missing") }
            return file
        }
        let byteCount = Int(parameters.limit)
        switch parameters.job {
        case .random, .baseline, .blob:
            let blob = try HugeBlob.adopt(file(files.blob), byteCount: byteCount)
            self = .memory(Permanent.bytes(of: blob))
        case .mappedFile:
            let input = try file(files.input)
            // Somebody who cuts the file off while it is read takes its pages away. The parent knows what this exit code means.
            signal(SIGBUS) { _ in _exit(PCoreExit.io) }
            let base = mmap(nil, byteCount, PROT_READ, MAP_SHARED, input.rawValue, 0)
            guard let base, base != MAP_FAILED else {
                throw SystemError("mmap of the input")
            }
            // Never written through: only programs without maps get this job, and their kernels only read.
            self = .memory(UnsafeMutableRawBufferPointer(start: base, count: byteCount))
        case .stagedFile(let parameters):
            let staging = Int(parameters.byteCount)
            let blob = try HugeBlob.adopt(file(files.blob))
            let bytes = Permanent.bytes(of: blob)
            guard (pcore + 1) * staging <= bytes.count else { throw EngineError.damaged("the blob is too small") }
            self = .staged(
                StagedFile(
                    input: try file(files.input), output: files.output,
                    memory: UnsafeMutableRawBufferPointer(rebasing: bytes[pcore * staging..<(pcore + 1) * staging]),
                    outputShift: parameters.outputShift,
                    writeByteCount: files.output.map(StagedFile.pieceByteCount) ?? staging))
        }
    }
}

/// Blobs that a pcore process keeps until it ends.
private enum Permanent {
    private final class Holder {
        let blob: HugeBlob
        init(_ blob: consuming HugeBlob) { self.blob = blob }
    }

    static func bytes(of blob: consuming HugeBlob) -> UnsafeMutableRawBufferPointer {
        let holder = Holder(blob)
        _ = Unmanaged.passRetained(holder)
        return holder.blob.withUnsafeMutableBytes { $0 }
    }
}

/// Reads blocks of a file into a pcore's own memory, has them transformed there and writes them to another file.
///
/// The memory is small enough to stay in the processor's caches, so a byte crosses the memory bus when it is read from the
/// page cache and when it is written there, and in between never.
package struct StagedFile {
    let input: FileDescriptor
    let output: FileDescriptor?
    let memory: UnsafeMutableRawBufferPointer
    /// What an offset in the output is less than in the input.
    let outputShift: UInt64
    /// The most that one call writes.
    let writeByteCount: Int

    /// How many of `descriptors`, from the first on, lie one behind the other in the file and fit into memory together.
    func groupCount(_ descriptors: UnsafeBufferPointer<Descriptor>.SubSequence) -> Int {
        var bytes = 0
        var count = 0
        var next = descriptors.first?.offset ?? 0
        for descriptor in descriptors {
            bytes += Int(descriptor.length)
            guard descriptor.offset == next, bytes <= memory.count else { break }
            next = descriptor.offset + UInt64(descriptor.length)
            count += 1
        }
        return count
    }

    func read(_ count: Int, at offset: UInt64) throws(BlockFailure) {
        var done = 0
        while done < count {
            let got = pread(input.rawValue, memory.baseAddress! + done, count - done, Int(offset) + done)
            if got > 0 {
                done += got
            } else if got == 0 {
                throw BlockFailure(during: .inputEnded, errno: 0)
            } else if errnoNow() != EINTR {
                throw BlockFailure(during: .readingInput, errno: errnoNow())
            }
        }
    }

    /// How much to write to a file on this machine's disks or in its memory at a time.
    ///
    /// A file system on a disk takes as large a piece of memory for its page cache as a call brings, if it can. A virtual machine's free large
    /// pieces are often not backed by the host, which gives them page by page: in one, ext4 took 12 to 16 s for 4 GiB in
    /// calls of 1 MiB, and 2.5 to 3 s in calls of 16 KiB. tmpfs takes single pages in any case, so there it is the calls that cost.
    package static func pieceByteCount(_ output: FileDescriptor) -> Int {
        var status = pfs_file_system()
        let isTmpfs = pfs_file_system(output.rawValue, &status) == 0 && status.magic == Int64(PFS_TMPFS_MAGIC)
        return isTmpfs ? 1 << 20 : 16 << 10
    }

    func write(_ count: Int, at offset: UInt64) throws(BlockFailure) {
        guard let output else { return }
        var done = 0
        while done < count {
            let put = pwrite(
                output.rawValue, memory.baseAddress! + done, min(writeByteCount, count - done),
                Int(offset - outputShift) + done)
            if put > 0 {
                done += put
            } else if put == 0 || errnoNow() != EINTR {
                throw BlockFailure(during: .writingOutput, errno: put == 0 ? ENOSPC : errnoNow())
            }
        }
    }
}

/// Applies one program to blocks and writes down what each of them yields.
///
/// Entry p of the ring has a row of the table of values to itself, row p modulo the ring's slots: one value per descriptor and
/// reducing operation. The parent reads the row once the entry is released, and holds back the entry that gets the row next until
/// it has (``SpanRecords``), so the ring's own ordering ([T1], [T2], [H1], [H2]) covers the table. Values are written, not added: an entry that a killed pcore
/// left half done is simply done again by its successor.
struct BlockExecutor: ~Copyable, RecordExecutor {
    private let instructions: [Instruction]
    private let plan: Plan
    private let block: PCoreBlock
    private let limit: Int
    private let passes: UInt32
    private let storage: BlockStorage
    private let region: SharedRegion
    private let slots: Int
    private let rowCount: Int
    private let scratch: UnsafeMutableBufferPointer<Descriptor>
    private let local: UnsafeMutableBufferPointer<Descriptor>
    /// A record is a lot of work: each one is released at once, so that its values can go on and its room gets new work.
    let batch = 1
    let usualRecordByteCount: Int
    var tally: Tally

    init(
        program: Program, isa: ISA, block: PCoreBlock, parameters: RunParameters, storage: BlockStorage,
        values: consuming SharedRegion, slots: Int
    ) throws(EngineError) {
        let capacity = Int(parameters.descriptorsPerRecord)
        instructions = program.instructions
        plan = Plan(program, isa: isa)
        rowCount = capacity * plan.reducerCount
        guard slots * rowCount * MemoryLayout<UInt64>.stride <= values.byteCount else {
            throw EngineError.damaged("the table of values is too small")
        }
        self.block = block
        limit = Int(parameters.limit)
        passes =
            switch parameters.job {
            case .blob(let passes): max(1, passes)
            case .stagedFile(let staging): max(1, staging.passes)
            default: 1
            }
        self.storage = storage
        self.region = values
        self.slots = slots
        scratch = .allocate(capacity: max(capacity, 1))
        local = .allocate(capacity: max(capacity, 1))
        usualRecordByteCount = RecordFormat.byteCount(descriptors: capacity, instructions: instructions.count)
        tally = block.latest.tally
    }

    deinit {
        scratch.deallocate()
        local.deallocate()
    }

    mutating func execute(_ bytes: UnsafeRawBufferPointer, position: UInt32) throws(BlockFailure) {
        guard let record = try? RecordView(validating: bytes), record.carries(instructions),
            record.descriptorCount <= scratch.count,
            let table = try? record.loadDescriptors(into: scratch, blobByteCount: limit)
        else {
            tally.rejectedRecords += 1
            return
        }
        let first = region.base.assumingMemoryBound(to: UInt64.self) + (Int(position) & (slots - 1)) * rowCount
        let row = UnsafeMutableBufferPointer(start: first, count: table.descriptors.count * plan.reducerCount)
        switch storage {
        case .memory(let memory):
            guard let base = memory.baseAddress else { return }
            for _ in 0..<passes { plan.execute(on: base, descriptors: table.descriptors, values: row) }
        case .staged(let file):
            do throws(BlockFailure) {
                guard try execute(table.descriptors, row, in: file) else {
                    tally.rejectedRecords += 1
                    return
                }
            } catch {
                block.failure = (error.errno, error.during)
                throw error
            }
        }
        tally.count(
            descriptors: table.descriptors.count, bytes: table.byteCount, operations: UInt64(instructions.count))
    }

    /// Group after group of blocks: in, transformed, out. False if one is too large for the memory that there is.
    private func execute(
        _ table: UnsafeBufferPointer<Descriptor>, _ row: UnsafeMutableBufferPointer<UInt64>, in file: StagedFile
    ) throws(BlockFailure) -> Bool {
        guard let base = file.memory.baseAddress else { return false }
        var done = 0
        while done < table.count {
            let count = file.groupCount(table[done...])
            guard count > 0 else { return false }
            let start = table[done].offset
            var byteCount = 0
            for index in 0..<count {
                let length = table[done + index].length
                local[index] = Descriptor(offset: UInt64(byteCount), length: length)
                byteCount += Int(length)
            }
            try file.read(byteCount, at: start)
            let group = UnsafeBufferPointer(rebasing: UnsafeBufferPointer(local)[..<count])
            let values = UnsafeMutableBufferPointer(
                rebasing: row[done * plan.reducerCount..<(done + count) * plan.reducerCount])
            for _ in 0..<passes { plan.execute(on: base, descriptors: group, values: values) }
            try file.write(byteCount, at: start)
            done += count
        }
        return true
    }

    func storeTotals(to snapshot: PCoreBlock.Snapshot) {}
}
