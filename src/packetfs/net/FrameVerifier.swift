import Glibc
import PacketFSGram
import PacketFSPCPU

/// Compares what arrives with what the seed calls for, and results with the reference implementation's.
final class FrameVerifier {
    private let windows: PayloadWindows
    private let descriptors: RandomDescriptors?
    /// The blob as the reference implementation makes it.
    private let blob: UnsafeMutableRawBufferPointer
    private let scratch: UnsafeMutableRawBufferPointer
    private var programs: [Program] = []
    private var totals: [[UInt64]] = []

    init(_ verification: FrameVerification, blob: UnsafeRawBufferPointer) {
        windows = PayloadWindows(seed: verification.seed)
        descriptors = verification.descriptors
        self.blob = .allocate(byteCount: blob.count, alignment: 64)
        self.blob.copyMemory(from: blob)
        scratch = .allocate(byteCount: PayloadWindows.maximumByteCount, alignment: 64)
    }

    deinit {
        blob.deallocate()
        scratch.deallocate()
    }

    /// What is wrong with the payload of frame `sequence` as it came, or nil.
    func differs(payload: UnsafeRawBufferPointer, of sequence: UInt64) -> String? {
        difference(payload, windows.window(of: sequence, byteCount: payload.count))
            .map { "payload of frame \(sequence): byte \($0) is not the seed's" }
    }

    /// What is wrong with it after `program` was applied, or nil.
    func differs(after program: Program, _ payload: UnsafeRawBufferPointer, of sequence: UInt64) -> String? {
        let expected = UnsafeMutableRawBufferPointer(rebasing: scratch[..<payload.count])
        expected.copyMemory(from: windows.window(of: sequence, byteCount: payload.count))
        let whole = [Descriptor(offset: 0, length: UInt32(payload.count))]
        whole.withUnsafeBufferPointer { execute(program, $0, on: expected) }
        return difference(payload, UnsafeRawBufferPointer(expected))
            .map { "payload of frame \(sequence) after \(program): byte \($0) is not the reference's" }
    }

    /// What is wrong with the descriptors of frame `sequence`, or nil.
    func differs(_ table: UnsafeBufferPointer<Descriptor>, of sequence: UInt64) -> String? {
        guard let descriptors else { return nil }
        let first = sequence &* UInt64(table.count)
        for (index, descriptor) in table.enumerated() where descriptor != descriptors[first &+ UInt64(index)] {
            return "descriptor \(index) of frame \(sequence) is not the seed's"
        }
        return nil
    }

    /// Applies a record to the copy of the blob.
    func execute(_ program: Program, _ table: UnsafeBufferPointer<Descriptor>) {
        execute(program, table, on: blob)
    }

    /// The first way in which results differ from the reference's, or nil.
    func difference(blob actual: UnsafeRawBufferPointer, _ actualTotals: [ProgramTotal]) -> String? {
        if let byte = difference(actual, UnsafeRawBufferPointer(blob)) {
            return "byte \(byte) of the blob is not the reference's"
        }
        for (program, values) in zip(programs, totals) {
            for (step, value) in zip(program.reducers, values) {
                let reference = ProgramTotal(program: "\(program)", op: "\(step)", value: value)
                guard !actualTotals.contains(reference) else { continue }
                return "\(step) of \(program) does not yield \(value), as the reference does"
            }
        }
        return nil
    }

    private func execute(
        _ program: Program, _ table: UnsafeBufferPointer<Descriptor>, on bytes: UnsafeMutableRawBufferPointer
    ) {
        let index: Int
        if let known = programs.firstIndex(of: program) {
            index = known
        } else {
            index = programs.count
            programs.append(program)
            totals.append(Array(repeating: 0, count: program.reducers.count))
        }
        Reference.execute(program, on: bytes, descriptors: table, totals: &totals[index])
    }

    private func difference(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Int? {
        guard a.count > 0, let x = a.baseAddress, let y = b.baseAddress, memcmp(x, y, a.count) != 0 else { return nil }
        return zip(a, b).enumerated().first { $1.0 != $1.1 }?.offset
    }
}
