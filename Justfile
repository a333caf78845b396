# PacketFS: `just` lists every tool and recipe. The recipes live in utils/just, by what they are for.

import 'utils/just/build.just'
import 'utils/just/test.just'
import 'utils/just/run.just'
import 'utils/just/net.just'
import 'utils/just/plot.just'
import 'utils/just/dev.just'
import 'utils/just/tools.just'
import 'utils/just/kernel.just'
import 'utils/just/docs.just'

set shell := ["bash", "-euo", "pipefail", "-c"]

[private]
default: help

# This overview: every executable, every recipe
[group('project')]
help:
    @utils/help
