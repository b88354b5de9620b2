# SPDX-License-Identifier: Apache-2.0
"""What a change of a large object moves: bytes fetched and sent, from the server's log."""
import os

import pytest

from support.data import MIB, synthetic
from support.objects import head, uploads

pytestmark = pytest.mark.s3d_only("synthetic objects and a request log")

GIB = 1024 * MIB
SEED = 11
EITHER_WAY_MAX = 16 * MIB
PART_MIN, PART = 5 * MIB, 8 * MIB
COPY_MAX = 512 * MIB
BLOCK = 128 * 1024
LEAST_COPIED = 5 * MIB


def moved(server, key):
    """(bytes of bodies fetched, bytes sent, parts copied) of that key since clear_log()."""
    log = server.log(key=key)
    return (sum(entry["bytes_out"] for entry in log if entry["op"] == "GetObject"),
            sum(entry["bytes_in"] for entry in log if entry["op"] in ("UploadPart", "PutObject")),
            sum(entry["op"] == "UploadPartCopy" for entry in log))


def piece(s3, bucket, key, offset, length):
    asked = "bytes=%d-%d" % (offset, offset + length - 1)
    return s3.get_object(Bucket=bucket, Key=key, Range=asked)["Body"].read()


def change(mounted, offset, data, flags=os.O_WRONLY):
    fd = os.open(mounted / "big", flags)
    try:
        assert os.pwrite(fd, data, offset) == len(data)
    finally:
        os.close(fd)


@pytest.fixture
def big(mount, server, bucket):
    """A mount with an object of 1 GiB, and a clean log."""
    server.synth(bucket, key="big", size=GIB, seed=SEED)
    mounted = mount()
    assert (mounted / "big").stat().st_size == GIB
    server.clear_log()
    return mounted


def test_append(big, server, s3, bucket):
    with open(big / "big", "ab") as file:
        file.write(b"tail")
    assert moved(server, "big") == (0, 4, GIB // COPY_MAX)
    assert piece(s3, bucket, "big", GIB - 8, 12) == synthetic(SEED, GIB - 8, 8) + b"tail"


@pytest.mark.parametrize("offset", [0, 1, PART_MIN, 300 * MIB + 5, GIB - PART_MIN - 1, GIB - 1])
def test_one_byte(big, server, s3, bucket, offset):
    change(big, offset, b"!")
    fetched, sent, _ = moved(server, "big")
    assert fetched <= PART_MIN + 2 * BLOCK
    assert sent <= PART_MIN + 1
    start = max(0, offset - 10)
    expected = bytearray(synthetic(SEED, start, min(30, GIB - start)))
    expected[offset - start:offset - start + 1] = b"!"
    assert piece(s3, bucket, "big", start, 30) == bytes(expected)
    for at in (PART_MIN - 5, GIB // 2 - 5, GIB - 30):  # where parts may meet
        if abs(at - offset) > 30:
            assert piece(s3, bucket, "big", at, 16) == synthetic(SEED, at, 16)
    assert head(s3, bucket, "big")["ContentLength"] == GIB


def test_many_small_changes_that_are_far_apart(big, server, s3, bucket):
    offsets = [number * 100 * MIB + 77 for number in range(10)]
    with open(big / "big", "r+b", buffering=0) as file:
        for offset in offsets:
            os.pwrite(file.fileno(), b"here", offset)
    fetched, sent, _ = moved(server, "big")
    assert fetched <= len(offsets) * (PART_MIN + 2 * BLOCK)
    assert sent <= len(offsets) * (PART_MIN + 1)
    for offset in offsets:
        assert piece(s3, bucket, "big", offset, 8) == b"here" + synthetic(SEED, offset + 4, 4)


@pytest.mark.parametrize("size", [GIB - 1, 700 * MIB + 3, PART + 1, PART, 3 * MIB, 0])
@pytest.mark.parametrize("by_name", [True, False])
def test_truncate_down(big, server, s3, bucket, size, by_name):
    if by_name:
        os.truncate(big / "big", size)
    else:
        with open(big / "big", "r+b") as file:
            file.truncate(size)
    fetched, sent, _ = moved(server, "big")
    assert fetched <= min(size, PART) + BLOCK
    assert sent <= min(size, PART)
    if size > PART:
        assert fetched == sent == 0
    assert head(s3, bucket, "big")["ContentLength"] == size
    if size > 0:
        assert piece(s3, bucket, "big", size - 1, 1) == synthetic(SEED, size - 1, 1)


def test_truncate_up(big, server, s3, bucket):
    os.truncate(big / "big", GIB + 3)
    assert moved(server, "big")[:2] == (0, 3)
    assert piece(s3, bucket, "big", GIB - 1, 4) == synthetic(SEED, GIB - 1, 1) + bytes(3)


def test_a_copy_inside_the_mount(mount, server, s3, bucket):
    server.synth(bucket, key="big", size=6 * GIB, seed=SEED)
    mounted = mount()
    mounted.run("cp", "big", "copy")
    assert moved(server, "big") == (0, 0, 0)
    assert moved(server, "copy") == (0, 0, 12)
    for at in (0, COPY_MAX - 8, 6 * GIB - 16):
        assert piece(s3, bucket, "copy", at, 16) == synthetic(SEED, at, 16)


@pytest.mark.parametrize("part, size", [(None, 3 * GIB + 1), (None, 90 * GIB + 7),
                                        ("5M", 50 * GIB), ("5M", 10 * GIB)])
def test_very_large_objects(mount, server, s3, bucket, part, size):
    """Thousands of parts, and more than 10,000 of upload_part_size."""
    server.synth(bucket, key="big", size=size, seed=SEED)
    mounted = mount(options={"upload_part_size": part})
    middle = size // 2 + 3
    for offset, data in ((size, b"appended"), (middle, b"changed")):
        server.clear_log()
        change(mounted, offset, data)
        fetched, sent, _ = moved(server, "big")
        assert fetched <= EITHER_WAY_MAX
        assert sent <= EITHER_WAY_MAX
    assert head(s3, bucket, "big")["ContentLength"] == size + 8
    assert piece(s3, bucket, "big", size - 4, 12) == synthetic(SEED, size - 4, 4) + b"appended"
    assert piece(s3, bucket, "big", middle - 3, 12) == (
        synthetic(SEED, middle - 3, 3) + b"changed" + synthetic(SEED, middle + 7, 2))
    assert uploads(s3, bucket) == []


def test_a_sequential_read_of_a_file_that_is_open_for_writing(big, server):
    """It is read ahead, and each byte is fetched once, also after a change elsewhere."""
    size = 64 * MIB
    with open(big / "big", "r+b", buffering=0) as file:
        os.pwrite(file.fileno(), b"x", GIB - 1)
        for at in range(0, size, MIB):
            assert len(os.pread(file.fileno(), MIB, at)) == MIB
        asked = sorted(server.ranges("big"))
        os.ftruncate(file.fileno(), GIB)
    assert any(last - first + 1 > MIB for first, last in asked), "never more than was read"
    at = 0
    for first, last in asked:
        if at >= size:
            break  # what is ahead of the reader ends in any order
        assert first == at
        at = last + 1
    assert at >= size
