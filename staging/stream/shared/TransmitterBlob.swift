import PacketFSEngine
import PacketFSMemory
import PacketFSTools
import RandomRuns
import SystemPackage

/// The blob as the transmitter has it: made for the stream, or one that the user had made.
final class TransmitterBlob {
    let blob: HugeBlob
    /// Whether it was made for the stream: then it is filled now, and removed afterwards.
    let isOurs: Bool
    private let name: TemporaryName

    private init(_ blob: consuming HugeBlob, isOurs: Bool, _ path: FilePath, keeps: Bool) {
        name = TemporaryName(path, blob.fileDescriptor, isKept: keeps || !isOurs)
        self.blob = blob
        self.isOurs = isOurs
    }

    /// Opens the blob that was asked for by name, if it exists; else makes one.
    ///
    /// - Parameter replaces: whether a blob of the ring's own name is what a killed transmitter left behind.
    static func open(
        _ configuration: TransmitterConfiguration, replaces: Bool, _ report: (RunEvent) -> Void
    ) throws -> TransmitterBlob {
        let place = configuration.side.place
        let path = place.blobPath
        if let blob = try existing(configuration) {
            guard configuration.run.file == nil else {
                throw ToolError(
                    .usage, "--file: \(path) exists and is used as it is; leave --file out, or choose another --blob")
            }
            report(.phase("using \(path) as it is"))
            return TransmitterBlob(blob, isOurs: false, path, keeps: true)
        }
        if replaces, !place.namesBlob {
            try? HugeBlob.remove(named: place.blobFile, in: place.blobFolder)
        }
        report(.phase("allocating \(configuration.run.blobByteCount >> 20) MiB"))
        guard let blob = try make(configuration) else {
            throw ToolError(
                .cannotCreate,
                "\(path) exists already: use it with --blob, choose another --blob, or remove it with `pfs_ctl remove`")
        }
        return TransmitterBlob(blob, isOurs: true, path, keeps: configuration.keeps)
    }

    /// A new blob; nil if its name is taken.
    private static func make(_ configuration: TransmitterConfiguration) throws -> HugeBlob? {
        let place = configuration.side.place
        do {
            return try HugeBlob.create(
                named: place.blobFile, in: place.blobFolder, byteCount: configuration.run.blobByteCount,
                pages: configuration.run.pages)
        } catch MemoryError.system(_, _, .fileExists) {
            return nil
        }
    }

    /// The blob that was asked for by name, if it exists.
    private static func existing(_ configuration: TransmitterConfiguration) throws -> HugeBlob? {
        let place = configuration.side.place
        guard place.namesBlob else { return nil }
        do throws(MemoryError) {
            return try HugeBlob.open(
                named: place.blobFile, in: place.blobFolder,
                byteCount: configuration.sizesBlob ? configuration.run.blobByteCount : nil)
        } catch .system(_, _, .noSuchFileOrDirectory) {
            return nil
        }
    }

    /// Fills a blob that was made for the stream from a file, or with the seeded pattern.
    func fill(_ file: InputFile?, seed: UInt64, range: Range<UInt64>) throws {
        guard isOurs else { return }
        guard let file else { return try blob.fill(seed: seed, range: Int(range.lowerBound)..<Int(range.upperBound)) }
        try blob.fill(from: file.descriptor, fileOffset: 0, count: file.byteCount, at: 0)
    }
}
