import ArgumentParser
import PacketFSMemory

/// `--page-size` of every tool takes one: auto, 1g, 2m, thp or 4k.
extension PagePreference: ExpressibleByArgument {}
