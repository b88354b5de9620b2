# SPDX-License-Identifier: Apache-2.0
"""The daemon is killed (kill -9) while files are written: what close acknowledged is there, nothing
is partial, and the next mount aborts the uploads that were left.

PAILFS_LONG=1 kills it 300 times.
"""
import collections
import os
import random
import signal
import threading
import time

import pytest

from support.data import MIB, checksum, content
from support.objects import body, exists, keys, uploads, wait_until

LONG = bool(os.environ.get("PAILFS_LONG"))
KILLS = 300 if LONG else 4
WRITERS = 5
UPLOAD_LIMIT = "60M"
SIZES = 0, 1000, 6 * MIB, 20 * MIB, 100_000, 12 * MIB
AFTER_S = 0.1, 1.0
PROBE = ".pailfs-condition-probe-"  # may be left, too: empty


def kill_daemon(mounted):
    os.kill(mounted.pid, signal.SIGKILL)
    mounted.wait()
    mounted.kill()
    mounted.finish(exit_code=-signal.SIGKILL)


class Writer(threading.Thread):
    """Makes files, overwrites them, and writes on after fsync, until the mount has gone.

    manifest    name -> what may be there: the sum that close or fsync acknowledged last (None:
                nothing yet) and those of all that was begun since
    """

    def __init__(self, mounted, number, seed):
        super().__init__()
        self._path, self._number, self._seed = mounted.path, number, seed
        self._device = os.stat(mounted.path).st_dev
        self._rng = random.Random("%s/%d" % (seed, number))
        self.manifest, self.acknowledged, self.in_flight = {}, 0, False
        self.start()

    def run(self):
        names = []
        for turn in range(100000):
            name = "%s-w%d-%d" % (self._seed, self._number, turn)
            if names and self._rng.random() < 0.3:
                name = self._rng.choice(names)
            names.append(name)
            size = SIZES[(turn + self._number) % len(SIZES)]
            try:
                if not self._write(name, content("%s/%d" % (name, turn), size)):
                    return
            except OSError:
                return

    def _begin(self, name, data):
        self.manifest.setdefault(name, [None]).append(checksum(data))

    def _acknowledge(self, name, data):
        self.manifest[name] = [checksum(data)]
        self.acknowledged += 1

    def _write(self, name, data):
        """False: the mount has gone, and this is the directory below it."""
        synced = self._rng.random() < 0.2 and len(data) // 2
        self.in_flight = True
        with open(self._path / name, "wb", buffering=0) as file:
            if os.fstat(file.fileno()).st_dev != self._device:
                self.in_flight = False
                return False
            if synced:
                self._begin(name, data[:synced])
                file.write(data[:synced])
                os.fsync(file.fileno())
                self._acknowledge(name, data[:synced])
            self._begin(name, data)
            file.write(data[synced or 0:])
        self._acknowledge(name, data)
        self.in_flight = False
        return True


def check(s3, bucket, writers):
    """All that is there is what it may be; gives the number of objects."""
    there = {key for key in keys(s3, bucket) if not key.startswith(PROBE)}
    manifest = {}
    for writer in writers:
        manifest.update(writer.manifest)
    assert there <= set(manifest), "objects that nobody has begun: %s" % (there - set(manifest))
    for name, allowed in manifest.items():
        found = checksum(body(s3, bucket, name)) if name in there else None
        assert found in allowed, "%s: %s" % (name, "absent" if found is None else "other bytes")
    return len(there)


@pytest.mark.bounded(3600 if LONG else 120)
def test_the_daemon_is_killed_at_random_points(mount, s3, bucket):
    rng = random.Random(17)
    tally = collections.Counter()
    for number in range(KILLS):
        mounted = mount(options={"upload_limit": UPLOAD_LIMIT})
        wait_until(lambda: uploads(s3, bucket) == [], "unfinished uploads to be aborted", 30)
        writers = [Writer(mounted, who, "r%d" % number) for who in range(WRITERS)]
        time.sleep(rng.uniform(*AFTER_S))
        kill_daemon(mounted)
        for writer in writers:
            writer.join()
        tally["operations under way"] += sum(writer.in_flight for writer in writers)
        tally["acknowledged"] += sum(writer.acknowledged for writer in writers)
        tally["unfinished uploads"] += len(uploads(s3, bucket))
        tally["objects"] += check(s3, bucket, writers)
        for key in keys(s3, bucket):
            s3.delete_object(Bucket=bucket, Key=key)
    mount()
    wait_until(lambda: uploads(s3, bucket) == [], "unfinished uploads to be aborted", 30)
    assert keys(s3, bucket) == []
    print(dict(tally))
    assert tally["operations under way"] > 0, "nothing was in flight"
    if LONG:  # a few kills on a busy machine may all come too early
        assert tally["operations under way"] >= KILLS
        assert tally["unfinished uploads"] > 0 and tally["acknowledged"] > 0


def test_the_next_mount_aborts_what_was_left_and_nothing_else(mount, s3, bucket):
    mounted = mount(options={"upload_limit": "20M"})
    fd = os.open(mounted / "f", os.O_CREAT | os.O_WRONLY)
    os.write(fd, content("left", 24 * MIB))
    wait_until(lambda: uploads(s3, bucket), "an upload to begin", 30)
    other = s3.create_multipart_upload(Bucket=bucket, Key="f")["UploadId"]
    kill_daemon(mounted)
    with pytest.raises(OSError):
        os.close(fd)
    assert not exists(s3, bucket, "f")
    assert len([one for one in uploads(s3, bucket) if one["Key"] == "f"]) == 2
    mount()
    wait_until(lambda: len(uploads(s3, bucket)) == 1, "ours to be aborted", 30)
    assert uploads(s3, bucket)[0]["UploadId"] == other
    s3.abort_multipart_upload(Bucket=bucket, Key="f", UploadId=other)
