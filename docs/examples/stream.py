#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Sends records that carry their program from Python to pfs_stream_fastpath_rx, and verifies its answer.

    pfs_stream_fastpath_rx --shm demo --verify &
    ./stream.py --shm demo --prog xor:255,add:7,counteq:0,crc32c

Blob and ring are shared memory with a name; this process is the ring's producer, through libpacketfs and ctypes alone. The
receiver executes the records and answers with totals. What they must be, and every byte of the blob, is computed here once
more, by plain Python. The environment variable PACKETFS_LIBRARY names another library than the installed one.
"""
import argparse
import ctypes
import os
import sys
import time
from ctypes import POINTER, byref, c_char, c_char_p, c_int32, c_int64, c_uint32, c_uint64, c_void_p

OK, AGAIN = 0, 1


class Error(ctypes.Structure):
    _fields_ = [("status", c_int32), ("system_error", c_int32), ("message", c_char * 504)]


class Range(ctypes.Structure):
    _fields_ = [("offset", c_uint64), ("len", c_uint32), ("flags", c_uint32)]


class Stream(ctypes.Structure):
    _fields_ = [
        ("seed", c_uint64), ("first_record", c_uint64), ("range_start", c_uint64), ("range_end", c_uint64),
        ("descriptors_per_record", c_uint32), ("alignment", c_uint32), ("flags", c_uint32), ("reserved", c_uint32),
    ]


class Answer(ctypes.Structure):
    _fields_ = [
        ("records", c_uint64), ("rejected", c_uint64), ("descriptors", c_uint64), ("bytes", c_uint64),
        ("total_count", c_uint32), ("reserved", c_uint32), ("totals", c_uint64 * 32),
    ]


class PacketFSError(Exception):
    """What the library says about a call that failed."""


class PacketFS:
    """libpacketfs: each function of packetfs.h that is needed here, less its last parameter. A failure is an exception."""

    # Parameters between the name and the error. Handles are pointers; where one is returned, its address is passed.
    functions = {
        "blob_create": [c_char_p, c_char_p, c_uint64, c_uint32, POINTER(c_void_p)],
        "blob_bytes": [c_void_p, POINTER(c_void_p), POINTER(c_uint64)],
        "blob_remove": [c_char_p, c_char_p],
        "blob_close": [POINTER(c_void_p)],
        "program_compile": [c_char_p, POINTER(c_void_p)],
        "program_close": [POINTER(c_void_p)],
        "descriptors_generate": [
            c_uint64, c_uint64, c_uint64, c_uint64, c_uint32, c_uint64, POINTER(Range), c_uint64],
        "record_byte_count": [c_void_p, c_uint64, POINTER(c_uint64)],
        "record_encode": [c_void_p, POINTER(Range), c_uint64, c_void_p, c_uint64, POINTER(c_uint64)],
        "ring_create": [c_char_p, c_char_p, c_uint32, c_uint64, POINTER(c_void_p)],
        "ring_attached": [c_void_p, POINTER(c_uint32), POINTER(c_uint32)],
        "ring_remove": [c_char_p, c_char_p],
        "ring_close": [POINTER(c_void_p)],
        "producer_attach": [c_void_p, POINTER(c_void_p)],
        "producer_reserve": [c_void_p, c_uint64, POINTER(c_void_p), POINTER(c_uint64)],
        "producer_commit": [c_void_p],
        "producer_notify": [c_void_p],
        "producer_wait": [c_void_p, c_int64],
        "producer_wait_release": [c_void_p, c_uint64, c_int64],
        "producer_close": [POINTER(c_void_p)],
        "stream_begin": [POINTER(Stream), c_void_p, c_void_p, c_void_p, c_uint64, POINTER(c_uint64)],
        "stream_end": [c_uint64, c_uint64, c_uint64, c_void_p, c_uint64, POINTER(c_uint64)],
        "stream_answer_read": [c_void_p, c_uint64, POINTER(Answer)],
    }

    def __init__(self):
        library = ctypes.CDLL(os.environ.get("PACKETFS_LIBRARY", "libpacketfs.so.0"))
        self.error = Error()
        for name, parameters in self.functions.items():
            function = getattr(library, "pfs_" + name)
            function.argtypes = parameters + [POINTER(Error)]
            function.restype = c_int32
            setattr(self, name, self.checked(function))

    def checked(self, function):
        def call(*arguments):
            status = function(*arguments, byref(self.error))
            if status < 0:
                raise PacketFSError(self.error.message.decode())
            return status == OK  # False: not now
        return call


class Producer:
    """One side of a ring, and how patient it is with the other side."""

    def __init__(self, library, ring, patience):
        self.library, self.ring, self.patience = library, ring, patience
        self.handle = c_void_p()
        library.producer_attach(ring, byref(self.handle))

    def consumer_is_attached(self):
        attached = c_uint32()
        self.library.ring_attached(self.ring, None, byref(attached))
        return attached.value == 1

    def await_consumer(self):
        deadline = time.monotonic() + self.patience
        while not self.consumer_is_attached():
            if time.monotonic() > deadline:
                raise PacketFSError("no consumer came to the ring: start pfs_stream_fastpath_rx --shm NAME")
            time.sleep(0.01)

    def wait(self, is_there):
        """Waits by `is_there`, a call that sleeps for a while and says whether it was in vain."""
        deadline = time.monotonic() + self.patience
        while not is_there():
            if not self.consumer_is_attached():
                raise PacketFSError("the consumer left before the end of the stream")
            if time.monotonic() > deadline:
                raise PacketFSError("the consumer does nothing")

    def send(self, byte_count, write):
        """Publishes a record of up to `byte_count` bytes, which `write(address, capacity)` makes; returns its address."""
        address, capacity = c_void_p(), c_uint64()
        while not self.library.producer_reserve(self.handle, byte_count, byref(address), byref(capacity)):
            self.library.producer_notify(self.handle)
            self.wait(lambda: self.library.producer_wait(self.handle, 100_000_000))
        write(address, capacity)
        self.library.producer_commit(self.handle)
        return address

    def drain(self):
        """Waits until the consumer has released everything."""
        self.library.producer_notify(self.handle)
        self.wait(lambda: self.library.producer_wait_release(self.handle, 0, 100_000_000))

    def close(self):
        self.library.producer_close(byref(self.handle))


# ---- The plain implementation, to compare with --------------------------------------------------------------------------

def crc_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


CRC = crc_table()


def crc32c(data, _):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def fnv(data, _):
    value = 14695981039346656037
    for byte in data:
        value = (value ^ byte) * 1099511628211 % 2**64
    return value


MAPS = {"xor": lambda byte, operand: byte ^ operand, "add": lambda byte, operand: (byte + operand) % 256}
REDUCERS = {"counteq": lambda data, operand: data.count(operand), "crc32c": crc32c, "fnv": fnv}


def apply(program, blob, descriptor, totals):
    data = blob[descriptor.offset:descriptor.offset + descriptor.len]
    index = 0
    for operation in program.split(","):
        name, _, operand = operation.strip().partition(":")
        operand = int(operand or "0", 0)
        if name in MAPS:
            data = data.translate(bytes(MAPS[name](byte, operand) for byte in range(256)))
        else:
            totals[index] = (totals[index] + REDUCERS[name](data, operand)) % 2**64
            index += 1
    blob[descriptor.offset:descriptor.offset + descriptor.len] = data


# ---- The stream -----------------------------------------------------------------------------------------------------------

def stream(library, options, blob, memory, ring):
    program = c_void_p()
    library.program_compile(options.prog.encode(), byref(program))
    producer = Producer(library, ring, options.patience)
    expected, totals, sent = bytearray(memory), [0] * 32, 0
    begin = Stream(
        seed=options.seed, range_start=0, range_end=len(memory), descriptors_per_record=options.dpf,
        alignment=64, flags=3)  # should this process die, the receiver removes ring and blob
    producer.send(208, lambda at, size: library.stream_begin(byref(begin), blob, program, at, size, None))
    library.producer_notify(producer.handle)
    producer.await_consumer()

    length = c_uint64()
    library.record_byte_count(program, options.dpf, byref(length))
    table = (Range * options.dpf)()
    for number in range(options.records):
        library.descriptors_generate(
            options.seed, 0, 0, len(memory), 64, number * options.dpf, table, options.dpf)
        producer.send(
            length.value, lambda at, size: library.record_encode(program, table, options.dpf, at, size, None))
        for descriptor in table:
            apply(options.prog, expected, descriptor, totals)
            sent += descriptor.len
    end = producer.send(
        336, lambda at, size: library.stream_end(
            options.records, options.records * options.dpf, sent, at, size, None))
    producer.drain()

    answer = Answer()
    if not library.stream_answer_read(end, 336, byref(answer)):
        raise PacketFSError("the consumer passed over the end of the stream without an answer")
    producer.close()
    library.program_close(byref(program))

    got = list(answer.totals[:answer.total_count])
    print(f"sent {options.records} records, {sent} bytes; the receiver executed {answer.records}, {answer.bytes} bytes")
    print(f"totals {got}")
    wrong = []
    if (answer.records, answer.rejected, answer.bytes) != (options.records, 0, sent):
        wrong.append("records or bytes")
    if got != totals[:answer.total_count] or any(totals[answer.total_count:]):
        wrong.append(f"totals, which must be {totals[:answer.total_count]}")
    if bytes(memory) != bytes(expected):
        wrong.append("bytes of the blob")
    if wrong:
        print("DIFFERENT from plain Python: " + "; ".join(wrong), file=sys.stderr)
        return 65
    print("verified: totals and every byte of the blob are those that plain Python gives")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shm", required=True, help="name of ring and blob")
    parser.add_argument("--dir", default="/dev/shm", help="folder in memory for both")
    parser.add_argument("--prog", default="xor:255,add:7,counteq:0", help="the program that all records carry")
    parser.add_argument("--file", help="what the blob is filled with; otherwise a pattern")
    parser.add_argument("--records", type=int, default=200)
    parser.add_argument("--dpf", type=int, default=16, help="ranges per record")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--patience", type=float, default=60, help="seconds to wait for the receiver")
    options = parser.parse_args()

    library = PacketFS()
    content = bytes(range(256)) * 1024
    if options.file:
        with open(options.file, "rb") as file:
            content = file.read()
    name, folder = options.shm.encode(), options.dir.encode()
    blob, ring = c_void_p(), c_void_p()
    address, size = c_void_p(), c_uint64()
    status = 71
    try:
        library.blob_create(name, folder, len(content), 0, byref(blob))
        library.blob_bytes(blob, byref(address), byref(size))
        memory = (c_char * size.value).from_address(address.value)
        memory[:] = content
        # The ring appears last, so that whoever finds it finds the blob.
        library.ring_create(name, folder, 1024, 1 << 20, byref(ring))
        status = stream(library, options, blob, memory, ring)
    except PacketFSError as error:
        print(f"stream.py: {error}", file=sys.stderr)
    finally:
        # Only what was made here has a handle.
        if ring:
            library.ring_remove(name, folder)
            library.ring_close(byref(ring))
        if blob:
            library.blob_remove(name, folder)
            library.blob_close(byref(blob))
    return status


if __name__ == "__main__":
    sys.exit(main())
