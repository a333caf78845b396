import Glibc

/// The machine does not give what a test needs.
public struct ResourceUnavailable: Error {
    /// Says so.
    public init() {}
}

/// Runs `body` while `count` pages of 2 MiB are free; enlarges the pool for that where it must, and gives back afterwards
/// what it added.
///
/// Callers take turns, in whatever process they are: the pool is one number that belongs to the whole machine.
public func withHugePages<Result>(_ count: Int, _ body: () throws -> Result) throws -> Result {
    let folder = "/sys/kernel/mm/hugepages/hugepages-2048kB/"
    // Read-only is enough for the lock, so that those who cannot enlarge the pool see their turn as well.
    let turn = open(folder + "nr_hugepages", O_RDONLY | O_CLOEXEC)
    guard turn >= 0 else { throw ResourceUnavailable() }
    defer { close(turn) }
    while flock(turn, LOCK_EX) != 0 { guard errno == EINTR else { throw ResourceUnavailable() } }

    let missing = max(0, count - (try number(in: folder + "free_hugepages")))
    guard missing > 0 else { return try body() }
    try write(try number(in: folder + "nr_hugepages") + missing, to: folder + "nr_hugepages")
    defer {
        if let total = try? number(in: folder + "nr_hugepages") {
            try? write(max(0, total - missing), to: folder + "nr_hugepages")
        }
    }
    guard try number(in: folder + "free_hugepages") >= count else { throw ResourceUnavailable() }
    return try body()
}

/// The number that a file of /sys holds.
private func number(in path: String) throws -> Int {
    guard let file = fopen(path, "re") else { throw ResourceUnavailable() }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 32)
    guard fgets(&line, 32, file) != nil else { throw ResourceUnavailable() }
    return atol(line)
}

/// Writes a number into a file of /sys.
private func write(_ number: Int, to path: String) throws {
    let file = open(path, O_WRONLY | O_CLOEXEC)
    guard file >= 0 else { throw ResourceUnavailable() }
    defer { close(file) }
    let text = "\(number)\n"
    guard Glibc.write(file, text, text.utf8.count) == text.utf8.count else { throw ResourceUnavailable() }
}
