import Foundation
import Testing
import ToolTesting

@testable import pfs_ringpeek_ctl

private let tool = Tool("pfs_ringpeek_ctl")

@Suite("pfs_ringpeek_ctl")
struct RingPeekTests {
    @Test("Addresses", arguments: ["0000:00:1f.6", "00:1f.6", "0001:ff:00.7", "10000:00:02.0", "0:3.0"])
    func addresses(text: String) throws {
        let address = try #require(PCIAddress(text))
        #expect(PCIAddress(address.description) == address)
        #expect(address.description.hasSuffix(text) || text == "0:3.0")
    }

    @Test(
        "What is no address",
        arguments: [
            "", "00:1f", "00:20.0", "00:1f.8", "0:0:0:0.0", "x:00.0", "00:00.", "-1:00.0", "100:00.0", "+1:00.0",
        ])
    func noAddresses(text: String) { #expect(PCIAddress(text) == nil) }

    @Test("The rings of an RTL8139C+, from registers as a running one has them")
    func realtek() throws {
        let model = try #require(CardModel.of(vendor: 0x10EC, device: 0x8139))
        #expect(model.bars == [1] && model.windows.map(\.offset) == [0x20, 0x28, 0xE4])
        let transmit = model.rings[0].decode([0x02E4_1400, 0x0000_0001])
        #expect(transmit.baseAddress == 0x1_02E4_1400)
        #expect(transmit.registers.map(\.name) == ["TNPDS_LO", "TNPDS_HI"])
        #expect(transmit.registers.map(\.offset) == [0x20, 0x24])
        #expect(transmit.descriptors == nil && transmit.ownedByCard == nil)
        let receive = model.rings[2].decode([0x02E4_1000, 0])
        #expect(receive.registers.map(\.offset) == [0xE4, 0xE8])
        #expect(
            receive.text.contains("descriptors at 0x2e41000\n") && receive.text.contains("00e4  RDSAR_LO  0x02e41000"))
        #expect(model.rings[2].decode([0, 0]).text.contains("not set up"))
    }

    @Test("The rings of an 82574L")
    func intel() throws {
        let model = try #require(CardModel.of(vendor: 0x8086, device: 0x10D3))
        #expect(model.rings.count == 4 && model.windows[0] == CardModel.Window(offset: 0x2800, length: 0x1C))
        let state = model.rings[0].decode([0x0345_6000, 0, 4096, 0, 250, 0, 8])
        #expect(state.baseAddress == 0x345_6000)
        #expect(state.registers.map(\.name) == ["RDBAL", "RDBAH", "RDLEN", "RDH", "RDT"])
        #expect(state.registers.map(\.offset) == [0x2800, 0x2804, 0x2808, 0x2810, 0x2818])
        #expect(state.descriptors == 256 && state.head == 250 && state.tail == 8)
        #expect(state.ownedByCard == 14, "around the end")
        #expect(model.rings[2].decode([1, 2, 3, 4, 5, 6, 7]).registers.map(\.name).first == "TDBAL")
        // Registers that make no sense are shown, not believed.
        let odd = model.rings[0].decode(Array(repeating: .max, count: 7))
        #expect(odd.ownedByCard == nil && odd.text.contains("outside the ring"))
        #expect(model.rings[0].decode(Array(repeating: 0, count: 7)).ownedByCard == nil)
        #expect(CardModel.of(vendor: 0x8086, device: 0x8139) == nil)
    }

    @Test("BARs as sysfs lists them, and a device as its folder shows it")
    func sysfs() throws {
        let text = """
            0x000000000000c000 0x000000000000c0ff 0x0000000000040101
            0x00000000febd1000 0x00000000febd10ff 0x0000000000040200
            0x0000000000000000 0x0000000000000000 0x0000000000000000
            nonsense
            """
        #expect(
            PCIDevice.bars(text) == [
                .init(index: 0, kind: "io", bytes: 256), .init(index: 1, kind: "memory", bytes: 256),
            ])
        let root = FileManager.default.temporaryDirectory.appendingPathComponent("pfs-ringpeek-\(UUID())")
        defer { try? FileManager.default.removeItem(at: root) }
        for (name, kind) in [("0000:00:03.0", "0x020000"), ("0000:00:01.0", "0x060100")] {
            let folder = root.appendingPathComponent(name)
            try FileManager.default.createDirectory(
                at: folder.appendingPathComponent("net/eth7"), withIntermediateDirectories: true)
            for (file, value) in [
                ("class", kind), ("vendor", "0x10ec"), ("device", "0x8139"), ("resource", text),
            ] { try Data((value + "\n").utf8).write(to: folder.appendingPathComponent(file)) }
            try FileManager.default.createSymbolicLink(
                atPath: folder.appendingPathComponent("driver").path, withDestinationPath: "../../drivers/8139cp")
        }
        let devices = PCIDevice.networkDevices(in: .init(root.path))
        #expect(devices.count == 1)
        let device = try #require(devices.first)
        #expect(device.address == "0000:00:03.0" && device.model == "RTL8139C+" && device.driver == "8139cp")
        #expect(device.interfaces == ["eth7"] && device.bars.count == 2)
        #expect(device.line.contains("10ec:8139") && device.line.contains("BAR1 memory 256 B"))
        #expect(PCIDevice.networkDevices(in: "/nonexistent").isEmpty)
    }

    @Test("A dump")
    func dump() {
        #expect(
            hexDump([1, 0xFFFF_FFFF, 2, 3, 0x10], from: 0x20)
                == "000020: 00000001 ffffffff 00000002 00000003\n000030: 00000010")
    }

    @Test(
        "Bad input says what is wrong",
        arguments: [
            ([], 64, "--bdf"), (["--bdf", "hello"], 64, "expected [DOMAIN:]"),
            (["--bdf", "00:03.0", "--length", "4"], 64, "needs --offset"),
            (["--bdf", "00:03.0", "--offset", "3"], 64, "--offset 3"),
            (["--bdf", "00:03.0", "--offset", "0x1_0"], 64, "--offset"),
            (["--bdf", "00:03.0", "--offset", "0", "--length", "0x100004"], 64, "--length"),
            (["--bdf", "00:03.0", "--offset", "0", "--length", "0"], 64, "--length 0"),
            (["--list", "--bdf", "00:03.0"], 64, "--list"),
            (["--bdf", "00:03.0", "--dev", "/nonexistent"], 69, "just kernel-load"),
            (["--bdf", "00:03.0", "--dev", "/dev/null"], 69, "not the device of pfs_ringpeek"),
        ] as [([String], Int32, String)])
    func badInput(arguments: [String], status: Int32, message: String) throws {
        let result = try tool.run(arguments)
        #expect(result.status == status, "\(result)")
        #expect(result.errors.contains(message), "\(result)")
        #expect(result.output.isEmpty)
    }

    @Test("--list works everywhere and is one JSON document")
    func list() throws {
        #expect(try tool.run(["--list"]).status == 0)
        let result = try tool.run(["--list", "--json"]).result()
        #expect(result["devices"] is [Any])
    }
}
