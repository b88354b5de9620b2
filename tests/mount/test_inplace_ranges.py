# SPDX-License-Identifier: Apache-2.0
"""fallocate, lseek and copy_file_range on objects and on files under write."""
import errno
import os

import pytest

from support.data import checksum, content, file_checksum, object_checksum
from support.keys import put_all
from support.objects import body, uploads, wait_until

MIB = 1 << 20


def with_zeros(data, offset, length):
    return data[:offset] + bytes(max(0, min(length, len(data) - offset))) + data[offset + length:]


def seek(fd, offset, whence):
    """What lseek answers; None for ENXIO."""
    try:
        return os.lseek(fd, offset, whence)
    except OSError as error:
        assert error.errno == errno.ENXIO
        return None


# -- fallocate

@pytest.mark.parametrize("spooled", [False, True])
@pytest.mark.parametrize("size", [100_000, 12 * MIB])
def test_punch_and_zero(mount, s3, bucket, size, spooled):
    """spooled: some of what is punched was written before, and lies in the spool."""
    expected = content("punch", size)
    put_all(s3, bucket, {"f": expected})
    mounted = mount(options={"memory": "32M"} if spooled else None)
    if spooled:
        with open(mounted / "f", "r+b", buffering=0) as file, \
                open(mounted / "filler", "wb", buffering=0) as filler:
            expected = content("new", size)
            file.write(expected)
            for _ in range(5):
                filler.write(content("filler", 8 * MIB))
            mounted.run("fallocate", "-p", "-o", "5000", "-l", "70000", "f")
            expected = with_zeros(expected, 5000, 70000)
            assert file_checksum(mounted / "f") == checksum(expected)
        assert object_checksum(s3, bucket, "f") == checksum(expected)
    for option, offset, length in (("-p", 10, 20), ("-p", size - 5, 100), ("-z", 1000, 5000),
                                   ("-p", size + 10, 10), ("-p", 0, size // 2)):
        mounted.run("fallocate", option, "-o", str(offset), "-l", str(length), "f")
        expected = with_zeros(expected, offset, length) if offset < size else expected
        assert object_checksum(s3, bucket, "f") == checksum(expected)
        assert file_checksum(mounted / "f") == checksum(expected)


def test_sizes_by_fallocate(mount, s3, bucket):
    put_all(s3, bucket, {"f": b"x" * 100})
    mounted = mount()
    for words, size in ((("-n", "-l", "9000"), 100), (("-l", "50"), 100), (("-l", "200"), 200),
                        (("-z", "-n", "-o", "190", "-l", "100"), 200),
                        (("-z", "-o", "190", "-l", "100"), 290)):
        mounted.run("fallocate", *words, "f")
        assert (mounted / "f").stat().st_size == size, words
        assert body(s3, bucket, "f") == b"x" * 100 + bytes(size - 100)


@pytest.mark.parametrize("option", ["-c", "-i"])
def test_collapse_and_insert_are_refused(mount, s3, bucket, option):
    put_all(s3, bucket, {"f": b"x" * 20000})
    done = mount().run("fallocate", option, "-o", "4096", "-l", "4096", "f", check=False)
    assert done.returncode != 0
    assert b"not supported" in done.stderr.lower()
    assert body(s3, bucket, "f") == b"x" * 20000


def test_fallocate_beyond_all_parts(mount, s3, bucket):
    mounted = mount()
    with open(mounted / "f", "wb") as file:
        with pytest.raises(OSError) as caught:
            os.posix_fallocate(file.fileno(), 0, 1 << 62)
        assert caught.value.errno == errno.EFBIG
        file.write(b"goes on")
    assert body(s3, bucket, "f") == b"goes on"


# -- lseek

def test_an_object_is_all_data(mount, s3, bucket):
    put_all(s3, bucket, {"f": bytes(300_000)})
    with open(mount() / "f", "rb") as file:
        fd = file.fileno()
        assert seek(fd, 100, os.SEEK_DATA) == 100
        assert seek(fd, 100, os.SEEK_HOLE) == 300_000
        assert seek(fd, 300_000, os.SEEK_DATA) is None
        assert seek(fd, 300_000, os.SEEK_HOLE) is None


@pytest.mark.parametrize("mode", [os.O_WRONLY, os.O_RDWR])
def test_holes_of_a_file_under_write(mount, mode):
    fd = os.open(mount() / "f", mode | os.O_CREAT)
    os.pwrite(fd, b"x" * MIB, 2 * MIB)
    os.ftruncate(fd, 5 * MIB)
    if mode == os.O_WRONLY:
        assert seek(fd, 0, os.SEEK_HOLE) == 0
        assert seek(fd, 0, os.SEEK_DATA) == 2 * MIB
        assert seek(fd, 2 * MIB + 5, os.SEEK_HOLE) == 3 * MIB
        assert seek(fd, 3 * MIB, os.SEEK_DATA) is None
    else:  # it may be mapped: the kernel has not said what was stored there
        assert seek(fd, 0, os.SEEK_HOLE) == 5 * MIB
        assert seek(fd, 3 * MIB, os.SEEK_DATA) == 3 * MIB
    assert seek(fd, 5 * MIB, os.SEEK_HOLE) is None
    os.close(fd)


# -- copy_file_range

def copy_range(source, target, length, at=0, to=0):
    """All of it, however many calls it takes."""
    while length > 0:
        count = os.copy_file_range(source, target, length, at, to)
        assert count > 0
        length, at, to = length - count, at + count, to + count


@pytest.mark.parametrize("size", [0, 100, 5 * MIB, 5 * MIB + 1, 30 * MIB])
def test_cp_inside_the_mount(mount, server, s3, bucket, size):
    data = content("cp", size)
    put_all(s3, bucket, {"a": data})
    mounted = mount()
    if server.kind != "rgw":
        server.clear_log()
    mounted.run("cp", "a", "b")
    if server.kind != "rgw" and size == 30 * MIB:
        assert server.count(bucket=bucket)["UploadPartCopy"] > 0
        assert sum(entry["op"] in ("GetObject", "UploadPart", "PutObject") and entry["key"] in "ab"
                   for entry in server.log()) == 0
    assert object_checksum(s3, bucket, "b") == checksum(data)
    assert file_checksum(mounted / "b") == checksum(data)
    mounted.run("cp", "b", "a")
    assert object_checksum(s3, bucket, "a") == checksum(data)


def test_ranges_of_several_objects(mount, s3, bucket):
    size = 12 * MIB
    a, b = content("a", size), content("b", size)
    put_all(s3, bucket, {"a": a, "b": b, "c": content("c", 20 * MIB)})
    mounted = mount()
    expected = content("c", 20 * MIB)
    with open(mounted / "a", "rb") as one, open(mounted / "b", "rb") as two, \
            open(mounted / "c", "r+b") as to:
        for source, data, at, where, length in ((one, a, 0, 0, size), (two, b, 100, 7 * MIB, 6 * MIB),
                                                (one, a, 5 * MIB, 6 * MIB + 1, 5 * MIB),
                                                (two, b, 0, 20 * MIB, size), (one, a, 3, 3, 10)):
            copy_range(source.fileno(), to.fileno(), length, at, where)
            expected = expected[:where] + data[at:at + length] + expected[where + length:]
            assert file_checksum(mounted / "c") == checksum(expected)
    assert object_checksum(s3, bucket, "c") == checksum(expected)


@pytest.mark.parametrize("shift", [0, 3 * MIB, 77])
def test_a_copy_that_is_written_over(mount, s3, bucket, shift):
    data = content("a", 24 * MIB)
    put_all(s3, bucket, {"a": data})
    mounted = mount()
    expected = bytearray(data[shift:])
    with open(mounted / "a", "rb") as source, open(mounted / "b", "w+b", buffering=0) as to:
        copy_range(source.fileno(), to.fileno(), len(data) - shift, shift, 0)
        os.pwrite(to.fileno(), b"patch", 9 * MIB)
        expected[9 * MIB:9 * MIB + 5] = b"patch"
        os.ftruncate(to.fileno(), 20 * MIB - 3)
        expected = expected[:20 * MIB - 3]
        os.pwrite(to.fileno(), b"end", 20 * MIB + 5)
        expected += bytes(8) + b"end"
        assert file_checksum(mounted / "b") == checksum(expected)
        os.fsync(to.fileno())
        assert object_checksum(s3, bucket, "b") == checksum(expected)
        os.pwrite(to.fileno(), b"again", 0)
        expected[:5] = b"again"
    assert object_checksum(s3, bucket, "b") == checksum(expected)
    assert body(s3, bucket, "a") == data
    assert uploads(s3, bucket) == []


@pytest.mark.parametrize("fate", ["unlinked", "written", "renamed", "touched", "replaced"])
def test_the_source_changes_before_the_copy_is_published(mount, s3, bucket, fate):
    data = content("a", 20 * MIB)
    put_all(s3, bucket, {"a": data})
    mounted = mount()
    with open(mounted / "b", "w+b", buffering=0) as to:
        with open(mounted / "a", "rb") as source:
            copy_range(source.fileno(), to.fileno(), len(data))
        if fate == "unlinked":
            os.unlink(mounted / "a")
        elif fate == "written":
            with open(mounted / "a", "r+b") as other:
                other.write(b"other")
        elif fate == "renamed":
            os.rename(mounted / "a", mounted / "c")
        elif fate == "touched":
            os.utime(mounted / "a", (1, 1))
        else:
            (mounted / "a").write_bytes(b"short")
        assert file_checksum(mounted / "b") == checksum(data)
    assert object_checksum(s3, bucket, "b") == checksum(data)


def test_the_source_is_changed_by_somebody_else(mount, s3, bucket):
    put_all(s3, bucket, {"a": content("a", 20 * MIB)})
    mounted = mount()
    mounted.expect("b is not published: Stale file handle")
    to = open(mounted / "b", "wb", buffering=0)
    with open(mounted / "a", "rb") as source:
        copy_range(source.fileno(), to.fileno(), 20 * MIB)
    s3.put_object(Bucket=bucket, Key="a", Body=b"theirs")
    with pytest.raises(OSError) as caught:
        to.close()
    assert caught.value.errno == errno.ESTALE
    wait_until(lambda: uploads(s3, bucket) == [], "the upload to be aborted")


def test_a_copy_of_what_was_removed(mount, s3, bucket):
    data = content("a", 20 * MIB)
    put_all(s3, bucket, {"a": data})
    mounted = mount()
    with open(mounted / "a", "rb") as source, open(mounted / "b", "wb") as to:
        source.read()
        os.unlink(mounted / "a")
        copy_range(source.fileno(), to.fileno(), len(data))
    assert object_checksum(s3, bucket, "b") == checksum(data)


def test_a_copy_of_what_is_being_written(mount, s3, bucket):
    data = bytearray(content("a", 20 * MIB))
    put_all(s3, bucket, {"a": bytes(data)})
    mounted = mount()
    with open(mounted / "a", "r+b", buffering=0) as source:
        os.pwrite(source.fileno(), b"unpublished", 11 * MIB)
        data[11 * MIB:11 * MIB + 11] = b"unpublished"
        with open(mounted / "b", "wb") as to:
            copy_range(source.fileno(), to.fileno(), len(data))
        assert object_checksum(s3, bucket, "b") == checksum(data)
        copy_range(source.fileno(), source.fileno(), 6 * MIB, 10 * MIB, 0)  # onto itself
        data[:6 * MIB] = data[10 * MIB:16 * MIB]
    assert object_checksum(s3, bucket, "a") == checksum(data)


def test_a_copy_that_is_renamed_before_it_is_published(mount, s3, bucket):
    data = content("a", 20 * MIB)
    put_all(s3, bucket, {"a": data})
    mounted = mount()
    with open(mounted / "b", "wb") as to, open(mounted / "a", "rb") as source:
        copy_range(source.fileno(), to.fileno(), len(data))
        os.rename(mounted / "b", mounted / "c")
        os.rename(mounted / "c", mounted / "a")  # onto its own source
    assert object_checksum(s3, bucket, "a") == checksum(data)
