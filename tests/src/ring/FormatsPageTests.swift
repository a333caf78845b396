import Foundation
import PacketFSUAPI
import Testing

/// docs/formats.md says byte by byte what the headers of src/packetfs/uapi say in C: the two must agree.
@Suite struct FormatsPageTests {
    private static let page: String = {
        let root = URL(fileURLWithPath: #filePath)
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        return (try? String(contentsOf: root.appendingPathComponent("docs/formats.md"), encoding: .utf8)) ?? ""
    }()

    /// The rows of the first table behind `heading`, as cells without their marks of code.
    private static func table(after heading: String) throws -> [[String]] {
        let start = try #require(page.range(of: heading), "docs/formats.md has no \"\(heading)\"")
        return page[start.upperBound...].split(separator: "\n", omittingEmptySubsequences: false)
            .drop { !$0.hasPrefix("|") }.prefix { $0.hasPrefix("|") }.dropFirst(2)
            .map { row in
                row.split(separator: "|").map {
                    $0.trimmingCharacters(in: .whitespaces).replacingOccurrences(of: "`", with: "")
                }
            }
    }

    /// Offset, size and name of the fields in a table of docs/formats.md; rows without a name (reserved ones) are left out.
    private static func fields(after heading: String) throws -> [String] {
        try table(after: heading).compactMap { row in
            guard Int(row[0]) != nil, row[2] != "reserved", row[2] != "slots" || row[1] == "u32" else { return nil }
            return "\(row[0]) \(row[2]) \(row[1])"
        }
    }

    @Test func theRingsHeader() throws {
        typealias Header = pfs_fp_ring_hdr
        func field<T>(_ name: String, _ path: PartialKeyPath<Header>, _ type: T.Type) throws -> String {
            "\(try #require(MemoryLayout<Header>.offset(of: path))) \(name) u\(MemoryLayout<T>.size * 8)"
        }
        #expect(
            try Self.fields(after: "## Ring region") == [
                field("magic", \.magic, UInt64.self), field("version", \.version, UInt32.self),
                field("header_bytes", \.header_bytes, UInt32.self), field("slots", \.slots, UInt32.self),
                field("mask", \.mask, UInt32.self), field("region_bytes", \.region_bytes, UInt64.self),
                field("slots_offset", \.slots_offset, UInt64.self), field("data_offset", \.data_offset, UInt64.self),
                field("slab_bytes", \.slab_bytes, UInt64.self), field("head", \.head, UInt32.self),
                field("consumer_sleeps", \.consumer_sleeps, UInt32.self),
                field("slab_next", \.slab_next, UInt32.self), field("tail", \.tail, UInt32.self),
                field("producer_sleeps", \.producer_sleeps, UInt32.self),
            ])
        #expect(MemoryLayout<Header>.size == 512)
        #expect(Self.page.contains("0x\(String(PFS_FP_MAGIC, radix: 16))"))
    }

    @Test func whatTheModulesTell() throws {
        typealias Ring = pfs_fp_info
        func ring(_ name: String, _ path: PartialKeyPath<Ring>, _ type: String) throws -> String {
            "\(try #require(MemoryLayout<Ring>.offset(of: path))) \(name) \(type)"
        }
        #expect(
            try Self.fields(after: "`struct pfs_fp_info`, \(MemoryLayout<Ring>.size) bytes") == [
                ring("version", \.version, "u32"), ring("flags", \.flags, "u32"), ring("channel", \.channel, "u32"),
                ring("slots", \.slots, "u32"), ring("roles_held", \.roles_held, "u32"),
                ring("roles_mine", \.roles_mine, "u32"), ring("mappings", \.mappings, "u32"),
                ring("max_slots", \.max_slots, "u32"), ring("map_bytes", \.map_bytes, "u64"),
                ring("region_bytes", \.region_bytes, "u64"), ring("data_offset", \.data_offset, "u64"),
                ring("slab_bytes", \.slab_bytes, "u64"), ring("generation", \.generation, "u64"),
                ring("max_region_bytes", \.max_region_bytes, "u64"),
                ring("max_total_bytes", \.max_total_bytes, "u64"), ring("total_bytes", \.total_bytes, "u64"),
            ])
        typealias Card = pfs_rp_info
        func card(_ name: String, _ path: PartialKeyPath<Card>, _ type: String) throws -> String {
            "\(try #require(MemoryLayout<Card>.offset(of: path))) \(name) \(type)"
        }
        #expect(
            try Self.fields(after: "`struct pfs_rp_info`, \(MemoryLayout<Card>.size) bytes") == [
                card("flags", \.flags, "u32"), card("domain", \.domain, "u32"), card("bus", \.bus, "u8"),
                card("device", \.device, "u8"), card("function", \.function, "u8"),
                card("revision", \.revision, "u8"), card("vendor_id", \.vendor_id, "u16"),
                card("device_id", \.device_id, "u16"), card("subsystem_vendor_id", \.subsystem_vendor_id, "u16"),
                card("subsystem_id", \.subsystem_id, "u16"), card("class_code", \.class_code, "u32"),
                card("bar_bytes", \.bar_bytes, "u64[6]"), card("bar_flags", \.bar_flags, "u32[6]"),
                card("window", \.window, "struct pfs_rp_window"),
            ])
    }

    @Test func theNumbersOfCalls() throws {
        func rows(_ heading: String) throws -> [String] {
            try Self.table(after: heading).filter { $0[0].hasPrefix("PFS_") }.map { "\($0[0]) \($0[1])" }
        }
        func row(_ name: String, _ call: UInt32) -> String {
            let digits = String(call, radix: 16)
            return "\(name) 0x\(String(repeating: "0", count: 8 - digits.count))\(digits)"
        }
        // The first table behind the heading is the ring device's; the other one has a row of its own to be found by.
        #expect(
            try rows("## Calls of the kernel modules") == [
                row("PFS_FP_IOC_SETUP", PFS_FP_IOC_SETUP.rawValue), row("PFS_FP_IOC_RESET", PFS_FP_IOC_RESET.rawValue),
                row("PFS_FP_IOC_ATTACH", PFS_FP_IOC_ATTACH.rawValue),
                row("PFS_FP_IOC_DOORBELL", PFS_FP_IOC_DOORBELL.rawValue),
                row("PFS_FP_IOC_INFO", PFS_FP_IOC_INFO.rawValue),
            ])
        #expect(
            try rows("what they take now |") == [
                row("PFS_RP_IOC_SELECT", PFS_RP_IOC_SELECT.rawValue),
                row("PFS_RP_IOC_SET_WINDOW", PFS_RP_IOC_SET_WINDOW.rawValue),
                row("PFS_RP_IOC_GET_INFO", PFS_RP_IOC_GET_INFO.rawValue),
            ])
    }
}
