import CPacketFS
import PacketFSRing

/// What a `pfs_consumer` stands for; used by one thread at a time, which never calls back, hence unchecked exclusivity.
final class ConsumerObject: HandleObject {
    static var mark: UInt64 { 0x7066_735F_636F_6E73 }  // "pfs_cons"
    static var noun: String { "consumer" }

    private let ring: RingObject
    @exclusivity(unchecked) var consumer: RingConsumer
    /// Records that were peeked at and not released.
    @exclusivity(unchecked) var seen: UInt64 = 0

    init(_ ring: RingObject, _ consumer: consuming RingConsumer) {
        self.ring = ring
        self.consumer = consumer
    }
}

/// See packetfs.h.
@c @implementation
public func pfs_consumer_attach(
    _ handleOfRing: OpaquePointer?, _ out: UnsafeMutablePointer<OpaquePointer?>?,
    _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    done(error) { () throws(Failure) in
        let out = try required(out, "address for the consumer")
        let object = try object(handleOfRing, RingObject.self)
        let consumer = try ring { () throws(RingError) in
            try RingConsumer(
                attaching: object.region.base, byteCount: object.region.byteCount, lock: object.region.fileDescriptor)
        }
        out.pointee = handle(ConsumerObject(object, consumer))
    }
}

/// See packetfs.h.
@c @implementation
public func pfs_consumer_peek(
    _ consumer: OpaquePointer?, _ ahead: UInt64, _ bytes: UnsafeMutablePointer<UnsafeRawPointer?>?,
    _ available: UnsafeMutablePointer<UInt64>?, _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    now(error) { () throws(Failure) in
        let object = try object(consumer, ConsumerObject.self)
        let out = try required(bytes, "address for the record's")
        let length = try required(available, "address for the size")
        // A ring has fewer entries than that.
        guard ahead < 1 << 32 else { return false }
        guard let record = try ring({ () throws(RingError) in try object.consumer.peek(ahead: Int(ahead)) }) else {
            return false
        }
        object.seen = max(object.seen, ahead + 1)
        out.pointee = record.baseAddress
        length.pointee = UInt64(record.count)
        return true
    }
}

/// See packetfs.h.
@c @implementation
public func pfs_consumer_release(
    _ consumer: OpaquePointer?, _ count: UInt64, _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    done(error) { () throws(Failure) in
        let object = try object(consumer, ConsumerObject.self)
        guard count <= object.seen else {
            throw Failure(
                PFS_ERROR_STATE, "\(count) records cannot be released: \(object.seen) were peeked at and not released")
        }
        object.seen -= count
        object.consumer.release(Int(count))
    }
}

/// See packetfs.h.
@c @implementation
public func pfs_consumer_skip(_ consumer: OpaquePointer?, _ error: UnsafeMutablePointer<pfs_error>?) -> Int32 {
    now(error) { () throws(Failure) in
        let object = try object(consumer, ConsumerObject.self)
        guard object.consumer.skip() else { return false }
        object.seen -= min(object.seen, 1)
        return true
    }
}

/// See packetfs.h.
@c @implementation
public func pfs_consumer_pop(
    _ consumer: OpaquePointer?, _ values: UnsafeMutablePointer<UInt32>?, _ capacity: UInt64,
    _ popped: UnsafeMutablePointer<UInt64>?, _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    now(error) { () throws(Failure) in
        let object = try object(consumer, ConsumerObject.self)
        let out = try required(popped, "address for the count")
        let values = try elements(values, capacity, "values")
        var target = values.mutableSpan
        let done = object.consumer.pop(into: &target)
        object.seen -= min(object.seen, UInt64(done))
        out.pointee = UInt64(done)
        return done > 0 || values.isEmpty
    }
}

/// See packetfs.h.
@c @implementation
public func pfs_consumer_notify(_ consumer: OpaquePointer?, _ error: UnsafeMutablePointer<pfs_error>?) -> Int32 {
    done(error) { () throws(Failure) in try object(consumer, ConsumerObject.self).consumer.notifyProducer() }
}

/// See packetfs.h.
@c @implementation
public func pfs_consumer_wait(
    _ consumer: OpaquePointer?, _ nanoseconds: Int64, _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    now(error) { () throws(Failure) in
        let object = try object(consumer, ConsumerObject.self)
        return try ring { () throws(RingError) in
            try object.consumer.waitForRecords(timeout: timeout(nanoseconds))
        }
    }
}

/// See packetfs.h.
@c @implementation
public func pfs_consumer_count(
    _ consumer: OpaquePointer?, _ count: UnsafeMutablePointer<UInt64>?, _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    done(error) { () throws(Failure) in
        let object = try object(consumer, ConsumerObject.self)
        try required(count, "address for the count").pointee = UInt64(object.consumer.count)
    }
}

/// See packetfs.h.
@c @implementation
public func pfs_consumer_close(
    _ consumer: UnsafeMutablePointer<OpaquePointer?>?, _ error: UnsafeMutablePointer<pfs_error>?
) -> Int32 {
    done(error) { () throws(Failure) in try close(consumer, ConsumerObject.self) }
}
