import ArgumentParser
import CPacketFSDPDK
import Glibc
import PacketFSTools
import SystemPackage

/// Options that all DPDK tools have, besides those of all network runners.
public struct EnvironmentOptions: ParsableArguments {
    @Option(
        help: "A virtual device, such as net_ring0 or net_af_packet0,iface=eth0; may be given several times.")
    var vdev: [String] = []
    @Flag(help: "Let DPDK take the PCI network devices that are bound to a driver for it.") var pci = false
    @Option(help: "More arguments for DPDK's environment (EAL), separated by blanks.") var eal: String?
    @Flag(help: "Do without huge pages.") var noHuge = false
    @Option(.whole("MiB of memory that DPDK takes, with --no-huge or without", 16...65_536)) var memoryMb = 256

    /// For the argument parser.
    public init() {}
}

/// DPDK's environment, which a process has at most once. The owner is unique and belongs to the main thread.
public struct Environment: ~Copyable {
    /// Whether its memory is on huge pages.
    public let hasHugePages: Bool

    /// DPDK's version, such as `DPDK 22.11.11`.
    public static var version: String { String(cString: pfs_dpdk_version()) }

    /// Starts it.
    ///
    /// Nothing is left behind by however sudden an end: memory has no name in a file system, and no run-time folder is made.
    /// Nothing else is shared with other processes of DPDK. It probes no PCI device unless
    /// asked to.
    /// - Parameters:
    ///   - options: the user's.
    ///   - cpu: the CPU to run on; nil for all that this process may use.
    /// - Throws: ``ToolExit/unavailable`` without huge pages, and for what DPDK refuses; its own lines on standard error say
    ///   what that was.
    public init(_ options: EnvironmentOptions, cpu: Int?) throws(ToolError) {
        if !options.noHuge { try Self.requireHugePages(megabytes: options.memoryMb) }
        let cpus = if let cpu { [cpu] } else { try ToolError.coded(CPUs.allowed) }
        var arguments = [
            "packetfs", "--log-level=error", "--no-telemetry", "-m", "\(options.memoryMb)",
            // One thread, which may run wherever the process may.
            "--lcores", "0@(\(cpus.map(String.init).joined(separator: ",")))",
        ]
        arguments += options.noHuge ? ["--no-huge", "--no-shconf"] : ["--in-memory"]
        // DPDK may try its hands on devices that the kernel uses: not unless it was asked for.
        if !options.pci { arguments.append("--no-pci") }
        for device in options.vdev { arguments += ["--vdev", device] }
        arguments += (options.eal ?? "").split(separator: " ").map(String.init)
        // DPDK keeps pointers into its arguments: they are given up on purpose, once a process.
        var pointers = arguments.map { strdup($0) } + [nil]
        let status = pfs_dpdk_start(Int32(arguments.count), &pointers)
        guard status == 0 else { throw Self.refused(status, arguments) }
        hasHugePages = pfs_dpdk_has_huge_pages() != 0
    }

    deinit { pfs_dpdk_stop() }

    /// Numbers of the ports there are.
    public func ports() -> [UInt16] {
        var ports = [UInt16](repeating: 0, count: 256)
        return Array(ports.prefix(Int(pfs_dpdk_ports(&ports, Int32(ports.count)))))
    }

    private static func requireHugePages(megabytes: Int) throws(ToolError) {
        var free = 0
        for size in [2048, 1 << 20] {
            let path = "/sys/kernel/mm/hugepages/hugepages-\(size)kB/free_hugepages"
            guard let file = try? InputFile.text(FilePath(path)) else { continue }
            free += (Int(file.prefix { $0.isNumber }) ?? 0) * size / 1024
        }
        guard free < megabytes else { return }
        throw ToolError(
            .unavailable,
            "DPDK needs \(megabytes) MiB of huge pages, free are \(free) MiB: `just hugepages \(megabytes / 2)` reserves "
                + "them, or use --no-huge")
    }

    private static func refused(_ status: Int32, _ arguments: [String]) -> ToolError {
        let line = arguments.dropFirst().joined(separator: " ")
        let reason = "DPDK does not start with `\(line)`: \(String(cString: pfs_dpdk_error(status)))"
        guard status == -EACCES || status == -EPERM else {
            return ToolError(
                .unavailable, reason + "; its lines above say more, and --eal \"--log-level=debug\" everything")
        }
        return ToolError(.permission, reason + "; run as root")
    }
}

/// The options of a port.
package struct PortOptions: ParsableArguments {
    @OptionGroup(title: "DPDK") package var environment: EnvironmentOptions
    @Option(.whole("Number of the port", 0...UInt16.max)) package var port: UInt16 = 0
    @Option(.whole("Frames of a burst", 1...Port.maximumBurst)) package var burst = 64

    package init() {}
}
