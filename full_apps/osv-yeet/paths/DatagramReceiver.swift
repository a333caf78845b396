import CPacketFSShims
import Glibc
import PacketFSGram
import PacketFSNet
import PacketFSNetTools
import PacketFSTools
import SystemPackage

/// UDP with recvmmsg(2), and on request UDP_GRO: the kernel joins datagrams of one size.
package final class DatagramReceiver: FrameReceiver {
    /// What the path knows of a run.
    package struct Statistics: ReportObject {
        let receiveBufferBytes: Int
        var calls: UInt64 = 0, joinedMessages: UInt64 = 0, cutDatagrams: UInt64 = 0
        package var kernelDrops: UInt64 = 0

        package static var figures: [Figure<Self>] {
            Figure("receive_buffer_bytes", "the socket's receive buffer, as the kernel counts it", \.receiveBufferBytes)
            Figure("calls", "system calls that brought something", \.calls)
            Figure("joined_messages", "messages that held several datagrams", \.joinedMessages)
            Figure("cut_datagrams", "that were longer than any frame", \.cutDatagrams)
            Figure("kernel_drops", "datagrams dropped because the socket's buffer was full", \.kernelDrops)
        }
    }

    /// How frames really arrive.
    package let mode: String
    /// The messages' memory, in which frames lie.
    package let memory: UnsafeMutableRawBufferPointer

    private let descriptor: Int32
    private let messages: OpaquePointer
    private let batch: Int
    @exclusivity(unchecked) private var counted: Statistics

    /// Bytes for a message: the longest, and some so that messages do not all begin at the same place of a cache.
    private static let stride = 65_536 + 320

    /// Opens and binds the socket.
    ///
    /// - Parameters:
    ///   - batch: messages taken from the kernel at a time, at most.
    ///   - isJoining: use UDP_GRO.
    ///   - bufferByteCount: of the socket's receive buffer; beyond net.core.rmem_max only with CAP_NET_ADMIN.
    package init(
        _ address: DatagramAddress, batch: Int, isJoining: Bool, bufferByteCount: Int
    ) throws(ToolError) {
        self.batch = batch
        descriptor = try address.socket(isBound: true, option: "--bind")
        guard let messages = pfs_messages_create(UInt32(batch)) else {
            throw ToolError(.system, "no memory for \(batch) messages")
        }
        self.messages = messages
        memory = .allocate(byteCount: batch * Self.stride, alignment: 64)
        for index in 0..<batch {
            pfs_messages_set(messages, UInt32(index), memory.baseAddress! + index * Self.stride, 65_536, 0)
        }
        counted = Statistics(
            receiveBufferBytes: Int(pfs_socket_buffer(descriptor, 1, Int32(clamping: bufferByteCount))))
        mode = isJoining ? "UDP recvmmsg, UDP_GRO" : "UDP recvmmsg"
        if isJoining, pfs_udp_join_received(descriptor) != 0 {
            throw ToolError(.unavailable, "--gro: the kernel does not join datagrams: \(Errno(rawValue: errno))")
        }
    }

    deinit {
        pfs_messages_destroy(messages)
        memory.deallocate()
        close(descriptor)
    }

    /// Counts so far. Reads the kernel's.
    package func statistics() -> Statistics {
        counted.kernelDrops = UInt64(pfs_socket_drops(descriptor))
        return counted
    }

    /// See ``FrameReceiver``.
    package func receive(_ work: FrameWork, milliseconds: Int32) throws(ToolError) -> Int {
        var got = pfs_messages_receive(messages, descriptor, UInt32(batch))
        if got < 0, errno == EAGAIN {
            var set = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&set, 1, milliseconds) > 0 else { return 0 }
            got = pfs_messages_receive(messages, descriptor, UInt32(batch))
        }
        guard got >= 0 else {
            guard [EAGAIN, EINTR, ECONNREFUSED].contains(errno) else {
                throw ToolError(.io, "receiving failed: \(Errno(rawValue: errno))")
            }
            return 0
        }
        counted.calls += 1
        var frames = 0
        for index in 0..<Int(got) { frames += take(index, work) }
        work.finishBatch()
        return frames
    }

    private func take(_ index: Int, _ work: FrameWork) -> Int {
        let number = UInt32(index)
        let message = UnsafeMutableRawBufferPointer(
            rebasing: memory[(index * Self.stride)...].prefix(pfs_messages_bytes(messages, number)))
        if pfs_messages_is_cut(messages, number) != 0 { counted.cutDatagrams += 1 }
        let segment = Int(pfs_messages_segment(messages, number))
        guard segment > 0, segment < message.count else {
            work.take(message)
            return 1
        }
        counted.joinedMessages += 1
        var frames = 0
        var start = 0
        while start < message.count {
            // All have the same size but the last, which may be shorter.
            work.take(UnsafeMutableRawBufferPointer(rebasing: message[start...].prefix(segment)))
            start += segment
            frames += 1
        }
        return frames
    }
}
