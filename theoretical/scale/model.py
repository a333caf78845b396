# SPDX-License-Identifier: MIT
"""The formulas of ../scale.md, in its notation: seconds, bytes, bytes per second."""
import dataclasses
import functools
import json
import math
import os
import sys


@dataclasses.dataclass(frozen=True)
class Job:
    """A run, and what it runs on. Names are those of the page."""

    H: int = 1                 # hosts
    r: int = 1                 # ranks on each
    B: float = 1e12            # bytes of the file
    C: float = 64 << 20        # bytes claimed at a time
    m: float = 20e9            # bytes/s of a host's ranks together, where only memory and CPUs limit them
    f: float = math.inf        # bytes/s of a host's way to the file system
    F: float = math.inf        # bytes/s of the file system, for all hosts together
    s: float = 1e-6            # rank 0 is busy with one claim, and with the chunk's results if it keeps them
    L: float = 5e-6            # the rest of a claim: there and back
    q: float = 0               # rank 0 looks after claims every so often
    e: float = 0               # a rank claims its next chunk when this share of the last one is left
    u: float = 0               # rank 0 is busy with one progress message
    p: float = 0.5             # time between a rank's progress messages
    p0: float = 0              # ... for each rank, at least, so that rank 0 does not drown in them
    a: float = 2e-6            # one step of a reduction
    slow: float = 0            # share of ranks that are slow
    sigma: float = 1           # their speed; the others' is 1
    spread: float = 1.5        # the longest chunk's time over the mean
    g: int = 0                 # ranks of a group with a leader; 0: every rank claims at rank 0
    k: int = 1                 # chunks that a leader claims at a time; at most, if batches shrink
    shrink: bool = False       # batches become smaller as the file comes to its end
    s1: float = 2e-7           # a leader is busy with one claim
    L1: float = 1e-6           # the rest of a claim at a leader
    t0: float = 0.3            # one rank on one host, from mpirun to its end, without work
    tr: float = 0.02           # each further rank on a host
    td: float = 0.5            # a daemon is started on another host
    tx: float = 0.005          # ... for which the one who starts it is busy
    radix: int = 64            # daemons that one starts
    b: float = 1 << 20         # block
    d: float = 0               # bytes of results for each block; 0: none are kept
    D: float = 1e9             # bytes/s of results that a host writes

    @property
    def N(self):
        """Ranks."""
        return self.H * self.r

    @property
    def G(self):
        """Groups."""
        return -(-self.N // self.g) if self.g else 0

    @property
    def n(self):
        """Chunks."""
        return math.ceil(self.B / self.C)

    @property
    def w(self):
        """Bytes/s of a rank that has the file system for itself."""
        return min(self.m, self.f) / self.r

    def speeds(self):
        """(how many ranks, their speed)."""
        slow = slow_ranks(self.N, self.slow)
        return [(self.N - slow, 1.0)] + ([(slow, self.sigma)] if slow else [])

    @property
    def low(self):
        """A leader with so few chunks left asks for more: with one for each of its ranks, but not before half of a batch is gone."""
        return min(self.k // 2, self.g)

    def batches(self):
        """Chunks of each claim at rank 0, in order. They depend on nothing but its number, so that a claim stays one addition."""
        if not self.shrink:
            size = self.k if self.g else 1
            return [min(size, self.n - first) for first in range(0, self.n, size)]
        sizes, left = [], self.n
        while left:
            # A round deals out a third of what is left, in equal parts: a group that is half as fast as the others is
            # done with its part before they are with the rest.
            size = max(1, min(self.k, -(-left // (3 * self.G))))
            for _ in range(self.G):
                if left:
                    sizes.append(min(size, left))
                    left -= sizes[-1]
        return sizes


def slow_ranks(ranks, share):
    """How many of so many ranks are slow."""
    return round(ranks * share)


@functools.cache
def closed(customers, think, service):
    """One server, exponential service, so many customers who each come back after `think`: (rate, time at the server)."""
    queue = rate = response = 0.0
    for number in range(1, customers + 1):
        response = service * (1 + queue)
        rate = number / (think + response)
        queue = rate * response
    return rate, response


class Model:
    """Predictions: pairs of the least and the most time."""

    def __init__(self, job):
        self.job = job

    # The counter

    def busy(self):
        """How long a claim keeps rank 0 busy, progress messages in between included."""
        job = self.job
        load = job.N * job.u / max(job.p, job.N * job.p0)
        return job.s / (1 - load) if load < 1 else math.inf

    def latency(self):
        """What a rank waits beside that, at least."""
        return self.job.L

    def attention(self):
        """... and until rank 0 looks, the most."""
        return self.job.q

    def root_claims(self):
        """Claims at rank 0."""
        job = self.job
        return len(job.batches()) if job.shrink else math.ceil(job.n / job.k) if job.g else job.n

    # A rank

    def files(self):
        """Bytes/s of the file system."""
        return self.job.F

    def chunk(self, speed, alone):
        """The mean time of a chunk, with the file system for itself or with an even share of it."""
        job = self.job
        rate = job.w * speed
        return job.C / (rate if alone else min(rate, self.files() / job.N))

    def speeds(self):
        return self.job.speeds()

    def cycle(self, speed):
        """From chunk to chunk if nobody is in the way."""
        job = self.job
        claim = job.L1 + job.s1 if job.g else self.latency() + self.busy()
        work = self.chunk(speed, alone=True)
        return max(work, (1 - job.e) * work + claim)

    def waiting(self, customers, think, service):
        """The longest mean time at a counter: as if its service were exponential."""
        return closed(customers, think, service)[1]

    def rate(self):
        """Chunks/s, the most: what no queue can better."""
        return sum(count / self.cycle(speed) for count, speed in self.speeds())

    def first(self):
        """Until the last rank has its first chunk."""
        job = self.job
        if job.g:
            return job.G * self.busy() + self.latency() + self.attention() + job.g * job.s1 + job.L1
        return job.N * self.busy() + self.latency() + self.attention()

    def tail(self):
        """From when nothing is left to claim until the last rank is done, the most."""
        job = self.job
        slowest = min(speed for _, speed in self.speeds())
        longest = job.spread * self.chunk(slowest, alone=False)
        if job.g:
            # A leader asks while it has chunks left: they, and the batch that comes, may lie in its hands beside what its
            # ranks work on. Batches that shrink end with single chunks, unless a group is slower than they allow for.
            last = 1 if job.shrink and slowest >= 0.5 else job.k
            return (1 + job.e + (job.low + last) / job.g) * longest + self.latency() + self.attention() + job.L1
        return longest * (1 + job.e) + self.latency() + self.attention()

    # The run

    def passing(self):
        """The pass over the file: (least, most)."""
        job = self.job
        least = max(job.n / self.rate(), job.B / self.files(), self.root_claims() * self.busy())
        fastest = self.chunk(1.0, alone=False)
        if job.g:
            group = self.waiting(job.g, fastest + job.L1, job.s1)
            each = [(count, self.chunk(speed, alone=False) + job.L1 + group) for count, speed in self.speeds()]
            most = job.n / sum(count / time for count, time in each)
            claims = self.root_claims()
            # Between two claims of a leader lies the work on a batch.
            latency = self.latency() + self.attention()
            think = most / (claims / job.G) + latency
            most += claims / job.G * (latency + self.waiting(job.G, think, self.busy()))
        else:
            claim = self.latency() + self.attention() + self.waiting(job.N, fastest + self.latency(), self.busy())
            each = []
            for count, speed in self.speeds():
                work = self.chunk(speed, alone=False)
                # Only what is longer than the rest of the shortest chunk can cost time.
                each.append((count, work + max(0, claim - job.e * (2 - job.spread) * work)))
            most = job.n / sum(count / time for count, time in each)
        # What is claimed ahead hides waiting, but no more than a resource carries.
        return least, max(least, most) + self.first() + self.tail()

    def depth(self):
        """Steps of a reduction."""
        return math.ceil(math.log2(self.job.N)) if self.job.N > 1 else 0

    def reduction(self):
        """After the last rank has done its work, if all are there."""
        return self.depth() * self.job.a

    def start(self):
        """From mpirun until every rank runs."""
        job = self.job
        seconds, left, launchers = job.t0 + (job.r - 1) * job.tr, job.H - 1, 1
        while left > 0:
            seconds += min(job.radix, left) * job.tx + job.td
            left -= min(left, launchers * job.radix)
            launchers *= job.radix
        return seconds

    def results(self):
        """Results of all blocks: each rank tells all others how long each of its chunks' are, and writes them."""
        job = self.job
        if not job.d:
            return 0.0
        return 16 * job.n / min(job.f, job.m) + min(2, self.depth()) * job.a + job.B / job.b * job.d / (job.H * job.D)

    def estimate(self):
        """The pass as one number: half of the queues and of the tail."""
        least, most = self.passing()
        return (least + most) / 2

    # What runs out

    def limits(self):
        """Bytes/s that each resource carries."""
        job = self.job
        counter = job.B / (self.root_claims() * self.busy())
        return {"memory": job.H * job.m, "links": job.H * job.f, "files": self.files(), "counter": counter}


def parameters(folder, raw=False):
    """The parameters of the page: measured ones and assumed ones."""
    with open(os.path.join(folder, "parameters.json"), encoding="utf-8") as file:
        known = json.load(file)
    return known if raw else Job(B=100e12, **known["measured"], **known["assumed"])


def main():
    """Prints the plan of a run, for parameters given as NAME=VALUE; what is not given is as on the page."""
    job = parameters(os.path.dirname(os.path.realpath(__file__)))
    fields = {field.name: type(field.default) for field in dataclasses.fields(Job)}
    for argument in sys.argv[1:]:
        name, _, value = argument.partition("=")
        try:
            job = dataclasses.replace(job, **{name: fields[name](float(value))})
        except (KeyError, ValueError):
            sys.exit(f"model.py: {argument}: NAME=VALUE is expected, in seconds, bytes and bytes/s; names: {' '.join(fields)}")
    model = Model(job)
    least, most = model.passing()
    for name, rate in sorted(model.limits().items(), key=lambda item: item[1]):
        print(f"{name + ' carries':24}{rate / 1e9:14,.1f} GB/s")
    for name, seconds in (("start", model.start()), ("pass, at least", least), ("pass, at most", most),
                          ("reduction", model.reduction()), ("results", model.results()),
                          ("all", model.start() + model.estimate() + model.reduction() + model.results())):
        print(f"{name:24}{seconds:14,.4f} s")


if __name__ == "__main__":
    main()
