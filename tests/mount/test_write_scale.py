# SPDX-License-Identifier: Apache-2.0
"""What a large file and many writers cost: requests, time, memory, spool.

PAILFS_LONG=1 runs the counts of the acceptance list: 4 GiB, 32 readers and 8 writers of 512 MiB.
"""
import errno
import os
import subprocess
import time

import pytest

from support.data import MIB, content, object_checksum
from support.objects import exists, keys, uploads, wait_until
from support.s3d import most_at_once

pytestmark = [pytest.mark.alone, pytest.mark.s3d_only("synthetic objects and a request log")]

LONG = bool(os.environ.get("PAILFS_LONG"))
PLAIN = os.environ.get("PAILFS_SANITIZER", "none") in ("", "none")
COPY_BYTES = 4096 * MIB if LONG else 96 * MIB
FIRST_PART_BEFORE = 64 * MIB
CLOSE_S = 0.5
READERS, WRITERS = 32, 8
SHARE_BYTES, SHARE_MEMORY = (512 * MIB, 512 * MIB) if LONG else (12 * MIB, 64 * MIB)
OVERHEAD_BYTES = 100 * MIB  # beside `memory`
NAME_BYTES = 200
SPOOL_BYTES = 64 * MIB

memory_bound = pytest.mark.skipif(not PLAIN, reason="a sanitizer's shadow is not the daemon's")

# Copies standard input to a file as cp does; tells on standard output when close began and ended.
COPIER = """
import os, sys, time
source = os.open(sys.argv[1], os.O_RDONLY)
target = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
while data := os.read(source, 1 << 18):
    assert os.write(target, data) == len(data)
begin = time.monotonic()
os.close(target)
print(begin, time.monotonic())
"""


def make_words(server, s3, bucket, path, size):
    """A file of words of which no two are alike, and its sum."""
    server.synth(bucket, key="source", size=size, seed=77)
    with open(path, "wb") as file:
        for piece in s3.get_object(Bucket=bucket, Key="source")["Body"].iter_chunks(MIB):
            file.write(piece)
    found = object_checksum(s3, bucket, "source")
    s3.delete_object(Bucket=bucket, Key="source")
    return found


def test_the_first_part_goes_out_before_64_mib_are_written(mount, server, bucket):
    mounted, piece = mount(), content("first", MIB)
    with open(mounted / "f", "wb", buffering=0) as file:
        for _ in range(FIRST_PART_BEFORE // MIB - 1):
            file.write(piece)
        wait_until(lambda: server.log("UploadPart", key="f", status=200), "a part to be sent", 30)


@pytest.mark.bounded(900 if LONG else 120)
@pytest.mark.parametrize("memory", ["2G", "256M"])
def test_cp_of_a_large_file_is_stored_when_it_returns(mount, server, s3, bucket, tmp_path, memory):
    expected = make_words(server, s3, bucket, tmp_path / "source", COPY_BYTES)
    server.clear_log()
    mounted = mount(options={"memory": memory})
    server.config(first_byte_ms=100)
    mounted.run("cp", tmp_path / "source", "copy", timeout=800)
    server.config(first_byte_ms=0)
    assert object_checksum(s3, bucket, "copy") == expected
    assert uploads(s3, bucket) == []
    parts = [entry for entry in server.log("UploadPart") if entry["status"] == 200]
    assert sum(entry["bytes_in"] for entry in parts) == COPY_BYTES
    assert most_at_once(parts) >= 3
    peak = mounted.peak_rss()
    print("memory=%s: %d parts, %d at once, VmHWM %d MiB" % (memory, len(parts),
                                                             most_at_once(parts), peak // MIB))
    if PLAIN:
        assert peak <= {"2G": 2048 * MIB, "256M": 256 * MIB}[memory] + OVERHEAD_BYTES


@pytest.mark.bounded(900 if LONG else 120)
def test_close_returns_soon_after_the_last_part(mount, server, s3, bucket, tmp_path):
    expected = make_words(server, s3, bucket, tmp_path / "source", COPY_BYTES)
    mounted = mount(options={"memory": "2G"})
    waits = []
    while len(waits) < 3 and min(waits, default=CLOSE_S + 1) > CLOSE_S:
        server.clear_log()
        name = "copy%d" % len(waits)
        offset = time.monotonic() - clock_of(server)
        done = subprocess.run(["/usr/bin/python3", "-c", COPIER, str(tmp_path / "source"),
                               str(mounted / name)], capture_output=True, text=True, check=True,
                              timeout=800)
        ended = float(done.stdout.split()[1])
        last = max(entry["t_end"] for entry in server.log("UploadPart", status=200)) + offset
        (complete,) = server.log("CompleteMultipartUpload", status=200)
        waits.append(ended - last)
        print("close returned %.3f s after the last part's answer, %.3f s of it Complete" % (
            waits[-1], complete["t_end"] - complete["t"]))
        assert object_checksum(s3, bucket, name) == expected
    assert not PLAIN or min(waits) <= CLOSE_S


def clock_of(server):
    """The server's clock, in which its log is written; a few milliseconds late."""
    server.s3.list_buckets()
    return max(entry["t"] for entry in server.log("ListBuckets"))


@memory_bound
@pytest.mark.bounded(1500 if LONG else 120)
def test_many_readers_and_writers_keep_to_the_memory(mount, server, s3, bucket, tmp_path):
    expected = make_words(server, s3, bucket, tmp_path / "source", SHARE_BYTES)
    server.synth(bucket, prefix="in/", format="r%03d", count=READERS, size=SHARE_BYTES,
                 seed=1 << 40)
    (tmp_path / "spool").mkdir()
    kind = subprocess.run(["findmnt", "-T", str(tmp_path), "-no", "FSTYPE"], check=True,
                          capture_output=True, text=True).stdout.strip()
    mounted = mount(options={"memory": "%dM" % (SHARE_MEMORY // MIB),
                             "spool_dir": tmp_path / "spool"})
    mounted.tolerate("tmpfs")
    readers = [subprocess.Popen(["sha256sum", str(mounted / "in" / ("r%03d" % number))],
                                stdout=subprocess.PIPE, text=True) for number in range(READERS)]
    writers = [subprocess.Popen(["cp", str(tmp_path / "source"), str(mounted / ("w%d" % number))])
               for number in range(WRITERS)]
    for process in [*readers, *writers]:
        process.wait()
    peak = mounted.peak_rss()
    assert [writer.returncode for writer in writers] == [0] * WRITERS
    for number, reader in enumerate(readers):
        found = reader.stdout.read().split()[0]
        assert found == object_checksum(s3, bucket, "in/r%03d" % number)
    for number in range(WRITERS):
        assert object_checksum(s3, bucket, "w%d" % number) == expected
    print("VmHWM %d MiB at memory=%dM, the spool is on %s" % (peak // MIB, SHARE_MEMORY // MIB,
                                                              kind))
    assert peak <= SHARE_MEMORY + OVERHEAD_BYTES + (READERS + WRITERS) * NAME_BYTES


@memory_bound
@pytest.mark.bounded(180)
def test_many_transfers_at_once_keep_to_the_memory(mount, server, bucket):
    """The more there may be, the smaller are their buffers."""
    server.synth(bucket, prefix="", format="r%02d", count=16, size=64 * MIB, sparse=True)
    mounted = mount(options={"memory": "%dM" % (SHARE_MEMORY // MIB), "parallel": 256})
    server.config(first_byte_ms=100, body_hash=False)
    for words in (["if=%s/r%02d", "of=/dev/null"], ["if=/dev/zero", "of=%s/w%02d", "count=64"]):
        copies = [subprocess.Popen(["dd", "bs=1M", "status=none"] + [
            word % (mounted.path, number) if "%" in word else word for word in words])
            for number in range(16)]
        assert [process.wait() for process in copies] == [0] * 16
    print("VmHWM %d MiB" % (mounted.peak_rss() // MIB))
    assert mounted.peak_rss() <= SHARE_MEMORY + OVERHEAD_BYTES



def make_tmpfs(path, size):
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a tmpfs")
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%d" % size, "tmpfs", str(path)], check=True)
    return str(path)


def used_bytes(path):
    found = os.statvfs(path)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


@pytest.mark.parametrize("pattern", ["backwards", "read and write"])
def test_a_full_spool_is_told_by_write_and_nothing_is_published(mount, s3, bucket, tmp_path,
                                                                pattern):
    spool = make_tmpfs(tmp_path / "spool", SPOOL_BYTES)
    try:
        mounted = mount(options={"spool_dir": spool, "memory": "32M"})
        mounted.tolerate("spool|tmpfs|write failed|is not published")
        s3.put_object(Bucket=bucket, Key="old", Body=b"old")
        with pytest.raises(OSError) as caught:
            fill(mounted / "old", pattern)
        assert caught.value.errno == errno.ENOSPC
        assert s3.get_object(Bucket=bucket, Key="old")["Body"].read() == b"old"
        assert keys(s3, bucket) == ["old"]
        wait_until(lambda: uploads(s3, bucket) == [], "no upload to be left", 30)
        (mounted / "after").write_bytes(b"fine")
        assert exists(s3, bucket, "after")
        wait_until(lambda: used_bytes(spool) == 0, "the spool to be empty", 30)
        mounted.unmount()
    finally:
        subprocess.run(["umount", "-l", spool], check=True)


def fill(path, pattern):
    """Writes more than memory and spool hold, in a way that nothing of it can be let go of."""
    flags = os.O_RDWR if pattern == "read and write" else os.O_WRONLY
    fd = os.open(path, flags | os.O_CREAT | os.O_TRUNC)
    try:
        for number in range(160):
            at = (159 - number if pattern == "backwards" else number) * MIB
            os.pwrite(fd, content("n%d" % number, MIB), at)
    finally:
        try:
            os.close(fd)
        except OSError as error:
            assert error.errno == errno.ENOSPC
