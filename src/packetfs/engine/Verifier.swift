import Dispatch
import PacketFSGram
import PacketFSMemory
import PacketFSPCPU
import PacketFSProcess
import Synchronization
import SystemPackage

/// A result of a run that differs from its recomputation.
public enum Difference: Sendable, CustomStringConvertible {
    /// The total of a reducing operation of one pcore.
    case total(pcore: Int, step: Step, found: UInt64, expected: UInt64)
    /// A byte of the blob after a writing program.
    case byte(offset: Int, found: UInt8, expected: UInt8)
    /// What a pcore counted.
    case counter(pcore: Int, name: String, found: UInt64, expected: UInt64)

    /// Where the difference is and what it is.
    public var description: String { description { "pcore \($0)" } }

    /// The same with another name for who did the work.
    package func description(_ name: (Int) -> String) -> String {
        switch self {
        case .total(let pcore, let step, let found, let expected):
            "\(name(pcore)): the total of \(step) is \(found), the reference gives \(expected)"
        case .byte(let offset, let found, let expected):
            "byte \(offset) of the blob is \(found), the reference gives \(expected)"
        case .counter(let pcore, let counter, let found, let expected):
            "\(name(pcore)): it counted \(found) \(counter), the reference gives \(expected)"
        }
    }
}

/// Recomputes a run with the reference implementation, on a fresh copy of the bytes it started from.
///
/// Descriptors are a function of seed, pcore and position, so knowing how many records a pcore executed is enough to do
/// all of its work again. The pcores' regions are disjoint when the program writes, so they are recomputed in parallel.
package struct Verifier: ~Copyable {
    private let work: RandomWork
    private let range: Range<UInt64>
    private let copy: HugeBlob

    package init(work: RandomWork, range: Range<UInt64>, file: (descriptor: FileDescriptor, byteCount: Int)?) throws {
        self.work = work
        self.range = range
        let (start, end) = (Int(range.lowerBound), Int(range.upperBound))
        let copy = try HugeBlob.create(byteCount: end)
        if let file {
            try copy.fill(from: file.descriptor, fileOffset: 0, count: min(file.byteCount, end), at: 0)
        } else {
            try copy.fill(seed: work.seed, range: start..<end)
        }
        self.copy = copy
    }

    /// Starts from the bytes that `blob` has now.
    package init(work: RandomWork, range: Range<UInt64>, copying blob: borrowing HugeBlob) throws {
        self.work = work
        self.range = range
        let (start, end) = (Int(range.lowerBound), Int(range.upperBound))
        let copy = try HugeBlob.create(byteCount: end)
        let source = blob.withUnsafeMutableBytes { SendableMemory($0) }
        copy.withUnsafeMutableBytes { $0[start..<end].copyBytes(from: source.bytes[start..<end]) }
        self.copy = copy
    }

    /// Recomputes what `pcores` say they did, from their record `firstRecord` on, and compares; nil if all of it agrees.
    package func firstDifference(
        of pcores: [PCoreResult], blob: borrowing HugeBlob, generators: [RandomDescriptors],
        signals: TerminationSignals, firstRecord: UInt64 = 0
    ) throws -> Difference? {
        let mix = work.mix
        let seed = work.seed
        let perRecord = work.descriptorsPerRecord
        let memory = copy.withUnsafeMutableBytes { SendableMemory($0) }
        let interruption = Atomic<Int32>(0)
        let differences = Mutex<[Int: Difference]>([:])
        DispatchQueue.concurrentPerform(iterations: pcores.count) { index in
            let table = UnsafeMutableBufferPointer<Descriptor>.allocate(capacity: perRecord)
            defer { table.deallocate() }
            var totals = mix.entries.map { [UInt64](repeating: 0, count: $0.program.reducers.count) }
            var byteCount: UInt64 = 0
            for record in 0..<pcores[index].records {
                guard interruption.load(ordering: .relaxed) == 0 else { return }
                if record % 256 == 0, let signal = signals.take() {
                    interruption.store(signal, ordering: .relaxed)
                }
                generators[index].fill(table, from: (firstRecord &+ record) &* UInt64(perRecord))
                for descriptor in table { byteCount &+= UInt64(descriptor.length) }
                let program = mix.choose(seed: seed, pcore: index, record: firstRecord &+ record)
                Reference.execute(
                    mix.entries[program].program, on: memory.bytes, descriptors: UnsafeBufferPointer(table),
                    totals: &totals[program])
            }
            let difference = Self.compare(
                pcores[index], index, mix: mix, totals: totals.flatMap { $0 }, byteCount: byteCount,
                descriptors: pcores[index].records * UInt64(perRecord))
            if let difference { differences.withLock { $0[index] = difference } }
        }
        let signal = interruption.load(ordering: .relaxed)
        guard signal == 0 else { throw Interrupted(signal: signal) }
        let found = differences.withLock { $0 }
        return found.min { $0.key < $1.key }?.value ?? firstDifferentByte(blob)
    }

    private static func compare(
        _ pcore: PCoreResult, _ index: Int, mix: ProgramMix, totals: [UInt64], byteCount: UInt64, descriptors: UInt64
    ) -> Difference? {
        for (position, reducer) in mix.reducers.enumerated() where pcore.totals[position] != totals[position] {
            return .total(pcore: index, step: reducer.step, found: pcore.totals[position], expected: totals[position])
        }
        guard pcore.bytes == byteCount else {
            return .counter(pcore: index, name: "bytes", found: pcore.bytes, expected: byteCount)
        }
        guard pcore.descriptors == descriptors else {
            return .counter(pcore: index, name: "descriptors", found: pcore.descriptors, expected: descriptors)
        }
        return nil
    }

    private func firstDifferentByte(_ blob: borrowing HugeBlob) -> Difference? {
        // Without a writing program this shows that nothing wrote.
        let (start, end) = (Int(range.lowerBound), Int(range.upperBound))
        return blob.withUnsafeMutableBytes { found in
            copy.withUnsafeMutableBytes { expected in
                guard let offset = (start..<end).first(where: { found[$0] != expected[$0] }) else { return nil }
                return .byte(offset: offset, found: found[offset], expected: expected[offset])
            }
        }
    }
}

/// Memory that several threads use at once because each keeps to bytes of its own, or only reads.
private struct SendableMemory: @unchecked Sendable {
    let bytes: UnsafeMutableRawBufferPointer
    init(_ bytes: UnsafeMutableRawBufferPointer) { self.bytes = bytes }
}
