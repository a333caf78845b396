import Glibc
import PacketFSMemory
import PacketFSRing
import PacketFSTools

/// What was asked for.
struct ConfigRow: Encodable {
    let command: String
    let dir: String?
    let name: String?
    let force: Bool?
}

/// A role of a ring.
struct RoleRow: Encodable {
    let attached: Bool
    /// Holders of the role's lock: one process, or several where one inherited it; none if they cannot be seen.
    let pids: [pid_t]
    let asleep: Bool

    fileprivate func text(_ users: [Users.User]) -> String {
        let holders = users.filter { pids.contains($0.pid) }.map(\.description).joined(separator: ", ")
        let who = !attached ? "nobody" : holders.isEmpty ? "attached, process unknown" : holders
        return asleep ? who + ", sleeps" : who
    }
}

/// A ring's figures.
struct RingRow: Encodable {
    let slots: UInt32
    let mask: UInt32
    let head: UInt32
    let tail: UInt32
    let queued: UInt32
    let slabBytes: UInt64
    let slabNextUnit: UInt32
    let producer: RoleRow
    let consumer: RoleRow
}

/// A region in a report.
struct RegionRow: Encodable {
    let name: String
    let folder: String
    let kind: RegionKind
    let sizeBytes: Int
    let allocatedBytes: Int
    let pageBytes: Int
    let mode: String
    let ownerUid: UInt32
    /// `ok`, `corrupt` or `unreadable`.
    let state: String
    let problem: String?
    let ring: RingRow?
    let users: [Users.User]

    init(_ region: Region, _ users: Users) {
        name = region.name
        folder = region.folder.string
        kind = region.kind
        sizeBytes = region.byteCount
        allocatedBytes = region.allocatedByteCount
        pageBytes = region.pageByteCount
        mode = "0" + String(region.status.st_mode & 0o7777, radix: 8)
        ownerUid = region.status.st_uid
        switch region.state {
        case .sound: (state, problem) = ("ok", nil)
        case .corrupt(let reason): (state, problem) = ("corrupt", reason)
        case .unreadable(let reason): (state, problem) = ("unreadable", reason)
        }
        let its = users[region.identity]
        self.users = its
        ring = region.ring.map { ring in
            func role(_ role: Ring.Role, asleep: Bool) -> RoleRow {
                RoleRow(
                    attached: region.isTaken(role), pids: its.filter { $0.roles.contains(role.rawValue) }.map(\.pid),
                    asleep: asleep)
            }
            return RingRow(
                slots: ring.geometry.slots, mask: ring.geometry.slots - 1, head: ring.head, tail: ring.tail,
                queued: ring.queued, slabBytes: ring.geometry.slabByteCount, slabNextUnit: ring.slabNext,
                producer: role(.producer, asleep: ring.producerSleeps),
                consumer: role(.consumer, asleep: ring.consumerSleeps))
        }
    }

    /// Written out so that values which are not there are null and not absent.
    func encode(to encoder: any Encoder) throws {
        var box = encoder.container(keyedBy: Key.self)
        try box.encode(name, forKey: .name)
        try box.encode(folder, forKey: .folder)
        try box.encode(kind, forKey: .kind)
        try box.encode(sizeBytes, forKey: .sizeBytes)
        try box.encode(allocatedBytes, forKey: .allocatedBytes)
        try box.encode(pageBytes, forKey: .pageBytes)
        try box.encode(mode, forKey: .mode)
        try box.encode(ownerUid, forKey: .ownerUid)
        try box.encode(state, forKey: .state)
        try box.encode(problem, forKey: .problem)
        try box.encode(ring, forKey: .ring)
        try box.encode(users, forKey: .users)
    }

    private enum Key: String, CodingKey {
        case name, folder, kind, sizeBytes, allocatedBytes, pageBytes, mode, ownerUid, state, problem, ring, users
    }

    /// `4.06 MiB on 4 KiB pages`.
    var size: String {
        "\(decimals(Double(sizeBytes) / 1_048_576, 2)) MiB on "
            + (pageBytes < 1 << 20 ? "\(pageBytes >> 10) KiB" : "\(pageBytes >> 20) MiB") + " pages"
    }

    /// Everything, for people.
    var text: String {
        var lines = ["\(folder)/\(name)"]
        func line(_ name: String, _ text: String) {
            lines.append("  " + name + String(repeating: " ", count: max(1, 12 - name.count)) + text)
        }
        line("kind", kind.rawValue)
        line("size", "\(sizeBytes) bytes, \(size), \(allocatedBytes) allocated")
        line("owner", "uid \(ownerUid), mode \(mode)")
        line("state", problem.map { "\(state): \($0)" } ?? state)
        if let ring {
            line("slots", "\(ring.slots), mask \(ring.mask)")
            line("indices", "head \(ring.head), tail \(ring.tail): \(ring.queued) queued")
            line(
                "slab", ring.slabBytes == 0 ? "none" : "\(ring.slabBytes) bytes, continues at unit \(ring.slabNextUnit)"
            )
            line("producer", ring.producer.text(users))
            line("consumer", ring.consumer.text(users))
        }
        line("used by", users.isEmpty ? "nobody" : users.map(\.description).joined(separator: ", "))
        return lines.joined(separator: "\n")
    }

    /// A line a region, under a heading.
    static func table(_ rows: [RegionRow]) -> String {
        let cells =
            [["KIND", "STATE", "USERS", "SIZE", "PATH"]]
            + rows.map {
                [$0.kind.rawValue, $0.state, "\($0.users.count)", $0.size, "\($0.folder)/\($0.name)"]
            }
        let widths = (0..<4).map { column in cells.map { $0[column].count }.max() ?? 0 }
        return cells.map { row in
            zip(row, widths + [0]).map { $0 + String(repeating: " ", count: max(0, $1 - $0.count)) }
                .joined(separator: "  ")
        }.joined(separator: "\n")
    }
}
