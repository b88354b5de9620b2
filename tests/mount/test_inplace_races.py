# SPDX-License-Identifier: Apache-2.0
"""Two mounts change one object: one of them wins, the other is told; a reader sees no mix.

PAILFS_LONG=1: 500 races, 1,000 overwrites.
"""
import errno
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.data import MIB, content
from support.keys import put_all
from support.objects import body, head, uploads, wait_until

LONG = bool(os.environ.get("PAILFS_LONG"))
RACES = 500 if LONG else 12
OVERWRITES = 1000 if LONG else 24
LARGE_OVERWRITES = 100 if LONG else 4
SMALL, LARGE = 300_000, 9 * MIB
RECORD = 16


def change(path, how, offset, record, start, outcomes, number):
    """Opens, waits for the other, writes, closes; notes 0 or the errno."""
    try:
        fd = os.open(path, os.O_WRONLY | (os.O_APPEND if how == "append" else 0))
    except OSError as error:
        outcomes[number] = ("open", error.errno)
        start.abort()
        return
    start.wait(60)
    try:
        os.write(fd, record) if how == "append" else os.pwrite(fd, record, offset)
    finally:
        try:
            os.close(fd)
            outcomes[number] = 0
        except OSError as error:
            outcomes[number] = error.errno


def race(mounts, how, offset, records):
    start, outcomes = threading.Barrier(2), [None, None]
    threads = [threading.Thread(target=change, args=(mounts[n] / "f", how, offset, records[n],
                                                     start, outcomes, n)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


@pytest.mark.bounded(3600 if LONG else 120)
@pytest.mark.parametrize("size", [1000, pytest.param(LARGE, marks=pytest.mark.s3d_only(
    "conditions of CompleteMultipartUpload"))])
def test_one_of_two_mounts_wins(mount, s3, bucket, size):
    expected = content("race", size)
    put_all(s3, bucket, {"f": expected})
    mounts = [mount(options={"metadata_ttl": "0"}) for _ in range(2)]
    for one in mounts:
        one.tolerate("f is not published: Stale file handle|server ignores conditions")
    wins = [0, 0]
    for number in range(RACES):
        how = ("append", "in place")[number % 2]
        offset = number * 997 % (size - RECORD)
        records = [("%d-%d" % (number, n)).encode().ljust(RECORD, b".") for n in range(2)]
        outcomes = race(mounts, how, offset, records)
        assert sorted(outcomes) == [0, errno.ESTALE], number
        winner = outcomes.index(0)
        wins[winner] += 1
        at = len(expected) if how == "append" else offset
        expected = expected[:at] + records[winner] + expected[at + RECORD:]
        assert body(s3, bucket, "f") == expected, number
    print("wins: %s" % wins)
    for one in mounts:
        assert (one / "f").read_bytes() == expected
    wait_until(lambda: uploads(s3, bucket) == [], "the losers' uploads to be aborted", 20)


class Reader(threading.Thread):
    """Reads the file again and again, in pieces, until told to stop."""

    def __init__(self, path, contents):
        super().__init__()
        self._path, self._contents = path, contents
        self.whole, self.refused, self.wrong, self.over = 0, 0, [], threading.Event()

    def run(self):
        while not self.over.is_set():
            try:
                with open(self._path, "rb", buffering=0) as file:
                    pieces = iter(lambda: file.read(65536), b"")
                    data = b"".join(pieces)
            except OSError as error:
                if error.errno != errno.ESTALE:
                    self.wrong.append(error)
                self.refused += 1
                continue
            if data in self._contents:
                self.whole += 1
            else:
                self.wrong.append("%d bytes, a mix" % len(data))


@pytest.mark.concurrent
@pytest.mark.bounded(3600 if LONG else 120)
@pytest.mark.parametrize("size, count", [(SMALL, OVERWRITES), (LARGE, LARGE_OVERWRITES)])
def test_a_reader_sees_one_of_two_contents(mount, s3, bucket, size, count):
    contents = [content("one", size), content("two", size)]
    put_all(s3, bucket, {"f": contents[0]})
    writer, other = mount(), mount(options={"metadata_ttl": "0"})
    readers = [Reader(other / "f", contents) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for number in range(1, count + 1):
            mode = ("wb", "r+b")[number % 2]  # over it, and in place
            with open(writer / "f", mode) as file:
                file.write(contents[number % 2])
        wait_until(lambda: all(reader.whole for reader in readers), "a whole read", 60)
    finally:
        for reader in readers:
            reader.over.set()
        for reader in readers:
            reader.join()
    assert [reader.wrong for reader in readers] == [[], []]
    print("whole %s, ESTALE %s" % ([r.whole for r in readers], [r.refused for r in readers]))
    assert body(s3, bucket, "f") == contents[count % 2]


@pytest.mark.concurrent
@pytest.mark.s3d_only("a far server")
@pytest.mark.parametrize("moved", ["published", "renamed"])
def test_who_reads_beside_our_own_changes_is_never_told_of_another_version(mount, server, s3,
                                                                           bucket, moved):
    """A GET of the old version that is under way finds the new one, or nothing, at the server."""
    size = 8 * MIB
    data = bytearray(content("beside", size))
    put_all(s3, bucket, {"f": bytes(data)})
    mounted = mount()
    reader = os.open(mounted / "f", os.O_RDONLY)
    server.config(first_byte_ms=20)
    over, errors, reads = threading.Event(), [], [0]

    def read():
        while not over.is_set():
            try:
                at = reads[0] * 1_700_003 % (size // 2)
                os.posix_fadvise(reader, 0, 0, os.POSIX_FADV_DONTNEED)
                if os.pread(reader, 4096, at) != data[at:at + 4096]:
                    errors.append("other bytes")
                reads[0] += 1
            except OSError as error:
                errors.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    names = ["f", "g"]
    try:
        for number in range(10):
            if moved == "published":
                with open(mounted / "f", "r+b") as file:
                    file.seek(size - 1 - number)
                    file.write(b"x")
                data[size - 1 - number] = ord("x")
            else:
                os.rename(mounted / names[0], mounted / names[1])
                names.reverse()
    finally:
        over.set()
        thread.join()
        server.config(first_byte_ms=0)
    assert errors == [] and reads[0] > 0
    os.close(reader)
    assert body(s3, bucket, names[0]) == data


@pytest.mark.s3d_only("an answer that comes late")
def test_a_read_of_written_and_unchanged_bytes_waits_for_our_own_publication(mount, server, s3,
                                                                             bucket):
    """The object is another one already when the unchanged bytes are asked for."""
    size, at, length = 24 * MIB, 12 * MIB, 128 << 10
    data = bytearray(content("mixed", size))
    put_all(s3, bucket, {"f": bytes(data)})
    mounted = mount()
    fd = os.open(mounted / "f", os.O_RDWR | os.O_DIRECT)
    data[at + 5000:at + 5005] = b"dirty"
    os.pwrite(fd, b"dirty", at + 5000)
    server.faults({"name": "late", "match": {"op": "CompleteMultipartUpload", "bucket": bucket},
                   "count": 1, "do": {"delay_ms": 3000}})
    before = head(s3, bucket, "f")["ETag"]
    with ThreadPoolExecutor(1) as pool:
        publication = pool.submit(os.fsync, fd)
        wait_until(lambda: head(s3, bucket, "f")["ETag"] != before, "the publication", 20)
        at -= length // 2  # what lies before the change was copied, and not fetched
        assert os.pread(fd, length, at) == data[at:at + length]

        publication.result()
    assert server.fault_hits()["late"] == 1
    os.close(fd)


WRITE_AND_FSYNC = """
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
os.pwrite(fd, b"first!", 0)
os.fsync(fd)
"""


@pytest.mark.s3d_only("an answer that comes late")
def test_a_publication_whose_program_was_killed_does_not_stand_for_the_next_one(mount, server, s3,
                                                                                bucket):
    """The first one's bytes are stored, its answer is on its way: other bytes come meanwhile."""
    put_all(s3, bucket, {"f": b"old   ...."})
    mounted = mount()
    mounted.tolerate("f is not published: Stale file handle|published")
    other = os.open(mounted / "f", os.O_RDWR)
    server.faults({"name": "late", "match": {"op": "PutObject", "bucket": bucket, "key": "f"},
                   "count": 1, "do": {"delay_ms": 3000}})
    with subprocess.Popen([sys.executable, "-c", WRITE_AND_FSYNC, mounted / "f"]) as killed:
        wait_until(lambda: body(s3, bucket, "f") == b"first!....", "the first publication", 20)
        killed.kill()
    assert server.fault_hits()["late"] == 1
    os.pwrite(other, b"second", 0)
    outcome = b"second...."
    try:
        os.fsync(other)
    except OSError as error:
        assert error.errno == errno.ESTALE
        outcome = b"first!...."
    assert body(s3, bucket, "f") == outcome
    try:
        os.close(other)
    except OSError as error:
        assert error.errno == errno.ESTALE
