/// A floor of the house: where its targets live and what they may depend on (docs/architecture.md has the table).
enum Tier: String, CaseIterable {
    case src, staging, dev
    case fullApps = "full_apps"
    case tests

    /// Folders in which the tier's targets live, relative to the root.
    var folders: [String] {
        switch self {
        case .src: ["src/packetfs"]
        case .staging: ["staging"]
        // The kernel prototypes live beside the headers that they share with src, but belong to dev.
        case .dev: ["dev", "src/dev"]
        case .fullApps: ["full_apps"]
        case .tests: ["tests"]
        }
    }

    /// The tiers that a target of this tier may depend on.
    var mayDependOn: Set<Tier> {
        switch self {
        case .src: [.src]
        case .staging: [.src, .staging]
        case .dev: [.src, .staging, .dev]
        case .fullApps: [.src, .fullApps]
        case .tests: Set(Tier.allCases)
        }
    }

    /// The tier whose folder holds `path`, or nil.
    init?(path: String) {
        guard let tier = Tier.allCases.first(where: { $0.folders.contains { path.isInside($0) } }) else { return nil }
        self = tier
    }
}

/// A line of `utils/executables.txt`.
struct ExecutableLine: Equatable {
    let name: String
    let tier: String
    /// What the machine must offer for the product to exist at all; nil for products that always exist.
    let needs: String?
    let description: String

    /// Parses a table: `name tier needs description`, blank-separated, `-` for no need; `#` starts a comment line.
    static func parse(_ text: String) -> [ExecutableLine] {
        text.split(separator: "\n").filter { !$0.hasPrefix("#") }.compactMap { line in
            let words = line.split(separator: " ", maxSplits: 3, omittingEmptySubsequences: true)
            guard let name = words.first else { return nil }
            return ExecutableLine(
                name: String(name),
                tier: words.count > 1 ? String(words[1]) : "",
                needs: words.count > 2 && words[2] != "-" ? String(words[2]) : nil,
                description: words.count > 3 ? String(words[3].trimmingBlanks) : "")
        }
    }
}

/// Everything that the rules look at, so that they can be tried on made-up houses.
struct House {
    var manifest: Manifest
    /// `bin/` links by name, with the path that each points to.
    var links: [String: String]
    /// What `just help` prints from.
    var executables: [ExecutableLine]
    /// Names at the root of the tree, without dotfiles.
    var topLevel: Set<String>
    /// What has a TIER file.
    var components: [Component]

    /// The names that may and must stand at the root.
    static let topLevelNames: Set<String> = [
        "Package.swift", "Justfile", "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md",
        "src", "staging", "dev", "full_apps", "utils", "bin", "tests", "theoretical", "docs",
    ]
}

extension House {
    /// Every broken rule, as a sentence that says what is wrong and what to do; empty if the house stands.
    func violations() -> [String] {
        tierViolations() + productViolations() + componentViolations() + topLevelViolations()
    }

    private func tierViolations() -> [String] {
        var found: [String] = []
        let targets = Dictionary(manifest.targets.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        for target in manifest.targets {
            if target.hasUnsafeFlags {
                found.append("target \(target.name) uses unsafeFlags: nobody could depend on the package any more")
            }
            guard let path = target.path, let tier = Tier(path: path) else {
                found.append(
                    "target \(target.name) lies in \(target.path ?? "SwiftPM's default folder"), outside every tier: "
                        + "give it a path under src/packetfs, staging, dev, full_apps or tests")
                continue
            }
            // What suites share stands in a library of its own.
            if (target.type == "test") != (tier == .tests), !path.isInside("tests/support") {
                found.append(
                    "target \(target.name) is a \(target.type) target in \(path): tests, and only tests, live in tests/"
                )
            }
            for name in target.dependencies {
                guard let dependency = targets[name], let below = dependency.path.flatMap(Tier.init(path:)) else {
                    continue
                }
                if below == .tests && tier != .tests {
                    found.append("target \(target.name) of \(tier.rawValue) depends on test target \(name)")
                } else if !tier.mayDependOn.contains(below) {
                    found.append(
                        "target \(target.name) of \(tier.rawValue) depends on \(name) of \(below.rawValue): "
                            + "promote \(name) first, or move \(target.name)")
                } else if let tested = Tier(testPath: path), dependency.type != "executable", below != .tests,
                    !tested.mayDependOn.contains(below)
                {
                    // Executables are instruments: a test of src may drive a runner, but not link a staging library.
                    found.append(
                        "test target \(target.name) of \(tested.rawValue) depends on \(name) of \(below.rawValue)")
                }
            }
        }
        return found
    }

    private func productViolations() -> [String] {
        var found: [String] = []
        let targets = Dictionary(manifest.targets.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        func tier(of target: String) -> Tier? { targets[target]?.path.flatMap(Tier.init(path:)) }

        let lines = Dictionary(executables.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        if lines.count != executables.count {
            found.append("utils/executables.txt names an executable twice")
        }
        let products = Set(manifest.products.filter(\.isExecutable).map(\.name))
        for target in manifest.targets where target.type == "executable" {
            if tier(of: target.name) != .tests
                && !manifest.products.contains(where: { $0.isExecutable && $0.targets.contains(target.name) })
            {
                found.append(
                    "executable target \(target.name) has no product: add .executable(name:targets:) to Package.swift")
            }
        }
        for product in manifest.products {
            guard product.isExecutable else {
                for target in product.targets where tier(of: target) != .src {
                    found.append(
                        "library product \(product.name) offers \(target), which is not in src: only src has a stable API"
                    )
                }
                continue
            }
            let expected = "../.build/release/\(product.name)"
            switch links[product.name] {
            case nil: found.append("no bin/\(product.name): ln -s \(expected) bin/\(product.name)")
            case expected: break
            case let other?: found.append("bin/\(product.name) points to \(other), not to \(expected)")
            }
            guard let line = lines[product.name] else {
                found.append("\(product.name) has no line in utils/executables.txt, so `just help` cannot describe it")
                continue
            }
            let actual = product.targets.compactMap(tier(of:)).first?.rawValue ?? "no tier"
            if line.tier != actual {
                found.append("utils/executables.txt puts \(product.name) in \(line.tier); its target is in \(actual)")
            }
        }
        for line in executables {
            if line.description.isEmpty {
                found.append("\(line.name) has no description in utils/executables.txt")
            }
            if line.needs == nil && !products.contains(line.name) {
                found.append("utils/executables.txt names \(line.name), which Package.swift does not build")
            }
        }
        for name in links.keys.sorted() where lines[name] == nil && !products.contains(name) {
            found.append("bin/\(name) is the link of no executable: remove it, or add its product")
        }
        return found
    }

    private func topLevelViolations() -> [String] {
        topLevel.subtracting(House.topLevelNames).sorted().map { "\($0) does not belong at the root of the tree" }
            + House.topLevelNames.subtracting(topLevel).sorted().map { "\($0) is missing at the root of the tree" }
    }
}

extension Tier {
    /// The tier that a test folder `tests/<tier>/...` tests, or nil for tests of the house itself.
    init?(testPath path: String) {
        guard path.isInside("tests") else { return nil }
        let parts = path.split(separator: "/")
        guard parts.count > 1, let tier = Tier(rawValue: String(parts[1])), tier != .tests else { return nil }
        self = tier
    }
}

extension StringProtocol {
    /// Whether this path is `folder` or lies in it, and does not climb out again.
    func isInside(_ folder: String) -> Bool {
        (self == folder || hasPrefix(folder + "/")) && !split(separator: "/").contains("..")
    }

    /// The text without leading and trailing blanks.
    var trimmingBlanks: SubSequence {
        let tail = drop { $0 == " " }
        guard let last = tail.lastIndex(where: { $0 != " " }) else { return tail }
        return tail[...last]
    }
}
