# SPDX-License-Identifier: MIT
"""Writes the report of a sweep: one HTML file that needs nothing else, well-formed as XML too."""
import base64
import html
import os
import tempfile

import figures
import sweeps
from tool import Problem

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 1120px; margin: 2em auto;
  padding: 0 1em; }
h1 { font-size: 1.6em; margin-bottom: 0.2em; } h2 { font-size: 1.2em; margin-top: 2em; }
p.lead { color: #555; margin-top: 0; }
img { width: 1000px; max-width: 100%; height: auto; margin: 0.5em 0 1.5em; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.9em; }
th, td { padding: 0.2em 0.65em; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top; }
th { border-bottom: 2px solid #888; white-space: nowrap; }
td.n, th.n { text-align: right; white-space: nowrap; }
small { color: #666; }
pre { background: #f5f5f5; padding: 0.8em; overflow-x: auto; font-size: 0.9em; }
.warning { background: #fff4d6; border-left: 4px solid #b8860b; padding: 0.4em 0.8em; }
.failed { color: #a02000; }
@media print { body { max-width: none; margin: 0; } h2 { break-after: avoid; } img { break-inside: avoid; } }
"""


def escape(value):
    """Text for HTML. What XML does not allow at all is replaced."""
    return html.escape("".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in str(value)))


def rows(cells, numeric=(), tag="td"):
    """A table row."""
    return "<tr>" + "".join(
        f'<{tag}{" class=" + chr(34) + "n" + chr(34) if index in numeric else ""}>{cell}</{tag}>'
        for index, cell in enumerate(cells)) + "</tr>\n"


def table(head, body, numeric=()):
    """A table; cells are HTML."""
    return ('<div class="wide"><table>\n<thead>' + rows(map(escape, head), numeric, "th") + "</thead>\n<tbody>"
            + "".join(rows(line, numeric) for line in body) + "</tbody>\n</table></div>\n")


def pictures(done, vary):
    """The figures, or a sentence why there are none."""
    try:
        figures.require_gnuplot()
        drawn = []
        with tempfile.TemporaryDirectory() as folder:
            for figure in sweeps.every_figure(done, vary):
                path = os.path.join(folder, "figure.svg")
                figure.draw(path, "svg")
                with open(path, "rb") as file:
                    image = base64.b64encode(file.read()).decode()
                drawn.append(f'<img src="data:image/svg+xml;base64,{image}" alt="{escape(figure.title)}: '
                             f'the figures are in the table below" />\n')
        return "".join(drawn) or "<p>No setting has two values with a result yet.</p>\n"
    except Problem as problem:
        # The results matter more than their pictures.
        return f'<p class="warning">No pictures: {escape(problem)}.</p>\n'


def number(values, places=0):
    """A median, and the range where there are several values."""
    values = [value for value in values if value is not None]
    if not values:
        return "–"
    middle, low, high = sweeps.spread(values)
    text = f"{middle:,.{places}f}"
    return text + (f"<br /><small>{low:,.{places}f} … {high:,.{places}f}</small>" if low < high else "")


def machine_table(machine):
    """What the runs say about the machine."""
    return table(("Machine", ""), [
        ("Processor", escape(machine["cpu_model"])), ("CPUs usable", escape(machine["cpus"])),
        ("Memory", f"{machine['memory_bytes'] / 2**30:.1f} GiB"),
        ("Kernel", f"Linux {escape(machine['kernel'])}, {escape(machine['architecture'])}")])


def results_table(done, vary):
    """A row for each combination, with medians over its repeats."""
    groups = {}
    for row in done:
        groups.setdefault(tuple(repr(row["settings"].get(name)) for name in vary), []).append(row)
    backings = dict.fromkeys(row["figures"]["backing"] for row in done if row["status"] == 0)
    head = [*vary, "runs", "MB/s", "baseline MB/s", "CPUpwn", "per CPU", "CPUs", "producing %", "ready s"]
    body = []
    for members in sorted(groups.values(), key=lambda m: [sort_key(m[0]["settings"].get(name)) for name in vary]):
        good = [row["figures"] for row in members if row["status"] == 0]
        failed = len(members) - len(good)
        cells = [escape(sweeps.field(members[0]["settings"].get(name))) for name in vary]
        cells.append(str(len(good)) + (f'<br /><small class="failed">{failed} failed</small>' if failed else ""))
        cells += [number([row[name] for row in good], places) for name, places in (
            ("mbps", 0), ("baseline_mbps", 0), ("cpupwn", 2), ("cpupwn_per_cpu", 2), ("cpus", 0))]
        cells.append(number(
            [100 * row["producer_cpu_s"] / row["pcore_cpu_s"] for row in good if row["pcore_cpu_s"]], 1))
        cells.append(number([row["ready_s"] for row in good], 2))
        if len(backings) > 1:
            cells.append("<br />".join(escape(text) for text in dict.fromkeys(row["backing"] for row in good)))
        body.append(cells)
    if len(backings) > 1:
        return table([*head, "memory"], body, range(len(vary), len(head)))
    return table(head, body, range(len(vary), len(head))) + "".join(
        f"<p>Memory in every run: {escape(text)}.</p>\n" for text in backings)


def weaknesses(done):
    """What makes the figures weak, as sentences."""
    good = [row for row in done if row["status"] == 0]
    groups, starved = {}, 0
    for row in good:
        result = row["figures"]
        groups.setdefault(repr(sorted(row["settings"].items())), []).append(result["mbps"])
        used = result["pcore_cpu_s"] + result["producer_cpu_s"]
        # In a run of milliseconds starting and ending are most of it.
        starved += result["elapsed_s"] >= 0.1 and used < 0.75 * result["cpus"] * result["elapsed_s"]
    repeated = [values for values in groups.values() if len(values) > 1]
    apart = sum(max(values) - min(values) > 0.25 * sweeps.spread(values)[0] for values in repeated)
    sentences = []
    if starved:
        sentences.append(f"In {starved} of {figures.plural(len(good), 'run')} pcores and producer together got less "
                         "than three quarters of the pcores' CPUs: something else ran there, and the figures are weak.")
    if apart:
        sentences.append(f"In {apart} of {figures.plural(len(repeated), 'combination')} the repeats differ by more "
                         "than a quarter of their median.")
    # Several machines or builds in one report are told, as their figures do not compare.
    for what, number_of in (("machines or kernels", len({repr(sorted(row["machine"].items())) for row in good})),
                            ("builds of pfs_proc_pcores", len({row["build"] for row in good}))):
        if number_of > 1:
            sentences.append(f"The runs come from {number_of} different {what}; do not compare them.")
    return sentences


def sort_key(value):
    """Numbers by size, before texts by letters."""
    return (0, value, "") if isinstance(value, (int, float)) else (1, 0, str(value))


def report(declared, done, left):
    """The page for the results `done`, of which there are `left` more to come."""
    vary = [name for name, values in declared.vary.items() if len(values) > 1] or list(declared.vary)
    good = [row for row in done if row["status"] == 0]
    failures = [row for row in done if row["status"] != 0]
    machines = list({repr(sorted(row["machine"].items())): row["machine"] for row in good}.values())
    builds = dict.fromkeys((row["version"], row["build"]) for row in good)
    fixed = declared.run | {name: values[0] for name, values in declared.vary.items() if name not in vary}
    parts = [
        '<!DOCTYPE html>\n<html xmlns="http://www.w3.org/1999/xhtml" lang="en">\n<head>\n<meta charset="utf-8" />\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1" />\n'
        f"<title>{escape(declared.title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(declared.title)}</h1>\n"
        f'<p class="lead">A sweep of pfs_proc_pcores: {figures.plural(len(done), "run")} of '
        f'{len(declared.combinations()):,} combinations'
        + (f", {left:,} still to be done" if left else "")
        + (f", {len(failures):,} failed" if failures else "") + ".</p>\n"]
    parts += [f'<p class="warning">{escape(sentence)}</p>\n' for sentence in weaknesses(done)]
    parts += [machine_table(machine) for machine in machines]
    parts.append("<h2>Pictures</h2>\n" + pictures(done, declared.vary))
    parts.append(
        "<h2>Results</h2>\n<p>Medians over a combination's runs, with the lowest and the highest below where there are "
        "several. MB is 10<sup>6</sup> bytes. CPUpwn is the throughput over that of one process without a ring, "
        "the baseline, measured in the same run; beside it per CPU used, because many pcores on few CPUs cannot be "
        "many times anything. Producing: the producer's CPU time in percent of the pcores'; ready: from the first "
        "pcore's start until all were.</p>\n" + results_table(done, vary))
    if failures:
        parts.append("<h2>Failed</h2>\n" + table(
            (*vary, "repeat", "status", "message"),
            [[*(escape(sweeps.field(row["settings"].get(name))) for name in vary), escape(row["repeat"]),
              escape(row["status"]), escape(row["message"])] for row in failures]))
    warnings = {}
    for row in good:
        for warning in row["warnings"]:
            warnings[warning] = warnings.get(warning, 0) + 1
    if warnings:
        parts.append("<h2>Warnings</h2>\n" + table(
            ("runs", "warning"), [(str(count), escape(text)) for text, count in warnings.items()], [0]))
    parts.append("<h2>Declaration</h2>\n")
    if fixed:
        values = (f"<code>{escape(name)} = {escape(sweeps.field(value))}</code>" for name, value in fixed.items())
        parts.append("<p>The same in every run: " + ", ".join(values) + ".</p>\n")
    parts.append(f"<pre>{escape(declared.source)}</pre>\n")
    if builds:
        parts.append("<p><small>" + "; ".join(
            f"pfs_proc_pcores {escape(version)}, build {escape(build)}" for version, build in builds)
            + "</small></p>\n")
    return "".join(parts) + "</body>\n</html>\n"
