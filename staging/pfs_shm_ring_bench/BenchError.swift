import PacketFSRing
import SystemPackage

/// Why the benchmark could not be run to its end.
enum BenchError: Error, CustomStringConvertible {
    case unavailable(String)
    case system(String, Errno)
    case ring(RingError)
    case peerGone(String)
    case output(Errno)

    var description: String {
        switch self {
        case .unavailable(let what): what
        case .system(let what, let errno): "\(what) failed: \(errno)"
        case .ring(let error): "\(error)"
        case .output(let errno): "the figures could not be written to standard output: \(errno)"
        case .peerGone(let who): "the \(who) ended before the measurement was over"
        }
    }

    /// The exit code after sysexits(3).
    var exitCode: Int32 {
        switch self {
        case .unavailable: 69
        case .output: 74
        case .system, .ring, .peerGone: 71
        }
    }
}
