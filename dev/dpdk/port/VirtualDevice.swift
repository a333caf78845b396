import CPacketFSDPDK
import PacketFSTools

/// A virtual device that was added to a running environment. Its end removes it.
public struct VirtualDevice: ~Copyable {
    private let name: String

    /// Adds a device.
    ///
    /// - Parameters:
    ///   - name: a driver's name and a number, such as `net_ring0`.
    ///   - arguments: the driver's, joined by commas.
    public init(_ name: String, arguments: String) throws(ToolError) {
        let status = pfs_dpdk_add(name, arguments)
        guard status == 0 else {
            throw ToolError(
                .unavailable, "\(name) cannot be added: \(String(cString: pfs_dpdk_error(status)))")
        }
        self.name = name
    }

    deinit { pfs_dpdk_remove(name) }

    /// The number of its port.
    public func port() throws(ToolError) -> UInt16 {
        var port: UInt16 = 0
        let status = pfs_dpdk_port_of(name, &port)
        guard status == 0 else {
            throw ToolError(.unavailable, "\(name) has no port: \(String(cString: pfs_dpdk_error(status)))")
        }
        return port
    }
}
