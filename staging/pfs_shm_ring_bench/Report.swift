import ArgumentParser
import FoundationEssentials
import Glibc

/// The figures of one batch size, in million values per second.
struct Row: Encodable {
    let batch: Int
    let mopsPerS: Double
    let nsPerOp: Double
    let samplesMopsPerS: [Double]

    /// Samples in the order in which they were taken; at least one.
    init(batch: Int, samples: [Double]) {
        let sorted = samples.sorted()
        let middle = sorted.count / 2
        self.batch = batch
        mopsPerS = sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
        nsPerOp = 1e3 / mopsPerS
        samplesMopsPerS = samples
    }

    private var least: Double { samplesMopsPerS.min() ?? mopsPerS }
    private var most: Double { samplesMopsPerS.max() ?? mopsPerS }

    /// Distance between the extremes as a fraction of the median.
    var spread: Double { (most - least) / mopsPerS }

    /// The row as people read it.
    var line: String {
        pad("\(batch)", 5) + pad(fixed(mopsPerS, 1), 10) + pad(fixed(nsPerOp, 2), 8)
            + "   (\(fixed(least, 1)) ... \(fixed(most, 1)))"
    }
}

/// What `--json` prints.
struct Report: Encodable {
    struct Config: Encodable {
        let mode: String
        let slots: UInt32
        let ops: UInt64
        let repeats: Int
        let producerCpu: Int
        let consumerCpu: Int
    }

    struct Machine: Encodable {
        let cpuModel: String
        let cpus: Int
        let kernel: String

        /// The machine that this runs on.
        static func current() -> Machine {
            var name = utsname()
            uname(&name)
            let kernel = withUnsafeBytes(of: name.release) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            return Machine(cpuModel: cpuModel(), cpus: sysconf(Int32(_SC_NPROCESSORS_ONLN)), kernel: kernel)
        }

        private static func cpuModel() -> String {
            guard let file = fopen("/proc/cpuinfo", "r") else { return "unknown" }
            defer { fclose(file) }
            while let line = readLine(from: file) {
                if line.hasPrefix("model name"), let colon = line.firstIndex(of: ":") {
                    return String(line[line.index(after: colon)...].drop { $0 == " " })
                }
            }
            return "unknown"
        }

        private static func readLine(from file: UnsafeMutablePointer<FILE>) -> String? {
            var bytes: [UInt8] = []
            while case let byte = getc(file), byte != EOF {
                if byte == 10 { return String(decoding: bytes, as: UTF8.self) }
                bytes.append(UInt8(truncatingIfNeeded: byte))
            }
            return nil
        }
    }

    struct Result: Encodable {
        let verified: Bool
        let batches: [Row]
    }

    let schemaVersion = 1
    let tool = "pfs_shm_ring_bench"
    let version: String
    let config: Config
    let machine: Machine
    let result: Result
    let warnings: [String]

    /// The document as text.
    func text() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        encoder.keyEncodingStrategy = .convertToSnakeCase
        return String(decoding: try encoder.encode(self), as: UTF8.self)
    }
}

/// The argument of `--batches`: sizes separated by commas.
struct BatchList: ExpressibleByArgument {
    let sizes: [Int]

    /// Largest batch that can be asked for.
    static let limit = 65536

    init(sizes: [Int]) {
        self.sizes = sizes
    }

    init?(argument: String) {
        let sizes = argument.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) ?? 0 }
        guard sizes.allSatisfy({ (1...BatchList.limit).contains($0) }) else { return nil }
        self.sizes = sizes
    }

    var defaultValueDescription: String { sizes.map(String.init).joined(separator: ",") }
}

/// `text` behind as many spaces as make it `width` characters long.
private func pad(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(0, width - text.count)) + text
}

/// `value` with `digits` digits after the point; the values here are far from the limits of `Int`.
private func fixed(_ value: Double, _ digits: Int) -> String {
    var scale = 1
    for _ in 0..<digits { scale *= 10 }
    let scaled = Int((value * Double(scale)).rounded())
    let fraction = "\(scaled % scale)"
    return "\(scaled / scale)." + String(repeating: "0", count: digits - fraction.count) + fraction
}
