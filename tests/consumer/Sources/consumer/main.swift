// A blob, a ring and one record that carries its program, all in this process: what another package needs to begin with.
import PacketFSGram
import PacketFSMemory
import PacketFSPCPU
import PacketFSRing

let text = "123456789"
var blob = try HugeBlob.create(byteCount: 4096, pages: .small)
blob.withUnsafeMutableBytes { $0.copyBytes(from: text.utf8) }

let geometry = try RingGeometry(slots: 16, slabByteCount: 4096)
let region = try SharedRegion.create(byteCount: Int(geometry.regionByteCount), name: "consumer")
try Ring.create(at: region.base, byteCount: region.byteCount, geometry: geometry)
var producer = try RingProducer(attaching: region.base, byteCount: region.byteCount, lock: region.fileDescriptor)
var consumer = try RingConsumer(attaching: region.base, byteCount: region.byteCount, lock: region.fileDescriptor)

// Sent:
let program = try Program(parsing: "crc32c,xor:255,counteq:0xCE")
let size = RecordFormat.byteCount(descriptors: 1, instructions: program.instructions.count)
guard let room = try producer.reserve(byteCount: size) else { fatalError("an empty ring has room") }
let table = RecordEncoder.begin(in: room, descriptorCount: 1, instructions: program.instructions)
table[0] = Descriptor(offset: 0, length: UInt32(text.utf8.count))
producer.commit()
producer.notifyConsumer()

// Received:
guard try consumer.waitForRecords(timeout: .seconds(1)), let bytes = try consumer.peek() else {
    fatalError("the record has been sent")
}
let record = try RecordView(validating: bytes)
let scratch = UnsafeMutableBufferPointer<Descriptor>.allocate(capacity: record.descriptorCount)
defer { scratch.deallocate() }
let work = try record.loadDescriptors(into: scratch, blobByteCount: blob.byteCount)
let plan = Plan(try Program(decoding: record.instructions()), isa: try ISA.select(environment: nil))
var totals = [UInt64](repeating: 0, count: plan.reducerCount)
blob.withUnsafeMutableBytes { memory in
    guard let base = memory.baseAddress else { return }
    totals.withUnsafeMutableBufferPointer { plan.execute(on: base, descriptors: work.descriptors, totals: $0) }
}
consumer.release()

// The published check value of CRC-32C; one byte of nine is '1', whose complement is 0xCE.
print(totals)
precondition(totals == [0xE306_9283, 1])
