import PacketFSEngine
import PacketFSPCPU
import PacketFSTools

extension ProgramMix {
    /// Parses a mix: one `PROGRAM WEIGHT` to a line; empty lines and what follows a `#` are ignored.
    ///
    /// - Parameters:
    ///   - text: the lines.
    ///   - source: the name for messages.
    package init(parsing text: String, source: String) throws(ToolError) {
        var entries: [ProgramMix.Entry] = []
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            let words = line.prefix { $0 != "#" }.split(whereSeparator: \.isWhitespace)
            guard !words.isEmpty else { continue }
            let place = "\(source), line \(index + 1)"
            guard words.count == 2, let weight = UInt32(words[1]), 1...Self.maximumWeight ~= weight else {
                throw ToolError(
                    .usage,
                    "\(place): expected a program without blanks and a weight from 1 to \(Self.maximumWeight), "
                        + "such as `xor:255,fnv 3`")
            }
            let program: Program
            do {
                program = try Program(parsing: String(words[0]))
            } catch {
                throw ToolError(.usage, "\(place): \(error)")
            }
            guard !entries.contains(where: { $0.program == program }) else {
                throw ToolError(.usage, "\(place): \(program) stands here twice; add the weights up")
            }
            entries.append(ProgramMix.Entry(program: program, weight: weight))
        }
        guard 1...Self.maximumPrograms ~= entries.count else {
            throw ToolError(
                .usage, "\(source): has \(entries.count) programs; 1 to \(Self.maximumPrograms) are allowed")
        }
        self.init(entries)
    }
}
