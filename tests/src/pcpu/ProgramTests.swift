import PacketFSGram
import PacketFSPCPU
import Testing

@Suite("Programs")
struct ProgramTests {
    @Test(
        "Text that is a program",
        arguments: [
            ("xor:255,add:7,counteq:0", "xor:255,add:7,counteq:0"), ("fnv", "fnv"), ("xor", "xor:0"),
            (" xor : 0xFF , crc32c ", "xor:255,crc32c"), ("add:0X0a", "add:10"), ("add:007", "add:7"),
            (
                Array(repeating: "fnv", count: 32).joined(separator: ","),
                Array(repeating: "fnv", count: 32).joined(separator: ",")
            ),
        ])
    func parses(text: String, normal: String) throws {
        let program = try Program(parsing: text)
        #expect(program.description == normal)
        #expect(try Program(parsing: program.description) == program)
        #expect(try Program(decoding: program.instructions) == program)
    }

    @Test(
        "Text that is none, and the place where it goes wrong",
        arguments: [
            ("", ProgramError.empty), ("  \t", .empty),
            (",", .missingOperation(position: 1)), ("fnv,", .missingOperation(position: 2)),
            ("fnv,,fnv", .missingOperation(position: 2)), (":5", .missingOperation(position: 1)),
            ("xor:1,sub:2", .unknownOperation("sub", position: 2)), ("XOR:1", .unknownOperation("XOR", position: 1)),
            ("xor:256", .badImmediate("256", op: .xor, position: 1)),
            ("fnv,add:-1", .badImmediate("-1", op: .add, position: 2)),
            ("xor:+1", .badImmediate("+1", op: .xor, position: 1)), ("xor:", .badImmediate("", op: .xor, position: 1)),
            ("xor:0x", .badImmediate("0x", op: .xor, position: 1)),
            ("xor:1:2", .badImmediate("1:2", op: .xor, position: 1)),
            ("xor:1_0", .badImmediate("1_0", op: .xor, position: 1)),
            ("xor:99999999999999999999", .badImmediate("99999999999999999999", op: .xor, position: 1)),
            ("counteq:0x100", .badImmediate("0x100", op: .counteq, position: 1)),
            ("crc32c:0", .unexpectedImmediate("0", op: .crc32c, position: 1)),
            ("fnv:", .unexpectedImmediate("", op: .fnv, position: 1)),
            (Array(repeating: "fnv", count: 33).joined(separator: ","), .tooLong(count: 33)),
        ])
    func refuses(text: String, expected: ProgramError) {
        let error = #expect(throws: ProgramError.self) { try Program(parsing: text) }
        #expect(error == expected)
        #expect(error?.description.isEmpty == false)
    }

    @Test("Instructions that are no program")
    func refusesInstructions() {
        var stray = Instruction(opcode: 1, immediate: 1)
        stray.reserved = 1
        let cases: [([Instruction], ProgramError)] = [
            ([], .empty), ([Instruction(opcode: 0)], .unknownOperation("opcode 0", position: 1)),
            ([Instruction(opcode: 4), Instruction(opcode: 6)], .unknownOperation("opcode 6", position: 2)),
            ([Instruction(opcode: 5, immediate: 1)], .unexpectedImmediate("1", op: .fnv, position: 1)),
            ([stray], .reservedBits(position: 1)),
            (Array(repeating: Instruction(opcode: 5), count: 33), .tooLong(count: 33)),
        ]
        for (instructions, expected) in cases {
            #expect(throws: expected) { try Program(decoding: instructions) }
        }
    }

    @Test("Mutated text is refused or means what it prints", arguments: 1...40 as ClosedRange<UInt64>)
    func mutations(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let alphabet = Array("xoradcunteq32fv:,0123456789xX -+_\u{0}\u{301}\u{FF10}\t")
        for _ in 0..<200 {
            var text = Array(try randomProgram(using: &generator, maximumSteps: 8).description)
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                let place = Int.random(in: 0...text.count, using: &generator)
                switch Int.random(in: 0...2, using: &generator) {
                case 0: text.insert(alphabet.randomElement(using: &generator)!, at: place)
                case 1 where place < text.count: text.remove(at: place)
                default: if place < text.count { text[place] = alphabet.randomElement(using: &generator)! }
                }
            }
            guard let program = try? Program(parsing: String(text)) else { continue }
            #expect(try Program(parsing: program.description) == program, "seed \(seed): \(String(text))")
            #expect(1...Program.maximumSteps ~= program.steps.count)
        }
    }

    @Test("The reference on published vectors")
    func vectors() {
        func value(_ step: Step, _ text: String) -> UInt64 {
            Array(text.utf8).withUnsafeBytes { Reference.value(of: step, over: $0) }
        }
        // RFC 3720's polynomial: the check value of the CRC catalogue; draft-eastlake-fnv, appendix C.
        #expect(value(Step(.crc32c), "123456789") == 0xE306_9283)
        #expect(value(Step(.crc32c), "") == 0)
        #expect(value(Step(.fnv), "") == 0xCBF2_9CE4_8422_2325)
        #expect(value(Step(.fnv), "a") == 0xAF63_DC4C_8601_EC8C)
        #expect(value(Step(.fnv), "foobar") == 0x8594_4171_F739_67E8)
        #expect(value(Step(.counteq, UInt8(ascii: "o")), "foobar") == 2)
    }

    @Test("The reference applies operations in order, to the bytes as they stand")
    func order() throws {
        var bytes: [UInt8] = [0, 1, 255, 7]
        var totals: [UInt64] = [0, 0, 10]
        let program = try Program(parsing: "counteq:0,add:1,counteq:0,xor:255,counteq:255")
        bytes.withUnsafeMutableBytes { blob in
            withUnsafePointer(to: Descriptor(offset: 0, length: 4)) {
                Reference.execute(
                    program, on: blob, descriptors: UnsafeBufferPointer(start: $0, count: 1), totals: &totals)
            }
        }
        #expect(bytes == [254, 253, 255, 247])
        #expect(totals == [1, 1, 11], "one value per descriptor is added to what was there")
    }
}
