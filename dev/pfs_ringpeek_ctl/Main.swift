import ArgumentParser
import PacketFSTools
import PacketFSUAPI
import SystemPackage

/// The registers of a network card, through the kernel module pfs_ringpeek.
@main
struct RingPeek: Tool {
    static let reports = [
        ReportDescription("pfs_ringpeek_ctl --list", Config.self, Devices.self),
        ReportDescription("pfs_ringpeek_ctl", Config.self, Rings.self),
        ReportDescription("pfs_ringpeek_ctl --offset", Config.self, Registers.self),
    ]

    static let configuration = CommandConfiguration(
        commandName: "pfs_ringpeek_ctl",
        abstract: "Look at a network card's descriptor rings, or at any of its registers, through pfs_ringpeek.",
        discussion: """
            With --bdf alone it decodes the ring registers of a card that it knows (RTL8139C+, RTL8168, RTL8169, 82540EM, \
            82574L). With --offset it dumps registers of a BAR. Nothing is ever written. --list needs no module.

            Exit codes: 0 done, 64 usage, 66 no such device, 69 no module or not readable now, 71 system error, 74 I/O error, \
            77 permission, or registers whose reading may change the device. See docs/pfs_ringpeek_ctl.md.
            """,
        version: PacketFSVersion.current)

    @Flag(help: "List the PCI network cards of this machine with their BARs.")
    var list = false
    @Option(help: "The card, as [DOMAIN:]BUS:DEVICE.FUNCTION.")
    var bdf: String?
    @Option(.whole("The BAR", 0...5), absent: "where a known card has its registers, else 0")
    var bar: UInt32?
    @Option(help: "Dump registers from this offset on, decimal or 0x.")
    var offset: String?
    @Option(help: "Bytes to dump, decimal or 0x. (default: 256)")
    var length: String?
    @Flag(help: "Also registers whose reading may change the device.")
    var unsafe = false
    @Option(help: OptionHelp.device)
    var dev = "/dev/pfs_ringpeek"
    @OptionGroup var output: OutputOptions

    func run() throws {
        try CommandLineTool.run("pfs_ringpeek_ctl") {
            if list {
                guard bdf == nil, offset == nil else { throw ToolError(.usage, "--list goes with nothing but --json") }
                let devices = PCIDevice.networkDevices()
                try show(
                    Devices(devices: devices),
                    devices.isEmpty ? "no PCI network cards" : devices.map(\.line).joined(separator: "\n"))
            } else {
                try peek()
            }
        }
    }

    private func peek() throws {
        guard let bdf else { throw ToolError(.usage, "say which card with --bdf, or --list them") }
        guard let address = PCIAddress(bdf) else {
            throw ToolError(.usage, "--bdf \"\(bdf)\": expected [DOMAIN:]BUS:DEVICE.FUNCTION, such as 0000:00:1f.6")
        }
        guard offset != nil || length == nil else { throw ToolError(.usage, "--length needs --offset") }
        let window = try offset.map { text throws(ToolError) in
            try Self.window(text, length ?? "256")
        }
        let device = try Peek(FilePath(dev))
        try device.select(address)
        let info = try device.info()
        let model = CardModel.of(vendor: info.vendor_id, device: info.device_id)
        let card = "\(address) \(hex(UInt64(info.vendor_id), 4)):\(hex(UInt64(info.device_id), 4))"
        guard let window else {
            guard let model else {
                throw ToolError(
                    .unavailable, "\(card): the rings of this card are not known; dump registers with --offset")
            }
            let bar = bar ?? model.bars[0]
            var states: [RingState] = []
            for (ring, window) in zip(model.rings, model.windows) {
                states.append(ring.decode(try device.read(bar: bar, window, isUnsafe: unsafe)))
            }
            return try show(
                Rings(rings: states), "\(card) \(model.name), BAR \(bar)\n" + states.map(\.text).joined(separator: "\n")
            )
        }
        let words = try device.read(bar: bar ?? model?.bars[0] ?? 0, window, isUnsafe: unsafe)
        let rows = words.enumerated().map { index, word in
            Register(name: nil, offset: window.offset + UInt64(index) * 4, value: word)
        }
        try show(Registers(registers: rows), hexDump(words, from: window.offset))
    }

    /// The window that the options ask for.
    static func window(_ offset: String, _ length: String) throws(ToolError) -> CardModel.Window {
        guard let start = number(offset), start % 4 == 0, start < 1 << 40 else {
            throw ToolError(.usage, "--offset \(offset): must be a multiple of 4, decimal or 0x")
        }
        guard let count = number(length), count % 4 == 0, 4...UInt64(PFS_RP_WINDOW_MAX) ~= count else {
            throw ToolError(.usage, "--length \(length): must be a multiple of 4 from 4 to \(PFS_RP_WINDOW_MAX)")
        }
        return CardModel.Window(offset: start, length: count)
    }

    private static func number(_ text: String) -> UInt64? {
        let isHex = text.hasPrefix("0x")
        guard text.first != "+" else { return nil }
        return UInt64(isHex ? text.dropFirst(2) : text[...], radix: isHex ? 16 : 10)
    }

    private func show(_ result: some ReportObject, _ text: String) throws(ToolError) {
        try ToolReport(
            tool: "pfs_ringpeek_ctl", config: Config(bdf: bdf, dev: dev, offset: offset, length: length),
            result: result, warnings: []
        ).write(json: output.json, title: text)
    }
}

/// What was asked for.
struct Config: ReportObject {
    let bdf: String?, dev: String, offset: String?, length: String?

    static var figures: [Figure<Self>] {
        Figure("bdf", "the card", \.bdf)
        Figure("dev", "the module's device file", \.dev)
        Figure("offset", "where the dump begins", \.offset)
        Figure("length", "of the dump", \.length)
    }
}

struct Devices: ReportObject {
    let devices: [PCIDevice]
    static var figures: [Figure<Self>] { Figure("devices", "network cards, by address", \.devices) }
}

struct Rings: ReportObject {
    let rings: [RingState]
    static var figures: [Figure<Self>] { Figure("rings", "the card's descriptor rings", \.rings) }
}

struct Registers: ReportObject {
    let registers: [Register]
    static var figures: [Figure<Self>] { Figure("registers", "in the order of their offsets", \.registers) }
}
