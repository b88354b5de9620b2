# SPDX-License-Identifier: Apache-2.0
"""posix mode: what attributes cost. Requests are counted in s3d's log."""
import errno
import os
import threading
import time

import pytest

from support.keys import put_all
from support.objects import body, head, wait_until

NAMES = 10_000 if os.environ.get("PAILFS_LONG") else 1_000
IN_FLIGHT = 64


@pytest.mark.s3d_only("a log of requests")
@pytest.mark.bounded(300)
def test_ls_of_a_large_directory(mount, s3, bucket, server):
    """Attributes of N names: N HEADs, 64 at once, and none the second time."""
    names = ["f%05d" % number for number in range(NAMES)]
    for name in names:
        server.put(bucket, "d/" + name, b"x", headers={"x-amz-meta-mode": str(0o100640)})
    server.config(first_byte_ms=20)
    mounted = mount(options={"posix": True, "metadata_ttl": "600s"})
    server.clear_log()
    lines = mounted.run("ls", "-l", "d", timeout=200).stdout.decode().splitlines()[1:]
    assert len(lines) == NAMES
    assert all(line.startswith("-rw-r-----") for line in lines)
    heads = [entry for entry in server.log("HeadObject") if entry["key"] in
             {"d/" + name for name in names}]
    assert len(heads) == NAMES
    assert len({entry["key"] for entry in heads}) == NAMES
    assert IN_FLIGHT // 2 <= max(entry["concurrent"] for entry in heads) <= IN_FLIGHT + 2
    server.clear_log()
    mounted.run("ls", "-l", "d", timeout=200)
    assert server.count()["HeadObject"] == 0


@pytest.mark.s3d_only("a log of requests")
def test_one_name_is_one_head(mount, s3, bucket, server):
    put_all(s3, bucket, {"d/f%03d" % number: b"x" for number in range(200)})
    mounted = mount(options={"posix": True, "metadata_ttl": "600s"})
    assert len(os.listdir(mounted / "d")) == 200
    assert [entry for entry in server.log("HeadObject") if entry["key"].startswith("d/f")] == []
    server.clear_log()
    os.stat(mounted / "d" / "f150")
    assert [entry["key"] for entry in server.log("HeadObject")] == ["d/f150"]


@pytest.mark.s3d_only("a log of requests")
def test_own_files_need_no_head(mount, s3, bucket, server):
    mounted = mount(options={"posix": True, "metadata_ttl": "600s"})
    os.mkdir(mounted / "d")
    for number in range(50):
        (mounted / "d" / ("f%d" % number)).write_bytes(b"x%d" % number)
        os.chmod(mounted / "d" / ("f%d" % number), 0o600 + number % 8)
    server.clear_log()
    seen = {entry.name: entry.stat().st_mode & 0o777 for entry in os.scandir(mounted / "d")}
    assert seen == {"f%d" % number: 0o600 + number % 8 for number in range(50)}
    assert [entry["key"] for entry in server.log("HeadObject") if "/f" in entry["key"]] == []


def put_in_parts(s3, bucket, key, content, part_bytes):
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    parts = []
    for number, start in enumerate(range(0, len(content), part_bytes), 1):
        answer = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number,
                                Body=content[start:start + part_bytes])
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload,
                                 MultipartUpload={"Parts": parts})


def test_chmod_of_a_multipart_object(mount, s3, bucket, server):
    """The ETag changes with the copy: open handles go on, and in-place changes know it."""
    content = os.urandom(1 << 20) * 11
    put_in_parts(s3, bucket, "f", content, 5 << 20)
    mounted = mount(options={"posix": True})
    etag = head(s3, bucket, "f")["ETag"]
    with open(mounted / "f", "rb", buffering=0) as reader, open(mounted / "f", "r+b") as writer:
        assert reader.read(1000) == content[:1000]
        os.chmod(mounted / "f", 0o640)
        assert head(s3, bucket, "f")["Metadata"]["mode"] == str(0o100640)
        if server.kind != "rgw":  # which keeps it
            assert head(s3, bucket, "f")["ETag"] != etag
        assert b"".join(iter(lambda: reader.read(1 << 20), b"")) == content[1000:]
        writer.seek(6 << 20)
        writer.write(b"changed")
    assert os.stat(mounted / "f").st_mode & 0o777 == 0o640
    stored = s3.get_object(Bucket=bucket, Key="f")["Body"].read()
    assert stored == content[:6 << 20] + b"changed" + content[(6 << 20) + 7:]


@pytest.mark.s3d_only("a slow copy")
@pytest.mark.parametrize("posix, parts", [(True, 1), (True, 2), (False, 2)])
def test_a_file_that_is_opened_while_it_is_changed(mount, s3, bucket, server, posix, parts):
    """Neither the change nor what is appended is lost, whether the copy moves the ETag or not."""
    content = os.urandom(6 << 20)
    put_in_parts(s3, bucket, "f", content, len(content) if parts == 1 else 5 << 20)
    mounted = mount(options={"posix": posix})
    os.stat(mounted / "f")
    server.clear_log()
    server.faults({"match": {"op": "CopyObject", "bucket": bucket}, "count": 1,
                   "do": {"delay_ms": 1000}})
    change = (lambda: os.chmod(mounted / "f", 0o640)) if posix else (
        lambda: os.utime(mounted / "f", (5, 5)))
    changer = threading.Thread(target=change)
    changer.start()
    wait_until(lambda: server.log("HeadObject", key="f"), "the change to begin", 20)
    fd = os.open(mounted / "f", os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"more")
    os.close(fd)
    changer.join()
    assert body(s3, bucket, "f") == content + b"more"
    if posix:
        assert head(s3, bucket, "f")["Metadata"]["mode"] == str(0o100640)
        assert os.stat(mounted / "f").st_mode & 0o777 == 0o640


@pytest.mark.s3d_only("a log of requests")
def test_directories_are_asked_for_again_together(mount, s3, bucket, server):
    """Their markers expire with the listing that they were asked for with."""
    names = {"d%02d" % number for number in range(60)}
    put_all(s3, bucket, {"p/" + name + "/": b"" for name in names})
    server.config(first_byte_ms=20)
    mounted = mount(options={"posix": True, "metadata_ttl": "1s"})

    def asked():
        server.clear_log()
        mounted.run("ls", "-l", "p")
        return [entry for entry in server.log("HeadObject") if entry["key"][2:-1] in names]
    assert {entry["key"][2:-1] for entry in asked()} == names
    time.sleep(1.1)
    heads = asked()
    assert {entry["key"][2:-1] for entry in heads} == names
    assert max(entry["concurrent"] for entry in heads) >= 4


def test_prefix_mount_stores_attributes_of_its_top(mount, s3, bucket):
    put_all(s3, bucket, {"p/q/f": b"x"})
    os.chmod(mount(prefix="p/q", options={"posix": True}).path, 0o711)
    assert head(s3, bucket, "p/q/")["Metadata"]["mode"] == str(0o40711)
    again = mount(prefix="p/q", options={"posix": True})
    assert os.stat(again.path).st_mode & 0o777 == 0o711


def test_the_top_of_a_bucket_remembers(mount, s3, bucket):
    mounted = mount(options={"posix": True})
    os.chmod(mounted.path, 0o711)
    os.utime(mounted.path, ns=(5, 6_000_000_007))
    assert os.stat(mounted.path).st_mode & 0o777 == 0o711
    assert os.stat(mounted.path).st_mtime_ns == 6_000_000_007
    assert "are kept until it is unmounted" in mounted.log()
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


# -- extended attributes

def test_xattrs(mount, s3, bucket):
    put_all(s3, bucket, {"f": b"x"})
    mounted = mount(options={"posix": True})
    path = mounted / "f"
    os.mkdir(mounted / "d")
    for name in ("f", "d"):
        os.setxattr(mounted / name, "user.a", b"one\0\xff")
        os.setxattr(mounted / name, "user.b", b"")
        os.setxattr(mounted / name, "user.b", b"2", os.XATTR_REPLACE)
    for place in (mounted, mount(options={"posix": True})):
        for name in ("f", "d"):
            assert sorted(os.listxattr(place / name)) == ["user.a", "user.b"]
            assert os.getxattr(place / name, "user.a") == b"one\0\xff"
            assert os.getxattr(place / name, "user.b") == b"2"
    for call, wanted in (
            (lambda: os.setxattr(path, "user.a", b"", os.XATTR_CREATE), errno.EEXIST),
            (lambda: os.setxattr(path, "user.c", b"", os.XATTR_REPLACE), errno.ENODATA),
            (lambda: os.getxattr(path, "user.c"), errno.ENODATA),
            (lambda: os.removexattr(path, "user.c"), errno.ENODATA),
            (lambda: os.setxattr(path, "user.s3.etag", b"x"), errno.EPERM),
            (lambda: os.setxattr(path, "trusted.a", b"x"), errno.EOPNOTSUPP),
            (lambda: os.setxattr(path, "user.big", bytes(1600)), errno.ENOSPC)):
        with pytest.raises(OSError) as caught:
            call()
        assert caught.value.errno == wanted
    assert "2048 bytes of metadata" in mounted.log()
    os.removexattr(path, "user.a")
    os.removexattr(path, "user.b")
    assert os.listxattr(path) == []
    assert "xattr" not in head(s3, bucket, "f")["Metadata"]


def test_what_s3_knows(mount, s3, bucket):
    s3.put_object(Bucket=bucket, Key="f", Body=b"x", ContentType="text/x-test",
                  CacheControl="max-age=3", Tagging="a=b&c=d")
    for options in ({"posix": True}, {"xattr": True}):
        mounted = mount(options=options)
        path = mounted / "f"
        assert os.getxattr(path, "user.s3.etag").decode() == head(s3, bucket, "f")["ETag"]
        assert os.getxattr(path, "user.s3.content_type") == b"text/x-test"
        assert os.getxattr(path, "user.s3.cache_control") == b"max-age=3"
        assert os.getxattr(path, "user.s3.storage_class") == b"STANDARD"
        assert sorted(os.getxattr(path, "user.s3.tags").split(b"&")) == [b"a=b", b"c=d"]
        assert os.listxattr(path) == []
        with pytest.raises(OSError) as caught:
            os.getxattr(path, "user.s3.nothing")
        assert caught.value.errno == errno.ENODATA


def test_default_mode_has_no_xattrs(mount, s3, bucket):
    put_all(s3, bucket, {"f": b"x"})
    path = mount() / "f"
    for call in (lambda: os.getxattr(path, "user.s3.etag"), lambda: os.listxattr(path),
                 lambda: os.setxattr(path, "user.a", b"")):
        with pytest.raises(OSError) as caught:
            call()
        assert caught.value.errno == errno.EOPNOTSUPP
