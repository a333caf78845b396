import CXDP
import Glibc
import PacketFSNet
import PacketFSTools
import SystemPackage

/// A network device of this process's network namespace, as the kernel described it when asked.
public struct NetDevice: Sendable {
    /// Its name.
    public let name: String
    /// The kernel's number for it.
    public let index: UInt32
    /// Largest network packet in bytes; an Ethernet frame has a header more.
    public let mtu: Int
    /// Hardware address; zero on loopback.
    public let address: MACAddress
    /// Whether it is administratively up.
    public let isUp: Bool
    /// Whether it is the loopback device, on which everything sent comes back.
    public let isLoopback: Bool
    /// The driver's name; nil where it has none (loopback).
    public let driver: String?
    /// Queues in use; nil where neither the driver nor sysfs tells.
    public let receiveQueues: Int?, transmitQueues: Int?

    /// The longest Ethernet frame that it takes, in bytes, without checksum.
    public var largestFrame: Int { mtu + EthernetHeader.byteCount }

    /// Looks a device up by name.
    ///
    /// - Throws: ``ToolExit/noInput`` if there is none of that name in this network namespace.
    public init(_ name: String) throws(ToolError) {
        var device = pfs_xdp_device()
        guard name.utf8.count < Int(IFNAMSIZ), pfs_xdp_device(name, &device) == 0 else {
            throw ToolError(
                .noInput,
                "there is no network device \"\(name)\" in this network namespace; `ip -br link` lists those there are")
        }
        self.name = name
        index = device.index
        mtu = Int(device.mtu)
        address = withUnsafeBytes(of: device.mac) { bytes in
            MACAddress(value: bytes.reduce(0) { $0 << 8 | UInt64($1) })
        }
        isUp = device.flags & UInt32(IFF_UP) != 0
        isLoopback = device.flags & UInt32(IFF_LOOPBACK) != 0
        let text = withUnsafeBytes(of: device.driver) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        driver = text.isEmpty ? nil : text
        receiveQueues = device.rx_queues > 0 ? Int(device.rx_queues) : Self.queues("rx", name, device.index)
        transmitQueues = device.tx_queues > 0 ? Int(device.tx_queues) : Self.queues("tx", name, device.index)
    }

    /// Counts a device's queues in sysfs, for drivers that do not tell. Sysfs may be mounted for another network namespace,
    /// whose devices have the same names: the number must agree.
    private static func queues(_ kind: String, _ name: String, _ index: UInt32) -> Int? {
        let folder = "/sys/class/net/\(name)"
        guard let file = try? FileDescriptor.open("\(folder)/ifindex", .readOnly, options: .closeOnExec) else {
            return nil
        }
        defer { try? file.close() }
        var text = [UInt8](repeating: 0, count: 16)
        let count = (try? text.withUnsafeMutableBytes { try file.read(into: $0) }) ?? 0
        guard String(decoding: text.prefix(count), as: UTF8.self) == "\(index)\n" else { return nil }
        let queues = (0...).prefix { access("\(folder)/queues/\(kind)-\($0)", F_OK) == 0 }.count
        return queues > 0 ? queues : nil
    }
}
