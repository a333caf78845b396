# SPDX-License-Identifier: MIT
"""Reads what the runners write: the aggregate log, logs by pcore, and the ring benchmark's report (docs/reports.md)."""
import csv
import dataclasses
import glob
import io
import json
import math
import os

from tool import NO_INPUT, Problem


@dataclasses.dataclass
class Run:
    """The rows of one run in the aggregate log."""
    settings: tuple  # (pcores, dpf, align, isa, program), as text
    start: float     # seconds since 1970
    live: list       # of rows
    final: dict | None = None

    @property
    def label(self):
        """The run in a few words."""
        pcores, dpf, align, isa, program = self.settings
        return f"{pcores} pcore{'' if pcores == '1' else 's'}, {program}, dpf {dpf}, align {align}, {isa}"


def reader_of(path):
    """A reader of the CSV at `path`. A last line without its end is still being written, and left out."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            text = file.read()
    except OSError as error:
        raise Problem(NO_INPUT, f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Problem(NO_INPUT, f"{path} is not text") from None
    return csv.DictReader(io.StringIO(text[:text.rfind("\n") + 1]))


def columns(path):
    """The names of the columns of the CSV at `path`."""
    return reader_of(path).fieldnames or []


def table(path, wanted):
    """The rows of the CSV at `path` as dictionaries: the columns in `wanted`, which maps a name to what converts its
    text and raises ValueError where it cannot, and `line`, where the row ends."""
    reader = reader_of(path)
    missing = [name for name in wanted if name not in (reader.fieldnames or [])]
    if missing:
        raise Problem(NO_INPUT, f"{path}, line 1: there is no column {missing[0]}; is this the right file?")
    rows = []
    for row in reader:
        try:
            rows.append({name: convert(row[name]) for name, convert in wanted.items()} | {"line": reader.line_num})
        except (ValueError, TypeError):
            name = next(n for n, convert in wanted.items() if not converts(convert, row[n]))
            raise Problem(NO_INPUT, f"{path}, line {reader.line_num}: {name} is {row[name]!r}") from None
    return rows


def converts(convert, text):
    """Whether `convert` takes `text`."""
    try:
        convert(text)
        return True
    except (ValueError, TypeError):
        return False


def real(text):
    """A finite number that is not negative."""
    value = float(text)
    if not math.isfinite(value) or value < 0:
        raise ValueError
    return value


def count(text):
    """A whole number that is not negative."""
    value = int(text)
    if value < 0:
        raise ValueError
    return value


def optional(text):
    """A number, or None where nothing was measured."""
    return None if text == "" else real(text)


def word(text):
    """Any text, but not a missing field."""
    if text is None:
        raise ValueError
    return text


def metrics(path):
    """The runs in the aggregate log at `path`, in the order in which they ended or, without an end, began.

    Runs may have written to the log at the same time. Rows belong together that have the same settings and the same
    start, which is the time of a row less what had elapsed.
    """
    runs, open_runs = [], []
    rows = table(path, {
        "ts_s": real, "pcores": count, "mbps": real, "cpupwn": optional, "cpupwn_per_cpu": optional,
        "baseline_mbps": optional, "kind": word, "elapsed_s": real, "dpf": word, "align": word, "isa": word,
        "program": word})
    for row in rows:
        settings = (str(row["pcores"]), row["dpf"], row["align"], row["isa"], row["program"])
        start = row["ts_s"] - row["elapsed_s"]
        candidates = [run for run in open_runs if run.settings == settings]
        if row["kind"] == "final":
            # Written after the verification, if there was one, so that its time says nothing about the start.
            fitting = [run for run in candidates
                       if run.live[-1]["elapsed_s"] <= row["elapsed_s"] + 0.5 and run.start <= start + 0.5]
            run = max(fitting, key=lambda run: run.live[-1]["elapsed_s"], default=None)
            if run is None:
                run = Run(settings, start, [])
            else:
                open_runs.remove(run)
                runs.remove(run)
            run.final = row
            runs.append(run)
            continue
        run = next((run for run in candidates
                    if abs(run.start - start) < 0.1 and run.live[-1]["elapsed_s"] < row["elapsed_s"]), None)
        if run is None:
            run = Run(settings, start, [])
            open_runs.append(run)
            runs.append(run)
        run.live.append(row)
    return runs


def newest(folder):
    """The newest file of samples by pcore in `folder`, or None; names begin with the time."""
    return max(glob.glob(os.path.join(glob.escape(folder), "*.csv")), key=os.path.basename, default=None)


def pcores(path):
    """The samples by pcore of one run: (program, times, bytes), where bytes[pcore][time] counts from the start."""
    rows = table(path, {"elapsed_s": real, "pcore": count, "bytes": count, "kind": word, "program": word})
    times, payload, program = [], {}, ""
    for row in rows:
        if row["kind"] != "live":
            continue
        program = row["program"]
        if not times or row["elapsed_s"] != times[-1]:
            if times and row["elapsed_s"] < times[-1]:
                raise Problem(NO_INPUT, f"{path}, line {row['line']}: elapsed_s goes back; is this more than one run?")
            times.append(row["elapsed_s"])
        series = payload.setdefault(row["pcore"], [])
        if len(series) != len(times) - 1:
            raise Problem(NO_INPUT, f"{path}, line {row['line']}: pcore {row['pcore']} lacks a row or has one too many")
        series.append(row["bytes"])
    if not times:
        raise Problem(NO_INPUT, f"{path} has no live row: the run was shorter than half a second")
    if sorted(payload) != list(range(len(payload))):
        raise Problem(NO_INPUT, f"{path}: the pcores are not numbered from 0 on")
    short = next((pcore for pcore, series in payload.items() if len(series) != len(times)), None)
    if short is not None:
        raise Problem(NO_INPUT, f"{path}: pcore {short} has {len(payload[short])} of {len(times)} rows")
    return program, times, [payload[pcore] for pcore in range(len(payload))]


def latencies(path):
    """The latencies in a report of pfs_shm_ring_bench --latency --json, and how they were taken."""
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
    except OSError as error:
        raise Problem(NO_INPUT, f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise Problem(NO_INPUT, f"{path} is not a JSON document: {error}") from None
    try:
        rows = [
            {"contender": str(row["contender"]), "kind": str(row["kind"]), "samples": int(row["samples"])}
            | {name: int(row[name]) for name in ("p50_ns", "p99_ns", "p999_ns", "max_ns")}
            | {"buckets": [(int(b["from_ns"]), int(b["to_ns"]), int(b["count"])) for b in row["buckets"]]}
            for row in document["result"]["latencies"]]
        config, machine = document["config"], document["machine"]
        how = (f"{config['mode']} on CPUs {config['producer_cpu']} and {config['consumer_cpu']}, "
               f"{config['slots']} slots; {machine['cpu_model']}")
    except (KeyError, TypeError, ValueError) as error:
        raise Problem(NO_INPUT, f"{path} is no report of pfs_shm_ring_bench --latency --json: {error}") from None
    if not rows:
        raise Problem(NO_INPUT, f"{path} has no latencies: measure them with --latency")
    return rows, how
