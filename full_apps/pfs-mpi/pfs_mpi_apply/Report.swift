import ApplyTool
import FoundationEssentials
import PacketFSEngine
import PacketFSTools
import SystemPackage

/// What one rank says about its share.
struct RankReport: Codable {
    let rank: Int
    let host: String
    let pcores: Int
    let cpus: [Int]
    let bytes: UInt64
    let blocks: UInt64
    let chunks: UInt64
    let claims: UInt64
    /// Median.
    let claimNs: UInt64
    let busyNs: UInt64
    let warnings: [String]

    var encoded: [UInt8] { (try? Array(JSONEncoder().encode(self))) ?? [] }

    static func decode(_ bytes: [UInt8]) throws -> RankReport {
        try JSONDecoder().decode(RankReport.self, from: Data(bytes))
    }
}

/// What pfs_mpi_apply says beside what pfs_apply says, at rank 0.
struct JobReport {
    let outcome: ApplyOutcome
    let ranks: [RankReport]
    let chunkByteCount: Int
    let resumedChunks: Int
    let io: InputChoice
    let journal: String?
    let startNanoseconds: UInt64
    let reductionNanoseconds: UInt64

    /// Ranks of one host.
    struct Host: Encodable {
        let host: String
        let ranks: Int
        let pcores: Int
        let bytes: UInt64
        let throughputMbPerS: Double
    }

    private struct Config: Encodable {
        let ranks: Int
        let chunkBytes: Int
        let io: String
        let ioReason: String
        let journal: String?
        let mpi: String

        private enum Key: String, CodingKey { case ranks, chunkBytes, io, ioReason, journal, mpi }

        /// Written out so that a journal which is not there is null and not absent.
        func encode(to encoder: any Encoder) throws {
            var box = encoder.container(keyedBy: Key.self)
            try box.encode(ranks, forKey: .ranks)
            try box.encode(chunkBytes, forKey: .chunkBytes)
            try box.encode(io, forKey: .io)
            try box.encode(ioReason, forKey: .ioReason)
            try box.encode(journal, forKey: .journal)
            try box.encode(mpi, forKey: .mpi)
        }
    }

    private struct Result: Encodable {
        let chunks: UInt64
        let resumedChunks: Int
        let startNs: UInt64
        let claims: UInt64
        let claimNs: UInt64
        let reductionNs: UInt64
        let ranks: [RankReport]
        let hosts: [Host]
    }

    /// Hosts in the order of their first ranks.
    var hosts: [Host] {
        var order: [String] = []
        for rank in ranks where !order.contains(rank.host) { order.append(rank.host) }
        let seconds = Double(outcome.elapsedNanoseconds) / 1e9
        return order.map { name in
            let own = ranks.filter { $0.host == name }
            let bytes = own.reduce(0) { $0 + $1.bytes }
            return Host(
                host: name, ranks: own.count, pcores: own.reduce(0) { $0 + $1.pcores }, bytes: bytes,
                throughputMbPerS: seconds > 0
                    ? Double(bytes) * Double(outcome.passNanoseconds.count) / seconds / 1e6 : 0)
        }
    }

    func json(check: String?, warnings: [String]) throws -> String {
        try outcome.json(
            tool: MPIApply.name, check: check, warnings: warnings,
            config: Config(
                ranks: ranks.count, chunkBytes: chunkByteCount, io: io.access.rawValue, ioReason: io.reason,
                journal: journal, mpi: Communicator.library),
            result: Result(
                chunks: ranks.reduce(0) { $0 + $1.chunks }, resumedChunks: resumedChunks, startNs: startNanoseconds,
                claims: ranks.reduce(0) { $0 + $1.claims }, claimNs: median(ranks.map(\.claimNs)),
                reductionNs: reductionNanoseconds, ranks: ranks, hosts: hosts))
    }

    var summary: String {
        var lines = outcome.resultLines
        func line(_ name: String, _ text: String) { lines.append(ApplyOutcome.line(name, text)) }
        if outcome.mode != nil {
            let seconds = Double(outcome.elapsedNanoseconds) / 1e9
            line(
                "throughput",
                "\(decimals(outcome.megabytesPerSecond, 1)) MB/s: \(scaled(Double(outcome.workedBytes)))B in "
                    + "\(decimals(seconds, 3)) s"
                    + (outcome.passNanoseconds.count > 1 ? ", \(outcome.passNanoseconds.count) passes" : ""))
        }
        if outcome.holeBytes > 0 { line("holes", "\(outcome.holeBytes) bytes of the file are holes and were not read") }
        let hosts = hosts
        line(
            "ranks",
            "\(ranks.count) on \(hosts.count) host\(hosts.count == 1 ? "" : "s"); \(outcome.isa) kernels; "
                + "input by \(io.access.rawValue) (\(io.reason))")
        let chunks = ranks.reduce(0) { $0 + $1.chunks }
        line(
            "chunks",
            "\(chunks) of \(scaled(Double(chunkByteCount)))B claimed"
                + (resumedChunks > 0 ? "; \(resumedChunks) were done before" : ""))
        for host in hosts {
            line(
                host.host,
                "\(host.ranks) rank\(host.ranks == 1 ? "" : "s"), \(host.pcores) pcore\(host.pcores == 1 ? "" : "s"): "
                    + "\(scaled(Double(host.bytes)))B, \(decimals(host.throughputMbPerS, 1)) MB/s")
        }
        if outcome.restarts > 0 { line("restarts", "\(outcome.restarts): pcores died and were replaced") }
        return lines.joined(separator: "\n")
    }

    /// One line per rank.
    var csv: String {
        var lines = ["rank,host,pcores,cpus,bytes,blocks,chunks,claims,claim_ns,busy_ns"]
        for rank in ranks {
            let cpus = rank.cpus.map { "\($0)" }.joined(separator: " ")
            lines.append(
                "\(rank.rank),\(rank.host),\(rank.pcores),\(cpus),\(rank.bytes),\(rank.blocks),\(rank.chunks),"
                    + "\(rank.claims),\(rank.claimNs),\(rank.busyNs)")
        }
        return lines.joined(separator: "\n") + "\n"
    }
}

/// The middle one of some numbers, or 0 if there is none.
func median(_ numbers: [UInt64]) -> UInt64 { numbers.isEmpty ? 0 : numbers.sorted()[numbers.count / 2] }
