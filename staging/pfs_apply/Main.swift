import ApplyTool
import ArgumentParser
import PacketFSEngine
import PacketFSMemory
import PacketFSPCPU
import PacketFSTools
import SystemPackage

@main
struct Apply: Tool {
    static let reports = [ReportDescription("pfs_apply", ApplyConfig.self, ApplyOutcome.self)]
    static func runAsChildIfAsked() { PCoreWorker.runToolIfAsked() }

    static let configuration = CommandConfiguration(
        commandName: "pfs_apply",
        abstract: "Checksum, count or transform a file, every byte exactly once, on all CPUs.",
        discussion: """
            Examples:
              pfs_apply big.img                       its CRC-32C
              pfs_apply big.img --digests big.csv     and that of each MiB, to keep
              pfs_apply --check big.csv               is the file still the same?
              pfs_apply big.img --prog xor:255 --out new.img
              zcat big.gz | pfs_apply - --op counteq --imm 10

            Programs: xor:IMM add:IMM counteq:IMM crc32c fnv, joined by commas and applied to each block in order. xor and add \
            rewrite bytes (in what is written, never in the input); the others yield a value per block, of the bytes as they \
            stand at that point. Values are summed over blocks; a crc32c is also given for all bytes together.

            Exit codes: 0 done, 64 usage, 65 a block differs (--check), 66 input missing, 69 not available on this machine, \
            71 system error or a pcore died, 73 output cannot be created, 74 I/O error, 77 permission; 128 + signal when \
            interrupted. After anything but 0 and 65 no output has been made or changed.

            Environment: PACKETFS_FORCE_ISA chooses the kernels instead of the best that this CPU has.
            """,
        version: PacketFSVersion.current)

    @OptionGroup var options: ApplyOptions

    func run() throws {
        try CommandLineTool.run("pfs_apply", interrupted: "interrupted; nothing was written") {
            if options.explain {
                try CommandLineTool.write(Plan(options.program(), isa: Kernels.selected()).explanation)
            } else {
                try apply()
            }
        }
    }

    private func apply() throws {
        let expected = try options.expectedDigests()
        let configuration = try options.configuration(expected)
        let progress = ApplyProgressBar(isShown: !options.quiet && !options.output.json)
        let outcome: ApplyOutcome
        do {
            let run = try ApplyRun(configuration, comparingWith: expected) { progress.show($0) }
            outcome = try run.run()
            progress.finish()
        } catch {
            progress.finish()
            throw error
        }
        // Standard output may be the transformed bytes; then the words go elsewhere.
        let target: FileDescriptor = options.out == "-" ? .standardError : .standardOutput
        if !options.output.json {
            for difference in outcome.differences ?? [] {
                try CommandLineTool.write(
                    "\(configuration.input): block at \(difference.offset): \(difference)", to: target)
            }
        }
        try ToolReport(
            tool: "pfs_apply", config: ApplyConfig(outcome, check: options.check), result: outcome,
            warnings: progress.warnings
        ).write(
            json: options.output.json, title: options.quiet ? nil : outcome.title, tellsWarnings: false, to: target)
        if outcome.isAsExpected == false { throw ExitCode(ToolExit.verificationFailed.rawValue) }
    }
}
