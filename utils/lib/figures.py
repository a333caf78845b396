# SPDX-License-Identifier: MIT
"""Draws figures with gnuplot, all in one style: title and legend above the panels, never over the data; axes from zero
where lengths are compared; colours after Okabe and Ito, which most colour-blind people can tell apart, and a mark of
its own for each line besides."""
import os
import shutil
import statistics
import subprocess
import tempfile

from tool import CANNOT_CREATE, SYSTEM, UNAVAILABLE, Problem

COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D1F"]
MARKS = [7, 5, 9, 13, 11, 15, 3, 2]
GREY = "#666666"
# Nine stops of a map from dark blue over green to yellow, even in lightness for every kind of sight.
HEAT = ["#440154", "#482878", "#3E4989", "#31688E", "#26828E", "#1F9E89", "#6DCD59", "#B4DE2C", "#FDE725"]
WIDTH = 1000
TITLE, LINE, TICKS, LABEL = 52, 21, 28, 30  # heights in pixels: title, a legend's line, tick labels, an axis's name
GAP = 10  # above a legend that is not the first
LEFT, RIGHT = 96, 24


def require_gnuplot():
    """Raises a problem where there is no gnuplot."""
    if shutil.which("gnuplot") is None:
        raise Problem(UNAVAILABLE, "gnuplot is not installed; on Debian: apt-get install gnuplot-nox")


def quoted(text):
    """`text` as a string of gnuplot's. Single quotes: nothing inside is evaluated."""
    return "'" + "".join(c if c.isprintable() else "?" for c in text).replace("'", "''") + "'"


def fit(text, limit):
    """`text`, cut to `limit` characters."""
    return text if len(text) <= limit else text[:limit - 1] + "…"


class Panel:
    """One plot area of a figure."""

    def __init__(self, height, ylabel, xlabel=""):
        self.height, self.ylabel, self.xlabel = height, ylabel, xlabel
        self.settings, self.plots, self.legend_lines = [], [], 0

    def plot(self, what, rows=None, title=None):
        """Adds a plot command's element; `rows` of numbers stand for DATA in `what`."""
        self.plots.append((what, rows, None if title is None else fit(title, 115)))
        if title is not None:
            self.legend_lines += 1


class Figure:
    """Panels above each other, under one title."""

    def __init__(self, name, title, subtitle, panels, right=RIGHT):
        self.name, self.title, self.subtitle = name, fit(title, 85), fit(subtitle, 122)
        self.panels, self.right = panels, right
        self.height = TITLE + sum(self._outer(panel) for panel in panels) + GAP * sum(
            panel.legend_lines > 0 for panel in panels[1:])

    @staticmethod
    def _outer(panel):
        return panel.legend_lines * LINE + 12 + panel.height + TICKS + (LABEL if panel.xlabel else 0) + 6

    def script(self, output, terminal):
        """The gnuplot program that draws this figure into the file `output`."""
        lines = [
            f"set terminal {terminal} size {WIDTH},{self.height} noenhanced",
            f"set output {quoted(output)}",
            "set encoding utf8",
            f"set border 3 lc rgb '{GREY}'", "set tics nomirror out scale 0.6 textcolor rgb '#222222'",
            "set grid ytics lt 1 lc rgb '#DDDDDD' lw 1", "set multiplot",
            f"set label 1 {quoted(self.title)} at screen {LEFT / WIDTH},{1 - 15 / self.height} left font ',15'",
            f"set label 2 {quoted(self.subtitle)} at screen {LEFT / WIDTH},{1 - 38 / self.height} left "
            f"font ',11' textcolor rgb '{GREY}'",
            f"set lmargin at screen {LEFT / WIDTH}", f"set rmargin at screen {1 - self.right / WIDTH}",
        ]
        top = TITLE
        for number, panel in enumerate(self.panels):
            if number and panel.legend_lines:
                top += GAP
            legend, area = top, top + panel.legend_lines * LINE + 12
            bottom = area + panel.height
            lines += [
                f"set tmargin at screen {1 - area / self.height}", f"set bmargin at screen {1 - bottom / self.height}",
                f"set key at screen {LEFT / WIDTH},{1 - (legend + 2) / self.height} left top vertical Left reverse "
                "maxcols 1 samplen 2 spacing 1.1 font ',11'",
                # Not an ylabel: its place would depend on how wide the numbers are.
                f"set label 3 {quoted(panel.ylabel)} at screen {16 / WIDTH},{1 - (area + bottom) / 2 / self.height} "
                "center rotate", f"set xlabel {quoted(panel.xlabel)}",
            ]
            lines += panel.settings
            elements = []
            for index, (what, rows, title) in enumerate(panel.plots):
                name = f"$d{number}_{index}"
                if rows is not None:
                    lines += [f"{name} << END"] + [" ".join(map(repr, row)) for row in rows] + ["END"]
                label = f"title {quoted(title)}" if title is not None else "notitle"
                elements.append(what.replace("DATA", name).replace("TITLE", label))
            lines.append("plot " + ", ".join(elements))
            lines += ["unset label", "unset arrow"]
            top += self._outer(panel)
        return "\n".join(lines + ["unset multiplot", "set output", ""])

    def draw(self, output, kind):
        """Draws into the file `output`, whole or not at all; `kind` is png or svg."""
        terminal = {
            "png": "pngcairo font 'sans,12'",
            # Sizes in points; this terminal counts in pixels.
            "svg": "svg font 'sans-serif,12' fontscale 1.333 background '#ffffff'",
        }[kind]
        require_gnuplot()
        try:
            with tempfile.TemporaryDirectory(dir=os.path.dirname(output) or ".", prefix=".plot-") as folder:
                partial = os.path.join(folder, f"figure.{kind}")
                result = subprocess.run(
                    ["gnuplot", "-"], input=self.script(partial, terminal), text=True, capture_output=True,
                    # The C locale writes numbers with a point, which is what our data have. In a group of its own it
                    # does not see the Ctrl-C after which a sweep still writes its report.
                    env=os.environ | {"LC_ALL": "C.UTF-8", "GNUTERM": "dumb"}, process_group=0, check=False)
                if result.returncode != 0 or result.stderr.strip() or not os.path.exists(partial):
                    raise Problem(SYSTEM, f"gnuplot could not draw {self.name}: {result.stderr.strip()}")
                os.replace(partial, output)
        except OSError as error:
            raise Problem(CANNOT_CREATE, f"cannot write {output}: {error.strerror}") from None


def unit(largest):
    """The unit for rates of up to `largest` MB/s, and what to divide them by."""
    return ("GB/s", 1000) if largest >= 2000 else ("MB/s", 1)


def rate(megabytes):
    """A rate in words."""
    name, divisor = unit(megabytes)
    return f"{megabytes / divisor:.{2 if divisor > 1 else 1}f} {name}"


def plural(number, noun):
    """A number of things."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def throughput(runs):
    """Throughput and CPUpwn over time of some runs of the aggregate log."""
    name, divisor = unit(max(row["mbps"] for run in runs for row in run.live))
    top, bottom = Panel(230, f"throughput ({name})"), Panel(190, "CPUpwn", "time since the start (s)")
    baselines = []
    for index, run in enumerate(runs):
        colour = COLOURS[index % len(COLOURS)]
        style = f"lc rgb '{colour}' lw 2"
        if len(run.live) <= 120:
            style += f" pt {MARKS[index % len(MARKS)]} ps 0.7"
        kind = "linespoints" if len(run.live) <= 120 else "lines"
        text = plural(int(run.settings[0]), "pcore") if len(runs) > 1 else "throughput"
        if len(runs) > 1 and len({run.settings[4] for run in runs}) > 1:
            text += f", {fit(run.settings[4], 48)}"
        if run.final:
            text += f": {rate(run.final['mbps'])} over the whole run"
            if run.final["cpupwn"]:
                text += f", CPUpwn {run.final['cpupwn']:.2f} ({run.final['cpupwn_per_cpu']:.2f} per CPU)"
        top.plot(f"DATA using 1:2 with {kind} {style} TITLE",
                 [(row["elapsed_s"], row["mbps"] / divisor) for row in run.live], text)
        rows = [(row["elapsed_s"], row["cpupwn"]) for row in run.live if row["cpupwn"] is not None]
        if rows:
            bottom.plot(f"DATA using 1:2 with {kind} {style} TITLE", rows)
        baseline = run.live[-1]["baseline_mbps"]
        if baseline:
            colour = colour if len(runs) > 1 else GREY
            baselines.append(f"{baseline / divisor!r} with lines lc rgb '{colour}' lw 1.5 dt (8,5) TITLE")
    for what in baselines:
        top.plot(what)
    if baselines:
        top.plot(f"NaN with lines lc rgb '{GREY}' lw 1.5 dt (8,5) TITLE",
                 title="dashed: baseline, one process without a ring")
    end = max(run.live[-1]["elapsed_s"] for run in runs)
    for panel in (top, bottom):
        panel.settings += [f"set xrange [0:{end * 1.01!r}]", "set yrange [0:*]", "set offsets 0,0,graph 0.05,0"]
    top.settings.append("set format x ''")
    bottom.settings.append("set format x '%g'")
    if not baselines:
        top.xlabel = bottom.xlabel
        top.settings.append("set format x '%g'")
        return Figure("throughput", "Throughput over time", runs[0].label, [top])
    bottom.plot(f"1 with lines lc rgb '{GREY}' lw 1.5 dt (8,5) TITLE")
    subtitle = runs[0].label if len(runs) == 1 else f"{len(runs)} runs" + "".join(
        f", {what}{runs[0].settings[part]}" for part, what in ((4, ""), (1, "dpf "), (2, "align "), (3, ""))
        if len({run.settings[part] for run in runs}) == 1)
    return Figure("throughput", "Throughput and CPUpwn over time", subtitle, [top, bottom])


def heatmap(program, times, payload):
    """The rate of each pcore over time; `payload[pcore][time]` counts bytes from the start."""
    # At most so many cells that each has some pixels: neighbours become their mean, over time exactly so.
    every, group = -(-len(times) // 300), -(-len(payload) // 512)
    chosen = list(range(every - 1, len(times), every))
    if chosen[-1:] != [len(times) - 1]:
        chosen.append(len(times) - 1)
    groups = [payload[first:first + group] for first in range(0, len(payload), group)]
    cells = []
    for number, members in enumerate(groups):
        before, begin = 0.0, 0.0
        for index in chosen:
            now = sum(series[index] for series in members) / len(members)
            cells.append((begin, times[index], number * group, number * group + len(members),
                          max(0.0, now - before) / 1e6 / (times[index] - begin)))
            before, begin = now, times[index]
    name, divisor = unit(max(cell[4] for cell in cells))
    # A whole number of pixels to a row, or viewers draw stripes that are not in the data.
    panel = Panel(len(groups) * min(60, max(1, round(460 / len(groups)))), "pcore", "time since the start (s)")
    palette = ", ".join(f"{i} '{colour}'" for i, colour in enumerate(HEAT))
    step = next(step for step in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024) if len(payload) <= 16 * step)
    ticks = ", ".join(f"'{pcore}' {pcore + 0.5}" for pcore in range(0, len(payload), step))
    panel.settings += [
        f"set xrange [0:{times[-1]!r}]", f"set yrange [0:{len(payload)}]", f"set ytics ({ticks})", "unset grid",
        f"set palette defined ({palette})", "set cbrange [0:*]",
        f"set cblabel 'throughput of one pcore ({name})' offset 1.5,0",
        f"set colorbox user origin screen {1 - 118 / WIDTH}, graph 0 size screen {16 / WIDTH}, graph 1 noborder",
        "set style fill solid 1 noborder",
    ]
    # Each cell reaches a hair into its neighbours, or viewers show the ground between them.
    hair = (times[-1] / 700, len(payload) / 500)
    panel.plot(
        "DATA using 1:3:1:2:3:4:5 with boxxyerror lc palette TITLE",
        [(x0, x1 + hair[0], y0, y1 + hair[1], value / divisor) for x0, x1, y0, y1, value in cells])
    totals = sorted(series[-1] / 1e6 / times[-1] for series in payload)
    subtitle = (f"{fit(program, 45)}; over the whole time each pcore from {rate(totals[0])} to {rate(totals[-1])}, "
                f"median {rate(statistics.median(totals))}")
    if group > 1:
        subtitle += f"; each row is the mean of {group} pcores"
    return Figure("heatmap", f"Throughput of {plural(len(payload), 'pcore')} over time", subtitle, [panel], right=136)


def response(name, title, subtitle, xlabel, series, categories=None, cpus=None):
    """Throughput and CPUpwn over a setting: medians, with a bar from the lowest to the highest value.

    `series` is a list of (label, points), a point being (x, rates, cpupwns). `categories` are the names of x = 0, 1
    and so on where the setting is no number. `cpus` are points (pcores, CPUs used), drawn as a bound to CPUpwn.
    """
    if not categories:
        # The legend in the order in which the lines lie above each other.
        series = sorted(series, key=lambda item: -statistics.median(rate for _, rates, _ in item[1] for rate in rates))
    largest = max(max(rates) for _, points in series for _, rates, _ in points)
    unit_name, divisor = unit(largest)
    top, bottom = Panel(250, f"throughput ({unit_name})"), Panel(210, "CPUpwn", xlabel)
    xs = sorted({x for _, points in series for x, _, _ in points})
    has_cpupwn = False
    for index, (label, points) in enumerate(series):
        # Series stand a little beside each other, so that their bars do not hide one another.
        shift = (index - (len(series) - 1) / 2) * (0.06 if categories else 0.012)
        style = f"lc rgb '{COLOURS[index % len(COLOURS)]}' pt {MARKS[index % len(MARKS)]} ps 1"
        for panel, column, scale in ((top, 1, divisor), (bottom, 2, 1)):
            rows = []
            for point in points:
                values = [value / scale for value in point[column] if value is not None]
                if values:
                    x = point[0] + shift if categories else point[0] * (1.6 * xs[-1] / xs[0]) ** shift
                    rows.append((x, statistics.median(values), min(values), max(values)))
            if rows:
                has_cpupwn = has_cpupwn or panel is bottom
                # Nothing lies between two categories, so no line does.
                kind = "points" if categories else "linespoints"
                panel.plot(f"DATA using 1:2:3:4 with yerrorbars {style} lw 1 notitle, "
                           f"DATA using 1:2 with {kind} {style} lw 2 TITLE", rows, label if panel is top else None)
    ticks = ", ".join(f"{quoted(text)} {x}" for x, text in enumerate(categories)) if categories else \
        ", ".join(f"'{x:g}' {x!r}" for x in xs)
    for panel in (top, bottom):
        panel.settings += [f"set xtics ({ticks}) font ',12'", "set yrange [0:*]", "set offsets 0,0,graph 0.06,0"]
        if categories:
            panel.settings.append(f"set xrange [-0.5:{len(categories) - 0.5}]")
        else:
            panel.settings += ["set logscale x 2", f"set xrange [{xs[0] / 1.25!r}:{xs[-1] * 1.25!r}]"]
    if not has_cpupwn:
        top.xlabel = xlabel
        return Figure(name, title, subtitle, [top])
    top.settings.append("set xtics (" + ", ".join(f"'' {tick.rsplit(' ', 1)[1]}" for tick in ticks.split(", ")) + ")")
    if cpus and len(cpus) > 1:
        bottom.plot(f"DATA using 1:2 with lines lc rgb '{GREY}' lw 1.5 dt (8,5) TITLE", cpus,
                    "dashed: CPUs used, what CPUpwn would be if nothing were shared and nothing lost")
    return Figure(name, title, subtitle, [top, bottom])


def latency(rows, how):
    """Histograms of latencies: one panel for each kind, one outline for each contender."""
    names = {"round_trip": "round trip", "one_way": "one way"}
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    lowest = min(max(bucket[0], 1) for row in rows for bucket in row["buckets"])
    highest = max(bucket[1] for row in rows for bucket in row["buckets"])
    ticks = ", ".join(
        f"'{text}' {value}" for value, text in (
            (m * 10 ** e, f"{m * 10 ** (e % 3)} {('ns', 'µs', 'ms', 's')[e // 3]}")
            for e in range(12) for m in (1, 2, 5))
        if lowest * 0.8 <= value <= highest * 1.2 and (is_power_of_ten(value) or highest / lowest < 200))
    floor = min(50 / row["samples"] for row in rows)
    panels = []
    for kind in kinds:
        panel = Panel(210, f"{names.get(kind, kind)}: % of samples")
        panel.settings += [
            "set logscale xy", f"set xrange [{lowest * 0.9!r}:{highest * 1.1!r}]",
            f"set yrange [{floor!r}:150]", f"set xtics ({ticks})", "set ytics ('100' 100, '10' 10, '1' 1, "
            "'0.1' 0.1, '0.01' 0.01, '0.001' 0.001, '0.0001' 0.0001)", "set style fill transparent solid 0.2 noborder",
        ]
        for index, row in enumerate(row for row in rows if row["kind"] == kind):
            outline = []
            for low, high, samples in coarser(row["buckets"]):
                share = 100 * samples / row["samples"]
                if outline and outline[-1][0] == low:
                    outline.pop()
                else:
                    outline.append((low, floor))
                outline += [(low, share), (high, share), (high, floor)]
            label = (f"{row['contender']}: median {duration(row['p50_ns'])}, 99 % {duration(row['p99_ns'])}, "
                     f"99.9 % {duration(row['p999_ns'])}, longest {duration(row['max_ns'])}")
            colour = f"lc rgb '{COLOURS[index % len(COLOURS)]}'"
            # One filled shape, outlines for the rest: shapes above each other would mix their colours.
            fill = f"DATA using 1:2:({floor!r}) with filledcurves {colour} notitle, " if index == 0 else ""
            panel.plot(f"{fill}DATA using 1:2 with lines {colour} lw 1.5 dt {index + 1} TITLE", outline, label)
        panels.append(panel)
    panels[-1].xlabel = "time (each step an eighth of a power of two)"
    count = sum(row["samples"] for row in rows)
    return Figure("latency", "Latency of the ring", f"{how}; {count:,} samples", panels)


def coarser(buckets):
    """`buckets` (from, to, count) of sixteen to a power of two, joined by twos; from 1 on, for a logarithmic axis."""
    joined = {}
    for low, _, samples in buckets:
        width = 1 << max(0, low.bit_length() - 4)
        begin = max(low // width * width, 1)
        end = begin + width
        joined[begin] = (begin, end, joined.get(begin, (0, 0, 0))[2] + samples)
    return [joined[begin] for begin in sorted(joined)]


def is_power_of_ten(value):
    """Whether `value` is a power of ten."""
    return str(value).rstrip("0") == "1"


def duration(nanoseconds):
    """A time in words, to three digits."""
    for limit, divisor, name in ((1e3, 1, "ns"), (1e6, 1e3, "µs"), (1e9, 1e6, "ms")):
        if nanoseconds < limit:
            return f"{nanoseconds / divisor:.3g} {name}"
    return f"{nanoseconds / 1e9:.3g} s"
