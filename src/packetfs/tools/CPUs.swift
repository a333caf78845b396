import CPacketFSShims
import SystemPackage

/// The CPUs that this process may use, and pinning to one of them.
public enum CPUs {
    /// Numbers of the CPUs that the calling thread is allowed to run on, ascending.
    public static func allowed() throws(ToolError) -> [Int] {
        var cpus = [Int32](repeating: 0, count: 4096)
        let count = pfs_allowed_cpus(&cpus, Int32(cpus.count))
        guard count >= 0 else {
            throw ToolError(.system, "cannot read the CPU affinity: \(Errno(rawValue: errnoNow()))")
        }
        return cpus.prefix(Int(count)).map(Int.init)
    }

    /// The CPUs for pcores: `count` allowed ones (nil: all) from number `first` on.
    public static func chosen(first: Int, count: Int?) throws(ToolError) -> [Int] {
        let allowed = try allowed()
        let candidates = allowed.filter { $0 >= first }
        let wanted = count ?? max(candidates.count, 1)
        guard candidates.first == first || first == 0, wanted <= candidates.count, !candidates.isEmpty else {
            throw ToolError(
                .unavailable,
                "--cpu-first \(first) with --cpu-count \(wanted): this process may use CPUs \(describe(allowed)) only")
        }
        return Array(candidates.prefix(wanted))
    }

    /// Lets the calling thread run on `cpus` only. Threads that it starts later inherit that.
    public static func pin(to cpus: [Int]) throws(ToolError) {
        guard pfs_allow_cpus(cpus.map { Int32(clamping: $0) }, Int32(cpus.count)) == 0 else {
            throw ToolError(.unavailable, "cannot run on CPU \(describe(cpus)): \(Errno(rawValue: errnoNow()))")
        }
    }

    /// A list of CPU numbers as people write it: `0-3,8`.
    public static func describe(_ cpus: [Int]) -> String {
        var runs: [ClosedRange<Int>] = []
        for cpu in Set(cpus).sorted() {
            if let last = runs.last, last.upperBound + 1 == cpu {
                runs[runs.count - 1] = last.lowerBound...cpu
            } else {
                runs.append(cpu...cpu)
            }
        }
        return runs.map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)" }
            .joined(separator: ",")
    }
}
