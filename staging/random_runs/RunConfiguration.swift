import PacketFSEngine
import PacketFSGram
import PacketFSMemory
import PacketFSPCPU
import PacketFSTools
import SystemPackage

/// What one run of the process-per-pcore runner does. Checked as a whole by ``validate()`` before anything is started.
package struct RunConfiguration: Sendable {
    /// Number of pcores, one process each.
    package var pcores = 2
    /// Seconds to run; ignored when ``recordsPerPCore`` is set.
    package var durationSeconds = 5.0
    /// Bytes of the blob.
    package var blobByteCount = 1 << 30
    /// Ring slots are 2 to this power.
    package var ringPowerOfTwo = 16
    /// Bytes of each ring's slab. Unless set: 128 MiB over all pcores, from 512 KiB to 1 MiB each, and room for two records.
    ///
    /// All of it is allocated before the first record, so many pcores with large slabs take long to start; 480 records of
    /// 64 descriptors, in 512 KiB, are more than a pcore executes in a scheduler's time slice among many.
    package var slabByteCount: Int {
        get { chosenSlabByteCount ?? max(defaultSlabByteCount, minimumSlabByteCount) }
        set { chosenSlabByteCount = newValue }
    }
    private var chosenSlabByteCount: Int?
    /// Fills the blob from its start; nil fills it with the seeded pattern.
    package var file: FilePath?
    /// First byte of the range that descriptors lie in.
    package var rangeOffset = 0
    /// Bytes of that range; nil means to the end of the file, or of the blob without a file.
    package var rangeLength: Int?
    /// The records: programs, descriptors, seed.
    package var work: RandomWork
    /// Which pages the blob wants.
    package var pages = PagePreference.automatic
    /// On which NUMA nodes blob and rings are placed; nil leaves that to the kernel.
    package var numa: NUMAPlacement?
    /// A hugetlbfs (or tmpfs) directory for the blob instead of a memfd.
    package var hugeDirectory: FilePath?
    /// Lets every pcore use the whole range also when the program writes: a race, by request.
    package var sharedRange = false
    /// Recomputes with the reference implementation what every pcore did.
    package var verify = false
    /// Replaces pcores that die instead of ending the run.
    package var restartsFailed = false
    /// Length of the baseline in seconds; 0 leaves it out.
    package var baselineSeconds = 2.0
    /// First CPU for pcores.
    package var firstCPU = 0
    /// How many CPUs the pcores are spread over; nil means all allowed ones from ``firstCPU`` on.
    package var cpuCount: Int?
    /// Whether the producer is pinned.
    package var pinsProducer = true
    /// The CPU the producer is pinned to; nil chooses one that no pcore uses, or else the pcores' last one.
    package var producerCPU: Int?
    /// Where samples are appended; nil writes none.
    package var csv: FilePath?
    /// The folder that takes a file of samples by pcore; nil writes none.
    package var pcoreCSV: FilePath?

    /// How memory is spread over the NUMA nodes of the pcores' CPUs. Rings are always on their pcore's node.
    package enum NUMAPlacement: String, Sendable, CaseIterable {
        /// The blob on those nodes only, as the CPUs come that touch it.
        case bind
        /// The blob page by page over those nodes.
        case interleave
        /// Each pcore's region on its node; where pcores share the range, as with `interleave`.
        case local
    }

    /// The defaults with `mix`.
    package init(mix: ProgramMix) {
        work = RandomWork(mix: mix)
    }

    private var defaultSlabByteCount: Int { min(max((128 << 20) / max(pcores, 1) & ~4095, 512 << 10), 1 << 20) }
    /// Two records, each rounded up to whole units of the slab, and the gap that keeps full and empty apart.
    private var minimumSlabByteCount: Int {
        2 * (work.recordByteCount + RecordFormat.alignment - 1) / RecordFormat.alignment * RecordFormat.alignment
            + 2 * RecordFormat.alignment
    }

    /// Whether pcores keep to regions of their own.
    package var partitions: Bool { work.mix.writes && !sharedRange }

    /// Checks the values against each other, but not against the machine; options have limits of their own.
    package func validate() throws(ToolError) {
        func check(_ condition: Bool, _ message: @autoclosure () -> String) throws(ToolError) {
            if !condition { throw ToolError(.usage, message()) }
        }
        try check(
            work.carriesProgram || work.mix.entries.count == 1,
            "--fixed-program cannot be combined with --mix: only a record can say which program it is for")
        try check(
            slabByteCount >= minimumSlabByteCount,
            "--slab-mb: the slab (\(slabByteCount) bytes) must hold two records of \(work.recordByteCount) bytes"
                + " (--dpf \(work.descriptorsPerRecord))")
        try check(rangeLength.map { $0 > 0 } ?? true, "--range-len: must be at least 1")
        try check(
            !(verify && work.mix.writes && sharedRange),
            "--verify cannot be combined with --shared-range for a program that writes (\(work.mix)): "
                + "pcores race for the same bytes, so the result is not defined; drop one of the two")
    }

    /// Opens the file that fills the blob, if there is one; it must fit and not be empty.
    package func openFile() throws(ToolError) -> InputFile? {
        guard let path = file else { return nil }
        let opened = try InputFile(path)
        guard opened.byteCount <= blobByteCount else {
            throw ToolError(
                .usage,
                "\(path) has \(opened.byteCount) bytes, more than the blob's \(blobByteCount); "
                    + "use --blob-mb \((opened.byteCount + (1 << 20) - 1) >> 20) or more")
        }
        guard opened.byteCount > 0 else { throw ToolError(.noInput, "\(path) is empty") }
        return opened
    }

    /// The byte range that descriptors lie in, once the file's length is known.
    package func range(fileByteCount: Int?) throws(ToolError) -> Range<UInt64> {
        let end = fileByteCount ?? blobByteCount
        guard rangeOffset < end else {
            throw ToolError(
                .usage,
                "--range-off \(rangeOffset): must be below the \(fileByteCount == nil ? "blob's" : "file's") "
                    + "\(end) bytes")
        }
        let length = rangeLength ?? end - rangeOffset
        guard length <= blobByteCount - rangeOffset else {
            throw ToolError(
                .usage,
                "--range-off \(rangeOffset) with --range-len \(length): ends outside the blob of "
                    + "\(blobByteCount) bytes; shorten it or raise --blob-mb")
        }
        return UInt64(rangeOffset)..<UInt64(rangeOffset + length)
    }
}
