import PacketFSRing
import PacketFSTools
import SystemPackage
import Testing

@testable import StreamTool

/// What places and ends of streams take, refuse and say.
@Suite("pfs_stream_fastpath: places and ends")
struct LimitTests {
    /// The exit code and message with which `body` refuses; nil if it does not.
    private func refusal(_ body: () throws -> Void) -> ToolError? {
        do {
            try body()
            return nil
        } catch {
            return error as? ToolError
        }
    }

    @Test func placesOfStreams() throws {
        func place(
            shared: String? = nil, device: String? = nil, blob: String? = nil, hugeFolder: String? = nil
        ) throws -> StreamPlace {
            try StreamPlace(shared: shared, device: device, blob: blob, folder: "/dev/shm", hugeFolder: hugeFolder)
        }
        let standard = try place()
        #expect(standard.ringPath.string == StreamPlace.standardDevice && !standard.namesBlob)
        #expect(standard.blobPath == "/dev/shm/pfs_fastpath.pfs-blob")
        let shared = try place(shared: "x.pfs-ring", hugeFolder: "/huge")
        #expect(shared.ringPath == "/dev/shm/x.pfs-ring" && shared.blobPath == "/huge/x.pfs-blob")
        #expect(shared.blobFolder == "/huge" && shared.transport == .shared(file: "x.pfs-ring", folder: "/dev/shm"))
        let named = try place(device: "/dev/pfs_fastpath1", blob: "mine")
        #expect(named.namesBlob && named.blobPath == "/dev/shm/mine.pfs-blob")
        #expect(
            refusal { _ = try place(shared: "x", device: "/dev/y") }?.description.contains("exclude each other") == true
        )
        #expect(refusal { _ = try place(shared: "../x") } != nil)
    }

    /// What ended a stream, its exit code, and that the first thing wrong is the one that is told.
    @Test func endsOfStreams() throws {
        let side = StreamSide(place: try StreamPlace(shared: "x", device: nil, blob: nil, folder: "/", hugeFolder: nil))
        var outcome = StreamOutcome(role: .consumer, side: side, isa: .portable)
        #expect(outcome.error == nil)
        outcome.disagreement = "counts differ"
        #expect(outcome.error?.description == "counts differ")
        outcome.verified = false
        #expect(outcome.error?.description == "verification failed: counts differ")
        let said: [(StreamFault, String)] = [
            (.peerGone(.producer), "the producer died or left before the end"),
            (.peerIdle(.consumer, seconds: 2), "the consumer is attached, but has taken nothing for 2 s"),
            (.peerIdle(.producer, seconds: 2), "the producer is attached, but has sent nothing for 2 s"),
            (.unanswered, "without an answer"), (.notBegun, "without the beginning of their stream"),
        ]
        for (fault, text) in said {
            outcome.fault = fault
            #expect("\(fault)".contains(text))
            #expect(outcome.error?.description == "\(fault): the stream was ended; its figures stop there")
        }
        outcome.fault = .interrupted(signal: 2)
        outcome.verified = nil
        outcome.disagreement = nil
        #expect(outcome.error == nil, "an interruption is no error")
    }
}
