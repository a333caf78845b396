# SPDX-License-Identifier: MIT
"""The results of a sweep: as a CSV, as figures, and back from the CSV for `plot`."""
import csv
import io
import statistics

import declaration
import figures
import logs
from tool import NO_INPUT, Problem

# Figures of a run in sweep.csv, named and in units as in the aggregate log, and where the report has them.
REPORTED = {
    "mbps": "throughput_mb_per_s", "baseline_mbps": "baseline_mb_per_s", "cpupwn": "cpupwn", "cpupwn_per_cpu": "cpupwn_per_cpu",
    "cpus": "pcores", "bytes": "bytes", "records": "records", "descriptors": "descriptors", "rejected": "rejected_records",
    "elapsed_s": "elapsed_ns", "ready_s": "ready_ns", "pcore_cpu_s": "pcore_cpu_ns", "producer_cpu_s": "producer_cpu_ns",
    "verified": "verified", "isa": "isa", "backing": "backing",
}

# The settings whose columns have other names than they themselves: there is a figure of that name.
COLUMNS = {"records": "records_per_pcore"}


def measured(result):
    """The figures of a run from the `result` of its report."""
    found = {name: result[key] / 1e9 if key.endswith("_ns") else result[key] for name, key in REPORTED.items()}
    return found | {"cpus": len({pcore["cpu"] for pcore in result["pcores"]})}


def settings_of(done):
    """The names of the settings that any of the runs has, in the declaration's order."""
    return list(dict.fromkeys(name for entry in done for name in entry["settings"]))


def as_csv(done):
    """The results as text: a row for each run, in the order in which they ended. Missing values are empty."""
    names = settings_of(done)
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\n")
    writer.writerow(["ts_s", *(COLUMNS.get(name, name) for name in names), "repeat", "status", *REPORTED, "message"])
    for entry in done:
        figures_of_run = entry.get("figures") or {}
        writer.writerow([
            f"{entry['ts_s']:.3f}", *(field(entry["settings"].get(name)) for name in names), entry["repeat"],
            entry["status"], *(field(figures_of_run.get(name)) for name in REPORTED), entry.get("message") or ""])
    return output.getvalue()


def field(value):
    """A value as the CSV has it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.6g}" if isinstance(value, float) and abs(value) < 1e6 else str(value)


def scaling_of(title, subtitle, series):
    """A figure of throughput and CPUpwn over pcores from (label, {pcores: rows})."""
    cpus = {}
    for _, points in series:
        for pcores, rows in points.items():
            for row in rows:
                if row["cpupwn"] and row["cpupwn_per_cpu"]:
                    cpus[pcores] = max(cpus.get(pcores, 0), round(row["cpupwn"] / row["cpupwn_per_cpu"]))
    return figures.response(
        "scaling", title, subtitle, "pcores", [
            (label, [(pcores, [row["mbps"] for row in rows], [row["cpupwn"] for row in rows])
                     for pcores, rows in sorted(points.items())]) for label, points in series],
        cpus=sorted(cpus.items()))


def over(name, done, vary):
    """A figure of the successful runs in `done` over the setting `name`; `vary` has the settings that vary, with the
    values in the order in which they were declared.

    Lines are for the other settings that vary, as long as there are no more than eight; the rest is pooled.
    """
    others = [other for other in vary
              if other != name and len({repr(row["settings"].get(other)) for row in done}) > 1]
    order = ["program", "page_size", "transport", "align", "dpf", "pcores"]
    others.sort(key=lambda other: (order + [other]).index(other))
    apart, lines = [], 1
    for other in others:
        lines *= len({repr(row["settings"].get(other)) for row in done})
        if lines > len(figures.COLOURS):
            break
        apart.append(other)
    series, values = {}, [value for value in vary[name] if any(row["settings"].get(name) == value for row in done)]
    for row in done:
        key = tuple(row["settings"].get(other) for other in apart)
        series.setdefault(key, {}).setdefault(row["settings"].get(name), []).append(row["figures"])
    series = [(", ".join(map(setting, apart, key)) or "all runs", series[key]) for key in sorted(
        series, key=lambda key: [vary[other].index(value) for other, value in zip(apart, key)])]
    pooled = [other for other in others if other not in apart]
    subtitle = "marks: median, bars: lowest to highest"
    if pooled:
        subtitle += f", over every {' and '.join(pooled)}"
    title = f"Throughput and CPUpwn over {name}"
    if name == "pcores":
        return scaling_of(title, subtitle, series)
    numeric = all(isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0 for value in values)
    if numeric:
        values.sort()
    return figures.response(
        name, title, subtitle, name, [
            (label, [(value if numeric else values.index(value),
                      [row["mbps"] for row in rows], [row["cpupwn"] for row in rows])
                     for value, rows in sorted(points.items(), key=lambda item: values.index(item[0]))])
            for label, points in series],
        categories=None if numeric else [
            figures.fit(field(value), max(12, 110 // len(values))) for value in values])


def setting(name, value):
    """A setting in words."""
    return figures.fit(str(value), 60) if name in ("program", "file") else f"{name} {field(value)}"


def every_figure(done, vary):
    """A figure for each setting with more than one value among the successful runs."""
    good = [row for row in done if row["status"] == 0]
    return [over(name, good, vary) for name in vary
            if len({repr(row["settings"].get(name)) for row in good}) > 1]


def scaling(path):
    """The figure over pcores from a sweep.csv."""
    measured_columns = {"mbps": logs.optional, "cpupwn": logs.optional, "cpupwn_per_cpu": logs.optional}
    rows = logs.table(path, {"status": logs.count, "pcores": logs.count} | measured_columns)
    present = logs.columns(path)
    names = [name for name in declaration.SETTINGS if COLUMNS.get(name, name) in present]
    texts = logs.table(path, {COLUMNS.get(name, name): logs.word for name in names})
    done = [{"settings": {name: text[COLUMNS.get(name, name)] for name in names} | {"pcores": row["pcores"]},
             "status": row["status"], "figures": row}
            for row, text in zip(rows, texts) if row["status"] == 0 and row["mbps"]]
    vary = {name: list(dict.fromkeys(row["settings"][name] for row in done)) for name in names}
    if len(vary["pcores"]) < 2:
        raise Problem(NO_INPUT, f"{path} has no runs of different numbers of pcores")
    return over("pcores", done, vary)


def spread(values):
    """Median, lowest and highest."""
    return statistics.median(values), min(values), max(values)
