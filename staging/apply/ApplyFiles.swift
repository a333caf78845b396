import CPacketFSShims
import Glibc
import PacketFSEngine
import PacketFSTools
import SystemPackage

/// The input of a run.
package final class ApplySource {
    /// What kinds there are.
    package enum Kind {
        /// A regular file and its size when the run began.
        case file(FileDescriptor, byteCount: Int)
        /// Anything else that can be read: a pipe, a socket, a terminal, a device.
        case stream(FileDescriptor)
    }

    /// What it is.
    package let kind: Kind
    /// The bytes to work on, if their end is known.
    package let range: Range<UInt64>?
    /// Its name, as messages have it.
    package let name: String
    private let before: stat

    /// To read from. Stays this object's.
    package var descriptor: FileDescriptor {
        switch kind {
        case .file(let descriptor, _), .stream(let descriptor): descriptor
        }
    }

    /// Opens it, and checks that the range is in it.
    package init(_ configuration: ApplyConfiguration) throws(ToolError) {
        name = "\(configuration.input)"
        let opened: FileDescriptor
        do {
            switch configuration.input {
            case .file(let path): opened = try FileDescriptor.open(path, .readOnly, options: .closeOnExec)
            case .standardInput: opened = try FileDescriptor.standardInput.duplicate()
            }
        } catch {
            throw ToolError(.noInput, "cannot read \(configuration.input): \(error)")
        }
        _ = fcntl(opened.rawValue, F_SETFD, FD_CLOEXEC)
        var status = stat()
        fstat(opened.rawValue, &status)
        before = status
        let kindOfFile = status.st_mode & S_IFMT
        guard kindOfFile != S_IFDIR else {
            try? opened.close()
            throw ToolError(.noInput, "\(configuration.input) is a folder")
        }
        guard kindOfFile == S_IFREG else {
            guard configuration.output != .inPlace else {
                try? opened.close()
                throw ToolError(.usage, "--in-place: \(configuration.input) is not a regular file")
            }
            kind = .stream(opened)
            range = nil
            return
        }
        let size = Int(status.st_size)
        kind = .file(opened, byteCount: size)
        guard configuration.rangeOffset <= size else {
            throw ToolError(
                .usage, "--range-off \(configuration.rangeOffset): \(configuration.input) has only \(size) bytes")
        }
        let length = configuration.rangeLength ?? size - configuration.rangeOffset
        guard length <= size - configuration.rangeOffset else {
            throw ToolError(
                .usage,
                "--range-off \(configuration.rangeOffset) with --range-len \(length): \(configuration.input) has only "
                    + "\(size) bytes")
        }
        range = UInt64(configuration.rangeOffset)..<UInt64(configuration.rangeOffset + length)
    }

    deinit { try? descriptor.close() }

    /// A file's size, and when it was last written to, in nanoseconds since 1970; zeros of a stream.
    package struct State: Sendable, Equatable {
        /// Bytes.
        package let byteCount: UInt64
        /// CLOCK_REALTIME.
        package let modified: UInt64

        fileprivate init(_ status: stat) {
            byteCount = UInt64(status.st_size)
            modified = UInt64(status.st_mtim.tv_sec) &* 1_000_000_000 &+ UInt64(status.st_mtim.tv_nsec)
        }
    }

    /// Its state when it was opened.
    package var stateBefore: State { State(before) }

    /// Its state now.
    package func state() throws(ToolError) -> State {
        var now = stat()
        guard fstat(descriptor.rawValue, &now) == 0 else {
            throw ToolError(.io, "\(name): \(Errno(rawValue: errno))")
        }
        return State(now)
    }

    /// Refuses results of a file that became shorter, and warns of one that was written to.
    func checkUnchanged(_ report: (ApplyEvent) -> Void) throws(ToolError) {
        guard case .file(let descriptor, let byteCount) = kind else { return }
        var after = stat()
        guard fstat(descriptor.rawValue, &after) == 0 else { return }
        guard after.st_size >= byteCount else {
            throw ToolError(.io, "\(name) became shorter while it was read; nothing was written")
        }
        if State(after) != stateBefore {
            report(.warning("\(name) was written to while it was read: the values may fit no state of it"))
        }
    }

    /// Whether there is another name for it.
    package func isSameFile(as path: FilePath) -> Bool {
        var other = stat()
        return stat(path.string, &other) == 0 && other.st_dev == before.st_dev && other.st_ino == before.st_ino
    }
}

/// The output of a run.
final class ApplyOutput {
    private enum Kind {
        case none
        case file(OutputFile, keepsRest: Bool)
        case ordered(FileDescriptor, name: String)
    }

    private let kind: Kind
    /// What is subtracted from an input offset to get the output's.
    let shift: UInt64

    init(_ configuration: ApplyConfiguration, source: ApplySource) throws(ToolError) {
        switch configuration.output {
        case .none:
            (kind, shift) = (.none, 0)
        case .standardOutput:
            (kind, shift) = (.ordered(.standardOutput, name: "standard output"), 0)
        case .inPlace:
            guard case .file(let path) = configuration.input, let resolved = realpath(path.string, nil) else {
                throw ToolError(.noInput, "cannot find \(configuration.input)")
            }
            defer { free(resolved) }
            kind = .file(try OutputFile(FilePath(platformString: resolved)), keepsRest: true)
            shift = 0
        case .file(let path):
            guard !source.isSameFile(as: path) else {
                throw ToolError(.usage, "--out \(path): is the input itself; use --in-place if that is meant")
            }
            var status = stat()
            if stat(path.string, &status) == 0, ![S_IFREG, S_IFDIR].contains(status.st_mode & S_IFMT) {
                do {
                    kind = .ordered(
                        try FileDescriptor.open(path, .writeOnly, options: .closeOnExec), name: path.string)
                } catch {
                    throw ToolError(.cannotCreate, "cannot write \(path): \(error)")
                }
                shift = 0
                return
            }
            let target = realpath(path.string, nil)
            defer { free(target) }
            kind = .file(
                try OutputFile(target.map { FilePath(platformString: $0) } ?? path), keepsRest: false)
            shift = source.range?.lowerBound ?? 0
        }
    }

    /// Whether bytes must be written one after the other.
    var isOrdered: Bool {
        if case .ordered = kind { true } else { false }
    }

    /// To write to.
    var descriptor: FileDescriptor? {
        switch kind {
        case .none: nil
        case .file(let file, _): file.descriptor
        case .ordered(let descriptor, _): descriptor
        }
    }

    func writeError(_ error: any Error) -> ToolError {
        switch kind {
        case .file(let file, _): file.writeError(error)
        case .ordered(_, let name): ToolError(.io, "cannot write \(name): \(error)")
        case .none: ToolError(.io, "\(error)")
        }
    }

    /// Gives the output its name, once everything is in it.
    func finish(_ source: ApplySource) throws(ToolError) {
        guard case .file(let file, let keepsRest) = kind else { return }
        if keepsRest, case .file(let input, let byteCount) = source.kind, let range = source.range {
            try copy(input, 0..<Int(range.lowerBound), to: file)
            try copy(input, Int(range.upperBound)..<byteCount, to: file)
        }
        try file.commit()
    }

    /// Copies what the program was not applied to.
    private func copy(_ input: FileDescriptor, _ range: Range<Int>, to file: OutputFile) throws(ToolError) {
        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        var done = range.lowerBound
        while done < range.upperBound {
            do {
                let wanted = min(buffer.count, range.upperBound - done)
                let got = try buffer.withUnsafeMutableBytes {
                    try input.read(
                        fromAbsoluteOffset: Int64(done), into: UnsafeMutableRawBufferPointer(rebasing: $0[..<wanted]))
                }
                guard got > 0 else { throw ToolError(.io, "the input became shorter while it was read") }
                _ = try buffer.withUnsafeBytes {
                    try file.descriptor.writeAll(
                        toAbsoluteOffset: Int64(done), UnsafeRawBufferPointer(rebasing: $0[..<got]))
                }
                done += got
            } catch let error as ToolError {
                throw error
            } catch {
                throw file.writeError(error)
            }
        }
    }
}

/// Moves a stream through a window: reads into it as far as there is room, writes out what is done.
///
/// Offsets count from the start of the range; a byte's place is its offset modulo the window. Never blocks, so that signals
/// and dead pcores are noticed: descriptors of pipes are opened anew for that, because the flag belongs to the description
/// that other processes share.
final class BlockStream {
    private let input: FileDescriptor
    private let output: FileDescriptor?
    private let writeError: (any Error) -> ToolError
    private let owned: [FileDescriptor]
    private let memory: UnsafeMutableRawBufferPointer
    private var toSkip: Int
    private let limit: UInt64
    /// Bytes read, and bytes that are written or need not be.
    private(set) var received: UInt64 = 0
    private(set) var written: UInt64 = 0
    private(set) var isAtEnd = false

    init(
        source: ApplySource, output: ApplyOutput, memory: UnsafeMutableRawBufferPointer, skip: Int, limit: UInt64?
    ) throws(ToolError) {
        var owned: [FileDescriptor] = []
        func nonBlocking(_ descriptor: FileDescriptor, _ mode: FileDescriptor.AccessMode) -> FileDescriptor {
            let path = FilePath("/proc/self/fd/\(descriptor.rawValue)")
            guard let own = try? FileDescriptor.open(path, mode, options: [.nonBlocking, .closeOnExec]) else {
                return descriptor
            }
            owned.append(own)
            return own
        }
        switch source.kind {
        case .file(let descriptor, _):
            input = descriptor
            toSkip = 0
            guard lseek(descriptor.rawValue, off_t(skip), Int32(SEEK_SET)) >= 0 else {
                throw ToolError(.io, "cannot seek in the input: \(Errno(rawValue: errno))")
            }
        case .stream(let descriptor):
            input = nonBlocking(descriptor, .readOnly)
            toSkip = skip
        }
        if output.isOrdered, let descriptor = output.descriptor {
            self.output = Self.isPipe(descriptor) ? nonBlocking(descriptor, .writeOnly) : descriptor
        } else {
            self.output = output.descriptor
        }
        writeError = { output.writeError($0) }
        self.owned = owned
        self.memory = memory
        self.limit = limit ?? .max
        if limit == 0 { isAtEnd = true }
        for descriptor in owned { _ = pfs_set_pipe_size(descriptor.rawValue, 1 << 20) }
        // A reader that goes away shows as EPIPE and not as a deadly signal.
        signal(SIGPIPE, SIG_IGN)
    }

    deinit { for descriptor in owned { try? descriptor.close() } }

    private static func isPipe(_ descriptor: FileDescriptor) -> Bool {
        var status = stat()
        return fstat(descriptor.rawValue, &status) == 0 && status.st_mode & S_IFMT == S_IFIFO
    }

    private func place(_ offset: UInt64) -> Int { Int(offset % UInt64(memory.count)) }

    /// Reads what there is, as far as there is room; whether anything came, be it the end.
    func read() throws(ToolError) -> Bool {
        guard !isAtEnd else { return false }
        let start = place(received)
        let room = min(memory.count - Int(received - written), memory.count - start, 4 << 20)
        let wanted = toSkip > 0 ? min(room, toSkip) : Int(min(UInt64(room), limit - received))
        guard wanted > 0 else { return false }
        let got = Glibc.read(input.rawValue, memory.baseAddress! + start, wanted)
        if got < 0 {
            if errno == EAGAIN || errno == EINTR { return false }
            throw ToolError(.io, "cannot read the input: \(Errno(rawValue: errno))")
        }
        if got == 0 {
            guard toSkip == 0 else { throw ToolError(.usage, "--range-off: the input ends before it") }
            isAtEnd = true
        } else if toSkip > 0 {
            toSkip -= got
        } else {
            received += UInt64(got)
            isAtEnd = received == limit
        }
        return true
    }

    /// Writes what is done and not written yet, as far as the output takes it; 1 if it took anything.
    func write(upTo done: UInt64) throws(ToolError) -> Int {
        guard let output else {
            defer { written = done }
            return written == done ? 0 : 1
        }
        var took = 0
        while written < done {
            let start = place(written)
            let count = min(Int(done - written), memory.count - start, 1 << 20)
            let put = Glibc.write(output.rawValue, memory.baseAddress! + start, count)
            if put < 0 {
                if errno == EAGAIN || errno == EINTR { break }
                throw writeError(Errno(rawValue: errno))
            }
            written += UInt64(put)
            took = 1
        }
        return took
    }

    /// Whether the descriptors are what the run waits for.
    func canWait(_ done: UInt64) -> Bool { wantsInput || (output != nil && written < done) }

    private var wantsInput: Bool { !isAtEnd && received - written < UInt64(memory.count) }

    /// Sleeps until a descriptor is ready or the time is over.
    func wait(upTo done: UInt64, milliseconds: Int32) {
        var set: [pollfd] = []
        if wantsInput { set.append(pollfd(fd: input.rawValue, events: Int16(POLLIN), revents: 0)) }
        if let output, written < done {
            set.append(pollfd(fd: output.rawValue, events: Int16(POLLOUT), revents: 0))
        }
        poll(&set, nfds_t(set.count), milliseconds)
    }
}
