/// Which pages a blob shall lie on. Raw values are the words of the command line.
public enum PagePreference: String, Sendable, CaseIterable {
    /// The largest pages that are free now and that the size fills well (at most an eighth of it lost to rounding up):
    /// 1 GiB, 2 MiB, transparent huge pages, 4 KiB. Never fails for want of huge pages.
    case automatic = "auto"
    /// Pages of 1 GiB from the pool or an error.
    case huge1G = "1g"
    /// Pages of 2 MiB from the pool or an error.
    case huge2M = "2m"
    /// Transparent huge pages, as many as the kernel gives but at least one, or an error.
    case transparent = "thp"
    /// Ordinary pages, even where the kernel would give huge ones unasked.
    case small = "4k"
}

/// The kind of pages that a blob really got.
public enum PageKind: String, Sendable, Hashable {
    /// Huge pages from a reserved pool (hugetlb); never swapped, never split.
    case hugetlb
    /// Ordinary memory of which the kernel holds some on transparent huge pages.
    case transparent
    /// Ordinary pages only.
    case small
}

/// What the memory of a blob really is, as the kernel reports it.
public struct Backing: Sendable, Hashable {
    /// The kind of pages.
    public var kind: PageKind
    /// Bytes of one page: of the hugetlb page, of the transparent huge page, or of the ordinary page.
    public var pageSize: Int
    /// Bytes of the mapping: the blob's size rounded up to whole pages.
    public var mappedBytes: Int
    /// Bytes on huge pages. Hugetlb: bytes that the file holds. Transparent: bytes that this process's mapping
    /// reaches through huge page-table entries, which for an adopted blob grows as pages are touched.
    public var hugeBytes: Int
    /// NUMA nodes, ascending, on which the pages lie that this process has touched. Empty in a process that has touched
    /// none; `[0]` on a kernel without NUMA.
    public var nodes: [Int]
    /// Bytes on each of those nodes, as the kernel counts them; empty on a kernel without NUMA.
    public var nodeBytes: [Int: Int] = [:]
    /// `true` for a blob with a name in a directory, `false` for a memfd.
    public var isNamed: Bool
}

extension Backing: CustomStringConvertible {
    /// For example `2 MiB pages (memfd, hugetlb), 4294967296 bytes huge, node 0`.
    public var description: String {
        let origin = isNamed ? "named file" : "memfd"
        let pages =
            switch kind {
            case .hugetlb: "\(formatPageSize(pageSize)) pages (\(origin), hugetlb), \(hugeBytes) bytes huge"
            case .transparent:
                "transparent \(formatPageSize(pageSize)) pages (\(origin)), \(hugeBytes) of \(mappedBytes) bytes huge"
            case .small: "\(formatPageSize(pageSize)) pages (\(origin)), 0 bytes huge"
            }
        switch nodes.count {
        case 0: return "\(pages), nothing touched yet"
        case 1: return "\(pages), node \(nodes[0])"
        default:
            let parts = nodes.map { node in "\(node)\(nodeBytes[node].map { " (\($0 >> 20) MiB)" } ?? "")" }
            return "\(pages), nodes \(parts.joined(separator: ","))"
        }
    }
}

/// `2 MiB`, `1 GiB`, `4 KiB`: page sizes are powers of two.
func formatPageSize(_ bytes: Int) -> String {
    if bytes >= 1 << 30 { return "\(bytes >> 30) GiB" }
    if bytes >= 1 << 20 { return "\(bytes >> 20) MiB" }
    return "\(bytes >> 10) KiB"
}

/// `byteCount` rounded up to whole pages (a power of two).
func wholePages(_ byteCount: Int, _ pageSize: Int) throws(MemoryError) -> Int {
    let (sum, overflow) = byteCount.addingReportingOverflow(pageSize - 1)
    guard !overflow else {
        throw .invalid(argument: "size", value: String(byteCount), reason: "it exceeds the address space")
    }
    return sum & ~(pageSize - 1)
}
