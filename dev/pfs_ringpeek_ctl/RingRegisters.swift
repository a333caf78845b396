import PacketFSTools

/// A kind of network card whose ring registers are known.
struct CardModel {
    let name: String
    let vendor: UInt16
    let devices: Set<UInt16>
    /// BARs that the registers may be in, best first.
    let bars: [UInt32]
    let rings: [RingLayout]

    /// Windows that hold all the registers, one for each ring.
    var windows: [Window] { rings.map { Window(offset: $0.offset, length: $0.byteCount) } }

    /// A range of a BAR.
    struct Window: Hashable {
        let offset: UInt64
        let length: UInt64
    }

    /// Known cards. Registers as in Realtek's data sheet of the RTL8139C+ (sections 5 and 9) and Intel's manuals of the 82540EM
    /// and 82574L (receive and transmit register descriptions).
    static let all: [CardModel] = [
        CardModel(
            name: "RTL8139C+", vendor: 0x10EC, devices: [0x8139], bars: [1], rings: realtek),
        CardModel(
            name: "RTL8169", vendor: 0x10EC, devices: [0x8169, 0x8167], bars: [1, 2], rings: realtek),
        CardModel(
            name: "RTL8168/8111", vendor: 0x10EC, devices: [0x8168, 0x8161, 0x8136], bars: [2, 1], rings: realtek),
        CardModel(
            name: "82540EM", vendor: 0x8086, devices: [0x100E], bars: [0],
            rings: [.intel("receive", 0x2800), .intel("transmit", 0x3800)]),
        CardModel(
            name: "82574L", vendor: 0x8086, devices: [0x10D3], bars: [0],
            rings: [
                .intel("receive 0", 0x2800), .intel("receive 1", 0x2900), .intel("transmit 0", 0x3800),
                .intel("transmit 1", 0x3900),
            ]),
    ]

    private static let realtek: [RingLayout] = [
        .base("transmit", 0x20, "TNPDS"), .base("transmit, high priority", 0x28, "THPDS"),
        .base("receive", 0xE4, "RDSAR"),
    ]

    /// The model of a device; nil if its registers are not known.
    static func of(vendor: UInt16, device: UInt16) -> CardModel? {
        all.first { $0.vendor == vendor && $0.devices.contains(device) }
    }
}

/// The registers of one descriptor ring.
struct RingLayout {
    /// What the ring is for.
    let name: String
    /// The first register, and the bytes up to the end of the last one.
    let offset: UInt64, byteCount: UInt64
    /// Registers by name, with their distance from the first.
    let registers: [(name: String, distance: Int)]
    /// Distance of length, head and tail, where the card has such registers.
    private let counters: (length: Int, head: Int, tail: Int)?
    /// Bytes of a descriptor.
    private let descriptorByteCount = 16

    /// A card that knows the ring's start alone; its end is marked in the last descriptor.
    static func base(_ name: String, _ offset: UInt64, _ register: String) -> RingLayout {
        RingLayout(
            name: name, offset: offset, byteCount: 8, registers: [("\(register)_LO", 0), ("\(register)_HI", 4)],
            counters: nil)
    }

    /// One of Intel's: base, length, head and tail.
    static func intel(_ name: String, _ offset: UInt64) -> RingLayout {
        let prefix = name.hasPrefix("receive") ? "RD" : "TD"
        return RingLayout(
            name: name, offset: offset, byteCount: 0x1C,
            registers: [
                ("\(prefix)BAL", 0), ("\(prefix)BAH", 4), ("\(prefix)LEN", 8), ("\(prefix)H", 0x10),
                ("\(prefix)T", 0x18),
            ], counters: (8, 0x10, 0x18))
    }

    private init(
        name: String, offset: UInt64, byteCount: UInt64, registers: [(name: String, distance: Int)],
        counters: (length: Int, head: Int, tail: Int)?
    ) {
        self.name = name
        self.offset = offset
        self.byteCount = byteCount
        self.registers = registers
        self.counters = counters
    }

    /// What the registers say; `words` are the 32-bit registers from ``offset`` on, ``byteCount`` bytes of them (precondition).
    func decode(_ words: [UInt32]) -> RingState {
        precondition(words.count * 4 >= byteCount, "too few registers")
        func word(_ distance: Int) -> UInt32 { words[distance / 4] }
        let base = UInt64(word(0)) | UInt64(word(4)) << 32
        var state = RingState(
            name: name,
            registers: registers.map {
                Register(name: $0.name, offset: offset + UInt64($0.distance), value: word($0.distance))
            },
            baseAddress: base)
        guard let counters else { return state }
        let entries = Int(word(counters.length)) / descriptorByteCount
        let head = Int(word(counters.head))
        let tail = Int(word(counters.tail))
        state.descriptors = entries
        state.head = head
        state.tail = tail
        // From head up to tail the descriptors belong to the card; equal means none.
        if entries > 0, head < entries, tail < entries { state.ownedByCard = (tail - head + entries) % entries }
        return state
    }
}

/// A register and what it says. Reports have numbers as people compare them with a data sheet.
struct Register: ReportObject, Equatable {
    let name: String?
    let offset: UInt64
    let value: UInt32

    static var figures: [Figure<Self>] {
        Figure("name", "the data sheet's; null in a dump", \.name)
        Figure("offset", "in the BAR, `0x` and hexadecimal") { "0x\(hex($0.offset, 4))" }
        Figure("value", "`0x` and hexadecimal") { "0x\(hex(UInt64($0.value), 8))" }
    }
}

/// What the registers of a ring say.
struct RingState: ReportObject, Equatable {
    let name: String
    let registers: [Register]
    /// It may be stale when the interface is down.
    let baseAddress: UInt64
    var descriptors: Int?, head: Int?, tail: Int?, ownedByCard: Int?

    static var figures: [Figure<Self>] {
        Figure("name", "what the ring is for", \.name)
        Figure("registers", "of the ring", \.registers)
        Figure("base_address", "bus address of the first descriptor; 0 means that no driver has set the ring up") {
            "0x\(hex($0.baseAddress, 16))"
        }
        Figure("descriptors", "of the ring, where the card knows", \.descriptors)
        Figure("head", "the descriptor that the card takes next", \.head)
        Figure("tail", "the first descriptor that the card may not take", \.tail)
        Figure("owned_by_card", "descriptors that the card may take, if head and tail lie in the ring", \.ownedByCard)
    }

    /// For people.
    var text: String {
        var line = "\(name): descriptors at 0x\(hex(baseAddress, 1))"
        if baseAddress == 0 { line += " (not set up)" }
        if let descriptors, let head, let tail {
            line += ", \(descriptors) of them, head \(head), tail \(tail)"
            line += ownedByCard.map { ", \($0) owned by the card" } ?? ": outside the ring"
        }
        return line
            + registers.map { "\n  0x\(hex($0.offset, 4))  \($0.name ?? "")  0x\(hex(UInt64($0.value), 8))" }.joined()
    }
}

/// Registers as a dump: offset and four words to a line.
func hexDump(_ words: [UInt32], from offset: UInt64) -> String {
    stride(from: 0, to: words.count, by: 4).map { first in
        let line = words[first..<min(first + 4, words.count)].map { hex(UInt64($0), 8) }.joined(separator: " ")
        return "\(hex(offset + UInt64(first) * 4, 6)): \(line)"
    }.joined(separator: "\n")
}
