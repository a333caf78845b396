import CNuma
import Glibc
import SystemPackage

/// Reads a small text file of /proc or /sys; nil when it is not there or cannot be read.
func readText(_ path: String) -> String? {
    guard let file = try? FileDescriptor.open(FilePath(path), .readOnly, options: .closeOnExec) else { return nil }
    defer { try? file.close() }
    var text: [UInt8] = []
    while true {
        let chunk = 65536
        let part = try? [UInt8](unsafeUninitializedCapacity: chunk) { buffer, count in
            count = try file.read(into: UnsafeMutableRawBufferPointer(buffer))
        }
        guard let part else { return nil }
        if part.isEmpty { return String(decoding: text, as: UTF8.self) }
        text += part
    }
}

/// The number in a file that holds one number and nothing else.
func readNumber(_ path: String, _ read: (String) -> String?) -> Int? {
    guard let text = read(path) else { return nil }
    return Int(text.trimmingNewline)
}

extension StringProtocol {
    /// Without the line feed at the end, where there is one.
    fileprivate var trimmingNewline: SubSequence { last == "\n" ? dropLast() : self[...] }
}

/// The number behind `key` in lines such as `MemAvailable:   123 kB` or `inactive_file 123`.
func number(after key: String, in text: String) -> Int? {
    for line in text.split(separator: "\n") {
        let fields = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
        if fields.count >= 2, fields[0] == key { return Int(fields[1]) }
    }
    return nil
}

/// How much ordinary memory a process can still take before the kernel starts to kill.
struct AvailableMemory: Equatable {
    /// Bytes.
    var byteCount: Int
    /// Where the limit stands, for the message: `the machine` or `the control group /x`.
    var holder: String

    /// The least of what the machine has available and what every control group above this process still allows. Page
    /// cache counts as available, since the kernel gives it back. nil when /proc is not readable.
    ///
    /// Sources: proc(5) MemAvailable; the kernel's cgroup-v2 guide (memory.max, memory.current, memory.stat) and its
    /// memory controller guide for version 1.
    static func now(_ read: (String) -> String? = readText) -> AvailableMemory? {
        guard let info = read("/proc/meminfo"), let kilobytes = number(after: "MemAvailable:", in: info) else {
            return nil
        }
        var least = AvailableMemory(byteCount: kilobytes << 10, holder: "the machine")
        for group in controlGroups(read) {
            for path in group.paths {
                guard let limit = readNumber(path + group.limitFile, read),
                    let used = readNumber(path + group.usageFile, read)
                else { continue }  // "max", or the root group, which has no limit
                let statistics = read(path + "/memory.stat") ?? ""
                let cache = group.cacheKeys.reduce(0) { $0 + (number(after: $1, in: statistics) ?? 0) }
                // The statistics lag behind: the cache can seem larger than what is used. No limit is the largest number.
                let room = max(0, limit - max(0, used - cache))
                if room < least.byteCount {
                    least = AvailableMemory(byteCount: room, holder: "the control group \(path)")
                }
            }
        }
        return least
    }

    /// One memory controller hierarchy: the folders from this process's group up to the top, and how its files are
    /// called.
    struct ControlGroups: Equatable {
        var paths: [String]
        var limitFile: String
        var usageFile: String
        var cacheKeys: [String]
    }

    /// Version 2 and, where the memory controller is attached to it, version 1.
    static func controlGroups(_ read: (String) -> String?) -> [ControlGroups] {
        guard let memberships = read("/proc/self/cgroup"), let mounts = read("/proc/self/mountinfo") else { return [] }
        var result: [ControlGroups] = []
        for line in mounts.split(separator: "\n") {
            // mountinfo: id parent device root mountpoint options [tags] - type source superoptions
            let fields = line.split(separator: " ")
            guard let dash = fields.firstIndex(of: "-"), dash >= 5, fields.count > dash + 3 else { continue }
            let version2 = fields[dash + 1] == "cgroup2"
            let version1 = fields[dash + 1] == "cgroup" && fields[dash + 3].split(separator: ",").contains("memory")
            guard version1 || version2 else { continue }
            for membership in memberships.split(separator: "\n") {
                let parts = membership.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
                guard parts.count == 3 else { continue }
                let matches = version2 ? parts[0] == "0" : parts[1].split(separator: ",").contains("memory")
                guard matches else { continue }
                let paths = folders(of: parts[2], mountRoot: fields[3], mountPoint: String(fields[4]))
                result.append(
                    version2
                        ? ControlGroups(
                            paths: paths, limitFile: "/memory.max", usageFile: "/memory.current",
                            cacheKeys: ["active_file", "inactive_file"])
                        : ControlGroups(
                            paths: paths, limitFile: "/memory.limit_in_bytes", usageFile: "/memory.usage_in_bytes",
                            cacheKeys: ["total_active_file", "total_inactive_file"]))
            }
        }
        return result
    }

    /// The folders of `group` and of all groups above it, as they appear below `mountPoint`, where the hierarchy is
    /// mounted from `mountRoot` on (in a container, that is seldom the top).
    private static func folders(of group: Substring, mountRoot: Substring, mountPoint: String) -> [String] {
        var names = group.split(separator: "/")
        let root = mountRoot.split(separator: "/")
        if names.starts(with: root) { names.removeFirst(root.count) }
        if names.contains("..") { names = [] }  // a group outside this namespace: only the mount point is visible
        var paths: [String] = []
        while true {
            paths.append(([Substring(mountPoint)] + names).joined(separator: "/"))
            if names.isEmpty { return paths }
            names.removeLast()
        }
    }

    /// What these NUMA nodes have free, page cache included. A node that says nothing counts as empty.
    static func onNodes(_ nodes: [Int], _ read: (String) -> String? = readText) -> AvailableMemory {
        var kilobytes = 0
        for node in Set(nodes) {
            let prefix = "Node \(node) "
            let lines = (read("/sys/devices/system/node/node\(node)/meminfo") ?? "").split(separator: "\n")
            let info = lines.map { $0.hasPrefix(prefix) ? $0.dropFirst(prefix.count) : $0 }.joined(separator: "\n")
            for key in ["MemFree:", "Active(file):", "Inactive(file):"] {
                kilobytes += number(after: key, in: info) ?? 0
            }
        }
        return AvailableMemory(
            byteCount: kilobytes << 10, holder: "NUMA node \(nodes.map(String.init).joined(separator: ","))")
    }

    /// Fails when `byteCount` bytes, placed by `numa`, would leave less than a sixteenth of the available memory to page
    /// tables and everything else: better a clear message now than a killed process later.
    static func require(_ byteCount: Int, _ numa: NUMAPolicy = .systemDefault) throws(MemoryError) {
        guard var available = now() else { return }  // no /proc: the kernel's own limits must do
        if case .bind(let nodes) = numa, numa_available() >= 0 {
            let bound = onNodes(nodes)
            if bound.byteCount < available.byteCount { available = bound }
        }
        let usable = available.byteCount - available.byteCount / 16
        guard byteCount <= usable else {
            throw .shortage(
                of: "memory in \(available.holder)", needed: byteCount, free: usable, unit: "bytes",
                remedy: "ask for less, stop other programs or raise the limit")
        }
    }
}

/// One pool of hugetlb pages.
struct HugePagePool {
    /// Bytes of a page, a power of two.
    var pageSize: Int
    /// Pages in the pool, used or not.
    var total: Int
    /// Pages that nobody uses and nobody has reserved.
    var free: Int

    /// The system's pool, or with `nodes` only their part of it; nil when the kernel has no pages of this size.
    init?(pageSize: Int, nodes: [Int]? = nil, _ read: (String) -> String? = readText) {
        let folder = "hugepages/hugepages-\(pageSize >> 10)kB"
        let system = "/sys/kernel/mm/\(folder)"
        guard let total = readNumber("\(system)/nr_hugepages", read),
            let free = readNumber("\(system)/free_hugepages", read)
        else { return nil }
        self.pageSize = pageSize
        self.total = total
        self.free = max(0, free - (readNumber("\(system)/resv_hugepages", read) ?? 0))
        guard let nodes else { return }
        let onNodes = nodes.reduce(0) {
            $0 + (readNumber("/sys/devices/system/node/node\($1)/\(folder)/free_hugepages", read) ?? 0)
        }
        self.free = min(self.free, onNodes)
    }

    /// The error for a pool that cannot give `needed` pages, with the command that makes it large enough.
    func shortage(needed: Int, nodes: [Int]? = nil) -> MemoryError {
        let place = nodes.map { " on NUMA node \($0.map(String.init).joined(separator: ","))" } ?? ""
        return .shortage(
            of: "\(formatPageSize(pageSize)) huge pages\(place)", needed: needed, free: free, unit: "pages",
            remedy:
                "reserve them with `just hugepages` or `\(HugePagePool.command(pageSize, total + max(0, needed - free)))`"
        )
    }

    /// The shell command that sets the size of a pool.
    static func command(_ pageSize: Int, _ pages: Int) -> String {
        "echo \(pages) | sudo tee /sys/kernel/mm/hugepages/hugepages-\(pageSize >> 10)kB/nr_hugepages"
    }
}

/// Transparent huge pages for shared memory (the kernel's guide "Transparent Hugepage Support").
enum TransparentHugePages {
    private static let folder = "/sys/kernel/mm/transparent_hugepage"

    /// Bytes of a transparent huge page.
    static func pageSize(_ read: (String) -> String? = readText) -> Int {
        let size = readNumber("\(folder)/hpage_pmd_size", read) ?? 0
        return size > 0 && size & (size - 1) == 0 ? size : 2 << 20
    }

    /// Whether memfds may get them when they ask with madvise(2): the word in brackets of `shmem_enabled`.
    static func enabledForMemfd(_ read: (String) -> String? = readText) -> Bool {
        guard let choices = read("\(folder)/shmem_enabled"),
            let open = choices.firstIndex(of: "["),
            let close = choices[open...].firstIndex(of: "]")
        else { return false }
        let chosen = choices[open..<close].dropFirst()
        return ["always", "within_size", "advise", "force"].contains(chosen)
    }

    /// The error for a machine that does not give them: to memfds, or to files in the tmpfs `directory`.
    static func unavailable(_ why: String, in directory: FilePath? = nil) -> MemoryError {
        let command =
            directory.map { "sudo mount -o remount,huge=advise \($0)" }
            ?? "echo advise | sudo tee \(folder)/shmem_enabled"
        return .unavailable(
            what: "transparent huge pages for shared memory (\(why))",
            remedy: "switch them on with `\(command)` or choose another page size")
    }
}

/// What /proc/self/smaps and /proc/self/numa_maps say about a mapping.
struct MappingReport: Equatable {
    /// Bytes reached through huge page-table entries: hugetlb and transparent.
    var hugeBytes = 0
    /// The file as the kernel names it; empty when the range is not mapped.
    var path = ""
    /// Nodes of touched pages, ascending; nil when the kernel has no numa_maps.
    var nodes: [Int]?
    /// Bytes on each of them.
    var nodeBytes: [Int: Int] = [:]

    /// Adds up the mappings that lie in `range` (addresses).
    init(range: Range<UInt>, _ read: (String) -> String? = readText) {
        var inside = false
        for line in (read("/proc/self/smaps") ?? "").split(separator: "\n") {
            let fields = line.split(separator: " ")
            guard let key = fields.first else { continue }
            if key.last == ":" {
                guard inside, fields.count >= 2 else { continue }
                switch key {
                case "ShmemPmdMapped:", "FilePmdMapped:", "Shared_Hugetlb:", "Private_Hugetlb:":
                    hugeBytes += (Int(fields[1]) ?? 0) << 10
                default: break
                }
            } else {
                // address-address permissions offset device inode path
                let bounds = key.split(separator: "-").compactMap { UInt($0, radix: 16) }
                inside = bounds.count == 2 && range.lowerBound <= bounds[0] && bounds[1] <= range.upperBound
                if inside { path = fields.dropFirst(5).joined(separator: " ") }
            }
        }
        guard let maps = read("/proc/self/numa_maps") else { return }
        for line in maps.split(separator: "\n") {
            let fields = line.split(separator: " ")
            guard let start = fields.first.flatMap({ UInt($0, radix: 16) }), range.contains(start) else { continue }
            // ... N0=pages N1=pages kernelpagesize_kB=4
            let size = fields.first { $0.hasPrefix("kernelpagesize_kB=") }
            let kilobytes = size.flatMap { $0.split(separator: "=").last.flatMap { Int($0) } } ?? 4
            for field in fields.dropFirst() where field.first == "N" {
                let parts = field.dropFirst().split(separator: "=").map { Int($0) }
                if parts.count == 2, let node = parts[0], let pages = parts[1] {
                    nodeBytes[node, default: 0] += pages * kilobytes << 10
                }
            }
        }
        nodes = nodeBytes.keys.sorted()
    }
}
