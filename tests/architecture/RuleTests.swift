import Foundation
import Testing

/// The rules themselves, tried on made-up houses: each rule must find what it is for, and nothing in a sound house.
@Suite struct RuleTests {
    /// A small house in which every rule holds.
    static let sound = House(
        manifest: Manifest(
            targets: [
                .init("Ring", path: "src/packetfs/ring"),
                .init("Runner", path: "staging/runner", dependencies: ["Ring", "ArgumentParser"]),
                .init("tool", type: "executable", path: "staging/tool", dependencies: ["Runner"]),
                .init("probe", type: "executable", path: "dev/probe", dependencies: ["Runner", "Ring"]),
                .init("yeet", type: "executable", path: "full_apps/yeet", dependencies: ["Ring"]),
                .init("RingTests", type: "test", path: "tests/src/ring", dependencies: ["Ring", "tool"]),
                .init("Support", path: "tests/support"),
                .init(
                    "ToolTests", type: "test", path: "tests/staging/tool", dependencies: ["Runner", "tool", "Support"]),
            ],
            products: [
                .init("Ring", targets: ["Ring"], isExecutable: false),
                .init("tool", targets: ["tool"], isExecutable: true),
                .init("probe", targets: ["probe"], isExecutable: true),
                .init("yeet", targets: ["yeet"], isExecutable: true),
            ]),
        links: [
            "tool": "../.build/release/tool", "probe": "../.build/release/probe", "yeet": "../.build/release/yeet",
            "rare": "../.build/release/rare",
        ],
        executables: [
            .init(name: "tool", tier: "staging", needs: nil, description: "runs"),
            .init(name: "probe", tier: "dev", needs: nil, description: "probes"),
            .init(name: "yeet", tier: "full_apps", needs: nil, description: "sends"),
            .init(name: "rare", tier: "dev", needs: "dpdk", description: "exists where DPDK does"),
        ],
        topLevel: House.topLevelNames,
        components: [
            .init("Ring", path: "src/packetfs/ring", tier: "src", users: ["Runner", "probe", "yeet", "RingTests"]),
            .init("Runner", path: "staging/runner", tier: "staging", dependencies: ["Ring"], users: ["tool"]),
            .init("tool", kind: "executable", path: "staging/tool", tier: "staging", dependencies: ["Runner"]),
            .init("probe", kind: "executable", path: "dev/probe", tier: "dev", dependencies: ["Runner", "Ring"]),
            .init("yeet", kind: "executable", path: "full_apps/yeet", tier: "full_apps", dependencies: ["Ring"]),
            .init("rare", kind: "executable", path: "dev/rare", tier: "dev", needs: "dpdk"),
            .init("peek", kind: "module", path: "src/dev/kernel/peek", tier: "dev"),
        ])

    @Test func aReviewThatIsOverdueIsAWarning() {
        var house = Self.sound
        house.components[0] = .init("Ring", path: "src/packetfs/ring", tier: "src", reviewBy: "2026-05-04")
        #expect(house.warnings(today: "2026-05-04") == [])
        #expect(house.warnings(today: "2026-05-05") == ["src/packetfs/ring/TIER: was to be reviewed by 2026-05-04"])
        #expect(house.violations() == [])
    }

    @Test func aSoundHouseHasNoViolations() {
        #expect(Self.sound.violations() == [])
    }

    /// One change to the sound house, and what must be said about it.
    struct Break: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let expected: String
        let apply: @Sendable (inout House) -> Void

        init(_ testDescription: String, expect expected: String, apply: @escaping @Sendable (inout House) -> Void) {
            self.testDescription = testDescription
            self.expected = expected
            self.apply = apply
        }

        /// Adds a target of the made-up house.
        static func adding(_ target: @escaping @Sendable () -> Manifest.Target) -> @Sendable (inout House) -> Void {
            { house in
                house.manifest = Manifest(
                    targets: house.manifest.targets + [target()], products: house.manifest.products)
            }
        }
    }

    static let breaks: [Break] = [
        Break(
            "src on staging", expect: "target Bad of src depends on Runner of staging",
            apply: Break.adding { .init("Bad", path: "src/packetfs/bad", dependencies: ["Runner"]) }),
        Break(
            "src on dev", expect: "target Bad of src depends on probe of dev",
            apply: Break.adding { .init("Bad", path: "src/packetfs/bad", dependencies: ["probe"]) }),
        Break(
            "src on full_apps", expect: "target Bad of src depends on yeet of full_apps",
            apply: Break.adding { .init("Bad", path: "src/packetfs/bad", dependencies: ["yeet"]) }),
        Break(
            "staging on dev", expect: "target Bad of staging depends on probe of dev",
            apply: Break.adding { .init("Bad", path: "staging/bad", dependencies: ["probe"]) }),
        Break(
            "staging on kernel prototypes", expect: "target Bad of staging depends on Kernel of dev",
            apply: { house in
                Break.adding { .init("Kernel", path: "src/dev/kernel/tool") }(&house)
                Break.adding { .init("Bad", path: "staging/bad", dependencies: ["Kernel"]) }(&house)
            }),
        Break(
            "full_apps on staging", expect: "target Bad of full_apps depends on Runner of staging",
            apply: Break.adding { .init("Bad", path: "full_apps/bad", dependencies: ["Runner"]) }),
        Break(
            "a product on tests", expect: "target Bad of dev depends on test target Support",
            apply: Break.adding { .init("Bad", path: "dev/bad", dependencies: ["Support"]) }),
        Break(
            "a test of src that links staging", expect: "test target BadTests of src depends on Runner of staging",
            apply: Break.adding { .init("BadTests", type: "test", path: "tests/src/bad", dependencies: ["Runner"]) }),
        Break(
            "outside every tier", expect: "target Bad lies in lib/bad, outside every tier",
            apply: Break.adding { .init("Bad", path: "lib/bad") }),
        Break(
            "a name that only begins like a tier", expect: "target Bad lies in staging2/bad, outside every tier",
            apply: Break.adding { .init("Bad", path: "staging2/bad") }),
        Break(
            "climbing out of a tier", expect: "target Bad lies in staging/../lib, outside every tier",
            apply: Break.adding { .init("Bad", path: "staging/../lib") }),
        Break(
            "no path", expect: "target Bad lies in SwiftPM's default folder, outside every tier",
            apply: Break.adding { .init("Bad", path: nil) }),
        Break(
            "a test among the sources", expect: "target BadTests is a test target in src/packetfs/bad",
            apply: Break.adding { .init("BadTests", type: "test", path: "src/packetfs/bad") }),
        Break(
            "sources among the tests", expect: "target Bad is a regular target in tests/bad",
            apply: Break.adding { .init("Bad", path: "tests/bad") }),
        Break(
            "unsafe flags", expect: "target Bad uses unsafeFlags",
            apply: Break.adding { .init("Bad", path: "src/packetfs/bad", hasUnsafeFlags: true) }),
        Break(
            "an executable without a product", expect: "executable target bad has no product",
            apply: Break.adding { .init("bad", type: "executable", path: "dev/bad") }),
        Break(
            "a library product of staging", expect: "library product Runner offers Runner, which is not in src",
            apply: { house in
                house.manifest = Manifest(
                    targets: house.manifest.targets,
                    products: house.manifest.products + [.init("Runner", targets: ["Runner"], isExecutable: false)])
            }),
        Break("no bin link", expect: "no bin/tool", apply: { $0.links["tool"] = nil }),
        Break(
            "a link to the wrong place", expect: "bin/tool points to ../.build/debug/tool",
            apply: { $0.links["tool"] = "../.build/debug/tool" }),
        Break("a stray link", expect: "bin/old is the link of no executable", apply: { $0.links["old"] = "../x" }),
        Break(
            "no line in help", expect: "probe has no line in utils/executables.txt",
            apply: { $0.executables.removeAll { $0.name == "probe" } }),
        Break(
            "the wrong tier in help", expect: "utils/executables.txt puts tool in src; its target is in staging",
            apply: { $0.executables[0] = .init(name: "tool", tier: "src", needs: nil, description: "runs") }),
        Break(
            "no description", expect: "tool has no description",
            apply: { $0.executables[0] = .init(name: "tool", tier: "staging", needs: nil, description: "") }),
        Break(
            "a line twice", expect: "utils/executables.txt names an executable twice",
            apply: { $0.executables.append($0.executables[0]) }),
        Break(
            "a line for nothing", expect: "utils/executables.txt names gone, which Package.swift does not build",
            apply: { $0.executables.append(.init(name: "gone", tier: "dev", needs: nil, description: "was here")) }),
        Break(
            "no TIER file", expect: "target Runner has no TIER file",
            apply: { $0.components.removeAll { $0.name == "Runner" } }),
        Break(
            "a TIER file elsewhere", expect: "utils/tiers finds tool in staging/other, SwiftPM in staging/tool",
            apply: {
                $0.components[2] = .init(
                    "tool", kind: "executable", path: "staging/other", tier: "staging", dependencies: ["Runner"])
            }),
        Break(
            "a TIER file of another tier", expect: "staging/tool/TIER says dev",
            apply: {
                $0.components[2] = .init(
                    "tool", kind: "executable", path: "staging/tool", tier: "dev", dependencies: ["Runner"])
            }),
        Break(
            "a dependency that was overlooked", expect: "utils/tiers reads other dependencies of tool",
            apply: { $0.components[2] = .init("tool", kind: "executable", path: "staging/tool", tier: "staging") }),
        Break(
            "a user that is none", expect: "utils/tiers takes yeet for a user of Runner",
            apply: {
                $0.components[1] = .init(
                    "Runner", path: "staging/runner", tier: "staging", dependencies: ["Ring"], users: ["yeet"])
            }),
        Break(
            "a TIER file of nothing", expect: "dev/gone/TIER: Package.swift does not build gone",
            apply: { $0.components.append(.init("gone", path: "dev/gone", tier: "dev")) }),
        Break("an extra folder", expect: "lib does not belong at the root", apply: { $0.topLevel.insert("lib") }),
        Break(
            "a missing folder", expect: "theoretical is missing at the root",
            apply: { $0.topLevel.remove("theoretical") }),
    ]

    @Test(arguments: breaks) func eachBreakIsFound(_ change: Break) {
        var house = Self.sound
        change.apply(&house)
        #expect(house.violations().contains { $0.hasPrefix(change.expected) }, "found: \(house.violations())")
    }

    @Test func theTableOfExecutablesIsParsed() {
        let table = """
            # comment
            tool      staging  -     Runs things: fast.
            probe_x   dev      dpdk  Probes.

            short     dev
            """
        #expect(
            ExecutableLine.parse(table) == [
                .init(name: "tool", tier: "staging", needs: nil, description: "Runs things: fast."),
                .init(name: "probe_x", tier: "dev", needs: "dpdk", description: "Probes."),
                .init(name: "short", tier: "dev", needs: nil, description: ""),
            ])
    }

    @Test func aDumpedManifestIsRead() throws {
        let dump = """
            {"name": "X", "targets": [
                {"name": "A", "type": "regular", "path": "src/packetfs/a", "settings": [],
                 "dependencies": [{"byName": ["B", null]}, {"target": ["C", {"platformNames": ["linux"]}]},
                                  {"product": ["P", "other", null, null]}]},
                {"name": "B", "type": "test", "dependencies": [],
                 "settings": [{"tool": "c", "kind": {"unsafeFlags": {"_0": ["-march=native"]}}}]}],
             "products": [{"name": "a", "targets": ["A"], "type": {"executable": null}},
                          {"name": "b", "targets": ["B"], "type": {"library": ["automatic"]}}]}
            """
        let manifest = try JSONDecoder().decode(Manifest.self, from: Data(dump.utf8))
        #expect(manifest.targets.map(\.name) == ["A", "B"])
        #expect(manifest.targets[0].dependencies == ["B", "C"])
        #expect(manifest.targets[0].path == "src/packetfs/a")
        #expect(manifest.targets[1].path == nil)
        #expect(manifest.targets.map(\.hasUnsafeFlags) == [false, true])
        #expect(manifest.products.map(\.isExecutable) == [true, false])
    }
}
