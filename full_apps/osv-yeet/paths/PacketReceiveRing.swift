import CPacketFSShims
import Glibc
import PacketFSGram
import PacketFSNet
import PacketFSNetTools
import PacketFSTools
import SystemPackage

/// How the kernel spreads frames over the sockets of a group (PACKET_FANOUT).
package enum FanoutMode: String, Sendable, CaseIterable {
    /// In turn.
    case lb
    /// By a hash of addresses and ports.
    case hash
    /// By the CPU that handles the arrival.
    case cpu
    /// By chance.
    case rnd
    /// By the queue that the frame arrived on.
    case qm

    var kernel: Int32 {
        switch self {
        case .lb: PACKET_FANOUT_LB
        case .hash: PACKET_FANOUT_HASH
        case .cpu: PACKET_FANOUT_CPU
        case .rnd: PACKET_FANOUT_RND
        case .qm: PACKET_FANOUT_QM
        }
    }
}

/// Sizes of a receive ring.
package struct ReceiveRingSize: Sendable {
    /// Bytes of a block, a power of two from the page size on.
    package var blockByteCount = 256 << 10
    /// How many blocks.
    package var blockCount = 64
    /// Milliseconds after which a block that is not full is handed over.
    package var blockMilliseconds: UInt32 = 4

    /// The defaults above.
    package init() {}
}

/// AF_PACKET with PACKET_RX_RING, TPACKET_V3: the kernel copies frames into blocks and hands over whole blocks.
package final class PacketReceiveRing: FrameReceiver {
    /// What the path knows of a run.
    package struct Statistics: Sendable, Codable, ReportObject {
        var kernelFrames: UInt64 = 0, kernelFreezes: UInt64 = 0, blocks: UInt64 = 0, losingBlocks: UInt64 = 0
        package var kernelDrops: UInt64 = 0, cutFrames: UInt64 = 0, linkDown: UInt64 = 0

        package init() {}

        package static var figures: [Figure<Self>] {
            Figure("kernel_frames", "that the kernel had for the socket, dropped ones included", \.kernelFrames)
            Figure("kernel_drops", "frames dropped because no block was free", \.kernelDrops)
            Figure("kernel_freezes", "how often the kernel found no free block", \.kernelFreezes)
            Figure("blocks", "that were handed over", \.blocks)
            Figure("losing_blocks", "marked TP_STATUS_LOSING: frames had been dropped before", \.losingBlocks)
            Figure("cut_frames", "that did not fit a block", \.cutFrames)
            Figure("link_down", "how often the interface went down", \.linkDown)
        }

        /// Adds the counts of another socket.
        package mutating func add(_ other: Statistics) {
            kernelFrames += other.kernelFrames
            kernelDrops += other.kernelDrops
            kernelFreezes += other.kernelFreezes
            blocks += other.blocks
            losingBlocks += other.losingBlocks
            cutFrames += other.cutFrames
            linkDown += other.linkDown
        }
    }

    /// All the ring's memory, in which frames lie.
    package var memory: UnsafeMutableRawBufferPointer { ring.memory }

    private let interface: Interface
    private let socket: PacketSocket
    private let ring: PacketRing
    private let size: ReceiveRingSize
    @exclusivity(unchecked) private var counted = Statistics()
    @exclusivity(unchecked) private var next = 0

    /// Opens the ring; frames arrive from then on.
    ///
    /// - Parameters:
    ///   - interface: where to listen.
    ///   - etherType: only frames of this type; nil for all, those that this machine sends there included.
    ///   - fanout: group and mode for a ring that shares the interface's frames with others.
    package init(
        _ interface: Interface, size: ReceiveRingSize, etherType: UInt16?, fanout: (group: UInt16, mode: FanoutMode)?
    ) throws(ToolError) {
        self.interface = interface
        self.size = size
        socket = try PacketSocket()
        try socket.set(PACKET_VERSION, Int32(TPACKET_V3.rawValue), "TPACKET_V3")
        var request = tpacket_req3()
        request.tp_block_size = UInt32(size.blockByteCount)
        request.tp_block_nr = UInt32(size.blockCount)
        // Frames take what they need in a block; this only has to be consistent.
        request.tp_frame_size = 2048
        request.tp_frame_nr = UInt32(size.blockByteCount / 2048 * size.blockCount)
        request.tp_retire_blk_tov = size.blockMilliseconds
        ring = try PacketRing(of: socket, option: PACKET_RX_RING, request, version: TPACKET_V3)
        try socket.bind(to: interface, etherType: etherType ?? UInt16(ETH_P_ALL))
        if let fanout {
            try socket.set(
                PACKET_FANOUT, Int32(bitPattern: UInt32(fanout.group) | UInt32(fanout.mode.kernel) << 16),
                "sharing frames among processes (--fanout)")
        }
    }

    /// Counts so far. Reads the kernel's.
    package func statistics() -> Statistics {
        var kernel = tpacket_stats_v3()
        if pfs_packet_statistics(socket.descriptor, &kernel) == 0 {
            counted.kernelFrames += UInt64(kernel.tp_packets)
            counted.kernelDrops += UInt64(kernel.tp_drops)
            counted.kernelFreezes += UInt64(kernel.tp_freeze_q_cnt)
        }
        return counted
    }

    /// See ``FrameReceiver``.
    package func receive(_ work: FrameWork, milliseconds: Int32) throws(ToolError) -> Int {
        var status = pfs_status_load(block + Self.statusOffset)
        if status & UInt32(TP_STATUS_USER) == 0 {
            try wait(milliseconds)
            status = pfs_status_load(block + Self.statusOffset)
            guard status & UInt32(TP_STATUS_USER) != 0 else { return 0 }
        }
        let count = take(block, work)
        counted.blocks += 1
        if status & UInt32(TP_STATUS_LOSING) != 0 { counted.losingBlocks += 1 }
        pfs_status_store(block + Self.statusOffset, UInt32(TP_STATUS_KERNEL))
        next = next + 1 < size.blockCount ? next + 1 : 0
        return count
    }

    private static let statusOffset = Int(PFS_BLOCK_STATUS.rawValue)

    private var block: UnsafeMutableRawPointer {
        // The mapping is never empty.
        ring.memory.baseAddress! + next * size.blockByteCount
    }

    private func take(_ block: UnsafeMutableRawPointer, _ work: FrameWork) -> Int {
        let header = block.load(as: tpacket_block_desc.self).hdr.bh1
        var frame = block + Int(header.offset_to_first_pkt)
        for _ in 0..<header.num_pkts {
            let slot = frame.load(as: tpacket3_hdr.self)
            if slot.tp_snaplen < slot.tp_len { counted.cutFrames += 1 }
            work.take(UnsafeMutableRawBufferPointer(start: frame + Int(slot.tp_mac), count: Int(slot.tp_snaplen)))
            frame += Int(slot.tp_next_offset)
        }
        work.finishBatch()
        return Int(header.num_pkts)
    }

    private func wait(_ milliseconds: Int32) throws(ToolError) {
        var set = pollfd(fd: socket.descriptor, events: Int16(POLLIN), revents: 0)
        guard poll(&set, 1, milliseconds) > 0, set.revents & Int16(POLLERR) != 0 else { return }
        // The interface went down. What comes when it is up again arrives as before.
        if socket.takeError() == ENETDOWN { counted.linkDown += 1 }
        guard Interface.exists(interface.name) else {
            throw ToolError(.io, "the interface \(interface.name) has been removed")
        }
    }
}
