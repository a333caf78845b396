import CXDP
import Glibc
import PacketFSMemory
import PacketFSTools
import SystemPackage

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
