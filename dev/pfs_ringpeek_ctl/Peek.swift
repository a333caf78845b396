import CPacketFSShims
import Glibc
import PacketFSTools
import PacketFSUAPI
import SystemPackage

/// An open file of /dev/pfs_ringpeek; see `uapi/pfs_ringpeek.h`.
struct Peek: ~Copyable {
    private let file: FileDescriptor
    private let path: FilePath

    /// Opens the device file.
    init(_ path: FilePath) throws(ToolError) {
        self.path = path
        file = try Self.open(path)
    }

    deinit { try? file.close() }

    private static func open(_ path: FilePath) throws(ToolError) -> FileDescriptor {
        do {
            return try FileDescriptor.open(path, .readOnly, options: .closeOnExec)
        } catch {
            switch error as? Errno ?? .ioError {
            case .noSuchFileOrDirectory, .noSuchAddressOrDevice, .operationNotSupportedByDevice:
                throw ToolError(
                    .unavailable, "\(path) does not exist: load the module pfs_ringpeek with `just kernel-load`")
            case .permissionDenied, .notPermitted:
                throw ToolError(
                    .permission, "\(path) may not be opened: it takes root (CAP_SYS_RAWIO) and no kernel lockdown")
            case let errno: throw ToolError(.unavailable, "\(path) cannot be opened: \(errno)")
            }
        }
    }

    /// Selects a device.
    func select(_ address: PCIAddress) throws(ToolError) {
        var choice = pfs_rp_select(
            domain: address.domain, bus: address.bus, device: address.device, function: address.function, reserved: 0)
        try call(PFS_RP_IOC_SELECT, &choice, "there is no PCI device \(address); --list shows the network cards")
    }

    /// What is selected.
    func info() throws(ToolError) -> pfs_rp_info {
        var info = pfs_rp_info()
        try call(PFS_RP_IOC_GET_INFO, &info, "the device is gone")
        return info
    }

    /// The registers of a range of a BAR, both in bytes and multiples of 4.
    func read(
        bar: UInt32, _ window: CardModel.Window, isUnsafe: Bool
    ) throws(ToolError) -> [UInt32] {
        var choice = pfs_rp_window(
            bar: bar, flags: isUnsafe ? PFS_RP_WINDOW_UNSAFE : 0, offset: window.offset, length: window.length)
        try call(PFS_RP_IOC_SET_WINDOW, &choice, "the device was removed, or has no BAR \(bar)")
        var words = [UInt32](repeating: 0, count: Int(window.length) / 4)
        var done = 0
        while done < words.count * 4 {
            let got = words.withUnsafeMutableBytes {
                pread(file.rawValue, $0.baseAddress.map { $0 + done }, $0.count - done, done)
            }
            if got > 0 {
                done += got
            } else if got == 0 {
                throw ToolError(.io, "\(path): the window ended after \(done) of \(words.count * 4) bytes")
            } else if errno != EINTR {
                throw Self.error(Errno(rawValue: errno), path, "the device was removed")
            }
        }
        return words
    }

    private func call(
        _ request: pfs_rp_ioc, _ argument: UnsafeMutableRawPointer, _ gone: String
    ) throws(ToolError) {
        guard pfs_ioctl(file.rawValue, request.rawValue, argument) == 0 else {
            throw Self.error(Errno(rawValue: errno), path, gone)
        }
    }

    /// What the module's error numbers mean to people.
    static func error(_ errno: Errno, _ path: FilePath, _ gone: String) -> ToolError {
        switch errno {
        case .operationNotSupportedByDevice: ToolError(.noInput, gone)
        case .notPermitted:
            ToolError(.permission, "\(path): not permitted: it takes CAP_SYS_RAWIO and no kernel lockdown")
        case .permissionDenied:
            ToolError(
                .permission,
                "the window holds registers that are not known to be free of side effects; --unsafe reads them all the same"
            )
        case .outOfRange: ToolError(.usage, "the window ends behind the BAR; --list shows its size")
        case .notSupported: ToolError(.unavailable, "the BAR is one of I/O ports, which cannot be read here")
        case .invalidArgument:
            ToolError(.usage, "the window cannot be: offset and length are multiples of 4, up to 1 MiB")
        case .staleNFSFileHandle: ToolError(.unavailable, "the BAR was moved meanwhile; try again")
        case .ioError:
            ToolError(.unavailable, "the device does not answer: no driver has enabled it, or it sleeps")
        case .inappropriateIOCTLForDevice: ToolError(.unavailable, "\(path) is not the device of pfs_ringpeek")
        default: ToolError(.system, "\(path): \(errno)")
        }
    }
}
