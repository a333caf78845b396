import CXDP
import Glibc
import PacketFSTools
import SystemPackage

/// How an XDP program hangs on a device.
public enum AttachMode: String, Sendable, CaseIterable {
    /// In the driver, before the kernel makes a packet buffer.
    case native
    /// In the network stack, on any device, after the kernel has copied the frame into a packet buffer.
    case skb

    fileprivate var flags: UInt32 {
        UInt32(self == .native ? PFS_XDP_FLAGS_DRV_MODE : PFS_XDP_FLAGS_SKB_MODE)
    }
}

/// An XDP program that hands frames of one EtherType to AF_XDP sockets, and lets all others pass to the kernel.
///
/// It is a dozen instructions, written out below and loaded as they are: a compiled object would need a compiler for BPF on
/// each building machine, a file beside each tool, and a loader that relocates its map. The program is held on the device by
/// a BPF link, which is a descriptor: when its last holder goes, even by SIGKILL, the kernel takes the program off. One
/// that already hangs there is never replaced.
///
/// The owner is unique; its end detaches the program.
public struct RedirectProgram: ~Copyable {
    private let map: FileDescriptor
    private let program: FileDescriptor
    private let link: FileDescriptor
    /// How it hangs on the device.
    public let mode: AttachMode

    /// Loads the program and attaches it.
    ///
    /// - Parameters:
    ///   - device: where to; only frames that arrive there are looked at.
    ///   - etherType: frames with this type (in the order of the processor) go to the socket of the queue that they arrive on.
    ///   - mode: a demand; there is no fallback to the other one.
    ///   - tool: the caller's path, for the advice about permissions.
    /// - Throws: ``ToolExit/permission`` with the line that grants it; ``ToolExit/unavailable`` where the driver cannot, or
    ///   another program is in the way.
    public init(attachingTo device: NetDevice, etherType: UInt16, mode: AttachMode) throws(ToolError) {
        let queues: UInt32 = 64
        let map = bpf_map_create(BPF_MAP_TYPE_XSKMAP, "pfs_xsks", 4, 4, queues, nil)
        guard map >= 0 else { throw Self.refused("cannot create a map of AF_XDP sockets", errno) }
        let program = Self.load(redirectingTo: map, etherType: etherType)
        guard program >= 0 else {
            let reason = errno
            close(map)
            throw Self.refused("cannot load the XDP program", reason)
        }
        var options = bpf_link_create_opts()
        options.sz = MemoryLayout<bpf_link_create_opts>.size
        options.flags = mode.flags
        let link = bpf_link_create(program, Int32(device.index), BPF_XDP, &options)
        guard link >= 0 else {
            let reason = errno
            close(program)
            close(map)
            throw Self.notAttached(device, mode, reason)
        }
        self.map = FileDescriptor(rawValue: map)
        self.program = FileDescriptor(rawValue: program)
        self.link = FileDescriptor(rawValue: link)
        self.mode = mode
    }

    deinit {
        // The link first: from here on the program sees no frame.
        try? link.close()
        try? program.close()
        try? map.close()
    }

    /// Has frames of the socket's queue go to it from now on.
    func deliver(to socket: OpaquePointer) throws(ToolError) {
        let result = xsk_socket__update_xskmap(socket, map.rawValue)
        guard result == 0 else {
            throw ToolError(.system, "cannot put the socket into the XDP program's map: \(Errno(rawValue: -result))")
        }
    }

    private static func load(redirectingTo map: Int32, etherType: UInt16) -> Int32 {
        let instructions = code(map: map, etherType: etherType)
        return instructions.withUnsafeBytes { bytes in
            // Needs no kernel function that asks for the GPL.
            bpf_prog_load(
                BPF_PROG_TYPE_XDP, "pfs_redirect", "Dual MIT/GPL",
                bytes.baseAddress?.assumingMemoryBound(to: bpf_insn.self), instructions.count, nil)
        }
    }

    /// The program. Each instruction is a word: operation, destination and source register, jump distance, constant
    /// (Linux Documentation/bpf/standardization/instruction-set.rst).
    private static func code(map: Int32, etherType: UInt16) -> [UInt64] {
        func word(_ operation: UInt64, to: UInt64 = 0, from: UInt64 = 0, jump: UInt64 = 0, _ constant: UInt32 = 0)
            -> UInt64
        { operation | to << 8 | from << 12 | jump << 16 | UInt64(constant) << 32 }
        let pass = UInt32(XDP_PASS.rawValue)
        return [
            word(0x61, to: 2, from: 1, jump: 0),  //  0  r2 = context->data
            word(0x61, to: 3, from: 1, jump: 4),  //  1  r3 = context->data_end
            word(0xBF, to: 4, from: 2),  //           2  r4 = r2
            word(0x07, to: 4, 14),  //                3  r4 += 14
            word(0x2D, to: 4, from: 3, jump: 8),  //  4  if r4 > r3 goto 13: no room for an Ethernet header
            word(0x69, to: 5, from: 2, jump: 12),  // 5  r5 = EtherType, as it lies in memory
            word(0x55, to: 5, jump: 6, UInt32(etherType.bigEndian)),  // 6  if r5 != ours goto 13
            word(0x61, to: 2, from: 1, jump: 16),  // 7  r2 = context->rx_queue_index
            word(0x18, to: 1, from: 1, UInt32(bitPattern: map)),  // 8  r1 = the map with this descriptor
            word(0),  //                              9  (second half)
            word(0xB7, to: 3, pass),  //             10  r3 = pass: what to do if no socket is on this queue
            word(0x85, 51),  //                      11  r0 = bpf_redirect_map(r1, r2, r3)
            word(0x95),  //                          12  return r0
            word(0xB7, to: 0, pass),  //             13  r0 = pass
            word(0x95),  //                          14  return r0
        ]
    }

    private static func refused(_ what: String, _ reason: Int32) -> ToolError {
        guard reason == EPERM || reason == EACCES else {
            return ToolError(
                .system, "\(what): \(Errno(rawValue: reason)); Linux 5.9 or later with XDP sockets is needed")
        }
        return ToolError(
            .permission,
            "\(what): \(Errno(rawValue: reason)); run as root, or once: \(Permissions.setcapLine(.receive))")
    }

    private static func notAttached(_ device: NetDevice, _ mode: AttachMode, _ reason: Int32) -> ToolError {
        let what = "cannot attach an XDP program to \(device.name) in \(mode.rawValue) mode"
        switch reason {
        case EPERM, EACCES: return refused(what, reason)
        case EBUSY, EEXIST:
            return ToolError(
                .unavailable,
                "\(what): another one is there, and is left alone; `ip -d link show \(device.name)` shows it, "
                    + "`ip link set dev \(device.name) xdp off` removes one that has been left behind")
        case EOPNOTSUPP where mode == .native:
            return ToolError(
                .unavailable,
                "\(what): its driver (\(device.driver ?? "none")) has no native XDP; `--mode skb` works with any")
        case EINVAL, ERANGE:
            return ToolError(
                .unavailable,
                "\(what): \(Errno(rawValue: reason)); an MTU of \(device.mtu) may be too large for XDP: "
                    + "`ip link set dev \(device.name) mtu 1500`")
        default: return ToolError(.system, "\(what): \(Errno(rawValue: reason))")
        }
    }
}
