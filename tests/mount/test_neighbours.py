# SPDX-License-Identifier: Apache-2.0
"""Read-ahead across small files: what is asked for before it is opened. s3d's log tells."""
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from support import data
from support.objects import wait_until
from support.s3d import most_at_once

pytestmark = pytest.mark.s3d_only("a request log")

COUNT = 200
SIZE = 65536
SECONDS = 30
FIRST = 2    # files that are fetched before it is known whether they are read
AHEAD = 24   # most files ahead of a reader: the default of parallel
OPTIONS = {"metadata_ttl": 60}
HELD_MS = 300  # an answer: many opens take less, on any machine


def plant(server, bucket, count=COUNT, prefix="dir/", size=SIZE):
    server.synth(bucket, prefix=prefix, format="f%05d", count=count, size=size, seed=40)


def name_of(number):
    return "f%05d" % number


def read(path):
    with open(path, "rb", buffering=0) as file:
        return file.read()


def gets(server):
    """The GETs, each object's once: of 100 requests, one may be sent a second time."""
    entries = server.log("GetObject")
    keys = [entry["key"] for entry in entries]
    once = list(dict.fromkeys(keys))
    assert len(keys) - len(once) <= 1 + len(keys) // 100
    return once, entries


def quiet(server):
    wait_until(lambda: all(entry["t_end"] for entry in server.log("GetObject")),
               "the end of what was asked for", SECONDS)


def read_in_order(mounted, names):
    """Each of them once, compared."""
    for number, name in enumerate(names):
        assert read(mounted / "dir" / name)[:64] == data.synthetic(40 + number, 0, 64)


@pytest.mark.parametrize("parallel", [4, 16])
def test_files_read_one_after_the_other_are_fetched_together(mount, server, bucket, parallel):
    plant(server, bucket, count=60)
    mounted = mount(options={**OPTIONS, "parallel": parallel})
    names = sorted(os.listdir(mounted / "dir"))
    server.config(first_byte_ms=HELD_MS)
    server.clear_log()
    read_in_order(mounted, names)
    once, entries = gets(server)
    assert sorted(once) == ["dir/" + name for name in names]
    assert parallel // 2 < most_at_once(entries) <= parallel + 2  # two more for who waits
    assert server.count()["HeadObject"] == 0


@pytest.mark.concurrent
def test_several_readers_of_one_directory_are_fetched_for(mount, server, bucket):
    plant(server, bucket)
    mounted = mount(options={**OPTIONS, "parallel": 32})
    names = sorted(os.listdir(mounted / "dir"))
    server.config(first_byte_ms=HELD_MS)
    server.clear_log()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda name: read(mounted / "dir" / name), names))
    assert all(content[:64] == data.synthetic(40 + number, 0, 64)
               for number, content in enumerate(found))
    once, entries = gets(server)
    assert sorted(once) == ["dir/" + name for name in names]
    assert most_at_once(entries) >= 12  # three times as many as readers


@pytest.mark.parametrize("seed", range(3))
def test_who_reads_at_random_gets_nothing_ahead(mount, server, bucket, seed):
    plant(server, bucket)
    mounted = mount(options=OPTIONS)
    names = sorted(os.listdir(mounted / "dir"))
    random.Random(seed).shuffle(names)
    server.clear_log()
    for name in names[:COUNT // 2]:
        read(mounted / "dir" / name)
    quiet(server)
    once, _ = gets(server)
    wanted = {"dir/" + name for name in names[:COUNT // 2]}
    assert wanted <= set(once)
    assert len(set(once) - wanted) <= FIRST


@pytest.mark.parametrize("stop", [3, 5, 10, 100])
def test_who_stops_leaves_less_behind_than_he_has_read(mount, server, bucket, stop):
    plant(server, bucket)
    mounted = mount(options=OPTIONS)
    for name in sorted(os.listdir(mounted / "dir"))[:stop]:
        read(mounted / "dir" / name)
    quiet(server)
    once, _ = gets(server)
    assert stop <= len(once) <= stop + min(stop, AHEAD)


READER = """
import os, sys
for name in sorted(os.listdir(sys.argv[1])):
    with open(os.path.join(sys.argv[1], name), "rb", buffering=0) as file:
        file.read()
    print(name, flush=True)
"""


def test_reading_ahead_ends_with_its_reader(mount, server, bucket):
    plant(server, bucket, count=1000)
    mounted = mount(options=OPTIONS)
    server.config(first_byte_ms=100)
    with subprocess.Popen([sys.executable, "-c", READER, str(mounted / "dir")],
                          stdout=subprocess.PIPE) as reader:
        for _ in range(40):
            reader.stdout.readline()
        reader.kill()
        done = 40 + len(reader.stdout.readlines())
    quiet(server)
    once, _ = gets(server)
    assert done <= len(once) <= done + 1 + AHEAD


def test_large_files_are_not_fetched_before_they_are_read(mount, server, bucket):
    plant(server, bucket, count=20, size=2 * data.MIB)
    mounted = mount(options=OPTIONS)
    for name in sorted(os.listdir(mounted / "dir"))[:12]:
        with open(mounted / "dir" / name, "rb", buffering=0) as file:
            file.read(4096)
    quiet(server)
    assert sorted(set(gets(server)[0])) == ["dir/" + name_of(number) for number in range(12)]


def test_a_file_that_was_replaced_before_it_was_fetched_is_read_anew(mount, server, s3, bucket):
    """The listing says another version: it is not to be had any more."""
    plant(server, bucket, count=30)
    mounted = mount(options=OPTIONS)
    names = sorted(os.listdir(mounted / "dir"))
    fresh = data.content(7, SIZE)
    s3.put_object(Bucket=bucket, Key="dir/" + names[9], Body=fresh)
    found = [read(mounted / "dir" / name) for name in names]
    assert found[9] == fresh
    assert all(content[:64] == data.synthetic(40 + number, 0, 64)
               for number, content in enumerate(found) if number != 9)


def test_a_file_that_was_replaced_after_it_was_fetched_is_read_anew(mount, server, s3, bucket):
    plant(server, bucket, count=30)
    mounted = mount(options={"metadata_ttl": 3})
    names = sorted(os.listdir(mounted / "dir"))
    for name in names[:8]:
        read(mounted / "dir" / name)
    wait_until(lambda: "dir/" + names[9] in gets(server)[0], "reading ahead", SECONDS)
    quiet(server)
    old, fresh = data.synthetic(49, 0, SIZE), data.content(8, SIZE)
    s3.put_object(Bucket=bucket, Key="dir/" + names[9], Body=fresh)

    def is_fresh():
        content = read(mounted / "dir" / names[9])
        assert content in (old, fresh)
        return content == fresh

    wait_until(is_fresh, "the new version, once the listing is too old", SECONDS)


def plant_tree(server, bucket, directories, count):
    for number in range(directories):
        plant(server, bucket, count, "t/d%03d/" % number)
    return {"t/d%03d/%s" % (d, name_of(f)) for d in range(directories) for f in range(count)}


@pytest.mark.concurrent
@pytest.mark.parametrize("program", ["cp -r t {0}/copy", "tar -cf {0}/t.tar t", "grep -rc x t"])
def test_a_tree_is_fetched_beyond_the_directory_that_is_read(mount, server, bucket, tmp_path,
                                                             program):
    keys = plant_tree(server, bucket, 50, 4)
    mounted = mount(options=OPTIONS)
    server.config(first_byte_ms=HELD_MS)
    server.clear_log()
    mounted.run("sh", "-c", program.format(tmp_path), check=False)
    once, entries = gets(server)
    assert set(once) == keys
    assert most_at_once(entries) >= 8  # of more than one directory
