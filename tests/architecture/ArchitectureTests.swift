import Foundation
import Testing

/// The rules for this tree.
@Suite struct ArchitectureTests {
    static let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    /// Where targets lie, what they depend on, products, links in `bin`, and what components.toml says:
    /// utils/lib/components.py has the rules, and tests/promotion breaks each.
    @Test func theTreeFollowsItsRules() throws {
        let (status, output) = try capture(["utils/tiers"], in: Self.root)
        #expect(status == 0, "run utils/tiers")
        #expect(!output.isEmpty)
    }

    /// The document's command lines start with `dev/wip/native/NAME`: each such path leads through `bin/`.
    @Test func documentedCommandPathsLeadToTheProducts() throws {
        let folder = Self.root.appendingPathComponent("dev/wip/native")
        let links = try FileManager.default.links(in: folder)
        #expect(links["pfs_proc_pcores"] == "../../../bin/pfs_proc_pcores")
        for name in ["pfs_stream_fastpath_tx", "pfs_stream_fastpath_rx"] {
            #expect(links[name] == "../../../bin/\(name)")
        }
        for (name, destination) in links {
            #expect(destination == "../../../bin/\(name)")
        }
    }

    /// 256 processes start the libraries and runners; Foundation would cost each of them its start-up time. Tools, and the
    /// library that they share, may use its small part without ICU, FoundationEssentials, for JSON: swift-argument-parser
    /// links it into them anyway.
    @Test(arguments: ["src", "staging", "dev", "full_apps"])
    func noFoundationIn(_ folder: String) throws {
        let sources = try trackedFiles(in: folder).filter { $0.hasSuffix(".swift") }
        #expect(!sources.isEmpty || ["dev", "full_apps"].contains(folder))
        for path in sources {
            let source = try String(contentsOf: Self.root.appendingPathComponent(path), encoding: .utf8)
            let mayEncode = !path.hasPrefix("src/") || path.hasPrefix("src/packetfs/tools/")
            let forbidden = mayEncode ? "import Foundation\n" : "import Foundation"
            #expect(!source.contains(forbidden), "\(path): use Glibc, SystemPackage or the shims instead")
        }
    }

    /// Every C file says its licence in its first line: kernel code and the rest differ.
    @Test func everyCFileStatesItsLicence() throws {
        let sources = try trackedFiles(in: ".").filter { $0.hasSuffix(".c") || $0.hasSuffix(".h") }
        #expect(!sources.isEmpty)
        for path in sources {
            let source = try String(contentsOf: Self.root.appendingPathComponent(path), encoding: .utf8)
            let first = source.split(separator: "\n", maxSplits: 1).first ?? ""
            #expect(first.contains("SPDX-License-Identifier:"), "\(path)")
            if path.hasPrefix("src/dev/kernel/") {
                #expect(first.contains("GPL-2.0"), "\(path)")
            }
        }
    }
}

/// The files of the tree below `folder` that git knows or would add, so that build output does not count.
private func trackedFiles(in folder: String) throws -> [String] {
    let listing = try run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", folder], in: ArchitectureTests.root)
    return String(decoding: listing, as: UTF8.self).split(separator: "\n").map(String.init).filter {
        // A file that was deleted but not yet committed is still listed.
        (try? FileManager.default.attributesOfItem(atPath: ArchitectureTests.root.appendingPathComponent($0).path))
            != nil
    }
}

extension FileManager {
    /// The symbolic links in `folder` by name, with their destinations as written.
    fileprivate func links(in folder: URL) throws -> [String: String] {
        var links: [String: String] = [:]
        for name in try contentsOfDirectory(atPath: folder.path) {
            links[name] = try? destinationOfSymbolicLink(atPath: folder.appendingPathComponent(name).path)
        }
        return links
    }
}
