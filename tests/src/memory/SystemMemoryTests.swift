import Testing

@testable import PacketFSMemory

/// The parsers of /proc and /sys, on made-up machines.
@Suite struct SystemMemoryTests {
    @Test func machineWithoutGroups() {
        let files = ["/proc/meminfo": "MemTotal:  9 kB\nMemAvailable:    2048 kB\n"]
        #expect(AvailableMemory.now { files[$0] } == AvailableMemory(byteCount: 2 << 20, holder: "the machine"))
        #expect(AvailableMemory.now { _ in nil } == nil)
    }

    @Test func smallestGroupOfVersion2Counts() {
        let files = [
            "/proc/meminfo": "MemAvailable: 1000000 kB\n",
            "/proc/self/cgroup": "0::/a/b\n",
            "/proc/self/mountinfo": "41 31 0:38 / /sys/fs/cgroup rw,relatime shared:1 - cgroup2 cgroup2 rw\n",
            "/sys/fs/cgroup/a/b/memory.max": "max\n", "/sys/fs/cgroup/a/b/memory.current": "1\n",
            "/sys/fs/cgroup/a/memory.max": "1000\n", "/sys/fs/cgroup/a/memory.current": "900\n",
            "/sys/fs/cgroup/a/memory.stat": "anon 5\nactive_file 30\ninactive_file 20\n",
        ]
        let expected = AvailableMemory(byteCount: 150, holder: "the control group /sys/fs/cgroup/a")
        #expect(AvailableMemory.now { files[$0] } == expected)
    }

    @Test func version1InAContainer() {
        let files = [
            "/proc/meminfo": "MemAvailable: 1000000 kB\n",
            "/proc/self/cgroup": "9:name=systemd:/\n4:cpu,memory:/docker/x\n0::/\n",
            "/proc/self/mountinfo":
                "35 31 0:32 /docker/x /sys/fs/cgroup/memory rw - cgroup cgroup rw,cpu,memory\n"
                + "36 31 0:33 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes": "5000\n",
            "/sys/fs/cgroup/memory/memory.usage_in_bytes": "6000\n",
        ]
        let expected = AvailableMemory(byteCount: 0, holder: "the control group /sys/fs/cgroup/memory")
        #expect(AvailableMemory.now { files[$0] } == expected)
    }

    /// Statistics of a busy group lag behind its usage; added to a limit of "none", the difference does not fit an Int.
    @Test(arguments: ["9223372036854771712", "5000"])
    func moreCacheThanUsage(_ limit: String) {
        let files = [
            "/proc/meminfo": "MemAvailable: 4 kB\n",
            "/proc/self/cgroup": "4:memory:/\n",
            "/proc/self/mountinfo": "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes": "\(limit)\n",
            "/sys/fs/cgroup/memory/memory.usage_in_bytes": "6000000\n",
            "/sys/fs/cgroup/memory/memory.stat": "total_active_file 6004096\ntotal_inactive_file 4096\n",
        ]
        let expected = AvailableMemory(byteCount: 4096, holder: "the machine")
        #expect(AvailableMemory.now { files[$0] } == expected)
    }

    @Test func memoryOfNodes() {
        let folder = "/sys/devices/system/node"
        let files = [
            "\(folder)/node1/meminfo":
                "Node 1 MemTotal:  99 kB\nNode 1 MemFree:   10 kB\nNode 1 Inactive(file): 2 kB\n",
            "\(folder)/node12/meminfo": "Node 12 MemFree:   5 kB\n",
        ]
        let expected = AvailableMemory(byteCount: 17 << 10, holder: "NUMA node 1,12,1,3")
        #expect(AvailableMemory.onNodes([1, 12, 1, 3]) { files[$0] } == expected)
        #expect(AvailableMemory.onNodes(NUMAPolicy.allowedNodes()).byteCount > 0)
    }

    @Test func nonsenseIsIgnored() {
        var random = SeededGenerator(seed: 1)
        let alphabet = Array("0123456789 :-/.\ncgroup2memory,\t[]=N")
        for _ in 0..<500 {
            let text = String((0..<200).map { _ in alphabet.randomElement(using: &random) ?? " " })
            _ = AvailableMemory.controlGroups { _ in text }
            _ = AvailableMemory.now { _ in text }
            _ = TransparentHugePages.enabledForMemfd { _ in text }
            let size = TransparentHugePages.pageSize { _ in text }
            #expect(size > 0 && size & (size - 1) == 0)
            let report = MappingReport(range: 0..<UInt.max) { _ in text }
            #expect(report.hugeBytes >= 0)
        }
        let outside = [
            "/proc/meminfo": "MemAvailable: 1 kB\n", "/proc/self/cgroup": "0::/../../x\n",
            "/proc/self/mountinfo": "41 31 0:38 / /cg rw - cgroup2 cgroup2 rw\n",
        ]
        #expect(AvailableMemory.controlGroups { outside[$0] }.map(\.paths) == [["/cg"]])
    }

    @Test func hugePagePools() throws {
        let folder = "hugepages/hugepages-2048kB"
        let files = [
            "/sys/kernel/mm/\(folder)/nr_hugepages": "10\n", "/sys/kernel/mm/\(folder)/free_hugepages": "7\n",
            "/sys/kernel/mm/\(folder)/resv_hugepages": "3\n",
            "/sys/devices/system/node/node1/\(folder)/free_hugepages": "2\n",
        ]
        let pool = try #require(HugePagePool(pageSize: 2 << 20) { files[$0] })
        #expect(pool.total == 10 && pool.free == 4)
        let onNode = try #require(HugePagePool(pageSize: 2 << 20, nodes: [1, 5]) { files[$0] })
        #expect(onNode.free == 2)
        #expect(HugePagePool(pageSize: 1 << 30) { files[$0] } == nil)
        #expect(
            pool.shortage(needed: 9).description == """
                not enough 2 MiB huge pages: needed 9 pages, free 4; reserve them with `just hugepages` or \
                `echo 15 | sudo tee /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages`
                """)
    }

    @Test(arguments: [
        ("always within_size [advise] never deny force\n", true),
        ("always within_size advise [never] deny force\n", false),
        ("[always] within_size advise never", true), ("always advise [deny]", false), ("", false), ("[", false),
    ])
    func transparentHugePagesSwitch(text: String, enabled: Bool) {
        #expect(TransparentHugePages.enabledForMemfd { _ in text } == enabled)
    }

    @Test func mappingReports() {
        let files = [
            "/proc/self/smaps": """
            1000-2000 rw-s 00000000 00:01 5 /memfd:before (deleted)
            ShmemPmdMapped:     4096 kB
            2000-4000 rw-s 00000000 00:01 6 /memfd:packetfs blob (deleted)
            Rss:                   8 kB
            ShmemPmdMapped:     2048 kB
            Shared_Hugetlb:     4096 kB
            VmFlags: rd wr sh
            4000-5000 rw-s 00000000 00:01 7 /memfd:after (deleted)
            ShmemPmdMapped:     8192 kB

            """,
            "/proc/self/numa_maps": """
            1000 default file=/x N7=1
            2000 bind:1-2 file=/memfd:packetfs\\040blob dirty=2 N2=1 N1=1 kernelpagesize_kB=4
            3000 prefer:1 file=/memfd:packetfs\\040blob dirty=1 N1=3 kernelpagesize_kB=2048
            4000 default N8=1

            """,
        ]
        var report = MappingReport(range: 0x2000..<0x4000) { files[$0] }
        #expect(report.hugeBytes == 6 << 20)
        #expect(report.path == "/memfd:packetfs blob (deleted)")
        #expect(report.nodes == [1, 2])
        #expect(report.nodeBytes == [1: 4096 + (6 << 20), 2: 4096])
        report = MappingReport(range: 0x2000..<0x4000) { _ in nil }
        #expect(report.hugeBytes == 0 && report.path.isEmpty && report.nodes == nil)
    }

    @Test func backingDescriptions() {
        var backing = Backing(
            kind: .hugetlb, pageSize: 2 << 20, mappedBytes: 4 << 30, hugeBytes: 4 << 30, nodes: [0], isNamed: false)
        #expect("\(backing)" == "2 MiB pages (memfd, hugetlb), 4294967296 bytes huge, node 0")
        backing.pageSize = 1 << 30
        backing.isNamed = true
        backing.nodes = [0, 1]
        #expect("\(backing)" == "1 GiB pages (named file, hugetlb), 4294967296 bytes huge, nodes 0,1")
        backing = Backing(
            kind: .transparent, pageSize: 2 << 20, mappedBytes: 8 << 20, hugeBytes: 6 << 20, nodes: [], isNamed: false)
        #expect("\(backing)" == "transparent 2 MiB pages (memfd), 6291456 of 8388608 bytes huge, nothing touched yet")
    }
}
