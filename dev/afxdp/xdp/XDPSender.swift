import CXDP
import Glibc
import PacketFSNet
import PacketFSNetTools
import PacketFSTools
import SystemPackage

/// Sends frames through an AF_XDP socket: each is made in a chunk of the socket's memory and stays there until it has left.
///
/// A chunk that held a frame of the same payload has only its header rewritten.
public final class XDPSender: FrameSender {
    /// Where a frame begins in a chunk: its payload, behind 14 and 32 bytes of headers, then begins on a cache line, and a
    /// record where its fields are aligned. Receivers ask the kernel for the same.
    static let frameOffset = 18
    /// How long a device may be down before that ends the run, in nanoseconds.
    private static let patience: UInt64 = 10_000_000_000

    private static let kicksInARow = 64

    @exclusivity(unchecked) private var socket: XDPSocket
    private let device: NetDevice
    /// The frame that each chunk holds.
    private let held: UnsafeMutableBufferPointer<UInt64>
    private static let nothing = UInt64.max
    @exclusivity(unchecked) private var downSince: UInt64?
    /// Frames that the device did not take: its queue was full, or it has no carrier. They counted as sent before that was known.
    @exclusivity(unchecked) private var refused: UInt64 = 0
    @exclusivity(unchecked) private var kicks: UInt64 = 0
    @exclusivity(unchecked) private var outages: UInt64 = 0

    /// Takes a socket over that was made for sending.
    public init(_ socket: consuming XDPSocket, on device: NetDevice) {
        held = .allocate(capacity: socket.configuration.chunkCount)
        held.initialize(repeating: Self.nothing)
        self.socket = socket
        self.device = device
    }

    deinit { held.deallocate() }

    /// The longest frame that a chunk of so many bytes has room for.
    public static func room(chunkByteCount: Int) -> Int { chunkByteCount - frameOffset }

    /// Writes frames into free chunks and has the kernel send them. Throws ``ToolExit/unavailable`` for a device that is gone, or
    /// down for ten seconds.
    public func send(_ producer: FrameProducer, first: UInt64, count: Int) throws(ToolError) -> Int {
        socket.reclaim()
        var sequence = first
        let held = held
        let taken = socket.send(atMost: count, at: Self.frameOffset) { chunk, memory in
            if held[chunk] == Self.nothing {
                producer.write(sequence, into: memory)
            } else {
                producer.rewrite(sequence, over: held[chunk], in: memory)
            }
            held[chunk] = sequence
            sequence += 1
            return producer.byteCount
        }
        if taken > 0 { try kick() }
        return taken
    }

    /// Has the kernel go on, and waits 50 us if no chunk came back; errors as for ``send(_:first:count:)``.
    public func waitForRoom(milliseconds: Int32) throws(ToolError) {
        try kick()
        socket.reclaim()
        guard socket.inFlight == socket.configuration.chunkCount else { return }
        // All is with the device, which tells nobody when it has done: a little patience instead of a busy loop.
        usleep(50)
    }

    /// Sends an end frame in a chunk of its own; errors as for ``send(_:first:count:)``.
    public func sendEnd(_ producer: FrameProducer, after count: UInt64) throws(ToolError) -> Bool {
        socket.reclaim()
        let held = held
        let taken = socket.send(atMost: 1, at: Self.frameOffset) { chunk, memory in
            held[chunk] = Self.nothing
            return producer.writeEnd(after: count, into: memory)
        }
        if taken > 0 { try kick() }
        return taken > 0
    }

    /// Waits until all chunks have come back; errors as for ``send(_:first:count:)``.
    public func drain(milliseconds: Int32) throws(ToolError) -> Int {
        let deadline = Clock.monotonic() + UInt64(max(0, milliseconds)) * 1_000_000
        socket.reclaim()
        while socket.inFlight > 0, Clock.monotonic() < deadline {
            try kick()
            socket.reclaim()
            if socket.inFlight > 0 { usleep(50) }
        }
        return socket.inFlight
    }

    /// What there is to say about the path, now.
    package func path() throws(ToolError) -> XDPPath {
        try XDPPath(device, socket, attach: nil, kicks: kicks, refused: refused, outages: outages)
    }

    private func kick() throws(ToolError) {
        // A frame that the device refuses ends the call: what is behind it needs another one. Bounded, should it refuse all.
        for _ in 0..<Self.kicksInARow {
            kicks += 1
            guard try wasRefused(socket.kick()) else { return }
            refused += 1
        }
    }

    /// Whether a frame was refused; throws what is no passing trouble.
    private func wasRefused(_ result: Errno?) throws(ToolError) -> Bool {
        switch result {
        case nil, .resourceTemporarilyUnavailable?, .noBufferSpace?, .interrupted?:
            downSince = nil
            return false
        case .resourceBusy?:
            downSince = nil
            return true
        case .networkDown?:
            // Up again in a moment, perhaps. What was handed over stays queued.
            let now = Clock.monotonic()
            if downSince == nil { outages += 1 }
            let since = downSince ?? now
            downSince = since
            guard now - since < Self.patience else {
                throw ToolError(
                    .unavailable,
                    "\(device.name) went down; \(socket.inFlight) frames were left unsent; `ip link set dev "
                        + "\(device.name) up`")
            }
            usleep(1000)
            return false
        case .noSuchAddressOrDevice?: throw ToolError(.unavailable, "the device \(device.name) is gone")
        case let reason?: throw ToolError(.system, "cannot send through \(device.name): \(reason)")
        }
    }
}
