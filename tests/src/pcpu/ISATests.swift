import Glibc
import Testing

@testable import PacketFSPCPU

@Suite struct ISATests {
    /// The flags of the first CPU, read from the kernel's own list and not through the code under test.
    private static let cpuFlags: Set<Substring> = {
        guard let file = fopen("/proc/cpuinfo", "r") else { return [] }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 16384)
        while fgets(&line, Int32(line.count), file) != nil {
            let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            guard text.hasPrefix("flags") else { continue }
            return Set(text.split(whereSeparator: \.isWhitespace).map { Substring(String($0)) })
        }
        return []
    }()

    @Test(.enabled(if: !cpuFlags.isEmpty, "the kernel lists no x86 CPU flags here"))
    func thisCPUGetsTheTierItMustGet() throws {
        let flags = Self.cpuFlags
        var expected: [ISA] = [.portable, .sse2]
        if flags.isSuperset(of: ["sse4_2", "pclmulqdq"]) {
            expected.append(.sse42)
            if flags.contains("avx2") {
                expected.append(.avx2)
                if flags.contains("vpclmulqdq") { expected.append(.vpclmul) }
            }
        }
        #expect(ISA.supported == expected.reversed())
        #expect(try ISA.select(environment: nil) == expected.last)
    }

    @Test func portableIsAlwaysThere() { #expect(ISA.supported.last == .portable) }

    @Test func everySupportedTierCanBeForced() throws {
        for isa in ISA.supported {
            #expect(try ISA.select(environment: isa.rawValue) == isa)
            let plan = Plan(try Program(parsing: "fnv"), isa: isa)
            #expect(plan.isa == isa)
            #expect("\(plan)".contains(isa.rawValue))
        }
    }

    @Test(arguments: ["", "AVX2", "avx512", "avx2 ", "sse4.2", "best"])
    func unknownNamesAreErrors(name: String) {
        let error = #expect(throws: ISAError.self) { try ISA.select(environment: name) }
        #expect(error == .unknown(name, allowed: ISA.supported))
        let text = error?.description ?? ""
        #expect(text.contains("PACKETFS_FORCE_ISA") && text.contains("\"\(name)\""))
        for isa in ISA.supported { #expect(text.contains(isa.rawValue)) }
    }

    @Test func unsupportedTiersAreErrors() throws {
        for isa in ISA.allCases where !ISA.supported.contains(isa) {
            #expect(throws: ISAError.unsupported(isa, allowed: ISA.supported)) {
                try ISA.select(environment: isa.rawValue)
            }
        }
        let text = ISAError.unsupported(.vpclmul, allowed: [.sse2, .portable]).description
        #expect(text.contains("vpclmul") && text.contains("sse2, portable"))
    }
}
