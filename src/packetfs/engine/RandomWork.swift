import PacketFSGram

/// Random work that can be done again: which records each pcore gets is a function of these values and the pcore's number.
package struct RandomWork: Sendable {
    /// What is applied to descriptors: one program, or several by weight.
    package var mix: ProgramMix
    /// Whether each record carries its program; if not, all pcores are told the one program beforehand.
    package var carriesProgram = true
    /// Descriptors per record.
    package var descriptorsPerRecord = 64
    /// Alignment of descriptors in bytes; a power of two. Lengths are uniform in `alignment ..< 5 * alignment`.
    package var alignment = 64
    /// Seed of the descriptors, and of the pattern that fills a blob.
    package var seed: UInt64 = 1
    /// Exactly this many records for each pcore; nil sets no end.
    package var recordsPerPCore: UInt64?

    /// The defaults with `mix`.
    package init(mix: ProgramMix) { self.mix = mix }

    /// Bytes of the longest record.
    package var recordByteCount: Int {
        RecordFormat.byteCount(
            descriptors: descriptorsPerRecord,
            instructions: carriesProgram ? mix.entries.map(\.program.steps.count).max() ?? 0 : 0)
    }

    /// The descriptors of pcore `pcore`, which lie in `region`.
    package func descriptors(of pcore: Int, in region: Range<UInt64>) -> RandomDescriptors {
        RandomDescriptors(region: region, alignment: UInt32(alignment), seed: seed, stream: UInt64(pcore))
    }
}
