import Glibc
import PacketFSEngine
import PacketFSMemory
import PacketFSRing
import PacketFSTools
import RandomRuns
import SystemPackage

/// The ring as its consumer has it. A class for the reasons given at ``RingFeed``; used by one thread.
final class ReceiverRing {
    let region: SharedRegion
    @exclusivity(unchecked) var ring: RingConsumer
    let watch: PeerWatch

    private init(_ region: consuming SharedRegion, _ ring: consuming RingConsumer, isDevice: Bool) {
        watch = PeerWatch(file: region.fileDescriptor, isDevice: isDevice, role: .producer)
        self.region = region
        self.ring = ring
    }

    /// Attaches as the consumer of the ring at `place`; nil if there is none now.
    static func open(_ place: StreamPlace) throws -> ReceiverRing? {
        do {
            switch place.transport {
            case .shared(let file, let folder): return try openShared(file, folder)
            case .device(let path): return try openDevice(place, path)
            }
        } catch let error as RingError {
            throw place.error(error)
        }
    }

    private static func openShared(_ file: String, _ folder: FilePath) throws -> ReceiverRing? {
        guard let region = try named(file, folder) else { return nil }
        let ring = try RingConsumer(attaching: region.base, byteCount: region.byteCount, lock: region.fileDescriptor)
        return ReceiverRing(region, ring, isDevice: false)
    }

    private static func named(_ file: String, _ folder: FilePath) throws -> SharedRegion? {
        do throws(MemoryError) {
            return try SharedRegion.open(named: file, in: folder)
        } catch .system(_, _, .noSuchFileOrDirectory) {
            return nil
        }
    }

    private static func openDevice(_ place: StreamPlace, _ path: FilePath) throws -> ReceiverRing? {
        let file = try place.openDevice(path)
        let device = RingDevice(file)
        guard let region = try claimed(device) else { return nil }
        let ring = try RingConsumer(attaching: region.base, byteCount: region.byteCount, device: device)
        return ReceiverRing(region, ring, isDevice: true)
    }

    /// The device's region, with the role claimed; nil if there is none. Closes the file unless the region has it.
    private static func claimed(_ device: RingDevice) throws -> SharedRegion? {
        do {
            try device.attach(.consumer)
            return try SharedRegion.adopt(device.descriptor, byteCount: device.info().mapByteCount)
        } catch {
            try? device.descriptor.close()
            switch error {
            case RingError.notReady, RingError.system(_, .staleNFSFileHandle): return nil
            default: throw error
            }
        }
    }

    /// Removes the names of what a producer that died has left behind, unless another producer has come; whether it did. The
    /// device's region goes when nobody uses it any more (``StreamPlace/resetDevice()``).
    func removeNames(_ place: StreamPlace, blob: FileDescriptor?) -> Bool {
        let blobName = blob.map { TemporaryName(place.blobPath, $0, isKept: true) }
        guard !watch.isDevice else {
            guard (try? watch.isAttached()) == false, let blobName else { return false }
            blobName.isKept = false
            return true
        }
        // With both roles here, nobody can begin to use the ring before its name is gone.
        guard
            let probe = try? RingProducer(
                attaching: region.base, byteCount: region.byteCount, lock: region.fileDescriptor)
        else { return false }
        blobName?.isKept = false
        blobName?.remove()
        TemporaryName(place.ringPath, region.fileDescriptor, isKept: false).remove()
        _ = probe.capacity
        return true
    }
}
