import ArgumentParser
import PacketFSMemory
import PacketFSRing
import PacketFSTools
import SystemPackage

/// Named blobs and rings, from a shell.
@main
struct Control: Tool {
    static let reports = [
        ReportDescription("pfs_ctl list", Config.self, RegionList.self),
        ReportDescription("pfs_ctl inspect, check, create", Config.self, OneRegion.self),
        ReportDescription("pfs_ctl remove", Config.self, Removed.self),
    ]

    static let configuration = CommandConfiguration(
        commandName: "pfs_ctl",
        abstract: "List, inspect, check, create and remove named blobs and rings.",
        discussion: """
            A region is a file in /dev/shm or in a mounted hugetlbfs folder whose name ends in .pfs-ring or .pfs-blob. Other \
            files are never listed, and never removed. NAME is the file's name; the ending may be left out where only one \
            region has the rest of it.

            Exit codes: 0 done, 64 usage, 65 the region is corrupt, 66 no such region, 69 in use or not available here, \
            71 system error, 73 cannot be created, 74 the output cannot be written, 77 no permission. See docs/pfs_ctl.md.
            """,
        version: PacketFSVersion.current,
        subcommands: [List.self, Inspect.self, Check.self, Create.self, Remove.self])
}

/// What all commands understand.
struct CommonOptions: ParsableArguments {
    @Option(help: "Look in this folder only. (default: /dev/shm and every mounted hugetlbfs)")
    var dir: String?
    @OptionGroup var output: OutputOptions

    /// The folders to look in; those named by the caller must be in memory.
    func folders() throws -> [FilePath] {
        guard let dir else { return Folders.all() }
        let folder = FilePath(dir)
        _ = try RegionFolder.pageSize(of: folder)
        return [folder]
    }

    /// Runs a command's body and turns what it throws into a message and an exit code.
    func run(_ body: () throws -> Void) throws {
        try CommandLineTool.run("pfs_ctl", toolError: ToolError.init(region:), body)
    }

    /// Prints the document with `--json`, else the text.
    func show(
        _ command: String, name: String? = nil, force: Bool? = nil, _ result: some ReportObject,
        warnings: [String] = [], text: String?
    ) throws(ToolError) {
        let config = Config(command: command, dir: dir, name: name, force: force)
        try ToolReport(tool: "pfs_ctl", config: config, result: result, warnings: warnings)
            .write(json: output.json, title: text)
    }
}

struct List: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List all regions and who uses them.")
    @OptionGroup var options: CommonOptions

    func run() throws {
        try options.run {
            let regions = try options.folders().flatMap { try Region.all(in: $0) }
            let users = Users(of: regions)
            let rows = regions.map { RegionRow($0, users) }
            try options.show("list", RegionList(regions: rows), warnings: users.warnings, text: RegionRow.table(rows))
        }
    }
}

struct Inspect: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show everything about a region: size, pages, a ring's indices, who holds its roles.")
    @Argument(help: "The region.") var name: String
    @OptionGroup var options: CommonOptions

    func run() throws {
        try options.run {
            let region = try Region.find(name, in: options.folders())
            if case .unreadable(let reason) = region.state { throw ToolError(.permission, reason) }
            let users = Users(of: [region])
            let row = RegionRow(region, users)
            try options.show("inspect", name: name, OneRegion(region: row), warnings: users.warnings, text: row.text)
        }
    }
}

struct Check: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Check a region, with every queued entry of a ring; exit code 65 if it is corrupt.")
    @Argument(help: "The region.") var name: String
    @OptionGroup var options: CommonOptions

    func run() throws {
        try options.run {
            let region = try Region.find(name, in: options.folders())
            let row = RegionRow(region, Users(of: [region]))
            switch region.state {
            case .sound:
                try options.show("check", name: name, OneRegion(region: row), text: "\(region.path): ok")
            case .unreadable(let reason): throw ToolError(.permission, reason)
            case .corrupt(let reason):
                try options.show("check", name: name, OneRegion(region: row), text: nil)
                throw ToolError(.verificationFailed, "\(region.path): \(reason)")
            }
        }
    }
}

struct Create: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Create an empty ring or a blob of zeros, so that processes that are no relatives can share it.",
        discussion: """
            The file appears, with mode 0600, when it is complete, and replaces nothing. It is made in /dev/shm unless --dir \
            says otherwise.
            """)
    @Argument(help: "Its name: letters, digits, '.', '_' and '-'. The ending is added where it is missing.")
    var name: String
    @Option(.ringPow2) var ringPow2: Int?
    @Option(.slabMb, absent: "0, which makes a queue of bare 32-bit values") var slabMb: Int?
    @Option(.blobMb) var blobMb: Int?
    @OptionGroup var options: CommonOptions

    func validate() throws {
        guard (ringPow2 == nil) != (blobMb == nil) else {
            throw ValidationError("Say either --ring-pow2 or --blob-mb.")
        }
        guard slabMb == nil || ringPow2 != nil else { throw ValidationError("--slab-mb belongs to --ring-pow2.") }
    }

    func run() throws {
        try options.run {
            let kind: RegionKind = ringPow2 == nil ? .blob : .ring
            let folder = options.dir.map { FilePath($0) } ?? Folders.standard
            let file = try kind.fileName(name)
            if let ringPow2 {
                let geometry = try RingGeometry(
                    slots: 1 << UInt32(ringPow2), slabByteCount: UInt64(slabMb ?? 0) << 20)
                let region = try SharedRegion.create(byteCount: Int(geometry.regionByteCount), in: folder)
                try Ring.create(at: region.base, byteCount: region.byteCount, geometry: geometry)
                try region.publish(as: file, in: folder)
            } else if let blobMb {
                _ = try HugeBlob.create(named: file, in: folder, byteCount: blobMb << 20)
            }
            let region = try Region.find(file, in: [folder])
            let row = RegionRow(region, Users(of: []))
            try options.show("create", name: name, OneRegion(region: row), text: "\(region.path): \(row.size)")
        }
    }
}

struct Remove: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Remove a region's name; its memory is freed when the last process that has it is gone.")
    @Argument(help: "The region.") var name: String
    @Flag(help: "Remove it also if it is in use, or does not look like a region.") var force = false
    @OptionGroup var options: CommonOptions

    func run() throws {
        try options.run {
            let region = try Region.find(name, in: options.folders())
            let users = Users(of: [region])
            if !force { try region.requireRemovable(users) }
            try region.remove()
            try options.show(
                "remove", name: name, force: force, Removed(removed: region.path.string), warnings: users.warnings,
                text: "\(region.path): removed")
        }
    }
}
