import Glibc
import PacketFSEngine
import PacketFSGram
import PacketFSMemory
import PacketFSRing
import PacketFSTools
import RandomRuns
import SystemPackage

/// The ring as its producer has it: made, or taken over from a producer that died.
final class TransmitterRing {
    let feed: RingFeed<RandomRecords>
    let watch: PeerWatch
    /// Whether there was a ring at this place before, which nobody cleaned up.
    let wasThere: Bool
    private let name: TemporaryName?

    private init(feed: RingFeed<RandomRecords>, watch: PeerWatch, wasThere: Bool, name: TemporaryName?) {
        self.feed = feed
        self.watch = watch
        self.wasThere = wasThere
        self.name = name
    }

    /// Takes the name away again, if it is not to be kept. A device's region is the business of ``StreamPlace/resetDevice()``,
    /// once this object is gone.
    func removeName() { name?.remove() }

    /// Opens the ring at the configuration's place as its producer.
    ///
    /// A ring that nobody uses is replaced; one with a consumer, which waits for a new producer, is taken as it is.
    static func open(
        _ configuration: TransmitterConfiguration, _ report: (RunEvent) -> Void
    ) throws -> TransmitterRing {
        let place = configuration.side.place
        do {
            switch place.transport {
            case .shared(let file, let folder): return try openShared(file, folder, configuration, report)
            case .device(let path): return try openDevice(path, configuration, report)
            }
        } catch let error as RingError {
            throw place.error(error)
        }
    }

    /// Half of what ring and slab hold: a producer that follows the consumer more closely only disturbs it.
    private static func lowWater(_ geometry: RingGeometry, _ configuration: TransmitterConfiguration) -> Int {
        let each = (configuration.run.work.recordByteCount + 63) & ~63
        return max(1, min(Int(geometry.slots), Int(geometry.slabByteCount) / each) / 2)
    }

    /// No records yet: what takes their place knows the range.
    private static func records(_ configuration: TransmitterConfiguration) -> RandomRecords {
        RandomRecords(configuration.run.work, pcore: 0, region: 0..<1)
    }

    private static func requireRoom(
        _ geometry: RingGeometry, _ configuration: TransmitterConfiguration
    ) throws(ToolError) {
        let needed = configuration.run.work.recordByteCount
        guard geometry.slabByteCount >= UInt64(max(needed, StreamControl.byteCountOfEnd)) else {
            throw ToolError(
                .unavailable,
                "\(configuration.side.place.ringPath) is there with a consumer, and its slab of \(geometry.slabByteCount) "
                    + "bytes cannot hold a record of \(needed) bytes; lower --dpf, or end the consumer")
        }
    }

    private static func announce(
        _ place: StreamPlace, _ geometry: RingGeometry, _ report: (RunEvent) -> Void
    ) {
        report(
            .warning(
                "\(place.ringPath) has a consumer that waits for a producer: taking it as it is, with \(geometry.slots) slots "
                    + "and a slab of \(geometry.slabByteCount) bytes"))
    }

    // MARK: - Shared memory

    private enum Found {
        case usable(TransmitterRing)
        /// A ring that nobody used was taken away.
        case removed
        case absent
        /// Somebody took its name away meanwhile.
        case vanished
    }

    private static func openShared(
        _ file: String, _ folder: FilePath, _ configuration: TransmitterConfiguration, _ report: (RunEvent) -> Void
    ) throws -> TransmitterRing {
        let path = configuration.side.place.ringPath
        var wasThere = false
        // Each round either gets a ring or finds that another process has just made or removed it.
        for _ in 0..<100 {
            switch try existing(file, folder, configuration, report) {
            case .usable(let ring): return ring
            case .vanished: continue
            case .removed:
                report(.warning("\(path) was left behind by a run that was killed: replacing it"))
                wasThere = true
            case .absent: break
            }
            if let made = try create(file, folder, configuration, wasThere: wasThere) { return made }
        }
        throw ToolError(.unavailable, "\(path) keeps appearing and vanishing: other processes use that name")
    }

    private static func region(_ file: String, _ folder: FilePath) throws -> SharedRegion? {
        do {
            return try SharedRegion.open(named: file, in: folder)
        } catch MemoryError.system(_, _, .noSuchFileOrDirectory) {
            return nil
        }
    }

    private static func existing(
        _ file: String, _ folder: FilePath, _ configuration: TransmitterConfiguration, _ report: (RunEvent) -> Void
    ) throws -> Found {
        let place = configuration.side.place
        guard let region = try region(file, folder) else { return .absent }
        let geometry = try RingSnapshot(reading: region.fileDescriptor).geometry
        let ring = try RingProducer(attaching: region.base, byteCount: region.byteCount, lock: region.fileDescriptor)
        let watch = PeerWatch(file: region.fileDescriptor, isDevice: false, role: .consumer)
        guard try !watch.isRemoved() else { return .vanished }
        let name = TemporaryName(place.ringPath, region.fileDescriptor, isKept: true)
        if try !watch.isAttached(), try remove(name, region) { return .removed }
        try requireRoom(geometry, configuration)
        announce(place, geometry, report)
        name.isKept = configuration.keeps
        return .usable(
            TransmitterRing(
                feed: try RingFeed(
                    region: region, ring: ring, source: records(configuration),
                    lowWater: lowWater(geometry, configuration)),
                watch: watch, wasThere: true, name: name))
    }

    /// Removes a ring in which this process has one role and nobody the other; false if somebody came meanwhile.
    private static func remove(_ name: TemporaryName, _ region: borrowing SharedRegion) throws(RingError) -> Bool {
        // With both roles here, nobody can begin to use it before its name is gone.
        guard let probe = try consumer(region) else { return false }
        name.isKept = false
        name.remove()
        _ = probe.capacity
        return true
    }

    private static func consumer(_ region: borrowing SharedRegion) throws(RingError) -> RingConsumer? {
        do throws(RingError) {
            return try RingConsumer(attaching: region.base, byteCount: region.byteCount, lock: region.fileDescriptor)
        } catch .alreadyTaken {
            return nil
        }
    }

    /// Makes a new ring; nil if another process was faster.
    private static func create(
        _ file: String, _ folder: FilePath, _ configuration: TransmitterConfiguration, wasThere: Bool
    ) throws -> TransmitterRing? {
        let place = configuration.side.place
        let geometry = try configuration.geometry()
        let region = try SharedRegion.create(byteCount: Int(geometry.regionByteCount), in: folder)
        try Ring.create(at: region.base, byteCount: region.byteCount, geometry: geometry)
        let ring = try RingProducer(attaching: region.base, byteCount: region.byteCount, lock: region.fileDescriptor)
        guard try publish(region, as: file, in: folder) else { return nil }
        let name = TemporaryName(place.ringPath, region.fileDescriptor, isKept: configuration.keeps)
        let watch = PeerWatch(file: region.fileDescriptor, isDevice: false, role: .consumer)
        return TransmitterRing(
            feed: try RingFeed(
                region: region, ring: ring, source: records(configuration),
                lowWater: lowWater(geometry, configuration)),
            watch: watch, wasThere: wasThere, name: name)
    }

    /// Gives a region its name; false if that is taken.
    private static func publish(
        _ region: borrowing SharedRegion, as file: String, in folder: FilePath
    ) throws(MemoryError) -> Bool {
        do throws(MemoryError) {
            try region.publish(as: file, in: folder)
            return true
        } catch .system(_, _, .fileExists) {
            return false
        }
    }

    // MARK: - The device

    private static func openDevice(
        _ path: FilePath, _ configuration: TransmitterConfiguration, _ report: (RunEvent) -> Void
    ) throws -> TransmitterRing {
        let place = configuration.side.place
        let device = RingDevice(try place.openDevice(path))
        var wasThere = false
        let region = try mapped(device, configuration, &wasThere, report)
        let ring = try RingProducer(attaching: region.base, byteCount: region.byteCount, device: device)
        let info = try device.info()
        let geometry = try RingGeometry(slots: info.slots, slabByteCount: info.slabByteCount)
        return TransmitterRing(
            feed: try RingFeed(
                region: region, ring: ring, source: records(configuration),
                lowWater: lowWater(geometry, configuration)),
            watch: PeerWatch(file: device.descriptor, isDevice: true, role: .consumer), wasThere: wasThere, name: nil)
    }

    /// The device's region, with the role claimed. Closes the file if it throws.
    private static func mapped(
        _ device: RingDevice, _ configuration: TransmitterConfiguration, _ wasThere: inout Bool,
        _ report: (RunEvent) -> Void
    ) throws -> SharedRegion {
        do {
            let isNew = try claim(device, configuration, &wasThere, report)
            let info = try device.info()
            if !isNew {
                let geometry = try RingGeometry(slots: info.slots, slabByteCount: info.slabByteCount)
                try requireRoom(geometry, configuration)
                announce(configuration.side.place, geometry, report)
            }
            return try SharedRegion.adopt(device.descriptor, byteCount: info.mapByteCount)
        } catch {
            try? device.descriptor.close()
            throw error
        }
    }

    /// Claims the producer's role of the channel's region, and makes one if there is none or nobody uses it. Whether it is new.
    private static func claim(
        _ device: RingDevice, _ configuration: TransmitterConfiguration, _ wasThere: inout Bool,
        _ report: (RunEvent) -> Void
    ) throws -> Bool {
        let place = configuration.side.place
        let geometry = try configuration.geometry()
        for _ in 0..<100 {
            let isNew = try device.create(geometry)
            if !isNew {
                wasThere = true
                if try device.info().isIdle, try device.remove() {
                    report(.warning("\(place.ringPath) has a ring that nobody uses: replacing it"))
                    continue
                }
            }
            do {
                try device.attach(.producer)
                return isNew
            } catch RingError.notReady {
                continue  // reset by another process meanwhile
            }
        }
        throw ToolError(.unavailable, "\(place.ringPath) keeps being reset: other processes use it")
    }
}

extension StreamPlace {
    /// Takes the device's region away if nobody uses it any more; does nothing in shared memory. Best effort: the last one of
    /// the two sides succeeds.
    func resetDevice() {
        guard case .device(let path) = transport, let file = try? openDevice(path) else { return }
        _ = try? RingDevice(file).remove()
        try? file.close()
    }
}
