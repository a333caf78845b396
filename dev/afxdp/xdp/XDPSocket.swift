import CXDP
import Glibc
import PacketFSMemory
import PacketFSTools
import SystemPackage

/// Whether the kernel copies frames between its packet buffers and the socket's memory.
public enum CopyMode: String, Sendable, CaseIterable {
    /// It copies each frame once.
    case copy
    /// The device reads and writes the socket's memory itself.
    case zeroCopy = "zero-copy"
}

/// How a socket is to be made.
public struct XDPSocketConfiguration: Sendable {
    /// The queue of the device that it is bound to.
    public var queue: Int
    /// Whether it shall receive, send, or both.
    public var receives: Bool, sends: Bool
    /// A demand, or nil for what the kernel chooses (zero-copy where the driver has it).
    public var copyMode: CopyMode?
    /// Chunks of memory: a power of two. With both directions, half of them are for either.
    public var chunkCount: Int
    /// Bytes of a chunk: 2048 or 4096. One frame lies in one chunk.
    public var chunkByteCount: Int
    /// Bytes that the kernel leaves free in a chunk before a received frame, beyond its own 256.
    public var headroom: Int
    /// Whether the kernel may ask to be woken instead of looking at the rings all the time.
    public var needWakeup: Bool
    /// The pages for the chunks.
    public var pages: PagePreference

    /// Defaults: queue 0, 4096 chunks of 2048 bytes, wake-ups on demand, the best pages there are.
    public init(receives: Bool, sends: Bool) {
        queue = 0
        self.receives = receives
        self.sends = sends
        copyMode = nil
        chunkCount = 4096
        chunkByteCount = 2048
        headroom = 0
        needWakeup = true
        pages = .automatic
    }
}

/// What the kernel has counted for a socket since it was made (XDP_STATISTICS, Linux Documentation/networking/af_xdp.rst).
public struct XDPStatistics: Sendable, Equatable, ReportObject {
    var rxDropped: UInt64 = 0, rxRingFull: UInt64 = 0, rxFillRingEmpty: UInt64 = 0
    var rxInvalidDescriptors: UInt64 = 0, txInvalidDescriptors: UInt64 = 0, txRingEmpty: UInt64 = 0

    package static var figures: [Figure<Self>] {
        Figure("rx_dropped", "received frames dropped for other reasons, such as one longer than a chunk", \.rxDropped)
        Figure("rx_ring_full", "received frames dropped because the receive ring was full", \.rxRingFull)
        Figure("rx_fill_ring_empty", "received frames dropped because there was no free chunk", \.rxFillRingEmpty)
        Figure("rx_invalid_descriptors", "entries of the fill ring that name no chunk", \.rxInvalidDescriptors)
        Figure(
            "tx_invalid_descriptors", "entries of the transmit ring that name no chunk, or too many bytes",
            \.txInvalidDescriptors)
        Figure("tx_ring_empty", "how often the kernel looked for something to send and found nothing", \.txRingEmpty)
    }

    /// Frames that had arrived for the socket and were lost.
    public var lost: UInt64 { rxDropped + rxRingFull + rxFillRingEmpty }
}

/// An AF_XDP socket with its memory and its four rings.
///
/// The memory (UMEM) is a ``HugeBlob``: what a frame's descriptor calls an address is an offset in that blob, so that the
/// bytes which a program is applied to lie where the kernel or the device put them, and are sent from where they
/// lie. Between the blob and the socket nothing is copied; in ``CopyMode/copy`` the kernel copies each frame once
/// between the blob and its own buffer.
///
/// The owner is unique and belongs to one thread. Its end unbinds the socket and frees the memory; a killed process's
/// socket goes the same way.
public struct XDPSocket: ~Copyable {
    private let umem: OpaquePointer
    private let socket: OpaquePointer
    private let rings: UnsafeMutablePointer<pfs_xdp_rings>
    private let descriptor: Int32
    private let blob: HugeBlob
    private let base: UnsafeMutableRawPointer
    private let chunkShift: UInt64
    /// Chunks that wait to be filled and sent; used as a stack of `freeCount`.
    private let free: UnsafeMutablePointer<UInt64>
    private var freeCount: Int
    private var outstanding = 0
    /// How it was asked for.
    public let configuration: XDPSocketConfiguration
    /// What the kernel gave.
    public let copyMode: CopyMode
    /// What the chunks lie on.
    public let backing: Backing

    /// Makes the memory and the socket and binds it.
    ///
    /// A queue that was just given up may be busy for a moment: that is waited for, up to two seconds.
    /// - Throws: ``ToolExit/unavailable`` for a mode that the driver lacks and for a queue that another socket has;
    ///   ``ToolExit/permission`` with the line that helps.
    public init(on device: NetDevice, _ configuration: XDPSocketConfiguration) throws(ToolError) {
        precondition(configuration.chunkCount > 0 && configuration.chunkCount & (configuration.chunkCount - 1) == 0)
        guard device.isUp else { throw Self.notBound(device, configuration, ENETDOWN) }
        let byteCount = configuration.chunkCount * configuration.chunkByteCount
        let blob = try Self.memory(byteCount, configuration.pages)
        // The socket owns the blob, so the address is good for as long as there is somebody to use it.
        let base = blob.withUnsafeMutableBytes { $0.baseAddress.unsafelyUnwrapped }
        let rings = UnsafeMutablePointer<pfs_xdp_rings>.allocate(capacity: 1)
        let made: Made
        let backing: Backing
        do {
            backing = try blob.backing()
            made = try Self.make(on: device, configuration, base, byteCount, rings)
        } catch {
            rings.deallocate()
            throw ToolError(any: error)
        }
        self.blob = blob
        self.backing = backing
        self.base = base
        self.rings = rings
        self.configuration = configuration
        umem = made.umem
        socket = made.socket
        descriptor = xsk_socket__fd(made.socket)
        chunkShift = UInt64(configuration.chunkByteCount.trailingZeroBitCount)
        copyMode = Self.isZeroCopy(descriptor) ? .zeroCopy : .copy
        free = .allocate(capacity: configuration.chunkCount)
        freeCount = 0
        let chunks = (0..<configuration.chunkCount).map { UInt64($0 * configuration.chunkByteCount) }
        let forReceiving = !configuration.receives ? 0 : configuration.sends ? chunks.count / 2 : chunks.count
        for chunk in chunks[forReceiving...] {
            free[freeCount] = chunk
            freeCount += 1
        }
        var index: UInt32 = 0
        _ = xsk_ring_prod__reserve(&rings.pointee.fill, UInt32(forReceiving), &index)
        for chunk in chunks[..<forReceiving] {
            xsk_ring_prod__fill_addr(&rings.pointee.fill, index).pointee = chunk
            index &+= 1
        }
        xsk_ring_prod__submit(&rings.pointee.fill, UInt32(forReceiving))
        if configuration.sends { askForLargeBursts() }
    }

    deinit {
        xsk_socket__delete(socket)
        xsk_umem__delete(umem)
        rings.deallocate()
        free.deallocate()
    }

    /// Has the frames that `program` redirects on this socket's queue delivered here.
    public func receive(from program: borrowing RedirectProgram) throws(ToolError) {
        try program.deliver(to: socket)
    }
}

// MARK: - Making one

extension XDPSocket {
    private typealias Made = (umem: OpaquePointer, socket: OpaquePointer)

    private static func make(
        on device: NetDevice, _ configuration: XDPSocketConfiguration, _ base: UnsafeMutableRawPointer,
        _ byteCount: Int,
        _ rings: UnsafeMutablePointer<pfs_xdp_rings>
    ) throws(ToolError) -> Made {
        // Failures are told here, with advice; the libraries' own lines would only stand in between.
        libbpf_set_print(nil)
        libxdp_set_print(nil)
        let deadline = Clock.monotonic() + 2_000_000_000
        while true {
            // Not all of libxdp's versions set the cached indices.
            rings.initialize(to: pfs_xdp_rings())
            var umemConfiguration = xsk_umem_config()
            // Twice the chunks: the kernel may tell late that it has taken an entry, after its chunk has come back already.
            umemConfiguration.fill_size = UInt32(2 * configuration.chunkCount)
            umemConfiguration.comp_size = UInt32(configuration.chunkCount)
            umemConfiguration.frame_size = UInt32(configuration.chunkByteCount)
            umemConfiguration.frame_headroom = UInt32(configuration.headroom)
            var umem: OpaquePointer?
            let registered = xsk_umem__create(
                &umem, base, UInt64(byteCount), &rings.pointee.fill, &rings.pointee.completion, &umemConfiguration)
            guard registered == 0, let umem else { throw notRegistered(byteCount, configuration, -registered) }

            var socketConfiguration = xsk_socket_config()
            socketConfiguration.rx_size = UInt32(configuration.chunkCount)
            socketConfiguration.tx_size = UInt32(2 * configuration.chunkCount)
            socketConfiguration.libxdp_flags = UInt32(XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD)
            var flags: Int32 =
                switch configuration.copyMode {
                case .copy: XDP_COPY
                case .zeroCopy: XDP_ZEROCOPY
                case nil: 0
                }
            if configuration.needWakeup { flags |= XDP_USE_NEED_WAKEUP }
            socketConfiguration.bind_flags = UInt16(flags)
            var socket: OpaquePointer?
            let bound = withUnsafeMutablePointer(to: &rings.pointee.rx) { rx in
                withUnsafeMutablePointer(to: &rings.pointee.tx) { tx in
                    xsk_socket__create(
                        &socket, device.name, UInt32(configuration.queue), umem, configuration.receives ? rx : nil,
                        configuration.sends ? tx : nil, &socketConfiguration)
                }
            }
            if bound == 0, let socket { return (umem, socket) }
            xsk_umem__delete(umem)
            guard bound == -EBUSY, Clock.monotonic() < deadline else {
                throw notBound(device, configuration, -bound)
            }
            usleep(20_000)
        }
    }

    private static func memory(_ byteCount: Int, _ pages: PagePreference) throws(ToolError) -> HugeBlob {
        do throws(MemoryError) {
            return try HugeBlob.create(byteCount: byteCount, pages: pages)
        } catch {
            throw ToolError(any: error)
        }
    }

    private static func isZeroCopy(_ descriptor: Int32) -> Bool {
        var options = xdp_options()
        var size = socklen_t(MemoryLayout<xdp_options>.size)
        return getsockopt(descriptor, Int32(PFS_SOL_XDP), XDP_OPTIONS, &options, &size) == 0
            && options.flags & UInt32(XDP_OPTIONS_ZEROCOPY) != 0
    }

    /// In copy mode the kernel sends 32 frames for each call unless told otherwise (Linux 6.17). Older ones refuse, and send
    /// 32.
    private func askForLargeBursts() {
        var budget = UInt32(configuration.chunkCount)
        setsockopt(
            descriptor, Int32(PFS_SOL_XDP), Int32(PFS_XDP_MAX_TX_SKB_BUDGET), &budget,
            socklen_t(MemoryLayout<UInt32>.size))
    }

    private static func notRegistered(
        _ byteCount: Int, _ configuration: XDPSocketConfiguration, _ reason: Int32
    ) -> ToolError {
        let what = "cannot register \(byteCount) bytes for AF_XDP"
        switch reason {
        case EPERM, EACCES:
            return ToolError(
                .permission,
                "\(what): \(Errno(rawValue: reason)); run as root, or once: \(Permissions.setcapLine(configuration.receives ? .receive : .send))"
            )
        case ENOBUFS, ENOMEM:
            var limit = rlimit()
            getrlimit(__rlimit_resource_t(__RLIMIT_MEMLOCK.rawValue), &limit)
            return ToolError(
                .unavailable,
                "\(what): this memory is locked, and the limit is \(limit.rlim_cur) bytes; raise it (`ulimit -l`, or "
                    + "LimitMEMLOCK= of a service), give the tool cap_ipc_lock, or ask for fewer --chunks")
        case EAFNOSUPPORT:
            return ToolError(.unavailable, "\(what): this kernel has no AF_XDP (CONFIG_XDP_SOCKETS)")
        default: return ToolError(.system, "\(what): \(Errno(rawValue: reason))")
        }
    }

    private static func notBound(
        _ device: NetDevice, _ configuration: XDPSocketConfiguration, _ reason: Int32
    ) -> ToolError {
        let mode = configuration.copyMode.map { ", \($0.rawValue)" } ?? ""
        let what = "cannot bind an AF_XDP socket to \(device.name), queue \(configuration.queue)\(mode)"
        switch reason {
        case EBUSY:
            return ToolError(
                .unavailable, "\(what): another socket has this queue; end its process, or choose another --queue")
        case EOPNOTSUPP:
            return ToolError(
                .unavailable,
                "\(what): the driver (\(device.driver ?? "none")) does not have this; without the mode the kernel takes "
                    + "what there is")
        case EINVAL:
            let queues = device.receiveQueues.map { "; it has \($0) queues" } ?? ""
            return ToolError(.unavailable, "\(what): there is no such queue, or the kernel lacks the mode\(queues)")
        case ENETDOWN:
            return ToolError(.unavailable, "\(what): it is down; `ip link set dev \(device.name) up`")
        case EPERM, EACCES:
            return ToolError(
                .permission,
                "\(what): \(Errno(rawValue: reason)); run as root, or once: \(Permissions.setcapLine(configuration.receives ? .receive : .send))"
            )
        default: return ToolError(.system, "\(what): \(Errno(rawValue: reason))")
        }
    }
}

// MARK: - Asking the kernel

extension XDPSocket {
    /// What the kernel has counted since the socket was made.
    public func statistics() throws(ToolError) -> XDPStatistics {
        var raw = xdp_statistics()
        var size = socklen_t(MemoryLayout<xdp_statistics>.size)
        guard getsockopt(descriptor, Int32(PFS_SOL_XDP), XDP_STATISTICS, &raw, &size) == 0 else {
            throw ToolError(.system, "cannot read the socket's statistics: \(Errno(rawValue: errno))")
        }
        return XDPStatistics(
            rxDropped: raw.rx_dropped, rxRingFull: raw.rx_ring_full, rxFillRingEmpty: raw.rx_fill_ring_empty_descs,
            rxInvalidDescriptors: raw.rx_invalid_descs, txInvalidDescriptors: raw.tx_invalid_descs,
            txRingEmpty: raw.tx_ring_empty_descs)
    }

    /// Which rings the kernel says need a wake-up now.
    public var wakeupFlags: (fill: Bool, transmit: Bool) {
        (
            configuration.receives && xsk_ring_prod__needs_wakeup(&rings.pointee.fill) != 0,
            configuration.sends && xsk_ring_prod__needs_wakeup(&rings.pointee.tx) != 0
        )
    }

    /// Asks for preferred busy polling: the device's queue is then worked on in the caller's system calls.
    ///
    /// - Returns: nil if the kernel accepts all three options, else the first error.
    public func preferBusyPolling(microseconds: Int32, budget: Int32) -> Errno? {
        for (option, value) in [
            (PFS_SO_PREFER_BUSY_POLL, 1), (PFS_SO_BUSY_POLL, microseconds), (PFS_SO_BUSY_POLL_BUDGET, budget),
        ] {
            var value = value
            guard
                setsockopt(
                    descriptor, SOL_SOCKET, Int32(option), &value, socklen_t(MemoryLayout<Int32>.size)) == 0
            else { return Errno(rawValue: errno) }
        }
        return nil
    }

    /// The number of the queue's poll context (NAPI), which busy polling works on; nil until a frame has come from one.
    public var pollContext: UInt32? {
        var number: UInt32 = 0
        var size = socklen_t(MemoryLayout<UInt32>.size)
        guard getsockopt(descriptor, SOL_SOCKET, Int32(PFS_SO_INCOMING_NAPI_ID), &number, &size) == 0 else {
            return nil
        }
        return number == 0 ? nil : number
    }
}

// MARK: - Trying it

extension XDPSocket {
    /// Sends one frame and looks for at most half a second whether it leaves, and comes back if it should.
    ///
    /// - Parameters:
    ///   - frame: the frame.
    ///   - awaitsReturn: whether to wait until the same bytes are received.
    public mutating func exchange(_ frame: [UInt8], awaitsReturn: Bool) -> (left: Bool, cameBack: Bool) {
        _ = send(atMost: 1, at: 0) { _, memory in
            memory.copyBytes(from: frame)
            return frame.count
        }
        var cameBack = false
        let deadline = Clock.monotonic() + 500_000_000
        while outstanding > 0 || awaitsReturn && !cameBack, Clock.monotonic() < deadline {
            if outstanding > 0 { _ = kick() }
            reclaim()
            guard awaitsReturn else { continue }
            _ = receive(atMost: 16, { cameBack = cameBack || $0.elementsEqual(frame) })
            if !cameBack { _ = wait(milliseconds: 1) }
        }
        return (outstanding == 0, cameBack)
    }
}

// MARK: - Sending

extension XDPSocket {
    /// Frames that were handed to the kernel and have not come back.
    var inFlight: Int { outstanding }

    /// Writes up to `count` frames and hands them to the kernel; ``kick()`` makes it look.
    ///
    /// - Parameters:
    ///   - count: at most so many, and no more than there are free chunks.
    ///   - offset: where in a chunk each frame begins.
    ///   - write: writes a frame into the memory of a chunk, from `offset` to its end, and returns the frame's length. Gets the
    ///     chunk's number, 0 and up.
    /// - Returns: how many frames.
    @inline(__always)
    mutating func send(
        atMost count: Int, at offset: Int, _ write: (Int, UnsafeMutableRawBufferPointer) -> Int
    ) -> Int {
        // More entries than chunks: where there is a free chunk there is room in the ring.
        let count = min(count, freeCount)
        var index: UInt32 = 0
        guard count > 0, xsk_ring_prod__reserve(&rings.pointee.tx, UInt32(count), &index) == count else { return 0 }
        let room = configuration.chunkByteCount - offset
        for _ in 0..<count {
            freeCount -= 1
            let address = free[freeCount] + UInt64(offset)
            let memory = UnsafeMutableRawBufferPointer(start: base + Int(address), count: room)
            let length = write(Int(address >> chunkShift), memory)
            let entry = xsk_ring_prod__tx_desc(&rings.pointee.tx, index).unsafelyUnwrapped
            entry.pointee = xdp_desc(addr: address, len: UInt32(length), options: 0)
            index &+= 1
        }
        xsk_ring_prod__submit(&rings.pointee.tx, UInt32(count))
        outstanding += count
        return count
    }

    /// Makes the kernel send what it was handed, if it says that it needs to be told.
    ///
    /// - Returns: nil if it was not called or went on; else the error: EBUSY where the device refused a frame, EAGAIN where
    ///   there was more than it sends in one call, ENETDOWN, and others.
    func kick() -> Errno? {
        guard !configuration.needWakeup || xsk_ring_prod__needs_wakeup(&rings.pointee.tx) != 0 else { return nil }
        guard sendto(descriptor, nil, 0, Int32(MSG_DONTWAIT), nil, 0) < 0 else { return nil }
        return Errno(rawValue: errno)
    }

    /// Takes back the chunks of frames that have been sent.
    mutating func reclaim() {
        var index: UInt32 = 0
        let count = xsk_ring_cons__peek(&rings.pointee.completion, UInt32(configuration.chunkCount), &index)
        guard count > 0 else { return }
        for position in 0..<count {
            let address = xsk_ring_cons__comp_addr(&rings.pointee.completion, index &+ position).unsafelyUnwrapped
            free[freeCount] = address.pointee & ~(1 << chunkShift - 1)
            freeCount += 1
        }
        xsk_ring_cons__release(&rings.pointee.completion, count)
        outstanding -= Int(count)
    }
}

// MARK: - Receiving

extension XDPSocket {
    /// Hands up to `count` received frames over, then their chunks back to the kernel.
    ///
    /// - Parameters:
    ///   - count: at most so many.
    ///   - take: looks at one frame, or changes it: it lies in the blob.
    ///   - finish: called after the last one, before the kernel may write to any of them again.
    /// - Returns: how many.
    @inline(__always)
    mutating func receive(
        atMost count: Int, _ take: (UnsafeMutableRawBufferPointer) -> Void, finish: () -> Void = {}
    ) -> Int {
        var index: UInt32 = 0
        let count = xsk_ring_cons__peek(&rings.pointee.rx, UInt32(count), &index)
        guard count > 0 else { return 0 }
        // There are more entries than chunks: it always fits.
        var fillIndex: UInt32 = 0
        _ = xsk_ring_prod__reserve(&rings.pointee.fill, count, &fillIndex)
        for position in 0..<count {
            let entry = xsk_ring_cons__rx_desc(&rings.pointee.rx, index &+ position).unsafelyUnwrapped.pointee
            take(UnsafeMutableRawBufferPointer(start: base + Int(entry.addr), count: Int(entry.len)))
            xsk_ring_prod__fill_addr(&rings.pointee.fill, fillIndex &+ position).pointee =
                entry.addr & ~(1 << chunkShift - 1)
        }
        finish()
        xsk_ring_prod__submit(&rings.pointee.fill, count)
        xsk_ring_cons__release(&rings.pointee.rx, count)
        return Int(count)
    }

    /// All chunks: where received frames lie. Valid while the socket lives.
    var memory: UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(start: base, count: configuration.chunkCount * configuration.chunkByteCount)
    }

    /// Sleeps until a frame has come or `milliseconds` have passed; also wakes a driver that waits for free chunks.
    ///
    /// - Returns: nil, or the error that the socket has, such as ENETDOWN for a device that is gone.
    func wait(milliseconds: Int32) -> Errno? {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard poll(&entry, 1, milliseconds) >= 0 || errno == EINTR else { return Errno(rawValue: errno) }
        guard entry.revents == 0 else { return nil }
        // poll(2) does not tell of errors of these sockets.
        var reason: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &reason, &size)
        return reason == 0 ? nil : Errno(rawValue: reason)
    }

    /// Wakes a driver that waits for free chunks, if it says so.
    func wakeForFilling() {
        guard xsk_ring_prod__needs_wakeup(&rings.pointee.fill) != 0 else { return }
        recvfrom(descriptor, nil, 0, Int32(MSG_DONTWAIT), nil, nil)
    }
}
