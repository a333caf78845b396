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
    /// Each part as with ``preferred(_:)`` on a node of its own; what no part covers near the CPU that touches it first.
    case placed([Part])

    /// A range of bytes and the node that it is wanted on. Bounds are rounded down to whole pages of the mapping, except an
    /// upper bound at its end.
    public struct Part: Sendable, Hashable {
        /// Bytes, counted from the start of the blob.
        public var range: Range<Int>
        /// The node.
        public var node: Int

        /// Makes a part; checked when the memory is made.
        public init(range: Range<Int>, node: Int) {
            self.range = range
            self.node = node
        }
    }

    /// The node that a CPU belongs to; 0 on a kernel without NUMA, nil for a CPU that there is not.
    public static func node(ofCPU cpu: Int) -> Int? {
        guard numa_available() >= 0 else { return 0 }
        let node = numa_node_of_cpu(Int32(clamping: cpu))
        return node < 0 ? nil : Int(node)
    }

    /// The nodes named, nil for ``systemDefault``.
    var nodes: [Int]? {
        switch self {
        case .systemDefault: nil
        case .placed(let parts): parts.map(\.node)
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
    /// rules pages that other processes touch first. Call before anything is touched. `pageSize` is the mapping's.
    func apply(to base: UnsafeMutableRawPointer, byteCount: Int, pageSize: Int) throws(MemoryError) {
        if case .placed(let parts) = self {
            for part in parts {
                guard 0 <= part.range.lowerBound, part.range.upperBound <= byteCount else {
                    throw .outOfRange(
                        what: "memory", lowerBound: part.range.lowerBound, upperBound: part.range.upperBound,
                        limit: byteCount)
                }
                let start = part.range.lowerBound & ~(pageSize - 1)
                let end = part.range.upperBound == byteCount ? byteCount : part.range.upperBound & ~(pageSize - 1)
                guard start < end else { continue }
                try NUMAPolicy.preferred(part.node).apply(to: base + start, byteCount: end - start, pageSize: pageSize)
            }
            return
        }
        guard let nodes, numa_available() >= 0, let mask = numa_allocate_nodemask() else { return }
        defer { numa_bitmask_free(mask) }
        for node in nodes { numa_bitmask_setbit(mask, UInt32(node)) }
        let mode =
            switch self {
            case .systemDefault: MPOL_DEFAULT
            case .bind: MPOL_BIND
            case .interleave: MPOL_INTERLEAVE
            case .preferred, .placed: MPOL_PREFERRED
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
