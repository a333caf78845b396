import PacketFSTools

extension Sample {
    /// The line that a person watches while the run is on.
    public var liveLine: String {
        var text =
            "\(decimals(Double(elapsedNanoseconds) / 1e9, 1)) s  \(decimals(megabytesPerSecond, 0)) MB/s  "
            + "\(scaled(recordsPerSecond))records/s"
        if let cpupwn { text += "  CPUpwn \(decimals(cpupwn, 2))" }
        return text
    }
}
