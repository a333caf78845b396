import Foundation
import Testing

/// `utils/doctor` on made-up machines: what it finds in /proc and /sys decides what it says.
@Suite struct DoctorTests {
    /// The JSON document of `utils/doctor --json`, as far as it is looked at here.
    private struct Report: Decodable {
        struct Result: Decodable {
            let checks: [Check]
        }
        struct Check: Decodable {
            let check: String
            let state: String
            let finding: String
            let how: String
        }
        let result: Result

        func check(_ name: String) throws -> Check { try #require(result.checks.first { $0.check == name }) }
    }

    /// What the doctor says about a machine that has only these files.
    private static func examine(_ files: [String: String]) throws -> Report {
        let root = FileManager.default.temporaryDirectory.appendingPathComponent("packetfs-doctor-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: root) }
        try FileManager.default.createDirectory(at: root, withIntermediateDirectories: true)
        for (path, text) in files {
            let file = root.appendingPathComponent(path)
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data((text + "\n").utf8).write(to: file)
        }
        let (status, output) = try capture(
            ["utils/doctor", "--json", "--root", root.path], in: ArchitectureTests.root)
        #expect(status == 0, "nothing that is missing is an error")
        return try JSONDecoder().decode(Report.self, from: output)
    }

    @Test func aMachineWithEverything() throws {
        let huge = "sys/kernel/mm/hugepages/hugepages"
        let report = try Self.examine([
            "proc/meminfo": "MemTotal: 16777216 kB\nMemAvailable: 8388608 kB",
            "proc/cpuinfo": "model name : Made-up 9000\nflags : sse2 sse4_2 pclmulqdq popcnt avx2 bmi1 bmi2 vpclmulqdq",
            "proc/modules": "", "proc/stat": "cpu 0 0 0 0 0 0 0 0",
            "sys/kernel/security/lockdown": "[none] integrity confidentiality",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance",
            "\(huge)-2048kB/nr_hugepages": "512", "\(huge)-2048kB/free_hugepages": "500",
            "\(huge)-1048576kB/nr_hugepages": "2", "\(huge)-1048576kB/free_hugepages": "1",
            "sys/kernel/mm/transparent_hugepage/shmem_enabled": "always within_size [advise] never deny force",
            "sys/devices/system/node/node0/cpulist": "0", "sys/devices/system/node/node1/cpulist": "1",
            "dev/pfs_fastpath": "", "dev/shm/x": "", "usr/include/dpdk/rte_ethdev.h": "",
        ])
        for name in [
            "instruction set", "frequency governor", "memory", "huge pages, 2 MiB", "huge pages, 1 GiB",
            "transparent huge pages", "NUMA", "named regions", "kernel modules", "module devices", "DPDK",
        ] {
            let check = try report.check(name)
            #expect(check.state == "ok", "\(name): \(check.finding)")
        }
        #expect(try report.check("instruction set").finding == "vpclmul")
        #expect(try report.check("huge pages, 2 MiB").finding == "512 reserved, 500 free")
        #expect(try report.check("memory").finding == "8 GiB of 16 GiB available")
        #expect(try report.check("CPUs").finding.contains("Made-up 9000"))
    }

    @Test func aMachineWithLittle() throws {
        let report = try Self.examine([
            "proc/cpuinfo": "flags : sse2 avx2",
            "proc/modules": "", "proc/sys/kernel/modules_disabled": "1",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave",
            "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages": "0",
            "sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages": "0",
            "sys/kernel/mm/transparent_hugepage/shmem_enabled": "always within_size advise [never] deny force",
            "sys/devices/system/node/node0/cpulist": "0",
        ])
        for name in [
            "instruction set", "frequency governor", "huge pages, 2 MiB", "huge pages, 1 GiB", "transparent huge pages",
            "NUMA", "named regions", "kernel modules", "module devices",
        ] {
            #expect(try report.check(name).state == "not here", "\(name)")
        }
        // A tier needs all the tiers below it.
        #expect(try report.check("instruction set").finding == "sse2")
        #expect(try report.check("huge pages, 2 MiB").how.contains("just hugepages"))
        #expect(try report.check("kernel modules").finding.contains("modules_disabled"))
    }

    /// A kernel may be without any of the files.
    @Test func aMachineWithNothing() throws {
        let report = try Self.examine([:])
        #expect(try report.check("kernel modules").finding.contains("without loadable modules"))
        #expect(try report.check("instruction set").finding == "portable")
    }
}
