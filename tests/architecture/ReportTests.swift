import Foundation
import Testing

/// `utils/test-report` decides whether a test run counts as passed: each way in which a run can go wrong must be noticed.
@Suite struct ReportTests {
    /// A made-up run: lines of an event stream, what `swift test` ended with, and what the report must make of it.
    struct Run: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let events: [String]
        var status = 0
        /// `passed failed skipped`
        let counts: String
        let exit: Int32
    }

    static func listed(_ test: String) -> String {
        #"{"kind": "test", "payload": {"kind": "function", "id": "\#(test)"}}"#
    }
    static func event(_ kind: String, _ test: String = "", symbol: String = "default", text: String = "") -> String {
        #"{"kind": "event", "payload": {"kind": "\#(kind)", "testID": "\#(test)", "#
            + #""messages": [{"symbol": "\#(symbol)", "text": "\#(text)"}]}}"#
    }
    static func skip(_ reason: String) -> [String] {
        [
            listed("t"), event("testSkipped", "t", symbol: "skip", text: #"Test t skipped: \"\#(reason)\""#),
            event("runEnded"),
        ]
    }
    static let passing = [listed("p"), event("testStarted", "p"), event("testEnded", "p", symbol: "pass")]

    static let runs: [Run] = [
        Run(testDescription: "one passes", events: passing + [event("runEnded")], counts: "1 0 0", exit: 0),
        Run(
            testDescription: "an issue",
            events: passing + [event("issueRecorded", "p", symbol: "fail", text: "no"), event("runEnded")], status: 1,
            counts: "0 1 0", exit: 1),
        Run(
            testDescription: "an issue outside any test",
            events: passing + [event("issueRecorded", "other", symbol: "fail", text: "no"), event("runEnded")],
            status: 1,
            counts: "1 1 0", exit: 1),
        Run(
            testDescription: "a crash",
            events: passing + [listed("c"), event("testStarted", "c"), listed("never"), #"{"kin"#], status: 1,
            counts: "1 2 0", exit: 2),
        Run(
            testDescription: "listed but not run", events: passing + [listed("n"), event("runEnded")],
            counts: "1 1 0", exit: 1),
        Run(
            testDescription: "a bad status that no test explains", events: passing + [event("runEnded")], status: 66,
            counts: "1 1 0", exit: 2),
        Run(testDescription: "no test at all", events: [event("runEnded")], counts: "0 1 0", exit: 2),
        Run(testDescription: "a build that failed", events: [], status: 1, counts: "0 1 0", exit: 2),
        Run(testDescription: "a skip for no known reason", events: skip("because"), counts: "0 1 0", exit: 1),
        Run(
            testDescription: "a skip that this machine explains", events: skip("needs /dev/no_such_device"),
            counts: "0 0 1", exit: 0),
        Run(
            testDescription: "a skip that this machine does not explain", events: skip("needs /dev/null"),
            counts: "0 1 0", exit: 1),
        Run(
            testDescription: "a skip for more CPUs than there can be", events: skip("needs 99999 CPUs"),
            counts: "0 0 1", exit: 0),
        Run(testDescription: "a skip for one CPU", events: skip("needs 1 CPUs"), counts: "0 1 0", exit: 1),
        Run(
            testDescription: "a skip for more huge pages than there can be", events: skip("needs 99999999 huge pages"),
            counts: "0 0 1", exit: 0),
        Run(
            testDescription: "a skip for no huge page at all", events: skip("needs 0 huge pages"), counts: "0 1 0",
            exit: 1),
        Run(
            testDescription: "a skip for the sanitizer in a run without it",
            events: skip("not under the thread sanitizer"),
            counts: "0 1 0", exit: 1),
        Run(
            testDescription: "a skip for the right user",
            events: skip(getuid() == 0 ? "needs an unprivileged user" : "needs root"),
            counts: "0 0 1", exit: 0),
        Run(
            testDescription: "a skip for the wrong user",
            events: skip(getuid() == 0 ? "needs root" : "needs an unprivileged user"),
            counts: "0 1 0", exit: 1),
        Run(
            testDescription: "a test that ends itself with a reason that holds",
            events: [
                listed("t"), event("testStarted", "t"), event("testCaseCancelled", "t"),
                event(
                    "testEnded", "t", symbol: "skip",
                    text: #"Test t was cancelled after 0.1 seconds: \"needs 99999 CPUs\""#),
                event("runEnded"),
            ], counts: "0 0 1", exit: 0),
        Run(
            testDescription: "a case that ends itself without telling",
            events: [
                listed("t"), event("testStarted", "t"), event("testCaseCancelled", "t"),
                event("testEnded", "t", symbol: "pass"), event("runEnded"),
            ], counts: "0 1 0", exit: 1),
    ]

    @Test(arguments: runs) func isJudged(_ run: Run) throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
            "packetfs-report-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let events = folder.appendingPathComponent("events")
        if !run.events.isEmpty {
            try Data(run.events.joined(separator: "\n").utf8).write(to: events)
        }
        let counts = folder.appendingPathComponent("counts")

        let (status, output) = try capture(
            ["utils/test-report", events.path, "--status", "\(run.status)", "--counts", counts.path],
            in: ArchitectureTests.root)
        let printed = String(decoding: output, as: UTF8.self)
        #expect(status == run.exit, "it printed: \(printed)")
        #expect(try String(contentsOf: counts, encoding: .utf8) == run.counts + "\n", "it printed: \(printed)")
    }
}
