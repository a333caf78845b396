import CPacketFSShims
import CXDP
import Glibc
import PacketFSNet
import PacketFSNetTools
import PacketFSTools
import SystemPackage

/// Receives frames through an AF_XDP socket, with the program that redirects them to it. Frames are worked on in the chunks
/// that the kernel put them into.
public final class XDPReceiver: FrameReceiver {
    /// Bytes that the kernel always leaves free before a frame (XDP_PACKET_HEADROOM), for programs that prepend a header.
    private static let kernelHeadroom = 256
    /// Frames of one batch.
    private static let batch = 256
    /// How long to look at the ring before going to sleep, in nanoseconds. Waking a sleeper costs the sender's CPU more than a
    /// frame does.
    private static let spin: UInt64 = 50_000

    @exclusivity(unchecked) private var socket: XDPSocket
    private let program: RedirectProgram
    private let device: NetDevice
    @exclusivity(unchecked) private var sleeps: UInt64 = 0

    /// Attaches the program and binds a socket to its queue.
    ///
    /// - Parameters:
    ///   - device: where frames arrive.
    ///   - mode: how the program hangs on it.
    ///   - configuration: of a socket that receives; its headroom is set here.
    public init(
        on device: NetDevice, mode: AttachMode, _ configuration: XDPSocketConfiguration, etherType: UInt16
    ) throws(ToolError) {
        var configuration = configuration
        // The kernel's own headroom is a multiple of a cache line.
        configuration.headroom = XDPSender.frameOffset
        // The socket first: its program would otherwise take frames that nobody gets.
        let socket = try XDPSocket(on: device, configuration)
        let program = try RedirectProgram(attachingTo: device, etherType: etherType, mode: mode)
        try socket.receive(from: program)
        self.socket = socket
        self.program = program
        self.device = device
    }

    /// The longest frame that a chunk of so many bytes has room for.
    public static func room(chunkByteCount: Int) -> Int { chunkByteCount - kernelHeadroom - XDPSender.frameOffset }

    /// All chunks: where received frames lie. Valid while this object lives.
    public var memory: UnsafeMutableRawBufferPointer { socket.memory }

    /// How frames come, in a few words.
    public var mode: String { "\(program.mode.rawValue), \(socket.copyMode.rawValue)" }

    /// Hands over what has arrived; looks for 50 us before it sleeps. Throws ``ToolExit/unavailable`` when the device is gone.
    public func receive(_ work: FrameWork, milliseconds: Int32) throws(ToolError) -> Int {
        if let count = take(work) { return count }
        socket.wakeForFilling()
        let limit = Clock.monotonic() + Self.spin
        while Clock.monotonic() < limit {
            for _ in 0..<16 { pfs_cpu_relax() }
            if let count = take(work) { return count }
        }
        sleeps += 1
        switch socket.wait(milliseconds: milliseconds) {
        case nil: return take(work) ?? 0
        // The kernel says so once, when it has unbound the socket. A device that is only down says nothing.
        case .networkDown?: throw ToolError(.unavailable, "the device \(device.name) is gone")
        case let reason?: throw ToolError(.system, "cannot receive on \(device.name): \(reason)")
        }
    }

    private func take(_ work: FrameWork) -> Int? {
        let count = socket.receive(atMost: Self.batch, { work.take($0) }, finish: { work.finishBatch() })
        return count > 0 ? count : nil
    }

    /// What there is to say about the path, now.
    package func path() throws(ToolError) -> XDPPath {
        try XDPPath(device, socket, attach: program.mode, sleeps: sleeps)
    }
}
