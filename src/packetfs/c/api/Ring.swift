import CPacketFS
import PacketFSMemory
import PacketFSRing
import SystemPackage

/// What a `pfs_ring` stands for.
final class RingObject: Handled {
    static var mark: UInt64 { 0x7066_735F_7269_6E67 }  // "pfs_ring"
    static var noun: String { "ring" }

    let region: SharedRegion
    init(_ region: consuming SharedRegion) { self.region = region }
}

/// What a `pfs_producer` stands for; used by one thread at a time, which never calls back, hence unchecked exclusivity.
final class ProducerObject: Handled {
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

/// What a `pfs_consumer` stands for; used by one thread at a time, which never calls back, hence unchecked exclusivity.
final class ConsumerObject: Handled {
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

private func timeout(_ nanoseconds: Int64) -> Duration? { nanoseconds < 0 ? nil : .nanoseconds(nanoseconds) }

// MARK: - Regions

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
            try Ring.format(object.region.base, byteCount: object.region.byteCount, geometry: geometry)
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
            try SharedRegion.map(FileDescriptor(rawValue: descriptor))
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

// MARK: - The writing side

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

// MARK: - The reading side

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
