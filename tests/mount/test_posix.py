# SPDX-License-Identifier: Apache-2.0
"""posix mode: attributes live in metadata, whatever tool wrote it, and are changed in place."""
import errno
import os
import socket
import stat
import subprocess
import time

import pytest

from support.keys import put_all
from support.objects import body, head, wait_until

MTIME = 1_500_000_000
NS = 1_000_000_000


def put(s3, bucket, key, content=b"", content_type="application/octet-stream", **metadata):
    s3.put_object(Bucket=bucket, Key=key, Body=content, ContentType=content_type,
                  Metadata={name.replace("__", "--").replace("_", "-"): value
                            for name, value in metadata.items()})


def shown(path):
    st = os.lstat(path)
    return oct(st.st_mode), st.st_uid, st.st_gid, st.st_mtime_ns


def meta(s3, bucket, key):
    return head(s3, bucket, key)["Metadata"]


# -- read: the dialects of other tools

DIALECTS = {
    "s3fs": ({"mode": "33152", "uid": "1234", "gid": "4321", "mtime": "1500000000.123456789"},
             (oct(0o100600), 1234, 4321, MTIME * NS + 123456789)),
    "s3fs-seconds": ({"mode": "33261", "uid": "0", "gid": "0", "mtime": "1500000000"},
                     (oct(0o100755), 0, 0, MTIME * NS)),
    "aws": ({"file_permissions": "0100640", "file_owner": "12", "file_group": "13",
             "file_mtime": "1500000000123456789ns"},
            (oct(0o100640), 12, 13, MTIME * NS + 123456789)),
    "aws-milliseconds": ({"file_permissions": "0100640", "file_owner": "12", "file_group": "13",
                          "file_mtime": "1500000000123"},
                         (oct(0o100640), 12, 13, MTIME * NS + 123000000)),
    "rclone": ({"mode": "100604", "uid": "5", "gid": "6", "mtime": "1500000000.5"},
               (oct(0o100604), 5, 6, MTIME * NS + 500000000)),
    "geesefs": ({"mode": "33060", "uid": "7", "gid": "8", "mtime": "1500000000"},
                (oct(0o100444), 7, 8, MTIME * NS)),
    "gcs": ({"goog_reserved_posix_mode": "620", "goog_reserved_posix_uid": "9",
             "goog_reserved_posix_gid": "10", "goog_reserved_file_mtime": "1500000000"},
            (oct(0o100620), 9, 10, MTIME * NS)),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_dialects(mount, s3, bucket, dialect):
    metadata, expected = DIALECTS[dialect]
    put(s3, bucket, "f", b"x", **metadata)
    mounted = mount(options={"posix": True})
    assert shown(mounted / "f") == expected


def test_nothing_stored_shows_the_mounts_defaults(mount, s3, bucket):
    put_all(s3, bucket, {"f": b"x", "d/f": b"y"})
    mounted = mount(options={"posix": True, "uid": 77, "gid": 78, "file_mode": "0640",
                             "dir_mode": "0750"})
    modified = int(head(s3, bucket, "f")["LastModified"].timestamp())
    mode, uid, gid, mtime = shown(mounted / "f")
    assert (mode, uid, gid, mtime // NS) == (oct(0o100640), 77, 78, modified)
    assert shown(mounted / "d")[:3] == (oct(0o40750), 77, 78)


def test_set_id_bits_are_shown_on_demand_only(mount, s3, bucket):
    put(s3, bucket, "f", b"x", mode=str(0o106755))
    assert shown(mount(options={"posix": True}) / "f")[0] == oct(0o100755)
    assert shown(mount(options={"posix": True, "allow_suid": True}) / "f")[0] == oct(0o106755)


def test_symlinks_of_others(mount, s3, bucket):
    put(s3, bucket, "s3fs", b"target/one", mode="41471")
    put(s3, bucket, "aws", b"target/two", file_permissions="0120777")
    put(s3, bucket, "geesefs", b"", **{"__symlink_target": "target%20three"})
    mounted = mount(options={"posix": True})
    assert os.readlink(mounted / "s3fs") == "target/one"
    assert os.readlink(mounted / "aws") == "target/two"
    assert os.readlink(mounted / "geesefs") == "target three"
    assert os.lstat(mounted / "geesefs").st_size == len("target three")
    with pytest.raises(OSError) as caught:
        put(s3, bucket, "plain", b"x")
        os.readlink(mounted / "plain")
    assert caught.value.errno == errno.EINVAL


def test_directories_of_others(mount, s3, bucket):
    put(s3, bucket, "new/", content_type="application/x-directory", mode="16832", uid="3",
        gid="4", mtime="1500000000")
    put(s3, bucket, "old", content_type="application/x-directory", mode="16749", uid="5", gid="6",
        mtime="1500000000")
    put(s3, bucket, "empty")
    mounted = mount(options={"posix": True})
    assert shown(mounted / "new") == (oct(0o40700), 3, 4, MTIME * NS)
    assert shown(mounted / "old") == (oct(0o40555), 5, 6, MTIME * NS)
    assert sorted(os.listdir(mounted.path)) == ["empty", "new", "old"]
    assert {entry.name: entry.is_dir() for entry in os.scandir(mounted.path)} == {
        "empty": False, "new": True, "old": True}
    os.rmdir(mounted / "old")
    os.rmdir(mounted / "new")
    assert os.listdir(mounted.path) == ["empty"]
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["empty"]


def test_what_another_client_changes_is_seen(mount, s3, bucket):
    put(s3, bucket, "f", b"x", mode=str(0o100600))
    mounted = mount(options={"posix": True, "metadata_ttl": "0"})
    assert shown(mounted / "f")[0] == oct(0o100600)
    put(s3, bucket, "f", b"x", mode=str(0o100640))  # the ETag is the same
    assert shown(mounted / "f")[0] == oct(0o100640)
    put(s3, bucket, "f", b"target", mode="41471")  # another type
    assert os.readlink(mounted / "f") == "target"


def test_a_changed_link_of_geesefs_is_followed(mount, s3, bucket):
    """Its node and its ETag stay: all links of geesefs are empty objects."""
    put(s3, bucket, "link", **{"__symlink_target": "one"})
    mounted = mount(options={"posix": True, "metadata_ttl": "0"})
    assert os.readlink(mounted / "link") == "one"
    put(s3, bucket, "link", **{"__symlink_target": "two"})
    wait_until(lambda: os.readlink(mounted / "link") == "two", "the new target", 20)


def test_a_directory_that_another_client_changes_is_seen(mount, s3, bucket):
    """Listing its parent all the time does not keep what its marker said."""
    put(s3, bucket, "d/", mode=str(0o40700))
    put(s3, bucket, "d/f", b"x")
    mounted = mount(options={"posix": True, "metadata_ttl": "1s"})
    assert shown(mounted / "d")[0] == oct(0o40700)
    put(s3, bucket, "d/", mode=str(0o40755))

    def changed():
        assert os.listdir(mounted.path) == ["d"]
        return shown(mounted / "d")[0] == oct(0o40755)
    wait_until(changed, "the new mode", 20)


# -- written

def test_a_new_file_has_its_attributes(mount, s3, bucket):
    mounted = mount(options={"posix": True, "umask": "0"})
    os.umask(0o027)
    try:
        fd = os.open(mounted / "f", os.O_WRONLY | os.O_CREAT, 0o666)
    finally:
        os.umask(0o022)
    os.write(fd, b"x")
    os.close(fd)
    stored = meta(s3, bucket, "f")
    assert (stored["mode"], stored["uid"], stored["gid"]) == (
        str(0o100640), str(os.getuid()), str(os.getgid()))
    st = os.stat(mounted / "f")
    assert stored["mtime"] == "%d.%09d" % divmod(st.st_mtime_ns, NS)
    assert stat.S_IMODE(st.st_mode) == 0o640
    assert os.stat(mount(options={"posix": True}) / "f").st_mtime_ns == st.st_mtime_ns


def test_aws_dialect_is_written_on_demand(mount, s3, bucket):
    mounted = mount(options={"posix": "aws"})
    (mounted / "f").write_bytes(b"x")
    os.chmod(mounted / "f", 0o604)
    os.utime(mounted / "f", ns=(MTIME * NS + 5, MTIME * NS + 7))
    os.mkdir(mounted / "d", 0o710)
    stored = meta(s3, bucket, "f")
    assert (stored["file-permissions"], stored["file-owner"], stored["file-mtime"],
            stored["file-atime"]) == ("0100604", "0", "1500000000000000007ns",
                                      "1500000000000000005ns")
    assert "mode" not in stored and "mtime" not in stored
    assert meta(s3, bucket, "d/")["file-permissions"] == "0040710"


@pytest.mark.s3d_only("a log of requests")
def test_chmod_is_one_copy_and_keeps_the_rest(mount, s3, bucket, server):
    s3.put_object(Bucket=bucket, Key="f", Body=b"x" * 1000, ContentType="text/x-test",
                  CacheControl="max-age=7", Metadata={"other": "kept"}, Tagging="a=b",
                  StorageClass="STANDARD_IA")
    mounted = mount(options={"posix": True})
    os.stat(mounted / "f")
    before = os.stat(mounted / "f").st_mtime_ns
    server.clear_log()
    os.chmod(mounted / "f", 0o600)
    copies = server.log("CopyObject")
    assert len(copies) == 1
    assert sum(entry["bytes_in"] for entry in server.log()) == 0
    assert server.count()["GetObject"] == 0 and server.count()["PutObject"] == 0
    answer = head(s3, bucket, "f")
    assert answer["Metadata"]["other"] == "kept"
    assert answer["Metadata"]["mode"] == str(0o100600)
    assert (answer["ContentType"], answer["CacheControl"], answer["StorageClass"]) == (
        "text/x-test", "max-age=7", "STANDARD_IA")
    assert s3.get_object_tagging(Bucket=bucket, Key="f")["TagSet"] == [{"Key": "a", "Value": "b"}]
    assert body(s3, bucket, "f") == b"x" * 1000
    assert os.stat(mounted / "f").st_mtime_ns == before  # although the copy moved Last-Modified


def test_changes_are_stored_and_read_again(mount, s3, bucket):
    put_all(s3, bucket, {"f": b"x", "prefix/f": b"y"})
    mounted = mount(options={"posix": True})
    os.mkdir(mounted / "d")
    for name in ("f", "d", "prefix"):
        os.chmod(mounted / name, 0o711)
        os.chown(mounted / name, 11, 12)
        os.utime(mounted / name, ns=(MTIME * NS + 1, MTIME * NS + 2))
    again = mount(options={"posix": True})
    for name in ("f", "d", "prefix"):
        for one in (mounted, again):
            st = os.stat(one / name)
            assert stat.S_IMODE(st.st_mode) == 0o711
            assert (st.st_uid, st.st_gid) == (11, 12)
            assert (st.st_atime_ns, st.st_mtime_ns) == (MTIME * NS + 1, MTIME * NS + 2)
            assert st.st_ctime > MTIME + 1000


def test_ctime_moves(mount, s3, bucket):
    mounted = mount(options={"posix": True})
    (mounted / "f").write_bytes(b"x")
    seen = os.stat(mounted / "f").st_ctime_ns
    for change in (lambda: os.chmod(mounted / "f", 0o600), lambda: os.chown(mounted / "f", 1, 1),
                   lambda: os.utime(mounted / "f", ns=(1, 1)),
                   lambda: os.setxattr(mounted / "f", "user.a", b"1"),
                   lambda: os.truncate(mounted / "f", 0),
                   lambda: os.rename(mounted / "f", mounted / "g") or
                   os.rename(mounted / "g", mounted / "f")):
        change()
        now = os.stat(mounted / "f").st_ctime_ns
        assert now > seen
        seen = now


def test_of_a_file_under_write_for_free(mount, s3, bucket, server):
    mounted = mount(options={"posix": True})
    with open(mounted / "f", "wb") as file:
        file.write(b"x")
        file.flush()
        os.fchmod(file.fileno(), 0o604)
        os.fchown(file.fileno(), 21, 22)
        os.setxattr(file.fileno(), "user.a", b"b")
        os.utime(file.fileno(), ns=(MTIME * NS, MTIME * NS + 3))
        if server.kind != "rgw":
            assert server.count(bucket=bucket)["CopyObject"] == 0
    if server.kind != "rgw":
        assert server.count(bucket=bucket)["CopyObject"] == 0
        assert server.count(bucket=bucket, key="f")["PutObject"] == 1
    stored = meta(s3, bucket, "f")
    assert (stored["mode"], stored["uid"], stored["gid"], stored["mtime"]) == (
        str(0o100604), "21", "22", "1500000000.000000003")
    assert os.getxattr(mounted / "f", "user.a") == b"b"


def test_in_place_changes_keep_attributes(mount, s3, bucket):
    put(s3, bucket, "f", b"0123456789", mode=str(0o100640), uid="31", gid="32", other="kept",
        xattr="%7B%22user.a%22%3A%22aGVsbG8%3D%22%7D")
    mounted = mount(options={"posix": True})
    with open(mounted / "f", "r+b") as file:
        file.seek(3)
        file.write(b"abc")
    assert body(s3, bucket, "f") == b"012abc6789"
    for change in (lambda: os.truncate(mounted / "f", 5),
                   lambda: (mounted / "f").write_bytes(b"new")):
        stored = meta(s3, bucket, "f")
        assert (stored["mode"], stored["uid"], stored["gid"]) == (str(0o100640), "31", "32")
        assert os.getxattr(mounted / "f", "user.a") == b"hello"
        assert shown(mounted / "f")[:3] == (oct(0o100640), 31, 32)
        change()
    assert stored["other"] == "kept"
    assert meta(s3, bucket, "f")["mode"] == str(0o100640)


def test_rename_keeps_attributes(mount, s3, bucket):
    mounted = mount(options={"posix": True})
    (mounted / "f").write_bytes(b"x")
    os.chmod(mounted / "f", 0o640)
    os.chown(mounted / "f", 41, 42)
    os.utime(mounted / "f", ns=(MTIME * NS, MTIME * NS + 9))
    os.rename(mounted / "f", mounted / "g")
    assert shown(mounted / "g") == (oct(0o100640), 41, 42, MTIME * NS + 9)
    assert shown(mount(options={"posix": True}) / "g") == (oct(0o100640), 41, 42, MTIME * NS + 9)


def test_other_types(mount, s3, bucket):
    mounted = mount(options={"posix": True})
    os.symlink("some/target", mounted / "link")
    os.mkfifo(mounted / "fifo", 0o640)
    os.mknod(mounted / "null", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    os.mknod(mounted / "disk", 0o600 | stat.S_IFBLK, os.makedev(259, 70000))
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(mounted / "socket"))
    for place in (mounted, mount(options={"posix": True})):
        assert os.readlink(place / "link") == "some/target"
        assert os.lstat(place / "link").st_size == len("some/target")
        assert stat.S_ISFIFO(os.lstat(place / "fifo").st_mode)
        assert stat.S_ISSOCK(os.lstat(place / "socket").st_mode)
        assert stat.S_ISCHR(os.lstat(place / "null").st_mode)
        assert os.lstat(place / "null").st_rdev == os.makedev(1, 3)
        assert os.lstat(place / "disk").st_rdev == os.makedev(259, 70000)
        with pytest.raises(OSError) as caught:  # nodev
            os.open(place / "null", os.O_RDONLY)
        assert caught.value.errno == errno.EACCES
    assert body(s3, bucket, "link") == b"some/target"
    assert meta(s3, bucket, "link")["mode"] == "41471"
    for name in ("link", "fifo", "null", "disk", "socket"):
        os.unlink(mounted / name)
    assert os.listdir(mounted.path) == []


def test_types_in_default_mode(mount, s3, bucket):
    mounted = mount()
    for make in (lambda: os.symlink("t", mounted / "link"), lambda: os.mkfifo(mounted / "fifo")):
        with pytest.raises(OSError) as caught:
            make()
        assert caught.value.errno == errno.EPERM


def test_the_kernel_checks_permissions(mount, s3, bucket):
    put(s3, bucket, "private", b"x", mode=str(0o100600), uid="0", gid="0")
    put(s3, bucket, "theirs", b"y", mode=str(0o100600), uid="65534", gid="65534")
    mounted = mount(options={"posix": True, "allow_other": True})
    script = """
    cat %(d)s/theirs && ! cat %(d)s/private 2>/dev/null && ! chmod 777 %(d)s/private 2>/dev/null &&
    chmod 640 %(d)s/theirs && ! chown 0 %(d)s/theirs 2>/dev/null
    """ % {"d": mounted.path}
    subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "bash", "-c",
                    script], check=True)
    assert meta(s3, bucket, "theirs")["mode"] == str(0o100640)


def test_directory_times_move_with_names(mount, s3, bucket):
    mounted = mount(options={"posix": True})
    os.mkdir(mounted / "d")
    os.utime(mounted / "d", ns=(MTIME * NS, MTIME * NS))
    assert os.stat(mounted / "d").st_mtime == MTIME
    (mounted / "d" / "f").write_bytes(b"")
    assert os.stat(mounted / "d").st_mtime > time.time() - 3600
    os.utime(mounted / "d", ns=(MTIME * NS, MTIME * NS))
    os.unlink(mounted / "d" / "f")
    assert os.stat(mounted / "d").st_mtime > time.time() - 3600
