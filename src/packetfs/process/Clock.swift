import Glibc

/// Nanoseconds of one of the system's clocks.
public enum Clock {
    /// CLOCK_MONOTONIC: comparable between processes of one machine.
    public static func monotonic() -> UInt64 { read(CLOCK_MONOTONIC) }
    /// CPU time that the calling process has used.
    public static func processCPU() -> UInt64 { read(CLOCK_PROCESS_CPUTIME_ID) }
    /// Wall-clock time since 1970.
    public static func realtime() -> UInt64 { read(CLOCK_REALTIME) }

    private static func read(_ clock: clockid_t) -> UInt64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}
