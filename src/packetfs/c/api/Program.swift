import CPacketFS
import Glibc
import PacketFSGram
import PacketFSMemory
import PacketFSPCPU

/// What a `pfs_program` stands for. Immutable.
final class ProgramObject: HandleObject {
    static var mark: UInt64 { 0x7066_735F_7072_6F67 }  // "pfs_prog"
    static var noun: String { "program" }

    let plan: Plan
    let instructions: [Instruction]

    init(_ program: Program) throws(Failure) {
        let isa: ISA
        do throws(ISAError) {
            isa = try ISA.select(environment: getenv("PACKETFS_FORCE_ISA").map { String(cString: $0) })
        } catch {
            throw Failure(PFS_ERROR_UNAVAILABLE, error.description)
        }
        plan = Plan(program, isa: isa)
        instructions = program.instructions
    }
}

/// Ranges as C has them are descriptors as the libraries have them: 16 bytes of the same layout.
func descriptors(
    _ pointer: UnsafePointer<pfs_gram_desc>?, _ count: UInt64
) throws(Failure) -> UnsafeBufferPointer<Descriptor> {
    let ranges = try elements(pointer, count, "table of ranges")
    return UnsafeBufferPointer(
        start: UnsafeRawPointer(ranges.baseAddress)?.assumingMemoryBound(to: Descriptor.self), count: ranges.count)
}

/// The same, to be written.
func descriptors(
    _ pointer: UnsafeMutablePointer<pfs_gram_desc>?, _ count: UInt64
) throws(Failure) -> UnsafeMutableBufferPointer<Descriptor> {
    UnsafeMutableBufferPointer(mutating: try descriptors(UnsafePointer(pointer), count))
}

/// See packetfs.h.
@c @implementation
public func pfs_program_compile(
    _ text: UnsafePointer<CChar>?, _ out: UnsafeMutablePointer<OpaquePointer?>?,
    _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    done(error) { () throws(Failure) in
        let out = try required(out, "address for the program")
        let text = try string(text, "text of the program")
        let parsed = try program { () throws(ProgramError) in try Program(parsing: text) }
        out.pointee = handle(try ProgramObject(parsed))
    }
}

/// See packetfs.h.
@c @implementation
public func pfs_program_value_count(
    _ program: OpaquePointer?, _ count: UnsafeMutablePointer<UInt32>?, _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    done(error) { () throws(Failure) in
        let object = try object(program, ProgramObject.self)
        try required(count, "address for the count").pointee = UInt32(object.plan.reducerCount)
    }
}

/// See packetfs.h.
@c @implementation
public func pfs_program_writes(
    _ program: OpaquePointer?, _ writes: UnsafeMutablePointer<UInt32>?, _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    done(error) { () throws(Failure) in
        let object = try object(program, ProgramObject.self)
        try required(writes, "address for the answer").pointee = object.plan.program.writes ? 1 : 0
    }
}

/// See packetfs.h.
@c @implementation
public func pfs_program_describe(
    _ program: OpaquePointer?, _ text: UnsafeMutablePointer<CChar>?, _ size: UInt64,
    _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    done(error) { () throws(Failure) in
        try describe(text, size, object(program, ProgramObject.self).plan.description)
    }
}

/// See packetfs.h.
@c @implementation
public func pfs_program_execute(
    _ program: OpaquePointer?, _ blob: OpaquePointer?, _ ranges: UnsafePointer<pfs_gram_desc>?, _ count: UInt64,
    _ values: UnsafeMutablePointer<UInt64>?, _ capacity: UInt64, _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    done(error) { () throws(Failure) in
        let plan = try object(program, ProgramObject.self).plan
        let blob = try object(blob, BlobObject.self)
        let ranges = try descriptors(ranges, count)
        let values = try elements(values, plan.reducerCount == 0 ? 0 : capacity, "table of values")
        let (needed, overflow) = ranges.count.multipliedReportingOverflow(by: plan.reducerCount)
        try require(values.count, holds: overflow ? .max : needed, "values")
        try execute(on: blob, ranges) { base, part, first in
            let start = first * plan.reducerCount
            plan.execute(
                on: base, descriptors: part,
                values: UnsafeMutableBufferPointer(
                    rebasing: values[start..<start + part.count * plan.reducerCount]))
        }
    }
}

/// See packetfs.h.
@c @implementation
public func pfs_program_total(
    _ program: OpaquePointer?, _ blob: OpaquePointer?, _ ranges: UnsafePointer<pfs_gram_desc>?, _ count: UInt64,
    _ totals: UnsafeMutablePointer<UInt64>?, _ capacity: UInt64, _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    done(error) { () throws(Failure) in
        let plan = try object(program, ProgramObject.self).plan
        let blob = try object(blob, BlobObject.self)
        let ranges = try descriptors(ranges, count)
        let totals = try elements(totals, plan.reducerCount == 0 ? 0 : capacity, "table of totals")
        try require(totals.count, holds: plan.reducerCount, "totals")
        try execute(on: blob, ranges) { base, part, _ in
            plan.execute(
                on: base, descriptors: part,
                totals: UnsafeMutableBufferPointer(rebasing: totals[..<plan.reducerCount]))
        }
    }
}

/// Ranges that are copied, checked and executed at a time.
private let partLength = 1024

/// Calls `body` with the blob and its ranges, part by part, each with the number of its first range. All are checked before the
/// first call. What is executed is a checked copy, so that nothing can lead out of the blob, even if another thread writes
/// to the table meanwhile.
private func execute(
    on object: BlobObject, _ ranges: UnsafeBufferPointer<Descriptor>,
    _ body: (UnsafeMutableRawPointer, UnsafeBufferPointer<Descriptor>, Int) -> Void
) throws(Failure) {
    let size = UInt64(object.blob.byteCount)
    try check(ranges, size, 0)
    let copy = UnsafeMutableBufferPointer<Descriptor>.allocate(capacity: min(ranges.count, partLength))
    defer { copy.deallocate() }
    var done = 0
    while done < ranges.count {
        let end = min(done + partLength, ranges.count)
        _ = copy.update(fromContentsOf: ranges[done..<end])
        let part = UnsafeBufferPointer(rebasing: copy[..<(end - done)])
        try check(part, size, done)
        object.blob.withUnsafeMutableBytes { memory in
            // A blob has at least one byte.
            if let base = memory.baseAddress { body(base, part, done) }
        }
        done = end
    }
}

private func check(_ ranges: UnsafeBufferPointer<Descriptor>, _ size: UInt64, _ first: Int) throws(Failure) {
    guard let index = ranges.firstIndex(where: { !$0.fits(in: size) }) else { return }
    let range = ranges[index]
    throw Failure(
        PFS_ERROR_RANGE,
        "range \(first + index) (offset \(range.offset), length \(range.length), flags \(range.flags)) leads out of the "
            + "blob of \(size) bytes, or has flags")
}

/// See packetfs.h.
@c @implementation
public func pfs_program_close(
    _ program: UnsafeMutablePointer<OpaquePointer?>?, _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    done(error) { () throws(Failure) in try close(program, ProgramObject.self) }
}
