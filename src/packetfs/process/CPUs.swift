import CPacketFSShims

/// The CPUs that this process may use, and pinning to one of them.
public enum CPUs {
    /// Numbers of the CPUs that the calling thread is allowed to run on, ascending.
    public static func allowed() throws(SystemError) -> [Int] {
        var cpus = [Int32](repeating: 0, count: 4096)
        let count = pfs_allowed_cpus(&cpus, Int32(cpus.count))
        guard count >= 0 else {
            throw SystemError("sched_getaffinity")
        }
        return cpus.prefix(Int(count)).map(Int.init)
    }

    /// Lets the calling thread run on `cpus` only. Threads that it starts later inherit that.
    public static func pin(to cpus: [Int]) throws(SystemError) {
        guard pfs_allow_cpus(cpus.map { Int32(clamping: $0) }, Int32(cpus.count)) == 0 else {
            throw SystemError("cannot run on CPU \(describe(cpus))", isUnavailable: true)
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
