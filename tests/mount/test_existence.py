# SPDX-License-Identifier: Apache-2.0
"""A key is absent (or old), or it is whole: whoever looks, however, at any moment of a write.

Pollers look by HEAD, by a listing, and through a second mount while a file is written. The writer
waits for them after each piece, so that the looks are spread over the whole of it. PAILFS_LONG=1
looks 100,000 times, at files of 200 MiB.
"""
import collections
import errno
import itertools
import os
import subprocess
import sys
import threading
import time

import pytest
from botocore.exceptions import ClientError

from support.data import MIB, checksum, content
from support.objects import body, exists, uploads, wait_until

LONG = bool(os.environ.get("PAILFS_LONG"))
LOOKS = 100_000 if LONG else 600
LARGE_BYTES = 200 * MIB if LONG else 24 * MIB
SMALL_BYTES = 3, 4096, 100_000, 3 * MIB
LARGE_EVERY = 12  # rounds
PIECES = 50 if LONG else 8
LOOKS_A_PIECE = 2  # of each poller
NEAR_S = 0.05
NEAR_LOOKS = 100 if LONG else 20
READ_MAX = 100_000  # the second mount reads what is not larger, and compares
COMMANDS = 20 if LONG else 1

# What a look saw: how, from begin to end, with the upload visible, and a State or None.
Look = collections.namedtuple("Look", "how begin end uploading seen")
# What an object is; None where a look cannot tell.
State = collections.namedtuple("State", "size etag sum")


def agree(seen, true):
    """Whether a look may have seen that state of the key (None: it is absent)."""
    if seen is None or true is None:
        return seen is true
    return all(mine in (None, its) for mine, its in zip(seen, true))


def head(s3, bucket, key):
    try:
        found = s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 404
        return None
    return State(found["ContentLength"], found["ETag"], None)


def listed(s3, bucket, key):
    for entry in s3.list_objects_v2(Bucket=bucket, Prefix=key).get("Contents", []):
        if entry["Key"] == key:
            return State(entry["Size"], entry["ETag"], None)
    return None


def through_mount(path):
    """stat, and for small files read, by another mount. False: it was replaced meanwhile."""
    try:
        size = path.stat().st_size
        if size > READ_MAX:
            return State(size, None, None)
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read(READ_MAX + 1) if size <= READ_MAX else None
    except FileNotFoundError:
        return None
    except OSError as error:
        assert error.errno == errno.ESTALE
        return False
    return State(size, None, checksum(data) if data is not None else None)


class Poller(threading.Thread):
    """Looks at whatever key it is told to, over and over again."""

    def __init__(self, how, look, s3, bucket):
        super().__init__()
        self._how, self._look, self._s3, self._bucket = how, look, s3, bucket
        self._changed = threading.Condition()
        self._key, self._ended = None, False
        self.looks = []
        self.start()

    def run(self):
        try:
            while not self._ended:
                if self._key is None:
                    time.sleep(0.001)
                else:
                    self._one(self._key)
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _one(self, key):
        uploading = self._how == "list" and bool(uploads(self._s3, self._bucket))
        begin = time.monotonic()
        seen = self._look(key)
        look = Look(self._how, begin, time.monotonic(), uploading, seen)
        with self._changed:
            if key == self._key and seen is not False:
                self.looks.append(look)
            self._changed.notify_all()

    def watch(self, key):
        with self._changed:
            self._key, self.looks = key, []

    def wait_for(self, count):
        """Returns when so many looks have begun and ended from now on."""
        now = time.monotonic()
        with self._changed:
            while sum(look.begin >= now for look in self.looks[-count - 1:]) < count:
                assert not self._ended and time.monotonic() < now + 60
                self._changed.wait(1)

    def end(self):
        self._ended = True
        self.join()


@pytest.fixture
def pollers(server, bucket, mount):
    """HEAD, list, and stat and read through a mount of their own."""
    other = mount()
    clients = [server.client() for _ in range(3)]
    made = [Poller("head", lambda key: head(clients[0], bucket, key), clients[0], bucket),
            Poller("list", lambda key: listed(clients[1], bucket, key), clients[1], bucket),
            Poller("mount", lambda key: through_mount(other / key), clients[2], bucket)]
    yield made
    for poller in made:
        poller.end()


def write_watched(path, data, pollers):
    """Writes and closes; gives the times at which close began and ended."""
    step = max(1, -(-len(data) // PIECES))
    with open(path, "wb", buffering=0) as file:
        for at in range(0, len(data), step):
            file.write(data[at:at + step])
            for poller in pollers:
                poller.wait_for(LOOKS_A_PIECE)
        begin = time.monotonic()
    end = time.monotonic()
    for poller in pollers:
        poller.wait_for(LOOKS_A_PIECE)
    return begin, end


def judge(looks, old, new, close_began, close_ended):
    """Each look saw the old state or the new one, and the right one of them outside of close."""
    for look in looks:
        allowed = [old] if look.end < close_began else [old, new]
        if look.begin > close_ended and (look.how != "mount" or old is None):
            allowed = [new]  # the other mount may believe for a second what it knew of a name
        assert any(agree(look.seen, state) for state in allowed), (look, allowed)


@pytest.mark.bounded(1800 if LONG else 120)
def test_a_key_is_absent_or_old_or_whole_at_every_look(mount, server, s3, bucket, pollers):
    mounted = mount()
    tally = collections.Counter()
    for number in itertools.count():
        asked = tally["head"] + tally["list"]
        if asked + min(asked, tally["mount"]) >= LOOKS and tally["large"] >= 2:
            break
        large = number % LARGE_EVERY < 2  # one is new, one overwrites
        size = LARGE_BYTES if large else SMALL_BYTES[number // 2 % len(SMALL_BYTES)]
        key, data, old = "k%d" % number, content("new%d" % (number % 8), size), None
        if number % 2:
            before = content("old", size // 2 % 3000 + 1)
            etag = s3.put_object(Bucket=bucket, Key=key, Body=before)["ETag"]
            old = State(len(before), etag, checksum(before))
        for poller in pollers:
            poller.watch(key)
        close_began, close_ended = write_watched(mounted / key, data, pollers)
        looks = [look for poller in pollers for look in list(poller.looks)]
        new = head(s3, bucket, key)._replace(sum=checksum(data))
        assert new.size == size
        judge(looks, old, new, close_began, close_ended)
        tally.update(look.how for look in looks)
        tally.update(near=sum(look.end >= close_ended - NEAR_S and look.begin <= close_ended + NEAR_S
                              for look in looks),
                     uploading=sum(look.uploading for look in looks), large=large)
        for poller in pollers:
            poller.watch(None)
        s3.delete_object(Bucket=bucket, Key=key)
    print("looks:", dict(tally))
    assert tally["near"] >= NEAR_LOOKS
    assert tally["uploading"] > 0


IDIOMS = {
    "dd": "dd if={source} of={f} bs=1M status=none",
    "redirection": "{ cat {half}; sleep 0.1; cat {half}; } > {f}",
    "two commands": "(cat {half}; sleep 0.1; cat {half}) > {f}",
    "exec": "exec 3>{f}; cat {half} >&3; sleep 0.1; cat {half} >&3; exec 3>&-",
    "tee": "{ cat {half}; sleep 0.1; cat {half}; } | tee {f} >/dev/null",
    "Popen": "{python} -c 'import subprocess, sys; f = open(sys.argv[1], \"w\"); "
             "[subprocess.Popen([\"cat\", sys.argv[2]], stdout=f).wait() for _ in (1, 2)]; "
             "f.close()' {f} {half}",
    "touch": "touch {f}",
}


@pytest.mark.parametrize("idiom,size", [
    *((idiom, 6000) for idiom in IDIOMS),
    *((idiom, 20 * MIB) for idiom in IDIOMS if idiom != "touch")])
def test_a_command_never_shows_a_beginning(mount, s3, bucket, pollers, tmp_path, idiom, size):
    half = content("half", size // 2)
    (tmp_path / "half").write_bytes(half)
    (tmp_path / "source").write_bytes(half * 2)
    expected = b"" if idiom == "touch" else half * 2
    mounted = mount()
    for number in range(COMMANDS):
        key = "f%d" % number
        command = IDIOMS[idiom]
        for name, value in {"f": mounted / key, "half": tmp_path / "half", "python": sys.executable,
                            "source": tmp_path / "source"}.items():
            command = command.replace("{%s}" % name, str(value))
        for poller in pollers:
            poller.watch(key)
            poller.wait_for(1)
        subprocess.run(["bash", "-c", command], check=True, timeout=100)
        ended = time.monotonic()
        assert exists(s3, bucket, key), "it is not there when the command has returned"
        for poller in pollers:
            poller.wait_for(1)
        looks = [look for poller in pollers for look in list(poller.looks)]
        new = head(s3, bucket, key)._replace(sum=checksum(expected))
        judge(looks, None, new, float("-inf"), ended)
        assert new.size == len(expected)
        assert body(s3, bucket, key) == expected
        for poller in pollers:
            poller.watch(None)
    wait_until(lambda: uploads(s3, bucket) == [], "no upload to be left")
