import PacketFSGram
import Testing

@testable import PacketFSPCPU

/// The planner's algebra: whatever it rewrites means the same.
@Suite struct PlannerTests {
    private func map(_ text: String) throws -> ByteMap { ByteMap(try Program(parsing: text).steps) }
    private func schedule(_ text: String) throws -> Schedule { Schedule(try Program(parsing: text)) }

    @Test(arguments: UInt64(1)...60)
    func roundsEqualTheChain(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<5 {
            let program = try randomProgram(using: &generator, maximumSteps: seed % 4 == 0 ? 32 : 6)
            let map = ByteMap(program.steps)
            let maps = program.steps.filter(\.op.writes)
            for byte in UInt8.min...UInt8.max {
                var expected = byte
                for step in maps {
                    if step.op == .xor { expected ^= step.immediate } else { expected &+= step.immediate }
                }
                #expect(map.table[Int(byte)] == expected, "seed \(seed): \(program)")
                #expect(map.rounds.reduce(byte) { $1($0) } == expected, "seed \(seed): \(program)")
                #expect(map.preimage(of: expected) == byte, "seed \(seed): \(program)")
            }
            #expect(map.rounds.reduce(0) { $0 + $1.cost } <= maps.count, "seed \(seed): \(program) became longer")
        }
    }

    @Test(arguments: [
        ("xor:0", "nothing"), ("xor:90,xor:90", "nothing"), ("add:200,add:56", "nothing"),
        ("xor:1,xor:2", "xor 0x3"), ("add:250,add:7", "add 0x1"), ("xor:128", "add 0x80"),
        ("xor:128,add:128", "nothing"), ("add:1,xor:128,add:2", "add 0x83"),
        ("xor:255,add:7,xor:255", "add 0xf9"), ("xor:255,add:7", "xor 0xff, add 0x7"),
        ("xor:5,add:3,add:253,xor:5", "nothing"), ("add:1,xor:5,xor:5,add:255", "nothing"),
        ("xor:128,xor:1,add:128", "xor 0x1"), ("counteq:3,xor:7,crc32c", "xor 0x7"),
    ])
    func chainsShrink(text: String, expected: String) throws {
        // xor 0xff, add 7 has a second spelling of the same cost.
        let description = try map(text).description
        #expect(description == expected || (text == "xor:255,add:7" && description == "xor 0x7f, add 0x87"))
    }

    @Test func countersCountPreimages() throws {
        let schedule = try schedule("xor:255,add:7,counteq:0,counteq:7,add:249,xor:255,counteq:6")
        // x ^ 255 + 7 == 0 for x = 6; == 7 for x = 255; after the inverse, x itself.
        #expect(schedule.counters == [6, 255])
        #expect(schedule.sources == [.counter(0), .counter(1), .counter(0)])
        #expect(!schedule.writes)
        #expect(schedule.levels.isEmpty)
    }

    @Test func programsWithoutEffectAreEmpty() throws {
        for text in ["xor:0", "xor:128,add:128", "xor:255,add:7,xor:255,add:7", "add:1,add:255"] {
            #expect(try schedule(text).isEmpty, "\(text)")
        }
        for text in ["xor:1", "counteq:0", "xor:128,add:127", "xor:1,crc32c,xor:1"] {
            #expect(try !schedule(text).isEmpty, "\(text)")
        }
    }

    @Test("A chain that does not get shorter stays as it is")
    func neverLonger() throws {
        // Moving the top bit of xor:235 to the end would make five steps of these four.
        let map = try map("add:7,xor:235,add:149,xor:63")
        #expect(map.rounds.reduce(0) { $0 + $1.cost } <= 4)
    }

    /// Alternating steps that begin with an add make the most rounds, for which the kernels have just enough room.
    @Test func theLongestChainFits() throws {
        let steps = (0..<16).map { "add:\(2 * $0 + 1),xor:\(($0 * 37 + 11) % 127 + 1)" }
        let map = try map(steps.joined(separator: ","))
        #expect(map.rounds.count == 17)
        let program = try Program(parsing: steps.joined(separator: ","))
        for isa in ISA.supported {
            var bytes = Array(UInt8.min...UInt8.max)
            bytes.withUnsafeMutableBytes { memory in
                [Descriptor(offset: 0, length: 256)].withUnsafeBufferPointer {
                    Plan(program, isa: isa).execute(
                        on: memory.baseAddress!, descriptors: $0,
                        totals: UnsafeMutableBufferPointer(start: nil, count: 0))
                }
            }
            #expect(bytes == map.table, "\(isa)")
        }
    }

    @Test func emptyPlansTouchNoMemory() throws {
        let plan = Plan(try Program(parsing: "xor:255,add:7,xor:255,add:7"), isa: ISA.supported[0])
        // Nothing is mapped at this address: touching it would crash.
        let nowhere = try #require(UnsafeMutableRawPointer(bitPattern: 4096))
        withExtendedLifetime([Descriptor(offset: 0, length: 4096)]) { table in
            table.withUnsafeBufferPointer {
                plan.execute(on: nowhere, descriptors: $0, totals: UnsafeMutableBufferPointer(start: nil, count: 0))
            }
        }
        #expect(plan.explanation.contains("nothing to do"))
    }

    @Test func equalDigestsAreTakenOnce() throws {
        let schedule = try schedule("crc32c,xor:1,crc32c,fnv,xor:1,crc32c,fnv,add:0,fnv")
        #expect(schedule.levels.count == 2)
        #expect(schedule.levels.allSatisfy { $0.crc32c && $0.fnv })
        #expect(
            schedule.sources == [
                .crc32c(level: 0), .crc32c(level: 1), .fnv(level: 1), .crc32c(level: 0), .fnv(level: 0), .fnv(level: 0),
            ])
        #expect(!schedule.writes)
    }

    @Test(arguments: UInt64(1)...60)
    func levelStepsLeadFromLevelToLevel(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let program = try randomProgram(using: &generator, maximumSteps: 32)
        let schedule = Schedule(program)
        var table = Array(UInt8.min...UInt8.max)
        for level in schedule.levels {
            table = table.map { level.step.table[Int($0)] }
            #expect(table == level.map.table, "seed \(seed): \(program)")
        }
        #expect(schedule.sources.count == program.reducers.count)
        #expect(Set(schedule.counters).count == schedule.counters.count)
        #expect(Set(schedule.levels.map(\.map.table)).count == schedule.levels.count)
    }

    @Test func explanationNamesEveryPart() throws {
        let isa = ISA.supported[0]
        let text = Plan(try Program(parsing: "xor:255,add:7,counteq:0,crc32c"), isa: isa).explanation
        #expect(text.contains("xor:255,add:7,counteq:0,crc32c"))
        #expect(text.contains(isa.rawValue))
        #expect(text.contains("bytes equal to 6 as loaded -> value 1 (counteq:0)"))
        #expect(text.contains("-> value 2 (crc32c)"))
        #expect(text.contains("one pass"))
        #expect(text.contains("write"))
        #expect(Plan(try Program(parsing: "fnv"), isa: isa).explanation.contains("read only"))
    }
}
