/// What a sequence number says about the frame that brought it.
public enum Arrival: Sendable, Hashable {
    /// Later than all before it: the usual case. Numbers in between that have not come are lost until they do.
    case next
    /// Earlier than one that came before, and not seen yet: reordered on its way (RFC 4737 section 3.3).
    case late
    /// Seen already.
    case duplicate
    /// So far behind that it can no longer be known whether it was seen.
    case stale
    /// So far ahead that a damaged number is likelier than such a gap; believed when the next frame follows it.
    case jump
}

/// Counts loss, reordering and duplicates in a stream of frames that are numbered from 0 on.
///
/// Memory is bounded: which numbers were seen is remembered for the last ``windowCount`` before the highest; what is older is
/// ``Arrival/stale``. Any number below 2^62 is taken. A step of more than ``jumpLimit`` is made only once two frames in a row
/// ask for it (as in RFC 3550 appendix A.1), so that one damaged number does not make all frames after it stale.
public struct SequenceTracker: Sendable {
    /// Numbers behind the highest for which it is known whether they came.
    public let windowCount: Int
    /// Numbers that may be missing in a row without doubt about the next one.
    public static let jumpLimit: UInt64 = 1 << 20
    /// Distinct numbers that have come.
    public private(set) var received: UInt64 = 0
    /// Frames whose number had come before.
    public private(set) var duplicates: UInt64 = 0
    /// Frames that came behind a higher number.
    public private(set) var reordered: UInt64 = 0
    /// The largest distance of a reordered frame from the highest number before it.
    public private(set) var reorderingExtent: UInt64 = 0
    /// Frames too far behind to tell.
    public private(set) var stale: UInt64 = 0
    /// Frames too far ahead to be believed.
    public private(set) var jumps: UInt64 = 0
    /// The number of the first frame; nil before it.
    public private(set) var first: UInt64?
    /// The highest number so far, plus 1; 0 before the first frame.
    public private(set) var next: UInt64 = 0

    /// A bit for each number modulo `windowCount`.
    private var seen: [UInt64]
    /// The number that would confirm the last jump.
    private var confirmation: UInt64 = .max

    /// Makes a tracker.
    ///
    /// - Parameter windowCount: a power of two from 64 on (precondition).
    public init(windowCount: Int = 65_536) {
        precondition(
            windowCount >= 64 && windowCount.nonzeroBitCount == 1, "the window must be a power of two from 64 on")
        self.windowCount = windowCount
        seen = Array(repeating: 0, count: windowCount / 64)
    }

    /// Numbers below `end` (nil: the highest number so far, plus 1) that have not come. Frames with numbers from `end` on, which an
    /// honest sender does not send, lessen it.
    public func lost(before end: UInt64? = nil) -> UInt64 {
        let expected = max(end ?? next, next)
        return expected - received
    }

    /// Notes that the frame numbered `sequence` (below 2^62, precondition) has come.
    @inline(__always)
    public mutating func note(_ sequence: UInt64) -> Arrival {
        if sequence == next {
            let index = Int(truncatingIfNeeded: sequence) & (windowCount - 1)
            seen[index >> 6] |= 1 << UInt64(index & 63)
            if received == 0 { first = sequence }
            received += 1
            next = sequence + 1
            return .next
        }
        return noteOutOfLine(sequence)
    }

    @inline(never)
    private mutating func noteOutOfLine(_ sequence: UInt64) -> Arrival {
        precondition(sequence < 1 << 62, "sequence too large")
        let index = Int(truncatingIfNeeded: sequence) & (windowCount - 1)
        let bit = UInt64(1) << UInt64(index & 63)
        if sequence >= next {
            guard sequence - next <= Self.jumpLimit || sequence == confirmation else {
                confirmation = sequence + 1
                jumps += 1
                return .jump
            }
            forget(from: next, to: sequence)
            seen[index >> 6] |= bit
            if received == 0 { first = sequence }
            received += 1
            next = sequence + 1
            return .next
        }
        let distance = next - 1 - sequence
        guard distance < UInt64(windowCount) else {
            stale += 1
            return .stale
        }
        guard seen[index >> 6] & bit == 0 else {
            duplicates += 1
            return .duplicate
        }
        seen[index >> 6] |= bit
        received += 1
        reordered += 1
        reorderingExtent = max(reorderingExtent, distance)
        return .late
    }

    /// Clears the bits of the numbers `start ..< end`, which were those of numbers a window before.
    private mutating func forget(from start: UInt64, to end: UInt64) {
        guard end - start < UInt64(windowCount) else {
            for word in seen.indices { seen[word] = 0 }
            return
        }
        var number = start
        while number < end {
            let index = Int(truncatingIfNeeded: number) & (windowCount - 1)
            let count = min(64 - (index & 63), Int(end - number))
            let mask = count == 64 ? UInt64.max : ((1 << UInt64(count)) - 1) << UInt64(index & 63)
            seen[index >> 6] &= ~mask
            number += UInt64(count)
        }
    }
}
