import Glibc
import PacketFSEngine
import SystemPackage

extension PCoreWorker {
    /// `runIfAsked(parentDied:failed:)` of a tool, whose pcores say on standard error what went wrong.
    public static func runToolIfAsked() {
        runIfAsked { _ in
            let text: StaticString = "pfs: the parent process was killed; all pcores of its run have ended\n"
            write(2, text.utf8Start, text.utf8CodeUnitCount)
            _exit(ToolExit.system.rawValue)
        } failed: { pcore, error in
            FileDescriptor.standardError.writeLine("pcore \(pcore): \(error)")
        }
    }
}
