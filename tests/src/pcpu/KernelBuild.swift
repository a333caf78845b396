import CPacketFSKernels
import Testing

@testable import PacketFSPCPU

#if canImport(CPacketFSKernelsSIMDe)
    import CPacketFSKernelsSIMDe
#endif

/// Kernels to test: those of an instruction set that this CPU runs, or the AVX-512 kernels compiled against SIMDe, a portable
/// implementation of the intrinsics, which any CPU runs.
enum KernelBuild: Sendable, Hashable, CustomTestStringConvertible {
    case native(ISA)
    case avx512BySIMDe

    /// Every kernel that can be tested here.
    static var all: [KernelBuild] {
        let native = ISA.supported.map { KernelBuild.native($0) }
        #if canImport(CPacketFSKernelsSIMDe)
            return native + [.avx512BySIMDe]
        #else
            return native
        #endif
    }

    func plan(_ text: String) throws -> Plan { plan(try Program(parsing: text)) }

    func plan(_ program: Program) -> Plan {
        switch self {
        case .native(let isa): return Plan(program, isa: isa)
        case .avx512BySIMDe:
            #if canImport(CPacketFSKernelsSIMDe)
                return Plan(program, isa: .avx512, kernels: pfs_execute_simde)
            #else
                preconditionFailure("SIMDe is not here, so it is not in KernelBuild.all")
            #endif
        }
    }

    var testDescription: String {
        switch self {
        case .native(let isa): isa.rawValue
        case .avx512BySIMDe: "avx512 by SIMDe"
        }
    }
}
