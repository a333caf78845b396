/// Where a PCI device is: domain, bus, device and function, such as 0000:00:1f.6.
struct PCIAddress: Hashable, CustomStringConvertible {
    let domain: UInt32
    let bus: UInt8
    let device: UInt8
    let function: UInt8

    /// Reads `[DOMAIN:]BUS:DEVICE.FUNCTION`, all hexadecimal; nil for anything else.
    init?(_ text: String) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard 2...3 ~= parts.count, let last = parts.last else { return nil }
        let ends = last.split(separator: ".", omittingEmptySubsequences: false)
        guard ends.count == 2, let bus = Self.number(parts[parts.count - 2], digits: 2),
            let device = Self.number(ends[0], digits: 2), device <= 31, let function = Self.number(ends[1], digits: 1),
            function <= 7
        else { return nil }
        var domain: UInt32 = 0
        if parts.count == 3 {
            guard let number = Self.number(parts[0], digits: 8) else { return nil }
            domain = number
        }
        self.domain = domain
        self.bus = UInt8(bus)
        self.device = UInt8(device)
        self.function = UInt8(function)
    }

    init(domain: UInt32, bus: UInt8, device: UInt8, function: UInt8) {
        self.domain = domain
        self.bus = bus
        self.device = device
        self.function = function
    }

    private static func number(_ text: Substring, digits: Int) -> UInt32? {
        guard 1...digits ~= text.count, text.allSatisfy(\.isHexDigit) else { return nil }
        return UInt32(text, radix: 16)
    }

    var description: String {
        "\(hex(UInt64(domain), 4)):\(hex(UInt64(bus), 2)):\(hex(UInt64(device), 2)).\(function)"
    }
}

/// `value` in hexadecimal, with at least so many digits.
func hex(_ value: UInt64, _ digits: Int) -> String {
    let text = String(value, radix: 16)
    return String(repeating: "0", count: max(0, digits - text.count)) + text
}
