import PacketFSNet
import Testing

@Suite("Sequence tracker")
struct SequenceTrackerTests {
    /// The definition, with as much memory as it takes.
    struct Reference {
        let window: UInt64
        var seen: Set<UInt64> = []
        var next: UInt64 = 0
        var duplicates: UInt64 = 0
        var reordered: UInt64 = 0
        var extent: UInt64 = 0
        var stale: UInt64 = 0
        var jumps: UInt64 = 0
        var doubtful: UInt64?

        mutating func note(_ sequence: UInt64) -> Arrival {
            if sequence >= next {
                if sequence - next > SequenceTracker.jumpLimit && doubtful != sequence {
                    doubtful = sequence + 1
                    jumps += 1
                    return .jump
                }
                next = sequence + 1
                seen.insert(sequence)
                return .next
            }
            if next - sequence > window {
                stale += 1
                return .stale
            }
            if !seen.insert(sequence).inserted {
                duplicates += 1
                return .duplicate
            }
            reordered += 1
            extent = max(extent, next - 1 - sequence)
            return .late
        }
    }

    @Test("Agrees with a set of all numbers", arguments: 0..<60 as Range<UInt64>)
    func agrees(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let window = [64, 128, 1024].randomElement(using: &generator)!
        var tracker = SequenceTracker(windowCount: window)
        var reference = Reference(window: UInt64(window))
        var position: UInt64 = .random(in: 0...3, using: &generator)
        for _ in 0..<5000 {
            let sequence: UInt64
            switch UInt8.random(in: 0..<100, using: &generator) {
            case 0..<70:
                sequence = position
                position += 1
            case 70..<80:
                position += .random(in: 1...200, using: &generator)
                sequence = position
                position += 1
            case 80..<98: sequence = position - min(position, .random(in: 0...UInt64(window) * 2, using: &generator))
            case 98: sequence = position + .random(in: 0...2, using: &generator) * SequenceTracker.jumpLimit
            default:
                // Two in a row that agree about a step too large to be believed at once.
                position += SequenceTracker.jumpLimit + .random(in: 1...1 << 40, using: &generator)
                let arrival = tracker.note(position)
                #expect(arrival == reference.note(position))
                sequence = position + 1
                position += 2
            }
            let arrival = tracker.note(sequence)
            #expect(arrival == reference.note(sequence), "number \(sequence)")
        }
        #expect(tracker.received == UInt64(reference.seen.count))
        #expect(tracker.duplicates == reference.duplicates)
        #expect(tracker.reordered == reference.reordered)
        #expect(tracker.reorderingExtent == reference.extent)
        #expect(tracker.stale == reference.stale)
        #expect(tracker.jumps == reference.jumps)
        #expect(tracker.next == reference.next)
        #expect(tracker.lost() == reference.next - UInt64(reference.seen.count))
        #expect(tracker.lost(before: reference.next + 5) == tracker.lost() + 5)
    }

    @Test("A damaged number costs one frame, not all that follow")
    func damagedNumber() {
        var tracker = SequenceTracker()
        for sequence in 0..<10 as Range<UInt64> { #expect(tracker.note(sequence) == .next) }
        #expect(tracker.note(1 << 61) == .jump)
        for sequence in 11..<20 as Range<UInt64> { #expect(tracker.note(sequence) == .next) }
        #expect(tracker.lost() == 1)
        #expect(tracker.received == 19)
    }
}
