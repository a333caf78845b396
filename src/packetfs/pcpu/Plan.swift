import CPacketFSKernels
import PacketFSGram

/// A program compiled for one instruction set: the form in which it is executed.
///
/// Made once per distinct program and used for any number of descriptor tables, from any number of threads at a time:
/// a plan is immutable. ``Reference`` defines what the results must be.
public struct Plan: @unchecked Sendable, CustomStringConvertible {
    // A plan may be copied, retained and released for each table of descriptors, which may be short: hence one reference. What an
    // execution needs stands beside it, so that threads which share a plan do not fight for the reference's count.
    // Unchecked: the pointers lead to what `contents` owns and to constants, which nobody changes.
    private let contents: Contents
    /// What the C kernels are called with; nil where the kernels are the portable ones, or there is nothing to do.
    private let native: Native?
    /// The number of values that the program yields: one for each counteq, crc32c and fnv.
    public let reducerCount: Int

    /// The program that the plan executes.
    public var program: Program { contents.program }
    /// The instruction set of its kernels.
    public var isa: ISA { contents.isa }
    var schedule: Schedule { contents.schedule }

    /// Compiles `program`. Precondition: this CPU runs `isa` (``ISA/supported`` contains it).
    public init(_ program: Program, isa: ISA) {
        precondition(ISA.supported.contains(isa), "this CPU does not run \(isa)")
        self.init(program, isa: isa, kernels: isa.kernels)
    }

    /// Compiles `program` for kernels which this CPU runs, whatever it says of `isa`; nil for those that are written in Swift.
    init(_ program: Program, isa: ISA, kernels: Kernels?) {
        contents = Contents(program, isa)
        if let kernels, let compiled = contents.compiled, !contents.schedule.isEmpty {
            native = Native(kernels: kernels, plan: compiled.plan, constants: Compiled.constants.pointer)
        } else {
            native = nil
        }
        reducerCount = contents.schedule.sources.count
    }

    /// Applies the program to each descriptor, as if one after the other, and adds each reducer's values to `totals`, wrapping.
    ///
    /// No byte outside the descriptors is read or written. A byte inside a descriptor may be written more than once.
    ///
    /// - Parameters:
    ///   - base: the first byte of the blob. While this runs, nobody else may write the bytes of the descriptors, nor read
    ///     them if the program writes.
    ///   - descriptors: precondition: each fits in the blob (`Descriptor.fits(in:)`). They may overlap; any
    ///     alignment and length is allowed.
    ///   - totals: one value per element of `program.reducers`, in that order.
    public func execute(
        on base: UnsafeMutableRawPointer, descriptors: UnsafeBufferPointer<Descriptor>,
        totals: UnsafeMutableBufferPointer<UInt64>
    ) {
        precondition(totals.count == reducerCount, "one total per reducing operation")
        execute(on: base, descriptors: descriptors, each: false, into: totals)
    }

    /// Applies the program to each descriptor, as if one after the other, and keeps the values of the descriptors apart.
    ///
    /// What is read and written, and what callers must see to, is as with ``execute(on:descriptors:totals:)``. A program that
    /// does not write (no maps, or maps that cancel out) only reads the blob, which may be mapped read-only.
    ///
    /// - Parameters:
    ///   - base: the first byte of the blob.
    ///   - descriptors: precondition: each fits in the blob. They may overlap; any alignment and length is allowed.
    ///   - values: the value of reducer `r` for descriptor `i` becomes `values[i * reducerCount + r]`, whatever was there.
    ///     Precondition: `descriptors.count * reducerCount` elements, so none for a program without reducers.
    public func execute(
        on base: UnsafeMutableRawPointer, descriptors: UnsafeBufferPointer<Descriptor>,
        values: UnsafeMutableBufferPointer<UInt64>
    ) {
        precondition(
            values.count == descriptors.count * reducerCount, "one value per descriptor and reducing operation")
        execute(on: base, descriptors: descriptors, each: true, into: values)
    }

    private func execute(
        on base: UnsafeMutableRawPointer, descriptors: UnsafeBufferPointer<Descriptor>, each: Bool,
        into values: UnsafeMutableBufferPointer<UInt64>
    ) {
        guard let native else { return executePortably(on: base, descriptors: descriptors, each: each, into: values) }
        // Descriptor has the layout of struct pfs_descriptor: that of the wire.
        UnsafeRawBufferPointer(descriptors).withMemoryRebound(to: pfs_descriptor.self) { descriptors in
            pfs_execute(
                native.kernels, native.plan, native.constants, base.assumingMemoryBound(to: UInt8.self),
                descriptors.baseAddress, descriptors.count, each, values.baseAddress)
        }
    }

    /// Not inlined: the other path, which short tables take often, saves few registers then.
    @inline(never)
    private func executePortably(
        on base: UnsafeMutableRawPointer, descriptors: UnsafeBufferPointer<Descriptor>, each: Bool,
        into values: UnsafeMutableBufferPointer<UInt64>
    ) {
        guard !contents.schedule.isEmpty else { return }
        Portable.execute(contents.schedule, on: base, descriptors: descriptors, each: each, into: values)
    }

    /// The program and the instruction set, such as `xor:255,crc32c on vpclmul`.
    public var description: String { "\(program) on \(isa)" }
}

/// The arguments of `pfs_execute()` that are the same for all tables.
private struct Native {
    let kernels: Kernels
    let plan: UnsafePointer<pfs_plan>
    let constants: UnsafePointer<pfs_constants>
}

/// What a plan consists of. Immutable.
private final class Contents: Sendable {
    let program: Program
    let isa: ISA
    let schedule: Schedule
    let compiled: Compiled?

    init(_ program: Program, _ isa: ISA) {
        self.program = program
        self.isa = isa
        schedule = Schedule(program)
        compiled = isa == .portable ? nil : Compiled(schedule)
    }
}
