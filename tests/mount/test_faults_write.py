# SPDX-License-Identifier: Apache-2.0
"""Faults of single answers while something is written: it is done, or an errno says that it is not,
in bounded time; an object is the old one or the new one, whole.

Each transient fault comes once and three times (it must not be seen), and for ever (it must end in
an errno). Numbers are rows of faults.md. PAILFS_LONG=1 plays all faults over all kinds of writes.
"""
import errno
import functools
import itertools
import os
import time

import pytest

from support import s3d as s3d_module
from support.data import MIB, content
from support.faults import XML_ERROR, informed, play
from support.objects import body, keys, uploads, wait_until
from support.writes import KINDS, LARGE, SMALL

pytestmark = pytest.mark.s3d_only("scripted faults")

LONG = bool(os.environ.get("PAILFS_LONG"))
SLOWNESS = 1 if os.environ.get("PAILFS_SANITIZER", "none") in ("", "none") else 4
BOUND_S = 30 * SLOWNESS  # far more than op_timeout, far less than for ever

# What one answer may look like, and be asked again for. (1, 7, 8, 16, 18)
TRANSIENT = {
    "500": {"status": 500, "code": "InternalError"},
    "502 of a proxy": {"status": 502, "body": "<html>Bad Gateway</html>"},
    "503 SlowDown": {"status": 503, "code": "SlowDown"},
    "503 with Retry-After": {"status": 503, "code": "SlowDown", "retry_after": 1},
    "504": {"status": 504},
    "429": {"status": 429, "code": "TooManyRequests"},
    "400 RequestTimeout": {"status": 400, "code": "RequestTimeout"},
    "cut before the answer": {"cut_after": -1},
    "reset before the answer": {"reset_after": -1},
    "Connection: close": {"status": 500, "close": True},
    "closed after success": {"close": True},
    "a late answer": {"delay_ms": 300},
    "lost: cut": {"cut_after": -1, "apply": True},
    "lost: reset": {"reset_after": -1, "apply": True},
    "lost: 500": {"status": 500, "apply": True},
}
# Of operations with a body, too. (8, 15)
TRANSIENT_BODY = {
    "reset in the request's first bytes": {"reset_request": 0},
    "reset in the request": {"reset_request": 3000},
    "a sum that did not arrive": {"status": 400, "code": "XAmzContentSHA256Mismatch"},
    "BadDigest": {"status": 400, "code": "BadDigest"},
}
# Of those whose success is a document. (2)
TRANSIENT_DOCUMENT = {
    "200 with an error": {"status": 200, "body": XML_ERROR},
    "200 with nothing": {"status": 200, "body": ""},
    "200 with no XML": {"status": 200, "body": "<html>fine</html>"},
    "200 with cut XML": {"status": 200, "body": "<CompleteMultipartUploadResult><ETa"},
    "200 with another root": {"status": 200, "body": "<Fine><ETag>\"x\"</ETag></Fine>"},
    "blanks before an error": {"status": 200, "body": " " * 5000 + XML_ERROR},
    "cut in the answer": {"cut_after": 30},
    "lost: cut in the answer": {"cut_after": 30, "apply": True},
}
STALLS = {
    "a stall before the answer": {"stall_after": -1},
    "a stall in the request": {"stall_request": True},
}
BODIES = ("Put", "Exclusive", "Part")
DOCUMENTS = ("Create", "Complete", "ExclusiveComplete", "PartCopy", "Rename", "Times", "Rmdir")

def faults_of(kind):
    found = dict(TRANSIENT)
    if kind in BODIES:
        found.update(TRANSIENT_BODY)
    if kind in DOCUMENTS:
        found.update(TRANSIENT_DOCUMENT)
    return found


@pytest.fixture
def faulty(mount):
    return functools.partial(informed, mount, server_timeout="3s", excl="close")


def run_through(kind, mounted, server, s3, bucket, faults, count):
    """Every fault so many times, each against a name of its own: nothing may be noticed."""
    for number, (fault, what) in enumerate(faults.items()):
        write = KINDS[kind](mounted, s3, bucket, "%s-%d" % (kind, number))
        write.before()
        server.clear_faults()
        play(server, what, write.op, count)
        try:
            write.act()
        except OSError as error:
            raise AssertionError("%s, %d times %s: %s" % (kind, count, fault, error)) from error
        assert server.fault_hits()["fault"] >= 1, fault
        server.clear_faults()
        assert write.done(), "%s, %d times %s" % (kind, count, fault)


@pytest.mark.bounded(600)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 3] if LONG else [1])
def test_a_fault_that_passes_is_not_seen(faulty, server, s3, bucket, kind, count):
    mounted = faulty(op_timeout="20s")
    faults = faults_of(kind)
    if not LONG:  # a third of them for each, all of them over all kinds
        first = list(KINDS).index(kind) % 3
        faults = dict(itertools.islice(faults.items(), first, None, 3))
    run_through(kind, mounted, server, s3, bucket, faults, count)
    wait_until(lambda: kind == "Create" or uploads(s3, bucket) == [], "no upload to be left", 30)


@pytest.mark.bounded(300)
@pytest.mark.parametrize("kind", KINDS if LONG else ["Put", "Part", "Complete", "Unlink"])
@pytest.mark.parametrize("fault", STALLS)
def test_a_stall_is_asked_again_on_another_connection(faulty, server, s3, bucket, kind, fault):
    mounted = faulty(op_timeout="4s", server_timeout="4s")
    write = KINDS[kind](mounted, s3, bucket, "f")
    write.before()
    play(server, STALLS[fault], write.op)
    begin = time.monotonic()
    try:
        write.act()
    except OSError as error:
        assert error.errno == errno.EIO and kind in ("Complete", "ExclusiveComplete", "PartCopy",
                                                     "Rename", "Times")
        write.end()
    else:
        assert write.done()
    assert write.whole()
    assert time.monotonic() - begin < BOUND_S


STAYING = {
    "500": TRANSIENT["500"],
    "503 SlowDown": TRANSIENT["503 SlowDown"],
    "reset before the answer": TRANSIENT["reset before the answer"],
    "lost: cut": TRANSIENT["lost: cut"],
    **STALLS,
}


@pytest.mark.bounded(300)
@pytest.mark.parametrize("kind,fault", [
    *itertools.product(KINDS, STAYING)] if LONG else [
    ("Put", "500"), ("Exclusive", "lost: cut"), ("Create", "503 SlowDown"),
    ("Part", "reset before the answer"), ("Complete", "500"), ("Complete", "lost: cut"),
    ("PartCopy", "500"), ("Rename", "503 SlowDown"), ("Unlink", "500"), ("Mkdir", "500"),
    ("Rmdir", "500"), ("Part", "a stall in the request")])
def test_a_fault_that_stays_is_told_in_bounded_time(faulty, server, s3, bucket, kind, fault):
    mounted = faulty()
    write = KINDS[kind](mounted, s3, bucket, "f")
    write.before()
    play(server, STAYING[fault], write.op, count=0)
    begin = time.monotonic()
    told = None
    try:
        write.act()
    except OSError as error:
        told = error.errno
        write.end()
    assert time.monotonic() - begin < BOUND_S
    server.clear_faults()
    if told is None:  # carried out, and found to be so
        assert fault.startswith("lost") and write.done()
    else:
        assert told == errno.EIO
    assert write.whole()
    again = KINDS["Put"](mounted, s3, bucket, "g")  # it goes away with its cause
    again.before()
    again.act()
    assert again.done()
    wait_until(lambda: kind == "Create" or uploads(s3, bucket) == [], "no upload to be left", 30)


FINAL = {
    "AccessDenied": ({"status": 403, "code": "AccessDenied"}, errno.EACCES),  # 18
    "ExpiredToken": ({"status": 400, "code": "ExpiredToken"}, errno.EACCES),  # 17
    "NoSuchBucket": ({"status": 404, "code": "NoSuchBucket"}, None),
}


@pytest.mark.parametrize("kind,fault", [
    *itertools.product([kind for kind in KINDS if kind != "Rmdir"], FINAL)] if LONG else [
    ("Put", "AccessDenied"), ("Part", "AccessDenied"), ("Complete", "AccessDenied"),
    ("Create", "AccessDenied"), ("Rename", "AccessDenied"), ("Unlink", "AccessDenied"),
    ("Part", "ExpiredToken"), ("Put", "NoSuchBucket")])
def test_a_final_answer_is_told_at_once(faulty, server, s3, bucket, kind, fault):
    what, number = FINAL[fault]
    mounted = faulty(op_timeout="60s")
    write = KINDS[kind](mounted, s3, bucket, "f")
    write.before()
    play(server, what, write.op, count=0)
    begin = time.monotonic()
    with pytest.raises(OSError) as caught:
        write.act()
    write.end()
    assert time.monotonic() - begin < BOUND_S
    assert number in (None, caught.value.errno)
    server.clear_faults()
    assert write.whole()
    wait_until(lambda: uploads(s3, bucket) == [], "no upload to be left", 30)


@pytest.mark.parametrize("offset", [3600, -3600])
def test_a_clock_that_jumps_while_parts_are_sent_is_learnt(faulty, server, s3, bucket,
                                                           offset):  # 16
    mounted = faulty()
    with open(mounted / "f", "wb", buffering=0) as file:
        file.write(LARGE[:9 * MIB])
        server.config(clock_offset=offset)
        file.write(LARGE[9 * MIB:])
    server.config(clock_offset=0)
    assert body(s3, bucket, "f") == LARGE


def test_keys_that_change_while_a_file_is_written_are_read_again(mount, server, s3, bucket,
                                                                 tmp_path):  # 17
    old = {"access_key": "AKIDOLD", "secret_key": "old", "session_token": "old-token"}
    new = {"access_key": "AKIDNEW", "secret_key": "new", "session_token": "new-token"}
    own = {"access_key": server.access_key, "secret_key": server.secret_key}
    server.credentials(old, new, own)
    keys_file = tmp_path / "credentials"

    def write(found):
        keys_file.write_text("[default]\naws_access_key_id=%(access_key)s\n"
                             "aws_secret_access_key=%(secret_key)s\n"
                             "aws_session_token=%(session_token)s\n" % found)
        keys_file.chmod(0o600)

    write(old)
    mounted = mount(env={"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None,
                         "AWS_SHARED_CREDENTIALS_FILE": str(keys_file)})
    mounted.tolerate(".")
    with open(mounted / "f", "wb", buffering=0) as file:
        file.write(LARGE[:9 * MIB])
        wait_until(lambda: uploads(s3, bucket), "the upload to begin", 30)
        write(new)
        server.credentials({**old, "expires": int(time.time()) - 10}, new, own)
        file.write(LARGE[9 * MIB:])
    assert body(s3, bucket, "f") == LARGE
    assert {entry["access_key"] for entry in server.log("CompleteMultipartUpload")} == {"AKIDNEW"}
    (created,) = server.log("CreateMultipartUpload")
    assert created["access_key"] == "AKIDOLD", "the same upload goes on"


@pytest.mark.parametrize("status", [301, 307])
def test_a_redirect_of_a_write_is_not_followed(faulty, server, s3, bucket, status):  # 11
    mounted = faulty()
    server.faults({"match": {"op": "PutObject"}, "do": {
        "status": status, "headers": {"Location": "http://127.0.0.1:1/elsewhere"}}})
    with pytest.raises(OSError) as caught:
        (mounted / "f").write_bytes(SMALL)
    assert caught.value.errno in (errno.EIO, errno.EACCES)
    server.clear_faults()
    assert "f" not in keys(s3, bucket)


def test_a_body_that_is_changed_on_its_way_is_refused_and_sent_again(faulty, server, s3, bucket):
    """The signature covers the hash of the payload over http, a CRC32C goes along over https. 15"""
    mounted = faulty()
    (mounted / "f").write_bytes(LARGE)
    (mounted / "g").write_bytes(SMALL)
    sums = [entry["headers"] for entry in server.log()
            if entry["op"] in ("UploadPart", "PutObject") and entry["bytes_in"] > 0]
    assert sums
    for headers in sums:
        if server.kind == "s3d-tls":
            assert "x-amz-checksum-crc32c" in headers
        else:
            assert len(headers["x-amz-content-sha256"]) == 64


def test_a_server_that_is_killed_and_comes_back_is_not_noticed(mount, own_s3d):  # 7, 9
    server = own_s3d()
    assert isinstance(server, s3d_module.S3d)
    server.s3.create_bucket(Bucket="comes-back")
    mounted = mount("comes-back", server=server)
    mounted.tolerate("WARN")
    data = content("comes-back", 40 * MIB)
    with open(mounted / "f", "wb", buffering=0) as file:
        for number in range(40):
            file.write(data[number * MIB:(number + 1) * MIB])
            if number in (12, 25):
                server.kill()
                server.start(server.port)
    assert body(server.s3, "comes-back", "f") == data
