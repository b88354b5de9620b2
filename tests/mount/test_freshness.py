# SPDX-License-Identifier: Apache-2.0
"""How old an answer may be, and which version a handle reads, while another client changes things."""
import ctypes
import errno
import os
import random
import struct
import threading
import time

import pytest

from support import data
from support.data import MIB
from support.keys import put_all

SYS_GETDENTS64 = 217  # x86-64


def getdents(descriptor, size):
    """The names of one getdents64(2) with a buffer of that size."""
    buffer = ctypes.create_string_buffer(size)
    got = ctypes.CDLL(None, use_errno=True).syscall(SYS_GETDENTS64, descriptor, buffer, size)
    if got < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    names, at = [], 0
    while at < got:
        length = struct.unpack_from("<H", buffer, at + 16)[0]
        names.append(buffer.raw[at + 19:at + length].split(b"\0")[0].decode())
        at += length
    return names


def all_names(descriptor, size):
    """What getdents64 gives until the end, without . and .."""
    names = []
    while piece := getdents(descriptor, size):
        names += piece
    return [name for name in names if name not in (".", "..")]


@pytest.mark.s3d_only("a request log")
@pytest.mark.parametrize("size", [64, 512, 2048])
def test_a_small_getdents_buffer_does_not_list_the_directory_again(mount, server, bucket, size):
    server.synth(bucket, prefix="d/", format="f%07d", count=2500, size=1)
    mounted = mount()
    descriptor = os.open(mounted / "d", os.O_RDONLY | os.O_DIRECTORY)
    server.clear_log()
    names = all_names(descriptor, size)
    os.close(descriptor)
    assert names == ["f%07d" % number for number in range(2500)]
    assert server.count()["ListObjectsV2"] == 3


@pytest.mark.parametrize("before", [[], ["a"], ["a", "b", "c"]])
def test_rewinddir_reads_the_directory_anew(mount, s3, bucket, before):
    put_all(s3, bucket, ["d/" + name for name in before] + ["other"])
    descriptor = os.open(mount().path, os.O_RDONLY | os.O_DIRECTORY)
    if before:
        os.close(descriptor)
        descriptor = os.open(mount().path / "d", os.O_RDONLY | os.O_DIRECTORY)
    assert len(all_names(descriptor, 32768)) == max(len(before), 1)
    put_all(s3, bucket, ["d/new" if before else "new"])
    os.lseek(descriptor, 0, os.SEEK_SET)
    assert "new" in all_names(descriptor, 32768)
    os.close(descriptor)


def test_closing_a_directory_late_does_not_make_its_names_fresh(mount, s3, bucket):
    put_all(s3, bucket, {"d/file": b"old"})
    mounted = mount()
    with os.scandir(mounted / "d") as entries:
        assert [entry.name for entry in entries] == ["file"]
        descriptor = os.open(mounted / "d", os.O_RDONLY | os.O_DIRECTORY)
        all_names(descriptor, 32768)
        time.sleep(2)
        s3.put_object(Bucket=bucket, Key="d/file", Body=b"newer")
        time.sleep(1.2)
        os.close(descriptor)
    assert (mounted / "d" / "file").stat().st_size == 5


@pytest.mark.s3d_only("synthetic keys")
def test_names_of_a_page_that_came_long_ago_are_not_shown_as_fresh(mount, server, s3, bucket):
    server.synth(bucket, prefix="d/", format="f%04d", count=1500, size=1)
    mounted = mount()
    with os.scandir(mounted / "d") as entries:
        for _ in range(500):
            next(entries)
        time.sleep(1)
        s3.put_object(Bucket=bucket, Key="d/f1400", Body=b"newer")
        time.sleep(1.5)
        list(entries)
    assert (mounted / "d" / "f1400").stat().st_size == 5


@pytest.mark.s3d_only("a request log")
def test_without_metadata_ttl_a_stat_lists_no_page(mount, server, s3, bucket):
    put_all(s3, bucket, ["d/f%d" % number for number in range(8)])
    mounted = mount(options={"metadata_ttl": 0})
    os.listdir(mounted / "d")
    server.clear_log()
    for number in range(8):
        os.stat(mounted / "d" / ("f%d" % number))
    assert [query for query in server.queries("ListObjectsV2") if query["max-keys"] != "1"] == []


@pytest.mark.parametrize("sizes", [(3 * MIB, 10), (300000, 200001), (5000, 10), (10, 5000),
                                   (200001, 3 * MIB), (5000, 0), (5000, 5000)])
def test_a_file_replaced_between_open_and_read_is_one_version_or_estale(mount, s3, bucket, sizes):
    bodies = [data.content(name, size) for name, size in zip(("old", "new"), sizes)]
    s3.put_object(Bucket=bucket, Key="file", Body=bodies[0])
    with open(mount() / "file", "rb", buffering=0) as file:
        s3.put_object(Bucket=bucket, Key="file", Body=bodies[1])
        try:
            got = file.read()
        except OSError as error:
            assert error.errno == errno.ESTALE
            return
    assert got in bodies


def test_what_a_handle_has_read_stays_readable_after_the_object_is_deleted(mount, s3, bucket):
    body = data.content("file", 5000)
    s3.put_object(Bucket=bucket, Key="file", Body=body)
    with open(mount() / "file", "rb", buffering=0) as file:
        assert os.pread(file.fileno(), 5000, 0) == body
        s3.delete_object(Bucket=bucket, Key="file")
        time.sleep(1.2)  # the attributes have expired
        assert os.pread(file.fileno(), 8192, 0) == body
        assert os.pread(file.fileno(), 8192, 5000) == b""


@pytest.mark.s3d_only("a request log")
def test_reading_to_the_end_asks_nothing_of_the_open_version(mount, server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="file", Body=b"x" * 5000)
    with open(mount(options={"metadata_ttl": 0}) / "file", "rb", buffering=0) as file:
        server.clear_log()
        assert len(file.read(100)) == 100
        assert len(file.read()) == 4900
    assert server.count()["HeadObject"] <= 1  # Python's fstat


def test_a_new_key_is_seen_after_negative_ttl_although_listings_hold_for_ever(mount, s3, bucket):
    put_all(s3, bucket, ["d/a", "d/z"])
    mounted = mount(options={"metadata_ttl": "forever", "negative_ttl": 1})
    os.listdir(mounted / "d")
    assert not os.path.exists(mounted / "d" / "new")
    put_all(s3, bucket, ["d/new"])
    time.sleep(1.2)
    assert os.path.exists(mounted / "d" / "new")


@pytest.mark.parametrize("ttl", ["forever", 60])
def test_what_a_read_found_wrong_is_not_answered_from_the_listing_again(mount, s3, bucket, ttl):
    put_all(s3, bucket, {"d/file": b"x" * 5000, "d/other": b"y" * 5000})
    mounted = mount(options={"metadata_ttl": ttl})
    os.listdir(mounted / "d")
    s3.put_object(Bucket=bucket, Key="d/file", Body=b"shorter")
    s3.delete_object(Bucket=bucket, Key="d/other")
    for name in ("file", "other"):
        with pytest.raises(OSError) as error:
            (mounted / "d" / name).read_bytes()
        assert error.value.errno == errno.ESTALE
    assert (mounted / "d" / "file").read_bytes() == b"shorter"
    assert not (mounted / "d" / "other").exists()


@pytest.mark.s3d_only("headers of answers")
def test_a_restored_object_can_be_read_although_listings_call_it_archived(
        mount, server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="d/cold", Body=b"x", StorageClass="GLACIER")
    server.faults({"match": {"op": "HeadObject"}, "count": 0,
                   "do": {"headers": {"x-amz-restore": 'ongoing-request="false"'}}},
                  {"match": {"op": "GetObject"}, "count": 0,
                   "do": {"status": 206, "body": "x",
                          "headers": {"Content-Range": "bytes 0-0/1"}}})
    mounted = mount()
    os.listdir(mounted / "d")
    with open(mounted / "d" / "cold", "rb"):
        pass


@pytest.mark.s3d_only("answers that are held back")
def test_an_answer_older_than_what_is_known_does_not_come_back(mount, server, s3, bucket):
    """A listing that goes on renews names of its first page, which is older than a lookup."""
    server.synth(bucket, prefix="d/", format="f%05d", count=6000, size=1)
    mounted = mount()
    with os.scandir(mounted / "d") as entries:
        next(entries)
        s3.put_object(Bucket=bucket, Key="d/f00900", Body=b"newer")
        end = time.monotonic() + 10
        while (mounted / "d" / "f00900").stat().st_size != 5 and time.monotonic() < end:
            time.sleep(0.1)
        for _ in range(3):
            for _ in range(1000):
                next(entries)
            assert (mounted / "d" / "f00900").stat().st_size == 5
            time.sleep(1.1)
            assert (mounted / "d" / "f00900").stat().st_size == 5


@pytest.mark.concurrent
@pytest.mark.bounded(300)
@pytest.mark.parametrize("sizes", [(3 * MIB + 5, 3 * MIB + 5), (4 * MIB, 70001), (100, 90)])
def test_readers_of_a_file_that_is_replaced_again_and_again_see_no_mix(mount, s3, bucket, sizes):
    bodies = [data.content(name, size) for name, size in zip(("A", "B"), sizes)]
    sums = {data.checksum(body) for body in bodies}
    s3.put_object(Bucket=bucket, Key="file", Body=bodies[0])
    path = mount(options={"metadata_ttl": "200ms"}) / "file"
    over = threading.Event()
    wrong, counts = [], {"whole": 0, "estale": 0}

    def replace():
        chance = random.Random(5)
        turn = 0
        while not over.is_set():
            turn += 1
            s3.put_object(Bucket=bucket, Key="file", Body=bodies[turn % 2])
            time.sleep(chance.random() * 0.15)

    def read():
        while not over.is_set():
            try:
                with open(path, "rb", buffering=0) as file:
                    got = file.read()
            except OSError as error:
                if error.errno != errno.ESTALE:
                    wrong.append(error)
                counts["estale"] += 1
                continue
            counts["whole"] += 1
            if data.checksum(got) not in sums:
                wrong.append((len(got), got[:8], [body[:8] for body in bodies]))

    threads = [threading.Thread(target=replace)] + [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    time.sleep(8)
    over.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert counts["whole"] > 0
