# SPDX-License-Identifier: Apache-2.0
"""Existing objects changed in place: what the mount shows, and what the bucket holds afterwards."""
import errno
import mmap
import os
import signal
import subprocess
import sys
import threading

import pytest

from support.data import checksum, content, file_checksum, object_checksum
from support.keys import put_all
from support.objects import body, exists, head, publications, uploads, wait_until

MIB = 1 << 20


def patched(data, *changes):
    """data with (offset, bytes) written over it; what is missing in between is zeros."""
    data = bytearray(data)
    for offset, piece in changes:
        data.extend(bytes(max(0, offset - len(data))))
        data[offset:offset + len(piece)] = piece
    return bytes(data)


def write_at(path, offset, piece, flags=os.O_WRONLY):
    fd = os.open(path, flags)
    try:
        assert os.pwrite(fd, piece, offset) == len(piece)
    finally:
        os.close(fd)


# -- writing

@pytest.mark.parametrize("size", [0, 1, 4096, 5 * MIB - 1, 5 * MIB, 5 * MIB + 1, 8 * MIB, 21 * MIB])
@pytest.mark.parametrize("part", [None, "5M"])
def test_bytes_are_written_anywhere(mount, s3, bucket, size, part):
    old = content("base%d" % size, size)
    put_all(s3, bucket, {"f": old})
    mounted = mount(options={"upload_part_size": part})
    expected = old
    for offset, piece in ((size // 2, b"middle"), (0, b"first"), (size, b"appended"),
                          (size + 100_000, b"beyond")):
        write_at(mounted / "f", offset, piece)
        expected = patched(expected, (offset, piece))
        assert (mounted / "f").stat().st_size == len(expected)
        assert object_checksum(s3, bucket, "f") == checksum(expected)
    assert file_checksum(mounted / "f") == checksum(expected)
    assert uploads(s3, bucket) == []


@pytest.mark.parametrize("size", [0, 1000, 5 * MIB, 12 * MIB])
def test_append(mount, s3, bucket, size):
    old = content("log%d" % size, size)
    put_all(s3, bucket, {"f": old})
    mounted = mount()
    mounted.shell("echo one >> f; echo two >> f; (echo three; echo four) >> f")
    assert body(s3, bucket, "f") == old + b"one\ntwo\nthree\nfour\n"
    assert (mounted / "f").stat().st_size == size + 19


def test_a_long_append_streams(mount, s3, bucket):
    old, more = content("stream", 12 * MIB), content("more", 48 * MIB)
    put_all(s3, bucket, {"f": old})
    mounted = mount(options={"memory": "64M"})
    with open(mounted / "f", "ab") as file:
        file.write(more[:40 * MIB])
        file.flush()
        wait_until(lambda: uploads(s3, bucket), "an upload to begin")
        assert body(s3, bucket, "f") == old
        file.write(more[40 * MIB:])
    assert object_checksum(s3, bucket, "f") == checksum(old + more)
    assert uploads(s3, bucket) == []


def test_what_is_written_is_read_back(mount, s3, bucket):
    old = content("rdwr", 9 * MIB)
    put_all(s3, bucket, {"f": old})
    mounted = mount()
    fd = os.open(mounted / "f", os.O_RDWR)
    assert os.pread(fd, 1000, 3 * MIB) == old[3 * MIB:3 * MIB + 1000]
    os.pwrite(fd, b"new", 3 * MIB + 10)
    expected = patched(old, (3 * MIB + 10, b"new"))
    assert os.pread(fd, 1000, 3 * MIB) == expected[3 * MIB:3 * MIB + 1000]
    assert file_checksum(mounted / "f") == checksum(expected)
    assert body(s3, bucket, "f") == old
    os.fsync(fd)
    assert body(s3, bucket, "f") == expected
    os.pwrite(fd, b"again", 0)
    os.close(fd)
    assert body(s3, bucket, "f") == patched(expected, (0, b"again"))


def test_other_handles_see_new_bytes_at_once(mount, s3, bucket):
    put_all(s3, bucket, {"f": b"old bytes"})
    mounted = mount()
    with open(mounted / "f", "rb", buffering=0) as reader:
        assert reader.read() == b"old bytes"
        with open(mounted / "f", "r+b", buffering=0) as writer:
            writer.write(b"NEW")
            assert os.pread(reader.fileno(), 100, 0) == b"NEW bytes"
            assert (mounted / "f").read_bytes() == b"NEW bytes"
            writer.seek(0, os.SEEK_END)
            writer.write(b" and more")
            assert os.pread(reader.fileno(), 100, 0) == b"NEW bytes and more"
            assert os.fstat(reader.fileno()).st_size == 18
    assert body(s3, bucket, "f") == b"NEW bytes and more"


def test_two_writers_of_one_mount(mount, s3, bucket):
    put_all(s3, bucket, {"f": b"........"})
    mounted = mount()
    with open(mounted / "f", "r+b", buffering=0) as one, \
            open(mounted / "f", "r+b", buffering=0) as two:
        one.write(b"11")
        two.seek(4)
        two.write(b"22")
    assert body(s3, bucket, "f") == b"11..22.."


@pytest.mark.parametrize("size", [10_000, 10 * MIB])
def test_a_shared_mapping(mount, s3, bucket, size):
    old = content("map", size)
    put_all(s3, bucket, {"f": old})
    mounted = mount()
    fd = os.open(mounted / "f", os.O_RDWR)
    mapping = mmap.mmap(fd, size)
    os.close(fd)
    mapping[5000:5003] = b"abc"
    mapping[size - 3:] = b"xyz"
    mapping.flush()
    assert (mounted / "f").read_bytes()[5000:5003] == b"abc"
    mapping.close()
    expected = patched(old, (5000, b"abc"), (size - 3, b"xyz"))
    wait_until(lambda: body(s3, bucket, "f") == expected, "the mapping to be stored")


# -- sizes

@pytest.mark.parametrize("by_name", [True, False])
@pytest.mark.parametrize("size", [100, 5 * MIB, 12 * MIB])
def test_truncate(mount, s3, bucket, size, by_name):
    old = content("cut", size)
    put_all(s3, bucket, {"f": old})
    mounted = mount()
    for now in (size - 1, size + 5000, size // 3, 0, 70_000):
        if by_name:
            os.truncate(mounted / "f", now)
        else:
            with open(mounted / "f", "r+b", buffering=0) as file:
                file.truncate(now)
        old = old[:now] + bytes(max(0, now - len(old)))
        assert object_checksum(s3, bucket, "f") == checksum(old)
        assert (mounted / "f").stat().st_size == now
        assert file_checksum(mounted / "f") == checksum(old)


def test_truncate_by_name_is_stored_though_another_holds_the_file(mount, s3, bucket):
    put_all(s3, bucket, {"f": b"long enough"})
    mounted = mount()
    with open(mounted / "f", "r+b", buffering=0) as file:
        os.truncate(mounted / "f", 4)
        assert body(s3, bucket, "f") == b"long"
        file.write(b"L")
        os.truncate(mounted / "f", 2)
        assert os.fstat(file.fileno()).st_size == 2
        assert body(s3, bucket, "f") == b"long"  # with the other's bytes, when he closes
    assert body(s3, bucket, "f") == b"Lo"


def test_what_was_cut_off_does_not_come_back(mount, s3, bucket):
    put_all(s3, bucket, {"f": content("cut", 10 * MIB)})
    mounted = mount()
    with open(mounted / "f", "r+b", buffering=0) as file:
        file.truncate(3 * MIB + 1)
        file.truncate(11 * MIB)
        expected = content("cut", 10 * MIB)[:3 * MIB + 1] + bytes(8 * MIB - 1)
        assert file_checksum(mounted / "f") == checksum(expected)
    assert object_checksum(s3, bucket, "f") == checksum(expected)


# -- what goes along

def test_what_the_object_has_is_kept(mount, server, s3, bucket):
    settings = {"ContentType": "text/x-special", "CacheControl": "max-age=7",
                "ContentDisposition": "attachment", "ContentLanguage": "de",
                "Metadata": {"owner": "me", "note": "a b"}, "Tagging": "team=red&n=1"}
    if server.kind != "rgw":
        settings["StorageClass"] = "STANDARD_IA"
    for key, size in (("small", 1000), ("large", 12 * MIB)):
        s3.put_object(Bucket=bucket, Key=key, Body=content(key, size), **settings)
    mounted = mount(options={"storage_class": "STANDARD"})
    for key, size in (("small", 1000), ("large", 12 * MIB)):
        for change in (lambda: write_at(mounted / key, 10, b"x"),
                       lambda: os.truncate(mounted / key, size - 1),
                       lambda: os.truncate(mounted / key, 0)):
            change()
            found = head(s3, bucket, key)
            for name in ("ContentType", "CacheControl", "ContentDisposition", "ContentLanguage",
                         "StorageClass"):
                assert found.get(name) == settings.get(name), name
            assert {name: found["Metadata"].get(name) for name in ("owner", "note")} == \
                settings["Metadata"]
            if server.kind == "rgw" and key == "large":
                continue  # RGW 16.2 ignores the tags of CreateMultipartUpload
            tags = s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]
            assert {tag["Key"]: tag["Value"] for tag in tags} == {"team": "red", "n": "1"}


def test_touch_of_an_object_keeps_its_bytes(mount, s3, bucket):
    put_all(s3, bucket, {"f": b"bytes"})
    mounted = mount()
    mounted.run("touch", "-d", "2020-02-02 02:02:02 UTC", "f")
    assert (mounted / "f").stat().st_mtime == 1580608922
    assert body(s3, bucket, "f") == b"bytes"
    fd = os.open(mounted / "f", os.O_RDWR)
    os.utime(fd, (5, 5))
    os.pwrite(fd, b"B", 0)
    os.close(fd)
    assert body(s3, bucket, "f") == b"Bytes"


# -- what it costs

@pytest.mark.s3d_only("its log tells what was asked")
def test_opening_for_writing_costs_nothing(mount, server, s3, bucket):
    put_all(s3, bucket, {"f": b"bytes"})
    mounted = mount(options={"metadata_ttl": "60"})
    assert (mounted / "f").stat().st_size == 5
    server.clear_log()
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND, os.O_RDWR | os.O_CREAT):
        os.close(os.open(mounted / "f", flags))
    assert server.count() == {}


# -- somebody else

@pytest.mark.parametrize("size", [100, 12 * MIB])
def test_a_change_by_somebody_else_wins(mount, s3, bucket, size):
    put_all(s3, bucket, {"f": content("theirs", size)})
    mounted = mount()
    mounted.expect("f is not published: Stale file handle")
    with open(mounted / "f", "rb") as reader:
        reader.read(10)
        file = open(mounted / "f", "r+b", buffering=0)
        file.write(b"mine")
        s3.put_object(Bucket=bucket, Key="f", Body=b"theirs now")
        with pytest.raises(OSError) as caught:
            file.close()
        assert caught.value.errno == errno.ESTALE
    assert body(s3, bucket, "f") == b"theirs now"
    assert (mounted / "f").read_bytes() == b"theirs now"
    wait_until(lambda: uploads(s3, bucket) == [], "the upload to be aborted")


def test_an_object_that_somebody_has_removed_is_not_made_again(mount, s3, bucket):
    put_all(s3, bucket, {"f": b"bytes"})
    mounted = mount()
    mounted.expect("f is not published: ")
    file = open(mounted / "f", "ab", buffering=0)
    file.write(b"mine")
    s3.delete_object(Bucket=bucket, Key="f")
    with pytest.raises(OSError) as caught:
        file.close()
    assert caught.value.errno == errno.ESTALE
    assert not exists(s3, bucket, "f")
    assert not (mounted / "f").exists()


def test_a_handle_that_wrote_nothing_hides_no_change(mount, s3, bucket):
    put_all(s3, bucket, {"f": b"one"})
    mounted = mount(options={"metadata_ttl": "0"})
    with open(mounted / "f", "r+b"):
        s3.put_object(Bucket=bucket, Key="f", Body=b"three")
        assert (mounted / "f").read_bytes() == b"three"
        assert (mounted / "f").stat().st_size == 5


@pytest.mark.s3d_only("a slow copy")
def test_looks_at_a_file_while_its_publication_ends(mount, server, s3, bucket):
    """The object is there already, but its metadata still has to be stored by a copy."""
    data = content("late", 20 * MIB)
    mounted = mount(options={"metadata_ttl": "0"})
    file = open(mounted / "f", "wb", buffering=0)
    file.write(data)
    wait_until(lambda: uploads(s3, bucket), "the upload to begin")
    os.utime(file.fileno(), (5, 5))
    server.faults({"match": {"op": "CopyObject", "bucket": bucket}, "do": {"delay_ms": 1500}})
    with open(mounted / "f", "rb") as reader:
        closer = threading.Thread(target=file.close)
        closer.start()
        looks = 0
        while closer.is_alive():
            assert (mounted / "f").stat().st_size == len(data)
            looks += 1
        closer.join()
        assert looks > 0
        assert checksum(reader.read()) == checksum(data)
        assert os.fstat(reader.fileno()).st_mtime == (mounted / "f").stat().st_mtime == 5


@pytest.mark.parametrize("how", ["r+b", "ab"])
def test_a_killed_writer_is_published(mount, s3, bucket, how):
    put_all(s3, bucket, {"f": b"................"})
    mounted = mount()
    program = "f = open('f', '%s', buffering=0); f.write(b'half'); print(flush=True); input()" % how
    writer = subprocess.Popen([sys.executable, "-c", program], cwd=mounted.path,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    writer.stdout.readline()
    writer.send_signal(signal.SIGKILL)
    writer.wait(10)
    writer.stdin.close()
    expected = b"half............" if how == "r+b" else b"................half"
    wait_until(lambda: body(s3, bucket, "f") == expected, "the change", 20)


# -- renamed while it is open

@pytest.mark.parametrize("what", ["written", "replaced by a copy", "truncated"])
def test_an_object_that_was_renamed_while_it_is_open_goes_on(mount, s3, bucket, what):
    """The copy has another ETag than what was opened, and the next condition asks for that one."""
    data, other = content("renamed", 12 * MIB), content("other", 12 * MIB)
    put_all(s3, bucket, {"f": data, "other": other})
    mounted = mount(options={"upload_part_size": "5M"})
    with open(mounted / "f", "r+b", buffering=0) as file:
        if what == "replaced by a copy":
            with open(mounted / "other", "rb") as source:
                assert os.copy_file_range(source.fileno(), file.fileno(), 12 * MIB) == 12 * MIB
            data = other
        elif what == "truncated":
            file.truncate(0)
            data = b""
        os.rename(mounted / "f", mounted / "g")
        file.seek(100)
        file.write(b"changed")
        os.fsync(file.fileno())
        assert body(s3, bucket, "g") == patched(data, (100, b"changed"))
        os.rename(mounted / "g", mounted / "h")
        file.write(b" twice")
    assert body(s3, bucket, "h") == patched(data, (100, b"changed twice"))
    assert not exists(s3, bucket, "f") and not exists(s3, bucket, "g")


# -- refusals

def test_safe_refuses_changes(mount, s3, bucket):
    put_all(s3, bucket, {"f": b"x"})
    mounted = mount(options={"safe": True})
    for call in (lambda: os.open(mounted / "f", os.O_WRONLY),
                 lambda: os.open(mounted / "f", os.O_RDWR),
                 lambda: os.open(mounted / "f", os.O_WRONLY | os.O_APPEND),
                 lambda: os.truncate(mounted / "f", 0), lambda: os.truncate(mounted / "f", 9)):
        with pytest.raises(OSError) as caught:
            call()
        assert caught.value.errno == errno.EPERM
    assert body(s3, bucket, "f") == b"x"


@pytest.mark.s3d_only("archive classes")
def test_an_archived_object_is_not_changed(mount, s3, bucket):
    s3.put_object(Bucket=bucket, Key="f", Body=b"cold", StorageClass="GLACIER")
    mounted = mount()
    mounted.expect("f is archived")
    for call in (lambda: os.open(mounted / "f", os.O_WRONLY | os.O_APPEND),
                 lambda: os.open(mounted / "f", os.O_RDWR),
                 lambda: os.truncate(mounted / "f", 2)):
        with pytest.raises(OSError) as caught:
            call()
        assert caught.value.errno == errno.EACCES
    (mounted / "f").write_bytes(b"warm")
    assert body(s3, bucket, "f") == b"warm"
