#if DEBUG
    import Glibc
    import PacketFSProcess

    /// What tests do to a run through the environment (CONTRIBUTING.md). Debug builds only: a release build can neither be held nor made
    /// to report a wrong result.
    enum TestHooks {
        /// With `PACKETFS_TEST_CORRUPT=total`, spoils the first total (or the byte count of a program without one).
        package static func corrupt(_ block: PCoreBlock) {
            guard getenv("PACKETFS_TEST_CORRUPT") != nil else { return }
            let snapshot = block.latest
            if block.totalCount > 0 { snapshot[total: 0] ^= 1 }
            snapshot.tally.bytes += 1
        }
    }

    /// Holds a run at a defined point until a test lets it go on: with `PACKETFS_TEST_HOLD=RECORDS:FILE`, a ring gets no more than that many
    /// records for as long as the file exists. A ring that has got them adds a line to the file, so that the test knows.
    ///
    /// Each ring of a process counts on its own, over all passes. What a record is depends on the tool. Used by one thread.
    struct TestHold {
        package static let variable = "PACKETFS_TEST_HOLD"

        private let path: String
        private var left: Int
        private var isAnnounced = false

        /// - Parameter text: the variable's value.
        package init(_ text: String) throws(EngineError) {
            let parts = text.split(separator: ":", maxSplits: 1)
            guard parts.count == 2, let records = Int(parts[0]), records >= 0 else {
                throw EngineError.invalid(
                    "\(Self.variable)=\(text): must be RECORDS:FILE, a number of records from 0 and a path")
            }
            (left, path) = (records, String(parts[1]))
        }

        /// The hold that the environment asks for.
        package static func fromEnvironment() throws(EngineError) -> TestHold? {
            guard let value = getenv(variable) else { return nil }
            return try TestHold(String(cString: value))
        }

        /// How many of `count` records the ring may get now.
        package mutating func allowed(of count: Int) -> Int {
            guard left == 0 else { return min(left, count) }
            if !isAnnounced {
                isAnnounced = true
                let file = open(path, O_WRONLY | O_APPEND | O_CLOEXEC)
                if file >= 0 {
                    _ = write(file, "held\n", 5)
                    close(file)
                }
            }
            return access(path, F_OK) == 0 ? 0 : count
        }

        /// Counts records that the ring has got.
        package mutating func count(_ made: Int) { left -= min(left, made) }
    }
#endif
