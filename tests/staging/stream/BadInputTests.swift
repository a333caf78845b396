import Foundation
import Testing
import ToolTesting

@Suite("pfs_stream_fastpath_tx and _rx: bad input", .serialized)
struct BadInputTests {
    struct Case: CustomTestStringConvertible {
        let arguments: [String]
        let status: Int32
        let message: String
        var testDescription: String { arguments.joined(separator: " ") }
    }

    static let transmitterCases: [Case] = [
        Case(arguments: ["--op", "sub"], status: 64, message: "\"sub\", is unknown"),
        Case(arguments: ["--op", "xor", "--imm", "256"], status: 64, message: "immediate \"256\""),
        Case(arguments: ["--op", "fnv", "--prog", "fnv"], status: 64, message: "exclude"),
        Case(arguments: ["--imm", "1"], status: 64, message: "--imm needs --op"),
        Case(arguments: ["--prog", ""], status: 64, message: "program is empty"),
        Case(arguments: ["--dev", "/dev/null"], status: 64, message: "--shm and --dev exclude"),
        Case(arguments: ["--dpf", "0"], status: 64, message: "'0' is invalid for '--dpf"),
        Case(arguments: ["--dpf", "65537"], status: 64, message: "'65537' is invalid for '--dpf"),
        Case(arguments: ["--align", "3"], status: 64, message: "'3' is invalid for '--align"),
        Case(arguments: ["--ring-pow2", "27"], status: 64, message: "'27' is invalid for '--ring-pow2"),
        Case(arguments: ["--ring-pow2=-1"], status: 64, message: "'-1' is invalid for '--ring-pow2"),
        Case(arguments: ["--ring-bytes", "0"], status: 64, message: "'0' is invalid for '--ring-bytes"),
        Case(arguments: ["--ring-bytes", "67000"], status: 64, message: "two records"),
        Case(arguments: ["--ring-bytes", "9223372036854775807"], status: 64, message: "--ring-bytes"),
        Case(arguments: ["--dpf", "65536"], status: 64, message: "--ring-bytes 2097152"),
        Case(arguments: ["--duration", "0"], status: 64, message: "--duration"),
        Case(arguments: ["--records", "0"], status: 64, message: "'0' is invalid for '--records"),
        Case(arguments: ["--blob-mb", "0"], status: 64, message: "'0' is invalid for '--blob-mb"),
        Case(arguments: ["--blob-mb", "16777216"], status: 69, message: "memory"),
        Case(arguments: ["--file", "/nonexistent"], status: 66, message: "/nonexistent"),
        Case(arguments: ["--file", "/usr/bin/bash", "--blob-mb", "1"], status: 64, message: "--blob-mb 2"),
        Case(arguments: ["--range-off", "1048576"], status: 64, message: "--range-off 1048576"),
        Case(arguments: ["--patience", "0"], status: 64, message: "'0' is invalid for '--patience"),
        Case(arguments: ["--patience", "nan"], status: 64, message: "--patience"),
        Case(arguments: ["--cpu", "4095"], status: 69, message: "CPU 4095"),
        Case(arguments: ["--blob", "../x"], status: 64, message: "blob"),
        Case(arguments: ["--blob", "x.pfs-ring"], status: 64, message: "name of a ring"),
        Case(arguments: ["--patience", "0.2"], status: 69, message: "no consumer came"),
    ]

    @Test("The transmitter", arguments: transmitterCases)
    func transmitterInput(_ expected: Case) throws {
        let place = try Place()
        let result = try place.tx(expected.arguments).finish()
        #expect(result.status == expected.status, "\(result)")
        #expect(result.errors.contains(expected.message), "\(result.errors)")
        #expect(try place.names == [])
    }

    static let receiverCases: [Case] = [
        Case(arguments: ["--dev", "/dev/null"], status: 64, message: "--shm and --dev exclude"),
        Case(arguments: ["--patience", "-1"], status: 64, message: "--patience"),
        Case(arguments: ["--patience", "0.2"], status: 69, message: "no producer came"),
        Case(arguments: ["--cpu", "4095"], status: 69, message: "CPU 4095"),
        Case(arguments: ["--records", "1"], status: 64, message: "--records"),
        Case(arguments: ["--blob", ""], status: 64, message: "blob"),
    ]

    @Test("The receiver", arguments: receiverCases)
    func receiverInput(_ expected: Case) throws {
        let result = try Place().rx(expected.arguments).finish()
        #expect(result.status == expected.status, "\(result)")
        #expect(result.errors.contains(expected.message), "\(result.errors)")
    }

    @Test(
        "Folders, devices and names that cannot be",
        arguments: [
            Case(arguments: ["--shm", "s", "--dir", "/nonexistent"], status: 66, message: "/nonexistent"),
            Case(arguments: ["--shm", "s", "--dir", "/usr"], status: 69, message: "/usr"),
            Case(arguments: ["--shm", ".."], status: 64, message: "ring"),
            Case(arguments: ["--shm", "s.pfs-blob"], status: 64, message: "name of a blob"),
            Case(arguments: ["--dev", "/nonexistent"], status: 69, message: "just kernel-load"),
            Case(arguments: ["--dev", "/dev/null"], status: 69, message: "not the device of pfs_fastpath"),
            Case(arguments: ["--dev", "/etc/passwd"], status: 69, message: "not the device of pfs_fastpath"),
        ])
    func places(_ expected: Case) throws {
        for tool in [transmitter, receiver] {
            if tool.path == receiver.path, expected.arguments.contains("/usr") { continue }  // nothing is made there
            let result = try tool.run(expected.arguments + ["--patience", "0.3"])
            let waited = result.status == 69 && result.errors.contains("no producer came")
            #expect(result.status == expected.status || waited, "\(tool.path) \(result)")
            #expect(result.errors.contains(expected.message) || waited, "\(result.errors)")
        }
    }

    @Test("A second transmitter and a second receiver are refused, and disturb nobody")
    func second() throws {
        let place = try Place()
        let tx = try place.tx("--duration", "100", "--dpf", "4", "--verify")
        let rx = try place.rx("--verify")
        try rx.await("receiving")
        let secondTransmitter = try place.tx("--records", "1").finish()
        #expect(secondTransmitter.status == 69, "\(secondTransmitter)")
        #expect(secondTransmitter.errors.contains("already has a producer"))
        let secondReceiver = try place.rx().finish()
        #expect(secondReceiver.status == 69, "\(secondReceiver)")
        #expect(secondReceiver.errors.contains("already has a consumer"))
        tx.signal(SIGINT)
        #expect(try tx.finish().status == 130)
        let result = try rx.finish()
        #expect(result.status == 0, "\(result)")
        #expect(try result.result()["verified"] as? Bool == true)
    }

    @Test("Blobs that are not what the two sides think")
    func blobs() throws {
        let place = try Place()
        // Under the ring's own name, and not left behind together with a ring: somebody's data.
        try Data(count: 4096).write(to: URL(fileURLWithPath: "\(place.path)/s.pfs-blob"))
        let taken = try place.tx("--records", "1").finish()
        #expect(taken.status == 73 && taken.errors.contains("exists already"), "\(taken)")
        #expect(try place.names == ["s.pfs-blob"])

        let filled = try place.tx("--records", "1", "--blob", "s", "--file", "/etc/passwd").finish()
        #expect(filled.status == 64 && filled.errors.contains("used as it is"), "\(filled)")

        // The two sides name different blobs.
        let tx = try place.tx("--duration", "100", "--blob", "one", "--blob-mb", "1")
        let rx = try place.rx("--blob", "s").finish()
        #expect(rx.status == 69 && rx.errors.contains("is not the blob that the producer uses"), "\(rx)")
        let sent = try tx.finish()
        #expect(sent.status == 71, "\(sent)")
        #expect(try place.names == ["s.pfs-blob"])
    }

    @Test("A file with the ring's name that is none")
    func noRing() throws {
        let place = try Place()
        for bytes in [Data(count: 8192), Data(repeating: 0xA5, count: 8192), Data()] {
            try bytes.write(to: URL(fileURLWithPath: "\(place.path)/s.pfs-ring"))
            for result in [try place.tx("--records", "1").finish(), try place.rx("--patience", "1").finish()] {
                #expect(result.status == 69, "\(result)")
                #expect(
                    result.errors.contains("s.pfs-ring") || result.errors.contains("descriptor"), "\(result.errors)")
            }
        }
    }
}
