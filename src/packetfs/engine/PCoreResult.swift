/// What one pcore did, from its own counters.
package struct PCoreResult: Sendable {
    /// The CPU it was pinned to.
    package let cpu: Int
    /// Records, descriptors and payload bytes executed.
    package let records: UInt64, descriptors: UInt64, bytes: UInt64
    /// Payload bytes times the operations of the program that was applied to them.
    package let operationBytes: UInt64
    /// Records refused because they or their descriptors were out of bounds.
    package let rejectedRecords: UInt64
    /// How often it found its ring empty and slept.
    package let sleeps: UInt64
    /// CPU time used while running, in nanoseconds.
    package let cpuNanoseconds: UInt64
    /// One wrapping sum per yielding operation, in the order of ``ProgramMix/reducers``.
    package let totals: [UInt64]

    /// Values as the properties.
    package init(
        cpu: Int, records: UInt64, descriptors: UInt64, bytes: UInt64, operationBytes: UInt64, rejectedRecords: UInt64,
        sleeps: UInt64, cpuNanoseconds: UInt64, totals: [UInt64]
    ) {
        (self.cpu, self.cpuNanoseconds, self.totals) = (cpu, cpuNanoseconds, totals)
        (self.records, self.descriptors, self.bytes) = (records, descriptors, bytes)
        (self.operationBytes, self.rejectedRecords, self.sleeps) = (operationBytes, rejectedRecords, sleeps)
    }
}
