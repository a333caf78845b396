import Foundation
import FoundationXML
import Testing
import ToolTesting

@Suite("sweep", .serialized)
struct SweepTests {
    /// Eight runs of some milliseconds each.
    static let small = """
        title = "Small <sweep> & more"
        repeats = 2
        shuffle = true
        [run]
        blob_mb = 4
        records = 3
        baseline_seconds = 0
        [vary]
        pcores = [1, 2]
        program = ["fnv", "xor:255,add:7,counteq:0"]
        """
    static let smallRuns = Set(
        ["1", "2"].flatMap { pcores in
            ["fnv", "xor:255,add:7,counteq:0"].flatMap { program in ["1", "2"].map { "\(pcores) \(program) \($0)" } }
        })

    private func sweep(_ arguments: String...) -> [String] {
        [ScratchFolder.sweep, "--tool", ScratchFolder.runner] + arguments
    }

    /// Every run in the CSV, as `pcores program repeat`; fails the test if one is there twice.
    private func runs(_ shop: ScratchFolder, _ name: String) throws -> Set<String> {
        let rows = try shop.table(name)
        let runs = rows.map { "\($0["pcores"] ?? "-") \($0["program"] ?? "-") \($0["repeat"] ?? "-")" }
        #expect(Set(runs).count == runs.count, "\(runs)")
        return Set(runs)
    }

    @Test("Every combination as often as declared, in a CSV and in a page that stands alone")
    func whole() throws {
        let shop = try ScratchFolder()
        try shop.write(Self.small, to: "small.toml")
        let result = try shop.run(sweep("small.toml"))
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == "logs/sweeps/small/sweep.csv\nlogs/sweeps/small/report.html\n")
        #expect(result.errors.contains("[8/8] "), "\(result.errors)")
        #expect(result.errors.contains(" left"), "\(result.errors)")
        #expect(try runs(shop, "logs/sweeps/small/sweep.csv") == Self.smallRuns)
        for row in try shop.table("logs/sweeps/small/sweep.csv") {
            let pcores = try #require(Int(row["pcores"] ?? ""))
            #expect(row["status"] == "0" && row["message"] == "" && row["cpupwn"] == "" && row["rejected"] == "0")
            #expect(row["records"] == "\(3 * pcores)" && row["descriptors"] == "\(3 * 64 * pcores)")
            let rate = try #require(Double(row["mbps"] ?? ""))
            let expected = try #require(Double(row["bytes"] ?? "")) / #require(Double(row["elapsed_s"] ?? "")) / 1e6
            #expect(abs(rate - expected) < 0.01 * expected)
        }
        let page = try shop.text("logs/sweeps/small/report.html")
        let parser = XMLParser(data: Data(page.utf8))
        #expect(parser.parse(), "\(String(describing: parser.parserError))")
        for text in [
            "<title>Small &lt;sweep&gt; &amp; more</title>", "Processor", "Linux ", "counteq:0", "blob_mb = 4",
        ] {
            #expect(page.contains(text), "\(text)")
        }
        // Nothing is fetched from elsewhere.
        #expect(page.matches(of: /(src|href)="(?!data:)/).isEmpty && !page.contains("@import"))
        #expect(page.contains("data:image/svg+xml;base64,") == ScratchFolder.hasGnuplot)
        // Started again, it finds nothing to do and says the same.
        let again = try shop.run(sweep("small.toml"))
        #expect(again.status == 0)
        #expect(again.errors.contains("8 runs of 8 are done already"), "\(again.errors)")
        #expect(try shop.text("logs/sweeps/small/report.html") == page)
    }

    @Test("The table of a sweep draws the scaling", .enabled(if: ScratchFolder.hasGnuplot, "needs the command gnuplot"))
    func plotted() throws {
        let shop = try ScratchFolder()
        try shop.write(Self.small, to: "s.toml")
        #expect(try shop.run(sweep("s.toml", "--out", "o", "--quiet")).status == 0)
        let result = try shop.run([ScratchFolder.plot, "scaling", "--sweep", "o/sweep.csv", "--format", "svg"])
        #expect(result.status == 0, "\(result.errors)")
        #expect(try shop.text("logs/plots/scaling.svg").contains("xor:255,add:7,counteq:0"))
    }

    /// Starts the sweep with a runner whose third run holds and does not end, and ends it by `signal` then.
    private func interrupted(_ shop: ScratchFolder, _ arguments: [String], by signal: Int32) throws -> Tool.Result {
        try shop.write("", to: "hold")
        try shop.write("", to: "started")
        let folder = shop.folder.path
        try shop.write(
            """
            #!/bin/sh
            case "$*" in *--json*)
                echo run >> \(folder)/started
                [ "$(wc -l < \(folder)/started)" -le 2 ] || export PACKETFS_TEST_HOLD=2:\(folder)/hold ;;
            esac
            exec \(ScratchFolder.runner) "$@"
            """, to: "runner")
        #expect(chmod(folder + "/runner", 0o755) == 0)
        let running = try shop.start(arguments)
        #expect(try running.waits { try !shop.text("hold").isEmpty }, "\(running.errorsSoFar)")
        kill(running.process.processIdentifier, signal)
        let result = try running.finish()
        #expect(unlink(folder + "/hold") == 0)
        return result
    }

    @Test(
        "Interrupted and started again, it does what was left: the same rows as without",
        arguments: [SIGINT, SIGTERM, SIGKILL])
    func resumed(signal: Int32) throws {
        let shop = try ScratchFolder()
        let done = 2
        try shop.write(Self.small, to: "s.toml")
        let command = [ScratchFolder.sweep, "--tool", shop.folder.path + "/runner", "s.toml", "--out", "o"]
        let first = try interrupted(shop, command, by: signal)
        #expect(first.status + (first.wasSignalled ? 128 : 0) == 128 + signal, "\(first.errors)")
        if signal == SIGKILL {
            // As a machine leaves it that went down in the middle of a line.
            let torn = try shop.text("o/sweep.jsonl") + "{\"settings\": {\"pcores\": 1, \"prog"
            try shop.write(torn, to: "o/sweep.jsonl")
        } else {
            #expect(first.errors.contains("the same command goes on"), "\(first.errors)")
            #expect(try shop.table("o/sweep.csv").count == done, "what was done is reported")
            #expect(try shop.text("o/report.html").contains("\(8 - done) still to be done"))
        }
        let second = try shop.run(command)
        #expect(second.status == 0, "\(second.errors)")
        #expect(second.errors.contains("\(done) runs of 8 are done already"), "\(second.errors)")
        #expect(try runs(shop, "o/sweep.csv") == Self.smallRuns)
        #expect(try shop.text("o/sweep.jsonl").split(separator: "\n").count == 9, "one line each, and the declaration")
    }

    @Test("A sweep that is killed takes its run with it")
    func killed() throws {
        let shop = try ScratchFolder()
        try shop.write(
            Self.small.replacing("records = 3", with: "duration = 300"), to: "s.toml")
        let running = try shop.start(sweep("s.toml", "--out", "o"))
        func child() -> pid_t? {
            running.pcores.first {
                (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\($0)/exe")) == ScratchFolder.runner
                    && (try? String(contentsOfFile: "/proc/\($0)/cmdline", encoding: .utf8))?.contains("--json") == true
            }
        }
        let deadline = Date(timeIntervalSinceNow: 60)
        var found = child()
        while found == nil, running.process.isRunning, Date() < deadline {
            usleep(2000)
            found = child()
        }
        let pid = try #require(found)
        kill(running.process.processIdentifier, SIGKILL)
        _ = try running.finish()
        while Processes.isAlive(pid), Date() < deadline { usleep(2000) }
        #expect(!Processes.isAlive(pid))
    }

    @Test("A changed declaration is refused and told; one that has grown is carried on; --restart begins anew")
    func changed() throws {
        let shop = try ScratchFolder()
        func start(_ declaration: String, _ more: String...) throws -> Tool.Result {
            try shop.write(declaration, to: "s.toml")
            return try shop.run(sweep("s.toml", "--out", "o") + more)
        }
        #expect(try start(Self.small).status == 0)
        let journal = try shop.text("o/sweep.jsonl")
        for (from, to, message) in [
            ("records = 3", "records = 4", "run.records was 3, is 4"),
            ("records = 3", "records = 3\nseed = 2", "run.seed was absent, is 2"),
            ("pcores = [1, 2]", "pcores = [2, 4]", "vary.pcores was [1, 2], is [2, 4]"),
            ("pcores = [1, 2]", "pcores = [1, 2]\ndpf = [1]", "vary.dpf was absent, is [1]"),
            ("repeats = 2", "repeats = 1", "repeats was 2, is 1"),
        ] {
            let result = try start(Self.small.replacing(from, with: to))
            #expect(result.status == 64)
            #expect(result.errors.contains(message), "\(result.errors)")
            #expect(try shop.text("o/sweep.jsonl") == journal, "nothing is lost")
        }
        #expect(try start(Self.small.replacing("shuffle = true", with: "")).status == 0, "the order may change")
        let grown = try start(Self.small.replacing("pcores = [1, 2]", with: "pcores = [1, 2, 3]"))
        #expect(grown.status == 0, "\(grown.errors)")
        #expect(grown.errors.contains("8 runs of 12 are done already"), "\(grown.errors)")
        #expect(try shop.table("o/sweep.csv").count == 12)
        let anew = try start(Self.small.replacing("records = 3", with: "records = 4"), "--restart")
        #expect(anew.status == 0, "\(anew.errors)")
        #expect(try shop.table("o/sweep.csv").allSatisfy { $0["records_per_pcore"] == "4" })
        #expect(try shop.text("o/sweep.jsonl.old").split(separator: "\n").count == 14, "8 + 4 runs, two declarations")
    }

    @Test("A combination that fails is kept with its message and status, and the others go on")
    func failing() throws {
        let shop = try ScratchFolder()
        // A slab of 1 MiB cannot hold two records of 65536 descriptors.
        try shop.write(
            """
            [run]
            blob_mb = 4
            records = 1
            baseline_seconds = 0
            slab_mb = 1
            [vary]
            dpf = [16, 65536]
            pcores = [1, 2]
            """, to: "f.toml")
        let result = try shop.run(sweep("f.toml", "--out", "o"))
        #expect(result.status == 71, "\(result.errors)")
        #expect(result.errors.contains("2 of 4 runs failed"), "\(result.errors)")
        let rows = try shop.table("o/sweep.csv")
        #expect(rows.count == 4)
        for row in rows {
            #expect(row["status"] == (row["dpf"] == "16" ? "0" : "64"))
            #expect((row["message"] ?? "").contains("--slab-mb") == (row["dpf"] == "65536"), "\(row)")
        }
        #expect(try shop.text("o/report.html").contains("<h2>Failed</h2>"))
        let again = try shop.run(sweep("f.toml", "--out", "o"))
        #expect(again.status == 71)
        #expect(again.errors.contains("4 runs of 4 are done already"))
        let retried = try shop.run(sweep("f.toml", "--out", "o", "--retry-failed"))
        #expect(retried.status == 71)
        #expect(retried.errors.contains("2 runs of 4 are done already"))
        #expect(try shop.table("o/sweep.csv").count == 4)
    }

    struct Bad: CustomTestStringConvertible, Sendable {
        let declaration: String
        let status: Int32
        let message: String
        var arguments: [String] = []
        var testDescription: String { message }
    }

    static let vary = "[vary]\npcores = [1]\n"
    static let mistakes: [Bad] = [
        Bad(declaration: "title = \"x\"\nrepeats = [1", status: 64, message: "bad.toml: Unclosed array"),
        Bad(declaration: "repeats == 2\n" + vary, status: 64, message: "line 1, column 10"),
        Bad(
            declaration: "repeat = 2\n" + vary, status: 64, message: "line 1: repeat is unknown; did you mean repeats?"),
        Bad(declaration: "repeats = 0\n" + vary, status: 64, message: "line 1: repeats must be"),
        Bad(declaration: "repeats = true\n" + vary, status: 64, message: "line 1: repeats must be"),
        Bad(declaration: "\n[run]\npcore = 2\n" + vary, status: 64, message: "line 3: run.pcore is unknown"),
        Bad(declaration: "[run]\nalign = 48\n" + vary, status: 64, message: "line 2: run.align = 48: must be a power"),
        Bad(declaration: "[run]\nduration = nan\n" + vary, status: 64, message: "line 2: run.duration"),
        Bad(declaration: "[run]\npcores = 2\n" + vary, status: 64, message: "line 4: vary.pcores is in [run] too"),
        Bad(declaration: "[vary]\n", status: 64, message: "[vary] is missing or empty"),
        Bad(declaration: "run = 5\n" + vary, status: 64, message: "line 1: run must be a table"),
        Bad(declaration: "[vary]\npcores = 1", status: 64, message: "line 2: vary.pcores must be a list"),
        Bad(declaration: "[vary]\npcores = []", status: 64, message: "line 2: vary.pcores must be a list"),
        Bad(declaration: "[vary]\npcores = [1, 0]", status: 64, message: "line 2: vary.pcores has 0: must be"),
        Bad(declaration: "[vary]\npcores = [1, true]", status: 64, message: "line 2: vary.pcores has True"),
        Bad(declaration: "[vary]\npcores = [2, 1, 2]", status: 64, message: "line 2: vary.pcores has a value twice"),
        Bad(declaration: "[vary]\npage_size = [\"3m\"]", status: 64, message: "line 2: vary.page_size has '3m'"),
        Bad(
            declaration: "[vary]\nprogram = [\"fnv\", \"sub:1\"]", status: 64,
            message: "line 2: vary.program has 'sub:1': operation 1"),
        Bad(
            declaration: "[run]\nprogram = \"xor:256\"\n" + vary, status: 64,
            message: "line 2: run.program has 'xor:256'"),
        Bad(
            declaration: "[run]\nfile = \"absent\"\n" + vary, status: 66,
            message: "line 2: run.file: absent is no file that can be read"),
        Bad(declaration: vary + "file = [\"/usr\"]\n", status: 66, message: "line 3: vary.file: /usr is no file"),
        Bad(
            declaration: "repeats = 1000\n[vary]\nseed = [\((0...100).map(String.init).joined(separator: ","))]",
            status: 64, message: "101,000 runs"),
        Bad(declaration: "\u{0}", status: 64, message: "line 1"),
        Bad(declaration: vary, status: 73, message: "/proc/nowhere", arguments: ["--out", "/proc/nowhere"]),
        Bad(declaration: vary, status: 69, message: "just build", arguments: ["--tool", "absent"]),
        Bad(declaration: vary, status: 64, message: "--sideways", arguments: ["--sideways"]),
        Bad(declaration: vary, status: 66, message: "no-such-file.toml", arguments: ["no-such-file.toml"]),
    ]

    @Test("Each mistake has its exit code and a message that names it and its line", arguments: mistakes)
    func refused(_ bad: Bad) throws {
        let shop = try ScratchFolder()
        try shop.write(bad.declaration, to: "bad.toml")
        let names = bad.arguments.contains { $0.hasSuffix(".toml") } ? [] : ["bad.toml"]
        let result = try shop.run(sweep() + names + bad.arguments)
        #expect(result.status == bad.status, "\(result.errors)")
        #expect(result.errors.contains(bad.message), "\(result.errors)")
        #expect(!result.errors.contains("Traceback"), "\(result.errors)")
        #expect(result.output.isEmpty)
        #expect(shop.list("logs").isEmpty, "nothing is begun")
    }

    @Test("A damaged journal is named by line and left alone; one that another sweep writes is not touched")
    func journal() throws {
        let shop = try ScratchFolder()
        try shop.write(Self.small, to: "s.toml")
        for damage in ["nonsense\n", "{}\n", "5\n", "{\"status\": 0}\n"] {
            try shop.write(damage, to: "o/sweep.jsonl")
            let result = try shop.run(sweep("s.toml", "--out", "o"))
            #expect(result.status == 66)
            #expect(result.errors.contains("o/sweep.jsonl, line 1 is damaged"), "\(result.errors)")
            #expect(try shop.text("o/sweep.jsonl") == damage)
        }
        try shop.write("", to: "o/sweep.jsonl")
        let file = open(shop.folder.appendingPathComponent("o/sweep.jsonl").path, O_RDWR)
        defer { close(file) }
        #expect(flock(file, LOCK_EX) == 0)
        let second = try shop.run(sweep("s.toml", "--out", "o"))
        #expect(second.status == 73)
        #expect(second.errors.contains("another sweep"), "\(second.errors)")
    }

    @Test("Weak figures are told: starved pcores, repeats far apart, several machines and builds")
    func weak() throws {
        let shop = try ScratchFolder()
        try shop.write(Self.small, to: "s.toml")
        #expect(try shop.run(sweep("s.toml", "--out", "o", "--quiet")).status == 0)
        func judged(_ change: (inout [String: Any], inout [String: Any]) -> Void) throws -> Tool.Result {
            let lines = try shop.text("o/sweep.jsonl").split(separator: "\n")
            let changed = try lines.dropFirst().map { line in
                var run = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
                var figures = try #require(run["figures"] as? [String: Any])
                figures["elapsed_s"] = 1
                figures["mbps"] = 1000
                figures["pcore_cpu_s"] = figures["cpus"]
                change(&run, &figures)
                run["figures"] = figures
                return String(decoding: try JSONSerialization.data(withJSONObject: run), as: UTF8.self)
            }
            try shop.write("\(lines[0])\n" + changed.map { $0 + "\n" }.joined(), to: "p/sweep.jsonl")
            return try shop.run(sweep("s.toml", "--out", "p", "--quiet"))
        }
        let sound = try judged { _, _ in }
        #expect(sound.status == 0)
        for word in ["weak", "repeats", "different"] { #expect(!sound.errors.contains(word), "\(sound.errors)") }
        let starved = try judged { run, figures in
            if run["repeat"] as? Int == 1 { (figures["pcore_cpu_s"], figures["producer_cpu_s"]) = (0.3, 0.1) }
        }
        #expect(starved.errors.contains("In 4 of 8 runs"), "\(starved.errors)")
        #expect(try shop.text("p/report.html").contains("In 4 of 8 runs"))
        let apart = try judged { run, figures in
            let settings = run["settings"] as? [String: Any]
            if run["repeat"] as? Int == 1, settings?["pcores"] as? Int == 2 { figures["mbps"] = 1400 }
        }
        #expect(apart.errors.contains("In 2 of 4 combinations the repeats differ"), "\(apart.errors)")
        let mixed = try judged { run, _ in
            if run["repeat"] as? Int == 1 { (run["build"], run["machine"]) = ("other", Self.machine) }
        }
        #expect(mixed.errors.contains("2 different machines or kernels"), "\(mixed.errors)")
        #expect(mixed.errors.contains("2 different builds"), "\(mixed.errors)")
        #expect(try shop.text("p/report.html").contains("Z80"))
    }

    static var machine: [String: Any] {
        ["cpu_model": "Z80", "cpus": 1, "kernel": "CP/M", "architecture": "z80", "memory_bytes": 65536]
    }

    @Test("A dry run prints the commands and does nothing; they are commands that run")
    func dryRun() throws {
        let shop = try ScratchFolder()
        try shop.write(Self.small, to: "s.toml")
        let result = try shop.run(sweep("s.toml", "--dry-run"))
        let commands = result.output.split(separator: "\n")
        #expect(result.status == 0 && commands.count == 8)
        #expect(shop.list("logs").isEmpty)
        let first = try #require(commands.first)
        #expect(try shop.run(["/bin/sh", "-c", String(first)]).status == 0)
    }

    @Test("The example that comes with the project is a good declaration")
    func example() throws {
        let shop = try ScratchFolder()
        let result = try shop.run(sweep("--dry-run"))
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output.contains("--prog=xor:255,add:7,counteq:0"))
    }
}
