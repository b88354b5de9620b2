# SPDX-License-Identifier: Apache-2.0
"""Renames of files that are open, and of very many; answers that are lost on the way."""
import ctypes
import errno
import os
import signal
import subprocess
import sys
import threading

import pytest

from support.data import content
from support.keys import put_all
from support.objects import body, head, keys, wait_until

MIB = 1 << 20
MANY = 100000 if os.environ.get("PAILFS_LONG") else 3000
LISTING_MIB = 100  # beyond `memory`, which no byte of a rename needs
NOREPLACE = 1
WAIT_S = 40
SLOW_MS = 2500  # what comes after a rename that was killed has begun by then


def renameat2(old, new, flags):
    """0, or the errno."""
    libc = ctypes.CDLL(None, use_errno=True)
    done = libc.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), flags)
    return 0 if done == 0 else ctypes.get_errno()


def lost(op, key):
    return {"match": {"op": op, "key": key}, "count": 1, "do": {"apply": True, "reset_after": -1}}


@pytest.mark.s3d_only("answers that are lost on purpose")
def test_noreplace_whose_answer_is_lost(mount, server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="f", Body=b"x", ContentType="text/x-mine",
                  Metadata={"kind": "test"})
    mounted = mount()
    server.faults(lost("CopyObject", "g"))
    assert renameat2(mounted / "f", mounted / "g", NOREPLACE) == 0
    assert keys(s3, bucket) == ["g"]
    answer = head(s3, bucket, "g")
    assert (answer["ContentType"], answer["Metadata"]["kind"]) == ("text/x-mine", "test")


@pytest.mark.s3d_only("answers that are lost on purpose")
def test_noreplace_that_somebody_else_won(mount, server, s3, bucket):
    put_all(s3, bucket, {"f": b"x"})
    mounted = mount()
    mounted.tolerate("CopyObject")
    (mounted / "first").mkdir()  # what conditions the server knows is known
    server.faults({"match": {"op": "CopyObject", "key": "g"}, "count": 1,
                   "do": {"delay_ms": 10, "status": 500, "code": "InternalError"}})
    done = []
    thread = threading.Thread(target=lambda: done.append(
        renameat2(mounted / "f", mounted / "g", NOREPLACE)))
    server.faults({"match": {"op": "HeadObject", "key": "f"}, "count": 1, "do": {"delay_ms": 1000}})
    thread.start()
    s3.put_object(Bucket=bucket, Key="g", Body=b"x")  # the same bytes, and not ours
    thread.join()
    assert done == [errno.EEXIST]
    assert keys(s3, bucket) == ["f", "first/", "g"]


@pytest.mark.s3d_only("answers that are lost on purpose")
def test_lost_answers_of_a_directory(mount, server, s3, bucket):
    put_all(s3, bucket, {"d/%d" % n: b"%d" % n for n in range(20)})
    mounted = mount()
    server.faults(lost("CopyObject", "z/3"), lost("CopyObject", "z/7"),
                  {"match": {"op": "DeleteObjects"}, "count": 1,
                   "do": {"apply": True, "reset_after": -1}})
    os.rename(mounted / "d", mounted / "z")
    assert {key: body(s3, bucket, key) for key in keys(s3, bucket)} == {
        "z/%d" % n: b"%d" % n for n in range(20)}


def test_an_open_file_to_and_fro_under_load(mount, s3, bucket):
    data = bytearray(content("open", 300000))
    put_all(s3, bucket, {"a": bytes(data)})
    mounted = mount()
    stop = threading.Event()

    def load(number):
        turn = 0
        while not stop.is_set():
            (mounted / ("l%d" % number)).write_bytes(b"%d" % turn)
            turn += 1

    threads = [threading.Thread(target=load, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    with open(mounted / "a", "r+b", buffering=0) as file, \
            open(mounted / "a", "rb", buffering=0) as reader:
        for turn in range(8):
            file.seek(turn * 1000)
            file.write(b"turn %d" % turn)
            data[turn * 1000:turn * 1000 + 6] = b"turn %d" % turn
            os.rename(mounted / "ab"[turn % 2], mounted / "ba"[turn % 2])
            if turn == 4:
                os.fsync(file.fileno())
            reader.seek(0)
            assert reader.read(len(data)) == bytes(data)
    stop.set()
    for thread in threads:
        thread.join()
    assert body(s3, bucket, "a") == bytes(data)
    assert keys(s3, bucket) == ["a", "l0", "l1"]


@pytest.mark.bounded(900)
@pytest.mark.s3d_only("objects that are made up")
def test_very_many(mount, server, s3, bucket):
    server.synth(bucket, prefix="d/", format="f%07d", count=MANY, size=1000)
    mounted = mount(options={"memory": "32M"})
    before = mounted.status("VmRSS")
    os.rename(mounted / "d", mounted / "z")
    peak = mounted.status("VmHWM")
    print("%d keys: RSS %d -> %d MiB at most" % (MANY, before >> 20, peak >> 20))
    print([line for line in mounted.log().splitlines() if "renam" in line][-1])
    if os.environ.get("PAILFS_SANITIZER", "none") in ("", "none"):  # they keep what was freed
        assert peak - before < LISTING_MIB * MIB
    assert len(keys(s3, bucket)) == MANY
    assert not (mounted / "d").exists()
    assert os.stat(mounted / "z" / "f0000007").st_size == 1000


RENAMER = "import os, sys; print(flush=True); os.rename(sys.argv[1], sys.argv[2])"


def begin_rename(mounted, old, new):
    process = subprocess.Popen([sys.executable, "-c", RENAMER, str(mounted / old),
                                str(mounted / new)], stdout=subprocess.PIPE)
    process.stdout.readline()
    return process


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=WAIT_S)


def kill_slow_rename(mount, server, s3, bucket):
    """`mv a b` that is killed before the server copies: the daemon goes on for SLOW_MS."""
    put_all(s3, bucket, {"a": b"a's", "b": b"b's", "f": b"f's"})
    mounted = mount(options={"metadata_ttl": "forever"})
    assert sorted(os.listdir(mounted.path)) == ["a", "b", "f"]
    (mounted / "first").mkdir()  # what conditions the server knows is known
    (mounted / "first").rmdir()
    for name in "abf":
        (mounted / name).stat()
    server.clear_log()
    server.faults({"match": {"op": "HeadObject", "key": "a"}, "count": 1,
                   "do": {"delay_ms": SLOW_MS}})
    process = begin_rename(mounted, "a", "b")
    wait_until(lambda: server.log("HeadObject", key="a"), "the rename", WAIT_S)
    kill(process)
    return mounted


def in_time(function, *args):
    """It ends, which a daemon that waits for itself would prevent."""
    thread = threading.Thread(target=function, args=args, daemon=True)
    thread.start()
    thread.join(WAIT_S)
    assert not thread.is_alive()


@pytest.mark.s3d_only("scripted delays")
def test_what_is_written_to_the_target_of_a_killed_rename_stays(mount, server, s3, bucket):
    mounted = kill_slow_rename(mount, server, s3, bucket)
    in_time((mounted / "b").write_bytes, b"later")
    wait_until(lambda: keys(s3, bucket) == ["b", "f"], "the source to go", WAIT_S)
    wait_until(lambda: server.log("CopyObject", key="b"), "the copy", WAIT_S)
    assert body(s3, bucket, "b") == b"later"
    wait_until(lambda: (mounted / "b").read_bytes() == b"later", "what was written", WAIT_S)


@pytest.mark.s3d_only("scripted delays")
def test_names_of_a_killed_rename_are_removed_and_replaced(mount, server, s3, bucket):
    mounted = kill_slow_rename(mount, server, s3, bucket)
    in_time(os.unlink, mounted / "b")
    wait_until(lambda: keys(s3, bucket) == ["f"], "both to go", WAIT_S)
    in_time(os.rename, mounted / "f", mounted / "a")
    assert keys(s3, bucket) == ["a"]
    assert os.listdir(mounted.path) == ["a"]


@pytest.mark.s3d_only("scripted delays")
def test_a_rename_that_is_killed_behind_another_ends(mount, server, s3, bucket):
    mounted = kill_slow_rename(mount, server, s3, bucket)
    kill(begin_rename(mounted, "a", "c"))
    wait_until(lambda: keys(s3, bucket) == ["b", "f"], "the first to be finished", WAIT_S)
    assert body(s3, bucket, "b") == b"a's"
    in_time(os.mkdir, mounted / "c")
    in_time(os.rename, mounted / "f", mounted / "a")
    assert keys(s3, bucket) == ["a", "b", "c/"]
