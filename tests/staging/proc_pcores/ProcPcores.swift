import ToolTesting

/// The tool that these suites run.
let tool = Tool("pfs_proc_pcores")

/// The quick run that most tests vary: two pcores, a small blob, no log, no baseline.
let quick = ["--blob-mb", "4", "--no-baseline", "--csv", "", "--file", "/usr/bin/bash"]
