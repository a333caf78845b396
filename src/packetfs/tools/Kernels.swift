import Glibc
import PacketFSPCPU

/// Which kernels a tool runs.
public enum Kernels {
    /// The best instruction set of this CPU, or the one that `PACKETFS_FORCE_ISA` names. Pcores inherit the environment, so parent and
    /// pcores choose alike.
    public static func selected() throws(ToolError) -> ISA {
        do {
            return try ISA.select(environment: getenv("PACKETFS_FORCE_ISA").map { String(cString: $0) })
        } catch {
            throw ToolError(error.isUnknownName ? .usage : .unavailable, error.description)
        }
    }
}

extension ISAError {
    fileprivate var isUnknownName: Bool {
        if case .unknown = self { true } else { false }
    }
}
