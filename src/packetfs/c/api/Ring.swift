import CPacketFS
import PacketFSMemory
import PacketFSRing
import SystemPackage

/// What a `pfs_ring` stands for.
final class RingObject: HandleObject {
    static var mark: UInt64 { 0x7066_735F_7269_6E67 }  // "pfs_ring"
    static var noun: String { "ring" }

    let region: SharedRegion
    init(_ region: consuming SharedRegion) { self.region = region }
}

/// A time limit of the C interface: below 0 is none.
func timeout(_ nanoseconds: Int64) -> Duration? { nanoseconds < 0 ? nil : .nanoseconds(nanoseconds) }

/// See packetfs.h.
@c @implementation
public func pfs_ring_create(
    _ name: UnsafePointer<CChar>?, _ folderPath: UnsafePointer<CChar>?, _ slots: UInt32, _ slabByteCount: UInt64,
    _ out: UnsafeMutablePointer<OpaquePointer?>?, _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    done(error) { () throws(Failure) in
        let out = try required(out, "address for the ring")
        let geometry = try ring { () throws(RingError) in
            try RingGeometry(slots: slots, slabByteCount: slabByteCount)
        }
        let count = Int(geometry.regionByteCount)
        let object: RingObject
        var file: String?
        if name == nil {
            object = RingObject(
                try memory { () throws(MemoryError) in
                    try SharedRegion.create(byteCount: count, name: "packetfs-ring")
                })
        } else {
            file = try fileName(name, .ring)
            let folder = try folder(folderPath)
            object = RingObject(
                try memory { () throws(MemoryError) in try SharedRegion.create(byteCount: count, in: folder) })
        }
        try ring { () throws(RingError) in
            try Ring.create(at: object.region.base, byteCount: object.region.byteCount, geometry: geometry)
        }
        if let file {
            let folder = try folder(folderPath)
            try memory { () throws(MemoryError) in try object.region.publish(as: file, in: folder) }
        }
        out.pointee = handle(object)
    }
}

/// See packetfs.h.
@c @implementation
public func pfs_ring_open(
    _ name: UnsafePointer<CChar>?, _ folderPath: UnsafePointer<CChar>?, _ out: UnsafeMutablePointer<OpaquePointer?>?,
    _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    done(error) { () throws(Failure) in
        let out = try required(out, "address for the ring")
        let file = try fileName(name, .ring)
        let folder = try folder(folderPath)
        let region = try memory { () throws(MemoryError) in try SharedRegion.open(named: file, in: folder) }
        out.pointee = handle(RingObject(region))
    }
}

/// See packetfs.h.
@c @implementation
public func pfs_ring_adopt(
    _ descriptor: Int32, _ out: UnsafeMutablePointer<OpaquePointer?>?, _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    done(error) { () throws(Failure) in
        let out = try required(out, "address for the ring")
        let region = try memory { () throws(MemoryError) in
            try SharedRegion.adopt(FileDescriptor(rawValue: descriptor))
        }
        out.pointee = handle(RingObject(region))
    }
}

/// See packetfs.h.
@c @implementation
public func pfs_ring_remove(
    _ name: UnsafePointer<CChar>?, _ folderPath: UnsafePointer<CChar>?, _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    done(error) { () throws(Failure) in
        let file = try fileName(name, .ring)
        let folder = try folder(folderPath)
        try memory { () throws(MemoryError) in try SharedRegion.remove(named: file, in: folder) }
    }
}

/// See packetfs.h.
@c @implementation
public func pfs_ring_descriptor(
    _ ring: OpaquePointer?, _ descriptor: UnsafeMutablePointer<Int32>?, _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    done(error) { () throws(Failure) in
        let object = try object(ring, RingObject.self)
        try required(descriptor, "address for the descriptor").pointee = object.region.fileDescriptor.rawValue
    }
}

/// See packetfs.h.
@c @implementation
public func pfs_ring_attached(
    _ handle: OpaquePointer?, _ producer: UnsafeMutablePointer<UInt32>?, _ consumer: UnsafeMutablePointer<UInt32>?,
    _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    done(error) { () throws(Failure) in
        let file = try object(handle, RingObject.self).region.fileDescriptor
        let produces = try ring { () throws(RingError) in try Ring.isTaken(.producer, lock: file) }
        let consumes = try ring { () throws(RingError) in try Ring.isTaken(.consumer, lock: file) }
        producer?.pointee = produces ? 1 : 0
        consumer?.pointee = consumes ? 1 : 0
    }
}

/// See packetfs.h.
@c @implementation
public func pfs_ring_close(
    _ ring: UnsafeMutablePointer<OpaquePointer?>?, _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    done(error) { () throws(Failure) in try close(ring, RingObject.self) }
}
