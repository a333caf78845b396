#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks each step of README.md against the plain chain, and that a mistake in any step is found.

Written from README.md and not from the kernels: positions are bits of Python integers, a plane is one integer.
usage: check.py [--counts FILE]     FILE gets `passed failed skipped`
"""
import argparse
import random
import sys

PRIME = 1099511628211
BASIS = 14695981039346656037
WORD = (1 << 64) - 1
BLOCK = 512  # bytes whose d are added up in 32 bits
DIGIT_BITS, DIGITS = 16, 4
LANES = 16  # 32-bit sums of a vector; each step of the dot product adds two products to each


def chain(state, data):
    """The definition: FNV-1a from any state."""
    for byte in data:
        state = (state ^ byte) * PRIME & WORD
    return state


def samples(seed, count=40, longest=700):
    """States and data: random ones, and those that stress carries and parities."""
    generator = random.Random(seed)
    lengths = [0, 1, 2, 63, 64, 65, 511, 512, 513]
    for number in range(count):
        length = lengths[number] if number < len(lengths) else generator.randrange(longest)
        data = [generator.randbytes(length), bytes(length), b"\xff" * length, b"\x80\x01" * (length // 2)][number % 4]
        yield generator.getrandbits(64), data


# The parts that a mistake can replace. Each is what README.md says, in the order of its sections.
class Right:
    """The derivation; a subclass replaces one part by something almost right."""

    factor = PRIME % 256

    def low_bytes(self, low, data):
        """The automaton: the low byte of the state before each byte, and after the last."""
        states = [low]
        for byte in data:
            states.append((states[-1] ^ byte) * self.factor % 256)
        return states

    def majority(self, a, b, c):
        return a & b | a & c | b & c

    def extra(self, k, x):
        """What bit k of 0xB3 x has besides x_k, from the planes of the lower bits: g_k."""
        carry = second_carry = 0
        sums = []
        for bit in range(k + 1):
            below = x[bit - 1] if bit else 0
            other = sums[bit - 4] if bit >= 4 else 0
            g = below ^ carry ^ other ^ second_carry ^ (x[0] if bit == 7 else 0)
            if bit == k:
                return g
            sums.append(x[bit] ^ below ^ carry)
            second_carry = self.majority(sums[bit], other, second_carry) if bit >= 4 else 0
            carry = self.majority(x[bit], below, carry) if bit >= 1 else 0
        raise AssertionError("not reached")

    def prefix_xor(self, plane, count):
        """The inclusive prefix XOR as the low half of a carry-less product with all ones."""
        product = 0
        for shift in range(count):
            product ^= plane << shift
        return product & ((1 << count) - 1)

    def planes(self, low, data):
        """x_k for each bit k: the low byte of the state before each byte, XOR the byte."""
        count = len(data)
        ones = (1 << count) - 1
        x = []
        for k in range(8):
            b = sum((byte >> k & 1) << i for i, byte in enumerate(data))
            g = self.extra(k, x)
            after = self.prefix_xor(b ^ g, count) ^ (ones if low >> k & 1 else 0)
            x.append(after ^ g)
        return x

    def digits(self, weight):
        """Four signed 16-bit digits, least significant first."""
        result = []
        for _ in range(DIGITS):
            digit = weight & 0xFFFF
            if digit >= 0x8000:
                digit -= 0x10000
            result.append(digit)
            weight = (weight - digit) >> DIGIT_BITS
        return result

    def start(self, state, zeros):
        """A state that becomes `state` after so many zero bytes."""
        return state * pow(PRIME, -zeros, 1 << 64) & WORD

    def exponent(self, length, i):
        return length - i

    def difference(self, x, low):
        return x - low

    def hash(self, state, data):
        """All together: filled up with zeros at the front, then block by block."""
        zeros = -len(data) % BLOCK
        data = bytes(zeros) + data
        state = self.start(state, zeros)
        for at in range(0, len(data), BLOCK):
            block = data[at:at + BLOCK]
            x = self.planes(state % 256, block)
            sums = [0] * DIGITS
            for i, byte in enumerate(block):
                mixed = sum((x[k] >> i & 1) << k for k in range(8))
                d = self.difference(mixed, mixed ^ byte)
                for k, digit in enumerate(self.digits(pow(PRIME, self.exponent(BLOCK, i), 1 << 64))):
                    sums[k] += d * digit
            total = sum(s << DIGIT_BITS * k for k, s in enumerate(sums))
            state = (state * pow(PRIME, BLOCK, 1 << 64) + total) & WORD
        return state


def automaton(right):
    for state, data in samples(1):
        low = right.low_bytes(state % 256, data)
        assert all(low[i] == chain(state, data[:i]) % 256 for i in range(0, len(data) + 1, 17))
        assert low[-1] == chain(state, data) % 256


def extra_bits(right):
    """g_k for every byte, all 256 values as positions of one plane."""
    x = [sum((value >> k & 1) << value for value in range(256)) for k in range(8)]
    for k in range(8):
        g = right.extra(k, x[:k])
        for value in range(256):
            assert value * 0xB3 >> k & 1 == (value >> k & 1) ^ (g >> value & 1)


def prefixes(right):
    generator = random.Random(2)
    for _ in range(200):
        plane = generator.getrandbits(64)
        result = right.prefix_xor(plane, 64)
        assert all(result >> i & 1 == (plane & ((2 << i) - 1)).bit_count() % 2 for i in range(64))


def planes(right):
    for state, data in samples(3, count=24, longest=200):
        x = right.planes(state % 256, data)
        low = Right().low_bytes(state % 256, data)
        for i, byte in enumerate(data):
            assert sum((x[k] >> i & 1) << k for k in range(8)) == low[i] ^ byte


def sum_of_differences(right):
    """h_n = h_0 p^n + sum of d_i p^(n - i)."""
    for state, data in samples(4, count=24, longest=200):
        low = Right().low_bytes(state % 256, data)
        total = state * pow(PRIME, len(data), 1 << 64)
        for i, byte in enumerate(data):
            total += right.difference(low[i] ^ byte, low[i]) * pow(PRIME, right.exponent(len(data), i), 1 << 64)
        assert total & WORD == chain(state, data)


def digits(right):
    """They are the weight modulo 2^64, fit in 16 bits, and no sum of a block leaves 32 bits, whatever the d are."""
    largest = [0] * DIGITS
    for i in range(BLOCK):
        weight = pow(PRIME, right.exponent(BLOCK, i), 1 << 64)
        parts = right.digits(weight)
        assert sum(digit << DIGIT_BITS * k for k, digit in enumerate(parts)) & WORD == weight
        assert all(-(1 << 15) <= digit < 1 << 15 for digit in parts)
        largest = [max(old, abs(digit)) for old, digit in zip(largest, parts)]
    # A unit of two blocks is added up in the same lanes.
    for bound in [255 * max(largest) * 2 * BLOCK // LANES, 255 * (1 << 15) * 2 * BLOCK // LANES]:
        assert bound < 1 << 31


def zeros_before(right):
    generator = random.Random(5)
    for zeros in [0, 1, 7, 63, 64, 511, 2047]:
        state = generator.getrandbits(64)
        assert chain(right.start(state, zeros), bytes(zeros)) == state


def whole(right):
    for state, data in samples(6, count=24, longest=1600):
        assert right.hash(state, data) == chain(state, data)
    assert right.hash(BASIS, b"foobar") == 0x85944171F73967E8  # draft-eastlake-fnv, appendix C


CHECKS = {
    "the low byte is an automaton of its own": automaton,
    "bit k of 0xB3 x is x_k and g_k of lower bits": extra_bits,
    "a prefix XOR is a carry-less product": prefixes,
    "the planes are the automaton's": planes,
    "the rest is a dot product": sum_of_differences,
    "digits add up and no sum leaves 32 bits": digits,
    "zeros before a range are taken back": zeros_before,
    "all together is the plain chain": whole,
}


def mistake(name, **parts):
    return type(name, (Right,), parts)


MISTAKES = {
    "the prime modulo 256 is 0xB1": mistake("A", factor=0xB1),
    "carries by OR instead of majority": mistake("B", majority=lambda self, a, b, c: a | b | c),
    "bit 7 without x_0": mistake(
        "C", extra=lambda self, k, x: Right.extra(self, k, x) ^ (x[0] if k == 7 else 0)),
    "an exclusive prefix": mistake(
        "D", prefix_xor=lambda self, plane, count: Right.prefix_xor(self, plane, count) ^ plane),
    "the state's bits are not carried in": mistake("E", planes=lambda self, low, data: Right.planes(self, 0, data)),
    "d with the wrong sign": mistake("F", difference=lambda self, x, low: low - x),
    "exponents one too small": mistake("G", exponent=lambda self, length, i: length - i - 1),
    "unsigned digits": mistake(
        "H", digits=lambda self, weight: [weight >> 16 * k & 0xFFFF for k in range(DIGITS)]),
    "no borrow from the digit above": mistake(
        "I", digits=lambda self, weight: [((weight >> 16 * k & 0xFFFF) ^ 0x8000) - 0x8000 for k in range(DIGITS)]),
    "zeros are not taken back": mistake("J", start=lambda self, state, zeros: state),
}


def holds(check, parts):
    try:
        check(parts)
        return True
    except AssertionError:
        return False


def main():
    parser = argparse.ArgumentParser(description="checks theoretical/fnv")
    parser.add_argument("--counts", metavar="FILE")
    counts = parser.parse_args().counts
    passed = failed = 0
    right = Right()
    for name, check in CHECKS.items():
        good = holds(check, right)
        print(f"  {'ok    ' if good else 'FAILED'}  {name}")
        passed, failed = passed + good, failed + (not good)
    for name, wrong in MISTAKES.items():
        finders = [check for check, function in CHECKS.items() if not holds(function, wrong())]
        print(f"  {'ok    ' if finders else 'FAILED'}  mistake: {name:40} found by {len(finders)} of {len(CHECKS)}")
        passed, failed = passed + bool(finders), failed + (not finders)
    if counts:
        with open(counts, "w", encoding="ascii") as file:
            file.write(f"{passed} {failed} 0\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
