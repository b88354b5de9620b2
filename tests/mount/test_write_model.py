# SPDX-License-Identifier: Apache-2.0
"""Random operations on a mount and on a local directory, side by side: both must answer the same.

A seed that fails is printed by its test's name. At the end the bucket must hold what the local
directory holds.
"""
import errno
import os
import random
import threading

import pytest

from support.data import content
from support.objects import body, keys

STEPS = 250
MIB = 1 << 20


class Model:
    """The same operation in both places."""

    def __init__(self, seed, local, mounted):
        self.random = random.Random(seed)
        self.seed = seed
        self.roots = [str(local), str(mounted)]
        self.handles = []  # [name, local descriptor, descriptor of the mount]
        self.trace = []

    def both(self, what, call, *args):
        """Calls it in both places; the results, or errnos, must agree."""
        answers = []
        for side in (0, 1):
            try:
                answers.append(call(side, *args))
            except OSError as error:
                answers.append("-" + errno.errorcode[error.errno])
        self.trace.append("%s -> %.60r" % (what, answers[0]))
        assert answers[0] == answers[1], "\n".join(self.trace[-40:] + [repr(answers[1])[:200]])
        return answers[0]

    def path(self, side, name):
        return os.path.join(self.roots[side], name)

    def name(self):
        """One of few names, so that they meet."""
        where = self.random.choice(["", "", "", "d/", "e/"])
        return where + self.random.choice("abc")

    def open_new(self):
        name, flags = self.name(), os.O_CREAT | self.random.choice([os.O_RDWR, os.O_WRONLY])
        flags |= self.random.choice([os.O_TRUNC, os.O_TRUNC, os.O_EXCL])
        fds = [None, None]

        def call(side):
            fds[side] = os.open(self.path(side, name), flags, 0o644)
            return True
        if self.both("open %s %o" % (name, flags), call) is True:
            self.handles.append([flags & os.O_ACCMODE == os.O_RDWR, *fds])

    def handle(self):
        return self.random.choice(self.handles) if self.handles else None

    def write(self):
        handle = self.handle()
        if handle:
            size = self.random.choice([1, 100, 5000, 70_000, 2 * MIB])
            offset = self.random.choice([0, 0, 10, 4096, 100_000, 3 * MIB])
            data = content("%d-%d" % (self.seed, len(self.trace)), size)
            self.both("write %d at %d" % (size, offset),
                      lambda side: os.pwrite(handle[side + 1], data, offset))

    def append(self):
        handle = self.handle()
        if handle:
            data = content("%d-%d" % (self.seed, len(self.trace)),
                           self.random.choice([10, 3000, 1_500_000]))
            self.both("append", lambda side: os.pwrite(
                handle[side + 1], data, os.fstat(handle[side + 1]).st_size))

    def read_back(self):
        handle = self.handle()
        if handle and handle[0]:
            size, offset = self.random.choice([10, 9000, MIB]), self.random.randrange(200_000)
            self.both("pread %d at %d" % (size, offset),
                      lambda side: os.pread(handle[side + 1], size, offset))

    def truncate(self):
        handle = self.handle()
        if handle:
            size = self.random.choice([0, 1, 5000, 120_000, 4 * MIB])
            self.both("ftruncate %d" % size, lambda side: os.ftruncate(handle[side + 1], size))

    def fsync(self):
        handle = self.handle()
        if handle:
            self.both("fsync", lambda side: os.fsync(handle[side + 1]))

    def close(self):
        if self.handles:
            handle = self.handles.pop(self.random.randrange(len(self.handles)))
            self.both("close", lambda side: os.close(handle[side + 1]))

    def read_whole(self):
        name = self.name()

        def call(side):
            with open(self.path(side, name), "rb") as file:
                return file.read()
        self.both("read %s" % name, call)

    def stat(self):
        name = self.random.choice([self.name(), "d", "e"])

        def call(side):
            found = os.stat(self.path(side, name))
            is_dir = os.path.isdir(self.path(side, name))
            return is_dir, 0 if is_dir else found.st_size
        self.both("stat %s" % name, call)

    def listing(self):
        name = self.random.choice(["", "", "d", "e"])
        self.both("ls %s" % name, lambda side: sorted(os.listdir(self.path(side, name))))

    def unlink(self):
        name = self.name()
        self.both("unlink %s" % name, lambda side: os.unlink(self.path(side, name)))

    def rename(self):
        old, new = self.name(), self.name()
        self.both("rename %s %s" % (old, new),
                  lambda side: os.rename(self.path(side, old), self.path(side, new)))

    def mkdir(self):
        name = self.random.choice("de")
        self.both("mkdir %s" % name, lambda side: os.mkdir(self.path(side, name)))

    def rmdir(self):
        name = self.random.choice("de")
        self.both("rmdir %s" % name, lambda side: os.rmdir(self.path(side, name)))

    def run(self, steps):
        weights = {self.open_new: 5, self.write: 8, self.append: 4, self.read_back: 4,
                   self.truncate: 2, self.fsync: 2, self.close: 5, self.read_whole: 5,
                   self.stat: 4, self.listing: 4, self.unlink: 3, self.rename: 3, self.mkdir: 2,
                   self.rmdir: 1}
        for _ in range(steps):
            self.random.choices(list(weights), weights.values())[0]()
        while self.handles:
            self.close()


def files_below(root):
    found = {}
    for place, _, names in os.walk(root):
        for name in names:
            path = os.path.join(place, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, root)] = file.read()
    return found


@pytest.mark.parametrize("seed", range(8))
def test_random_operations(mount, s3, bucket, tmp_path, seed):
    mounted = mount(options={"metadata_ttl": ["1s", "0", "60s"][seed % 3]})
    Model(seed, tmp_path, mounted.path).run(STEPS)
    expected = files_below(tmp_path)
    assert files_below(mounted.path) == expected
    assert {key for key in keys(s3, bucket) if not key.endswith("/")} == set(expected)
    for key, data in expected.items():
        assert body(s3, bucket, key) == data


@pytest.mark.concurrent
def test_many_writers_at_once(mount, s3, bucket):
    mounted = mount(options={"memory": "64M"})
    failures = []

    def work(number):
        rng = random.Random(number)
        try:
            for turn in range(6):
                name = mounted / ("w%d-%d" % (number, turn))
                data = content(str(name.name), rng.choice([100, 300_000, 9 * MIB]))
                with open(str(name) + ".tmp", "wb") as file:
                    file.write(data)
                    if turn % 2:
                        os.rename(str(name) + ".tmp", name)
                if not turn % 2:
                    os.rename(str(name) + ".tmp", name)
                assert name.name in os.listdir(mounted.path)
                assert name.read_bytes() == data
                if turn == 5:
                    name.unlink()
        except Exception as error:  # told by the thread that waits
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert keys(s3, bucket) == sorted("w%d-%d" % (n, t) for n in range(10) for t in range(5))
    for number in range(10):
        key = "w%d-%d" % (number, number % 5)
        assert body(s3, bucket, key) == (mounted / key).read_bytes()
