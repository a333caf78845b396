import PacketFSEngine
import PacketFSTools
import SystemPackage

extension ToolError {
    /// What ended the work on a file called `input`, with what that means for the output.
    package init(
        _ error: EngineError, input: String, writeError: (any Error) -> ToolError = { ToolError(.io, "\($0)") }
    ) {
        switch error {
        case .inputEnded: self.init(.io, "\(input) became shorter while it was read; nothing was written")
        case .readingInput(let errno): self.init(.io, "cannot read \(input): \(errno); nothing was written")
        case .writingOutput(let errno): self = writeError(errno)
        case .ended: self.init(.system, "\(error), and nothing was written")
        default: self.init(any: error)
        }
    }
}
