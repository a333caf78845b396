import Glibc
import PacketFSMemory
import PacketFSRing
import PacketFSTools

/// What was asked for.
struct Config: ReportObject {
    let command: String
    let dir: String?, name: String?
    let force: Bool?

    static var figures: [Figure<Self>] {
        Figure("command", "such as `list`", \.command)
        Figure("dir", "`--dir`; null where not given, as the next", \.dir)
        Figure("name", "the region that was asked for", \.name)
        Figure("force", "of `remove`", \.force)
    }
}

/// Results of the commands.
struct RegionList: ReportObject {
    let regions: [RegionRow]
    static var figures: [Figure<Self>] { Figure("regions", "one for each region", \.regions) }
}

struct OneRegion: ReportObject {
    let region: RegionRow
    static var figures: [Figure<Self>] { Figure("region", "the region", \.region) }
}

struct Removed: ReportObject {
    let removed: String
    static var figures: [Figure<Self>] { Figure("removed", "path of what was removed", \.removed) }
}

/// A role of a ring.
struct RoleRow: ReportObject {
    let attached: Bool
    let pids: [pid_t]
    let asleep: Bool

    static var figures: [Figure<Self>] {
        Figure("attached", "whether a process holds the role", \.attached)
        Figure("pids", "holders: one, or several where one inherited it; none if they cannot be seen", \.pids)
        Figure("asleep", "whether it waits for the other role", \.asleep)
    }

    fileprivate func text(_ users: [Users.User]) -> String {
        let holders = users.filter { pids.contains($0.pid) }.map(\.description).joined(separator: ", ")
        let who = !attached ? "nobody" : holders.isEmpty ? "attached, process unknown" : holders
        return asleep ? who + ", sleeps" : who
    }
}

/// A ring's figures.
struct RingRow: ReportObject {
    let ring: RingSnapshot
    let producer: RoleRow, consumer: RoleRow

    static var figures: [Figure<Self>] {
        Figure("slots", "of the ring", \.ring.geometry.slots)
        Figure("mask", "slots - 1") { $0.ring.geometry.slots - 1 }
        Figure("head", "the producer's index", \.ring.head)
        Figure("tail", "the consumer's index", \.ring.tail)
        Figure("queued", "entries between the two", \.ring.queued)
        Figure("slab_bytes", "0 for a queue of bare values", \.ring.geometry.slabByteCount)
        Figure("slab_next_unit", "where the producer continues in the slab", \.ring.slabNext)
        Figure("producer", "who has the role", \.producer)
        Figure("consumer", "who has the role", \.consumer)
    }
}

/// A region in a report.
struct RegionRow: ReportObject {
    let region: Region
    let state: String, problem: String?
    let ring: RingRow?
    let users: [Users.User]

    static var figures: [Figure<Self>] {
        Figure("name", "of its file", \.region.name)
        Figure("folder", "of its file", \.region.folder.string)
        Figure("kind", "`ring` or `blob`", \.region.kind.rawValue, text: \.region.kind.rawValue)
        Figure("size_bytes", "of its file", \.region.byteCount, label: "size") {
            "\($0.region.byteCount) bytes, \($0.size), \($0.region.allocatedByteCount) allocated"
        }
        Figure("allocated_bytes", "that the kernel has allocated", \.region.allocatedByteCount)
        Figure("page_bytes", "of the folder's pages", \.region.pageByteCount)
        Figure("mode", "of its file, octal", \.mode)
        Figure("owner_uid", "of its file", \.region.status.st_uid, label: "owner") {
            "uid \($0.region.status.st_uid), mode \($0.mode)"
        }
        Figure("state", "`ok`, `corrupt` or `unreadable`", \.state) { row in
            row.problem.map { "\(row.state): \($0)" } ?? row.state
        }
        Figure("problem", "what is wrong", \.problem)
        Figure("ring", "null for a blob, and where it cannot be read", \.ring)
        Figure("users", "processes that have it open or mapped", \.users)
    }

    private var mode: String { "0" + String(region.status.st_mode & 0o7777, radix: 8) }

    init(_ region: Region, _ users: Users) {
        self.region = region
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
                ring: ring, producer: role(.producer, asleep: ring.producerSleeps),
                consumer: role(.consumer, asleep: ring.consumerSleeps))
        }
    }

    /// `4.06 MiB on 4 KiB pages`.
    var size: String {
        let pages = region.pageByteCount
        return "\(decimals(Double(region.byteCount) / 1_048_576, 2)) MiB on "
            + (pages < 1 << 20 ? "\(pages >> 10) KiB" : "\(pages >> 20) MiB") + " pages"
    }

    /// Everything, for people.
    var text: String {
        var lines = [region.path.string] + summaryLines
        if let row = ring {
            let (ring, geometry) = (row.ring, row.ring.geometry)
            let slab = geometry.slabByteCount
            lines += [
                summaryLine("slots", "\(geometry.slots), mask \(geometry.slots - 1)"),
                summaryLine("indices", "head \(ring.head), tail \(ring.tail): \(ring.queued) queued"),
                summaryLine("slab", slab == 0 ? "none" : "\(slab) bytes, continues at unit \(ring.slabNext)"),
                summaryLine("producer", row.producer.text(users)), summaryLine("consumer", row.consumer.text(users)),
            ]
        }
        let who = users.isEmpty ? "nobody" : users.map(\.description).joined(separator: ", ")
        return (lines + [summaryLine("used by", who)]).joined(separator: "\n")
    }

    /// A line a region, under a heading.
    static func table(_ rows: [RegionRow]) -> String {
        TextTable.lines(
            [["KIND", "STATE", "USERS", "SIZE", "PATH"]]
                + rows.map {
                    [$0.region.kind.rawValue, $0.state, "\($0.users.count)", $0.size, $0.region.path.string]
                }
        ).joined(separator: "\n")
    }
}
