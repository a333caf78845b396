// swift-tools-version: 6.3
//
// How another package uses PacketFS. Copy the lines that name it; `tests/package/run` builds this by path, as it stands here,
// and by tag, with the dependency written as
//
//     .package(url: "https://.../PacketFS", from: "0.1.0")
import PackageDescription

let package = Package(
    name: "consumer",
    dependencies: [
        .package(name: "PacketFS", path: "../..")
    ],
    targets: [
        // A program over a blob, with several processes.
        .executableTarget(
            name: "processes",
            dependencies: [
                .product(name: "PacketFSEngine", package: "PacketFS"),
                .product(name: "PacketFSMemory", package: "PacketFS"),
                .product(name: "PacketFSPCPU", package: "PacketFS"),
            ]),
        .executableTarget(
            name: "consumer",
            dependencies: [
                .product(name: "PacketFSMemory", package: "PacketFS"),
                .product(name: "PacketFSRing", package: "PacketFS"),
                .product(name: "PacketFSGram", package: "PacketFS"),
                .product(name: "PacketFSPCPU", package: "PacketFS"),
            ]),
    ],
    swiftLanguageModes: [.v6]
)
