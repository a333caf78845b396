import CPacketFS

/// What a handle of the C interface stands for.
protocol HandleObject: AnyObject {
    /// Distinguishes the handles of one kind from those of all others.
    static var mark: UInt64 { get }
    /// What the kind is called in messages.
    static var noun: String { get }
}

/// What a handle points to. The mark comes first, so that a handle of another kind is found out, and not used.
private struct Block {
    var mark: UInt64
    var object: Unmanaged<AnyObject>
}

/// Makes a handle that keeps `object` until ``close(_:_:)``.
func handle<Object: HandleObject>(_ object: Object) -> OpaquePointer {
    let block = UnsafeMutablePointer<Block>.allocate(capacity: 1)
    block.initialize(to: Block(mark: Object.mark, object: .passRetained(object)))
    return OpaquePointer(block)
}

/// The object that `handle` stands for.
@inline(__always)
func object<Object: HandleObject>(_ handle: OpaquePointer?, _: Object.Type = Object.self) throws(Failure) -> Object {
    let block = try block(handle, of: Object.self)
    // Of this class, as the mark says.
    return unsafeDowncast(block.pointee.object.takeUnretainedValue(), to: Object.self)
}

/// Lets go of what the handle at `place` stands for, and makes it NULL. NULL is left as it is.
func close<Object: HandleObject>(_ place: UnsafeMutablePointer<OpaquePointer?>?, _: Object.Type) throws(Failure) {
    let place = try required(place, "address of the handle")
    guard place.pointee != nil else { return }
    let block = try block(place.pointee, of: Object.self)
    place.pointee = nil
    let object = block.pointee.object
    // Until the memory is reused, a copy of the handle is found out too.
    block.pointee.mark = 0
    block.deallocate()
    object.release()
}

@inline(__always)
private func block<Object: HandleObject>(
    _ handle: OpaquePointer?, of _: Object.Type
) throws(Failure) -> UnsafeMutablePointer<Block> {
    guard let handle, Int(bitPattern: handle) % MemoryLayout<Block>.alignment == 0 else {
        throw Failure(PFS_ERROR_ARGUMENT, "the \(Object.noun) is no handle: it was never made, or has been closed")
    }
    let block = UnsafeMutablePointer<Block>(handle)
    guard block.pointee.mark == Object.mark else {
        throw Failure(PFS_ERROR_ARGUMENT, "the handle is not that of a \(Object.noun)")
    }
    return block
}

// MARK: - Arguments

/// A pointer that must not be NULL.
@inline(__always)
func required<Pointer>(_ pointer: Pointer?, _ what: StaticString) throws(Failure) -> Pointer {
    guard let pointer else { throw Failure(PFS_ERROR_ARGUMENT, "the \(what) is NULL") }
    return pointer
}

/// A C string of UTF-8 that must not be NULL.
func string(_ text: UnsafePointer<CChar>?, _ what: StaticString) throws(Failure) -> String {
    guard let string = String(validatingCString: try required(text, what)) else {
        throw Failure(PFS_ERROR_ARGUMENT, "the \(what) is not UTF-8")
    }
    return string
}

/// A size or count that this machine can have in memory.
func size(_ value: UInt64, _ what: StaticString) throws(Failure) -> Int {
    guard value < 1 << 62 else { throw Failure(PFS_ERROR_ARGUMENT, "the \(what), \(value), is beyond any memory") }
    return Int(value)
}

/// `count` elements at `pointer`, which may be NULL if there are none.
func elements<Element>(
    _ pointer: UnsafePointer<Element>?, _ count: UInt64, _ what: StaticString
) throws(Failure) -> UnsafeBufferPointer<Element> {
    guard count > 0 else { return UnsafeBufferPointer(start: nil, count: 0) }
    let start = try required(pointer, what)
    guard count <= UInt64(1 << 62) / UInt64(MemoryLayout<Element>.stride) else {
        throw Failure(PFS_ERROR_ARGUMENT, "\(count) elements of the \(what) are beyond any memory")
    }
    return UnsafeBufferPointer(start: start, count: Int(count))
}

/// The same, to be written.
func elements<Element>(
    _ pointer: UnsafeMutablePointer<Element>?, _ count: UInt64, _ what: StaticString
) throws(Failure) -> UnsafeMutableBufferPointer<Element> {
    UnsafeMutableBufferPointer(mutating: try elements(UnsafePointer(pointer), count, what))
}

/// `count` bytes of a record, at a multiple of `alignment`.
func bytes(
    _ memory: UnsafeRawPointer?, _ count: UInt64, alignment: Int = 16
) throws(Failure) -> UnsafeRawBufferPointer {
    let memory = try required(memory, "memory of the record")
    guard Int(bitPattern: memory) % alignment == 0 else {
        throw Failure(
            PFS_ERROR_ARGUMENT, "the record is at \(memory); its address must be a multiple of \(alignment)")
    }
    return UnsafeRawBufferPointer(start: memory, count: try size(count, "size of the memory"))
}

/// The same, to be written.
func bytes(
    _ memory: UnsafeMutableRawPointer?, _ count: UInt64, alignment: Int = 16
) throws(Failure) -> UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(mutating: try bytes(UnsafeRawPointer(memory), count, alignment: alignment))
}

/// Fails unless `needed` of something fit into `capacity`.
func require(_ capacity: Int, holds needed: Int, _ what: StaticString) throws(Failure) {
    guard needed <= capacity else {
        throw Failure(PFS_ERROR_TOO_LARGE, "\(needed) \(what) are needed, but there is room for \(capacity)")
    }
}

/// Writes a description into the caller's memory.
func describe(_ text: UnsafeMutablePointer<CChar>?, _ size: UInt64, _ description: String) throws(Failure) {
    let memory = try elements(text, size, "text")
    guard !memory.isEmpty else { throw Failure(PFS_ERROR_ARGUMENT, "a text of 0 bytes holds not even its end") }
    copy(description, to: UnsafeMutableRawBufferPointer(memory))
}
