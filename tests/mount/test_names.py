# SPDX-License-Identifier: Apache-2.0
"""What ls, find and stat show of keys that were put by somebody else."""
import errno
import os
import stat
import time

import pytest

from support.keys import put_all

ODD_NAMES = [
    "with space", " leading and trailing ", "plus+sign", "100%", "%2F", "a&b", "quote'\"`", "a\\b",
    "star*?[x]", "semi;colon:", "#hash", "equals=", "tilde~", "dollar$", "new\nline", "tab\there",
    "bell\x07", "esc\x1b[31m", "del\x7f", "\u00e4\u00f6\u00fc", "\u20ac", "\U0001f600",
    "e\u0301 combining", "\ufffd", "<xml>&amp;", "-rf", ".hidden", "...", "..two", "trailing.",
    "UPPER", "upper", "null", "a" * 255,
]


def until(condition, seconds=10):
    """Waits for what a TTL ends; what condition() gave last."""
    end = time.monotonic() + seconds
    while not (answer := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return answer


def test_an_empty_bucket_is_an_empty_directory(mount):
    mounted = mount()
    assert os.listdir(mounted.path) == []
    assert mounted.shell("ls -a").split() == [".", ".."]


def test_files_and_directories_are_told_apart_without_a_stat(mount, s3, bucket):
    put_all(s3, bucket, ["file", "dir/file", "deep/er/file"])
    with os.scandir(mount().path) as entries:
        kinds = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
    assert kinds == {"file": False, "dir": True, "deep": True}


@pytest.mark.concurrent
def test_find_sees_every_file_of_a_tree_once(mount, s3, bucket):
    keys = ["%s/%s/f%d" % (a, b, n) for a in "abc" for b in "xyz" for n in range(4)] + ["top"]
    put_all(s3, bucket, keys)
    mounted = mount()
    found = mounted.shell("find . -type f -printf '%P\\n'").split()
    assert sorted(found) == sorted(keys)
    assert len(mounted.shell("find . -type d").split()) == 1 + 3 + 9


def test_find_goes_down_thirty_levels(mount, s3, bucket):
    key = "/".join("level%d" % level for level in range(30)) + "/file"
    put_all(s3, bucket, {key: b"deep"})
    assert mount().shell("find . -type f -exec cat {} +") == "deep"


def test_stat_shows_size_time_and_mode(mount, s3, bucket):
    put_all(s3, bucket, {"dir/file": b"x" * 1025})
    modified = s3.head_object(Bucket=bucket, Key="dir/file")["LastModified"].timestamp()
    mounted = mount()
    file = (mounted / "dir" / "file").stat()
    assert file.st_size == 1025
    assert file.st_mtime == modified
    assert stat.filemode(file.st_mode) == "-rw-r--r--"
    assert (file.st_uid, file.st_gid) == (os.getuid(), os.getgid())
    assert file.st_blocks == 3
    assert file.st_blksize == 1 << 20
    directory = (mounted / "dir").stat()
    assert stat.filemode(directory.st_mode) == "drwxr-xr-x"
    assert directory.st_nlink == 1


def test_a_listing_and_a_lookup_show_the_same_attributes(mount, s3, bucket):
    put_all(s3, bucket, {"dir/file": b"x" * 77})
    mounted = mount(options={"metadata_ttl": 0})
    looked_up = os.stat(mounted / "dir" / "file")
    with os.scandir(mounted / "dir") as entries:
        (entry,) = entries
        assert entry.inode() == looked_up.st_ino
    listed = os.stat(mounted / "dir" / "file")
    assert (listed.st_size, listed.st_mtime_ns, listed.st_mode) == (
        looked_up.st_size, looked_up.st_mtime_ns, looked_up.st_mode)


def test_owner_and_modes_are_options(mount, s3, bucket):
    put_all(s3, bucket, ["dir/file"])
    mounted = mount(options={"uid": 1234, "gid": 4321, "file_mode": "0640", "dir_mode": "0750"})
    file, directory = (mounted / "dir" / "file").stat(), (mounted / "dir").stat()
    assert (file.st_uid, file.st_gid) == (1234, 4321)
    assert stat.filemode(file.st_mode) == "-rw-r-----"
    assert stat.filemode(directory.st_mode) == "drwxr-x---"


def test_umask_takes_bits_away(mount, s3, bucket):
    put_all(s3, bucket, ["dir/file"])
    mounted = mount(options={"umask": "027"})
    assert stat.filemode((mounted / "dir" / "file").stat().st_mode) == "-rw-r-----"
    assert stat.filemode((mounted / "dir").stat().st_mode) == "drwxr-x---"


@pytest.mark.parametrize("depth", ["", "dir with space+%/"])
def test_odd_names_are_listed_and_read(mount, s3, bucket, depth):
    put_all(s3, bucket, {depth + name: name.encode() for name in ODD_NAMES})
    mounted = mount()
    directory = mounted.path / depth
    assert sorted(os.listdir(directory)) == sorted(ODD_NAMES)
    for name in ODD_NAMES:
        assert (directory / name).read_bytes() == name.encode()


@pytest.mark.parametrize("name", ODD_NAMES)
def test_an_odd_name_is_found_without_a_listing(mount, s3, bucket, name):
    put_all(s3, bucket, {name: b"x" * 7})
    assert (mount() / name).stat().st_size == 7


@pytest.mark.parametrize("name", ODD_NAMES)
def test_an_odd_name_can_be_a_directory(mount, s3, bucket, name):
    put_all(s3, bucket, {name + "/" + name: b"inside"})
    mounted = mount()
    assert os.listdir(mounted.path) == [name]
    assert (mounted / name / name).read_bytes() == b"inside"


NOT_UTF8 = [b"bad\xff", b"\x80", b"\xc3(", b"ok", b"latin-1 \xe4"]


@pytest.mark.s3d_only("keys that are not UTF-8")
def test_names_that_are_not_utf8_are_listed(mount, server, bucket):
    for name in NOT_UTF8:
        server.put(bucket, name, b"x" * len(name))
    root = os.fsencode(mount(options={"metadata_ttl": 60}).path)
    assert sorted(os.listdir(root)) == sorted(NOT_UTF8)
    for name in NOT_UTF8:
        assert os.stat(os.path.join(root, name)).st_size == len(name)


@pytest.mark.s3d_only("keys that are not UTF-8")
def test_names_that_are_not_utf8_are_read(mount, server, bucket):
    for name in NOT_UTF8:
        server.put(bucket, name, name)
    root = os.fsencode(mount().path)
    for name in NOT_UTF8:
        with open(os.path.join(root, name), "rb") as file:
            assert file.read() == name


@pytest.mark.s3d_only("keys past S3's rules")
def test_keys_that_no_path_can_name_are_hidden_and_their_siblings_are_not(mount, server, bucket):
    for key in ("/leading", "a//b", "./dot", "../dotdot", "a/./c", "a/../d", ".", "..",
                "n" * 256, "a/" + "n" * 256, "a/seen", "seen", "zz"):
        server.put(bucket, key, b"x")
    mounted = mount()
    mounted.tolerate("hid")
    assert sorted(os.listdir(mounted.path)) == ["a", "seen", "zz"]
    assert os.listdir(mounted / "a") == ["seen"]
    assert "hid" in mounted.log()


def test_a_name_of_255_bytes_is_shown(mount, s3, bucket):
    name = "\u00e4" * 127 + "a"
    put_all(s3, bucket, {name: b"x"})
    assert os.listdir(mount().path) == [name]


def test_a_name_over_255_bytes_is_too_long(mount):
    with pytest.raises(OSError) as error:
        os.stat(mount() / ("n" * 256))
    assert error.value.errno == errno.ENAMETOOLONG


def test_a_key_over_1024_bytes_is_too_long(mount, s3, bucket):
    directory = "/".join(["d" * 200] * 4)
    put_all(s3, bucket, [directory + "/" + "f" * 220])  # 803 + 1 + 220 bytes
    parent = mount() / directory
    assert os.listdir(parent) == ["f" * 220]
    with pytest.raises(OSError) as error:
        os.stat(parent / ("f" * 221))
    assert error.value.errno == errno.ENAMETOOLONG


def test_a_marker_is_a_directory_and_not_a_file_in_it(mount, s3, bucket):
    put_all(s3, bucket, ["empty/", "full/", "full/file"])
    mounted = mount()
    assert sorted(os.listdir(mounted.path)) == ["empty", "full"]
    assert os.listdir(mounted / "empty") == []
    assert os.listdir(mounted / "full") == ["file"]


def test_a_name_with_a_folder_marker_of_hadoop_is_shown_once(mount, s3, bucket):
    put_all(s3, bucket, ["file", "file_$folder$", "dir/x", "dir_$folder$", "d", "d-1", "d_$folder$"])
    with os.scandir(mount().path) as entries:
        kinds = sorted((entry.name, entry.is_dir()) for entry in entries)
    assert kinds == [("d", False), ("d-1", False), ("dir", True), ("file", False)]


def test_a_folder_marker_of_hadoop_is_a_directory(mount, s3, bucket):
    put_all(s3, bucket, ["hadoop_$folder$"])
    mounted = mount()
    with os.scandir(mounted.path) as entries:
        assert [(entry.name, entry.is_dir()) for entry in entries] == [("hadoop", True)]
    assert os.listdir(mounted / "hadoop") == []


def test_a_key_that_is_also_a_prefix_is_shown_as_the_directory(mount, s3, bucket):
    put_all(s3, bucket, {"a": b"hidden", "a-1": b"", "a.b": b"", "a/x": b"inside", "b": b""})
    mounted = mount()
    mounted.tolerate("hid")
    with os.scandir(mounted.path) as entries:
        kinds = {entry.name: entry.is_dir() for entry in entries}
    assert kinds == {"a": True, "a-1": False, "a.b": False, "b": False}
    assert os.listdir(mounted / "a") == ["x"]


def test_a_key_whose_directory_comes_pages_later_is_shown_as_the_directory(mount, s3, bucket):
    between = ["a-%04d" % number for number in range(1100)]
    put_all(s3, bucket, ["a", "a/x", "b"] + between)
    mounted = mount()
    mounted.tolerate("hid")
    with os.scandir(mounted.path) as entries:
        kinds = [(entry.name, entry.is_dir()) for entry in entries]
    assert sorted(kinds) == sorted([("a", True), ("b", False)] + [(n, False) for n in between])


def test_a_key_that_is_also_a_prefix_is_a_directory_without_a_listing(mount, s3, bucket):
    put_all(s3, bucket, ["a", "a/x"])
    mounted = mount()
    mounted.tolerate("hid")
    assert (mounted / "a").is_dir()
    assert (mounted / "a" / "x").is_file()


@pytest.mark.parametrize("count", [999, 1000, 1001, 2345])
def test_each_name_is_listed_once_over_pages_of(mount, s3, bucket, count):
    names = ["n%05d" % number for number in range(count)]
    put_all(s3, bucket, ["dir/" + name for name in names])
    found = os.listdir(mount() / "dir")
    assert len(found) == count
    assert sorted(found) == names


def test_directories_are_listed_once_over_pages(mount, s3, bucket):
    put_all(s3, bucket, ["d%04d/%s" % (number, name) for number in range(700) for name in "ab"]
            + ["f%04d" % number for number in range(700)])
    found = os.listdir(mount().path)
    assert len(found) == len(set(found)) == 1400


def test_a_directory_read_twice_through_one_handle_is_the_same(mount, s3, bucket):
    put_all(s3, bucket, ["n%04d" % number for number in range(1200)])
    descriptor = os.open(mount().path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        first = os.listdir(descriptor)  # each call rewinds
        second = os.listdir(descriptor)
    finally:
        os.close(descriptor)
    assert len(first) == 1200
    assert sorted(first) == sorted(second)


@pytest.mark.concurrent
def test_two_readers_of_a_directory_do_not_disturb_each_other(mount, s3, bucket):
    names = {"n%04d" % number for number in range(1500)}
    put_all(s3, bucket, names)
    path = mount().path
    with os.scandir(path) as one, os.scandir(path) as two:
        pairs = list(zip(one, two))
    assert {entry.name for entry, _ in pairs} == names
    assert {entry.name for _, entry in pairs} == names


@pytest.mark.s3d_only("a request log")
def test_ls_l_of_a_large_directory_makes_one_request_a_page_and_no_head(mount, server, bucket):
    server.synth(bucket, prefix="dir/", format="f%06d", count=5000, size=10)
    mounted = mount(options={"metadata_ttl": 60})
    server.clear_log()
    assert len(mounted.shell("ls -l dir").splitlines()) == 1 + 5000
    count = server.count(bucket=bucket)
    assert count["HeadObject"] <= 1  # of the directory's own name
    assert count["ListObjectsV2"] <= 5 + 2 + 2  # its pages, its lookup, the end, two guesses


@pytest.mark.s3d_only("a request log")
def test_ls_l_of_files_and_directories_side_by_side_makes_no_head(mount, server, s3, bucket):
    put_all(s3, bucket, ["dir/%s%d" % (kind, number) + tail for number in range(10)
                         for kind, tail in (("a", ""), ("b", "/x"), ("c", ""))])
    mounted = mount(options={"metadata_ttl": 60})
    os.stat(mounted / "dir")
    server.clear_log()
    assert len(mounted.shell("ls -l dir").splitlines()) == 1 + 30
    assert server.count(bucket=bucket) == {"ListObjectsV2": 1}


@pytest.mark.s3d_only("a request log")
def test_find_asks_no_more_than_one_listing_a_directory(mount, server, s3, bucket):
    put_all(s3, bucket, ["d%d/s%d/f%d" % (d, s, f) for d in range(4) for s in range(4)
                         for f in range(5)])
    mounted = mount(options={"metadata_ttl": 60})
    server.clear_log()
    assert len(mounted.shell("find . -type f -size -1").split()) == 80
    count = server.count(bucket=bucket)
    assert count["HeadObject"] == 0
    # the root, d0, its s0, all below d0 behind that, all behind d0: see test_walk.py
    assert count["ListObjectsV2"] <= 5


def test_a_name_that_is_not_there_is_enoent(mount, s3, bucket):
    put_all(s3, bucket, ["file", "dir/file"])
    mounted = mount()
    for name in ("nothing", "dir/nothing", "fil", "file2", "di", "dir2", "nodir/file"):
        with pytest.raises(FileNotFoundError):
            os.stat(mounted / name)


def test_a_file_is_not_a_directory(mount, s3, bucket):
    put_all(s3, bucket, ["file"])
    with pytest.raises(NotADirectoryError):
        os.stat(mount() / "file" / "below")


def test_a_key_published_by_another_client_is_there_at_the_next_lookup(mount, s3, bucket):
    mounted = mount()
    with pytest.raises(FileNotFoundError):
        os.stat(mounted / "late")
    put_all(s3, bucket, {"late": b"now"})
    assert (mounted / "late").read_bytes() == b"now"


def test_negative_ttl_remembers_that_a_name_is_not_there(mount, s3, bucket):
    mounted = mount(options={"negative_ttl": 3600})
    with pytest.raises(FileNotFoundError):
        os.stat(mounted / "late")
    put_all(s3, bucket, ["late"])
    with pytest.raises(FileNotFoundError):
        os.stat(mounted / "late")


def test_a_change_of_another_client_is_seen_when_metadata_ttl_is_over(mount, s3, bucket):
    put_all(s3, bucket, {"file": b"1"})
    path = mount() / "file"
    assert path.stat().st_size == 1
    put_all(s3, bucket, {"file": b"4444"})
    assert until(lambda: path.stat().st_size == 4)


def test_a_deletion_by_another_client_is_seen_when_metadata_ttl_is_over(mount, s3, bucket):
    put_all(s3, bucket, ["dir/file", "dir/other"])
    mounted = mount()
    assert (mounted / "dir" / "file").exists()
    s3.delete_object(Bucket=bucket, Key="dir/file")
    assert until(lambda: not (mounted / "dir" / "file").exists())
    assert until(lambda: os.listdir(mounted / "dir") == ["other"])


def test_metadata_ttl_forever_shows_what_was_seen_first(mount, s3, bucket):
    put_all(s3, bucket, {"file": b"1"})
    path = mount(options={"metadata_ttl": "forever"}) / "file"
    assert path.stat().st_size == 1
    put_all(s3, bucket, {"file": b"4444"})
    time.sleep(1.5)
    assert path.stat().st_size == 1


@pytest.mark.s3d_only("a request log")
def test_a_second_stat_within_metadata_ttl_asks_nothing(mount, server, s3, bucket):
    put_all(s3, bucket, ["file"])
    path = mount(options={"metadata_ttl": 60}) / "file"
    path.stat()
    server.clear_log()
    path.stat()
    assert server.log() == []


def test_an_inode_number_stays_while_the_file_is_known(mount, s3, bucket):
    put_all(s3, bucket, ["a", "b"])
    mounted = mount()
    first = (mounted / "a").stat().st_ino
    assert first != (mounted / "b").stat().st_ino
    os.listdir(mounted.path)
    time.sleep(1.2)
    assert (mounted / "a").stat().st_ino == first


@pytest.mark.s3d_only("a request log")
def test_df_asks_nothing_and_shows_room(mount, server):
    mounted = mount()
    server.clear_log()
    room = os.statvfs(mounted.path)
    assert room.f_bavail * room.f_frsize > 1 << 40
    assert room.f_namemax == 255
    assert server.log() == []


def test_extended_attributes_are_not_supported(mount, s3, bucket):
    put_all(s3, bucket, ["file"])
    with pytest.raises(OSError) as error:
        os.getxattr(mount() / "file", "user.x")
    assert error.value.errno == errno.ENOTSUP


@pytest.mark.parametrize("source", ["{bucket}:/some/dir", "{bucket}:/some/dir/",
                                    "s3://{bucket}/some/dir", "s3://{bucket}/some/dir/"])
def test_a_prefix_is_mounted_as_the_root(mount, s3, bucket, source):
    put_all(s3, bucket, {"some/dir/file": b"in", "some/dir/sub/x": b"", "some/dir2": b"",
                         "some/other": b"", "top": b""})
    mounted = mount(source=source.format(bucket=bucket))
    assert sorted(os.listdir(mounted.path)) == ["file", "sub"]
    assert (mounted / "file").read_bytes() == b"in"
    assert mounted.shell("find . -type f | sort").split() == ["./file", "./sub/x"]
