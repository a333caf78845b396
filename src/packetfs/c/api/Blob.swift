import CPacketFS
import PacketFSMemory
import SystemPackage

/// What a `pfs_blob` stands for.
final class BlobObject: HandleObject {
    static var mark: UInt64 { 0x7066_735F_626C_6F62 }  // "pfs_blob"
    static var noun: String { "blob" }

    let blob: HugeBlob
    init(_ blob: consuming HugeBlob) { self.blob = blob }
}

/// Where regions lie unless something else is said.
func folder(_ path: UnsafePointer<CChar>?) throws(Failure) -> FilePath {
    path == nil ? "/dev/shm" : FilePath(try string(path, "folder"))
}

/// The name of the file of a region.
func fileName(_ name: UnsafePointer<CChar>?, _ kind: RegionKind) throws(Failure) -> String {
    let name = try string(name, "name")
    return try memory { () throws(MemoryError) in try kind.fileName(name) }
}

/// A size of which 0 means whatever the file has.
private func byteCount(_ value: UInt64) throws(Failure) -> Int? {
    value == 0 ? nil : try size(value, "size of the blob")
}

/// See packetfs.h.
@c @implementation
public func pfs_blob_create(
    _ name: UnsafePointer<CChar>?, _ folderPath: UnsafePointer<CChar>?, _ byteCount: UInt64, _ pages: UInt32,
    _ blob: UnsafeMutablePointer<OpaquePointer?>?, _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    done(error) { () throws(Failure) in
        let out = try required(blob, "address for the blob")
        let count = try size(byteCount, "size of the blob")
        let preference = try preference(pages)
        guard name != nil || folderPath != nil else {
            let made = try memory { () throws(MemoryError) in try HugeBlob.create(byteCount: count, pages: preference) }
            out.pointee = handle(BlobObject(made))
            return
        }
        let file = name == nil ? nil : try fileName(name, .blob)
        let folder = try folder(folderPath)
        let made = try memory { () throws(MemoryError) in
            try HugeBlob.create(named: file, in: folder, byteCount: count, pages: preference)
        }
        out.pointee = handle(BlobObject(made))
    }
}

private func preference(_ pages: UInt32) throws(Failure) -> PagePreference {
    switch Int(pages) {
    case PFS_PAGES_AUTO: .automatic
    case PFS_PAGES_1G: .huge1G
    case PFS_PAGES_2M: .huge2M
    case PFS_PAGES_TRANSPARENT: .transparent
    case PFS_PAGES_4K: .small
    default: throw Failure(PFS_ERROR_ARGUMENT, "pages \(pages): use one of PFS_PAGES_*")
    }
}

/// See packetfs.h.
@c @implementation
public func pfs_blob_open(
    _ name: UnsafePointer<CChar>?, _ folderPath: UnsafePointer<CChar>?, _ size: UInt64,
    _ blob: UnsafeMutablePointer<OpaquePointer?>?, _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    done(error) { () throws(Failure) in
        let out = try required(blob, "address for the blob")
        let file = try fileName(name, .blob)
        let folder = try folder(folderPath)
        let count = try byteCount(size)
        let opened = try memory { () throws(MemoryError) in
            try HugeBlob.open(named: file, in: folder, byteCount: count)
        }
        out.pointee = handle(BlobObject(opened))
    }
}

/// See packetfs.h.
@c @implementation
public func pfs_blob_adopt(
    _ descriptor: Int32, _ size: UInt64, _ blob: UnsafeMutablePointer<OpaquePointer?>?,
    _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    done(error) { () throws(Failure) in
        let out = try required(blob, "address for the blob")
        let count = try byteCount(size)
        let adopted = try memory { () throws(MemoryError) in
            try HugeBlob.adopt(FileDescriptor(rawValue: descriptor), byteCount: count)
        }
        out.pointee = handle(BlobObject(adopted))
    }
}

/// See packetfs.h.
@c @implementation
public func pfs_blob_remove(
    _ name: UnsafePointer<CChar>?, _ folderPath: UnsafePointer<CChar>?, _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    done(error) { () throws(Failure) in
        let file = try fileName(name, .blob)
        let folder = try folder(folderPath)
        try memory { () throws(MemoryError) in try HugeBlob.remove(named: file, in: folder) }
    }
}

/// See packetfs.h.
@c @implementation
public func pfs_blob_bytes(
    _ blob: OpaquePointer?, _ bytes: UnsafeMutablePointer<UnsafeMutablePointer<UInt8>?>?,
    _ byteCount: UnsafeMutablePointer<UInt64>?, _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    done(error) { () throws(Failure) in
        let object = try object(blob, BlobObject.self)
        object.blob.withUnsafeMutableBytes { memory in
            bytes?.pointee = memory.baseAddress?.assumingMemoryBound(to: UInt8.self)
            byteCount?.pointee = UInt64(memory.count)
        }
    }
}

/// See packetfs.h.
@c @implementation
public func pfs_blob_descriptor(
    _ blob: OpaquePointer?, _ descriptor: UnsafeMutablePointer<Int32>?, _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    done(error) { () throws(Failure) in
        let object = try object(blob, BlobObject.self)
        try required(descriptor, "address for the descriptor").pointee = object.blob.fileDescriptor.rawValue
    }
}

/// See packetfs.h.
@c @implementation
public func pfs_blob_describe(
    _ blob: OpaquePointer?, _ text: UnsafeMutablePointer<CChar>?, _ size: UInt64,
    _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    done(error) { () throws(Failure) in
        let object = try object(blob, BlobObject.self)
        let backing = try memory { () throws(MemoryError) in try object.blob.backing() }
        try describe(text, size, backing.description)
    }
}

/// See packetfs.h.
@c @implementation
public func pfs_blob_close(
    _ blob: UnsafeMutablePointer<OpaquePointer?>?, _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    done(error) { () throws(Failure) in try close(blob, BlobObject.self) }
}
