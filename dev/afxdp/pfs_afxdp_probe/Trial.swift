import PacketFSGram
import PacketFSNet
import PacketFSTools
import PacketFSXDP

/// A device in a report.
struct DeviceRow: Encodable {
    let name: String
    let index: UInt32
    let driver: String?
    let mac: String
    let mtu: Int
    let up: Bool
    let rxQueues: Int?
    let txQueues: Int?

    init(_ device: NetDevice) {
        name = device.name
        index = device.index
        driver = device.driver
        mac = "\(device.address)"
        mtu = device.mtu
        up = device.isUp
        rxQueues = device.receiveQueues
        txQueues = device.transmitQueues
    }
}

/// Whether a thing could be done, and what stood against it if not.
struct Outcome: Encodable {
    let works: Bool
    let problem: String?

    static let yes = Outcome(works: true, problem: nil)
    static func no(_ problem: String) -> Outcome { Outcome(works: false, problem: problem) }

    /// For people.
    var word: String { works ? "yes" : "no" }
}

/// What became of attaching a program.
struct AttachRow: Encodable {
    let mode: AttachMode
    let outcome: Outcome

    /// Attaches a program and takes it off again.
    init(trying mode: AttachMode, on device: NetDevice) {
        self.mode = mode
        do throws(ToolError) {
            _ = try RedirectProgram(attachingTo: device, etherType: FrameFormat.etherType, mode: mode)
            outcome = .yes
        } catch {
            outcome = .no(error.description)
        }
    }
}

/// One way to set up a socket, and what became of it.
struct Trial: Encodable {
    /// How the program hangs; nil for a socket without one, which can only send.
    let attach: AttachMode?
    let copyMode: CopyMode
    let needWakeup: Bool
    /// Whether a socket could be bound so.
    let bind: Outcome
    /// Whether the kernel asks to be told of frames to send, and of free chunks; nil if it was not bound.
    let wakeupForSending: Bool?
    let wakeupForReceiving: Bool?
    /// Whether the kernel accepts the options; it makes use of them only where frames come from a poll context.
    let busyPoll: Outcome?
    /// The poll context that frames came from, if any came.
    let pollContext: UInt32?
    /// Whether a frame was sent; nil if that was not tried.
    let sent: Bool?
    /// Whether it came back, which it does on loopback only; nil if that was not tried.
    let received: Bool?

    /// Tries all ways that the device's programs allow.
    ///
    /// - Throws: ``ToolExit/permission`` if the caller may not even make a socket: nothing could be found out.
    static func all(on device: NetDevice, queue: Int, exchanging: Bool) throws(ToolError) -> [Trial] {
        var trials: [Trial] = []
        for attach in [AttachMode.native, .skb, nil] {
            for copyMode in CopyMode.allCases {
                for needWakeup in [true, false] {
                    if let trial = try Trial(device, queue, attach, copyMode, needWakeup, exchanging) {
                        trials.append(trial)
                    }
                }
            }
        }
        return trials
    }

    /// Tries one way; nil where the program cannot be attached so.
    private init?(
        _ device: NetDevice, _ queue: Int, _ attach: AttachMode?, _ copyMode: CopyMode, _ needWakeup: Bool,
        _ exchanging: Bool
    ) throws(ToolError) {
        self.attach = attach
        self.copyMode = copyMode
        self.needWakeup = needWakeup
        var configuration = XDPSocketConfiguration(receives: attach != nil, sends: true)
        configuration.queue = queue
        configuration.copyMode = copyMode
        configuration.needWakeup = needWakeup
        configuration.chunkCount = 64
        var program: RedirectProgram?
        if let attach {
            guard
                let attached = try? RedirectProgram(attachingTo: device, etherType: FrameFormat.etherType, mode: attach)
            else {
                return nil
            }
            program = consume attached
        }
        do throws(ToolError) {
            var socket = try XDPSocket(on: device, configuration)
            switch program {
            case .some(let program): try socket.receive(from: program)
            case .none: break
            }
            let flags = socket.wakeupFlags
            bind = socket.copyMode == copyMode ? .yes : .no("the kernel gave \(socket.copyMode.rawValue) instead")
            wakeupForSending = flags.transmit
            wakeupForReceiving = attach == nil ? nil : flags.fill
            busyPoll = socket.preferBusyPolling(microseconds: 20, budget: 64).map { .no("\($0)") } ?? .yes
            guard exchanging else {
                (pollContext, sent, received) = (nil, nil, nil)
                return
            }
            // To the device's own address, so that nobody else takes it.
            var frame = (0..<64).map { UInt8($0) }
            frame.withUnsafeMutableBytes {
                EthernetHeader(destination: device.address, source: device.address).write(into: $0)
            }
            let awaitsReturn = attach != nil && device.isLoopback
            let (left, cameBack) = socket.exchange(frame, awaitsReturn: awaitsReturn)
            sent = left
            received = awaitsReturn ? cameBack : nil
            pollContext = socket.pollContext
        } catch {
            if error.exit == .permission && attach == nil { throw error }
            bind = .no(error.description)
            (wakeupForSending, wakeupForReceiving, busyPoll, pollContext, sent, received) = (
                nil, nil, nil, nil, nil, nil
            )
        }
    }

    private enum Key: String, CodingKey {
        case attach, copyMode, needWakeup, bind, wakeupForSending, wakeupForReceiving, busyPoll, pollContext, sent,
            received
    }

    /// Written out so that what was not found out is null and not absent.
    func encode(to encoder: any Encoder) throws {
        var box = encoder.container(keyedBy: Key.self)
        try box.encode(attach, forKey: .attach)
        try box.encode(copyMode, forKey: .copyMode)
        try box.encode(needWakeup, forKey: .needWakeup)
        try box.encode(bind, forKey: .bind)
        try box.encode(wakeupForSending, forKey: .wakeupForSending)
        try box.encode(wakeupForReceiving, forKey: .wakeupForReceiving)
        try box.encode(busyPoll, forKey: .busyPoll)
        try box.encode(pollContext, forKey: .pollContext)
        try box.encode(sent, forKey: .sent)
        try box.encode(received, forKey: .received)
    }
}
