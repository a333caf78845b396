import Glibc
import SystemPackage

/// The machine a figure was taken on, for reports.
public struct MachineInfo: Sendable, Encodable {
    /// Processor model as /proc/cpuinfo names it.
    public let cpuModel: String
    /// CPUs this process may use.
    public let cpus: Int
    /// Kernel release.
    public let kernel: String
    /// Processor architecture.
    public let architecture: String
    /// Memory of the machine in bytes.
    public let memoryBytes: UInt64

    private enum CodingKeys: String, CodingKey {
        case cpuModel = "cpu_model"
        case cpus, kernel, architecture
        case memoryBytes = "memory_bytes"
    }

    /// Reads the present machine's description.
    public init() {
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
