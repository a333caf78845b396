import CPacketFSKernels
import Glibc

/// The instruction sets that kernels exist for, one set of kernels each.
///
/// An instruction set is chosen once, at start, with ``select(environment:)`` and handed to every ``Plan``; nothing falls back
/// silently afterwards.
public enum ISA: String, Sendable, Hashable, CaseIterable, CustomStringConvertible {
    /// Plain Swift; runs on every architecture.
    case portable
    /// Baseline x86-64: 128-bit vectors, table-driven CRC.
    case sse2
    /// SSE4.2 and PCLMULQDQ: 128-bit vectors, the crc32 instruction and 128-bit carry-less multiplies.
    case sse42
    /// AVX2: 256-bit vectors, the crc32 instruction and 128-bit carry-less multiplies.
    case avx2
    /// AVX2 with VPCLMULQDQ: as ``avx2``, with 256-bit carry-less multiplies.
    case vpclmul
    /// AVX-512 F, BW, DQ, VL, VBMI and VNNI, with GFNI and VPCLMULQDQ (Ice Lake server, Zen 4 and later): 512-bit vectors.
    case avx512

    /// The name, as `PACKETFS_FORCE_ISA` takes it and every report prints it.
    public var description: String { rawValue }

    /// The instruction sets that this CPU and operating system can run, best first. Never empty: ``portable`` is always last.
    public static var supported: [ISA] { numbered(in: pfs_cpu_isas()) }

    /// The instruction sets with these bits, best first, and ``portable``.
    static func numbered(in bits: UInt32) -> [ISA] {
        allCases.reversed().filter { $0.kernelBit.map { bits & $0 != 0 } ?? true }
    }

    /// The instruction set to use: the one that `value` names, or the best one where `value` is nil.
    ///
    /// - Parameter value: the environment variable `PACKETFS_FORCE_ISA`, nil where it is not set. A name that is unknown or
    ///   that this CPU cannot run is an error, never a fallback: whoever forces an instruction set wants that one measured or tested.
    public static func select(environment value: String?) throws(ISAError) -> ISA {
        let supported = Self.supported
        guard let value else { return supported[0] }
        guard let isa = ISA(rawValue: value) else { throw .unknown(value, allowed: supported) }
        guard supported.contains(isa) else { throw .unsupported(isa, allowed: supported) }
        return isa
    }

    /// The best one of this CPU, or the one that the environment variable `PACKETFS_FORCE_ISA` names. Child processes inherit the
    /// environment, and so choose alike.
    public static func selected() throws(ISAError) -> ISA {
        try select(environment: getenv("PACKETFS_FORCE_ISA").map { String(cString: $0) })
    }

    /// The number among the C kernels; nil for the one that is written in Swift.
    private var number: pfs_isa? {
        switch self {
        case .portable: nil
        case .sse2: PFS_ISA_SSE2
        case .sse42: PFS_ISA_SSE42
        case .avx2: PFS_ISA_AVX2
        case .vpclmul: PFS_ISA_VPCLMUL
        case .avx512: PFS_ISA_AVX512
        }
    }

    private var kernelBit: UInt32? { number.map { 1 << $0.rawValue } }

    /// The C kernels; nil for the one that is written in Swift.
    var kernels: Kernels? { number.flatMap { pfs_kernels_of($0) } }
}

/// The C kernels of one instruction set.
typealias Kernels =
    @convention(c) (
        UnsafePointer<pfs_plan>?, UnsafePointer<pfs_constants>?, UnsafeMutablePointer<UInt8>?,
        UnsafePointer<pfs_descriptor>?, Int, OpaquePointer?
    ) -> Void

/// Why `PACKETFS_FORCE_ISA` was refused.
public enum ISAError: Error, Sendable, Hashable, CustomStringConvertible {
    /// No instruction set has this name.
    case unknown(String, allowed: [ISA])
    /// The instruction set exists but this CPU cannot run it.
    case unsupported(ISA, allowed: [ISA])

    /// What is wrong and which names are allowed here.
    public var description: String {
        switch self {
        case .unknown(let name, let allowed):
            "PACKETFS_FORCE_ISA is \"\(name)\", which is no instruction set known here; \(Self.advice(allowed))"
        case .unsupported(let isa, let allowed):
            "PACKETFS_FORCE_ISA is \"\(isa)\", which this CPU cannot run; \(Self.advice(allowed))"
        }
    }

    private static func advice(_ allowed: [ISA]) -> String {
        "allowed are " + allowed.map(\.rawValue).joined(separator: ", ") + "; unset it to get the best one"
    }
}
