// swift-tools-version: 6.3
//
// Every target, grouped by tier. A tier may depend on itself and on the tiers above it in this file, never downwards
// (`utils/tiers` checks that). components.toml says how mature each target is.
import Foundation
import PackageDescription

// What not every machine has; its targets and products are at the end of each list. `utils/tiers` asks for all of them.
func has(_ files: String...) -> Bool {
    ProcessInfo.processInfo.environment["PACKETFS_ALL_TARGETS"] == "yes"
        || files.contains { FileManager.default.fileExists(atPath: $0) }
}
let hasDPDK = has("/usr/include/dpdk/rte_ethdev.h")
let hasSIMDe = has("/usr/include/simde/x86/avx512.h")
let hasMPI = has(
    "/usr/lib/x86_64-linux-gnu/openmpi/include/mpi.h", "/usr/lib/aarch64-linux-gnu/openmpi/include/mpi.h")

let swift: [SwiftSetting] = [.treatAllWarnings(as: .error)]
let c: [CSetting] = [
    .treatAllWarnings(as: .error), .enableWarning("all"), .enableWarning("extra"), .define("_GNU_SOURCE"),
]

let argumentParser: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
let systemPackage: Target.Dependency = .product(name: "SystemPackage", package: "swift-system")

// src: production libraries with a stable API.
let src: [Target] = [
    .systemLibrary(name: "PacketFSUAPI", path: "src/packetfs/uapi"),
    .systemLibrary(
        name: "CNuma", path: "src/packetfs/numa", pkgConfig: "numa", providers: [.apt(["libnuma-dev"])]),
    .target(name: "CPacketFSShims", path: "src/packetfs/shims", cSettings: c),
    .target(
        name: "PacketFSMemory", dependencies: ["CNuma", "CPacketFSShims", systemPackage],
        path: "src/packetfs/memory",
        // Lifetimes: properties that return RawSpan and MutableRawSpan; concerns this module alone, not its clients.
        swiftSettings: swift + [.enableExperimentalFeature("Lifetimes")]),
    .target(
        name: "PacketFSRing", dependencies: ["PacketFSUAPI", "CPacketFSShims", systemPackage],
        path: "src/packetfs/ring", swiftSettings: swift),
    .target(name: "CPacketFSGram", path: "src/packetfs/gram_isa", cSettings: c),
    .target(
        name: "PacketFSGram", dependencies: ["CPacketFSGram"], path: "src/packetfs/gram", swiftSettings: swift),
    .target(name: "CPacketFSKernels", path: "src/packetfs/pcpu_isa", cSettings: c),
    .target(
        name: "PacketFSPCPU", dependencies: ["CPacketFSKernels", "PacketFSGram"],
        path: "src/packetfs/pcpu", swiftSettings: swift),
    // The libraries for C: the header, and the shared library libpacketfs that implements it.
    .systemLibrary(name: "CPacketFS", path: "src/packetfs/c/include"),
    .target(
        name: "PacketFSC",
        dependencies: [
            "CPacketFS", "PacketFSMemory", "PacketFSRing", "PacketFSGram", "PacketFSPCPU", systemPackage,
        ],
        path: "src/packetfs/c/api", swiftSettings: swift),
    // What engine and tools need of the system: clocks, CPUs, signals, child processes.
    .target(
        name: "PacketFSProcess", dependencies: ["CPacketFSShims", systemPackage], path: "src/packetfs/process",
        swiftSettings: swift),
    // A program over a blob or a file, with many processes.
    .target(
        name: "PacketFSEngine",
        dependencies: [
            "PacketFSProcess", "PacketFSMemory", "PacketFSRing", "PacketFSGram", "PacketFSPCPU",
            "CPacketFSShims", systemPackage,
        ],
        path: "src/packetfs/engine", swiftSettings: swift),
    // What every command-line tool has in common: errors and exit codes, the JSON frame, signals, CPUs.
    .target(
        name: "PacketFSTools",
        dependencies: [
            "CPacketFS", "PacketFSProcess", "PacketFSEngine", "PacketFSMemory", "PacketFSGram", "PacketFSPCPU",
            "CPacketFSShims", argumentParser, systemPackage,
        ],
        path: "src/packetfs/tools", swiftSettings: swift),
    // What network runners have in common: making frames, counting and executing those that arrive.
    .target(
        name: "PacketFSNet", dependencies: ["PacketFSGram", "PacketFSPCPU", "PacketFSMemory"],
        path: "src/packetfs/net", swiftSettings: swift),
    // Their options, runs and reports.
    .target(
        name: "PacketFSNetTools",
        dependencies: [
            "PacketFSNet", "PacketFSTools", "PacketFSGram", "PacketFSPCPU", "PacketFSMemory", argumentParser,
            systemPackage,
        ],
        path: "src/packetfs/nettools", swiftSettings: swift),
]

// staging: runners and benchmarks that are almost stable.
let staging: [Target] = [
    // What pfs_proc_pcores and the stream tools share: configuration, samples and progress of runs over random records.
    .target(
        name: "RandomRuns",
        dependencies: [
            "PacketFSEngine", "PacketFSTools", "PacketFSMemory", "PacketFSGram", "PacketFSPCPU", systemPackage,
        ],
        path: "staging/random_runs", swiftSettings: swift),
    .executableTarget(
        name: "pfs_proc_pcores",
        dependencies: [
            "RandomRuns", "PacketFSEngine", "PacketFSTools", "PacketFSMemory", "PacketFSRing", "PacketFSGram",
            "PacketFSPCPU", argumentParser, systemPackage,
        ],
        path: "staging/pfs_proc_pcores", swiftSettings: swift),
    // What pfs_apply and pfs_mpi_apply share: options, files, digests, the report.
    .target(
        name: "ApplyTool",
        dependencies: [
            "PacketFSEngine", "PacketFSTools", "PacketFSMemory", "PacketFSRing", "PacketFSGram", "PacketFSPCPU",
            "CPacketFSShims", argumentParser, systemPackage,
        ],
        path: "staging/apply", swiftSettings: swift),
    .executableTarget(
        name: "pfs_apply",
        dependencies: ["ApplyTool", "PacketFSEngine", "PacketFSTools", "PacketFSPCPU", argumentParser, systemPackage],
        path: "staging/pfs_apply", swiftSettings: swift),
    // Both ends of a stream between two processes, and the command line that they share.
    .target(
        name: "StreamTool",
        dependencies: [
            "RandomRuns", "PacketFSEngine", "PacketFSTools", "PacketFSMemory", "PacketFSRing", "PacketFSGram",
            "PacketFSPCPU", "CPacketFSShims", argumentParser, systemPackage,
        ],
        path: "staging/stream/shared", swiftSettings: swift),
    .executableTarget(
        name: "pfs_stream_fastpath_tx",
        dependencies: ["StreamTool", "PacketFSTools", "PacketFSMemory", "PacketFSPCPU", argumentParser, systemPackage],
        path: "staging/stream/pfs_stream_fastpath_tx", swiftSettings: swift),
    .executableTarget(
        name: "pfs_stream_fastpath_rx", dependencies: ["StreamTool", "PacketFSTools", argumentParser],
        path: "staging/stream/pfs_stream_fastpath_rx", swiftSettings: swift),
    .executableTarget(
        name: "pfs_shm_ring_bench",
        dependencies: [
            "PacketFSTools", "PacketFSRing", "PacketFSMemory", "CPacketFSShims", argumentParser, systemPackage,
        ],
        path: "staging/pfs_shm_ring_bench",
        // The peers are compiled at run time, where their headers are installed.
        resources: [.embedInCode("peers.txt")], swiftSettings: swift),
    .executableTarget(
        name: "pfs_pcpu_bench",
        dependencies: [
            "PacketFSTools", "PacketFSMemory", "PacketFSGram", "PacketFSPCPU", systemPackage, argumentParser,
        ],
        path: "staging/pfs_pcpu_bench", exclude: ["kernels.c", "plot.gp"],
        // The C loops that it compares with are compiled when it runs.
        resources: [.embedInCode("peer.c")], swiftSettings: swift),
    .executableTarget(
        name: "pfs_ctl",
        dependencies: ["PacketFSTools", "PacketFSRing", "PacketFSMemory", argumentParser, systemPackage],
        path: "staging/pfs_ctl", swiftSettings: swift),
]

// dev: prototypes and probes.
let dev: [Target] = [
    .systemLibrary(
        name: "CXDP", path: "dev/afxdp/cxdp", pkgConfig: "libxdp", providers: [.apt(["libxdp-dev", "libbpf-dev"])]),
    .target(
        name: "PacketFSXDP",
        dependencies: [
            "CXDP", "PacketFSNet", "PacketFSNetTools", "PacketFSTools", "PacketFSMemory", "CPacketFSShims",
            argumentParser,
            systemPackage,
        ],
        path: "dev/afxdp/xdp", swiftSettings: swift),
    .executableTarget(
        name: "pfs_afxdp_probe",
        dependencies: ["PacketFSXDP", "PacketFSNet", "PacketFSTools", "PacketFSGram", argumentParser, systemPackage],
        path: "dev/afxdp/pfs_afxdp_probe", swiftSettings: swift),
    .executableTarget(
        name: "pfs_afxdp_tx",
        dependencies: [
            "PacketFSXDP", "PacketFSNet", "PacketFSNetTools", "PacketFSTools", "PacketFSGram", argumentParser,
        ],
        path: "dev/afxdp/pfs_afxdp_tx", swiftSettings: swift),
    .executableTarget(
        name: "pfs_afxdp_rx",
        dependencies: [
            "PacketFSXDP", "PacketFSNet", "PacketFSNetTools", "PacketFSTools", "PacketFSGram", "PacketFSMemory",
            argumentParser, systemPackage,
        ],
        path: "dev/afxdp/pfs_afxdp_rx", swiftSettings: swift),
    .executableTarget(
        name: "pfs_ringpeek_ctl",
        dependencies: ["PacketFSTools", "PacketFSUAPI", "CPacketFSShims", argumentParser, systemPackage],
        path: "dev/pfs_ringpeek_ctl", swiftSettings: swift),
]

// The tools over DPDK, where libdpdk-dev is installed.
let dpdk: [Target] = [
    .target(
        name: "CPacketFSDPDK", path: "dev/dpdk/shim",
        // Links to where Debian keeps the headers: SwiftPM looks for headers inside the package only, and cannot parse
        // libdpdk.pc, which asks for a processor by -march. The shim says what it needs of that.
        cSettings: c + ["dpdk", "x86_64", "aarch64"].map { .headerSearchPath("../headers/\($0)") },
        linkerSettings: ["rte_ethdev", "rte_mbuf", "rte_mempool", "rte_eal"].map { .linkedLibrary($0) }),
    .target(
        name: "PacketFSDPDK",
        dependencies: [
            "CPacketFSDPDK", "PacketFSNet", "PacketFSNetTools", "PacketFSTools", "PacketFSGram", "CPacketFSShims",
            argumentParser, systemPackage,
        ],
        path: "dev/dpdk/port", swiftSettings: swift),
    .executableTarget(
        name: "pfs_dpdk_probe", dependencies: ["PacketFSDPDK", "PacketFSTools", argumentParser, systemPackage],
        path: "dev/dpdk/pfs_dpdk_probe", swiftSettings: swift),
    .executableTarget(
        name: "pfs_dpdk_tx",
        dependencies: [
            "PacketFSDPDK", "PacketFSNet", "PacketFSNetTools", "PacketFSTools", "PacketFSMemory", argumentParser,
            systemPackage,
        ],
        path: "dev/dpdk/pfs_dpdk_tx", swiftSettings: swift),
    .executableTarget(
        name: "pfs_dpdk_rx",
        dependencies: [
            "PacketFSDPDK", "PacketFSNet", "PacketFSNetTools", "PacketFSTools", "PacketFSMemory", argumentParser,
            systemPackage,
        ],
        path: "dev/dpdk/pfs_dpdk_rx", swiftSettings: swift),
]

// full_apps: complete applications.
let fullApps: [Target] = [
    .target(
        name: "OsvYeet",
        dependencies: [
            "PacketFSNetTools", "PacketFSNet", "PacketFSGram", "PacketFSTools", "CPacketFSShims", systemPackage,
        ],
        path: "full_apps/osv-yeet/paths", swiftSettings: swift),
    .executableTarget(
        name: "yeet_afp_tx",
        dependencies: ["OsvYeet", "PacketFSNetTools", "PacketFSNet", "PacketFSTools", argumentParser],
        path: "full_apps/osv-yeet/yeet_afp_tx", swiftSettings: swift),
    .executableTarget(
        name: "yeet_afp_rx",
        dependencies: [
            "OsvYeet", "PacketFSNetTools", "PacketFSNet", "PacketFSGram", "PacketFSMemory", "PacketFSPCPU",
            "PacketFSTools", "CPacketFSShims", argumentParser, systemPackage,
        ],
        path: "full_apps/osv-yeet/yeet_afp_rx", swiftSettings: swift),
    .executableTarget(
        name: "yeet_udp_tx",
        dependencies: ["OsvYeet", "PacketFSNetTools", "PacketFSNet", "PacketFSGram", "PacketFSTools", argumentParser],
        path: "full_apps/osv-yeet/yeet_udp_tx", swiftSettings: swift),
    .executableTarget(
        name: "yeet_udp_rx",
        dependencies: [
            "OsvYeet", "PacketFSNetTools", "PacketFSNet", "PacketFSTools", argumentParser, systemPackage,
        ],
        path: "full_apps/osv-yeet/yeet_udp_rx", swiftSettings: swift),
]

// The application on MPI, where libopenmpi-dev is installed.
let mpi: [Target] = [
    .systemLibrary(
        name: "CMPI", path: "full_apps/pfs-mpi/cmpi", pkgConfig: "ompi-c", providers: [.apt(["libopenmpi-dev"])]),
    .target(name: "CPacketFSMPI", dependencies: ["CMPI"], path: "full_apps/pfs-mpi/shim", cSettings: c),
    .executableTarget(
        name: "pfs_mpi_apply",
        dependencies: [
            "CPacketFSMPI", "ApplyTool", "PacketFSEngine", "PacketFSTools", "PacketFSMemory", "PacketFSPCPU",
            "CPacketFSShims", argumentParser, systemPackage,
        ],
        path: "full_apps/pfs-mpi/pfs_mpi_apply", swiftSettings: swift),
]

// tests: one suite a target, in the folder of the tier it tests.
let tests: [Target] = [
    // What suites that run the tools share.
    .target(
        name: "ToolTesting", path: "tests/support", exclude: ["hosts-room", "hosts-agent"], swiftSettings: swift),
    .testTarget(
        name: "MemoryTests", dependencies: ["PacketFSMemory", "CPacketFSShims", "ToolTesting", systemPackage],
        path: "tests/src/memory", swiftSettings: swift),
    .testTarget(
        name: "RingTests",
        dependencies: [
            "PacketFSRing", "PacketFSGram", "PacketFSPCPU", "pfs_shm_ring_bench", "PacketFSUAPI", "CPacketFSShims",
            "ToolTesting", systemPackage,
        ],
        path: "tests/src/ring", swiftSettings: swift),
    // Compiles against packetfs.h and loads libpacketfs.so, which is built along with it.
    .testTarget(
        name: "CInterfaceTests", dependencies: ["pfs_stream_fastpath_rx", "pfs_ctl", "ToolTesting"],
        path: "tests/src/c", exclude: ["test_packetfs.c"], swiftSettings: swift),
    .testTarget(
        name: "GramTests", dependencies: ["PacketFSGram", "ToolTesting"], path: "tests/src/gram", swiftSettings: swift),
    .testTarget(
        name: "NetTests",
        dependencies: ["PacketFSNet", "PacketFSGram", "PacketFSPCPU", "PacketFSMemory", "ToolTesting"],
        path: "tests/src/net", swiftSettings: swift),
    .testTarget(
        name: "PCPUTests",
        dependencies: ["PacketFSPCPU", "CPacketFSKernels", "PacketFSMemory", "pfs_pcpu_bench", "ToolTesting"]
            + (hasSIMDe ? ["CPacketFSKernelsSIMDe"] : []),
        path: "tests/src/pcpu", swiftSettings: swift),
    .testTarget(
        name: "EngineTests",
        dependencies: [
            "PacketFSEngine", "PacketFSMemory", "PacketFSGram", "PacketFSPCPU", "ToolTesting", systemPackage,
        ],
        path: "tests/src/engine", swiftSettings: swift),
    .testTarget(
        name: "ProcPcoresTests",
        dependencies: [
            "RandomRuns", "PacketFSEngine", "PacketFSTools", "PacketFSMemory", "PacketFSGram", "PacketFSPCPU",
            "pfs_proc_pcores",
            "ToolTesting",
        ],
        path: "tests/staging/proc_pcores", swiftSettings: swift),
    .testTarget(
        name: "CtlTests", dependencies: ["PacketFSRing", "PacketFSMemory", "pfs_ctl", "ToolTesting", systemPackage],
        path: "tests/staging/ctl", swiftSettings: swift),
    .testTarget(
        name: "ApplyTests",
        dependencies: [
            "ApplyTool", "PacketFSEngine", "PacketFSTools", "PacketFSPCPU", "pfs_apply", "ToolTesting", systemPackage,
        ],
        path: "tests/staging/apply", swiftSettings: swift),
    .testTarget(
        name: "StreamTests",
        dependencies: [
            "StreamTool", "PacketFSTools", "PacketFSRing", "PacketFSMemory", "PacketFSGram", "PacketFSPCPU",
            "pfs_stream_fastpath_tx", "pfs_stream_fastpath_rx", "ToolTesting", systemPackage,
        ],
        path: "tests/staging/stream", swiftSettings: swift),
    .testTarget(
        name: "RingPeekTests", dependencies: ["pfs_ringpeek_ctl", "ToolTesting"], path: "tests/dev/ringpeek",
        swiftSettings: swift),
    .testTarget(
        name: "PicturesTests", dependencies: ["pfs_proc_pcores", "pfs_shm_ring_bench", "ToolTesting"],
        path: "tests/staging/pictures", swiftSettings: swift),
    .testTarget(
        name: "OsvYeetTests",
        dependencies: [
            "PacketFSNet", "PacketFSGram", "PacketFSMemory", "PacketFSPCPU", "ToolTesting",
            "yeet_afp_tx", "yeet_afp_rx", "yeet_udp_tx", "yeet_udp_rx",
        ],
        path: "tests/full_apps/osv-yeet", swiftSettings: swift),
    .testTarget(
        name: "XDPTests",
        dependencies: [
            "PacketFSNet", "PacketFSGram", "PacketFSMemory", "pfs_afxdp_probe", "pfs_afxdp_tx", "pfs_afxdp_rx",
            "yeet_afp_tx", "yeet_afp_rx", "ToolTesting",
        ],
        path: "tests/dev/afxdp", swiftSettings: swift),
    .testTarget(
        name: "DPDKTests",
        dependencies: ["yeet_afp_rx", "pfs_afxdp_tx", "ToolTesting"]
            + (hasDPDK ? ["pfs_dpdk_probe", "pfs_dpdk_tx", "pfs_dpdk_rx"] : []),
        path: "tests/dev/dpdk", swiftSettings: swift),
    .testTarget(
        name: "MPITests", dependencies: ["pfs_apply", "ToolTesting"] + (hasMPI ? ["pfs_mpi_apply"] : []),
        path: "tests/full_apps/pfs-mpi", swiftSettings: swift),
    // What all tools have in common: options, reports.
    .testTarget(
        name: "ToolsTests",
        dependencies: [
            "PacketFSTools", "ToolTesting", "pfs_proc_pcores", "pfs_apply", "pfs_stream_fastpath_tx",
            "pfs_stream_fastpath_rx", "pfs_shm_ring_bench", "pfs_pcpu_bench", "pfs_ctl", "pfs_ringpeek_ctl",
            "pfs_afxdp_probe", "pfs_afxdp_tx", "pfs_afxdp_rx", "yeet_afp_tx", "yeet_afp_rx", "yeet_udp_tx",
            "yeet_udp_rx",
        ]
            + (hasDPDK ? ["pfs_dpdk_probe", "pfs_dpdk_tx", "pfs_dpdk_rx"] : []) + (hasMPI ? ["pfs_mpi_apply"] : []),
        path: "tests/tools", swiftSettings: swift),
    .testTarget(name: "ArchitectureTests", path: "tests/architecture", swiftSettings: swift),
]

// The AVX-512 kernels for CPUs without AVX-512, where libsimde-dev is installed.
let simde: [Target] = [
    .target(
        name: "CPacketFSKernelsSIMDe", dependencies: ["CPacketFSKernels"], path: "tests/src/pcpu_simde", cSettings: c)
]

let package = Package(
    name: "PacketFS",
    products: [
        .library(name: "PacketFSMemory", targets: ["PacketFSMemory"]),
        .library(name: "PacketFSRing", targets: ["PacketFSRing"]),
        .library(name: "PacketFSGram", targets: ["PacketFSGram"]),
        .library(name: "PacketFSPCPU", targets: ["PacketFSPCPU"]),
        .library(name: "PacketFSEngine", targets: ["PacketFSEngine"]),
        .library(name: "PacketFSNet", targets: ["PacketFSNet"]),
        .library(name: "packetfs", type: .dynamic, targets: ["PacketFSC"]),
        .executable(name: "pfs_proc_pcores", targets: ["pfs_proc_pcores"]),
        .executable(name: "pfs_apply", targets: ["pfs_apply"]),
        .executable(name: "pfs_stream_fastpath_tx", targets: ["pfs_stream_fastpath_tx"]),
        .executable(name: "pfs_stream_fastpath_rx", targets: ["pfs_stream_fastpath_rx"]),
        .executable(name: "pfs_shm_ring_bench", targets: ["pfs_shm_ring_bench"]),
        .executable(name: "pfs_pcpu_bench", targets: ["pfs_pcpu_bench"]),
        .executable(name: "pfs_ctl", targets: ["pfs_ctl"]),
        .executable(name: "pfs_afxdp_probe", targets: ["pfs_afxdp_probe"]),
        .executable(name: "pfs_afxdp_tx", targets: ["pfs_afxdp_tx"]),
        .executable(name: "pfs_afxdp_rx", targets: ["pfs_afxdp_rx"]),
        .executable(name: "yeet_afp_tx", targets: ["yeet_afp_tx"]),
        .executable(name: "yeet_afp_rx", targets: ["yeet_afp_rx"]),
        .executable(name: "yeet_udp_tx", targets: ["yeet_udp_tx"]),
        .executable(name: "yeet_udp_rx", targets: ["yeet_udp_rx"]),
        .executable(name: "pfs_ringpeek_ctl", targets: ["pfs_ringpeek_ctl"]),
    ]
        + (hasDPDK
            ? ["pfs_dpdk_probe", "pfs_dpdk_tx", "pfs_dpdk_rx"].map { .executable(name: $0, targets: [$0]) } : [])
        + (hasMPI ? [.executable(name: "pfs_mpi_apply", targets: ["pfs_mpi_apply"])] : []),
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
    ],
    targets: src + staging + dev + (hasDPDK ? dpdk : []) + fullApps + (hasMPI ? mpi : []) + tests
        + (hasSIMDe ? simde : []),
    swiftLanguageModes: [.v6],
    cLanguageStandard: .gnu17
)

// What turns doc comments into the API reference (`just docs`). Nobody else needs it, least of all packages that depend on this
// one, so it is only asked for where the environment says so; SwiftPM keeps what the manifest said for each environment.
if ProcessInfo.processInfo.environment["PACKETFS_DOCS"] == "yes" {
    package.dependencies.append(.package(url: "https://github.com/swiftlang/swift-docc-plugin", from: "1.5.0"))
}

// SwiftPM builds all suites as one program. Where utils/test-all needs one suite of them in another mode, it names it, and nothing else
// is built.
if let suite = ProcessInfo.processInfo.environment["PACKETFS_SUITE"] {
    package.targets.removeAll { $0.type == .test && $0.name != suite }
}
