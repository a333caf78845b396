#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tries the lemmas of README.md on every byte and constant. Independent of the planner: nothing of it is used."""
import itertools
import random

BYTES = range(256)


def xor(a):
    return bytes(x ^ a for x in BYTES)


def add(a):
    return bytes((x + a) % 256 for x in BYTES)


def chain(*maps):
    """The table of maps that are applied from left to right."""
    table = bytes(BYTES)
    for step in maps:
        table = table.translate(step)
    return table


XOR, ADD, IDENTITY = [xor(a) for a in BYTES], [add(a) for a in BYTES], bytes(BYTES)


def lemma_1():
    for a in BYTES:
        assert chain(XOR[a], XOR[a]) == IDENTITY and chain(ADD[a], ADD[-a % 256]) == IDENTITY


def lemma_2():
    for a, b in itertools.product(BYTES, BYTES):
        assert chain(XOR[a], XOR[b]) == XOR[a ^ b] and chain(ADD[a], ADD[b]) == ADD[(a + b) % 256]


def lemma_3():
    assert XOR[128] == ADD[128]
    for step in XOR + ADD:
        assert chain(XOR[128], step) == chain(step, XOR[128])


def lemma_4():
    """Bytes that agree in their low k bits have images that do."""
    for step, k in itertools.product(XOR + ADD, range(9)):
        mask = (1 << k) - 1
        assert all((step[x] ^ step[x & mask]) & mask == 0 for x in BYTES)


def lemma_5():
    for a in BYTES:
        assert chain(XOR[255], ADD[a], XOR[255]) == ADD[-a % 256]


def theorem_1():
    """counteq after random chains counts the pre-image in the bytes as they were."""
    generator = random.Random(1)
    for _ in range(500):
        table = chain(*generator.choices(XOR + ADD, k=generator.randrange(33)))
        data = generator.randbytes(500)
        for a in generator.choices(BYTES, k=8):
            assert data.translate(table).count(a) == data.count(table.index(a))


def census():
    """How many different maps there are of one and of two operations: what the search for short forms has to choose from."""
    one = set(XOR + ADD)
    two = one | {chain(first, second) for first, second in itertools.product(XOR, ADD)}
    two |= {chain(first, second) for first, second in itertools.product(ADD, XOR)}
    print(f"different maps: {len(one)} of one operation, {len(two)} of up to two")


for check in (lemma_1, lemma_2, lemma_3, lemma_4, lemma_5, theorem_1):
    check()
    print(f"{check.__name__.replace('_', ' ')}: holds")
census()
