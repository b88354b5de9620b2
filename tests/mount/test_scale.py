# SPDX-License-Identifier: Apache-2.0
"""What a large object, a large directory and many readers cost: requests, time, memory.

PAILFS_LONG=1 runs the counts of the acceptance list: 8 GiB, a million names, 32 readers of 1 GiB.
"""
import os
import subprocess
import time

import pytest

from support import data
from support.data import MIB
from support.objects import wait_until
from support.s3d import most_at_once

pytestmark = [pytest.mark.alone, pytest.mark.s3d_only("synthetic objects and a request log")]

LONG = bool(os.environ.get("PAILFS_LONG"))
PLAIN = os.environ.get("PAILFS_SANITIZER", "none") in ("", "none")
DIGEST = "sha256sum"
WORDS = {"seed": 1 << 40}  # objects of numbered seeds: no two share a word

# The s3 profile: 30 ms to the first byte, 80 MB/s a connection, 1 GB/s in all.
S3_PROFILE = {"first_byte_ms": 30, "list_ms": 30, "pace": 80000000, "nic": 1000000000}
COPY_BYTES = 8192 * MIB if LONG else 2048 * MIB
SMALL_COPY_BYTES = 2048 * MIB if LONG else 256 * MIB
MANY_NAMES = 1000000 if LONG else 50000
LISTED_NAMES = 1000000 if LONG else 20000
FORGOTTEN_NAMES = 1000000 if LONG else 300000  # their memory goes back in lots of 16 MiB
READERS = 32
READER_BYTES, READERS_MEMORY = (1024 * MIB, 512 * MIB) if LONG else (16 * MIB, 64 * MIB)

# Beside `memory` for data a daemon may need this, and so much a name.
OVERHEAD_BYTES = 100 * MIB
NAME_BYTES = 200
LISTS_BEYOND = 14  # what a listing may ask beyond a directory's end, or for a wrong guess

memory_bound = pytest.mark.skipif(not PLAIN, reason="a sanitizer's shadow is not the daemon's")


def assert_peak(mounted, bound, what):
    """The daemon's largest resident size; said, so that a run with -rP tells it."""
    peak = mounted.peak_rss()
    print("%s: VmHWM %.1f MiB, %.1f MiB allowed" % (what, peak / MIB, bound / MIB))
    assert peak <= bound


def assert_each_byte_once(ranges, size):
    at = 0
    for first, last in sorted(data.without_races(ranges)):
        assert first == at
        at = last + 1
    assert at == size


def sizes(ranges):
    return [last - first + 1 for first, last in ranges]


def server_checksum(server, bucket, key):
    """The sum of an object as the independent client reads it, without the profile's delays."""
    server.config(first_byte_ms=0, list_ms=0, pace=0, nic=0)
    return data.object_checksum(server.s3, bucket, key)


def copy(mounted, name, target):
    """cp out of the mount; gives the copy's sum and leaves no copy."""
    mounted.run("cp", name, target, timeout=600)
    try:
        return subprocess.run([DIGEST, target], capture_output=True, text=True,
                              check=True).stdout.split()[0]
    finally:
        os.unlink(target)


@pytest.mark.bounded(900 if LONG else 120)
def test_cp_of_a_large_object_runs_on_many_large_parts_and_asks_each_byte_once(
        mount, server, bucket, tmp_path):
    server.synth(bucket, key="big", size=COPY_BYTES, seed=5)
    mounted = mount(options={"memory": "2G"})  # the default on a machine of 8 GiB and more
    server.config(**S3_PROFILE)
    found = copy(mounted, "big", tmp_path / "copy")
    gets = server.log("GetObject", key="big")
    ranges = server.ranges("big")
    assert found == server_checksum(server, bucket, "big")
    assert_each_byte_once(ranges, COPY_BYTES)
    assert most_at_once(gets) >= 8
    # A window beyond 192 MiB is a quarter of what the stream has read, a part a sixteenth of it.
    assert max(sizes(ranges)) >= 16 * MIB
    if LONG:
        assert max(sizes(ranges)) == 64 * MIB
        assert sizes(ranges).count(64 * MIB) >= 8


@pytest.mark.bounded(600 if LONG else 120)
def test_parts_are_a_share_of_a_smaller_memory(mount, server, bucket, tmp_path):
    server.synth(bucket, key="big", size=SMALL_COPY_BYTES, seed=6)
    mounted = mount(options={"memory": "256M"})
    server.config(**S3_PROFILE)
    found = copy(mounted, "big", tmp_path / "copy")
    gets = server.log("GetObject", key="big")
    ranges = server.ranges("big")
    assert found == server_checksum(server, bucket, "big")
    assert_each_byte_once(ranges, SMALL_COPY_BYTES)
    assert most_at_once(gets) >= 8
    assert 2 * MIB <= max(sizes(ranges)) <= 8 * MIB  # 3/4 of memory / parallel at most
    if PLAIN:
        assert_peak(mounted, 256 * MIB + OVERHEAD_BYTES, "a copy at memory=256M")


@pytest.mark.parametrize("listed,round_trips", [(False, 2), (True, 1)])
def test_the_first_bytes_of_a_cold_file_wait_for_that_many_answers(mount, server, bucket, listed,
                                                                  round_trips):
    """One after the other, that is: the name's HEAD and LIST run at once, then the GET."""
    server.synth(bucket, key="dir/file", size=64 * MIB, seed=7)
    mounted = mount(options={"metadata_ttl": 60})
    os.stat(mounted / "dir")
    if listed:
        os.listdir(mounted / "dir")
    server.clear_log()
    server.config(first_byte_ms=200, list_ms=200)
    begin = time.monotonic()
    with open(mounted / "dir" / "file", "rb", buffering=0) as file:
        first = file.read(4096)
    seconds = time.monotonic() - begin
    server.config(first_byte_ms=0, list_ms=0)
    assert first == data.synthetic(7, 0, 4096)
    assert seconds < 0.2 * (round_trips + 0.9)
    log = server.log()
    get = next(entry for entry in log if entry["op"] == "GetObject")
    assert get["range"][0] == 0
    before = [entry for entry in log if entry["t"] < get["t"]]
    assert sorted(entry["op"] for entry in before) == (
        [] if listed else ["HeadObject", "ListObjectsV2"])


@pytest.mark.bounded(600 if LONG else 120)
def test_a_directory_of_very_many_names_comes_page_by_page(mount, server, bucket):
    server.synth(bucket, prefix="dir/", format="f%07d", count=MANY_NAMES, size=1024)
    mounted = mount()
    os.stat(mounted / "dir")
    begin = time.monotonic()
    with os.scandir(mounted / "dir") as entries:
        assert next(entries).name == "f0000000"
    assert time.monotonic() - begin < 1
    server.clear_log()
    assert int(mounted.shell("ls -f dir | wc -l", timeout=500)) == MANY_NAMES + 2  # "." and ".."
    count = server.count()
    assert count["ListObjectsV2"] <= MANY_NAMES // 1000 + LISTS_BEYOND
    assert count["HeadObject"] <= 1  # of "dir", never of a name in it
    if PLAIN:
        assert_peak(mounted, OVERHEAD_BYTES + MANY_NAMES * NAME_BYTES, "a listing of many names")


def heads_below(server, prefix):
    return [entry["key"] for entry in server.log("HeadObject") if entry["key"].startswith(prefix)]


@memory_bound
@pytest.mark.bounded(600 if LONG else 120)
def test_attributes_of_many_names_come_from_the_listing(mount, server, bucket):
    server.synth(bucket, format="f%07d", count=LISTED_NAMES, size=1024)
    mounted = mount()
    before = mounted.peak_rss()
    lines = mounted.shell("ls -l", timeout=500).splitlines()
    assert len(lines) == LISTED_NAMES + 1
    assert all(line.split()[4] == "1024" for line in lines[1:])
    count = server.count()
    assert count["HeadObject"] == 0
    assert count["ListObjectsV2"] <= LISTED_NAMES // 1000 + LISTS_BEYOND
    spare = 0 if LONG else 16 * MIB  # a few names cost less than the pages on their way
    assert_peak(mounted, before + spare + LISTED_NAMES * NAME_BYTES, "attributes of many names")


def forget_names():
    """Has the kernel let go of all the names that nobody uses."""
    try:
        with open("/proc/sys/vm/drop_caches", "w") as file:
            file.write("2")
    except OSError:
        pytest.skip("may not drop the kernel's caches")


@memory_bound
@pytest.mark.bounded(600 if LONG else 120)
def test_names_that_the_kernel_forgets_cost_nothing_any_more(mount, server, bucket):
    server.synth(bucket, format="f%07d", count=FORGOTTEN_NAMES, size=1024)
    mounted = mount(options={"metadata_ttl": 1})
    before = mounted.status("VmRSS")
    mounted.shell("ls -l | wc -l", timeout=500)
    listed = mounted.status("VmRSS")
    bound = before + (listed - before) // 2  # what stays is less than one lot, and buffers
    assert listed - before >= FORGOTTEN_NAMES * NAME_BYTES // 2

    def is_given_back():
        forget_names()
        os.path.exists(mounted / "none")  # a lookup lets go of listings that are too old
        return mounted.status("VmRSS") <= bound

    wait_until(is_given_back, "memory of %d names is given back" % FORGOTTEN_NAMES, seconds=60)


@pytest.mark.bounded(240)
@pytest.mark.parametrize("names,list_ms", [(100000, 100) if LONG else (20000, 100), (5000, 500)])
def test_a_listing_that_takes_longer_than_metadata_ttl_asks_for_no_name(mount, server, bucket,
                                                                       names, list_ms):
    server.synth(bucket, prefix="dir/", format="f%07d", count=names, size=1024)
    mounted = mount(options={"metadata_ttl": 1})
    server.config(list_ms=list_ms)
    assert len(mounted.shell("ls -l dir", timeout=200).splitlines()) == names + 1
    assert heads_below(server, "dir/") == []
    lists = [query for query in server.queries("ListObjectsV2") if query.get("prefix") == "dir/"]
    assert len([query for query in lists if query.get("max-keys") != "1"]) <= names // 1000 + LISTS_BEYOND


@pytest.mark.bounded(1500 if LONG else 120)
def test_many_readers_get_their_bytes_within_the_memory_and_none_starves(mount, server, bucket):
    for number in range(READERS):
        server.synth(bucket, key="o%d" % number, size=READER_BYTES, seed=number * WORDS["seed"])
    mounted = mount(options={"memory": "%dM" % (READERS_MEMORY // MIB)})
    begin = time.monotonic()
    readers = [subprocess.Popen([DIGEST, str(mounted / ("o%d" % number))], text=True,
                                stdout=subprocess.PIPE) for number in range(READERS)]
    ends = {}
    while len(ends) < READERS:
        for number, reader in enumerate(readers):
            if number not in ends and reader.poll() is not None:
                ends[number] = time.monotonic() - begin
        time.sleep(0.005)
    found = [reader.stdout.read().split()[0] for reader in readers]
    if PLAIN:
        assert_peak(mounted, READERS_MEMORY + OVERHEAD_BYTES + READERS * NAME_BYTES, "many readers")
    rates = [1 / seconds for seconds in ends.values()]
    assert min(rates) >= sum(rates) / len(rates) / 4
    assert found == [server_checksum(server, bucket, "o%d" % number) for number in range(READERS)]
