import ArgumentParser
import PacketFSDPDK
import PacketFSTools
import SystemPackage

/// What DPDK has on this machine, found by trying.
@main
struct Probe: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pfs_dpdk_probe",
        abstract: "Find out by trying which DPDK ports and virtual devices work on this machine.",
        discussion: """
            Starts DPDK, sets up, starts and stops each port that it finds, then adds, starts and removes one of each virtual \
            device that touches nothing outside this process: net_null, net_ring, net_memif. With --iface also those that \
            work on a network device: net_af_packet and net_af_xdp (which attaches an XDP program for a moment).

            Exit codes: 0 done, 64 usage, 69 not available here, 71 system error, 77 no permission. See docs/dpdk.md.
            """,
        version: PacketFSVersion.current)

    @OptionGroup(title: "DPDK") var environment: EnvironmentOptions
    @Option(help: "Try also the virtual devices that work on this network device.") var iface: String?
    @Flag(help: "Print one JSON document and nothing else.") var json = false

    func validate() throws {
        // It becomes part of a DPDK argument, where a comma begins the next one.
        guard
            iface.map({ $0.allSatisfy { $0 != "," && $0 != "/" && !$0.isWhitespace } && (1...15 ~= $0.utf8.count) })
                ?? true
        else { throw ValidationError("--iface must be the name of a network device.") }
    }

    func run() throws {
        try CommandLineTool.run("pfs_dpdk_probe") {
            let environment = try Environment(environment, cpu: nil)
            let ports = environment.ports().map { PortTrial(port: $0, of: environment) }
            var devices = [("net_null9", ""), ("net_ring9", ""), ("net_memif9", "role=server,id=9")]
            if let iface { devices += [("net_af_packet9", "iface=\(iface)"), ("net_af_xdp9", "iface=\(iface)")] }
            let result = ProbeResult(
                dpdk: Environment.version, hugePages: environment.hasHugePages, ports: ports,
                vdevs: devices.map { PortTrial(adding: $0.0, arguments: $0.1, to: environment) })
            let text =
                try json
                ? ToolReport(
                    tool: "pfs_dpdk_probe", config: ConfigRow(iface: iface), result: result, warnings: []
                ).text() : result.text
            try CommandLineTool.write(text)
        }
    }
}

/// What was asked for.
struct ConfigRow: Encodable {
    let iface: String?

    private enum Key: String, CodingKey { case iface }

    func encode(to encoder: any Encoder) throws {
        var box = encoder.container(keyedBy: Key.self)
        try box.encode(iface, forKey: .iface)
    }
}

/// A port, and whether it could be started.
struct PortTrial: Encodable {
    let name: String
    let works: Bool
    let problem: String?
    let port: PortRow?
    let rxDescriptors: UInt16?
    let txDescriptors: UInt16?

    /// Starts and stops a port that there is.
    init(port number: UInt16, of environment: borrowing Environment) {
        let row = try? PortRow(number)
        name = row?.name ?? "port \(number)"
        do throws(ToolError) {
            let port = try Port(number, of: environment, frameByteCount: 2048)
            (works, problem, self.port) = (true, nil, port.row)
            (rxDescriptors, txDescriptors) = (port.receiveDescriptors, port.transmitDescriptors)
        } catch {
            (works, problem, port, rxDescriptors, txDescriptors) = (false, error.description, row, nil, nil)
        }
    }

    /// Adds a virtual device, starts and stops its port, and removes it.
    init(adding device: String, arguments: String, to environment: borrowing Environment) {
        do throws(ToolError) {
            let added = try VirtualDevice(device, arguments: arguments)
            self.init(port: try added.port(), of: environment)
        } catch {
            self.init(name: device, problem: error.description)
        }
    }

    private init(name: String, problem: String) {
        (self.name, works, self.problem) = (name, false, problem)
        (port, rxDescriptors, txDescriptors) = (nil, nil, nil)
    }
}

/// Everything that was found out.
struct ProbeResult: Encodable {
    let dpdk: String
    let hugePages: Bool
    /// Those that there were from the start.
    let ports: [PortTrial]
    /// Those that were added and removed.
    let vdevs: [PortTrial]

    /// For people.
    var text: String {
        var lines = ["\(dpdk), memory on \(hugePages ? "huge" : "ordinary") pages, \(ports.count) ports"]
        for trial in ports + vdevs {
            let name = trial.name + String(repeating: " ", count: max(1, 18 - trial.name.count))
            guard let port = trial.port, trial.works else {
                lines.append("  \(name)no: \(trial.problem ?? "")")
                continue
            }
            lines.append(
                "  \(name)yes: driver \(port.driver), \(port.mac), MTU \(port.mtu), "
                    + "queues up to \(port.maxRxQueues) rx, \(port.maxTxQueues) tx, "
                    + "descriptors \(trial.rxDescriptors ?? 0) rx, \(trial.txDescriptors ?? 0) tx, "
                    + "link \(port.linkUp ? "up" : "down")")
        }
        return lines.joined(separator: "\n")
    }
}
