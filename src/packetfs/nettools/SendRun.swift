import Glibc
import PacketFSNet
import PacketFSTools
import SystemPackage

/// One way out for frames: a transmit ring, a socket, a port. One thread uses it.
package protocol FrameSender: AnyObject {
    /// Takes frames `first ..< first + count` of `producer`, as many as there is room for at this moment, and starts them.
    ///
    /// - Returns: how many were taken; 0 where there is no room. A frame that was taken counts as sent.
    func send(_ producer: FrameProducer, first: UInt64, count: Int) throws(ToolError) -> Int
    /// Waits until there may be room, for at most so many milliseconds.
    func waitForRoom(milliseconds: Int32) throws(ToolError)
    /// Sends the frame that says that `count` frames were all; false where there is no room.
    func sendEnd(_ producer: FrameProducer, after count: UInt64) throws(ToolError) -> Bool
    /// Waits until what was taken has left, for at most so many milliseconds.
    ///
    /// - Returns: how many frames are still there.
    func drain(milliseconds: Int32) throws(ToolError) -> Int
}

/// What a sender did.
package struct SendFigures: NetFigures {
    package var frames: UInt64 = 0
    package var unsent = 0
    package var bytes: UInt64 = 0
    package var elapsedNs: UInt64 = 0
    package var cpuNs: UInt64 = 0
    package var stalls: UInt64 = 0
    package var ends = 0
    package var stream: UInt32 = 0
    package var endedBy = RunEnd.duration

    var framesPerS: Double { Double(frames) * 1e9 / Double(max(elapsedNs, 1)) }
    var throughputMbPerS: Double { Double(bytes) * 1e3 / Double(max(elapsedNs, 1)) }

    package static var figures: [Figure<Self>] {
        Figure("frames", "that the path took, end frames not counted", \.frames)
        Figure("unsent", "of those, how many had not left when the run ended", \.unsent)
        Figure("bytes", "of frames, link header and padding included", \.bytes)
        Figure("elapsed_ns", "from the first frame to the moment when the last one had left", \.elapsedNs)
        Figure("frames_per_s", "`frames` / `elapsed_ns`", \.framesPerS, label: "sent") {
            "\(scaled($0.framesPerS))frames/s, \(decimals($0.throughputMbPerS, 1)) MB/s"
        }
        Figure("throughput_mb_per_s", "`bytes` / `elapsed_ns`", \.throughputMbPerS)
        Figure("cpu_ns", "CPU time of the process in `elapsed_ns`, kernel included", \.cpuNs, label: "CPU time") {
            "\(decimals(Double($0.cpuNs) / 1e9, 2)) s; no room \($0.stalls) times"
        }
        Figure("stalls", "how often there was no room", \.stalls)
        Figure("ends", "end frames", \.ends)
        Figure("stream", "number of the run, which frames carry", \.stream) {
            "\($0.stream), ended by \($0.endedBy), \($0.ends) end frames"
        }
        Figure("ended_by", "`count`, `duration`, or `signal N`", \.endedBy)
    }
}

/// Sends a stream of frames: pace, length, reports, its end.
package enum SendRun {
    /// Sends until the options' count or duration is reached or a signal comes, then the end frames.
    ///
    /// - Parameters:
    ///   - sender: the path.
    ///   - producer: the frames.
    ///   - options: after ``SendOptions/check()``.
    ///   - name: the tool's, for reports.
    package static func run(
        _ sender: some FrameSender, _ producer: FrameProducer, _ options: SendOptions, name: String
    ) throws(ToolError) -> SendFigures {
        let signals = try ToolError.coded(TerminationSignals.init)
        var figures = SendFigures()
        figures.stream = producer.stream
        figures.endedBy = options.common.count == nil ? .duration : .count
        let limit = options.common.count ?? .max
        // Read once: behind each option is a property wrapper, whose getter is a call.
        let (batch, pps) = (UInt64(options.batch), options.pps)
        // A count alone sets the end; otherwise time does.
        let seconds = options.common.duration ?? (options.common.count == nil ? 5 : 86_400)
        let cpuStart = Clock.processCPU()
        let start = Clock.monotonic()
        let deadline = start + UInt64(seconds * 1e9)
        var ticker = Ticker(name: name, unit: "sent", milliseconds: options.common.reportMs, start: start)
        var sent: UInt64 = 0
        var nextLook = start
        while sent < limit {
            let now = Clock.monotonic()
            if now >= deadline {
                figures.endedBy = .duration
                break
            }
            // A system call: too dear for each batch of a fast path.
            if now >= nextLook {
                nextLook = now + 1_000_000
                if let signal = signals.take() {
                    figures.endedBy = .signal(signal)
                    break
                }
            }
            ticker.show(now, frames: sent, bytes: sent * UInt64(producer.byteCount))
            var count = Int(min(batch, limit - sent))
            if pps > 0 {
                let due = UInt64(Double(now - start) * Double(pps) / 1e9) + 1
                guard due > sent else {
                    let wait = Double(sent) * 1e9 / Double(pps) - Double(now - start)
                    pause(nanoseconds: UInt64(min(max(wait, 20_000), 50_000_000)))
                    continue
                }
                count = Int(min(UInt64(count), due - sent))
            }
            let taken = try sender.send(producer, first: sent, count: count)
            sent += UInt64(taken)
            if taken == 0 {
                figures.stalls += 1
                try sender.waitForRoom(milliseconds: 20)
            }
        }
        figures.unsent = try sender.drain(milliseconds: 500)
        figures.elapsedNs = Clock.monotonic() - start
        figures.cpuNs = Clock.processCPU() - cpuStart
        figures.frames = sent
        figures.bytes = sent * UInt64(producer.byteCount)
        // Spread over some time, because a receiver whose buffers are full now has room in a moment.
        for number in 0..<options.ends {
            if try sender.sendEnd(producer, after: sent) { figures.ends += 1 }
            _ = try sender.drain(milliseconds: 20)
            if number + 1 < options.ends { pause(nanoseconds: 5_000_000) }
        }
        return figures
    }

    private static func pause(nanoseconds: UInt64) {
        var time = timespec(tv_sec: 0, tv_nsec: Int(nanoseconds))
        nanosleep(&time, nil)
    }
}

/// Lines on standard error, some milliseconds apart.
struct Ticker {
    private let name: String
    private let unit: String
    private let interval: UInt64
    private let start: UInt64
    private var due: UInt64
    private var before: (time: UInt64, frames: UInt64, bytes: UInt64)

    init(name: String, unit: String, milliseconds: Int, start: UInt64) {
        self.name = name
        self.unit = unit
        self.start = start
        interval = UInt64(milliseconds) * 1_000_000
        due = interval == 0 ? .max : start + interval
        before = (start, 0, 0)
    }

    mutating func show(_ now: UInt64, frames: UInt64, bytes: UInt64, _ more: @autoclosure () -> String = "") {
        guard now >= due else { return }
        due = now + interval
        let elapsed = Double(max(now - before.time, 1))
        let rate = Double(frames - before.frames) * 1e9 / elapsed
        let megabytes = Double(bytes - before.bytes) * 1e3 / elapsed
        before = (now, frames, bytes)
        FileDescriptor.standardError.writeLine(
            "\(name): \(decimals(Double(now - start) / 1e9, 1)) s  \(frames) \(unit)  \(scaled(rate))frames/s  "
                + "\(decimals(megabytes, 1)) MB/s\(more())")
    }
}
