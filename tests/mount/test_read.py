# SPDX-License-Identifier: Apache-2.0
"""Reading a file gives the object's bytes, with any program and any pattern."""
import errno
import mmap
import os
import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from support import data
from support.data import MIB

BLOCK = 131072

SIZES = [0, 1, 4095, 4096, 4097, BLOCK - 1, BLOCK, BLOCK + 1, MIB - 1, MIB, MIB + 1,
         3 * MIB + 5, 9 * MIB, 9 * MIB + 1, 16 * MIB - 1, 33 * MIB + 7]


@pytest.fixture
def put(s3, bucket):
    """Puts an object by the independent client and gives its content."""
    def put_object(key, size, seed=None):
        body = data.content(seed or key, size)
        s3.put_object(Bucket=bucket, Key=key, Body=body)
        return body
    return put_object


@pytest.mark.parametrize("size", SIZES)
def test_cat_gives_every_byte_of_an_object_of_size(mount, put, size):
    body = put("file", size)
    mounted = mount()
    assert (mounted / "file").stat().st_size == size
    assert mounted.run("cat", "file").stdout == body


@pytest.mark.parametrize("size", SIZES)
def test_a_large_read_gives_every_byte_of_an_object_of_size(mount, put, size):
    body = put("file", size)
    with open(mount() / "file", "rb", buffering=0) as file:
        assert file.read() == body


@pytest.mark.concurrent
def test_cp_copies_an_object_out_of_the_mount(mount, put, tmp_path):
    body = put("dir/file", 40 * MIB + 3)
    mount().run("cp", "dir/file", tmp_path / "copy")
    assert data.file_checksum(tmp_path / "copy") == data.checksum(body)


def test_cp_of_a_tree_copies_every_file(mount, put, tmp_path):
    bodies = {name: put("tree/" + name, size) for name, size in
              (("a", 0), ("b", 5), ("c/d", BLOCK + 1), ("c/e/f", 2 * MIB))}
    mount().run("cp", "-r", "tree", tmp_path)
    found = {str(path.relative_to(tmp_path / "tree")): path.read_bytes()
             for path in (tmp_path / "tree").rglob("*") if path.is_file()}
    assert found == bodies


@pytest.mark.parametrize("block_size", [1000, 4096, 65537, MIB, 3 * MIB + 1])
def test_dd_reads_with_blocks_of(mount, put, block_size):
    body = put("file", 6 * MIB + 11)
    assert mount().run("dd", "if=file", "bs=%d" % block_size, "status=none").stdout == body


def test_dd_skips_to_any_offset(mount, put):
    body = put("file", 5 * MIB)
    got = mount().run("dd", "if=file", "bs=1000", "skip=2345", "count=77", "status=none").stdout
    assert got == body[2345000:2345000 + 77000]


def test_dd_reads_past_the_page_cache(mount, put):
    body = put("file", 5 * MIB + 100)
    got = mount().run("dd", "if=file", "bs=1M", "iflag=direct", "status=none").stdout
    assert got == body


def test_cmp_finds_equal_files_equal_and_names_the_first_difference(mount, s3, bucket, put):
    body = bytearray(put("one", 3 * MIB))
    put("two", 3 * MIB, seed="one")
    body[2 * MIB + 1] ^= 1
    s3.put_object(Bucket=bucket, Key="three", Body=bytes(body))
    mounted = mount()
    mounted.run("cmp", "one", "two")
    done = mounted.run("cmp", "one", "three", check=False)
    assert done.returncode == 1
    assert b"byte %d" % (2 * MIB + 2) in done.stdout


def test_tail_reads_the_end_and_head_the_beginning(mount, put):
    body = put("file", 20 * MIB + 9)
    mounted = mount()
    assert mounted.run("tail", "-c", "1000", "file").stdout == body[-1000:]
    assert mounted.run("head", "-c", "1000", "file").stdout == body[:1000]


def test_grep_and_wc_read_text(mount, s3, bucket):
    lines = ["line %d" % number for number in range(100000)]
    s3.put_object(Bucket=bucket, Key="text", Body="\n".join(lines).encode() + b"\n")
    mounted = mount()
    assert mounted.shell("wc -l < text").strip() == "100000"
    assert mounted.shell("grep -n '^line 77777$' text").strip() == "77778:line 77777"


@pytest.mark.concurrent
def test_random_reads_give_the_right_bytes(mount, put):
    body = put("file", 24 * MIB + 17)
    chance = random.Random(4711)
    with open(mount() / "file", "rb", buffering=0) as file:
        for _ in range(400):
            offset = chance.randrange(len(body))
            length = chance.choice([1, 10, 4096, 5000, BLOCK, 300000])
            assert os.pread(file.fileno(), length, offset) == body[offset:offset + length]


def test_random_reads_past_the_page_cache_give_the_right_bytes(mount, put):
    body = put("file", 8 * MIB + 4096)
    chance = random.Random(815)
    buffer = mmap.mmap(-1, 256 * 1024)  # O_DIRECT wants an aligned buffer
    descriptor = os.open(mount() / "file", os.O_RDONLY | os.O_DIRECT)
    try:
        for _ in range(100):
            offset = chance.randrange(len(body) // 4096) * 4096
            got = os.preadv(descriptor, [buffer], offset)
            assert buffer[:got] == body[offset:offset + len(buffer)]
    finally:
        os.close(descriptor)


def test_reading_backwards_gives_the_right_bytes(mount, put):
    body = put("file", 10 * MIB + 5)
    with open(mount() / "file", "rb", buffering=0) as file:
        for end in range(len(body), 0, -65536):
            start = max(0, end - 65536)
            assert os.pread(file.fileno(), end - start, start) == body[start:end]


def test_strided_reads_give_the_right_bytes(mount, put):
    body = put("file", 12 * MIB)
    with open(mount() / "file", "rb", buffering=0) as file:
        for start in range(0, len(body), 300000):
            assert os.pread(file.fileno(), 5000, start) == body[start:start + 5000]


def test_a_read_across_the_end_is_short_and_one_behind_it_is_empty(mount, put):
    body = put("file", BLOCK + 100)
    with open(mount() / "file", "rb", buffering=0) as file:
        assert os.pread(file.fileno(), 4096, BLOCK) == body[BLOCK:]
        assert os.pread(file.fileno(), 4096, len(body)) == b""
        assert os.pread(file.fileno(), 4096, 1 << 40) == b""


@pytest.mark.concurrent
def test_a_mapped_file_shows_the_right_bytes(mount, put):
    body = put("file", 7 * MIB + 123)
    chance = random.Random(99)
    with open(mount() / "file", "rb") as file:
        with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
            assert len(mapped) == len(body)
            for _ in range(200):
                offset = chance.randrange(len(body))
                assert mapped[offset:offset + 700] == body[offset:offset + 700]
            assert mapped[:] == body


@pytest.mark.concurrent
def test_sixteen_readers_of_one_file_get_the_same_bytes(mount, put):
    body = put("file", 16 * MIB + 1)
    path = mount() / "file"
    with ThreadPoolExecutor(16) as pool:
        sums = set(pool.map(lambda _: data.file_checksum(path), range(16)))
    assert sums == {data.checksum(body)}


@pytest.mark.concurrent
def test_readers_at_different_places_of_one_descriptor_do_not_disturb_each_other(mount, put):
    body = put("file", 16 * MIB)
    descriptor = os.open(mount() / "file", os.O_RDONLY)

    def read_region(index):
        start = index * 2 * MIB
        pieces = [os.pread(descriptor, 100000, at) for at in range(start, start + 2 * MIB, 100000)]
        return b"".join(pieces)[:2 * MIB] == body[start:start + 2 * MIB]

    try:
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(read_region, range(8)))
    finally:
        os.close(descriptor)


@pytest.mark.concurrent
def test_readers_of_many_files_each_get_their_own_bytes(mount, put):
    sums = {"f%d" % number: data.checksum(put("f%d" % number, 2 * MIB + number))
            for number in range(24)}
    mounted = mount()
    with ThreadPoolExecutor(24) as pool:
        found = dict(zip(sums, pool.map(lambda name: data.file_checksum(mounted / name), sums)))
    assert found == sums


def test_a_directory_cannot_be_read_as_a_file(mount, put):
    put("dir/file", 1)
    assert b"Is a directory" in mount().run("cat", "dir", check=False).stderr


@pytest.mark.s3d_only("objects of any size")
@pytest.mark.parametrize("offset", [0, (1 << 32) - 10, 1 << 32, 123456789012, 299999999000])
def test_far_offsets_of_an_object_of_300_gb_give_the_right_bytes(mount, server, bucket, offset):
    server.synth(bucket, key="big", size=300000000000, seed=11)
    with open(mount() / "big", "rb", buffering=0) as file:
        assert os.fstat(file.fileno()).st_size == 300000000000
        assert os.pread(file.fileno(), 1000, offset) == data.synthetic(11, offset, 1000)


@pytest.mark.s3d_only("a request log")
def test_a_copy_asks_each_byte_once_and_says_which_version(mount, server, put, tmp_path):
    size = 100 * MIB + 3
    put("file", size)
    mount().run("cp", "file", tmp_path / "copy")
    gets = server.log("GetObject")
    at = 0
    for first, last in sorted(server.ranges("file")):
        assert first == at
        at = last + 1
    assert at == size
    assert all("if-match" in get["headers"] for get in gets)


@pytest.mark.concurrent
@pytest.mark.s3d_only("a request log")
def test_two_readers_at_once_share_what_is_fetched(mount, server, put):
    size = 24 * MIB
    put("file", size)
    path = mount() / "file"
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: data.file_checksum(path), range(2)))
    assert sum(last - first + 1 for first, last in server.ranges("file")) == size


@pytest.mark.s3d_only("a request log")
def test_a_file_that_was_read_and_not_changed_is_not_fetched_again(mount, server, put):
    body = put("file", 4 * MIB)
    path = mount() / "file"
    assert data.file_checksum(path) == data.checksum(body)
    server.clear_log()
    time.sleep(1.2)  # longer than metadata_ttl: the open asks whether the version is the same
    assert data.file_checksum(path) == data.checksum(body)
    assert server.log("GetObject") == []


@pytest.mark.s3d_only("a request log")
def test_random_reads_ask_little_more_than_what_is_read(mount, server, bucket):
    server.synth(bucket, key="big", size=10 << 30, seed=3)
    chance = random.Random(17)
    with open(mount() / "big", "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        for _ in range(50):
            offset = chance.randrange((10 << 30) - 4096)
            assert os.pread(file.fileno(), 4096, offset) == data.synthetic(3, offset, 4096)
    asked = sum(last - first + 1 for first, last in server.ranges("big"))
    assert asked <= 50 * 2 * BLOCK  # a read may touch two blocks


@pytest.mark.s3d_only("a request log")
def test_an_empty_file_is_read_without_a_request_for_data(mount, server, put):
    put("empty", 0)
    assert mount().run("cat", "empty").stdout == b""
    assert server.log("GetObject") == []


@pytest.mark.alone
@pytest.mark.s3d_only("a delay before each answer")
def test_the_first_bytes_of_a_cold_file_take_two_round_trips(mount, server, put):
    body = put("dir/file", 30 * MIB)
    mounted = mount(options={"metadata_ttl": 60})
    os.stat(mounted / "dir")
    server.config(first_byte_ms=1000)
    begin = time.monotonic()
    with open(mounted / "dir" / "file", "rb", buffering=0) as file:
        assert file.read(4096) == body[:4096]
        assert time.monotonic() - begin < 2.9
        server.config(first_byte_ms=0)


def test_an_open_file_that_was_read_from_never_mixes_two_versions(mount, put):
    body = put("file", 24 * MIB)
    mounted = mount(options={"memory": "64M"})
    with open(mounted / "file", "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        assert os.pread(file.fileno(), 4096, 0) == body[:4096]
        put("file", 24 * MIB, seed="another")
        with pytest.raises(OSError) as error:
            os.pread(file.fileno(), 4096, 23 * MIB)
        assert error.value.errno == errno.ESTALE


def test_an_open_file_that_was_not_read_from_moves_to_the_new_version(mount, put):
    put("file", MIB)
    with open(mount() / "file", "rb", buffering=0) as file:
        body = put("file", MIB, seed="another")
        assert os.pread(file.fileno(), 4096, 0) == body[:4096]


def test_a_replaced_object_is_read_anew_at_the_next_open(mount, put):
    put("file", 3 * MIB)
    path = mount() / "file"
    data.file_checksum(path)
    body = put("file", 2 * MIB + 1, seed="another")
    end = time.monotonic() + 10
    while path.stat().st_size != len(body) and time.monotonic() < end:
        time.sleep(0.05)
    assert path.read_bytes() == body


def test_an_object_deleted_while_open_ends_in_estale(mount, s3, bucket, put):
    put("file", 24 * MIB)
    with open(mount() / "file", "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        os.pread(file.fileno(), 4096, 0)
        s3.delete_object(Bucket=bucket, Key="file")
        with pytest.raises(OSError) as error:
            os.pread(file.fileno(), 4096, 20 * MIB)
        assert error.value.errno == errno.ESTALE


@pytest.mark.s3d_only("archive storage classes")
def test_an_archived_object_cannot_be_opened_and_the_log_names_its_class(mount, s3, bucket):
    s3.put_object(Bucket=bucket, Key="cold", Body=b"x", StorageClass="GLACIER")
    mounted = mount()
    mounted.tolerate("GLACIER")
    with pytest.raises(PermissionError):
        open(mounted / "cold", "rb")
    assert "GLACIER" in mounted.log()


@pytest.mark.parametrize("command", [
    "echo x > new", "echo x > file", "echo x >> file", "rm file", "mkdir new", "rmdir dir",
    "mv file other", "ln -s file link", "truncate -s 1 file", "mkfifo pipe", "touch new",
])
def test_a_read_only_mount_refuses(mount, put, s3, bucket, command):
    put("file", 10)
    put("dir/file", 1)
    done = mount(options={"ro": True}).run("bash", "-c", command, check=False)
    assert done.returncode != 0
    assert b"Read-only file system" in done.stderr
    keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert keys == ["dir/file", "file"]
