import CPacketFSKernels
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
    func thisCPUGetsTheInstructionSetsThatItMustGet() throws {
        let needs: [(ISA, Set<Substring>)] = [
            (.sse42, ["sse4_2", "pclmulqdq", "popcnt"]), (.avx2, ["avx", "avx2", "bmi1", "bmi2"]),
            (.vpclmul, ["vpclmulqdq"]),
            (
                .avx512,
                ["fma", "f16c", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vbmi", "avx512_vnni", "gfni"]
            ),
        ]
        var expected: [ISA] = [.portable, .sse2]
        for (isa, flags) in needs {
            guard Self.cpuFlags.isSuperset(of: flags) else { break }
            expected.append(isa)
        }
        #expect(ISA.supported == expected.reversed())
        #expect(try ISA.select(environment: nil) == expected.last)
    }

    /// What each instruction set needs besides what the one before it needs, as the manuals say and not as the code under test does.
    private static let needs: [(isa: ISA, features: [pfs_feature])] = [
        (.sse2, []), (.sse42, [PFS_FEATURE_SSE42, PFS_FEATURE_PCLMUL, PFS_FEATURE_POPCNT]),
        (.avx2, [PFS_FEATURE_AVX, PFS_FEATURE_AVX2, PFS_FEATURE_BMI, PFS_FEATURE_BMI2]),
        (.vpclmul, [PFS_FEATURE_VPCLMULQDQ]),
        (
            .avx512,
            [
                PFS_FEATURE_FMA, PFS_FEATURE_F16C, PFS_FEATURE_AVX512F, PFS_FEATURE_AVX512BW, PFS_FEATURE_AVX512DQ,
                PFS_FEATURE_AVX512VL,
                PFS_FEATURE_AVX512VBMI, PFS_FEATURE_AVX512VNNI, PFS_FEATURE_GFNI,
            ]
        ),
    ]

    /// No CPU gets code with an instruction that it lacks: without any one feature, it gets the instruction sets before the
    /// first that needs this feature, and no other.
    @Test func aMissingFeatureTakesAwayWhatNeedsIt() {
        let all: UInt32 = (1 << PFS_FEATURE_COUNT.rawValue) - 1
        let every = Self.needs.map(\.isa)
        #expect(ISA.numbered(in: pfs_isas_with(all)) == every.reversed() + [.portable])
        #expect(
            Self.needs.flatMap(\.features).count == Int(PFS_FEATURE_COUNT.rawValue), "each feature is needed by one")
        for (index, (isa, features)) in Self.needs.enumerated() {
            for feature in features {
                let left = ISA.numbered(in: pfs_isas_with(all & ~(1 << feature.rawValue)))
                #expect(
                    left == every[..<index].reversed() + [.portable], "without feature \(feature.rawValue) of \(isa)")
            }
        }
        #expect(ISA.numbered(in: pfs_isas_with(0)) == [.sse2, .portable])
    }

    /// Any set of features gives an instruction set only if each feature is there that it and those before it need.
    @Test(arguments: UInt64(1)...20)
    func randomFeaturesGiveWhatTheyMustGive(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<500 {
            // Most features are there, so that each instruction set comes up.
            let features = UInt32(truncatingIfNeeded: generator.next() | generator.next() | generator.next())
            var expected: [ISA] = [.portable]
            for (isa, needed) in Self.needs {
                guard needed.allSatisfy({ features >> $0.rawValue & 1 == 1 }) else { break }
                expected.append(isa)
            }
            #expect(ISA.numbered(in: pfs_isas_with(features)) == expected.reversed(), "seed \(seed): \(features)")
        }
    }

    /// The AVX-512 kernels are tested on every machine: natively, against SIMDe, or both.
    @Test(.enabled(if: hasSIMDe || ISA.supported.contains(.avx512), "needs SIMDe"))
    func theAVX512KernelsAreTested() {
        #expect(KernelBuild.all.contains(.native(.avx512)) == ISA.supported.contains(.avx512))
        #expect(KernelBuild.all.contains(.avx512BySIMDe) || KernelBuild.all.contains(.native(.avx512)))
    }

    private static let hasSIMDe = access("/usr/include/simde/x86/avx512.h", R_OK) == 0

    @Test func portableIsAlwaysThere() { #expect(ISA.supported.last == .portable) }

    @Test func everySupportedInstructionSetCanBeForced() throws {
        for isa in ISA.supported {
            #expect(try ISA.select(environment: isa.rawValue) == isa)
            let plan = Plan(try Program(parsing: "fnv"), isa: isa)
            #expect(plan.isa == isa)
            #expect("\(plan)".contains(isa.rawValue))
        }
    }

    @Test(arguments: ["", "AVX2", "avx512f", "avx2 ", "sse4.2", "best"])
    func unknownNamesAreErrors(name: String) {
        let error = #expect(throws: ISAError.self) { try ISA.select(environment: name) }
        #expect(error == .unknown(name, allowed: ISA.supported))
        let text = error?.description ?? ""
        #expect(text.contains("PACKETFS_FORCE_ISA") && text.contains("\"\(name)\""))
        for isa in ISA.supported { #expect(text.contains(isa.rawValue)) }
    }

    @Test func unsupportedInstructionSetsAreErrors() throws {
        for isa in ISA.allCases where !ISA.supported.contains(isa) {
            #expect(throws: ISAError.unsupported(isa, allowed: ISA.supported)) {
                try ISA.select(environment: isa.rawValue)
            }
        }
        let text = ISAError.unsupported(.vpclmul, allowed: [.sse2, .portable]).description
        #expect(text.contains("vpclmul") && text.contains("sse2, portable"))
    }
}
