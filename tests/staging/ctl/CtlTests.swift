import Foundation
import Glibc
import PacketFSMemory
import PacketFSRing
import SystemPackage
import Testing
import ToolTesting

/// pfs_ctl as a user runs it, on folders of the test's own.
@Suite("pfs_ctl", .serialized)
struct CtlTests {
    @Test("A ring from create to remove, with a producer in between")
    func ring() throws {
        let folder = try Folder()
        let created = try folder.ctl("create", "jobs", "--ring-pow2", "4", "--slab-mb", "1")
        #expect(created.status == 0, "\(created)")
        #expect(created.output.contains("\(folder.path)/jobs.pfs-ring"))
        #expect(try folder.names == ["jobs.pfs-ring"])

        let region = try SharedRegion.open(named: "jobs.pfs-ring", in: FilePath(folder.path))
        do {
            var producer = try RingProducer(
                attaching: region.base, byteCount: region.byteCount, lock: region.fileDescriptor)
            for size in [64, 100, 64] {
                let record = try producer.reserve(byteCount: size)
                try #require(record != nil)
                producer.commit()
            }
            let row = try folder.region("inspect", "jobs")
            #expect(row["kind"] as? String == "ring" && row["state"] as? String == "ok")
            #expect(row["name"] as? String == "jobs.pfs-ring" && row["folder"] as? String == folder.path)
            #expect(row["size_bytes"] as? Int == region.byteCount && row["mode"] as? String == "0600")
            #expect(row["allocated_bytes"] as? Int == region.byteCount && row["page_bytes"] as? Int == 4096)
            let ring = try #require(row["ring"] as? [String: Any])
            for (key, value) in [
                "slots": 16, "mask": 15, "head": 3, "tail": 0, "queued": 3, "slab_bytes": 1 << 20, "slab_next_unit": 4,
            ] {
                #expect(ring[key] as? Int == value, "\(key)")
            }
            let roles = try ["producer", "consumer"].map { try #require(ring[$0] as? [String: Any]) }
            #expect(roles.map { $0["attached"] as? Bool } == [true, false])
            // Contained, not equal: a child that another test is starting holds this process's files for a moment.
            #expect((roles[0]["pids"] as? [Int])?.contains(Int(getpid())) == true)
            #expect(roles[1]["pids"] as? [Int] == [])
            #expect(roles.map { $0["asleep"] as? Bool } == [false, false])
            let users = try #require(row["users"] as? [[String: Any]])
            let own = try #require(users.first { $0["pid"] as? Int == Int(getpid()) })
            #expect(own["open"] as? Bool == true && own["mapped"] as? Bool == true)

            #expect(try folder.ctl("check", "jobs").status == 0)
            let text = try folder.ctl("inspect", "jobs").output
            #expect(text.contains("head 3, tail 0: 3 queued") && text.contains("\(getpid()) ("))
            let refused = try folder.ctl("remove", "jobs")
            #expect(refused.status == 69, "\(refused)")
            #expect(refused.errors.contains("it has a producer") && refused.errors.contains("\(getpid())"))
            #expect(try folder.names == ["jobs.pfs-ring"])
        }
        // Mapped still, though no role is taken.
        #expect(try folder.ctl("remove", "jobs").status == 69)
        #expect(try folder.ctl("remove", "jobs", "--force").status == 0)
        #expect(try folder.names == [])
        // Who has it keeps it.
        region.base.storeBytes(of: 1, as: UInt8.self)
    }

    @Test("A blob from create to remove")
    func blob() throws {
        let folder = try Folder()
        #expect(try folder.ctl("create", "data.pfs-blob", "--blob-mb", "3").status == 0)
        let row = try folder.region("inspect", "data")
        #expect(row["kind"] as? String == "blob" && row["state"] as? String == "ok")
        #expect(row["size_bytes"] as? Int == 3 << 20 && row["ring"] is NSNull && row["problem"] is NSNull)
        do {
            let blob = try HugeBlob.open(named: "data.pfs-blob", in: FilePath(folder.path))
            #expect(blob.byteCount == 3 << 20)
            #expect(try folder.ctl("remove", "data").status == 69)
        }
        let removed = try folder.ctl("remove", "data", "--json")
        #expect(removed.status == 0)
        #expect(try removed.result()["removed"] as? String == "\(folder.path)/data.pfs-blob")
        #expect(try folder.ctl("inspect", "data").status == 66)
    }

    @Test("List: all regions, in order, and nothing else on standard output")
    func list() throws {
        let folder = try Folder()
        #expect(try folder.ctl("list").output.split(separator: "\n").count == 1)
        for name in ["b", "a", "c"] { #expect(try folder.ctl("create", name, "--ring-pow2", "0").status == 0) }
        #expect(try folder.ctl("create", "a", "--blob-mb", "1").status == 0)
        let rows = try #require(try folder.ctl("list", "--json").result()["regions"] as? [[String: Any]])
        #expect(rows.map { $0["name"] as? String } == ["a.pfs-blob", "a.pfs-ring", "b.pfs-ring", "c.pfs-ring"])
        #expect(rows.allSatisfy { $0["state"] as? String == "ok" })
        let lines = try folder.ctl("list").output.split(separator: "\n")
        #expect(lines.count == 5 && lines[0].hasPrefix("KIND") && lines[1].hasSuffix("/a.pfs-blob"))
        // Two regions share the rest of their names.
        let ambiguous = try folder.ctl("inspect", "a")
        #expect(ambiguous.status == 64 && ambiguous.errors.contains("a.pfs-blob"))
        #expect(try folder.ctl("inspect", "a.pfs-ring").status == 0)
    }

    struct Damage: CustomTestStringConvertible {
        let offset: Int
        let bytes: [UInt8]
        let message: String
        var testDescription: String { message }
    }

    @Test(
        "Check finds damage, says where, and exits with 65",
        arguments: [
            Damage(offset: 0, bytes: [0, 0, 0, 0, 0, 0, 0, 0], message: "not ready"),
            Damage(offset: 0, bytes: [1], message: "marks no ring"),
            Damage(offset: 8, bytes: [9], message: "version 9"),
            Damage(offset: 16, bytes: [3], message: "3 slots"),
            Damage(offset: 20, bytes: [16], message: "mask"),
            Damage(offset: 48, bytes: [64], message: "region_bytes"),
            Damage(offset: 56, bytes: [1], message: "reserved word"),
            Damage(offset: 128, bytes: [17], message: "head is 17"),
            Damage(offset: 256, bytes: [3], message: "tail 3"),
            Damage(offset: 136, bytes: [0, 64], message: "slab continues at unit 16384"),
            Damage(offset: 512 + 4, bytes: [255, 255, 255, 255], message: "entry 1 points to unit 4294967295"),
        ])
    func damage(_ damage: Damage) throws {
        let folder = try Folder()
        #expect(try folder.ctl("create", "jobs", "--ring-pow2", "4", "--slab-mb", "1").status == 0)
        try folder.write([2], to: "jobs.pfs-ring", at: 128)  // two entries, both at unit 0
        #expect(try folder.ctl("check", "jobs").status == 0)
        try folder.write(damage.bytes, to: "jobs.pfs-ring", at: damage.offset)
        let checked = try folder.ctl("check", "jobs", "--json")
        #expect(checked.status == 65, "\(checked)")
        #expect(checked.errors.contains(damage.message), "\(checked.errors)")
        let row = try #require(try checked.result()["region"] as? [String: Any])
        #expect(row["state"] as? String == "corrupt")
        #expect((row["problem"] as? String)?.contains(damage.message) == true)
        #expect(try folder.ctl("inspect", "jobs").status == 0, "to look at what is corrupt is no error")
        #expect(try folder.ctl("remove", "jobs").status == 65)
        #expect(try folder.ctl("remove", "jobs", "--force").status == 0)
    }

    @Test("Sizes that no region has")
    func sizes() throws {
        let folder = try Folder()
        for (name, size, message) in [
            ("empty.pfs-blob", 0, "empty"), ("odd.pfs-blob", 4097, "whole pages"), ("short.pfs-ring", 511, "511 bytes"),
            ("sparse.pfs-blob", 1 << 20, "allocated"),
        ] {
            #expect(creat("\(folder.path)/\(name)", 0o600) >= 0 && truncate("\(folder.path)/\(name)", size) == 0)
            let checked = try folder.ctl("check", name)
            #expect(checked.status == 65 && checked.errors.contains(message), "\(checked)")
        }
        // A ring that lost its end.
        #expect(try folder.ctl("create", "cut", "--ring-pow2", "4", "--slab-mb", "1").status == 0)
        #expect(truncate("\(folder.path)/cut.pfs-ring", 1 << 20) == 0)
        let checked = try folder.ctl("check", "cut")
        #expect(checked.status == 65 && checked.errors.contains("1048576 bytes"), "\(checked)")
    }

    @Test("What is not ours is neither shown nor removed, and not opened")
    func foreign() throws {
        let folder = try Folder()
        #expect(try folder.ctl("create", "real", "--ring-pow2", "2").status == 0)
        let path = folder.path
        // A ring, but not by name; a link to one; a folder; a pipe, which would block; hidden; an unprintable name.
        try FileManager.default.copyItem(atPath: "\(path)/real.pfs-ring", toPath: "\(path)/copy")
        #expect(symlink("real.pfs-ring", "\(path)/link.pfs-ring") == 0)
        #expect(mkdir("\(path)/folder.pfs-blob", 0o700) == 0)
        #expect(mkfifo("\(path)/pipe.pfs-ring", 0o600) == 0)
        for name in [".hidden.pfs-ring", ".pfs-ring", "new\nline.pfs-blob", "notes.txt", "text.pfs-blob"] {
            try Data("somebody else's".utf8).write(to: URL(fileURLWithPath: "\(path)/\(name)"))
        }
        let before = try folder.names
        let rows = try #require(try folder.ctl("list", "--json").result()["regions"] as? [[String: Any]])
        #expect(rows.map { $0["name"] as? String } == ["real.pfs-ring", "text.pfs-blob"])
        #expect(rows.map { $0["state"] as? String } == ["ok", "corrupt"])
        for name in ["copy", "link.pfs-ring", "link", "folder.pfs-blob", "pipe", "notes.txt", "notes"] {
            for command in ["inspect", "check", "remove"] {
                #expect(try folder.ctl(command, name).status == 66, "\(command) \(name)")
            }
            #expect(try folder.ctl("remove", name, "--force").status == 66, "\(name)")
        }
        for name in [".hidden.pfs-ring", ".pfs-ring", "new\nline.pfs-blob"] {
            #expect(try folder.ctl("remove", name, "--force").status == 64, "\(name)")
        }
        // It has our ending, but not our form: only on demand.
        let refused = try folder.ctl("remove", "text")
        #expect(refused.status == 65 && refused.errors.contains("somebody else's"), "\(refused)")
        #expect(try folder.names == before)
        #expect(try folder.ctl("remove", "text", "--force").status == 0)
        #expect(try folder.names == before.filter { $0 != "text.pfs-blob" })
    }

    @Test(
        "Bad command lines",
        arguments: [
            ["nonsense"], ["list", "extra"], ["list", "--no-such-flag"], ["inspect"], ["check"], ["remove"],
            ["create"], ["create", "x"], ["create", "x", "--blob-mb", "1", "--ring-pow2", "1"],
            ["create", "x", "--blob-mb", "0"], ["create", "x", "--blob-mb=-1"], ["create", "x", "--blob-mb", "many"],
            ["create", "x", "--blob-mb", "9999999999999"], ["create", "x", "--ring-pow2", "27"],
            ["create", "x", "--ring-pow2=-1"], ["create", "x", "--slab-mb", "1"],
            ["create", "x", "--blob-mb", "1", "--slab-mb", "1"],
            ["create", "x", "--ring-pow2", "1", "--slab-mb", "262145"], ["create", "x.pfs-ring", "--blob-mb", "1"],
            ["create", "", "--blob-mb", "1"], ["create", ".x", "--blob-mb", "1"], ["create", "a/b", "--blob-mb", "1"],
            ["create", "..", "--blob-mb", "1"], ["create", "../x", "--blob-mb", "1"],
            ["create", "a b", "--blob-mb", "1"], ["create", "\u{1b}[31m", "--blob-mb", "1"],
            ["create", String(repeating: "n", count: 248), "--blob-mb", "1"], ["inspect", "/etc/passwd"],
            ["inspect", ""], ["check", "a/../b"], ["remove", "../../etc/passwd"], ["remove", ".", "--force"],
        ])
    func badCommandLine(arguments: [String]) throws {
        let folder = try Folder()
        let run = try folder.ctl(arguments)
        #expect(run.status == 64, "\(run)")
        #expect(run.output.isEmpty && !run.errors.isEmpty)
        #expect(try folder.names == [])
    }

    @Test("What cannot be created, and why")
    func notCreated() throws {
        let folder = try Folder()
        #expect(try folder.ctl("create", "x", "--blob-mb", "1").status == 0)
        try folder.write([7], to: "x.pfs-blob", at: 0)
        let again = try folder.ctl("create", "x", "--blob-mb", "1")
        #expect(again.status == 73 && again.errors.contains("exists already"), "\(again)")
        #expect(try Data(contentsOf: URL(fileURLWithPath: "\(folder.path)/x.pfs-blob"))[0] == 7, "left as it was")
        #expect(try folder.ctl("create", "r", "--ring-pow2", "1").status == 0)
        #expect(try folder.ctl("create", "r", "--ring-pow2", "1").status == 73)
        let huge = try folder.ctl("create", "y", "--blob-mb", "16777216")
        #expect(huge.status == 69 && huge.errors.contains("needed"), "\(huge)")
        let beyond = try folder.ctl("create", "y", "--blob-mb", "16777217")
        #expect(beyond.status == 64 && beyond.errors.contains("--blob-mb"), "\(beyond)")
        #expect(try folder.ctl("create", "y", "--ring-pow2", "26", "--slab-mb", "262144").status == 69)
        #expect(try folder.names == ["r.pfs-ring", "x.pfs-blob"])
        for (place, status) in [("/nonexistent/folder", 66), ("/proc", 69), ("/dev/null", 66), ("/usr", 69)] {
            for command in [["create", "z", "--blob-mb", "1"], ["create", "z", "--ring-pow2", "1"], ["list"]] {
                let run = try tool.run(command + ["--dir", place])
                #expect(run.status == status, "\(run)")
            }
        }
    }

    @Test("Output that cannot be written")
    func fullOutput() throws {
        let folder = try Folder()
        let run = try tool.run(
            ["list", "--dir", folder.path], wrapper: ["/bin/sh", "-c", "\"$0\" \"$@\" > /dev/full"])
        #expect(run.status == 74 && run.errors.contains("standard output"), "\(run)")
    }

    @Test("Others create and remove meanwhile: nothing worse than not there any more")
    func races() throws {
        let folder = try Folder()
        let churn = Thread {
            for round in 0..<400 {
                let name = round % 2 == 0 ? "busy.pfs-ring" : "busy.pfs-blob"
                let place = FilePath(folder.path)
                if let region = try? SharedRegion.create(byteCount: 4096, in: place),
                    let geometry = try? RingGeometry(slots: 2)
                {
                    try? Ring.create(at: region.base, byteCount: region.byteCount, geometry: geometry)
                    try? region.publish(as: name, in: place)
                }
                usleep(500)
                try? SharedRegion.remove(named: name, in: place)
            }
        }
        churn.start()
        var rounds = 0
        while !churn.isFinished || rounds < 4 {
            #expect(try folder.ctl("list").status == 0)
            for (command, allowed) in [
                ("inspect", [0, 66]), ("check", [0, 66]), ("remove", [0, 66, 69]),
            ] as [(String, [Int32])] {
                let run = try folder.ctl(command, "busy")
                // It looks for a ring, then for a blob: one may have followed the other in between.
                let isTwo = run.status == 64 && run.errors.contains("could be any of")
                #expect(allowed.contains(run.status) || isTwo, "\(run)")
            }
            rounds += 1
        }
        // Two who remove the same: one of them does.
        for _ in 0..<10 {
            #expect(try folder.ctl("create", "one", "--ring-pow2", "1").status == 0)
            let both = try [0, 1].map { _ in try tool.start(["remove", "one", "--force", "--dir", folder.path]) }
            let codes = try both.map { try $0.finish().status }.sorted()
            #expect(codes == [0, 66])
        }
    }

    @Test(
        "Another user's regions", .enabled(if: geteuid() == 0, "needs root"),
        .enabled(if: access("/usr/bin/setpriv", X_OK) == 0, "needs the command setpriv"))
    func permission() throws {
        let folder = try Folder()
        #expect(chmod(folder.path, 0o755) == 0)
        #expect(try folder.ctl("create", "mine", "--ring-pow2", "1").status == 0)
        // The tool itself may stand in a folder that this user cannot enter.
        let copy = Tool(path: "\(folder.path)/tool")
        try FileManager.default.copyItem(atPath: tool.path, toPath: copy.path)
        #expect(chmod(copy.path, 0o755) == 0)
        func nobody(_ arguments: String...) throws -> Tool.Result {
            try copy.run(
                arguments + ["--dir", folder.path],
                wrapper: ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"])
        }
        let listed = try nobody("list", "--json")
        #expect(listed.status == 0, "\(listed)")
        let rows = try #require(try listed.result()["regions"] as? [[String: Any]])
        #expect(rows.map { $0["state"] as? String } == ["unreadable"])
        for command in ["inspect", "check", "remove"] {
            let run = try nobody(command, "mine")
            #expect(run.status == 77 && run.errors.contains("uid 0"), "\(run)")
        }
        #expect(try nobody("remove", "mine", "--force").status == 77)
        #expect(try nobody("create", "theirs", "--ring-pow2", "1").status == 77)
        #expect(try folder.names == ["mine.pfs-ring", "tool"])
        // Readable, but in a folder where only the owner may remove.
        #expect(chmod("\(folder.path)/mine.pfs-ring", 0o644) == 0)
        #expect(try nobody("inspect", "mine").status == 0)
        #expect(try nobody("remove", "mine").status == 77)
        #expect(chmod(folder.path, 0) == 0)
        #expect(try nobody("list").status == 77)
    }

    @Test(
        "Regions on huge pages, found where they are mounted", .enabled(if: geteuid() == 0, "needs root"),
        .enabled(
            if: (try? withHugePages(4) { true }) ?? false,
            "needs 4 free pages of 2 MiB: reserve them with `just hugepages`")
    )
    func hugePages() throws {
        try withHugePages(4) {
            let folder = try Folder(mountHugePages: true)
            #expect(try folder.ctl("create", "huge", "--ring-pow2", "4", "--slab-mb", "1").status == 0)
            #expect(try folder.ctl("create", "data", "--blob-mb", "3").status == 0)
            // Without --dir.
            let rows = try #require(try tool.run(["list", "--json"]).result()["regions"] as? [[String: Any]])
            let ours = rows.filter { $0["folder"] as? String == folder.path }
            #expect(ours.map { $0["name"] as? String } == ["data.pfs-blob", "huge.pfs-ring"])
            #expect(ours.map { $0["page_bytes"] as? Int } == [2 << 20, 2 << 20])
            #expect(ours.map { $0["size_bytes"] as? Int } == [4 << 20, 2 << 20])
            for name in ["huge", "data"] {
                #expect(try folder.ctl("check", name).status == 0)
                #expect(try folder.ctl("remove", name).status == 0)
            }
            let short = try folder.ctl("create", "more", "--ring-pow2", "4", "--slab-mb", "262144")
            #expect(short.status == 69 && short.errors.contains("huge pages"), "\(short)")
            #expect(try folder.names == [])
        }
    }
}
