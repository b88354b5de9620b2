# SPDX-License-Identifier: Apache-2.0
"""
What a workload is. A cell is one measurement: a row of the table, a profile, a peer, a round.

    cell.server, cell.profile, cell.peer, cell.first (the first round: what is written is checked)
    cell.empty          the peer has the names, and zeros for the data: a ceiling
    cell.path(key)      where the peer shows a key
    cell.scratch        a directory of ours, tmpfs where there is memory for it
    cell.limit_s        how long a program may run
    cell.environment    what clients see

A work has data that is loaded once (or None), and
    prepare(cell)       before the mount, not measured
    timed(cell)         on the mounted directory: a dict of figures
    client(cell)        the same for a peer that mounts nothing
    verify(cell)        a pass of its own whose bytes are all checked, once a run and peer
    after(cell)         when the mount is gone
A figure is a number with its unit in its name; the row names the one that it is about.
"""
import sys
import time

from mounts import Cut, Failed
from peers import HERE, PYTHON

GEN = [PYTHON, "-E", "-s", str(HERE / "gen.py")]
POLL_SECONDS = 0.02


class Work:
    data = None
    names = None  # what prepare() makes, if a peer without a server has to know it

    def bytes_moved(self):
        """About how many bytes a cell moves: memory is made ready for them."""
        return sum(size for _, size in self.data.entries()) \
            if self.data and self.data.stored else 0

    def prepare(self, cell):
        """Before the mount."""

    def timed(self, cell):
        raise NotImplementedError

    def client(self, cell):
        raise Failed("there is no such way of using it")

    def verify(self, cell):
        """Works that check while they measure, or in after(), need none."""

    def after(self, cell):
        """When the mount is gone."""


def rates(total_bytes, seconds, cpu_s=None):
    """The figures of moving so many bytes."""
    found = {"mb_per_s": total_bytes / 1e6 / seconds, "seconds": seconds,
             "moved_bytes": total_bytes, "asked_bytes": total_bytes}
    return found if cpu_s is None else found | {"cpu_s": cpu_s}


def fio_job(path, **words):
    return ["fio", "--name=bench", f"--filename={path}", "--output-format=json", "--ioengine=psync",
            "--clat_percentiles=1", "--verify_state_save=0",
            *[f"--{name}={value}" for name, value in words.items()]]


def wait_until_stored(cell, prefix, expected, closed):
    """
    Waits until the server holds the objects, {key: bytes}, and gives the time when it did: closed,
    the time of the last close(), if they are there at the first look.
    """
    end, at = time.monotonic() + cell.limit_s, closed
    while not cell.empty:
        found = cell.server.sizes(prefix)
        missing = [key for key, size in expected.items() if found.get(key) != size]
        if not missing:
            return at
        at = time.monotonic()
        if at > end:
            raise Cut(f"{len(missing)} of {len(expected)} objects are not stored "
                      f"{cell.limit_s:g} s after close(): {missing[:3]}")
        time.sleep(POLL_SECONDS)
        at = time.monotonic()
    return at


def say(text):
    print(text, file=sys.stderr, flush=True)
