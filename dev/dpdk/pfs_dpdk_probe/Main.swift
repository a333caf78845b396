import ArgumentParser
import PacketFSDPDK
import PacketFSTools
import SystemPackage

/// What DPDK has on this machine, found by trying.
@main
struct Probe: Tool {
    static let reports = [ReportDescription("pfs_dpdk_probe", Config.self, ProbeResult.self)]

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
    @Option(help: OptionHelp.iface) var iface: String?
    @OptionGroup var output: OutputOptions

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
            try ToolReport(tool: "pfs_dpdk_probe", config: Config(iface: iface), result: result, warnings: [])
                .write(json: output.json, title: result.text)
        }
    }
}

/// What was asked for.
struct Config: ReportObject {
    let iface: String?

    static var figures: [Figure<Self>] {
        Figure("iface", "the interface that virtual devices were tried on", \.iface)
    }
}

/// A port, and whether it could be started.
struct PortTrial: ReportObject {
    let name: String
    let works: Bool
    let problem: String?
    let port: PortRow?
    let rxDescriptors: UInt16?, txDescriptors: UInt16?

    static var figures: [Figure<Self>] {
        Figure("name", "of the port, or of the device that was to be added", \.name)
        Figure("works", "whether it could be started", \.works)
        Figure("problem", "what stood against it if not", \.problem)
        Figure("port", "what DPDK says of it", \.port)
        Figure("rx_descriptors", "entries of its queue for receiving", \.rxDescriptors)
        Figure("tx_descriptors", "entries of its queue for sending", \.txDescriptors)
    }

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
struct ProbeResult: ReportObject {
    let dpdk: String
    let hugePages: Bool
    let ports: [PortTrial], vdevs: [PortTrial]

    static var figures: [Figure<Self>] {
        Figure("dpdk", "its version", \.dpdk)
        Figure("huge_pages", "whether its memory is on huge pages", \.hugePages)
        Figure("ports", "those that there were from the start", \.ports)
        Figure("vdevs", "virtual devices that were added and removed", \.vdevs)
    }

    /// For people.
    var text: String {
        var lines = ["\(dpdk), memory on \(hugePages ? "huge" : "ordinary") pages, \(ports.count) ports"]
        for trial in ports + vdevs {
            let name = TextTable.pad(trial.name, 17) + " "
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
