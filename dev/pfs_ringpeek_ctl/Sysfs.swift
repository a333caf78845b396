import Glibc
import PacketFSTools
import SystemPackage

/// A PCI device as sysfs describes it.
struct PCIDevice: ReportObject {
    struct BAR: ReportObject, Equatable {
        let index: Int, kind: String, bytes: UInt64

        static var figures: [Figure<Self>] {
            Figure("index", "its number", \.index)
            Figure("kind", "`memory` or `io`", \.kind)
            Figure("bytes", "its size", \.bytes)
        }
    }

    let address: String, vendorId: String, deviceId: String
    let model: String?, driver: String?
    let interfaces: [String]
    let bars: [BAR]

    static var figures: [Figure<Self>] {
        Figure("address", "the card, as `--bdf` takes it", \.address)
        Figure("vendor_id", "hexadecimal", \.vendorId)
        Figure("device_id", "hexadecimal", \.deviceId)
        Figure("model", "the known card that it is", \.model)
        Figure("driver", "that is bound to it", \.driver)
        Figure("interfaces", "of the network", \.interfaces)
        Figure("bars", "those that there are", \.bars)
    }

    /// The network devices below `folder`, in the order of their addresses; none where there is no PCI.
    static func networkDevices(in folder: FilePath = "/sys/bus/pci/devices") -> [PCIDevice] {
        names(in: folder).compactMap { name in
            let device = folder.appending(name)
            guard PCIAddress(name) != nil, let kind = number(device.appending("class")), kind >> 16 == 0x02 else {
                return nil
            }
            return PCIDevice(name, device)
        }
    }

    private init(_ name: String, _ folder: FilePath) {
        address = name
        let vendor = UInt16(truncatingIfNeeded: Self.number(folder.appending("vendor")) ?? 0)
        let device = UInt16(truncatingIfNeeded: Self.number(folder.appending("device")) ?? 0)
        vendorId = hex(UInt64(vendor), 4)
        deviceId = hex(UInt64(device), 4)
        model = CardModel.of(vendor: vendor, device: device)?.name
        driver = Self.target(of: folder.appending("driver"))
        interfaces = Self.names(in: folder.appending("net"))
        bars = Self.bars(Self.text(folder.appending("resource")))
    }

    /// The first six lines of a device's `resource`: start, end and flags of each BAR.
    static func bars(_ text: String) -> [BAR] {
        text.split(separator: "\n").prefix(6).enumerated().compactMap { index, line in
            let fields = line.split(separator: " ").compactMap { UInt64($0.dropFirst(2), radix: 16) }
            guard fields.count == 3, fields[1] > fields[0] else { return nil }
            return BAR(index: index, kind: fields[2] & 0x100 != 0 ? "io" : "memory", bytes: fields[1] - fields[0] + 1)
        }
    }

    private static func names(in folder: FilePath) -> [String] {
        guard let stream = opendir(folder.string) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if !name.hasPrefix(".") { names.append(name) }
        }
        return names.sorted()
    }

    private static func number(_ path: FilePath) -> UInt64? {
        let text = text(path).prefix { !$0.isWhitespace }
        return UInt64(text.hasPrefix("0x") ? text.dropFirst(2) : text, radix: 16)
    }

    private static func text(_ path: FilePath) -> String {
        guard let file = try? FileDescriptor.open(path, .readOnly, options: .closeOnExec) else { return "" }
        defer { try? file.close() }
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = (try? buffer.withUnsafeMutableBytes { try file.read(into: $0) }) ?? 0
        return String(decoding: buffer.prefix(count), as: UTF8.self)
    }

    private static func target(of link: FilePath) -> String? {
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = readlink(link.string, &buffer, buffer.count)
        guard count > 0 else { return nil }
        return FilePath(String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self))
            .lastComponent?.string
    }

    /// A line for people.
    var line: String {
        let parts = bars.map { "BAR\($0.index) \($0.kind) \($0.bytes) B" }.joined(separator: ", ")
        let users = [driver.map { "driver \($0)" }, interfaces.isEmpty ? nil : interfaces.joined(separator: ",")]
            .compactMap { $0 }.joined(separator: ", ")
        return "\(address)  \(vendorId):\(deviceId)  \(model ?? "rings not known")  \(parts)"
            + (users.isEmpty ? "" : "  (\(users))")
    }
}
