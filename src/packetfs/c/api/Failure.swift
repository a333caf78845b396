import CPacketFS
import Glibc
import PacketFSGram
import PacketFSMemory
import PacketFSPCPU
import PacketFSRing

/// What a function of the C interface reports instead of a result.
struct Failure: Error {
    let status: Int32
    let systemError: Int32
    let message: String

    /// `status` is one of `PFS_ERROR_*`.
    init(_ status: Int, _ message: String, systemError: Int32 = 0) {
        self.status = Int32(status)
        self.systemError = systemError
        self.message = message
    }

    /// Writes it where the caller wants it, if anywhere.
    func report(to error: UnsafeMutablePointer<pfs_error>?) {
        guard let error else { return }
        error.pointee.status = status
        error.pointee.system_error = systemError
        withUnsafeMutableBytes(of: &error.pointee.message) { copy(message, to: $0) }
    }
}

/// Copies as much of `text` as fits, whole characters of UTF-8, and a NUL behind it. `memory` is not empty.
func copy(_ text: String, to memory: UnsafeMutableRawBufferPointer) {
    var text = text
    text.withUTF8 { utf8 in
        var count = min(utf8.count, memory.count - 1)
        // A byte that continues a character must not be the first one that is left out.
        while count > 0, count < utf8.count, utf8[count] & 0xC0 == 0x80 { count -= 1 }
        memory.copyMemory(from: UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(utf8)[..<count]))
        memory[count] = 0
    }
}

/// Runs the body of a function of the C interface: its status, the failure told to `error`.
@inline(__always)
func done(_ error: UnsafeMutablePointer<pfs_error>?, _ body: () throws(Failure) -> Void) -> Int32 {
    do {
        try body()
        return Int32(PFS_OK)
    } catch {
        return refused(error)
    }

    func refused(_ failure: Failure) -> Int32 {
        failure.report(to: error)
        return failure.status
    }
}

/// As ``done(_:_:)``; a body that returns false says that it cannot be had now.
@inline(__always)
func now(_ error: UnsafeMutablePointer<pfs_error>?, _ body: () throws(Failure) -> Bool) -> Int32 {
    var isThere = false
    let status = done(error) { () throws(Failure) in isThere = try body() }
    return status == Int32(PFS_OK) && !isThere ? Int32(PFS_AGAIN) : status
}

// MARK: - What the libraries throw

@inline(__always)
func memory<Result: ~Copyable>(_ body: () throws(MemoryError) -> Result) throws(Failure) -> Result {
    do { return try body() } catch { throw Failure(error) }
}

@inline(__always)
func ring<Result: ~Copyable>(_ body: () throws(RingError) -> Result) throws(Failure) -> Result {
    do { return try body() } catch { throw Failure(error) }
}

func record<Result>(_ body: () throws(RecordError) -> Result) throws(Failure) -> Result {
    do { return try body() } catch { throw Failure(error) }
}

func program<Result>(_ body: () throws(ProgramError) -> Result) throws(Failure) -> Result {
    do { return try body() } catch { throw Failure(PFS_ERROR_PROGRAM, error.description) }
}

extension Failure {
    fileprivate init(_ error: MemoryError) {
        switch error {
        case .shortage: self.init(PFS_ERROR_SHORTAGE, error.description)
        case .unavailable: self.init(PFS_ERROR_UNAVAILABLE, error.description)
        case .system(_, _, let errno):
            let status =
                switch errno {
                case .noSuchFileOrDirectory: PFS_ERROR_NOT_FOUND
                case .fileExists: PFS_ERROR_EXISTS
                case .permissionDenied, .notPermitted: PFS_ERROR_PERMISSION
                default: PFS_ERROR_SYSTEM
                }
            self.init(status, error.description, systemError: errno.rawValue)
        case .outOfRange, .notUsable, .inputTooShort, .invalid: self.init(PFS_ERROR_ARGUMENT, error.description)
        }
    }

    fileprivate init(_ error: RingError) {
        switch error {
        case .notReady: self.init(PFS_ERROR_NOT_READY, error.description)
        case .wrongVersion: self.init(PFS_ERROR_VERSION, error.description)
        case .corrupt, .regionTooSmall: self.init(PFS_ERROR_CORRUPT, error.description)
        case .alreadyTaken: self.init(PFS_ERROR_TAKEN, error.description)
        case .invalidGeometry, .misalignedRegion: self.init(PFS_ERROR_ARGUMENT, error.description)
        case .recordTooLarge: self.init(PFS_ERROR_TOO_LARGE, error.description)
        case .system(_, let errno): self.init(PFS_ERROR_SYSTEM, error.description, systemError: errno.rawValue)
        }
    }

    fileprivate init(_ error: RecordError) {
        switch error {
        case .unsupportedVersion: self.init(PFS_ERROR_VERSION, error.description)
        case .descriptorOutOfRange: self.init(PFS_ERROR_RANGE, error.description)
        default: self.init(PFS_ERROR_RECORD, error.description)
        }
    }
}

// MARK: - Versions and statuses

/// See packetfs.h.
@c @implementation
public func pfs_version() -> UnsafePointer<CChar>? {
    version.text
}

/// The version's characters; made once, never changed, never freed.
private struct VersionText: @unchecked Sendable {
    let text: UnsafePointer<CChar>?
}
private let version = VersionText(text: strdup(PFS_VERSION).map { UnsafePointer($0) })

/// See packetfs.h.
@c @implementation
public func pfs_status_text(_ status: Int32) -> UnsafePointer<CChar>? {
    switch Int(status) {
    case PFS_OK: constant("done")
    case PFS_AGAIN: constant("not now: full, empty, out of time, or interrupted")
    case PFS_ERROR_ARGUMENT: constant("an argument is NULL, a closed or a wrong handle, or has no meaning here")
    case PFS_ERROR_STATE: constant("called out of turn")
    case PFS_ERROR_NOT_FOUND: constant("there is nothing of that name")
    case PFS_ERROR_EXISTS: constant("the name is taken")
    case PFS_ERROR_PERMISSION: constant("permission denied")
    case PFS_ERROR_SHORTAGE: constant("memory, huge pages or room are short")
    case PFS_ERROR_UNAVAILABLE: constant("not available on this machine")
    case PFS_ERROR_TAKEN: constant("the role in the ring is taken")
    case PFS_ERROR_NOT_READY: constant("the region holds no ring yet")
    case PFS_ERROR_VERSION: constant("of a version that this library does not read")
    case PFS_ERROR_CORRUPT: constant("shared memory is corrupt")
    case PFS_ERROR_RANGE: constant("a range leads out of the blob")
    case PFS_ERROR_TOO_LARGE: constant("it does not fit")
    case PFS_ERROR_PROGRAM: constant("this is no program")
    case PFS_ERROR_RECORD: constant("this is no record")
    case PFS_ERROR_SYSTEM: constant("a system call failed")
    default: constant("unknown status")
    }
}

/// The characters of a literal, which live as long as the process and end with a NUL.
private func constant(_ text: StaticString) -> UnsafePointer<CChar> {
    UnsafeRawPointer(text.utf8Start).assumingMemoryBound(to: CChar.self)
}
