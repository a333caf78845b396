import Glibc
import PacketFSRing
import SystemPackage
import Testing
import ToolTesting

/// A file-backed shared mapping of exactly `byteCount` bytes, a multiple of the page size, between two pages that nobody
/// may touch: an access outside it kills the test run.
final class TestRegion: @unchecked Sendable {
    // Unchecked: immutable; what the threads of a test do with the memory is their business.
    let file: FileDescriptor
    let base: UnsafeMutableRawPointer
    let byteCount: Int
    private let reservation: UnsafeMutableRawPointer

    static let pageByteCount = 4096

    init(byteCount: Int) throws {
        let page = TestRegion.pageByteCount
        precondition(byteCount > 0 && byteCount % page == 0)
        let path = "/tmp/packetfs-ring-test-\(getpid())-\(UInt64.random(in: 0 ... .max))"
        file = try FileDescriptor.open(
            FilePath(path), .readWrite, options: [.create, .exclusiveCreate, .closeOnExec],
            permissions: .ownerReadWrite)
        unlink(path)
        try file.resize(to: Int64(byteCount))
        self.byteCount = byteCount
        (reservation, base) = try TestRegion.map(file, byteCount)
    }

    /// The memory of another region, mapped once more at an address of its own, as another process has it.
    init(sharing other: TestRegion) throws {
        file = try other.file.duplicate()
        byteCount = other.byteCount
        (reservation, base) = try TestRegion.map(file, byteCount)
    }

    private static func map(
        _ file: FileDescriptor, _ byteCount: Int
    ) throws -> (reservation: UnsafeMutableRawPointer, base: UnsafeMutableRawPointer) {
        let page = TestRegion.pageByteCount
        let reservation = try #require(
            mmap(nil, byteCount + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))
        let base = try #require(
            mmap(
                reservation + page, byteCount, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file.rawValue, 0))
        try #require(base == reservation + page)
        return (reservation, base)
    }

    /// A region that ends with the ring's slab, or at most a page behind it, with a ring in it.
    convenience init(slots: UInt32, slabByteCount: UInt64 = 0, firstIndex: UInt32 = 0) throws {
        let geometry = try RingGeometry(slots: slots, slabByteCount: slabByteCount)
        let page = UInt64(TestRegion.pageByteCount)
        try self.init(byteCount: Int((geometry.regionByteCount + page - 1) / page * page))
        try Ring.create(at: base, byteCount: byteCount, geometry: geometry, firstIndex: firstIndex)
    }

    deinit {
        munmap(reservation, byteCount + 2 * TestRegion.pageByteCount)
        try? file.close()
    }

    func producer() throws(RingError) -> RingProducer {
        try RingProducer(attaching: base, byteCount: byteCount, lock: file)
    }

    func consumer() throws(RingError) -> RingConsumer {
        try RingConsumer(attaching: base, byteCount: byteCount, lock: file)
    }

    /// Reads or overwrites one word of the region, as a peer that does what it wants.
    subscript<T: BitwiseCopyable>(offset: Int, as type: T.Type = T.self) -> T {
        get { base.load(fromByteOffset: offset, as: T.self) }
        set { base.storeBytes(of: newValue, toByteOffset: offset, as: T.self) }
    }
}

/// The generator of all tests.
typealias SeededGenerator = ToolTesting.SeededGenerator

/// Runs the bodies at the same time, each in a thread of its own, and rethrows the first error in their order.
///
/// Threads rather than tasks: the bodies block, which the pool that runs tasks is not made for.
func together(_ bodies: [@Sendable () throws -> Void]) throws {
    final class Job: @unchecked Sendable {
        // Unchecked: the result is written by the thread and read after it was joined.
        let body: @Sendable () throws -> Void
        var error: (any Error)?

        init(_ body: @escaping @Sendable () throws -> Void) {
            self.body = body
        }
    }
    let jobs = bodies.map(Job.init)
    let threads = jobs.map { job in
        var thread = pthread_t()
        let status = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                let job = Unmanaged<Job>.fromOpaque(argument).takeRetainedValue()
                do {
                    try job.body()
                } catch {
                    job.error = error
                }
                return nil
            }, Unmanaged.passRetained(job).toOpaque())
        precondition(status == 0, "no thread to be had: \(status)")
        return thread
    }
    for thread in threads {
        pthread_join(thread, nil)
    }
    for job in jobs {
        if let error = job.error { throw error }
    }
}

/// `#expect` for expressions that call into a value which cannot be copied: the macro cannot take those apart.
func check(_ condition: Bool, _ comment: @autoclosure () -> String = "", at: SourceLocation = #_sourceLocation) {
    if !condition {
        Issue.record(Comment(rawValue: comment()), sourceLocation: at)
    }
}

/// `#require` likewise, for a condition.
func need(_ condition: Bool, _ comment: @autoclosure () -> String = "", at: SourceLocation = #_sourceLocation) throws {
    try #require(condition, Comment(rawValue: comment()), sourceLocation: at)
}

/// `#require` likewise, for a value.
func need<Value>(
    _ value: Value?, _ comment: @autoclosure () -> String = "", at: SourceLocation = #_sourceLocation
) throws -> Value {
    try #require(value, Comment(rawValue: comment()), sourceLocation: at)
}

/// What a test thread throws when something is not as it must be; `#expect` would record it, but not end the thread.
struct Failure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}

/// Fills a record so that whatever is written over it later is noticed.
///
/// This and its counterpart use typed pointers because those are inlined even in debug builds: the thread sanitizer then
/// sees the accesses, which it does not inside the standard library.
func fill(_ buffer: UnsafeMutableRawBufferPointer, seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    let words = buffer.bindMemory(to: UInt64.self)
    guard let first = words.baseAddress else { return }
    for index in 0..<words.count {
        first[index] = generator.next()
    }
}

/// Whether the first `byteCount` bytes, a multiple of 8, still are what `fill` made of them.
func isIntact(_ buffer: UnsafeRawBufferPointer, byteCount: Int, seed: UInt64) -> Bool {
    guard buffer.count >= byteCount else { return false }
    var generator = SeededGenerator(seed: seed)
    guard let first = buffer.bindMemory(to: UInt64.self).baseAddress else { return byteCount == 0 }
    for index in 0..<byteCount / 8 where first[index] != generator.next() {
        return false
    }
    return true
}
