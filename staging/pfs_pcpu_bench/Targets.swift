import PacketFSPCPU
import PacketFSTools

/// A ratio that the kernels are held to, and what they reached in this run.
struct Target: ReportObject {
    let work: String
    let shape: String
    let cpus: Int
    let isa: ISA
    /// What the measured rate is compared with, in words.
    let against: String
    let ratio: Quartiles
    let target: Double
    var isMet: Bool { ratio.median >= target }

    static var figures: [Figure<Self>] {
        Figure("work", "the program", \.work)
        Figure("shape", "the ranges that were worked on", \.shape)
        Figure("cpus", "that took part", \.cpus)
        Figure("isa", "of the kernels", \.isa.rawValue)
        Figure("against", "what the rate is compared with", \.against)
        Figure.from(\.ratio, Quartiles.figures)
        Figure("target", "the least ratio", \.target)
        Figure("met", "whether `ratio` is no less", \.isMet)
    }
}

extension Target {
    /// Every target for which this run has the figures.
    ///
    /// What holds for the machine holds for the best of the instruction sets that were measured; `fnv` has targets for several.
    ///
    /// - Parameter isas: those that were measured, best first.
    static func all(_ figures: [Rate], shapes: [Shape], isas: [ISA]) -> [Target] {
        Set(figures.map(\.cpus)).sorted().flatMap { cpus in
            shapes.flatMap { shape in
                let here = figures.filter { $0.shape == shape.key && $0.cpus == cpus }
                return isas.flatMap { of($0, shape, here, isBest: $0 == isas.first) }
            }
        }
    }

    /// One range of 64 KiB, and tables, over the C loop, by instruction set.
    private static let fnvRange = ["avx512": 9, "vpclmul": 2.5, "avx2": 2.5]
    private static let fnvTable = ["avx512": 6.5, "vpclmul": 3.7, "avx2": 3.7]

    private static func of(_ isa: ISA, _ shape: Shape, _ here: [Rate], isBest: Bool) -> [Target] {
        var found: [Target] = []
        func own(_ work: String, _ by: String = "packetfs") -> Rate? { here.of(work, by, isa) }
        func hold(_ work: String, to target: Double, of other: Rate?, _ against: String) {
            guard let rate = own(work), let other else { return }
            found.append(
                Target(
                    work: work, shape: rate.shapeName, cpus: rate.cpus, isa: isa, against: against,
                    ratio: rate.over(other),
                    target: target))
        }
        let three = Contender.three
        let cLoop = "best C loop"
        switch shape.key {
        case .b64, .b192, .b320, .kib1, .kib4, .kib64, .mib1:
            if isBest && shape.key != .b64 {
                hold("xor:90", to: 0.95, of: here.fastest("xor:90", "c"), cLoop)
                hold("add:7", to: 0.95, of: here.fastest("add:7", "c"), cLoop)
            }
            if isBest && ![.b64, .b192, .b320].contains(shape.key) {
                hold("counteq:0", to: 0.9, of: here.fastest("read", "limit"), "read limit")
            }
            if isBest { hold(three, to: 0.85, of: own("xor:90"), "one xor pass") }
        case .dram:
            if isBest {
                hold("xor:90", to: 0.97, of: here.fastest("modify", "limit"), "read-modify-write limit")
                hold("add:7", to: 0.97, of: here.fastest("modify", "limit"), "read-modify-write limit")
                hold("counteq:0", to: 0.95, of: here.fastest("read", "limit"), "read limit")
                hold(three, to: 0.97, of: own("xor:90"), "one xor pass")
                hold(three, to: 2.5, of: own(three, "packetfs-passes"), "its three passes")
            }
        case .tableL1, .table, .tableDRAM: break
        }
        let isal = here.fastest("crc32c", "isa-l")
        let chain = here.fastest("fnv", "c")
        switch shape.key {
        case .kib1, .kib4:
            if isBest { hold("crc32c", to: 1.3, of: isal, "ISA-L") }
        case .kib64:
            if isBest { hold("crc32c", to: 1.5, of: isal, "ISA-L") }
            if let target = fnvRange[isa.rawValue] { hold("fnv", to: target, of: chain, cLoop) }
        case .mib1:
            if isBest { hold("crc32c", to: 1.5, of: isal, "ISA-L") }
        case .table:
            if isBest { hold("crc32c", to: 3, of: isal, "ISA-L, a call for each range") }
            if let target = fnvTable[isa.rawValue] { hold("fnv", to: target, of: chain, cLoop) }
        default: break
        }
        // Of the same round, whichever part is the slower one in the end.
        if isBest, let xor = own("xor:90"), let crc = own("crc32c") {
            hold("xor:90,crc32c", to: 0.9, of: xor.median < crc.median ? xor : crc, "slower of its parts")
        }
        return found
    }
}

/// What two revisions reached with one program in one shape, in turn.
struct Change: ReportObject {
    let isa: ISA
    /// Where the old revision does not have `isa`, the best that it has.
    let beforeISA: ISA
    let before: Rate
    let now: Rate
    /// The new rate over the old one.
    var ratio: Quartiles { now.over(before) }

    static var figures: [Figure<Self>] {
        Figure("shape", "the ranges that were worked on", \.now.shapeName)
        Figure("work", "the program", \.now.work)
        Figure("isa", "of the new kernels", \.isa.rawValue)
        Figure("before_isa", "of the old kernels; their best where they lack `isa`", \.beforeISA.rawValue)
        Figure("before_mb_per_s", "median", \.before.median)
        Figure("now_mb_per_s", "median", \.now.median)
        Figure.from(\.ratio, Quartiles.figures)
    }
}
