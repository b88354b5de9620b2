# SPDX-License-Identifier: Apache-2.0
"""Writers that are killed at random points: what they wrote shows whole, or not at all.

While they write nothing of it may show, and an object that they meant to replace stays; while close
waits, the new object may already be there, whole. PAILFS_LONG=1 kills 300 of them.
"""
import collections
import itertools
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from botocore.exceptions import ClientError

from support.data import MIB
from support.objects import keys, uploads, wait_until

LONG = bool(os.environ.get("PAILFS_LONG"))
KILLS = 300 if LONG else 12
STRIDE = 7  # through the kinds of kills: coprime with their number, 24
UPLOAD_LIMIT = "20M"  # so that close waits
DELAY_S = 0.25
SMALL, LARGE = (1000, 5 * MIB), (9 * MIB, 24 * MIB)

# Argument 1: the name, 2: the size, 3: "close" goes on to the end, "write" waits before it.
WRITER = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.SIG_DFL)
name, size = sys.argv[1], int(sys.argv[2])
mark = ("%s/%d/" % (name, size)).encode()
data = memoryview((mark * (size // len(mark) + 1))[:size])
def say(word):
    os.write(1, word + b"\\n")
fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
say(b"open")
for at in range(0, size, size // 10 + 1):
    os.write(fd, data[at:at + size // 10 + 1])
    if sys.argv[3] == "write":
        time.sleep(0.02)
if sys.argv[3] == "write":
    time.sleep(100)
say(b"closing")
os.close(fd)
say(b"closed")
"""


def written(name, size):
    mark = ("%s/%d/" % (name, size)).encode()
    return (mark * (size // len(mark) + 1))[:size]


def found(s3, bucket, name):
    """The object's bytes, or None."""
    try:
        return s3.get_object(Bucket=bucket, Key=name)["Body"].read()
    except ClientError as error:
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 404
        return None


class Victim:
    """A writer, and what became of it."""

    def __init__(self, mounted, name, size, phase):
        self.name, self.size, self.phase = name, size, phase
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-E", "-c", WRITER, name, str(size), phase],
            cwd=mounted.path, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, bufsize=0)
        self.said = []

    def wait_for(self, word):
        while word not in self.said:
            line = self._process.stdout.readline().strip().decode()
            assert line, "the writer ended"
            self.said.append(line)

    def kill(self, number):
        """Gives what it had said before it was gone."""
        self._process.send_signal(number)
        rest = self._process.communicate(timeout=60)[0].decode().split()
        self.said += rest
        assert self._process.returncode == (0 if "closed" in self.said and
                                            self._process.returncode == 0 else -number)


def shown_size(path):
    """What the mount shows; None: no such file."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def kill_one(mounted, s3, bucket, victim, number, delay_s, old):
    """Kills at a point and checks the outcome; gives (in flight, "old" or "new")."""
    victim.wait_for("open" if victim.phase == "write" else "closing")
    time.sleep(delay_s)
    in_flight = bool(uploads(s3, bucket))
    victim.kill(number)
    new = written(victim.name, victim.size)
    # a file that was given up shows as what it was before; the log tells of ten a minute only
    wait_until(lambda: shown_size(mounted / victim.name) == (len(old) if old else None) or
               found(s3, bucket, victim.name) == new, "the end of " + victim.name, 60)
    there = found(s3, bucket, victim.name)
    assert there in (old, new), "%s shows %s" % (victim.name, there and len(there))
    if victim.phase == "write":
        assert there == old
    if "closed" in victim.said:
        assert there == new
    return in_flight, "new" if there == new else "old"


@pytest.mark.bounded(1200 if LONG else 120)
def test_writers_are_killed_at_random_points(mount, s3, bucket):
    rng = random.Random(31)
    mounted = mount(options={"upload_limit": UPLOAD_LIMIT})
    mounted.tolerate("its writer was killed|is not published: (Interrupted|Operation canceled)")
    tally = collections.Counter()
    points = itertools.cycle(itertools.product(
        (SMALL, LARGE), ("write", "close"), (None, b"old"),
        (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)))
    expected = {}
    for number, (sizes, phase, old, killer) in enumerate(
            itertools.islice(points, 0, KILLS * STRIDE, STRIDE)):
        name = "k%d" % number
        if old is not None:
            old += name.encode()
            s3.put_object(Bucket=bucket, Key=name, Body=old)
        victim = Victim(mounted, name, rng.randint(*sizes), phase)
        in_flight, outcome = kill_one(mounted, s3, bucket, victim, killer,
                                      rng.uniform(0, DELAY_S), old)
        if outcome == "new" or old is not None:
            expected[name] = outcome
        tally.update(["%s while in %s" % (outcome, phase)])
        tally.update({"with an upload in flight": in_flight})
    print(dict(tally))
    assert tally["with an upload in flight"] >= KILLS // 12
    assert tally["old while in close"] > 0
    assert sorted(keys(s3, bucket)) == sorted(expected)
    wait_until(lambda: uploads(s3, bucket) == [], "no upload to be left", 30)
    assert sorted(os.listdir(mounted.path)) == sorted(expected)
