#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Plays the claims of up to 10,000 ranks event by event, and holds ../scale.md's formulas (model.py) against what comes out; then
puts one mistake after the other into the formulas, each of which must show. Standard library only; every run is the same.

The tables and the picture of ../scale.md are made here as well: without arguments it is checked that they are up to date."""
import argparse
import collections
import dataclasses
import heapq
import math
import os
import random
import re
import sys
from xml.sax.saxutils import escape

sys.dont_write_bytecode = True
from model import Job, Model, parameters, slow_ranks

FOLDER = os.path.dirname(os.path.realpath(__file__))
PAGE, PICTURE = os.path.join(FOLDER, "../scale.md"), os.path.join(FOLDER, "rates.svg")


class Counter:
    """One that serves claims in the order in which they come, and progress messages in between."""

    def __init__(self, service, exponential=None, message=0.0, every=math.inf, looks=0.0):
        self.service, self.exponential = service, exponential
        self.message, self.every, self.looks = message, every, looks
        self.free, self.next_message, self.served = 0.0, every, 0

    def serve(self, now):
        """When a claim that arrives now is done. Calls come in the order of time."""
        while self.message and self.next_message <= now:
            self.free = max(self.free, self.next_message) + self.message
            self.next_message += self.every
        if self.looks:
            now = math.ceil(now / self.looks) * self.looks
        time = self.exponential.expovariate(1 / self.service) if self.exponential else self.service
        self.free = max(self.free, now) + time
        self.served += 1
        return self.free


def simulate(job, exponential=False, seed=1):
    """Plays a pass over the file: (seconds when each rank was done, claims at rank 0)."""
    # pylint: disable=too-many-locals
    generator = random.Random(seed)
    batches = iter(job.batches())
    root = Counter(job.s, generator if exponential else None, job.u, max(job.p / job.N, job.p0), job.q)
    leaders = [Counter(job.s1) for _ in range(job.G)]
    stock, asked, over, hungry = [0] * job.G, [False] * job.G, [False] * job.G, [collections.deque() for _ in range(job.G)]
    slow, alone, low = slow_ranks(job.N, job.slow), job.w, job.low
    done = [0.0] * job.N
    has_next, idle = [False] * job.N, [True] * job.N
    events, order = [], 0
    # Chunks that are worked on share the file system evenly. A clock that runs at the rate of each of them says when
    # one is done: when it has gone on by the chunk's size.
    working, clock, now = [], 0.0, 0.0
    handed_out = finished = active = 0

    def at(time, what, who):
        nonlocal order
        order += 1
        heapq.heappush(events, (time, order, what, who))

    # Every claim is on its way for the same time, so that claims arrive in the order in which they are made.
    def claim(rank, time):
        if job.g:
            at(leaders[rank // job.g].serve(time + job.L1 / 2), deal, rank)
            return
        answered = root.serve(time + job.L / 2) + job.L / 2
        if next(batches, 0):
            at(answered, granted, rank)

    def deal(rank, time):
        group = rank // job.g
        if stock[group]:
            stock[group] -= 1
            at(time + job.L1 / 2, granted, rank)
        elif not over[group]:
            hungry[group].append(rank)
        if stock[group] <= low:
            ask(group, time)

    def ask(group, time):
        if not asked[group] and not over[group]:
            asked[group] = True
            at(root.serve(time + job.L / 2) + job.L / 2, batch_comes, (group, next(batches, 0)))

    def batch_comes(what, time):
        group, size = what
        asked[group], over[group] = False, size == 0
        stock[group] += size
        for _ in range(min(size, len(hungry[group]))):
            deal(hungry[group].popleft(), time)
        if hungry[group] and not over[group]:
            ask(group, time)

    def granted(rank, time):
        if idle[rank]:
            work(rank, time)
        else:
            has_next[rank] = True

    def work(rank, _):
        nonlocal handed_out, active
        handed_out += 1
        idle[rank] = False
        size = job.C * generator.uniform(2 - job.spread, job.spread)
        # Slow ranks lie side by side, as those of a slow host or rack do.
        size /= job.sigma if rank < slow else 1
        heapq.heappush(working, (clock + size, rank, True))
        if job.e:
            heapq.heappush(working, (clock + (1 - job.e) * size, rank, False))
        active += 1

    for rank in range(job.N):
        claim(rank, 0.0)
    while events or working:
        rate = 0.0 if not active else alone if alone * active <= job.F else job.F / active
        ends = now + (working[0][0] - clock) / rate if working else math.inf
        if events and events[0][0] <= ends:
            time, _, what, who = heapq.heappop(events)
            clock += rate * (time - now)
            now = time
            what(who, time)
            continue
        clock, rank, is_over = heapq.heappop(working)
        now = ends
        if not is_over:
            claim(rank, now)
            continue
        done[rank] = now
        finished += 1
        active -= 1
        idle[rank] = True
        if not job.e:
            claim(rank, now)
        elif has_next[rank]:
            has_next[rank] = False
            work(rank, now)
    if not handed_out == finished == job.n:
        raise AssertionError(f"{handed_out} chunks of {job.n} were handed out, {finished} finished")
    return done, root.served


def reduce(ready, step):
    """Plays a reduction along a binomial tree to rank 0, from when each rank is ready: when it is over."""
    ready, bit = list(ready), 1
    while bit < len(ready):
        for rank in range(0, len(ready) - bit, 2 * bit):
            ready[rank] = max(ready[rank], ready[rank + bit]) + step
        bit *= 2
    return ready[0]


def start(job):
    """Plays the start: daemons along a tree, each starts its own one after the other; then ranks. When the last one runs."""
    up = [0.0] * job.H
    for host in range(1, job.H):
        parent, turn = (host - 1) // job.radix, (host - 1) % job.radix + 1
        up[host] = up[parent] + turn * job.tx + job.td
    return max(up) + job.t0 + (job.r - 1) * job.tr


# What is checked

def jobs():
    """(name, job, exponential service)."""
    base = Job(C=1 << 20, m=1e9, L=2e-5, s=1e-6)

    def job(ranks, chunks_each, **changes):
        changed = dataclasses.replace(base, H=ranks, **changes)
        return dataclasses.replace(changed, B=changed.C * ranks * chunks_each)

    work = base.C / base.w
    yield "one host alone", job(1, 100), False
    for ranks in (10, 100, 1000, 10_000):
        yield f"flat, {ranks:,} ranks, counter at {ranks * base.s / work:.0%}", job(ranks, 16), False
    for ranks in (10, 100, 10_000):
        yield f"flat, {ranks:,} ranks, counter asked five times too much", job(ranks, 12, s=5 * work / ranks), False
    for ranks in (10, 100, 1000):
        yield f"flat, {ranks:,} ranks, at the knee", job(ranks, 100, s=work / ranks), False
    yield "flat, 100 ranks, at the knee, exponential service", job(100, 200, s=work / 100), True
    yield "a claim takes as long as a chunk", job(100, 40, L=work), False
    yield "... but is made half a chunk ahead", job(100, 60, L=0.7 * work, e=0.5), False
    yield "... a whole chunk ahead", job(100, 60, L=0.7 * work, e=1), False
    yield "half a chunk ahead, 10,000 ranks", job(10_000, 12, s=1e-8, e=0.5), False
    yield "half a chunk ahead, counter asked five times too much", job(1000, 20, s=5 * work / 1000, e=0.5), False
    yield "rank 0 looks five times a chunk", job(100, 100, q=work / 5), False
    yield "file system for 20 of 100", job(100, 20, F=20 * base.m), False
    yield "file system for 1,000 of 10,000", job(10_000, 12, F=1000 * base.m), False
    yield "one rank of ten at half speed", job(100, 30, slow=0.1, sigma=0.5), False
    yield "three of ten at a quarter, 10,000 ranks", job(10_000, 16, s=1e-8, slow=0.3, sigma=0.25), False
    yield "progress messages take half of rank 0", job(1000, 100, s=2 * work / 1000, u=2.5e-5, p=0.05), False
    few = {"s": 5 * work / 10_000, "g": 100}
    yield "10,000 ranks, groups of 100, shrinking batches", job(10_000, 12, k=300, shrink=True, **few), False
    few = {"s": 5 * work / 2000, "g": 50}
    yield "2,000 ranks, groups of 50, batches of 50", job(2000, 20, k=50, **few), False
    yield "2,000 ranks, groups of 50, batches of 2: too small", job(2000, 20, k=2, **few), False
    few = {"s": 5 * work / 2000, "g": 20, "slow": 0.1, "sigma": 0.5}
    yield "2,000 ranks, groups of 20, batches of 20, a tenth slow", job(2000, 60, k=20, **few), False
    yield "2,000 ranks, groups of 20, shrinking batches, a tenth slow", job(2000, 60, k=200, shrink=True, **few), False


WIDTH = 1.30       # the most that the upper bound may be of the lower: a model that says nothing passes nothing


class Mistakes:
    """Wrong models, each of which some case must contradict."""

    class ClaimsKeepNobodyBusy(Model):
        def busy(self):
            return 1e-12

    class LatencyIsNothing(Model):
        def latency(self):
            return 0.0

    class RankZeroAlwaysLooks(Model):
        def attention(self):
            return 0.0

    class ClaimsAheadHideNothing(Model):
        def cycle(self, speed):
            return Model(dataclasses.replace(self.job, e=0)).cycle(speed)

    class NobodyWaitsInAQueue(Model):
        def waiting(self, customers, think, service):
            return service

    class FileSystemForEachHost(Model):
        def files(self):
            return self.job.F * self.job.H

    class SlowRanksAreAsFast(Model):
        def speeds(self):
            return [(self.job.N, 1.0)]

    class ProgressCostsNothing(Model):
        def busy(self):
            return self.job.s

    class BatchesAreSingleChunks(Model):
        def root_claims(self):
            return self.job.n

    class LeadersAreFree(Model):
        def root_claims(self):
            return 1 if self.job.g else self.job.n

    class NoTail(Model):
        def tail(self):
            return 0.0

    class ReductionInALine(Model):
        def depth(self):
            return self.job.N - 1

    class ReductionAtOnce(Model):
        def depth(self):
            return min(1, self.job.N - 1)

    class DaemonsStartAtOnce(Model):
        def start(self):
            return self.job.t0 + (self.job.r - 1) * self.job.tr + (self.job.td if self.job.H > 1 else 0)

    class DaemonsStartInALine(Model):
        def start(self):
            return self.job.t0 + (self.job.r - 1) * self.job.tr + (self.job.H - 1) * (self.job.td + self.job.tx)


def contradictions(model, played):
    """(case, what the model says, what came out) wherever they do not agree."""
    for case in played["passes"] + played["remedies"] + played["picture"]:
        job, seconds = case["job"], case["seconds"]
        least, most = model(job).passing()
        # Random sizes do not add up to their mean exactly.
        slack = 3 / math.sqrt(3 * job.n) * (job.spread - 1)
        if job.u:
            # Nobody waits for messages that come behind the last claims.
            slack += job.N / job.n
        if not least * (1 - slack) <= seconds <= most or (case["narrow"] and most > WIDTH * least):
            yield case["name"], least, most, seconds
    for job, seconds in played["queues"]:
        wait = model(job).waiting(job.N, job.C / job.w + job.L, job.s)
        expected = job.n / job.N * (job.C / job.w + job.L + wait)
        if not 0.98 * expected <= seconds <= 1.02 * expected:
            yield f"queue of {job.N}", expected, expected, seconds
    for ranks, seconds in played["reductions"]:
        predicted = model(Job(H=ranks)).reduction()
        if not math.isclose(predicted, seconds, abs_tol=1e-12):
            yield f"reduction over {ranks:,}", predicted, predicted, seconds
    for hosts, seconds in played["starts"]:
        predicted = model(Job(H=hosts)).start()
        # The last level of the tree may be filled in part.
        if not seconds <= predicted * 1.000001 <= 1.25 * seconds:
            yield f"start on {hosts:,}", predicted / 1.25, predicted, seconds


def play():
    """All that the formulas are held against."""
    def cases(found, narrow):
        for name, job, exponential in found:
            done, claims = simulate(job, exponential)
            yield {"name": name, "job": job, "seconds": max(done), "claims": claims, "narrow": narrow}

    base = parameters(FOLDER)
    queues = []
    for ranks in (5, 20, 100):
        # At the knee, where the formula says most; so many chunks that beginning and end do not count.
        job = Job(H=ranks, C=1e6, m=1e9, L=1e-5, s=1e-3 / ranks, spread=1.9, B=1e6 * 40_000)
        queues.append((job, max(simulate(job, True)[0])))
    sizes = (1, 2, 7, 10, 100, 1000, 10_000)
    return {"passes": list(cases(jobs(), True)), "remedies": list(cases(remedies(base), False)),
            "picture": list(cases(points(base), False)), "queues": queues, "reductions": [(n, reduce([0.0] * n, Job().a)) for n in sizes],
            "starts": [(n, start(Job(H=n))) for n in sizes]}


# The page

def table(head, rows, texts=1):
    """A table in Markdown; its first columns are texts, the others numbers."""
    lines = [head, ["---"] * texts + ["---:"] * (len(head) - texts)] + rows
    return "\n".join("| " + " | ".join(row) + " |" for row in lines)


def digits(value, unit=""):
    """A number to three digits, without an exponent."""
    if value == 0:
        return "0"
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{places}f}{unit}"


def time(seconds):
    """A time to three digits, in its unit."""
    for limit, factor, unit in ((1e-3, 1e6, "us"), (1, 1e3, "ms"), (math.inf, 1, "s")):
        if seconds < limit:
            return "0" if seconds == 0 else digits(seconds * factor, f" {unit}")
    raise ValueError(seconds)


HOSTS = (1, 10, 100, 1000, 10_000)


def limits_table(base):
    """What each resource carries, and which runs out first."""
    rows = []
    for hosts in HOSTS:
        model = Model(dataclasses.replace(base, H=hosts))
        limits = model.limits()
        first = min(limits, key=limits.get)
        rows.append([f"{hosts:,}"] + [
            f"**{digits(rate / 1e9)}**" if name == first else digits(rate / 1e9) for name, rate in limits.items()])
    return table(["hosts", "memory", "links", "files", "counter"], rows)


def times_table(base):
    """Where the time goes."""
    rows = []
    for where, changes in (("shared", {}), ("on the hosts", {"F": math.inf, "f": math.inf})):
        for hosts in (10, 100, 10_000):
            model = Model(dataclasses.replace(base, H=hosts, **changes))
            least, most = model.passing()
            whole = model.start() + model.estimate() + model.reduction() + model.results()
            rows.append([f"{hosts:,}, file {where}", time(model.start()), f"{time(least)} to {time(most)}", time(model.tail()),
                         time(model.reduction()), time(model.results()), time(whole)])
    return table(["hosts", "start", "pass", "of it the end, at most", "reduction", "results", "all"], rows)


def remedies(base):
    """(what, job) for 10,000 hosts that have the file in memory."""
    job = dataclasses.replace(base, H=10_000, F=math.inf, f=math.inf, B=10e12, s1=base.s, L1=base.L)
    big = dataclasses.replace(job, slow=0.01, sigma=0.5)
    for name, one in (("", job), (", 1 % of the hosts at half speed", big)):
        yield "flat, 64 MiB" + name, one, False
        yield "flat, 256 MiB" + name, dataclasses.replace(one, C=256 << 20), False
        yield "flat, 1 GiB" + name, dataclasses.replace(one, C=1 << 30), False
        yield "groups of 100, batches of 200" + name, dataclasses.replace(one, g=100, k=200), False
        yield "groups of 100, shrinking batches" + name, dataclasses.replace(one, g=100, k=1000, shrink=True), False


def remedies_table(played):
    """Flat and in groups, played."""
    rows = []
    for case in played["remedies"]:
        job = case["job"]
        ideal = job.B / job.w / sum(count * speed for count, speed in job.speeds())
        rows.append([case["name"], f"{case['claims']:,}", time(case["seconds"]), f"{ideal / case['seconds']:.0%}"])
    return table(["way of claiming", "claims at rank 0", "pass", "of the hosts' speed"], rows)


def law_table(base):
    """How long a pass must be at least for flat claims."""
    rows = []
    for ranks in (10, 100, 1000, 10_000, 80_000):
        rows.append([f"{ranks:,}"] + [time(10 * ranks * s) for s in (1e-6, base.s, 10 * base.s)])
    return table(["ranks"] + [f"s = {time(s)}" for s in (1e-6, base.s, 10 * base.s)], rows)


def checks_table(played):
    """What was predicted, and what came out."""
    rows = []
    for case in played["passes"]:
        least, most = Model(case["job"]).passing()
        rows.append([case["name"], digits(1e3 * least), digits(1e3 * case["seconds"]), digits(1e3 * most)])
    return table(["case", "least, ms", "played, ms", "most, ms"], rows)


COLOURS = ("#0072B2", "#D55E00", "#009E73")


def series(base):
    """The curves of the picture: (name, job)."""
    own = dataclasses.replace(base, F=math.inf, f=math.inf, s1=base.s, L1=base.L)
    yield "flat, chunks of 64 MiB", own
    yield "flat, chunks of 256 MiB", dataclasses.replace(own, C=256 << 20)
    yield "chunks of 64 MiB; groups of 10 claim batches of 20", dataclasses.replace(own, g=10, k=20)


def of_hosts(job, hosts):
    """... on so many hosts, each with its share of a file."""
    return dataclasses.replace(job, H=hosts, B=hosts * float(512 << 20))


def points(base):
    """The marks of the picture: (name, job, False)."""
    for name, job in series(base):
        for hosts in (10, 30, 100, 300, 1000, 3000, 10_000):
            yield name, of_hosts(job, hosts), False


def picture(base, played):
    """Bytes per second over hosts, flat and in groups: bands are the formulas, marks the simulation."""
    width, height, left, top, right, bottom = 1000, 520, 90, 96, 30, 60
    least_x, most_x, least_y, most_y = 1.0, 4.0, 10.5, 14.5
    def x(hosts):
        return left + (math.log10(hosts) - least_x) / (most_x - least_x) * (width - left - right)

    def y(rate):
        return height - bottom - (math.log10(rate) - least_y) / (most_y - least_y) * (height - top - bottom)

    def path(points):
        return " ".join(f"{x(hosts):.1f},{y(rate):.1f}" for hosts, rate in points)

    def text(at_x, at_y, words, anchor="start", size=13):
        return (f'<text x="{at_x:.1f}" y="{at_y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="#1f2933">'
                f"{escape(words)}</text>")

    def mark(number, at_x, at_y):
        return (f'<circle cx="{at_x:.1f}" cy="{at_y:.1f}" r="4.5" fill="{COLOURS[0]}"/>',
                f'<rect x="{at_x - 4:.1f}" y="{at_y - 4:.1f}" width="8" height="8" fill="{COLOURS[1]}"/>',
                f'<path d="M{at_x:.1f} {at_y - 5.5:.1f} l5 9 h-10 z" fill="{COLOURS[2]}"/>')[number]

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        'font-family="DejaVu Sans, Helvetica, Arial, sans-serif">',
        "<title>Rate over hosts, flat and in groups</title>", f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        text(left, 24, "Rate of a pass over a file in the hosts' memory: 512 MiB for each host", size=15)]
    for power in (10, 11, 12, 13, 14):
        for part in range(1, 10):
            rate = part * 10.0 ** power
            if 10 ** least_y <= rate <= 10 ** most_y:
                colour = "#bbbbbb" if part == 1 else "#eeeeee"
                parts.append(f'<path d="M{left} {y(rate):.1f} H{width - right}" stroke="{colour}"/>')
        if power > least_y:
            parts.append(text(left - 8, y(10.0 ** power) + 4, f"{10 ** power / 1e12:g} TB/s", "end", 12))
    for hosts in (10, 100, 1000, 10_000):
        parts.append(f'<path d="M{x(hosts):.1f} {top} V{height - bottom}" stroke="#dddddd"/>')
        parts.append(text(x(hosts), height - bottom + 20, f"{hosts:,}", "middle", 12))
    parts.append(text((left + width - right) / 2, height - 16, "hosts, one rank on each", "middle"))
    parts.append(f'<path d="M{path([(10, 10 * base.m), (10_000, 10_000 * base.m)]).replace(" ", " L")}" stroke="#666666" '
                 'stroke-dasharray="3 4" fill="none"/>')
    parts.append(f'<path d="M{left} {y(base.F):.1f} H{width - right}" stroke="#666666" stroke-dasharray="9 5" fill="none"/>')
    parts.append(text(width - right - 4, y(base.F) - 6, f"a file system of {base.F / 1e12:g} TB/s, if the file lay there", "end", 12))
    parts.append(text(x(1700), y(1700 * base.m) - 14, "memory of all hosts", "end", 12))
    steps = [10 ** (1 + 3 * i / 48) for i in range(49)]
    for number, (name, job) in enumerate(series(base)):
        colour, band = COLOURS[number], []
        for hosts in steps:
            one = of_hosts(job, max(1, job.g) * round(hosts / max(1, job.g)))
            least, most = Model(one).passing()
            band.append((one.H, one.B / least, one.B / most))
        outline = [(hosts, fast) for hosts, fast, _ in band] + [(hosts, slow) for hosts, _, slow in reversed(band)]
        parts.append(f'<polygon points="{path(outline)}" fill="{colour}" fill-opacity="0.25" stroke="{colour}" stroke-width="0.8"/>')
        for case in played["picture"]:
            if case["name"] == name:
                parts.append(mark(number, x(case["job"].H), y(case["job"].B / case["seconds"])))
        parts += [mark(number, left + 8, 44 + 17 * number), text(left + 22, 48 + 17 * number, name, size=12)]
    parts.append(text(width - right, 48, "bands: the formulas; marks: the simulation", "end", 12))
    return "\n".join(parts) + "\n</svg>\n"


def page(played):
    """The page with its tables as they come out now; the text around them stays."""
    base = parameters(FOLDER)
    tables = {
        "limits": limits_table(base), "times": times_table(base), "law": law_table(base),
        "remedies": remedies_table(played), "checks": checks_table(played),
        "parameters": parameters_table(base),
    }
    with open(PAGE, encoding="utf-8") as file:
        text = file.read()
    for name, lines in tables.items():
        pattern = re.compile(rf"(<!-- {name}: by simulate.py -->\n).*?(<!-- end -->)", re.S)
        text, count = pattern.subn(lambda match, lines=lines: f"{match[1]}{lines}\n{match[2]}", text)
        if count != 1:
            raise SystemExit(f"scale.md has {count} places for the table {name}")
    return text


MEANINGS = {
    "m": ("rate", "a host's ranks together, where only memory and CPUs limit them"),
    "q": ("time", "over TCP, rank 0 looks after claims every so often"),
    "s1": ("time", "a counter in shared memory is busy with one claim"),
    "L1": ("time", "the rest of a claim there"),
    "t0": ("time", "one rank on one host, from mpirun to its end, without work"),
    "tr": ("time", "each further rank on a host"),
    "a": ("time", "one step of a reduction"),
    "s": ("time", "rank 0 is busy with one claim, and with the chunk's results if it keeps them"),
    "L": ("time", "the rest of a claim over a network: there and back"),
    "e": ("share", "of a chunk that is left when a rank claims the next"),
    "u": ("time", "rank 0 is busy with one progress message"),
    "p": ("time", "between a rank's progress messages"),
    "p0": ("time", "... for each rank, at least"),
    "f": ("rate", "a host's way to the file system"),
    "F": ("rate", "the file system, for all hosts together"),
    "td": ("time", "a daemon is started on another host"),
    "tx": ("time", "of it, the one who starts it is busy"),
    "d": ("bytes", "results of a block"),
    "D": ("rate", "a host writes results"),
}


def parameters_table(base):
    """The page's parameters: a name, what it is worth here, where it comes from."""
    known, rows = parameters(FOLDER, raw=True), []
    for name, (unit, meaning) in MEANINGS.items():
        value = getattr(base, name)
        shown = {"time": time, "rate": lambda value: f"{digits(value / 1e9)} GB/s"}.get(unit, lambda value: f"{value:g}")(value)
        rows.append([f"`{name}`", meaning, "measured" if name in known["measured"] else "assumed", shown])
    return table(["", "meaning", "by", "here"], rows, texts=3)


def main():
    """Checks, or writes the page's tables and picture."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--write", action="store_true", help="write the tables and the picture of scale.md")
    parser.add_argument("--counts", default=os.devnull, help="file that takes `passed failed skipped`")
    options = parser.parse_args()
    played = play()
    failures = []
    passed = 0

    def judge(name, fine, text=""):
        nonlocal passed
        if fine:
            passed += 1
        else:
            failures.append(name)
        print(f"  {'ok    ' if fine else 'FAILED'}  {name:<62} {text}".rstrip(), flush=True)

    print("The formulas against the simulation:")
    wrong = {name: (least, most) for name, least, most, _ in contradictions(Model, played)}
    for case in played["passes"]:
        least, most = Model(case["job"]).passing()
        judge(case["name"], case["name"] not in wrong, f"{time(case['seconds'])}, predicted {time(least)} to {time(most)}")
    others = [name for name in wrong if name not in {case["name"] for case in played["passes"]}]
    judge("tables and picture of the page, queues, reductions, starts", not others, ", ".join(others))
    print("Mistakes, each of which must show:")
    for name, model in vars(Mistakes).items():
        if not name.startswith("_"):
            found = list(contradictions(model, played))
            words = re.sub(r"(?<!^)([A-Z])", lambda match: " " + match[1].lower(), name)
            judge(words, bool(found), f"{len(found)}: {found[0][0]}" if found else "not found")
    text, drawn = page(played), picture(parameters(FOLDER), played)
    if options.write:
        for path, contents in ((PAGE, text), (PICTURE, drawn)):
            with open(path, "w", encoding="utf-8") as file:
                file.write(contents)
    else:
        print("The page:")
        for path, contents in ((PAGE, text), (PICTURE, drawn)):
            with open(path, encoding="utf-8") as file:
                same = file.read() == contents
            judge(f"{os.path.basename(path)} has what comes out now", same, "" if same else "theoretical/scale/simulate.py --write")
    with open(options.counts, "w", encoding="utf-8") as file:
        file.write(f"{passed} {len(failures)} 0\n")
    print(f"{passed} passed, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
