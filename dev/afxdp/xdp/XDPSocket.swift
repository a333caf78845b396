import CXDP
import Glibc
import PacketFSMemory
import PacketFSTools
import SystemPackage

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
    let rings: UnsafeMutablePointer<pfs_xdp_rings>
    let descriptor: Int32
    private let blob: HugeBlob
    let base: UnsafeMutableRawPointer
    let chunkShift: UInt64
    /// Chunks that wait to be filled and sent; used as a stack of `freeCount`.
    let free: UnsafeMutablePointer<UInt64>
    var freeCount: Int
    var outstanding = 0
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
