import Foundation
import Testing
import ToolTesting

@testable import PacketFSTools

/// The one report type: what it makes of its figures.
@Suite struct ReportTests {
    private struct Inner: ReportObject {
        let name: String
        static var figures: [Figure<Self>] { Figure("name", "its name", \.name) }
    }

    private struct Sample: ReportObject {
        var bytes: UInt64 = 1 << 52
        var seed = UInt64.max
        var rate = 1.5
        var absent: Double?
        var flag: Bool? = false
        var text = "a,\"b\"\n/ü"
        var inner: Inner?
        var rows = [Inner(name: "x"), Inner(name: "y")]

        static var figures: [Figure<Self>] {
            Figure("bytes", "how many", \.bytes, label: "size") { "\($0.bytes) of them" }
            Figure("seed", "64 bits") { Word($0.seed) }
            Figure("rate_mb_per_s", "of them", \.rate) { _ in nil }
            Figure("absent", "not there", \.absent)
            Figure("flag", "or not", \.flag)
            Figure("text", "of any kind", \.text)
            Figure("inner", "one or none", \.inner)
            Figure("rows", "several", \.rows) { $0.rows.map { (label: "row", text: $0.name) } }
        }
    }

    private func document(_ sample: Sample) throws -> [String: Any] {
        let report = ToolReport(tool: "t", config: Inner(name: "c"), result: sample, warnings: ["w"])
        return try #require(try JSONSerialization.jsonObject(with: Data(report.json().utf8)) as? [String: Any])
    }

    @Test("JSON has every figure: null where absent, a string where all 64 bits count")
    func json() throws {
        var sample = Sample()
        let whole = try document(sample)
        #expect(Set(whole.keys) == ["schema_version", "tool", "version", "config", "machine", "result", "warnings"])
        #expect(whole["schema_version"] as? Int == 2 && whole["warnings"] as? [String] == ["w"])
        let machine = try #require(whole["machine"] as? [String: Any])
        #expect(Set(machine.keys) == ["cpu_model", "cpus", "kernel", "architecture", "memory_bytes"])
        let result = try #require(whole["result"] as? [String: Any])
        #expect(Set(result.keys) == Set(Sample.figures.map(\.key)))
        #expect(result["bytes"] as? UInt64 == 1 << 52 && result["seed"] as? String == "18446744073709551615")
        #expect(result["absent"] is NSNull && result["inner"] is NSNull && result["flag"] as? Bool == false)
        #expect(result["text"] as? String == sample.text)
        #expect((result["rows"] as? [[String: String]]) == [["name": "x"], ["name": "y"]])
        for rate in [Double.nan, .infinity, -.infinity] {
            sample.rate = rate
            #expect(
                (try document(sample)["result"] as? [String: Any])?["rate_mb_per_s"] is NSNull, "JSON knows no \(rate)")
        }
    }

    @Test("The summary has the figures that have a line, in their order")
    func summary() {
        #expect(
            Sample().summaryLines == ["  size        4503599627370496 of them", "  row         x", "  row         y"])
    }

    @Test("CSV quotes what it must, and has nothing where a value is absent")
    func csv() {
        #expect(Sample.header() == "bytes,seed,rate_mb_per_s,absent,flag,text,inner,rows")
        #expect(
            Sample.lines([Sample()])
                == "4503599627370496,18446744073709551615,1.5,,false,\"a,\"\"b\"\"\n/ü\",,\" \"\n"
                .replacing("\" \"", with: " "))
        #expect(Inner.lines([Inner(name: "a,b")], separator: "\t") == "a,b\n")
    }

    @Test("The table of fields reaches into objects and lists")
    func fields() {
        let table = ReportDescription("t", Inner.self, Sample.self).markdown
        for row in [
            "| `config.name` | its name |", "| `result.inner.name` | its name |", "| `result.rows[].name` | its name |",
        ] {
            #expect(table.contains(row), "\(table)")
        }
    }

    @Test("docs/report-fields.md is what the tools say", arguments: OptionTests.tools)
    func documentation(_ tool: String) throws {
        let page = try String(
            contentsOf: URL(fileURLWithPath: #filePath).deletingLastPathComponent()
                .appendingPathComponent("../../docs/report-fields.md"), encoding: .utf8)
        let said = try Tool(tool).run(["--report-fields"])
        #expect(said.status == 0 && said.output.hasPrefix("### \(tool)"), "\(said)")
        #expect(page.contains(said.output), "`utils/report-fields` writes the page anew")
        for line in said.output.split(separator: "\n") where line.hasPrefix("| `") {
            let key = line.split(separator: "`")[1].split(whereSeparator: { $0 == "." || $0 == "[" }).last ?? ""
            #expect(key.allSatisfy { $0.isLowercase || $0.isNumber || $0 == "_" || $0 == "]" }, "\(tool): \(line)")
        }
    }
}

/// The parsers of numbers.
@Suite struct NumberTests {
    private static let odd = [
        "", "x", "-1", "-9223372036854775808", "18446744073709551616", "99999999999999999999999", "nan", "inf", "+1",
        "0x1", " 1", "1 ",
        "1.5K", "K", "८", "1e400",
    ]

    @Test("Odd texts are no numbers", arguments: odd)
    func oddTexts(_ text: String) {
        #expect(throws: (any Error).self) { try NumberOption<Int>.whole("n", 0...100).parse(text) }
        #expect(throws: (any Error).self) { try NumberOption<UInt64>.seed.parse(text) }
        #expect(throws: (any Error).self) { try NumberOption<Int>.align.parse(text) }
        #expect(throws: (any Error).self) { try NumberOption<Int>.bytes("n", 0...1 << 44).parse(text) }
        if text != "0x1" {
            #expect(throws: (any Error).self) { try NumberOption<Double>.decimal("n", 0...100).parse(text) }
        }
    }

    @Test("Limits hold, and units multiply")
    func limits() throws {
        let small = NumberOption<Int>.whole("n", 1...4096)
        #expect(try small.parse("1") == 1 && small.parse("4096") == 4096)
        for text in ["0", "4097"] { #expect(throws: (any Error).self) { try small.parse(text) } }
        #expect(try NumberOption<UInt64>.seed.parse("18446744073709551615") == .max)
        let bytes = NumberOption<Int>.bytes("n", 1...1 << 40)
        #expect(try bytes.parse("1T") == 1 << 40 && bytes.parse("3M") == 3 << 20 && bytes.parse("12") == 12)
        for text in ["0", "2T", "1025G", "9223372036854775807K"] {
            #expect(throws: (any Error).self) { try bytes.parse(text) }
        }
        #expect(try NumberOption<Int>.align.parse("64") == 64)
        #expect(throws: (any Error).self) { try NumberOption<Int>.align.parse("48") }
        #expect(try NumberOption<Double>.duration.parse("0.5") == 0.5)
        for text in ["0", "86401"] {
            #expect(throws: (any Error).self) { try NumberOption<Double>.duration.parse(text) }
        }
        #expect([0, 1000, 1024, 3 << 20, 1 << 44].map(byteSize) == ["0", "1000", "1K", "3M", "16T"])
    }
}
