import PacketFSGram
import PacketFSPCPU

/// One way to do a piece of work on a table of descriptors.
struct Contender {
    /// The work: a program's text, or `read` and `modify` for what memory gives.
    let work: String
    /// Who does it: `packetfs`, `c`, `isa-l`, `limit`, `packetfs-each` with a value for each descriptor instead of totals, or
    /// `packetfs-passes` for one plan per operation.
    let by: String
    /// Does the work; the result only keeps it from being dropped.
    let run: (UnsafeMutableRawPointer, UnsafeBufferPointer<Descriptor>) -> UInt64

    var name: String { "\(work) \(by)" }
}

extension Contender {
    /// The programs that are measured.
    static let programs = ["xor:90", "add:7", "counteq:0", "xor:255,add:7,counteq:0", "crc32c", "fnv", "xor:90,crc32c"]

    /// Everyone who takes part in a shape. Slow single-stream loops stay out where they would take minutes.
    static func all(peers: Peers, isa: ISA, shape: Shape) throws -> [Contender] {
        var all = [
            try loop("read", by: "limit", peers, [("peer_read", 0)]),
            try loop("modify", by: "limit", peers, [("peer_modify", 2)]),
        ]
        let slow = shape.bytesPerTable > 4 << 20
        for text in programs where !(slow && text == "fnv") {
            let plan = Plan(try Program(parsing: text), isa: isa)
            all.append(Contender(work: text, by: "packetfs") { run(plan, $0, $1) })
            if plan.reducerCount > 0 {
                all.append(Contender(work: text, by: "packetfs-each") { runEach(plan, $0, $1) })
            }
        }
        all.append(
            try passes("xor:255,add:7,counteq:0", isa: isa, plans: ["xor:255", "add:7", "counteq:0"]))
        all.append(try loop("xor:90", by: "c", peers, [("peer_xor", 90)]))
        all.append(try loop("add:7", by: "c", peers, [("peer_add", 7)]))
        all.append(try loop("counteq:0", by: "c", peers, [("peer_counteq", 0)]))
        all.append(
            try loop(
                "xor:255,add:7,counteq:0", by: "c", peers, [("peer_xor", 255), ("peer_add", 7), ("peer_counteq", 0)]))
        if !slow {
            all.append(try loop("crc32c", by: "c", peers, [("peer_crc32c", 0)]))
            all.append(try loop("fnv", by: "c", peers, [("peer_fnv", 0)]))
        }
        if let isal = peers.isal {
            all.append(
                Contender(work: "crc32c", by: "isa-l") { base, table in
                    let bytes = base.assumingMemoryBound(to: UInt8.self)
                    return table.reduce(0) {
                        $0 &+ UInt64(~isal(bytes + Int($1.offset), Int32(truncatingIfNeeded: $1.length), .max))
                    }
                })
        }
        return all
    }

    private static func passes(_ text: String, isa: ISA, plans texts: [String]) throws -> Contender {
        let plans = try texts.map { Plan(try Program(parsing: $0), isa: isa) }
        return Contender(work: text, by: "packetfs-passes") { base, table in
            plans.reduce(0) { $0 &+ run($1, base, table) }
        }
    }

    private static func run(
        _ plan: Plan, _ base: UnsafeMutableRawPointer, _ table: UnsafeBufferPointer<Descriptor>
    ) -> UInt64 {
        withUnsafeTemporaryAllocation(of: UInt64.self, capacity: 1) { totals in
            totals.initialize(repeating: 0)
            plan.execute(
                on: base, descriptors: table, totals: UnsafeMutableBufferPointer(rebasing: totals[..<plan.reducerCount])
            )
            return totals[0]
        }
    }

    private static func runEach(
        _ plan: Plan, _ base: UnsafeMutableRawPointer, _ table: UnsafeBufferPointer<Descriptor>
    ) -> UInt64 {
        let count = table.count * plan.reducerCount
        return withUnsafeTemporaryAllocation(of: UInt64.self, capacity: count) { values in
            plan.execute(on: base, descriptors: table, values: values)
            return values[count - 1]
        }
    }

    private static func loop(
        _ work: String, by: String, _ peers: Peers, _ passes: [(name: String, immediate: UInt8)]
    ) throws -> Contender {
        let loops = try passes.map { (try peers.loop($0.name), $0.immediate) }
        return Contender(work: work, by: by) { base, table in
            let bytes = base.assumingMemoryBound(to: UInt8.self)
            var result: UInt64 = 0
            for (loop, immediate) in loops {
                for descriptor in table {
                    result &+= loop(bytes + Int(descriptor.offset), Int(descriptor.length), immediate)
                }
            }
            return result
        }
    }
}
