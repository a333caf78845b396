import ArgumentParser
import PacketFSTools
import RandomRuns
import StreamTool

@main
struct StreamReceive: Tool {
    static let reports = [ReportDescription("pfs_stream_fastpath_rx", StreamConfig.self, StreamOutcome.self)]

    static let configuration = CommandConfiguration(
        commandName: "pfs_stream_fastpath_rx",
        abstract: "Receive records from pfs_stream_fastpath_tx and apply their programs to the blob that both share.",
        discussion: """
            The ring is /dev/pfs_fastpath (--dev) or a region in shared memory (--shm NAME, without any module). Either side may \
            be started first; --dir, --blob and --huge-dir must be the same on both. Whatever stands in the ring is checked \
            before it is used: a record that is damaged or leads out of the blob is counted and not executed.

            Exit codes: 0 done, 64 usage, 65 verification failed, 69 not available on this machine or no other side came, \
            71 system error, records refused, or the producer died, 74 I/O error, 77 permission; 128 + signal when interrupted \
            (figures are printed all the same). See docs/pfs_stream_fastpath.md.
            """,
        version: PacketFSVersion.current)

    @OptionGroup var side: StreamOptions

    func run() throws {
        try side.run(Self.configuration.commandName ?? "") { report in
            try StreamReceiver(side.configured(), report: report).run()
        }
    }
}
