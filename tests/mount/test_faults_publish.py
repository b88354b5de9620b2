# SPDX-License-Identifier: Apache-2.0
"""How a publication ends when the server's last word is doubtful, wrong, or a refusal.

Numbers are rows of faults.md. PAILFS_LONG=1 plays all of it as every other server, too; otherwise
a slice.
"""
import errno
import functools
import os
import time

import pytest

from support.data import MIB, content
from support.faults import informed, play
from support.keys import put_multipart
from support.objects import body, exists, head, keys, uploads, wait_until
from support.writes import KINDS, LARGE, SMALL

pytestmark = pytest.mark.s3d_only("scripted faults")

LONG = bool(os.environ.get("PAILFS_LONG"))
SLOWNESS = 1 if os.environ.get("PAILFS_SANITIZER", "none") in ("", "none") else 4
BOUND_S = 30 * SLOWNESS
DIALECTS = ["aws", "minio", "r2", "gcs", "rgw"]
COMPLETE = "CompleteMultipartUpload"
LOST = {"cut_after": -1, "apply": True}


@pytest.fixture
def faulty(mount):
    return functools.partial(informed, mount, op_timeout="5s", server_timeout="5s")


def error_of(call):
    with pytest.raises(OSError) as caught:
        call()
    return caught.value.errno


def no_upload_left(s3, bucket):
    wait_until(lambda: uploads(s3, bucket) == [], "no upload to be left", 30)


# -- 3: blanks

@pytest.mark.parametrize("milliseconds", [10000] if LONG else [3500])
def test_complete_may_send_blanks_for_longer_than_op_timeout(faulty, server, s3, bucket,
                                                             milliseconds):
    mounted = faulty(op_timeout="2s", server_timeout="60s")
    play(server, {"blanks_ms": milliseconds}, COMPLETE)
    (mounted / "f").write_bytes(LARGE)
    assert body(s3, bucket, "f") == LARGE


def test_blanks_and_then_an_error_are_the_error(faulty, server, s3, bucket):
    mounted = faulty()
    s3.put_object(Bucket=bucket, Key="f", Body=b"theirs")
    play(server, {"blanks_ms": 500}, COMPLETE)
    server.put(bucket, "f", b"theirs")
    file = open(mounted / "g", "xb", buffering=0)
    file.write(LARGE)
    s3.put_object(Bucket=bucket, Key="g", Body=b"theirs")
    assert error_of(file.close) == errno.EEXIST
    assert body(s3, bucket, "g") == b"theirs"
    no_upload_left(s3, bucket)


# -- 19: lost answers

@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("kind", ["Put", "Exclusive", "Complete", "ExclusiveComplete", "Mkdir"])
@pytest.mark.parametrize("dialect", ["aws", "minio"])
def test_a_lost_answer_is_settled_by_the_nonce(faulty, server, s3, bucket, kind, times, dialect):
    """On minio a repeated Complete is NoSuchUpload; under a condition it is 412 anyway."""
    server.config(as_=dialect)
    mounted = faulty(op_timeout="20s", server_timeout="20s")
    write = KINDS[kind](mounted, s3, bucket, "f")
    write.before()
    play(server, LOST, write.op, count=times)
    write.act()
    assert write.done()
    assert server.fault_hits()["fault"] >= 1
    no_upload_left(s3, bucket)


@pytest.mark.parametrize("kind", ["Exclusive", "ExclusiveComplete"])
def test_a_lost_refusal_is_still_a_refusal(faulty, server, s3, bucket, kind):
    """Somebody else was first, the answer that says so is lost, and the repeat is refused, too."""
    mounted = faulty()
    write = KINDS[kind](mounted, s3, bucket, "f")
    file = open(write.path, "xb", buffering=0)
    file.write(write.data)
    s3.put_object(Bucket=bucket, Key="f", Body=b"theirs")
    play(server, LOST, write.op)
    assert error_of(file.close) == errno.EEXIST
    assert body(s3, bucket, "f") == b"theirs"
    no_upload_left(s3, bucket)


@pytest.mark.parametrize("posix", [None, True])
def test_lost_answers_to_copies_in_place(faulty, server, s3, bucket, posix):
    """The copy of a multipart object has another ETag: made again, it would be refused."""
    mounted = faulty(posix=posix, op_timeout="20s", server_timeout="20s")
    play(server, LOST, "CopyObject")
    with open(mounted / "f", "wb", buffering=0) as file:
        file.write(LARGE)
        wait_until(lambda: server.log("CreateMultipartUpload", key="f"), "the upload to begin", 30)
        os.utime(file.fileno(), (1e9, 1e9))  # too late for the upload
    assert head(s3, bucket, "f")["Metadata"]["mtime"].startswith("1000000000")
    put_multipart(s3, bucket, "g", LARGE, 8 * MIB)
    play(server, LOST, "CopyObject", key="g")
    os.utime(mounted / "g", (1e9, 1e9))
    assert head(s3, bucket, "g")["Metadata"]["mtime"].startswith("1000000000")
    for key in "fg":
        assert len(server.log("CopyObject", key=key, status=412)) == 1
        assert (mounted / key).read_bytes() == body(s3, bucket, key) == LARGE


def errno_of_utime(path):
    try:
        os.utime(path, (1e9, 1e9))
    except OSError as error:
        return error.errno
    return 0


@pytest.mark.parametrize("posix", [None, True])
def test_a_copy_in_place_goes_without_a_nonce_where_none_fits(mount, s3, bucket, posix):
    """Whether a multipart object may have another time is the same as for one that needs none."""
    mounted = mount(options={"posix": posix})
    ends = []
    for count in range(56, 66):
        names = {"n%d" % number: "v" for number in range(count)}
        s3.put_object(Bucket=bucket, Key="plain%d" % count, Body=SMALL, Metadata=names)
        put_multipart(s3, bucket, "parts%d" % count, SMALL, 8 * MIB, Metadata=names)
        ends.append([errno_of_utime(mounted / ("%s%d" % (kind, count)))
                     for kind in ("plain", "parts")])
        if ends[-1][1] == 0:
            stored = head(s3, bucket, "parts%d" % count)["Metadata"]
            assert stored["mtime"].startswith("1000000000") and names.items() <= stored.items()
    assert [plain for plain, _ in ends] == [parts for _, parts in ends]
    assert ends[0][0] == 0 and ends[-1][0] != 0


def test_a_lost_answer_to_a_copy_in_parts_in_place(faulty, server, s3, bucket):
    """That its ETag will be another one is due to its size alone."""
    server.config(as_="minio")
    server.synth(bucket, key="big", size=6_000_000_000, seed=1)
    assert "-" not in head(s3, bucket, "big")["ETag"]
    mounted = faulty(op_timeout="20s", server_timeout="20s")
    play(server, LOST, COMPLETE, key="big")
    os.utime(mounted / "big", (1e9, 1e9))
    assert head(s3, bucket, "big")["Metadata"]["mtime"].startswith("1000000000")


def test_an_upload_that_is_gone_before_its_complete_is_sent_again(faulty, server, s3, bucket):
    mounted = faulty()
    with open(mounted / "f", "wb", buffering=0) as file:
        file.write(LARGE)
        wait_until(lambda: uploads(s3, bucket), "the upload to begin", 30)
        wait_until(lambda: len(server.log("UploadPart", key="f", status=200)) == 2, "its parts", 30)
        for upload in uploads(s3, bucket):
            s3.abort_multipart_upload(Bucket=bucket, Key="f", UploadId=upload["UploadId"])
    assert body(s3, bucket, "f") == LARGE
    assert len(server.log("CreateMultipartUpload", key="f", status=200)) == 2
    no_upload_left(s3, bucket)


def test_an_upload_that_is_gone_every_time_is_eio(faulty, server, s3, bucket):
    mounted = faulty()
    s3.put_object(Bucket=bucket, Key="f", Body=b"old")
    play(server, {"status": 404, "code": "NoSuchUpload"}, COMPLETE, count=0)
    assert error_of(lambda: (mounted / "f").write_bytes(LARGE)) == errno.EIO
    assert body(s3, bucket, "f") == b"old"
    server.clear_faults()
    no_upload_left(s3, bucket)


# -- 20: 409

CONFLICT = {"status": 409, "code": "ConditionalRequestConflict"}


@pytest.mark.parametrize("kind", ["Put", "Exclusive", "Mkdir"])
def test_a_conflict_of_a_put_is_put_again(faulty, server, s3, bucket, kind):
    mounted = faulty()
    write = KINDS[kind](mounted, s3, bucket, "f")
    write.before()
    play(server, CONFLICT, write.op, count=2)
    write.act()
    assert write.done()


@pytest.mark.parametrize("kind", ["Complete", "ExclusiveComplete"])
def test_after_a_conflict_of_a_complete_all_parts_are_sent_again(faulty, server, s3, bucket, kind):
    mounted = faulty()
    write = KINDS[kind](mounted, s3, bucket, "f")
    write.before()
    server.clear_log()
    play(server, CONFLICT, COMPLETE)
    write.act()
    assert write.done()
    assert len(server.log("CreateMultipartUpload", key="f", status=200)) == 2
    assert len(server.log("UploadPart", key="f", status=200)) == 6
    no_upload_left(s3, bucket)


@pytest.mark.parametrize("kind", ["Complete", "ExclusiveComplete"])
def test_conflicts_without_end_are_an_errno(faulty, server, s3, bucket, kind):
    mounted = faulty()
    write = KINDS[kind](mounted, s3, bucket, "f")
    write.before()
    play(server, CONFLICT, COMPLETE, count=0)
    begin = time.monotonic()
    assert error_of(write.act) == errno.EIO
    assert time.monotonic() - begin < BOUND_S
    assert write.whole()
    server.clear_faults()
    no_upload_left(s3, bucket)


# -- 21: 412

@pytest.mark.parametrize("size", [len(SMALL), len(LARGE)])
def test_a_file_that_was_published_and_replaced_meanwhile_is_estale(faulty, s3, bucket, size):
    mounted = faulty()
    file = open(mounted / "f", "wb", buffering=0)
    file.write(LARGE[:size])
    os.fsync(file.fileno())
    s3.put_object(Bucket=bucket, Key="f", Body=b"theirs")
    file.write(b"more")
    assert error_of(file.close) == errno.ESTALE
    assert body(s3, bucket, "f") == b"theirs"
    assert (mounted / "f").read_bytes() == b"theirs"
    no_upload_left(s3, bucket)


@pytest.mark.parametrize("size", [len(SMALL), len(LARGE)])
def test_a_file_that_was_published_and_deleted_meanwhile_is_estale(faulty, s3, bucket, size):  # 28
    mounted = faulty()
    file = open(mounted / "f", "wb", buffering=0)
    file.write(LARGE[:size])
    os.fsync(file.fileno())
    s3.delete_object(Bucket=bucket, Key="f")
    file.write(b"more")
    assert error_of(file.close) == errno.ESTALE
    assert not exists(s3, bucket, "f")
    no_upload_left(s3, bucket)


def test_an_object_that_is_replaced_while_it_is_overwritten_is_overwritten(faulty, s3, bucket):
    """O_TRUNC carries no condition: the last writer wins. 28"""
    mounted = faulty()
    s3.put_object(Bucket=bucket, Key="f", Body=b"old")
    with open(mounted / "f", "wb", buffering=0) as file:
        file.write(LARGE)
        s3.put_object(Bucket=bucket, Key="f", Body=b"theirs")
    assert body(s3, bucket, "f") == LARGE


# -- 22: parts that are not what they should be

@pytest.mark.parametrize("what", [
    {"headers": {"ETag": None}}, {"headers": {"ETag": ""}}], ids=["no ETag", "an empty ETag"])
@pytest.mark.parametrize("count", [1, 0])
def test_a_part_without_an_etag_is_never_completed(faulty, server, s3, bucket, what, count):
    mounted = faulty()
    s3.put_object(Bucket=bucket, Key="f", Body=b"old")
    play(server, what, "UploadPart", count=count)
    try:
        (mounted / "f").write_bytes(LARGE)
    except OSError as error:
        assert error.errno == errno.EIO
        assert body(s3, bucket, "f") == b"old"
        assert server.log(COMPLETE, key="f") == []
    else:
        assert count == 1
        assert body(s3, bucket, "f") == LARGE
    server.clear_faults()
    no_upload_left(s3, bucket)


def test_a_part_with_another_etag_is_never_published(faulty, server, s3, bucket):
    mounted = faulty()
    s3.put_object(Bucket=bucket, Key="f", Body=b"old")
    play(server, {"headers": {"ETag": '"%s"' % ("0" * 32)}}, "UploadPart", count=1)
    try:
        (mounted / "f").write_bytes(LARGE)
    except OSError as error:
        assert error.errno == errno.EIO
        assert body(s3, bucket, "f") == b"old"
    else:
        assert body(s3, bucket, "f") == LARGE
    no_upload_left(s3, bucket)


@pytest.mark.parametrize("code", ["InvalidPart", "InvalidPartOrder", "EntityTooSmall",
                                  "InvalidRequest"])
def test_a_complete_that_is_refused_aborts_the_upload(faulty, server, s3, bucket, code):
    mounted = faulty()
    s3.put_object(Bucket=bucket, Key="f", Body=b"old")
    play(server, {"status": 400, "code": code}, COMPLETE, count=0)
    assert error_of(lambda: (mounted / "f").write_bytes(LARGE)) in (errno.EIO, errno.EINVAL)
    assert body(s3, bucket, "f") == b"old"
    server.clear_faults()
    no_upload_left(s3, bucket)


def test_complete_says_how_large_the_object_is(faulty, server, s3, bucket):
    mounted = faulty()
    (mounted / "f").write_bytes(LARGE)
    (complete,) = server.log(COMPLETE, key="f")
    assert complete["headers"]["x-amz-mp-object-size"] == str(len(LARGE))
    assert head(s3, bucket, "f")["ContentLength"] == len(LARGE)


# -- 23: sizes around the step from a PUT to parts, and between parts

@pytest.mark.parametrize("size", [5 * MIB - 1, 5 * MIB, 5 * MIB + 1, 10 * MIB, 10 * MIB + 1])
def test_sizes_around_a_part(faulty, s3, bucket, size):
    mounted = faulty(upload_part_size="5M")
    (mounted / "f").write_bytes(LARGE[:size])
    assert body(s3, bucket, "f") == LARGE[:size]
    assert (mounted / "f").read_bytes() == LARGE[:size]


# -- 24: Abort while parts are in flight

@pytest.mark.parametrize("how", ["unlink", "failed Abort", "unmount"])
def test_an_abort_is_repeated_until_nothing_is_left(mount, server, s3, bucket, how):
    mounted = mount(options={"upload_limit": "20M"})
    mounted.tolerate(".")
    file = open(mounted / "f", "wb", buffering=0)
    file.write(content("abort", 24 * MIB))
    wait_until(lambda: uploads(s3, bucket), "the upload to begin", 30)
    if how == "failed Abort":
        play(server, {"status": 500}, "AbortMultipartUpload", count=2)
    if how == "unmount":
        mounted.send_signal(15)
        mounted.wait(60)
    else:
        os.unlink(mounted / "f")
    try:
        file.close()
    except OSError:
        assert how == "unmount"
    no_upload_left(s3, bucket)
    assert keys(s3, bucket) == []


# -- 34: what comes in the way of an upload

def test_unlink_while_it_is_published_leaves_nothing(mount, server, s3, bucket):
    mounted = mount()
    mounted.tolerate("is not published")
    server.config(first_byte_ms=300)
    file = open(mounted / "f", "wb", buffering=0)
    file.write(LARGE)
    os.unlink(mounted / "f")
    file.close()
    server.config(first_byte_ms=0)
    no_upload_left(s3, bucket)
    assert keys(s3, bucket) == []


def test_truncate_while_parts_are_sent(mount, server, s3, bucket):
    mounted = mount()
    server.config(first_byte_ms=300)
    with open(mounted / "f", "wb", buffering=0) as file:
        file.write(LARGE)
        file.truncate(9 * MIB)
        file.seek(9 * MIB)
        file.write(b"end")
    server.config(first_byte_ms=0)
    assert body(s3, bucket, "f") == LARGE[:9 * MIB] + b"end"
    no_upload_left(s3, bucket)


# -- as every server

WRITES = ["Put", "Exclusive", "Complete", "ExclusiveComplete", "PartCopy", "Rename", "Unlink",
          "Mkdir", "Rmdir"]


@pytest.mark.bounded(300)
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("fault", [None, "500", "lost"] if LONG else [None, "lost"])
def test_as_every_server(faulty, server, s3, bucket, dialect, fault):
    """Every kind of write, without a fault, with a failed and with a lost answer."""
    server.config(as_=dialect)
    same = {"upload_part_size": "5M"} if dialect == "r2" else {}
    mounted = faulty(op_timeout="20s", server_timeout="20s", **same)
    for kind in WRITES if LONG or fault is None else ["Exclusive", "ExclusiveComplete"]:
        write = KINDS[kind](mounted, s3, bucket, kind)
        write.before()
        if fault is not None:
            play(server, LOST if fault == "lost" else {"status": 500}, write.op)
        write.act()
        server.clear_faults()
        assert write.done(), kind
    no_upload_left(s3, bucket)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("size", [len(SMALL), len(LARGE)], ids=["small", "large"])
def test_exclusive_files_of_every_server(faulty, server, s3, bucket, dialect, size):
    """The loser is told, and what the other one wrote stays: by a condition, or a HEAD before."""
    server.config(as_=dialect)
    mounted = faulty(**({"upload_part_size": "5M"} if dialect == "r2" else {}))
    file = open(mounted / "f", "xb", buffering=0)
    file.write(LARGE[:size])
    s3.put_object(Bucket=bucket, Key="f", Body=b"theirs")
    assert error_of(file.close) == errno.EEXIST
    assert body(s3, bucket, "f") == b"theirs"
    no_upload_left(s3, bucket)
