import CNuma
import SystemPackage

/// On which NUMA nodes pages are placed when they are first touched, by whichever process touches them.
public enum NUMAPolicy: Sendable, Hashable {
    /// Near the CPU that touches a page first.
    case systemDefault
    /// Only on these nodes; creation fails when they are full.
    case bind([Int])
    /// Page by page in turn over these nodes.
    case interleave([Int])
    /// On this node while it has room, then elsewhere.
    case preferred(Int)

    /// The nodes named, nil for ``systemDefault``.
    var nodes: [Int]? {
        switch self {
        case .systemDefault: nil
        case .bind(let nodes), .interleave(let nodes): nodes
        case .preferred(let node): [node]
        }
    }

    /// Refuses nodes that this process may not use, with the list of those that it may.
    func validate() throws(MemoryError) {
        guard let nodes else { return }
        guard !nodes.isEmpty else {
            throw .invalid(argument: "NUMA node list", value: "[]", reason: "name at least one node")
        }
        let allowed = NUMAPolicy.allowedNodes()
        for node in nodes where !allowed.contains(node) {
            throw .unavailable(
                what: "NUMA node \(node)",
                remedy: "use one of the nodes \(allowed.map(String.init).joined(separator: ", "))")
        }
    }

    /// Sets the policy of a shared mapping (mbind(2)); for tmpfs, memfd and hugetlbfs it belongs to the file, so it also
    /// rules pages that other processes touch first. Call before anything is touched.
    func apply(to base: UnsafeMutableRawPointer, byteCount: Int) throws(MemoryError) {
        guard let nodes, numa_available() >= 0, let mask = numa_allocate_nodemask() else { return }
        defer { numa_bitmask_free(mask) }
        for node in nodes { numa_bitmask_setbit(mask, UInt32(node)) }
        let mode =
            switch self {
            case .systemDefault: MPOL_DEFAULT
            case .bind: MPOL_BIND
            case .interleave: MPOL_INTERLEAVE
            case .preferred: MPOL_PREFERRED
            }
        // The kernel counts one bit less than it is told.
        let status = mbind(base, UInt(byteCount), Int32(mode), mask.pointee.maskp, mask.pointee.size + 1, 0)
        guard status == 0 else { throw .last("mbind", "NUMA nodes \(nodes)") }
    }

    /// The nodes on which this process may allocate, ascending; `[0]` on a kernel without NUMA.
    static func allowedNodes() -> [Int] {
        guard numa_available() >= 0, let mask = numa_get_mems_allowed() else { return [0] }
        defer { numa_bitmask_free(mask) }
        return (0..<Int(mask.pointee.size)).filter { numa_bitmask_isbitset(mask, UInt32($0)) != 0 }
    }
}
