/// A ratio that the kernels are held to, and what they reached in this run.
struct Target {
    let work: String
    let shape: String
    let cpus: Int
    /// What the measured rate is compared with, in words.
    let against: String
    let ratio: Double
    let target: Double
    var isMet: Bool { ratio >= target }
}

extension Target {
    /// Every target for which this run has the figures.
    static func all(_ figures: [Figure], shapes: [Shape]) -> [Target] {
        var found: [Target] = []
        for cpus in Set(figures.map(\.cpus)).sorted() {
            for shape in shapes {
                let here = figures.filter { $0.shape == shape.name && $0.cpus == cpus }
                func rate(_ work: String, _ by: String = "packetfs") -> Double? {
                    here.first { $0.work == work && $0.by == by }?.median
                }
                func hold(_ work: String, to target: Double, of limit: Double?, _ against: String) {
                    guard let rate = rate(work), let limit else { return }
                    found.append(
                        Target(
                            work: work, shape: shape.name, cpus: cpus, against: against, ratio: rate / limit,
                            target: target))
                }
                let three = "xor:255,add:7,counteq:0"
                let isTable = shape.descriptors.count > shape.perTable
                if shape.isBeyondCaches && !isTable {
                    hold("xor:90", to: 0.97, of: rate("modify", "limit"), "read-modify-write limit")
                    hold("add:7", to: 0.97, of: rate("modify", "limit"), "read-modify-write limit")
                    hold("counteq:0", to: 0.95, of: rate("read", "limit"), "read limit")
                    hold(three, to: 0.95, of: rate("xor:90"), "one xor pass")
                    hold(three, to: 2.5, of: rate(three, "packetfs-passes"), "its three passes")
                }
                if shape.name == "4 x 4 KiB" {
                    hold("xor:90", to: 0.95, of: rate("xor:90", "c"), "C loop")
                    hold("counteq:0", to: 2.5, of: rate("counteq:0", "c"), "C loop")
                }
                if shape.name == "64 KiB" { hold("crc32c", to: 1.5, of: rate("crc32c", "isa-l"), "ISA-L") }
                if isTable && !shape.isBeyondCaches {
                    hold("crc32c", to: 3, of: rate("crc32c", "isa-l"), "ISA-L per descriptor")
                    hold("fnv", to: 3.7, of: rate("fnv", "c"), "C loop")
                }
                if !isTable && (shape.isBeyondCaches || shape.bytesPerTable >= 65536) {
                    if let xor = rate("xor:90"), let crc = rate("crc32c") {
                        hold("xor:90,crc32c", to: 0.9, of: min(xor, crc), "slower of its parts")
                    }
                }
            }
        }
        return found
    }
}
