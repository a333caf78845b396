import Glibc
import SystemPackage

/// The machine a figure was taken on, for reports.
package struct MachineInfo: ReportObject {
    private let cpuModel: String
    private let cpus: Int
    private let kernel: String
    private let architecture: String
    private let memoryBytes: UInt64

    package static var figures: [Figure<Self>] {
        Figure("cpu_model", "as /proc/cpuinfo names it", \.cpuModel)
        Figure("cpus", "CPUs that the process may use", \.cpus)
        Figure("kernel", "its release", \.kernel)
        Figure("architecture", "of the processor", \.architecture)
        Figure("memory_bytes", "memory of the machine", \.memoryBytes)
    }

    /// Reads the present machine's description.
    package init() {
        var names = utsname()
        uname(&names)
        kernel = withUnsafeBytes(of: names.release) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        architecture = withUnsafeBytes(of: names.machine) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        cpus = (try? CPUs.allowed().count) ?? 0
        memoryBytes = UInt64(sysconf(Int32(_SC_PHYS_PAGES))) * UInt64(sysconf(Int32(_SC_PAGESIZE)))
        let model = Self.text(of: "/proc/cpuinfo").split(separator: "\n").first { $0.hasPrefix("model name") }
        cpuModel =
            model.flatMap { $0.split(separator: ":", maxSplits: 1).last.map { String($0.drop(while: \.isWhitespace)) } }
            ?? "unknown"
    }

    private static func text(of path: FilePath) -> String {
        guard let file = try? FileDescriptor.open(path, .readOnly, options: .closeOnExec) else { return "" }
        defer { try? file.close() }
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = (try? buffer.withUnsafeMutableBytes { try file.read(into: $0) }) ?? 0
        return String(decoding: buffer.prefix(count), as: UTF8.self)
    }
}
