import CPacketFSShims
import Glibc
import PacketFSGram
import PacketFSNet
import PacketFSNetTools
import PacketFSTools
import SystemPackage

/// Where datagrams go to or arrive.
package struct DatagramAddress: Sendable, CustomStringConvertible {
    /// A numeric IPv4 or IPv6 address.
    package let host: String
    /// The port.
    package let port: UInt16

    /// Makes an address; it is looked at when a socket is opened.
    package init(host: String, port: UInt16) {
        self.host = host
        self.port = port
    }

    /// Such as `192.0.2.1:9000` or `[2001:db8::1]:9000`.
    package var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

    func socket(isBound: Bool, option: String) throws(ToolError) -> Int32 {
        let descriptor = pfs_udp_socket(host, port, isBound ? 1 : 0)
        guard descriptor < 0 else { return descriptor }
        let reason = Errno(rawValue: errno)
        if reason == .invalidArgument {
            throw ToolError(.usage, "\(option) \(host): must be a numeric IPv4 or IPv6 address")
        }
        throw ToolError(.unavailable, "\(self): \(reason)")
    }
}

/// UDP with sendmmsg(2), and on request UDP_SEGMENT: the kernel cuts one long message into datagrams.
package final class DatagramSender: FrameSender {
    /// What the path knows of a run.
    package struct Statistics: ReportObject {
        let datagramsPerMessage: Int
        let sendBufferBytes: Int
        var calls: UInt64 = 0
        package var refused: UInt64 = 0
        var unreachable: UInt64 = 0

        package static var figures: [Figure<Self>] {
            Figure("datagrams_per_message", "in one message to the kernel", \.datagramsPerMessage)
            Figure("send_buffer_bytes", "the socket's send buffer", \.sendBufferBytes)
            Figure("calls", "system calls that sent something", \.calls)
            Figure("refused", "calls that the receiver's machine answered: nobody listens (ECONNREFUSED)", \.refused)
            Figure("unreachable", "calls that failed: no way there, or no room in the device", \.unreachable)
        }
    }

    /// Counts so far.
    package private(set) var statistics: Statistics
    /// How frames really go.
    package let mode: String

    private let address: DatagramAddress
    private let descriptor: Int32
    private let messages: OpaquePointer
    private let batch: Int
    private let frameByteCount: Int
    private let memory: UnsafeMutableRawBufferPointer
    private let held: UnsafeMutableBufferPointer<UInt64>
    private let segments: Int

    /// The most datagrams that the kernel cuts from one message (UDP_MAX_SEGMENTS).
    private static let maximumSegments = 64

    /// Opens the socket.
    ///
    /// - Parameters:
    ///   - batch: frames handed over at a time, at most.
    ///   - frameByteCount: bytes of each.
    ///   - isSegmenting: use UDP_SEGMENT.
    ///   - bufferByteCount: of the socket's send buffer.
    package init(
        _ address: DatagramAddress, batch: Int, frameByteCount: Int, isSegmenting: Bool, bufferByteCount: Int
    ) throws(ToolError) {
        self.address = address
        self.batch = batch
        self.frameByteCount = frameByteCount
        segments =
            isSegmenting ? max(1, min(Self.maximumSegments, batch, FrameFormat.maximumByteCount / frameByteCount)) : 1
        descriptor = try address.socket(isBound: false, option: "--host")
        guard let messages = pfs_messages_create(UInt32(batch)) else {
            throw ToolError(.system, "no memory for \(batch) messages")
        }
        self.messages = messages
        memory = .allocate(byteCount: batch * frameByteCount, alignment: 64)
        held = .allocate(capacity: batch)
        held.initialize(repeating: .max)
        let buffer = pfs_socket_buffer(descriptor, 0, Int32(clamping: bufferByteCount))
        statistics = Statistics(datagramsPerMessage: segments, sendBufferBytes: Int(buffer))
        mode = isSegmenting ? "UDP sendmmsg, UDP_SEGMENT \(segments)" : "UDP sendmmsg"
    }

    deinit {
        pfs_messages_destroy(messages)
        memory.deallocate()
        held.deallocate()
        close(descriptor)
    }

    /// See ``FrameSender``.
    package func send(_ producer: FrameProducer, first: UInt64, count: Int) throws(ToolError) -> Int {
        let count = min(count, batch)
        for index in 0..<count {
            let sequence = first + UInt64(index)
            let space = frame(index)
            if held[index] == .max {
                producer.write(sequence, into: space)
            } else {
                producer.rewrite(sequence, over: held[index], in: space)
            }
            held[index] = sequence
        }
        var used = 0
        var start = 0
        while start < count {
            let datagrams = min(segments, count - start)
            // A single datagram needs no cutting.
            pfs_messages_set(
                messages, UInt32(used), frame(start).baseAddress, datagrams * frameByteCount,
                datagrams > 1 ? UInt16(frameByteCount) : 0)
            used += 1
            start += datagrams
        }
        return min(count, try handOver(used) * segments)
    }

    /// See ``FrameSender``.
    package func sendEnd(_ producer: FrameProducer, after count: UInt64) throws(ToolError) -> Bool {
        let space = UnsafeMutableRawBufferPointer.allocate(byteCount: 64, alignment: 64)
        defer { space.deallocate() }
        let byteCount = producer.writeEnd(after: count, into: space)
        pfs_messages_set(messages, 0, space.baseAddress, byteCount, 0)
        return try handOver(1) == 1
    }

    /// See ``FrameSender``.
    package func waitForRoom(milliseconds: Int32) throws(ToolError) {
        var set = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        // A socket that could be written, and yet took nothing, waits for a route or a receiver.
        if poll(&set, 1, milliseconds) > 0 { usleep(500) }
    }

    /// See ``FrameSender``. The kernel has its own copy of all that it took.
    package func drain(milliseconds: Int32) throws(ToolError) -> Int { 0 }

    private func frame(_ index: Int) -> UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(rebasing: memory[(index * frameByteCount)...].prefix(frameByteCount))
    }

    private func handOver(_ count: Int) throws(ToolError) -> Int {
        var sent = pfs_messages_send(messages, descriptor, 0, UInt32(count))
        if sent < 0, errno == ECONNREFUSED {
            // The answer to an earlier datagram, which stopped this call before it sent anything.
            statistics.refused += 1
            sent = pfs_messages_send(messages, descriptor, 0, UInt32(count))
        }
        guard sent < 0 else {
            statistics.calls += 1
            return Int(sent)
        }
        switch errno {
        case EAGAIN, EINTR, ECONNREFUSED: break
        case ENOBUFS, ENETUNREACH, EHOSTUNREACH, ENETDOWN, EPERM:
            statistics.unreachable += 1
            guard statistics.calls > 0 else {
                throw ToolError(.unavailable, "cannot send to \(address): \(Errno(rawValue: errno))")
            }
        case EMSGSIZE, EINVAL:
            throw ToolError(
                .unavailable,
                "datagrams of \(frameByteCount) bytes do not fit the MTU on the way to \(address): lower --len"
                    + (segments > 1 ? ", or leave out --gso" : ""))
        default: throw ToolError(.io, "sending to \(address) failed: \(Errno(rawValue: errno))")
        }
        return 0
    }
}
