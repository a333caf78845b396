import Glibc
import PacketFSGram
import PacketFSPCPU
import Testing
import ToolTesting

/// The generator of all tests.
typealias SeededGenerator = ToolTesting.SeededGenerator

/// Memory with an inaccessible page directly before and directly after it: one byte too far is a crash.
struct GuardedMemory: ~Copyable {
    let bytes: UnsafeMutableRawBufferPointer
    private let mapping: UnsafeMutableRawBufferPointer

    /// At least `count` bytes, rounded up to whole pages.
    init(atLeast count: Int) throws {
        let page = 4096
        let inner = max(page, (count + page - 1) / page * page)
        let start = mmap(nil, inner + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        let pointer = try #require(start == MAP_FAILED ? nil : start)
        try #require(mprotect(pointer + page, inner, PROT_READ | PROT_WRITE) == 0)
        mapping = UnsafeMutableRawBufferPointer(start: pointer, count: inner + 2 * page)
        bytes = UnsafeMutableRawBufferPointer(start: pointer + page, count: inner)
    }

    deinit { munmap(mapping.baseAddress, mapping.count) }
}

extension Plan {
    /// Executes over `blob` and returns the totals.
    func run(on blob: UnsafeMutableRawBufferPointer, _ descriptors: [Descriptor]) throws -> [UInt64] {
        var totals = [UInt64](repeating: 0, count: reducerCount)
        let base = try #require(blob.baseAddress)
        descriptors.withUnsafeBufferPointer { descriptors in
            totals.withUnsafeMutableBufferPointer { execute(on: base, descriptors: descriptors, totals: $0) }
        }
        return totals
    }

    /// Executes over `blob` and returns a row of values for each descriptor, one row after the other. The buffer is full of
    /// rubbish before, and an element too many on either side must stay as it is.
    func runEach(on blob: UnsafeMutableRawBufferPointer, _ descriptors: [Descriptor]) throws -> [UInt64] {
        let rubbish: UInt64 = 0xDEAD_BEEF_0BAD_F00D
        var values = [UInt64](repeating: rubbish, count: descriptors.count * reducerCount + 2)
        let base = try #require(blob.baseAddress)
        descriptors.withUnsafeBufferPointer { descriptors in
            values.withUnsafeMutableBufferPointer {
                let rows = UnsafeMutableBufferPointer(rebasing: $0[1..<$0.count - 1])
                execute(on: base, descriptors: descriptors, values: rows)
            }
        }
        #expect(values.first == rubbish && values.last == rubbish)
        return Array(values[1..<values.count - 1])
    }
}

/// What the reference yields for each descriptor in turn, one row after the other; rewrites `blob` as the program does.
func referenceRows(
    _ program: Program, on blob: UnsafeMutableRawBufferPointer, _ descriptors: [Descriptor]
) -> [UInt64] {
    descriptors.flatMap { descriptor in
        var row = [UInt64](repeating: 0, count: program.reducers.count)
        withUnsafePointer(to: descriptor) {
            Reference.execute(
                program, on: blob, descriptors: UnsafeBufferPointer(start: $0, count: 1), totals: &row)
        }
        return row
    }
}

/// The sums of each column of rows that are `width` long.
func columnSums(_ rows: [UInt64], width: Int) -> [UInt64] {
    var sums = [UInt64](repeating: 0, count: width)
    for (index, value) in rows.enumerated() { sums[index % width] &+= value }
    return sums
}

/// Where two blobs differ first; nil if they are equal.
func firstDifference(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Int? {
    guard memcmp(a.baseAddress!, b.baseAddress!, a.count) != 0 else { return nil }
    return zip(a, b).enumerated().first { $0.element.0 != $0.element.1 }?.offset
}

/// Runs the plan, in both forms, and the reference on copies of `original` and expects the same values, their sums as
/// totals, and the same bytes everywhere.
func expectReferenceResults(
    _ plan: Plan, original: [UInt8], _ descriptors: [Descriptor], _ comment: @autoclosure () -> Comment,
    sourceLocation: SourceLocation = #_sourceLocation
) throws {
    var expectedBytes = original
    var bytes = original
    var bytesOfEach = original
    let expected = expectedBytes.withUnsafeMutableBytes { referenceRows(plan.program, on: $0, descriptors) }
    let totals = try bytes.withUnsafeMutableBytes { try plan.run(on: $0, descriptors) }
    let rows = try bytesOfEach.withUnsafeMutableBytes { try plan.runEach(on: $0, descriptors) }
    #expect(rows == expected, comment(), sourceLocation: sourceLocation)
    #expect(totals == columnSums(expected, width: plan.reducerCount), comment(), sourceLocation: sourceLocation)
    for actual in [bytes, bytesOfEach] {
        let difference = expectedBytes.withUnsafeBytes { a in actual.withUnsafeBytes { firstDifference(a, $0) } }
        #expect(difference == nil, comment(), sourceLocation: sourceLocation)
    }
}

/// A random program of 1 to `maximumSteps` operations; small operands and repeats are likely, so that rules of algebra apply.
func randomProgram(using generator: inout some RandomNumberGenerator, maximumSteps: Int) throws -> Program {
    let special: [UInt8] = [0, 1, 7, 0x7F, 0x80, 0xFF]
    let count = Int.random(in: 1...maximumSteps, using: &generator)
    let ops =
        Bool.random(using: &generator)
        ? Op.allCases : [Op.xor, .add, .xor, .add, Op.allCases.randomElement(using: &generator)!]
    return try Program(
        (0..<count).map { _ in
            let op = ops.randomElement(using: &generator)!
            guard op.takesImmediate else { return Step(op) }
            return Step(
                op,
                Bool.random(using: &generator)
                    ? special.randomElement(using: &generator)! : UInt8.random(in: 0...255, using: &generator))
        })
}

/// A length from 0 to `maximum` that favours small values and the neighbourhood of multiples of 16, where kernels change
/// their ways.
func randomLength(using generator: inout some RandomNumberGenerator, maximum: Int) -> Int {
    let length =
        switch Int.random(in: 0..<4, using: &generator) {
        case 0: Int.random(in: 0...40, using: &generator)
        case 1: 16 * Int.random(in: 0...40, using: &generator) + Int.random(in: -1...1, using: &generator)
        case 2: Int.random(in: 0...400, using: &generator)
        default: Int.random(in: 0...maximum, using: &generator)
        }
    return min(max(0, length), maximum)
}

/// A table of up to 70 descriptors inside `size` bytes: random, repeated, shifted and nested ones, any alignment.
func randomDescriptors(using generator: inout some RandomNumberGenerator, size: Int, maximumLength: Int) -> [Descriptor]
{
    var table: [Descriptor] = []
    for _ in 0..<Int.random(in: 0...70, using: &generator) {
        if let previous = table.last, Int.random(in: 0..<6, using: &generator) == 0 {
            // The same again, or a near neighbour of it.
            let shift = UInt64(Int.random(in: 0...33, using: &generator))
            let copy = Descriptor(offset: previous.offset + shift, length: previous.length)
            table.append(copy.fits(in: UInt64(size)) ? copy : previous)
        } else {
            let length = randomLength(using: &generator, maximum: maximumLength)
            let offset = Int.random(in: 0...(size - length), using: &generator)
            let aligned = Bool.random(using: &generator) ? offset / 64 * 64 : offset
            table.append(Descriptor(offset: UInt64(aligned), length: UInt32(length)))
        }
    }
    return table
}

func randomBytes(_ count: Int, using generator: inout some RandomNumberGenerator) -> [UInt8] {
    // Half of the blobs use few values, so that counts are not all near count / 256.
    let mask: UInt8 = Bool.random(using: &generator) ? 0xFF : 0x83
    return (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) & mask }
}
