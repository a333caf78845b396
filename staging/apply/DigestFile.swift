import Glibc
import PacketFSEngine
import PacketFSPCPU
import PacketFSTools
import SystemPackage

/// What a file of digests says about itself: enough to make it again.
///
/// The format is CSV, described in docs/formats.md: comment lines `# key: value` first, a line of column names, then a line
/// for each block in order: offset, length, one value for each reducing operation.
package struct DigestHeader: Sendable, Equatable {
    /// The file that was read; nil for a pipe.
    package var file: FilePath?
    /// Its size then.
    package var fileByteCount: UInt64?
    /// The program.
    package var program: Program
    /// Bytes of a block.
    package var blockByteCount: Int
    /// First byte of the range.
    package var rangeOffset: UInt64
    /// How often the program was applied.
    package var passes: Int

    static let magic = "# packetfs digests 1"

    /// The lines of a chunk's blocks.
    package func lines(_ chunk: ChunkResult) -> [UInt8] {
        var bytes: [UInt8] = []
        let steps = program.reducers
        bytes.reserveCapacity(chunk.values.count * 20)
        chunk.forEachBlock(of: program, blockByteCount: blockByteCount) { Self.append($0, of: steps, to: &bytes) }
        return bytes
    }

    /// Appends a block's line. There may be very many of them.
    static func append(_ row: BlockRow, of steps: [Step], to bytes: inout [UInt8]) {
        append(row.offset, radix: 10, to: &bytes)
        bytes.append(UInt8(ascii: ","))
        append(UInt64(row.length), radix: 10, to: &bytes)
        for (index, step) in steps.enumerated() {
            bytes.append(UInt8(ascii: ","))
            let value = row.values[row.values.startIndex + index]
            switch step.op {
            case .crc32c: append(value, radix: 16, digits: 8, to: &bytes)
            case .fnv: append(value, radix: 16, digits: 16, to: &bytes)
            default: append(value, radix: 10, to: &bytes)
            }
        }
        bytes.append(UInt8(ascii: "\n"))
    }

    /// Appends a number, with zeros in front up to so many digits.
    private static func append(_ value: UInt64, radix: UInt64, digits: Int = 1, to bytes: inout [UInt8]) {
        let first = bytes.count
        var rest = value
        while rest > 0 || bytes.count - first < digits {
            let digit = UInt8(truncatingIfNeeded: rest % radix)
            bytes.append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
            rest /= radix
        }
        var (low, high) = (first, bytes.count - 1)
        while low < high {
            bytes.swapAt(low, high)
            (low, high) = (low + 1, high - 1)
        }
    }

    /// The lines before the first block's.
    package var text: String {
        var lines = [Self.magic]
        if let file { lines.append("# file: \(file)") }
        if let fileByteCount { lines.append("# file_bytes: \(fileByteCount)") }
        lines.append("# program: \(program)")
        lines.append("# block_bytes: \(blockByteCount)")
        lines.append("# range_offset_bytes: \(rangeOffset)")
        lines.append("# passes: \(passes)")
        let columns = ["offset_bytes", "length_bytes"] + program.reducers.map { "\($0)" }
        return (lines + [columns.joined(separator: ",")]).joined(separator: "\n") + "\n"
    }
}

extension DigestHeader {
    /// A header for what `configuration` asks for, of a file of `fileByteCount` bytes; nil for a stream.
    package init(_ configuration: ApplyConfiguration, fileByteCount: UInt64?) throws(ToolError) {
        if case .file(let file) = configuration.input { self.file = file }
        self.fileByteCount = fileByteCount
        program = configuration.program
        blockByteCount = configuration.blockByteCount
        rangeOffset = UInt64(configuration.rangeOffset)
        passes = configuration.passes
        guard !program.reducers.isEmpty else {
            throw ToolError(.usage, "--digests: \(program) yields no values; add crc32c, for example")
        }
        if let file, file.string.contains("\n") {
            throw ToolError(.usage, "--digests: a name with a line break cannot be written down: \(file)")
        }
    }
}

/// Writes digests to a file that appears, whole, when it is finished.
final class DigestWriter {
    private let output: OutputFile
    private let steps: [Step]
    private var buffer: [UInt8] = []

    init(_ path: FilePath, header: DigestHeader) throws(ToolError) {
        output = try OutputFile(path)
        steps = header.program.reducers
        buffer = Array(header.text.utf8)
    }

    func append(_ row: BlockRow) throws(ToolError) {
        DigestHeader.append(row, of: steps, to: &buffer)
        if buffer.count >= 1 << 16 { try flush() }
    }

    func finish() throws(ToolError) {
        try flush()
        try output.commit()
    }

    private func flush() throws(ToolError) {
        try output.append(buffer)
        buffer.removeAll(keepingCapacity: true)
    }
}

/// The digests of a file, to be compared with: parsed line by line, because what is in it is untrusted and may be long.
package final class DigestReader {
    /// What the file says about itself.
    package let header: DigestHeader
    private let path: FilePath
    private let bytes: [UInt8]
    private var position = 0
    private var line = 0

    /// Reads the file and parses its head.
    package init(_ path: FilePath) throws(ToolError) {
        self.path = path
        bytes = try InputFile.contents(path)
        var fields: [String: String] = [:]
        var scanner = Scanner(bytes: bytes)
        guard scanner.nextLine() == DigestHeader.magic else {
            throw ToolError(
                .usage, "\(path), line 1: is not \"\(DigestHeader.magic)\": no digests that this version reads")
        }
        var columns = ""
        while let text = scanner.nextLine() {
            guard text.hasPrefix("# "), let colon = text.firstRange(of: ": ") else {
                columns = text
                break
            }
            fields[String(text[text.index(text.startIndex, offsetBy: 2)..<colon.lowerBound])] =
                String(text[colon.upperBound...])
        }
        func malformed(_ what: String) -> ToolError { ToolError(.usage, "\(path): \(what)") }
        func number(_ key: String) throws(ToolError) -> UInt64 {
            guard let value = fields[key].flatMap({ UInt64($0) }), value < 1 << 62 else {
                throw malformed("\"# \(key): NUMBER\" is missing or no number")
            }
            return value
        }
        let program: Program
        do {
            program = try Program(parsing: fields["program"] ?? "")
        } catch {
            throw malformed("\"# program\": \(error)")
        }
        header = DigestHeader(
            file: fields["file"].map { FilePath($0) },
            fileByteCount: fields["file_bytes"] == nil ? nil : try number("file_bytes"), program: program,
            blockByteCount: Int(try number("block_bytes")), rangeOffset: try number("range_offset_bytes"),
            passes: Int(try number("passes")))
        let expected = ["offset_bytes", "length_bytes"] + program.reducers.map { "\($0)" }
        guard columns == expected.joined(separator: ",") else {
            throw malformed("line \(scanner.line): the columns are not \(expected.joined(separator: ","))")
        }
        guard !program.reducers.isEmpty else { throw malformed("the program yields no values") }
        position = scanner.position
        line = scanner.line
    }

    /// The next block, or nil behind the last one.
    func next() throws(ToolError) -> BlockRow? {
        var scanner = Scanner(bytes: bytes, position: position, line: line)
        guard let text = scanner.nextLine() else { return nil }
        (position, line) = (scanner.position, scanner.line)
        let fields = text.split(separator: ",", omittingEmptySubsequences: false)
        let steps = header.program.reducers
        guard fields.count == 2 + steps.count, let offset = UInt64(fields[0]), let length = Int(fields[1]),
            length > 0, length <= header.blockByteCount
        else { throw ToolError(.usage, "\(path), line \(line): is no block of this program: \(text.prefix(100))") }
        var values: [UInt64] = []
        for (step, field) in zip(steps, fields.dropFirst(2)) {
            guard let value = step.value(field) else {
                throw ToolError(.usage, "\(path), line \(line): \"\(field.prefix(40))\" is no value of \(step)")
            }
            values.append(value)
        }
        return BlockRow(offset: offset, length: length, values: values[...])
    }

    /// The bytes from the first block to the end of the last one, without checking what is in between.
    package func rangeByteCount() throws(ToolError) -> UInt64 {
        let start = (position, line)
        defer { (position, line) = start }
        var end = header.rangeOffset
        while let row = try next() {
            guard row.offset == end else {
                throw ToolError(.usage, "\(path), line \(line): the block at \(row.offset) should be at \(end)")
            }
            end = row.offset + UInt64(row.length)
        }
        return end - header.rangeOffset
    }

    private struct Scanner {
        let bytes: [UInt8]
        var position = 0
        var line = 0

        /// The next line without its end, or nil behind the last one.
        mutating func nextLine() -> String? {
            guard position < bytes.count else { return nil }
            let rest = bytes[position...]
            let end = rest.firstIndex(of: UInt8(ascii: "\n")) ?? bytes.count
            defer {
                position = end + 1
                line += 1
            }
            return String(decoding: bytes[position..<end], as: UTF8.self)
        }
    }
}

extension Step {
    /// A value of this operation as people and digest files write it: digests in hexadecimal, counts in decimal.
    func text(_ value: UInt64) -> String {
        switch op {
        case .crc32c: hex(value, digits: 8)
        case .fnv: hex(value, digits: 16)
        default: "\(value)"
        }
    }

    /// The value that ``text(_:)`` writes as `text`.
    func value(_ text: Substring) -> UInt64? {
        switch op {
        case .crc32c: text.utf8.count == 8 ? UInt64(text, radix: 16) : nil
        case .fnv: text.utf8.count == 16 ? UInt64(text, radix: 16) : nil
        default: UInt64(text)
        }
    }
}

/// `value` in hexadecimal, with at least so many digits.
func hex(_ value: UInt64, digits: Int) -> String {
    let text = String(value, radix: 16)
    return String(repeating: "0", count: max(0, digits - text.count)) + text
}
