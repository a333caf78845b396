import CPacketFS
import Glibc
import PacketFSGram
import PacketFSPCPU

/// See packetfs.h.
@c @implementation
public func pfs_descriptors_generate(
    _ seed: UInt64, _ stream: UInt64, _ rangeStart: UInt64, _ rangeEnd: UInt64, _ alignment: UInt32, _ first: UInt64,
    _ table: UnsafeMutablePointer<pfs_gram_desc>?, _ count: UInt64, _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    done(error) { () throws(Failure) in
        let table = try descriptors(table, count)
        guard rangeStart < rangeEnd, rangeEnd < 1 << 62 else {
            throw Failure(PFS_ERROR_ARGUMENT, "bytes \(rangeStart) to \(rangeEnd) are no part of a blob")
        }
        guard alignment.nonzeroBitCount == 1, alignment <= 1 << 20 else {
            throw Failure(PFS_ERROR_ARGUMENT, "alignment \(alignment): use a power of two up to 1048576")
        }
        RandomDescriptors(region: rangeStart..<rangeEnd, alignment: alignment, seed: seed, stream: stream)
            .fill(table, from: first)
    }
}

/// The instructions of a program, none for NULL.
private func instructions(_ program: OpaquePointer?) throws(Failure) -> [Instruction] {
    program == nil ? [] : try object(program, ProgramObject.self).instructions
}

private func length(_ instructions: [Instruction], _ count: UInt64) throws(Failure) -> Int {
    guard count <= UInt64(RecordFormat.maximumDescriptors) else {
        throw Failure(
            PFS_ERROR_ARGUMENT,
            "a record of \(count) ranges: at most \(RecordFormat.maximumDescriptors) are allowed; use several records")
    }
    return RecordFormat.byteCount(descriptors: Int(count), instructions: instructions.count)
}

/// See packetfs.h.
@c @implementation
public func pfs_record_byte_count(
    _ program: OpaquePointer?, _ count: UInt64, _ byteCount: UnsafeMutablePointer<UInt64>?,
    _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    done(error) { () throws(Failure) in
        let length = try length(instructions(program), count)
        try required(byteCount, "address for the size").pointee = UInt64(length)
    }
}

/// See packetfs.h.
@c @implementation
public func pfs_record_encode(
    _ program: OpaquePointer?, _ ranges: UnsafePointer<pfs_gram_desc>?, _ count: UInt64,
    _ memory: UnsafeMutableRawPointer?, _ capacity: UInt64, _ byteCount: UnsafeMutablePointer<UInt64>?,
    _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    done(error) { () throws(Failure) in
        let instructions = try instructions(program)
        let length = try length(instructions, count)
        let ranges = try descriptors(ranges, count)
        let memory = try bytes(memory, capacity)
        try require(memory.count, holds: length, "bytes")
        let table = RecordEncoder.begin(in: memory, descriptorCount: ranges.count, instructions: instructions)
        _ = table.initialize(fromContentsOf: ranges)
        byteCount?.pointee = UInt64(length)
    }
}

private func view(_ memory: UnsafeRawPointer?, _ available: UInt64) throws(Failure) -> RecordView {
    let bytes = try bytes(memory, available)
    return try record { () throws(RecordError) in try RecordView(validating: bytes) }
}

/// See packetfs.h.
@c @implementation
public func pfs_record_read(
    _ memory: UnsafeRawPointer?, _ available: UInt64, _ blobByteCount: UInt64,
    _ table: UnsafeMutablePointer<pfs_gram_desc>?, _ capacity: UInt64, _ count: UnsafeMutablePointer<UInt64>?,
    _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    done(error) { () throws(Failure) in
        let blobByteCount = try size(blobByteCount, "size of the blob")
        let out = try required(count, "address for the count")
        let view = try view(memory, available)
        let table = try descriptors(table, capacity)
        try require(table.count, holds: view.descriptorCount, "ranges")
        let loaded = try record { () throws(RecordError) in
            try view.loadDescriptors(into: table, blobByteCount: blobByteCount)
        }
        out.pointee = UInt64(loaded.descriptors.count)
    }
}

/// See packetfs.h.
@c @implementation
public func pfs_record_carries(
    _ memory: UnsafeRawPointer?, _ available: UInt64, _ program: OpaquePointer?,
    _ carries: UnsafeMutablePointer<UInt32>?, _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    done(error) { () throws(Failure) in
        let program = try object(program, ProgramObject.self)
        let out = try required(carries, "address for the answer")
        out.pointee = try view(memory, available).carries(program.instructions) ? 1 : 0
    }
}

/// See packetfs.h.
@c @implementation
public func pfs_record_program(
    _ memory: UnsafeRawPointer?, _ available: UInt64, _ out: UnsafeMutablePointer<OpaquePointer?>?,
    _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    done(error) { () throws(Failure) in
        let out = try required(out, "address for the program")
        let view = try view(memory, available)
        guard view.instructionCount > 0 else {
            out.pointee = nil
            return
        }
        let decoded = try program { () throws(ProgramError) in try Program(decoding: view.instructions()) }
        out.pointee = handle(try ProgramObject(decoded))
    }
}

// MARK: - Streams

/// See packetfs.h.
@c @implementation
public func pfs_stream_begin(
    _ stream: UnsafePointer<pfs_stream>?, _ blob: OpaquePointer?, _ program: OpaquePointer?,
    _ memory: UnsafeMutableRawPointer?, _ capacity: UInt64, _ byteCount: UnsafeMutablePointer<UInt64>?,
    _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    done(error) { () throws(Failure) in
        let stream = try required(stream, "stream").pointee
        let blob = try object(blob, BlobObject.self)
        let program = try object(program, ProgramObject.self)
        let memory = try bytes(memory, capacity)
        guard stream.reserved == 0, stream.range_start < stream.range_end else {
            throw Failure(
                PFS_ERROR_ARGUMENT,
                "the stream's bytes, \(stream.range_start) to \(stream.range_end), are none, or its reserved word is not 0"
            )
        }
        var status = stat()
        guard fstat(blob.blob.fileDescriptor.rawValue, &status) == 0 else {
            throw Failure(PFS_ERROR_SYSTEM, "fstat failed on the blob", systemError: errno)
        }
        let begin = StreamBegin(
            seed: stream.seed, firstRecord: stream.first_record, range: stream.range_start..<stream.range_end,
            blobByteCount: UInt64(blob.blob.byteCount), blobFile: UInt64(status.st_ino),
            descriptorsPerRecord: stream.descriptors_per_record, alignment: stream.alignment,
            flags: StreamBegin.Flags(rawValue: stream.flags), instructions: program.instructions)
        let length = StreamControl.byteCount(of: begin)
        try require(memory.count, holds: length, "bytes")
        StreamControl.write(begin, to: memory)
        do throws(RecordError) {
            // As its reader will check it.
            _ = try StreamControl(validating: UnsafeRawBufferPointer(memory))
        } catch {
            throw Failure(PFS_ERROR_ARGUMENT, "nobody would accept this stream: \(error)")
        }
        byteCount?.pointee = UInt64(length)
    }
}

/// See packetfs.h.
@c @implementation
public func pfs_stream_end(
    _ records: UInt64, _ descriptors: UInt64, _ byteTotal: UInt64, _ memory: UnsafeMutableRawPointer?,
    _ capacity: UInt64, _ byteCount: UnsafeMutablePointer<UInt64>?, _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    done(error) { () throws(Failure) in
        let memory = try bytes(memory, capacity)
        try require(memory.count, holds: StreamControl.byteCountOfEnd, "bytes")
        StreamControl.write(StreamEnd(records: records, descriptors: descriptors, bytes: byteTotal), to: memory)
        byteCount?.pointee = UInt64(StreamControl.byteCountOfEnd)
    }
}

/// See packetfs.h.
@c @implementation
public func pfs_stream_answer_read(
    _ memory: UnsafeRawPointer?, _ available: UInt64, _ answer: UnsafeMutablePointer<pfs_stream_answer>?,
    _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    now(error) { () throws(Failure) in
        let out = try required(answer, "address for the answer")
        guard let answer = StreamControl.answer(in: try bytes(memory, available)) else { return false }
        var copy = pfs_stream_answer()
        copy.records = answer.records
        copy.rejected = answer.rejectedRecords
        copy.descriptors = answer.descriptors
        copy.bytes = answer.bytes
        copy.total_count = UInt32(answer.totals.count)
        withUnsafeMutableBytes(of: &copy.totals) { totals in
            for (index, total) in answer.totals.enumerated() {
                totals.storeBytes(of: total, toByteOffset: index * MemoryLayout<UInt64>.stride, as: UInt64.self)
            }
        }
        out.pointee = copy
        return true
    }
}
