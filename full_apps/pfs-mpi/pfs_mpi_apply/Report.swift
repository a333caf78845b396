import ApplyTool
import FoundationEssentials
import PacketFSEngine
import PacketFSTools
import SystemPackage

/// What one rank says about its share.
struct RankReport: Codable, ReportObject {
    let rank: Int
    let host: String
    let pcores: Int
    let cpus: [Int]
    let bytes: UInt64, blocks: UInt64, chunks: UInt64, claims: UInt64
    let claimNs: UInt64, busyNs: UInt64
    let warnings: [String]

    @FigureList<Self> static var columns: [Figure<Self>] {
        Figure("rank", "its number", \.rank)
        Figure("host", "where it ran", \.host)
        Figure("pcores", "of the rank", \.pcores)
        Figure("cpus", "that they were spread over", \.cpus)
        Figure("bytes", "of its share", \.bytes)
        Figure("blocks", "of its share", \.blocks)
        Figure("chunks", "that it did", \.chunks)
        Figure("claims", "with those that found nothing left", \.claims)
        Figure("claim_ns", "median of its claims", \.claimNs)
        Figure("busy_ns", "until it found nothing left", \.busyNs)
    }

    static var figures: [Figure<Self>] {
        columns
        Figure("warnings", "of the rank", \.warnings)
    }

    var encoded: [UInt8] { (try? Array(JSONEncoder().encode(self))) ?? [] }

    static func decode(_ bytes: [UInt8]) throws -> RankReport {
        try JSONDecoder().decode(RankReport.self, from: Data(bytes))
    }
}

/// A row of `--rank-csv`.
struct RankRow: ReportObject {
    let report: RankReport
    static var figures: [Figure<Self>] { Figure.from(\.report, RankReport.columns) }
}

/// Ranks of one host.
struct HostReport: ReportObject {
    let host: String
    let ranks: Int, pcores: Int
    let bytes: UInt64
    let throughputMbPerS: Double

    static var figures: [Figure<Self>] {
        Figure("host", "its name", \.host)
        Figure("ranks", "on it", \.ranks)
        Figure("pcores", "of those ranks", \.pcores)
        Figure("bytes", "of their shares", \.bytes)
        Figure("throughput_mb_per_s", "of the host, over the whole job's time", \.throughputMbPerS)
    }
}

/// The job as it was understood.
struct JobConfig: ReportObject {
    let job: JobReport
    let check: String?

    static var figures: [Figure<Self>] {
        Figure.from({ ApplyConfig($0.job.outcome, check: $0.check) }, ApplyConfig.figures)
        Figure("ranks", "of the job", \.job.ranks.count)
        Figure("chunk_bytes", "of a chunk, which a rank claims at a time", \.job.chunkByteCount)
        Figure("io", "`mmap` or `mpi-io`", \.job.io.access.rawValue)
        Figure("io_reason", "why so", \.job.io.reason)
        Figure("journal", "its name; null for none", \.job.journal)
        Figure("mpi", "version of the library") { _ in Communicator.library }
    }
}

/// What pfs_mpi_apply says beside what pfs_apply says, at rank 0.
struct JobReport: ReportObject {
    let outcome: ApplyOutcome
    let ranks: [RankReport]
    let chunkByteCount: Int
    let resumedChunks: Int
    let io: InputChoice
    let journal: String?
    let startNanoseconds: UInt64
    let reductionNanoseconds: UInt64

    static var figures: [Figure<Self>] {
        Figure.from(\.outcome, ApplyOutcome.values + ApplyOutcome.figures { _ in [] })
        Figure("ranks", "one for each rank", \.ranks) {
            "\($0.ranks.count) on \($0.hosts.count) host\($0.hosts.count == 1 ? "" : "s"); \($0.outcome.isa) kernels; "
                + "input by \($0.io.access.rawValue) (\($0.io.reason))"
        }
        Figure("chunks", "that were done in this run", \.chunks) {
            "\($0.chunks) of \(scaled(Double($0.chunkByteCount)))B claimed"
                + ($0.resumedChunks > 0 ? "; \($0.resumedChunks) were done before" : "")
        }
        Figure("resumed_chunks", "that the journal said were done", \.resumedChunks)
        Figure("hosts", "one for each host, in the order of its first rank", \.hosts) { job in
            job.hosts.map { ($0.host, Self.line($0)) }
        }
        Figure("start_ns", "rank 0's time in MPI_Init", \.startNanoseconds)
        Figure("claims", "of all ranks, with those that found nothing left") { $0.ranks.reduce(0) { $0 + $1.claims } }
        Figure("claim_ns", "median of a claim, over ranks") { median($0.ranks.map(\.claimNs)) }
        Figure("reduction_ns", "joining the results of all ranks, after the last has finished", \.reductionNanoseconds)
    }

    private var chunks: UInt64 { ranks.reduce(0) { $0 + $1.chunks } }

    private static func line(_ host: HostReport) -> String {
        "\(host.ranks) rank\(host.ranks == 1 ? "" : "s"), \(host.pcores) pcore\(host.pcores == 1 ? "" : "s"): "
            + "\(scaled(Double(host.bytes)))B, \(decimals(host.throughputMbPerS, 1)) MB/s"
    }

    /// Hosts in the order of their first ranks.
    var hosts: [HostReport] {
        var order: [String] = []
        for rank in ranks where !order.contains(rank.host) { order.append(rank.host) }
        let seconds = Double(outcome.elapsedNanoseconds) / 1e9
        return order.map { name in
            let own = ranks.filter { $0.host == name }
            let bytes = own.reduce(0) { $0 + $1.bytes }
            return HostReport(
                host: name, ranks: own.count, pcores: own.reduce(0) { $0 + $1.pcores }, bytes: bytes,
                throughputMbPerS: seconds > 0
                    ? Double(bytes) * Double(outcome.passNanoseconds.count) / seconds / 1e6 : 0)
        }
    }
}

/// The middle one of some numbers, or 0 if there is none.
func median(_ numbers: [UInt64]) -> UInt64 { numbers.isEmpty ? 0 : numbers.sorted()[numbers.count / 2] }
