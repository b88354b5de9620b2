# SPDX-License-Identifier: Apache-2.0
"""The daemon is killed while objects are changed in place: each is what was acknowledged last, or
what was being published, whole.

PAILFS_LONG=1: 300 kills.
"""
import os
import random
import signal
import threading

import pytest

from support.data import MIB, checksum, content
from support.keys import put_all
from support.objects import body, uploads, wait_until

LONG = bool(os.environ.get("PAILFS_LONG"))
KILLS = 300 if LONG else 3
SIZES = (2000, 6 * MIB, 20 * MIB)
SIZE_MAX = 32 * MIB
FILES_A_THREAD = 4
THREADS = 3
PIECE_MAX = 64 * 1024
PROBE = ".pailfs-condition-probe"


class Manifest:
    """What each object may hold: what a close acknowledged, and what is on its way."""

    def __init__(self, s3, bucket):
        self._s3, self._bucket = s3, bucket
        self.acknowledged, self.begun = {}, {}
        self.changes = self.under_way = 0

    def make(self):
        for thread in range(THREADS):
            for number in range(FILES_A_THREAD):
                name = "f%d-%d" % (thread, number)
                self.acknowledged[name] = content(name, SIZES[number % len(SIZES)])
        put_all(self._s3, self._bucket, self.acknowledged)

    def check(self):
        """After a kill; what is found is what is acknowledged from then on."""
        for name, old in self.acknowledged.items():
            found = body(self._s3, self._bucket, name)
            new = self.begun.pop(name, old)
            assert checksum(found) in (checksum(old), checksum(new)), name
            self.under_way += new is not old
            self.acknowledged[name] = found


def changed(rng, old):
    """(what to do with the file, the new content)."""
    piece = rng.randbytes(rng.randrange(1, PIECE_MAX))
    how = rng.choice(("write", "append", "cut")) if len(old) < SIZE_MAX else "cut"
    if how == "append":
        return lambda fd: os.pwrite(fd, piece, len(old)), old + piece
    at = rng.randrange(len(old) + 1)
    if how == "cut":
        at = max(at, len(old) // 2)
        return lambda fd: os.ftruncate(fd, at), old[:at]
    return lambda fd: os.pwrite(fd, piece, at), old[:at] + piece + old[at + len(piece):]


def work(mounted, manifest, thread, seed):
    """Changes files of its own until the mount is gone."""
    rng = random.Random("%s/%d" % (seed, thread))
    device = os.stat(mounted.mount_point).st_dev
    while True:
        name = "f%d-%d" % (thread, rng.randrange(FILES_A_THREAD))
        act, new = changed(rng, manifest.acknowledged[name])
        try:
            fd = os.open(mounted / name, os.O_WRONLY)
        except OSError:
            return
        try:
            if os.fstat(fd).st_dev != device:
                return  # the directory below the dead mount
        except OSError:
            return
        manifest.begun[name] = new
        try:
            act(fd)
        except OSError:
            return
        finally:
            try:
                os.close(fd)
            except OSError:
                return
        manifest.acknowledged[name] = manifest.begun.pop(name)
        manifest.changes += 1


def ours(found):
    """Without what a probe of the server's conditions may leave when it is killed."""
    return [one for one in found if not one["Key"].startswith(PROBE)]


def kill_daemon(mounted):
    os.kill(mounted.pid, signal.SIGKILL)
    mounted.wait()
    mounted.kill()
    mounted.finish(exit_code=-signal.SIGKILL)


@pytest.mark.bounded(7200 if LONG else 120)
def test_objects_are_whole_after_a_kill(mount, s3, bucket):
    manifest = Manifest(s3, bucket)
    manifest.make()
    rng = random.Random(4)
    for number in range(KILLS):
        mounted = mount(options={"upload_limit": "30M"})
        threads = [threading.Thread(target=work, args=(mounted, manifest, thread, number))
                   for thread in range(THREADS)]
        for thread in threads:
            thread.start()
        threading.Event().wait(rng.uniform(0.1, 1.5))  # the random point
        kill_daemon(mounted)
        for thread in threads:
            thread.join()
        manifest.check()
    print("%d kills, %d changes acknowledged, %d under way" % (
        KILLS, manifest.changes, manifest.under_way))
    assert manifest.under_way > 0, "nothing was in flight"
    mount()
    wait_until(lambda: not ours(uploads(s3, bucket)), "unfinished uploads to be aborted", 30)
