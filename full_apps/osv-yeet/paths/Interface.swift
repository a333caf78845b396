import CPacketFSShims
import Glibc
import PacketFSNet
import PacketFSNetTools
import PacketFSTools
import SystemPackage

/// A network interface of this process's network namespace.
package struct Interface: Sendable {
    /// Its name.
    package let name: String
    /// Its number.
    package let index: Int32
    /// The most bytes behind the link header.
    package let mtu: Int
    /// Its hardware address; zero on loopback.
    package let address: MACAddress
    /// Whether it is up.
    package let isUp: Bool

    /// Looks an interface up; one that does not exist, or is no Ethernet, is an error.
    package init(_ name: String) throws(ToolError) {
        var found = pfs_interface()
        guard pfs_interface(name, &found) == 0 else {
            let reason = Errno(rawValue: errno)
            throw ToolError(.noInput, "--iface \(name): \(reason); `ip link` lists what there is")
        }
        guard [ARPHRD_ETHER, ARPHRD_LOOPBACK].contains(found.hardware_type) else {
            throw ToolError(.unavailable, "--iface \(name): not an Ethernet interface (type \(found.hardware_type))")
        }
        self.name = name
        index = found.index
        mtu = Int(found.mtu)
        address = MACAddress(value: found.address)
        isUp = found.flags & UInt32(IFF_UP) != 0
    }

    /// Whether an interface of that name is still there.
    static func exists(_ name: String) -> Bool {
        var found = pfs_interface()
        return pfs_interface(name, &found) == 0
    }
}

/// A packet socket that is closed with its owner. Opening one needs CAP_NET_RAW.
struct PacketSocket: ~Copyable {
    let descriptor: Int32

    init() throws(ToolError) {
        descriptor = pfs_packet_socket()
        guard descriptor >= 0 else {
            if errno == EPERM || errno == EACCES {
                throw lacksRawSockets()
            }
            throw ToolError(.system, "cannot open a packet socket: \(Errno(rawValue: errno))")
        }
    }

    deinit { close(descriptor) }

    func set(_ option: Int32, _ value: Int32, _ what: String) throws(ToolError) {
        guard pfs_packet_option(descriptor, option, value) == 0 else {
            throw ToolError(.unavailable, "\(what): the kernel refuses: \(Errno(rawValue: errno))")
        }
    }

    func bind(to interface: Interface, etherType: UInt16) throws(ToolError) {
        guard pfs_packet_bind(descriptor, interface.index, etherType) == 0 else {
            throw ToolError(.system, "cannot bind to \(interface.name): \(Errno(rawValue: errno))")
        }
    }

    /// The error that waits on the socket, taken off it; 0 for none.
    func takeError() -> Int32 {
        var value: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &value, &size)
        return value
    }
}

/// A ring that the kernel shares with this process: `blockCount` blocks, one after the other.
struct PacketRing: ~Copyable {
    let memory: UnsafeMutableRawBufferPointer

    /// Sets up and maps the ring of a socket; `option` is PACKET_TX_RING or PACKET_RX_RING.
    init(
        of socket: borrowing PacketSocket, option: Int32, _ request: tpacket_req3, version: tpacket_versions
    ) throws(ToolError) {
        var request = request
        let byteCount = Int(request.tp_block_size) * Int(request.tp_block_nr)
        guard pfs_packet_ring(socket.descriptor, option, &request, Int32(version.rawValue)) == 0 else {
            let reason = Errno(rawValue: errno)
            throw ToolError(
                .unavailable, "cannot set up a ring of \(byteCount) bytes: \(reason); try a smaller one (--ring-kb)")
        }
        let base = mmap(nil, byteCount, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, socket.descriptor, 0)
        guard let base, base != MAP_FAILED else {
            throw ToolError(.system, "cannot map a ring of \(byteCount) bytes: \(Errno(rawValue: errno))")
        }
        memory = UnsafeMutableRawBufferPointer(start: base, count: byteCount)
    }

    deinit { munmap(memory.baseAddress, memory.count) }
}

/// The error of a missing CAP_NET_RAW.
func lacksRawSockets() -> ToolError {
    ToolError.lacksPermission("a packet socket", capabilities: "cap_net_raw")
}
