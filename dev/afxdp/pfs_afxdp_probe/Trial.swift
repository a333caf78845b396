import PacketFSGram
import PacketFSNet
import PacketFSTools
import PacketFSXDP

extension NetDevice: ReportObject {
    package static var figures: [Figure<Self>] {
        Figure("name", "its name", \.name)
        Figure("index", "its number", \.index)
        Figure("driver", "its driver, where it has one", \.driver)
        Figure("mac", "its hardware address", \.address.description)
        Figure("mtu", "in bytes", \.mtu)
        Figure("up", "whether it is up", \.isUp)
        Figure("rx_queues", "null where it does not say", \.receiveQueues)
        Figure("tx_queues", "null where it does not say", \.transmitQueues)
    }
}

/// Whether a thing could be done, and what stood against it if not.
struct Outcome: ReportObject {
    let works: Bool
    let problem: String?

    static var figures: [Figure<Self>] {
        Figure("works", "whether it could be done", \.works)
        Figure("problem", "what stood against it if not", \.problem)
    }

    static let yes = Outcome(works: true, problem: nil)
    static func no(_ problem: String) -> Outcome { Outcome(works: false, problem: problem) }

    /// For people.
    var word: String { works ? "yes" : "no" }
}

/// What became of attaching a program.
struct AttachRow: ReportObject {
    let mode: AttachMode
    let outcome: Outcome

    static var figures: [Figure<Self>] {
        Figure("mode", "`native` or `skb`", \.mode)
        Figure("outcome", "what became of it", \.outcome)
    }

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
struct Trial: ReportObject {
    let attach: AttachMode?
    let copyMode: CopyMode
    let needWakeup: Bool
    let bind: Outcome
    let wakeupForSending: Bool?, wakeupForReceiving: Bool?
    let busyPoll: Outcome?
    let pollContext: UInt32?
    let sent: Bool?, received: Bool?

    static var figures: [Figure<Self>] {
        Figure("attach", "how the program hangs; null for a socket without one, which can only send", \.attach)
        Figure("copy_mode", "`copy` or `zero-copy`", \.copyMode)
        Figure("need_wakeup", "whether the kernel may ask to be woken", \.needWakeup)
        Figure("bind", "whether a socket could be bound so", \.bind)
        Figure(
            "wakeup_for_sending", "whether the kernel asks to be told of frames to send; null if not bound",
            \.wakeupForSending)
        Figure("wakeup_for_receiving", "the same of free chunks", \.wakeupForReceiving)
        Figure("busy_poll", "whether the kernel accepts the options of busy polling", \.busyPoll)
        Figure("poll_context", "the one that frames came from, if any came", \.pollContext)
        Figure("sent", "whether a frame was sent; null if that was not tried", \.sent)
        Figure(
            "received", "whether it came back, which it does on loopback only; null if that was not tried", \.received)
    }

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
}
