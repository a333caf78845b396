import CPacketFS
import PacketFSRing

/// What a `pfs_producer` stands for; used by one thread at a time, which never calls back, hence unchecked exclusivity.
final class ProducerObject: HandleObject {
    static var mark: UInt64 { 0x7066_735F_7072_6F64 }  // "pfs_prod"
    static var noun: String { "producer" }

    /// Keeps the mapping.
    private let ring: RingObject
    @exclusivity(unchecked) var producer: RingProducer
    /// Whether a record is under construction.
    @exclusivity(unchecked) var isReserved = false

    init(_ ring: RingObject, _ producer: consuming RingProducer) {
        self.ring = ring
        self.producer = producer
    }
}

/// See packetfs.h.
@c @implementation
public func pfs_producer_attach(
    _ handleOfRing: OpaquePointer?, _ out: UnsafeMutablePointer<OpaquePointer?>?,
    _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    done(error) { () throws(Failure) in
        let out = try required(out, "address for the producer")
        let object = try object(handleOfRing, RingObject.self)
        let producer = try ring { () throws(RingError) in
            try RingProducer(
                attaching: object.region.base, byteCount: object.region.byteCount, lock: object.region.fileDescriptor)
        }
        out.pointee = handle(ProducerObject(object, producer))
    }
}

/// See packetfs.h.
@c @implementation
public func pfs_producer_reserve(
    _ producer: OpaquePointer?, _ byteCount: UInt64, _ bytes: UnsafeMutablePointer<UnsafeMutableRawPointer?>?,
    _ capacity: UnsafeMutablePointer<UInt64>?, _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    now(error) { () throws(Failure) in
        let object = try object(producer, ProducerObject.self)
        let out = try required(bytes, "address for the record's")
        guard !object.isReserved else {
            throw Failure(PFS_ERROR_STATE, "a record is reserved already: commit or discard it first")
        }
        let count = try size(byteCount, "size of the record")
        guard let room = try ring({ () throws(RingError) in try object.producer.reserve(byteCount: count) }) else {
            return false
        }
        object.isReserved = true
        out.pointee = room.baseAddress
        capacity?.pointee = UInt64(room.count)
        return true
    }
}

/// See packetfs.h.
@c @implementation
public func pfs_producer_commit(_ producer: OpaquePointer?, _ error: UnsafeMutablePointer<pfs_error>?) -> Int32 {
    done(error) { () throws(Failure) in
        let object = try object(producer, ProducerObject.self)
        guard object.isReserved else {
            throw Failure(PFS_ERROR_STATE, "no record is reserved: there is none to commit")
        }
        object.isReserved = false
        object.producer.commit()
    }
}

/// See packetfs.h.
@c @implementation
public func pfs_producer_discard(_ producer: OpaquePointer?, _ error: UnsafeMutablePointer<pfs_error>?) -> Int32 {
    done(error) { () throws(Failure) in
        let object = try object(producer, ProducerObject.self)
        object.isReserved = false
        object.producer.discard()
    }
}

/// See packetfs.h.
@c @implementation
public func pfs_producer_push(
    _ producer: OpaquePointer?, _ values: UnsafePointer<UInt32>?, _ count: UInt64,
    _ pushed: UnsafeMutablePointer<UInt64>?, _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    now(error) { () throws(Failure) in
        let object = try object(producer, ProducerObject.self)
        let out = try required(pushed, "address for the count")
        guard !object.isReserved else {
            throw Failure(PFS_ERROR_STATE, "a record is reserved: a ring carries either records or values")
        }
        let values = try elements(values, count, "values")
        let done = object.producer.push(contentsOf: values.span)
        out.pointee = UInt64(done)
        return done > 0 || values.isEmpty
    }
}

/// See packetfs.h.
@c @implementation
public func pfs_producer_notify(_ producer: OpaquePointer?, _ error: UnsafeMutablePointer<pfs_error>?) -> Int32 {
    done(error) { () throws(Failure) in try object(producer, ProducerObject.self).producer.notifyConsumer() }
}

/// See packetfs.h.
@c @implementation
public func pfs_producer_wait(
    _ producer: OpaquePointer?, _ nanoseconds: Int64, _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    now(error) { () throws(Failure) in
        let object = try object(producer, ProducerObject.self)
        guard !object.isReserved else {
            throw Failure(PFS_ERROR_STATE, "a record is reserved: commit or discard it before you wait for more space")
        }
        return try ring { () throws(RingError) in
            try object.producer.waitForSpace(timeout: timeout(nanoseconds))
        }
    }
}

/// See packetfs.h.
@c @implementation
public func pfs_producer_wait_release(
    _ producer: OpaquePointer?, _ below: UInt64, _ nanoseconds: Int64, _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    now(error) { () throws(Failure) in
        let object = try object(producer, ProducerObject.self)
        let below = try size(below, "number of entries")
        return try ring { () throws(RingError) in
            try object.producer.waitForRelease(below: below, timeout: timeout(nanoseconds))
        }
    }
}

/// See packetfs.h.
@c @implementation
public func pfs_producer_count(
    _ producer: OpaquePointer?, _ count: UnsafeMutablePointer<UInt64>?, _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    done(error) { () throws(Failure) in
        let object = try object(producer, ProducerObject.self)
        try required(count, "address for the count").pointee = UInt64(object.producer.count)
    }
}

/// See packetfs.h.
@c @implementation
public func pfs_producer_close(
    _ producer: UnsafeMutablePointer<OpaquePointer?>?, _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    done(error) { () throws(Failure) in try close(producer, ProducerObject.self) }
}
