import PacketFSGram
import PacketFSPCPU
import PacketFSTools

/// What the reference makes of a program over ranges of all lengths to 400 bytes at odd places, and some long ones. Everything that is
/// compared with, or is not this program's own, has to give the same before it is measured.
struct Check {
    private let descriptors: [Descriptor]
    private let bytes: [UInt8]
    private let expected: [UInt8]
    /// The first of the totals; nil for a program without any.
    private let value: UInt64?

    /// Runs the reference on the program with this text.
    init(_ text: String) throws {
        let program = try Program(parsing: text)
        var descriptors: [Descriptor] = []
        var end = 0
        for (index, length) in (Array(0...400) + [1000, 4096, 70_001]).enumerated() {
            descriptors.append(Descriptor(offset: UInt64(end), length: UInt32(length)))
            end += length + index % 3
        }
        // Mostly different bytes, with enough zeros to count.
        var state: UInt64 = 1
        bytes = (0..<end).map { _ -> UInt8 in
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state >> 61 == 0 ? 0 : UInt8(truncatingIfNeeded: state >> 40)
        }
        var expected = bytes
        var totals = [UInt64](repeating: 0, count: program.reducers.count)
        descriptors.withUnsafeBufferPointer { table in
            expected.withUnsafeMutableBytes {
                Reference.execute(program, on: $0, descriptors: table, totals: &totals)
            }
        }
        self.descriptors = descriptors
        self.expected = expected
        value = totals.first
    }

    /// Whether the contender leaves the same bytes and gives the same value.
    func passes(_ contender: Contender) -> Bool {
        var found = bytes
        return descriptors.withUnsafeBufferPointer { table in
            // Not empty, so there is an address.
            let result = found.withUnsafeMutableBytes { contender.run($0.baseAddress!, table) }
            return found == expected && (value == nil || result == value)
        }
    }
}

extension Peers {
    /// Leaves out the libraries whose results are wrong, so that nothing is compared with the rate of a mistake, and returns a warning for
    /// each. A loop in C that is wrong is an error.
    mutating func dropWrong(_ programs: [String]) throws -> [String] {
        var warnings: [String] = []
        for text in programs {
            let check = try Check(text)
            for contender in try contenders(Program(parsing: text), text, isSlow: false) where !check.passes(contender)
            {
                let what = "\(contender.by) for \(text) (\(contender.form ?? ""))"
                guard contender.by != "c" else {
                    throw ToolError(.verificationFailed, "\(what) is wrong; try another compiler with --cc")
                }
                warnings.append("\(what) gives wrong results and is left out")
                libraries.removeAll { $0.origin == contender.form }
            }
        }
        for library in libraries where library.work == PeerLibrary.otherHash && !Self.isXXH3(library.contender) {
            warnings.append("\(library.name) (\(library.origin)) gives wrong results and is left out")
            libraries.removeAll { $0.origin == library.origin }
        }
        return warnings
    }

    /// Whether it gives XXH3's 64-bit values of no bytes and of 1000.
    private static func isXXH3(_ contender: Contender) -> Bool {
        var bytes = (0..<1000).map { UInt8(truncatingIfNeeded: $0 * 7) }
        return bytes.withUnsafeMutableBytes { bytes in
            [(0, 0x2D06_8005_38D3_94C2), (UInt32(1000), 0x10AD_3026_4426_C830 as UInt64)].allSatisfy { length, value in
                [Descriptor(offset: 0, length: length)].withUnsafeBufferPointer {
                    contender.run(bytes.baseAddress!, $0)
                } == value
            }
        }
    }
}
