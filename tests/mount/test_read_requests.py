# SPDX-License-Identifier: Apache-2.0
"""What reading asks of the server, exactly: s3d's log tells.

PAILFS_LONG=1 reads 1 GiB, as the acceptance list says.
"""
import os
import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from support import data
from support.data import MIB
from support.objects import wait_until

pytestmark = pytest.mark.s3d_only("synthetic objects and a request log")

LONG = bool(os.environ.get("PAILFS_LONG"))
BLOCK = 131072
SEQUENTIAL_BYTES = (1024 if LONG else 160) * MIB
RANDOM_BYTES = 1024 * MIB
RANDOM_READS = 1000 if LONG else 400
SECONDS = 30
SLOW_MS = 8000


def blocks(ranges):
    """The blocks of all ranges, one after the other: what is asked twice is in it twice."""
    return [block for first, last in ranges for block in range(first // BLOCK, last // BLOCK + 1)]


def total(ranges):
    return sum(last - first + 1 for first, last in ranges)


def wait_until_quiet(server, key):
    """Until all that was asked for has come."""
    wait_until(lambda: all(entry["t_end"] for entry in server.log("GetObject", key=key)),
               "the end of reading ahead", SECONDS)


def read_ahead_of(server, mounted, name, upto):
    """A descriptor that has read from the beginning, and what was asked for and has come."""
    descriptor = os.open(mounted / name, os.O_RDONLY)
    for at in range(0, upto, MIB):
        assert len(os.pread(descriptor, MIB, at)) == MIB
    wait_until_quiet(server, name)
    return descriptor, server.ranges(name)


@pytest.mark.bounded(240)
@pytest.mark.parametrize("first_byte_ms", [1, 100])
def test_a_cold_sequential_read_asks_each_byte_once(mount, server, bucket, first_byte_ms):
    server.synth(bucket, key="big", size=SEQUENTIAL_BYTES, seed=21)
    mounted = mount()
    server.config(first_byte_ms=first_byte_ms)
    mounted.run("dd", "if=big", "of=/dev/null", "bs=1M", "status=none", timeout=200)
    ranges = data.without_races(server.ranges("big"))
    assert total(ranges) == SEQUENTIAL_BYTES
    assert sorted(blocks(ranges)) == list(range(SEQUENTIAL_BYTES // BLOCK))
    assert server.count(key="big")["HeadObject"] <= 1


@pytest.mark.bounded(240)
@pytest.mark.parametrize("first_byte_ms,length", [(1, 4096), (100, BLOCK)])
def test_random_reads_ask_no_byte_twice_and_none_more(mount, server, bucket, first_byte_ms, length):
    server.synth(bucket, key="big", size=RANDOM_BYTES, seed=22)
    mounted = mount(options={"memory": "512M"})
    server.config(first_byte_ms=first_byte_ms)
    chance = random.Random(4)
    offsets = [(1 + chance.randrange(RANDOM_BYTES // length - 1)) * length
               for _ in range(RANDOM_READS)]
    descriptor = os.open(mounted / "big", os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
    try:
        with ThreadPoolExecutor(16) as pool:
            found = list(pool.map(lambda at: os.pread(descriptor, length, at), offsets))
    finally:
        os.close(descriptor)
    for at, content in zip(offsets[::20], found[::20]):
        assert content == data.synthetic(22, at, length)
    asked = blocks(data.without_races(server.ranges("big")))
    wanted = {at // BLOCK for at in offsets}
    assert len(set(asked)) == len(asked)
    assert wanted <= set(asked)
    assert len(asked) <= len(wanted) * 1.02 + 2


@pytest.mark.parametrize("begun", [False, True])
def test_a_random_pattern_is_known_after_two_jumps(mount, server, bucket, begun):
    """From then on a read is one request of its blocks. begun: the file was read from its start
    before, far enough to be read ahead of. Nobody tells the kernel what will come."""
    server.synth(bucket, key="big", size=RANDOM_BYTES, seed=29)
    mounted = mount()
    descriptor = os.open(mounted / "big", os.O_RDONLY)
    if begun:
        os.close(descriptor)
        descriptor, _ = read_ahead_of(server, mounted, "big", 8 * MIB)
    chance = random.Random(6)
    regions = list(range(300, 1000, 13))  # beyond the window of a far link, as a slow machine's is
    chance.shuffle(regions)
    jumps = [(region * MIB + chance.randrange(MIB // 2), chance.randrange(1, 3 * BLOCK))
             for region in regions]
    try:
        for number, (at, length) in enumerate(jumps):
            if number == 2:
                wait_until_quiet(server, "big")
                server.clear_log()
            assert os.pread(descriptor, length, at) == data.synthetic(29, at, length)
    finally:
        os.close(descriptor)
    wait_until_quiet(server, "big")
    found = data.without_races(server.ranges("big"))
    assert [(first // BLOCK, last // BLOCK) for first, last in found] == [
        (at // BLOCK, (at + length - 1) // BLOCK) for at, length in jumps[2:]]
    assert all(first % BLOCK == 0 and (last + 1) % BLOCK == 0 for first, last in found)


def test_a_forward_seek_within_the_window_keeps_it(mount, server, bucket):
    server.synth(bucket, key="big", size=400 * MIB, seed=23)
    descriptor, before = read_ahead_of(server, mount(options={"memory": "1G"}), "big", 64 * MIB)
    try:
        first, last = max(before)
        assert first >= 72 * MIB
        assert os.pread(descriptor, MIB, first) == data.synthetic(23, first, MIB)
        assert os.pread(descriptor, MIB, first + MIB) == data.synthetic(23, first + MIB, MIB)
        wait_until(lambda: max(server.ranges("big"))[1] > last, "reading on from there", SECONDS)
        asked = blocks(server.ranges("big"))
        assert len(set(asked)) == len(asked)
    finally:
        os.close(descriptor)


def test_a_backward_seek_finds_what_was_read(mount, server, bucket):
    """Also where the kernel has dropped it."""
    server.synth(bucket, key="big", size=400 * MIB, seed=24)
    descriptor, before = read_ahead_of(server, mount(options={"memory": "1G"}), "big", 48 * MIB)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        for at in range(36 * MIB, 46 * MIB, MIB):
            assert os.pread(descriptor, MIB, at) == data.synthetic(24, at, MIB)
        after = server.ranges("big")[len(before):]
        assert [r for r in after if r[0] < 48 * MIB] == []
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("size", [1, 65536, BLOCK])
def test_a_small_file_is_asked_for_when_it_is_opened_and_once(mount, server, bucket, size):
    server.synth(bucket, key="file", size=size, seed=25)
    mounted = mount()
    with open(mounted / "file", "rb", buffering=0) as file:
        wait_until(lambda: server.ranges("file"), "a GET", SECONDS)
        assert file.read() == data.synthetic(25, 0, size)
    with open(mounted / "file", "rb", buffering=0) as file:
        assert file.read() == data.synthetic(25, 0, size)
    assert server.ranges("file") == [None]  # one GET of the whole object


def test_a_larger_file_is_asked_for_when_it_is_read(mount, server, bucket):
    server.synth(bucket, key="file", size=BLOCK + 1, seed=26)
    mounted = mount()
    with open(mounted / "file", "rb", buffering=0) as file:
        assert server.ranges("file") == []
        assert file.read(BLOCK) == data.synthetic(26, 0, BLOCK)


@pytest.mark.concurrent
def test_small_files_in_a_listed_directory_cost_one_request_each(mount, server, bucket):
    server.synth(bucket, prefix="dir/", format="f%03d", count=300, size=65536, seed=27)
    mounted = mount(options={"metadata_ttl": 60})
    names = sorted(os.listdir(mounted / "dir"))
    server.clear_log()

    def read(name):
        with open(mounted / "dir" / name, "rb", buffering=0) as file:
            return file.read()

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(read, names))
    assert all(len(content) == 65536 and content[:64] == data.synthetic(27 + number, 0, 64)
               for number, content in enumerate(found))
    count = server.count()
    assert 300 <= count["GetObject"] <= 303  # one in 100 may be raced by a second one
    assert count["HeadObject"] == 0


@pytest.mark.bounded(120)
def test_a_slow_answer_is_overtaken_by_a_second_request(mount, server, bucket):
    """Once it is known what is slow. One request in 100 may be doubled: a busy machine may have
    used that up, so there are several tries."""
    server.synth(bucket, key="big", size=RANDOM_BYTES, seed=28)
    mounted = mount()
    server.config(first_byte_ms=2)
    offsets = [BLOCK * at for at in range(1, RANDOM_BYTES // BLOCK, 9)]
    random.Random(5).shuffle(offsets)
    descriptor = os.open(mounted / "big", os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)

    def read_one():
        begin = time.monotonic()
        at = offsets.pop()
        assert os.pread(descriptor, 4096, at) == data.synthetic(28, at, 4096)
        return time.monotonic() - begin

    reads, seconds = 0, SLOW_MS
    try:
        while seconds > SLOW_MS / 2000 and reads < 800:
            for _ in range(160):
                read_one()
            reads += 161
            server.faults({"name": "slow%d" % reads, "match": {"op": "GetObject"}, "count": 1,
                           "do": {"delay_ms": SLOW_MS}})
            seconds = read_one()
        assert seconds < SLOW_MS / 2000
        assert server.fault_hits()["slow%d" % reads] == 1
        assert reads < server.count()["GetObject"] <= reads * 1.01 + 1
    finally:
        os.close(descriptor)


def test_many_slow_answers_double_no_more_than_one_request_in_a_hundred(mount, server, bucket):
    """A whole server that became slow is not asked twice as much."""
    server.synth(bucket, key="big", size=RANDOM_BYTES, seed=30)
    mounted = mount()
    offsets = [BLOCK * at for at in range(1, RANDOM_BYTES // BLOCK, 15)]
    random.Random(7).shuffle(offsets)
    descriptor = os.open(mounted / "big", os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
    quick, slow = offsets[:300], offsets[300:364]
    try:
        for at in quick:
            os.pread(descriptor, 4096, at)
        server.faults({"name": "slow", "match": {"op": "GetObject"}, "count": len(slow),
                       "do": {"delay_ms": 600}})
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda at: os.pread(descriptor, 4096, at), slow))
    finally:
        os.close(descriptor)
    assert [content[:64] for content in found] == [data.synthetic(30, at, 64) for at in slow]
    reads = len(quick) + len(slow)
    assert reads <= server.count()["GetObject"] <= reads * 1.01
