import ArgumentParser
import Glibc
import PacketFSMemory
import PacketFSPCPU
import PacketFSTools
import SystemPackage

@main
struct PCPUBench: Tool {
    static let reports = [
        ReportDescription("pfs_pcpu_bench kernels", KernelsConfig.self, KernelsResult.self),
        ReportDescription("pfs_pcpu_bench against", AgainstConfig.self, AgainstResult.self),
        ReportDescription("pfs_pcpu_bench threads", PlainThreads.Config.self, PlainThreads.Result.self),
    ]

    static let configuration = CommandConfiguration(
        commandName: "pfs_pcpu_bench",
        abstract: "Measure the pCPU kernels.",
        discussion: """
            Without a subcommand, measures the kernels one by one (`kernels --help` lists the options).

            Exit codes: 0 done, 64 usage, 65 a wrong result, 66 no such kernels, 69 not available on this machine, 71 system error, \
            73 output cannot be created.

            Environment: PACKETFS_FORCE_ISA chooses the kernels instead of the best that this CPU has; --isa goes before it.
            """,
        version: PacketFSVersion.current, subcommands: [KernelsBench.self, Against.self, PlainThreads.self],
        defaultSubcommand: KernelsBench.self)
}
