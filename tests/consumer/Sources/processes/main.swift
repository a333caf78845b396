import PacketFSEngine
import PacketFSMemory
import PacketFSPCPU

// This executable is started again for each process, which ends here.
PCoreWorker.runIfAsked()

let blob = try HugeBlob.create(byteCount: 64 << 20, pages: .small)
blob.withUnsafeMutableBytes { $0.copyBytes(from: "123456789".utf8) }
let program = try Program(parsing: "crc32c,counteq:0x31,xor:255")
let result = try program.apply(to: blob, processes: 4)
print("\(result.bytes) bytes, \(result.blocks) blocks; \(zip(program.reducers, result.totals).map { "\($0): \($1)" })")
precondition(result.totals[1] == 1 && blob.withUnsafeMutableBytes { $0[0] } == 0xCE)
