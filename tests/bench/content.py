# SPDX-License-Identifier: Apache-2.0
"""Incompressible bytes that the programs which write and those which check both know.

Small files: file i is a slice of one random buffer, at 16 i. A large file: pieces of 1 MiB out of
64 MiB of random bytes, each beginning elsewhere, so that no two pieces of a file are equal.
"""
import random

MIB = 1 << 20
STEP = 16
BASE_BYTES = 64 * MIB
PRIME_STEP = 1048583  # pieces begin at multiples of it, modulo where a piece may begin
SEED = 20120


class Small:
    """The contents of count files of at most largest bytes."""

    def __init__(self, count, largest):
        self.base = memoryview(random.Random(SEED).randbytes(largest + STEP * count))

    def of(self, number, size):
        return self.base[number * STEP:number * STEP + size]


class Large:
    """The content of a large file; another seed is another file."""

    def __init__(self, size, seed=0):
        self.size = size
        length = min(BASE_BYTES, max(size, 2 * MIB))
        self.base = memoryview(random.Random(SEED + seed).randbytes(length))

    def pieces(self):
        places = len(self.base) - MIB + 1
        for number, at in enumerate(range(0, self.size, MIB)):
            begin = number * PRIME_STEP % places
            yield self.base[begin:begin + min(MIB, self.size - at)]


def tree_sizes(count, least=512, most=300_000):
    """The sizes of a tree's files, the same in every run."""
    sizes = random.Random(SEED)
    return [sizes.randint(least, most) for _ in range(count)]
