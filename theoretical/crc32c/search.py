#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Searches the fused CRC-32C loop's proportion of folds and crc32 words on this machine: makes variants in C, checks them,
times them in turn, prints the best. See README.md."""
import argparse
import itertools
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
FIELDS = ("WIDTH", "FOLDS", "TIMES", "STREAMS", "WORDS", "ITERATIONS", "PREFETCH")


def numbers(text):
    """A list such as `1,2,4` or `1-6`."""
    result = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        result += range(int(first), int(last or first) + 1)
    return result


def variants(options):
    """Those of the space whose share of words is within the limits."""
    for width, folds, times, streams, words in itertools.product(
            options.widths, options.folds, options.times, options.streams, range(options.most_words + 1)):
        step = width * folds * times
        share = 8 * streams * words / step
        if (streams == 0) != (words == 0) or folds * times > options.most_vectors:
            continue
        if streams and not options.share[0] <= share <= options.share[1]:
            continue
        for block, prefetch in itertools.product(options.blocks, options.prefetch):
            iterations = block // (step + 8 * streams * words)
            if iterations > 1:
                yield width, folds, times, streams, words, iterations, prefetch


def name(variant):
    width, folds, times, streams, words, iterations, prefetch = variant
    return f"w{width}_v{folds}x{times}_s{streams}x{words}_i{iterations}" + (f"_p{prefetch}" if prefetch else "")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bytes", type=int, default=65536, help="bytes of the range (65536)")
    parser.add_argument("--widths", type=numbers, default=[64], help="bytes of a vector (64)")
    parser.add_argument("--folds", type=numbers, default=numbers("1-6"), help="chains of folds (1-6)")
    parser.add_argument("--times", type=numbers, default=numbers("1-3"), help="vectors of each in an iteration (1-3)")
    parser.add_argument("--streams", type=numbers, default=numbers("0,2-5"), help="crc32 streams (0,2-5)")
    parser.add_argument("--blocks", type=numbers, default=[8192, 16384], help="bytes of a block, about (8192,16384)")
    parser.add_argument("--prefetch", type=numbers, default=[0], help="bytes ahead; 0: not at all (0)")
    parser.add_argument("--share", type=lambda t: [float(x) for x in t.split("-")], default=[0.3, 0.62],
                        help="bytes of words to bytes of vectors (0.3-0.62)")
    parser.add_argument("--most-vectors", type=int, default=6, help="vectors of an iteration at most (6)")
    parser.add_argument("--most-words", type=int, default=20, help="words of a stream in an iteration at most (20)")
    parser.add_argument("--samples", type=int, default=41, help="samples of each variant (41)")
    parser.add_argument("--show", type=int, default=20, help="lines to print (20)")
    parser.add_argument("--cc", default="clang", help="the compiler: it has to know `#pragma clang loop` (clang)")
    options = parser.parse_args()
    space = list(variants(options))
    if not space:
        sys.exit("search.py: no variant is within these limits; widen --share, --most-vectors or --most-words")

    with tempfile.TemporaryDirectory() as folder:
        lines = []
        for variant in space:
            lines += [f"#define NAME {name(variant)}"]
            lines += [f"#define {field} {value}" for field, value in zip(FIELDS, variant)]
            lines += ['#include "variant.h"']
        lines += ["static struct variant variants[] = {"]
        for variant in space:
            own = name(variant)
            lines += [f'{{"{own}", {own}, &multipliers_{own}, {", ".join(map(str, variant[:6]))}}},']
        lines += ["};"]
        pathlib.Path(folder, "variants.inc").write_text("\n".join(lines) + "\n")
        program = pathlib.Path(folder, "search")
        subprocess.run([options.cc, "-O2", "-march=native", "-Wno-pass-failed", f"-I{folder}", f"-I{HERE}", "-o", program,
                        HERE / "search.c", "-ldl"], check=True)
        output = subprocess.run([program, str(options.bytes), str(options.samples)], check=True, text=True,
                                stdout=subprocess.PIPE).stdout
    rows = sorted(((float(median), float(best), which) for which, median, best in map(str.split, output.splitlines())),
                  reverse=True)
    peer = next((median for median, _, which in rows if which == "isa-l"), None)
    print(f"{len(space)} variants, {options.bytes} bytes; GB/s: median, best; to ISA-L")
    for rank, (median, best, which) in enumerate(rows):
        if rank < options.show or which == "isa-l":
            ratio = f" {median / peer:6.2f}" if peer else ""
            print(f"{which:32} {median:7.2f} {best:7.2f}{ratio}")


if __name__ == "__main__":
    main()
