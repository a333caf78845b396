#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Takes the kernel proper out of a compressed boot image: vmlinux.py VMLINUZ VMLINUX

An emulator starts the bare kernel in half the time, as it need not emulate the decompression. The image is a small program
with the compressed kernel somewhere inside; what it is compressed with shows from the first bytes of that.
"""
import lzma
import subprocess
import sys
import zlib


def xz(data):
    return lzma.LZMADecompressor().decompress(data)


def gzip(data):
    return zlib.decompressobj(31).decompress(data)


def zstd(data):
    # Complains about what stands behind the kernel, after having written it.
    return subprocess.run(["zstd", "-dcq"], input=data, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          check=False).stdout


FORMATS = [(b"\xfd7zXZ\0", xz), (b"\x28\xb5\x2f\xfd", zstd), (b"\x1f\x8b\x08", gzip)]


def extract(image):
    if image.startswith(b"\x7fELF"):
        return image
    for magic, decompress in FORMATS:
        at = image.find(magic)
        while at >= 0:
            try:
                kernel = decompress(image[at:])
            except (lzma.LZMAError, zlib.error):
                kernel = b""
            if kernel.startswith(b"\x7fELF"):
                return kernel
            at = image.find(magic, at + 1)
    return None


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: vmlinux.py VMLINUZ VMLINUX")
    with open(sys.argv[1], "rb") as file:
        kernel = extract(file.read())
    if kernel is None:
        sys.exit(f"vmlinux.py: {sys.argv[1]} holds no kernel in xz, zstd or gzip format")
    with open(sys.argv[2], "wb") as file:
        file.write(kernel)


main()
