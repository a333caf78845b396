import Foundation

/// A component of the house as its TIER file and `utils/tiers --json` tell it.
struct Component: Decodable {
    let name: String
    /// `library`, `executable`, `system` or `module` (of the kernel).
    let kind: String
    /// The folder that the TIER file stands in.
    let path: String
    let tier: String
    /// Targets of this package that it depends on, and the other way round, as read from the text of Package.swift.
    let dependencies: [String], users: [String]
    /// What the machine must offer for it to be built at all.
    let needs: String?
    /// The day by which somebody should have looked at it again, as 2026-01-31.
    let reviewBy: String

    private enum CodingKeys: String, CodingKey {
        case name, kind, path, tier, dependencies, users, needs
        case reviewBy = "review-by"
    }

    init(
        _ name: String, kind: String = "library", path: String, tier: String, dependencies: [String] = [],
        users: [String] = [], needs: String? = nil, reviewBy: String = "2999-12-31"
    ) {
        self.name = name
        self.kind = kind
        self.path = path
        self.tier = tier
        self.dependencies = dependencies
        self.users = users
        self.needs = needs
        self.reviewBy = reviewBy
    }

    /// The components of the package at `root`; throws if a TIER file is wrong, with every mistake on standard error.
    static func all(root: URL) throws -> [Component] {
        struct Document: Decodable {
            let components: [Component]
        }
        return try JSONDecoder().decode(Document.self, from: run(["utils/tiers", "--json"], in: root)).components
    }
}

extension House {
    /// TIER files, folders and Package.swift as SwiftPM evaluates it must tell the same.
    func componentViolations() -> [String] {
        var found: [String] = []
        let components = Dictionary(components.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        let targets = Dictionary(manifest.targets.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        for target in manifest.targets where target.path.flatMap(Tier.init(path:)).map({ $0 != .tests }) ?? false {
            guard let component = components[target.name] else {
                found.append("target \(target.name) has no TIER file: docs/promotion-checklist.md says what goes in it")
                continue
            }
            if component.path != target.path {
                found.append("utils/tiers finds \(target.name) in \(component.path), SwiftPM in \(target.path ?? "")")
            }
            // What this machine lacks is not in the manifest as evaluated here.
            let dependencies = component.dependencies.filter { targets[$0] != nil }
            if Set(dependencies) != Set(target.dependencies).intersection(targets.keys) {
                found.append(
                    "utils/tiers reads other dependencies of \(target.name) from Package.swift than SwiftPM: \(dependencies)"
                )
            }
            for user in component.users where targets[user].map({ !$0.dependencies.contains(target.name) }) ?? false {
                found.append("utils/tiers takes \(user) for a user of \(target.name), SwiftPM does not")
            }
        }
        for component in self.components {
            if Tier(path: component.path)?.rawValue != component.tier {
                found.append("\(component.path)/TIER says \(component.tier), which is not the tier of its folder")
            }
            if component.kind != "module", targets[component.name] == nil, component.needs == nil {
                found.append("\(component.path)/TIER: Package.swift does not build \(component.name)")
            }
        }
        return found
    }

    /// What should be looked at, though nothing is broken: reviews that were due before `today` (as 2026-01-31).
    func warnings(today: String) -> [String] {
        components.filter { $0.reviewBy < today }.map { "\($0.path)/TIER: was to be reviewed by \($0.reviewBy)" }
    }
}
