# SPDX-License-Identifier: Apache-2.0
"""Faults of single answers while a file is read: the right bytes, or an errno in bounded time.

Each fault comes once, three times, and for ever: transient ones must not be seen by the reader, and
a fault that stays must end in an errno, never in wrong bytes. Numbers are rows of faults.md.
"""
import base64
import errno
import functools
import os
import socket
import subprocess
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from support import data
from support.data import MIB
from support.faults import XML_ERROR, play, tolerant
from support.keys import put_all

pytestmark = pytest.mark.s3d_only("scripted faults")

SIZE = 3 * MIB + 5
PATIENCE_S = 20  # far more than op_timeout, far less than for ever

# What one answer may look like, and be asked again for. (1, 4, 5, 6, 7)
TRANSIENT = {
    "500": {"status": 500, "code": "InternalError"},
    "502 of a proxy": {"status": 502, "body": "<html>Bad Gateway</html>"},
    "503 SlowDown": {"status": 503, "code": "SlowDown"},
    "503 with Retry-After": {"status": 503, "code": "SlowDown", "retry_after": 1},
    "504": {"status": 504},
    "429": {"status": 429, "code": "TooManyRequests"},
    "400 RequestTimeout": {"status": 400, "code": "RequestTimeout"},
    "cut before the body": {"cut_after": 0},
    "cut in the body": {"cut_after": 100000},
    "reset before the body": {"reset_after": 0},
    "reset in the body": {"reset_after": 100000},
    "a short answer that agrees with itself": {"short": 5000},
    "no Content-Range": {"headers": {"Content-Range": None}},
    "another Content-Range": {"content_range": "bytes 5-9/%d" % SIZE},
    "a Content-Range that is none": {"content_range": "bytes */nonsense"},
    "a stall before the first byte": {"stall_after": -1},
    "a stall in the body": {"stall_after": 100000},
}

# The same for ever. A server that gives some bytes each time does make progress: here it gives one.
STAYING = {name: {key: 1 if value == 100000 else value for key, value in what.items()}
           for name, what in TRANSIENT.items()}

# Answers that must end in a certain errno at once.
FINAL = {
    "AccessDenied": ({"status": 403, "code": "AccessDenied"}, errno.EACCES),  # 18
    "412": ({"status": 412, "code": "PreconditionFailed"}, errno.ESTALE),  # 21
    "404": ({"status": 404, "code": "NoSuchKey"}, errno.ESTALE),  # 28
    "another ETag": ({"headers": {"ETag": '"another"'}}, errno.ESTALE),  # 21
}


@pytest.fixture
def body(s3, bucket):
    content = data.content("faulty", SIZE)
    s3.put_object(Bucket=bucket, Key="dir/file", Body=content)
    return content


@pytest.fixture
def faulty(mount):
    return functools.partial(tolerant, mount)


def read_error(path):
    """The errno with which reading a file ends, and in how many seconds."""
    begin = time.monotonic()
    with pytest.raises(OSError) as error:
        path.read_bytes()
    return error.value.errno, time.monotonic() - begin


@pytest.mark.parametrize("fault", TRANSIENT)
@pytest.mark.parametrize("count", [1, 3])
def test_a_reader_does_not_notice(faulty, server, body, fault, count):
    mounted = faulty(op_timeout="6s")
    play(server, TRANSIENT[fault], count=count)
    assert (mounted / "dir" / "file").read_bytes() == body
    assert server.fault_hits()["fault"] == count


@pytest.mark.parametrize("fault", STAYING)
def test_a_fault_that_stays_ends_in_eio_and_goes_away_with_its_cause(faulty, server, body, fault):
    mounted = faulty(op_timeout="1s")
    play(server, STAYING[fault], count=0)
    number, seconds = read_error(mounted / "dir" / "file")
    assert number == errno.EIO
    assert seconds < 5  # the kernel asks twice: read-ahead, then the page itself
    server.clear_faults()
    assert (mounted / "dir" / "file").read_bytes() == body


def test_a_server_that_breaks_off_every_time_is_read_to_the_end(faulty, server, body):  # 4
    mounted = faulty()
    play(server, {"cut_after": 100000}, count=0)
    assert (mounted / "dir" / "file").read_bytes() == body


@pytest.mark.parametrize("fault", FINAL)
def test_a_final_answer_is_given_to_the_reader_at_once(faulty, server, body, fault):
    what, number = FINAL[fault]
    mounted = faulty()
    play(server, what, count=0)
    found, seconds = read_error(mounted / "dir" / "file")
    assert found == number
    assert seconds < 3


@pytest.mark.parametrize("status", [200, 206])
def test_an_error_document_never_becomes_data(faulty, server, body, status):  # 6
    mounted = faulty()
    play(server, {"status": status, "body": XML_ERROR}, count=0)
    number, _ = read_error(mounted / "dir" / "file")
    assert number in (errno.EIO, errno.ESTALE)


def test_an_answer_with_the_whole_object_is_never_taken_for_a_range(faulty, server, body):  # 5
    mounted = faulty()
    play(server, {"ignore_range": True}, count=0)
    with open(mounted / "dir" / "file", "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        try:
            assert os.pread(file.fileno(), 4096, 2 * MIB) == body[2 * MIB:2 * MIB + 4096]
        except OSError as error:
            assert error.errno == errno.EIO


def test_a_total_size_that_changed_is_estale(faulty, server, s3, bucket, body):  # 5, 28
    mounted = faulty()
    path = mounted / "dir" / "file"
    assert path.stat().st_size == SIZE
    play(server, {"content_range": "bytes 0-%d/%d" % (SIZE - 1, SIZE + 1)}, count=0)
    assert read_error(path)[0] in (errno.ESTALE, errno.EIO)


def test_what_arrived_before_a_cut_is_not_asked_again(faulty, server, body):  # 4
    mounted = faulty()
    play(server, {"cut_after": MIB}, count=1, range_first=0)
    with open(mounted / "dir" / "file", "rb", buffering=0) as file:
        assert file.read() == body
    requests = server.log("GetObject", key="dir/file")
    (cut,) = [entry for entry in requests if entry["fault"]]
    assert cut["range"][0] == 0
    arrived = 7 * 131072  # of the 1 MiB that was sent; the last block may be incomplete
    assert all(entry["range"][0] >= arrived for entry in requests if entry["n"] > cut["n"])


@pytest.mark.parametrize("what", [{"stall_after": -1}, {"stall_after": 131072}],
                         ids=["first byte", "body"])
def test_a_stalled_read_is_asked_again_on_another_connection(faulty, server, body, what):  # 7
    mounted = faulty()
    play(server, what, count=1)
    begin = time.monotonic()
    assert (mounted / "dir" / "file").read_bytes() == body
    assert time.monotonic() - begin < PATIENCE_S
    requests = server.log("GetObject")
    stalled = [entry for entry in requests if entry["fault"]]
    assert stalled[0]["conn"] not in {entry["conn"] for entry in requests
                                      if entry["n"] > stalled[0]["n"]}


@pytest.mark.alone
def test_a_reader_of_another_file_does_not_wait_behind_a_stall(faulty, server, s3, bucket, body):
    s3.put_object(Bucket=bucket, Key="other/file", Body=b"quick")
    mounted = faulty(op_timeout="20s")
    play(server, {"stall_after": -1}, count=0, key="dir/file")
    with subprocess.Popen(["cat", str(mounted / "dir" / "file")], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as cat:
        while not server.fault_hits()["fault"]:
            time.sleep(0.02)
        begin = time.monotonic()
        assert (mounted / "other" / "file").read_bytes() == b"quick"
        assert time.monotonic() - begin < 3
        server.clear_faults()
        cat.kill()  # a reader that waits for a stalled server can be ended
        cat.wait(5)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(faulty, server, body, status):  # 11
    mounted = faulty()
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        stranger.settimeout(0)
        play(server, {"status": status, "headers": {
            "Location": "http://127.0.0.1:%d/elsewhere" % stranger.getsockname()[1]}}, count=0)
        assert read_error(mounted / "dir" / "file")[0] in (errno.EIO, errno.EACCES)
        with pytest.raises(BlockingIOError):
            stranger.accept()


@pytest.mark.alone
def test_endless_headers_are_refused_in_little_memory(faulty, server, body):  # 12
    mounted = faulty()
    before = mounted.peak_rss()
    play(server, {"header_bytes": 100 * MIB}, count=0)
    assert read_error(mounted / "dir" / "file")[0] == errno.EIO
    assert mounted.peak_rss() - before < 64 * MIB


@pytest.mark.alone
def test_an_endless_error_body_is_refused_in_little_memory(faulty, server, body):  # 12
    mounted = faulty()
    before = mounted.peak_rss()
    play(server, {"status": 500, "body": "x" * 65536, "body_repeat": 1600}, count=0)
    assert read_error(mounted / "dir" / "file")[0] == errno.EIO
    assert mounted.peak_rss() - before < 64 * MIB


def test_a_compressed_object_is_read_as_it_is_stored(mount, s3, bucket):  # 13
    content = data.content("gzip", 100000)
    s3.put_object(Bucket=bucket, Key="file.gz", Body=content, ContentEncoding="gzip")
    path = mount() / "file.gz"
    assert path.stat().st_size == 100000
    assert path.read_bytes() == content


@pytest.mark.parametrize("what", [{"status": 403}, {"status": 400},
                                  {"headers": {"Content-Length": None}}],
                         ids=["403", "400", "no Content-Length"])
def test_a_head_that_says_nothing_is_asked_otherwise(faulty, server, body, what):  # 14
    mounted = faulty()
    play(server, what, op="HeadObject", count=0)
    assert (mounted / "dir" / "file").stat().st_size == SIZE


@pytest.mark.parametrize("algorithm, crc", [("CRC32", zlib.crc32), ("CRC32C", data.crc32c)])
@pytest.mark.parametrize("flip_at", [5000, 299999])
def test_a_bit_flipped_on_the_way_is_never_read_without_an_error(  # 15
        faulty, server, s3, bucket, algorithm, crc, flip_at):
    content = data.content("flip", 300000)
    summed = base64.b64encode(crc(content).to_bytes(4, "big")).decode()
    s3.put_object(Bucket=bucket, Key="summed", Body=content, **{"Checksum" + algorithm: summed})
    mounted = faulty()
    play(server, {"flip_at": flip_at}, count=1)
    try:
        assert (mounted / "summed").read_bytes() == content
    except OSError as error:
        assert error.errno == errno.EIO
    assert server.fault_hits()["fault"] == 1
    assert (mounted / "summed").read_bytes() == content


@pytest.mark.parametrize("offset", [3600, -3600])
def test_a_clock_that_jumps_is_learnt_while_mounted(faulty, server, body, offset):  # 16
    mounted = faulty()
    server.config(clock_offset=offset)
    assert (mounted / "dir" / "file").read_bytes() == body


def test_an_expired_token_without_a_new_one_is_eacces(faulty, server, body):  # 17
    mounted = faulty()
    play(server, {"status": 400, "code": "ExpiredToken"}, count=0)
    number, seconds = read_error(mounted / "dir" / "file")
    assert number == errno.EACCES
    assert seconds < PATIENCE_S


def test_keys_that_changed_in_their_file_are_read_again(mount, server, body, tmp_path):  # 17
    old = {"access_key": "AKIDOLD", "secret_key": "old", "session_token": "old-token"}
    new = {"access_key": "AKIDNEW", "secret_key": "new", "session_token": "new-token"}
    server.credentials(old, new)

    keys_file = tmp_path / "credentials"

    def write(keys):
        keys_file.write_text("[default]\naws_access_key_id=%(access_key)s\n"
                             "aws_secret_access_key=%(secret_key)s\n"
                             "aws_session_token=%(session_token)s\n" % keys)
        keys_file.chmod(0o600)

    write(old)
    mounted = mount(env={"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None,
                         "AWS_SHARED_CREDENTIALS_FILE": str(keys_file)})
    mounted.tolerate(".")
    assert (mounted / "dir" / "file").stat().st_size == SIZE
    write(new)
    server.credentials({**old, "expires": int(time.time()) - 10}, new)
    assert (mounted / "dir" / "file").read_bytes() == body


def test_few_descriptors_give_data_or_an_errno_and_no_end(mount, server, s3, bucket):  # 36
    if os.geteuid() != 0:
        pytest.skip("needs root, for a mount namespace")
    bodies = {"f%d" % n: data.content(n, 300000) for n in range(64)}
    put_all(s3, bucket, bodies)
    mounted = mount(private="ulimit -n 40")
    mounted.tolerate(".")

    def read(name):
        try:
            return (mounted / name).read_bytes() == bodies[name]
        except OSError:
            return True

    with ThreadPoolExecutor(32) as pool:
        assert all(pool.map(read, bodies))
    assert (mounted / "f0").read_bytes() == bodies["f0"]


def test_a_full_log_disk_does_not_disturb_reading(mount, server, body):  # 36
    mounted = mount(daemonise=True, options={"log_file": "/dev/full", "log_level": "debug"})
    assert (mounted / "dir" / "file").read_bytes() == body
