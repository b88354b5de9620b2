# SPDX-License-Identifier: Apache-2.0
"""kill -9 of the daemon while it renames: nothing is lost, nothing is doubled after the next mount."""
import os
import random
import signal
import threading
import time

import pytest

from support.data import content
from support.keys import put_all, put_multipart
from support.objects import body, keys, uploads, wait_until

MIB = 1 << 20
KILLS = 300 if os.environ.get("PAILFS_LONG") else 12
SEEDS = 10 if os.environ.get("PAILFS_LONG") else 2
SETTLE_S = 60


def kill_daemon(mounted):
    os.kill(mounted.pid, signal.SIGKILL)
    mounted.wait()
    mounted.kill()
    mounted.finish(exit_code=-signal.SIGKILL)


def manifest(s3, bucket, seed):
    """What lies below the directory, by what follows its name; all of it is put below `a`."""
    objects = {"/f%02d" % n: b"%d of %d" % (n, seed) for n in range(30)}
    objects.update({"/e/%02d" % n: b"e%d of %d" % (n, seed) for n in range(10)})
    objects.update({"/": b"", "//hidden": b"h", "/e/.": b"dot"})
    put_all(s3, bucket, {"a" + suffix: data for suffix, data in objects.items()})
    for n in range(3):
        objects["/large%d" % n] = data = content("%d large %d" % (seed, n), 5 * MIB + 1000)
        put_multipart(s3, bucket, "a/large%d" % n, data, 5 * MIB)
    return objects


def all_keys(s3, bucket):
    """But for what the probe of conditions has left, if it was killed."""
    return [key for key in keys(s3, bucket) if not key.startswith(".pailfs-condition-probe")]


def our_uploads(s3, bucket):
    return [upload for upload in uploads(s3, bucket)
            if not upload["Key"].startswith(".pailfs-condition-probe")]


def is_whole(s3, bucket, objects):
    """All keys are there, below one name."""
    found = all_keys(s3, bucket)
    return any(sorted(name + suffix for suffix in objects) == found for name in "ab")


def rename_to_and_fro(mounted, device, done):
    """Until the daemon dies."""
    while True:
        names = [name for name in "ab" if os.path.isdir(mounted / name)]
        if os.stat(mounted.mount_point).st_dev != device or len(names) != 1:
            return
        os.rename(mounted / names[0], mounted / ("b" if names[0] == "a" else "a"))
        done.append(names[0])


def one_kill(mount, rng, options):
    mounted = mount(options=options)
    mounted.tolerate("WARNING|ERROR")
    device = os.stat(mounted.mount_point).st_dev
    done = []

    def run():
        try:
            rename_to_and_fro(mounted, device, done)
        except OSError:
            pass

    (mounted / "probe").mkdir()  # what conditions the server knows is known behind this
    (mounted / "probe").rmdir()
    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(rng.uniform(0.0, 0.5))
    settled = mounted.log().count("a daemon was killed while it renamed")
    kill_daemon(mounted)
    thread.join()
    return len(done), settled


def some_fail(server, rng):
    """One of twenty copies and deletes is refused with a 500, or carried out and not answered."""
    faults = []
    for op in ("CopyObject", "DeleteObjects", "DeleteObject"):
        for n in range(40):
            do = {"status": 500, "code": "InternalError"} if n % 2 else {
                "apply": True, "reset_after": -1}
            faults.append({"match": {"op": op}, "skip": 19 * (n + 1) + rng.randrange(19),
                           "count": 1, "do": do})
    server.faults(*faults)


@pytest.mark.bounded(1200 if os.environ.get("PAILFS_LONG") else 180)
@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_killed_rename_is_settled(mount, server, s3, bucket, seed):
    rng = random.Random(seed)
    objects = manifest(s3, bucket, seed)
    is_s3d = server.kind != "rgw"
    if is_s3d:
        server.config(first_byte_ms=rng.choice([0, 3, 10]))
    renames = settled = 0
    for _ in range(KILLS // SEEDS):
        if is_s3d and seed % 2:
            server.clear_faults()
            some_fail(server, rng)
        more = one_kill(mount, rng, {"parallel": rng.choice([2, 16])})
        renames += more[0]
        settled += more[1]
    if is_s3d:
        server.clear_faults()
    mounted = mount()
    mounted.tolerate("given up|mount looks")
    wait_until(lambda: is_whole(s3, bucket, objects), "all to be below one name", SETTLE_S)
    name = all_keys(s3, bucket)[0][0]
    assert {key: body(s3, bucket, key) for key in all_keys(s3, bucket)} == {
        name + suffix: data for suffix, data in objects.items()}
    wait_until(lambda: not our_uploads(s3, bucket), "uploads to be aborted", SETTLE_S)
    print("%d renames, %d kills, %d renames settled" % (renames, KILLS // SEEDS, settled))
    assert settled > 0 or KILLS // SEEDS < 10


def test_a_killed_rename_of_a_file_is_finished(mount, server, s3, bucket):
    if server.kind == "rgw":
        pytest.skip("needs s3d: scripted delays")
    s3.put_object(Bucket=bucket, Key="f", Body=b"new")
    s3.put_object(Bucket=bucket, Key="g", Body=b"old")
    mounted = mount()
    server.faults({"match": {"op": "DeleteObject", "key": "f"}, "count": 1,
                   "do": {"stall_request": True}})
    thread = threading.Thread(target=lambda: pytest.raises(OSError, os.rename, mounted / "f",
                                                           mounted / "g"))
    thread.start()
    wait_until(lambda: server.log("DeleteObject", key="f"), "the delete", SETTLE_S)
    kill_daemon(mounted)
    thread.join()
    server.clear_faults()
    assert keys(s3, bucket) == ["f", "g"]
    mounted = mount()
    wait_until(lambda: keys(s3, bucket) == ["g"], "the source to go", SETTLE_S)
    assert body(s3, bucket, "g") == b"new"
    wait_until(lambda: "that is finished now" in mounted.log(), "a word of it", SETTLE_S)
