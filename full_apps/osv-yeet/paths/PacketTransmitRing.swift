import CPacketFSShims
import Glibc
import PacketFSGram
import PacketFSNet
import PacketFSNetTools
import PacketFSTools
import SystemPackage

/// Versions of the kernel's packet rings (packet(7)).
package enum PacketVersion: String, Sendable, CaseIterable {
    /// TPACKET_V2.
    case v2
    /// TPACKET_V3.
    case v3

    var kernel: tpacket_versions { self == .v2 ? TPACKET_V2 : TPACKET_V3 }
    /// Where a slot's frame, status word and length are.
    var dataOffset: Int { Int((self == .v2 ? PFS_V2_DATA : PFS_V3_DATA).rawValue) }
    var statusOffset: Int { Int((self == .v2 ? PFS_V2_STATUS : PFS_V3_STATUS).rawValue) }
    var lengthOffset: Int { Int((self == .v2 ? PFS_V2_LENGTH : PFS_V3_LENGTH).rawValue) }
}

/// AF_PACKET with PACKET_TX_RING: frames are written into slots that the kernel sends from.
///
/// A slot belongs to the program while its status is TP_STATUS_AVAILABLE, and to the kernel from TP_STATUS_SEND_REQUEST until
/// it is available again, which is when the frame's memory is no longer needed by anybody.
package final class PacketTransmitRing: FrameSender {
    /// What the path knows of a run.
    package struct Statistics: ReportObject {
        let slots: Int
        var kicks: UInt64 = 0, deviceFull: UInt64 = 0
        package var linkDown: UInt64 = 0, refused: UInt64 = 0

        package static var figures: [Figure<Self>] {
            Figure("slots", "of the ring", \.slots)
            Figure("kicks", "calls that asked the kernel to send", \.kicks)
            Figure("device_full", "of those, how many failed because the device had no room (ENOBUFS)", \.deviceFull)
            Figure("link_down", "of those, how many failed because the interface was down", \.linkDown)
            Figure("refused", "frames that the kernel would not send (TP_STATUS_WRONG_FORMAT)", \.refused)
        }
    }

    /// Counts so far.
    package private(set) var statistics: Statistics
    /// How frames really go.
    package let mode: String

    private let interface: Interface
    private let socket: PacketSocket
    private let ring: PacketRing
    private let slotCount: Int
    private let slotByteCount: Int
    private let dataOffset: Int
    private let statusOffset: Int
    private let lengthOffset: Int
    /// Bytes of the longest frame.
    private let longest: Int
    /// Whether a virtio header precedes each frame, so that the kernel copies it whole.
    private let isLinear: Bool
    /// Whether to look at the MTU before each call: with virtio headers the kernel no longer holds frames against it.
    private let checksMTU: Bool
    /// The number of the frame that each slot still holds; a huge one for none.
    private let held: UnsafeMutableBufferPointer<UInt64>
    @exclusivity(unchecked) private var next = 0
    @exclusivity(unchecked) private var hasKicked = true

    /// The longest frame that the kernel is asked to copy.
    ///
    /// By itself it copies the link header only and attaches the slot's page to the packet, which every packet then takes and
    /// gives back a reference to: on a veth pair a quarter of all its time, at 64 bytes as at 1500. A virtio header in front
    /// (PACKET_VNET_HDR, with transmit rings since Linux 4.6) says how many bytes are to be copied. Beyond half a page copying
    /// would need more than one page.
    private static let longestLinear = 2048
    /// struct virtio_net_hdr, and its field hdr_len; the others stay zero, as the ring comes.
    private static let virtioHeaderByteCount = 10, virtioLengthOffset = 2
    /// Frames up to this length fit the least MTU that Ethernet interfaces have (ETH_MIN_MTU).
    private static let alwaysFits = 68 + EthernetHeader.byteCount

    /// Opens the ring.
    ///
    /// - Parameters:
    ///   - interface: where to send.
    ///   - version: of the ring.
    ///   - slots: 64 to 65536, a power of two.
    ///   - frameByteCount: bytes of the longest frame.
    ///   - bypassesQdisc: PACKET_QDISC_BYPASS: straight to the driver, without the interface's queueing discipline.
    package init(
        _ interface: Interface, version: PacketVersion, slots: Int, frameByteCount: Int, bypassesQdisc: Bool
    ) throws(ToolError) {
        precondition(slots.nonzeroBitCount == 1 && 64...65_536 ~= slots, "slots: a power of two from 64 to 65536")
        guard interface.isUp else {
            throw ToolError(
                .unavailable, "--iface \(interface.name): the interface is down; `ip link set \(interface.name) up`")
        }
        self.interface = interface
        socket = try PacketSocket()
        try socket.set(PACKET_VERSION, Int32(version.kernel.rawValue), "packet rings of version \(version.rawValue)")
        if bypassesQdisc { try socket.set(PACKET_QDISC_BYPASS, 1, "bypassing the queueing discipline") }
        longest = frameByteCount
        isLinear = frameByteCount <= Self.longestLinear
        checksMTU = isLinear && frameByteCount > Self.alwaysFits
        if isLinear { try socket.set(PACKET_VNET_HDR, 1, "virtio headers in front of frames") }
        dataOffset = version.dataOffset + (isLinear ? Self.virtioHeaderByteCount : 0)
        statusOffset = version.statusOffset
        lengthOffset = version.lengthOffset
        slotCount = slots
        // Slots of a power of two fill blocks without gaps: slot i is at i times its size.
        var size = 128
        while size < dataOffset + frameByteCount { size *= 2 }
        slotByteCount = size
        let block = min(max(size, 1 << 16), size * slots)
        var request = tpacket_req3()
        request.tp_block_size = UInt32(block)
        request.tp_block_nr = UInt32(size * slots / block)
        request.tp_frame_size = UInt32(size)
        request.tp_frame_nr = UInt32(slots)
        ring = try PacketRing(of: socket, option: PACKET_TX_RING, request, version: version.kernel)
        // Protocol 0: nothing is received, so nothing is queued on this socket.
        try socket.bind(to: interface, etherType: 0)
        held = .allocate(capacity: slots)
        held.initialize(repeating: .max)
        statistics = Statistics(slots: slots)
        mode =
            "AF_PACKET \(version == .v2 ? "TPACKET_V2" : "TPACKET_V3")"
            + (bypassesQdisc ? ", qdisc bypassed" : ", through the qdisc")
    }

    deinit { held.deallocate() }

    /// See ``FrameSender``.
    package func send(_ producer: FrameProducer, first: UInt64, count: Int) throws(ToolError) -> Int {
        var taken = 0
        while taken < count, let slot = freeSlot() {
            let memory = UnsafeMutableRawBufferPointer(start: slot + dataOffset, count: slotByteCount - dataOffset)
            let sequence = first + UInt64(taken)
            let earlier = held[next]
            if earlier == .max {
                producer.write(sequence, into: memory)
            } else {
                producer.rewrite(sequence, over: earlier, in: memory)
            }
            held[next] = sequence
            hand(over: slot, byteCount: producer.byteCount)
            taken += 1
        }
        if taken > 0 || !hasKicked { try kick() }
        return taken
    }

    /// See ``FrameSender``.
    package func sendEnd(_ producer: FrameProducer, after count: UInt64) throws(ToolError) -> Bool {
        guard let slot = freeSlot() else { return false }
        let memory = UnsafeMutableRawBufferPointer(start: slot + dataOffset, count: slotByteCount - dataOffset)
        held[next] = .max
        hand(over: slot, byteCount: producer.writeEnd(after: count, into: memory))
        try kick()
        return hasKicked
    }

    /// See ``FrameSender``.
    package func waitForRoom(milliseconds: Int32) throws(ToolError) {
        if !hasKicked {
            // Nothing tells when the interface is up again; asking is cheap.
            usleep(1000)
            return try kick()
        }
        var set = pollfd(fd: socket.descriptor, events: Int16(POLLOUT), revents: 0)
        guard poll(&set, 1, milliseconds) > 0 else { return try kick() }
        if set.revents & Int16(POLLERR) != 0 { hasKicked = socket.takeError() == 0 }
    }

    /// See ``FrameSender``.
    package func drain(milliseconds: Int32) throws(ToolError) -> Int {
        let deadline = Clock.monotonic() + UInt64(milliseconds) * 1_000_000
        while true {
            let left = (0..<slotCount).count { index in
                status(of: slot(index)) & UInt32(TP_STATUS_SEND_REQUEST | TP_STATUS_SENDING) != 0
            }
            if left == 0 || Clock.monotonic() >= deadline { return left }
            try kick()
            usleep(200)
        }
    }

    private func slot(_ index: Int) -> UnsafeMutableRawPointer {
        // The mapping is never empty.
        ring.memory.baseAddress! + index * slotByteCount
    }

    private func status(of slot: UnsafeMutableRawPointer) -> UInt32 { pfs_status_load(slot + statusOffset) }

    /// The next slot, if it is ours.
    private func freeSlot() -> UnsafeMutableRawPointer? {
        let slot = slot(next)
        let status = status(of: slot)
        guard status != UInt32(TP_STATUS_AVAILABLE) else { return slot }
        guard status & UInt32(TP_STATUS_WRONG_FORMAT) != 0 else { return nil }
        statistics.refused += 1
        return slot
    }

    private func hand(over slot: UnsafeMutableRawPointer, byteCount: Int) {
        var total = byteCount
        if isLinear {
            let header = dataOffset - Self.virtioHeaderByteCount
            slot.storeBytes(
                of: UInt16(byteCount).littleEndian, toByteOffset: header + Self.virtioLengthOffset, as: UInt16.self)
            total += Self.virtioHeaderByteCount
        }
        slot.storeBytes(of: UInt32(total), toByteOffset: lengthOffset, as: UInt32.self)
        pfs_status_store(slot + statusOffset, UInt32(TP_STATUS_SEND_REQUEST))
        next = (next + 1) & (slotCount - 1)
    }

    private func kick() throws(ToolError) {
        statistics.kicks += 1
        hasKicked = true
        if checksMTU {
            let mtu = pfs_interface_mtu(socket.descriptor, interface.name)
            if mtu >= 0, longest > Int(mtu) + EthernetHeader.byteCount { throw noLongerFits() }
        }
        guard pfs_packet_kick(socket.descriptor, 0) != 0 else { return }
        switch errno {
        case EAGAIN, EINTR: break
        case ENOBUFS: statistics.deviceFull += 1
        case ENETDOWN:
            statistics.linkDown += 1
            hasKicked = false
            guard Interface.exists(interface.name) else { fallthrough }
        case ENXIO, ENODEV:
            throw ToolError(.io, "the interface \(interface.name) has been removed")
        case EMSGSIZE: throw noLongerFits()
        default:
            throw ToolError(.io, "sending on \(interface.name) failed: \(Errno(rawValue: errno))")
        }
    }

    private func noLongerFits() -> ToolError {
        ToolError(.io, "\(interface.name) no longer takes frames of \(longest) bytes: was its MTU lowered?")
    }
}
