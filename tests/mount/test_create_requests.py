# SPDX-License-Identifier: Apache-2.0
"""What making and removing many files costs: the requests that S3 sees, whatever a page takes."""
import collections
import os
import time

import pytest

from support.keys import put_all
from support.objects import wait_until

FILES, DIRECTORIES = 4, 3  # a page a further name is worth more than a HEAD
HOLDS = {"negative_ttl": 60, "metadata_ttl": 60}
DEFAULT_NAMES = {"metadata_ttl": 60}  # negative_ttl=0, and no machine so slow that names expire

pytestmark = pytest.mark.s3d_only("a request log")
each_delay = pytest.mark.parametrize("delay_ms", [1, 100])


def put_file(path, content=b"small"):
    """Create, write, close, and nothing else."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.write(descriptor, content)
    os.close(descriptor)


@pytest.fixture
def slow(server):
    """slow(ms): from now on each answer and page takes so long, and the log is empty."""
    def begin(delay_ms):
        server.clear_log()
        server.config(first_byte_ms=delay_ms, list_ms=delay_ms)
    yield begin
    server.config(first_byte_ms=0, list_ms=0)


@pytest.fixture
def tree(tmp_path):
    """A directory with directories of small files."""
    for number in range(DIRECTORIES):
        (tmp_path / "tree" / ("d%d" % number)).mkdir(parents=True)
        for name in range(FILES):
            (tmp_path / "tree" / ("d%d" % number) / ("f%d" % name)).write_bytes(b"%d" % name)
    return tmp_path / "tree"


def warm(mounted, server):
    """The probe for conditions, before what is counted; nobody waits for what it cleans up."""
    server.clear_log()
    (mounted / "warm").mkdir()
    (mounted / "warm").rmdir()

    def is_over():
        asked = server.count()
        return asked["AbortMultipartUpload"] == asked["CreateMultipartUpload"]
    wait_until(is_over, "the end of the probe")


@each_delay
def test_a_create_in_a_known_directory_is_one_put_with_negative_ttl(mount, server, s3, bucket, slow,
                                                                    delay_ms):
    put_all(s3, bucket, ["dir/old"])
    mounted = mount(options=HOLDS)
    os.listdir(mounted / "dir")
    slow(delay_ms)
    for number in range(FILES):
        put_file(mounted / "dir" / ("f%d" % number))
    assert server.count() == {"PutObject": FILES}


@each_delay
def test_a_create_by_default_is_a_head_a_list_and_a_put(mount, server, s3, bucket, slow, delay_ms):
    put_all(s3, bucket, ["dir/old"])
    mounted = mount(options=DEFAULT_NAMES)
    os.listdir(mounted / "dir")
    slow(delay_ms)
    for number in range(3):
        put_file(mounted / "dir" / ("f%d" % number))
    assert server.count() == {"HeadObject": 3, "ListObjectsV2": 3, "PutObject": 3}


def test_the_head_and_the_list_of_a_create_are_asked_at_once(mount, server, slow):
    mounted = mount()
    slow(1000)
    put_file(mounted / "new")
    head, = server.log("HeadObject")
    page, = server.log("ListObjectsV2")
    assert head["t"] < page["t_end"] and page["t"] < head["t_end"]


@each_delay
def test_a_directory_that_was_just_made_needs_no_listing_with_negative_ttl(mount, server, slow,
                                                                           delay_ms):
    mounted = mount(options=HOLDS)
    warm(mounted, server)
    slow(delay_ms)
    (mounted / "new").mkdir()
    for number in range(FILES):
        put_file(mounted / "new" / ("f%d" % number))
    (mounted / "new" / "sub").mkdir()
    put_file(mounted / "new" / "sub" / "file")
    assert server.count() == {"HeadObject": 1, "ListObjectsV2": 1, "PutObject": FILES + 3}


def test_what_another_client_puts_into_a_new_directory_is_seen_after_negative_ttl(mount, s3, bucket):
    mounted = mount()
    (mounted / "new").mkdir()
    s3.put_object(Bucket=bucket, Key="new/theirs", Body=b"theirs")
    assert (mounted / "new" / "theirs").read_bytes() == b"theirs"
    mounted = mount(options={"negative_ttl": 1})
    (mounted / "new2").mkdir()
    s3.put_object(Bucket=bucket, Key="new2/theirs", Body=b"theirs")
    assert mounted.shell("for i in $(seq 100); do [ -e new2/theirs ] && break; sleep 0.1; done; "
                         "cat new2/theirs") == "theirs"


@each_delay
def test_cp_r_into_the_mount_is_a_put_a_name_with_negative_ttl(mount, server, tree, slow, delay_ms):
    mounted = mount(options=HOLDS)
    warm(mounted, server)
    slow(delay_ms)
    mounted.shell("cp -r '%s' copy" % tree)
    count = server.count()
    assert count.pop("PutObject") == 1 + DIRECTORIES + DIRECTORIES * FILES
    assert count == {"HeadObject": 2, "ListObjectsV2": 2}  # copy: for stat(2), and for mkdir(2)


@each_delay
@pytest.mark.parametrize("program", ["cp -r", "cp -rp"])
def test_cp_r_into_the_mount_by_default_asks_once_for_each_name(mount, server, tree, slow, program,
                                                                delay_ms):
    mounted = mount(options=DEFAULT_NAMES)
    warm(mounted, server)
    slow(delay_ms)
    mounted.shell("%s '%s' copy" % (program, tree))
    names = 1 + DIRECTORIES + DIRECTORIES * FILES
    times = 1 + DIRECTORIES if program == "cp -rp" else 0  # of directories, set at their end
    looks = names + 2  # copy itself: stat, lstat, mkdir
    assert server.count() == {"HeadObject": looks, "ListObjectsV2": looks,
                              "PutObject": names + times}


def removed_tree(server, bucket):
    for number in range(DIRECTORIES):
        server.synth(bucket, prefix="gone/d%d/" % number, format="f%03d", count=FILES, size=1)


@each_delay
def test_rm_r_is_a_delete_a_file_and_three_round_trips_a_directory(mount, server, bucket, slow,
                                                                   delay_ms):
    removed_tree(server, bucket)
    mounted = mount(options=DEFAULT_NAMES)
    os.stat(mounted / "gone")
    slow(delay_ms)
    mounted.shell("rm -r gone")
    count = server.count()
    directories = 1 + DIRECTORIES
    assert count.pop("DeleteObject") == DIRECTORIES * FILES + 2 * directories
    assert set(count) == {"ListObjectsV2"}
    kinds = collections.Counter(query["max-keys"] for query in server.queries("ListObjectsV2"))
    assert kinds.pop("2") == directories  # rmdir(2): is it empty?
    assert set(kinds) == {"1000"} and kinds["1000"] <= directories  # to read it, or for a walk


def test_rm_r_renews_what_it_knows_by_a_page_and_not_by_a_head_a_name(mount, server, bucket):
    server.synth(bucket, prefix="gone/", format="f%03d", count=40, size=1)
    mounted = mount()
    descriptor = os.open(mounted / "gone", os.O_RDONLY | os.O_DIRECTORY)
    names = sorted(os.listdir(descriptor))
    time.sleep(1.5)  # the names have expired
    server.clear_log()
    os.unlink(names[0], dir_fd=descriptor)
    os.close(descriptor)
    assert sorted(server.count().elements()) == ["DeleteObject", "ListObjectsV2"]


def test_a_directory_that_is_read_to_its_end_is_listed_anew_and_one_that_is_not_is_not(
        mount, server, s3, bucket):
    put_all(s3, bucket, ["dir/a", "dir/b"])
    mounted = mount(options=DEFAULT_NAMES)
    with os.scandir(mounted / "dir") as entries:
        next(entries)
    server.clear_log()
    assert sorted(os.listdir(mounted / "dir")) == ["a", "b"]
    assert server.count() == {}
    put_all(s3, bucket, ["dir/c"])
    assert sorted(os.listdir(mounted / "dir")) == ["a", "b", "c"]


def test_who_reads_the_begin_sees_what_was_made_and_removed_here_since(mount, s3, bucket):
    put_all(s3, bucket, ["dir/a", "dir/b"])
    mounted = mount(options=DEFAULT_NAMES)
    with os.scandir(mounted / "dir") as entries:
        next(entries)
    os.unlink(mounted / "dir" / "a")
    put_file(mounted / "dir" / "c")
    assert sorted(os.listdir(mounted / "dir")) == ["b", "c"]


def test_directories_that_are_written_into_are_not_asked_for_again(mount, server):
    mounted = mount(options={"metadata_ttl": 10})
    (mounted / "a" / "b").mkdir(parents=True)
    time.sleep(6)
    put_file(mounted / "a" / "b" / "file")
    time.sleep(6)  # what mkdir knew has expired
    server.clear_log()
    assert (mounted / "a" / "b").is_dir()
    assert server.count() == {}
