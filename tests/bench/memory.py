# SPDX-License-Identifier: Apache-2.0
"""
The machine's memory, before anything is measured. A virtual machine gets a page from its host when
it is touched for the first time, which is many times as slow as touching it again, and some hosts
take pages back that were free for two seconds: whoever runs first, or after a pause, would pay for
that. So as much as a row will use is held between its measurements, and how fast touching went at
the beginning is a ceiling that the table tells: nothing that moves new bytes is faster.
"""
import ctypes
import mmap
import os
import time

PIECE_BYTES = 128 << 20
FREE_SHARE = 2  # not more than half of what is free
WARM_SECONDS = 20  # nor for longer


def touched(advice=mmap.MADV_NOHUGEPAGE):
    """(new memory, each page of it written to; seconds). In pages of 4 KiB, as most are in a run,
    unless advice says otherwise."""
    piece = mmap.mmap(-1, PIECE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    try:
        piece.madvise(advice)
    except OSError:
        pass  # a kernel without huge pages
    begin = time.monotonic()
    ctypes.memset(address(piece), 1, PIECE_BYTES)
    return piece, time.monotonic() - begin


def address(piece):
    return ctypes.addressof(ctypes.c_char.from_buffer(piece))


def pieces_of(wanted_bytes):
    """How many pieces are so much, or what of it may be touched."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(wanted_bytes, free // FREE_SHARE) // PIECE_BYTES


class Kept:
    """Memory that the host does not get back: held while nothing is measured, and free when a
    measurement begins, so that every program finds the same."""

    def __init__(self, wanted_bytes):
        self.count, self.pieces = pieces_of(wanted_bytes), []

    def hold(self):
        while len(self.pieces) < self.count:
            self.pieces.append(touched(mmap.MADV_HUGEPAGE)[0])

    def free(self):
        while self.pieces:
            self.pieces.pop().close()


def warm(wanted_bytes):
    """Touches and frees so much, if there is so much: GB/s of memory."""
    count = max(2, pieces_of(wanted_bytes))
    pieces, first_s, end = [], 0, time.monotonic() + WARM_SECONDS
    while len(pieces) < 2 or (len(pieces) < count and time.monotonic() < end):
        piece, seconds = touched()
        pieces.append(piece)
        first_s += seconds
    begin = time.monotonic()
    ctypes.memmove(address(pieces[0]), address(pieces[1]), PIECE_BYTES)
    copy_s = time.monotonic() - begin
    first_bytes = len(pieces) * PIECE_BYTES
    for piece in pieces:
        piece.close()
    again, again_s = touched()
    again.close()
    return {"touched_bytes": first_bytes, "first_touch_gb_per_s": first_bytes / 1e9 / first_s,
            "touch_gb_per_s": PIECE_BYTES / 1e9 / again_s,
            "memcpy_gb_per_s": PIECE_BYTES / 1e9 / copy_s}
