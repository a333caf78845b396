import PacketFSGram
import ToolTesting

/// The generator of all tests.
typealias SeededGenerator = ToolTesting.SeededGenerator

/// Memory for one record, 64-byte aligned, freed at the end of `body`.
func withRecordMemory<R>(_ byteCount: Int, _ body: (UnsafeMutableRawBufferPointer) throws -> R) rethrows -> R {
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: byteCount, alignment: RecordFormat.alignment)
    memory.initializeMemory(as: UInt8.self, repeating: 0xA5)
    defer { memory.deallocate() }
    return try body(memory)
}

func randomDescriptors(_ count: Int, blob: UInt64, using generator: inout SeededGenerator) -> [Descriptor] {
    (0..<count).map { _ in
        let length = UInt32.random(in: 0...UInt32(min(blob, 5000)), using: &generator)
        return Descriptor(offset: .random(in: 0...blob - UInt64(length), using: &generator), length: length)
    }
}

func randomInstructions(_ count: Int, using generator: inout SeededGenerator) -> [Instruction] {
    (0..<count).map { _ in
        Instruction(opcode: .random(in: 0...255, using: &generator), immediate: .random(in: 0...255, using: &generator))
    }
}
