import CPacketFSKernels

/// The instruction sets that kernels exist for, one kernel set ("tier") each.
///
/// A tier is chosen once, at start, with ``select(environment:)`` and handed to every ``Plan``; nothing falls back
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

    /// The name, as `PACKETFS_FORCE_ISA` takes it and every report prints it.
    public var description: String { rawValue }

    /// The tiers that this CPU and operating system can run, best first. Never empty: ``portable`` is always last.
    public static var supported: [ISA] {
        let bits = pfs_cpu_tiers()
        return allCases.reversed().filter { $0.tierBit.map { bits & $0 != 0 } ?? true }
    }

    /// The tier to use: the one that `value` names, or the best one where `value` is nil.
    ///
    /// - Parameter value: the environment variable `PACKETFS_FORCE_ISA`, nil where it is not set. A name that is unknown or
    ///   that this CPU cannot run is an error, never a fallback: whoever forces a tier wants that one measured or tested.
    public static func select(environment value: String?) throws(ISAError) -> ISA {
        let supported = Self.supported
        guard let value else { return supported[0] }
        guard let isa = ISA(rawValue: value) else { throw .unknown(value, allowed: supported) }
        guard supported.contains(isa) else { throw .unsupported(isa, allowed: supported) }
        return isa
    }

    /// The tier's number in the C kernels; nil for the one that is written in Swift.
    var tier: pfs_tier? {
        switch self {
        case .portable: nil
        case .sse2: PFS_TIER_SSE2
        case .sse42: PFS_TIER_SSE42
        case .avx2: PFS_TIER_AVX2
        case .vpclmul: PFS_TIER_VPCLMUL
        }
    }

    private var tierBit: UInt32? { tier.map { 1 << $0.rawValue } }
}

/// Why `PACKETFS_FORCE_ISA` was refused.
public enum ISAError: Error, Sendable, Hashable, CustomStringConvertible {
    /// No tier has this name.
    case unknown(String, allowed: [ISA])
    /// The tier exists but this CPU cannot run it.
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
