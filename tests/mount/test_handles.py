# SPDX-License-Identifier: Apache-2.0
"""Handles and inodes survive what kernels and programs do."""
import ctypes
import errno
import os
import subprocess
import sys

import pytest

from support.keys import put_all

LONG = bool(os.environ.get("PAILFS_LONG"))
OPEN_FILES = 100_000 if LONG else 2_000
OPENERS = 20
NAMES = 3_000  # more than one page, and than the daemon remembers
D_NAME = 19  # offsetof(struct dirent, d_name)


OPENER = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
directory, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
held = [os.open("%s/f%06d" % (directory, first + n), os.O_RDONLY) for n in range(count)]
read = {os.pread(held[n], 200, 0) for n in range(0, count, max(1, count // 10))}
assert all(len(one) == 100 for one in read)
print(len(read), flush=True)
sys.stdin.read()
"""


@pytest.mark.s3d_only("planting many objects")
@pytest.mark.bounded(600)
def test_many_open_files(mount, bucket, server):
    """A process may not have so many: several hold them at the same time."""
    server.synth(bucket, prefix="d/", format="f%06d", count=OPEN_FILES, size=100, seed=5)
    mounted = mount(options={"metadata_ttl": "600s"})
    assert len(os.listdir(mounted / "d")) == OPEN_FILES
    share = OPEN_FILES // OPENERS
    openers = [subprocess.Popen([sys.executable, "-c", OPENER, str(mounted / "d"),
                                 str(number * share), str(share)],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE)
               for number in range(OPENERS)]
    assert [int(one.stdout.readline()) for one in openers] == [10] * OPENERS
    for one in openers:
        one.communicate()
        assert one.returncode == 0


@pytest.mark.s3d_only("scripted stalls")
def test_what_is_opened_and_not_read(mount, server, s3, bucket):
    """An open asks for a small file's bytes, but not behind others that wait: who opens many files
    need not read them, and each would hold memory and stand before those that are read."""
    names = ["f%03d" % number for number in range(100)]
    put_all(s3, bucket, {name: name.encode() for name in names})
    mounted = mount(options={"parallel": 2, "metadata_ttl": "600s"})
    assert sorted(os.listdir(mounted.path)) == names
    server.faults({"match": {"op": "GetObject"}, "do": {"stall_after": -1}})
    held = [os.open(mounted / name, os.O_RDONLY) for name in names]
    try:
        server.clear_faults()
        while len(held) > 50:  # those that stall among them
            os.close(held.pop(0))
        assert os.pread(held[-1], 10, 0) == names[-1].encode()  # all that waited has begun by now
        assert len({entry["key"] for entry in server.log("GetObject")}) < 10
    finally:
        for descriptor in held:
            os.close(descriptor)


def test_a_name_after_its_unlink(mount, s3, bucket):
    mounted = mount()
    (mounted / "f").write_bytes(b"one")
    with open(mounted / "f", "rb", buffering=0) as file:
        assert file.read() == b"one"
        os.unlink(mounted / "f")
        with pytest.raises(FileNotFoundError):
            os.stat(mounted / "f")
        assert os.fstat(file.fileno()).st_nlink == 0
        (mounted / "f").write_bytes(b"second")
        assert (mounted / "f").read_bytes() == b"second"
        assert os.pread(file.fileno(), 10, 0) == b"one"
    assert (mounted / "f").read_bytes() == b"second"


def test_a_stale_node(mount, s3, bucket):
    """A node is a version: what still names the old one is told so, what names the path is not."""
    put_all(s3, bucket, {"f": b"one"})
    mounted = mount(options={"metadata_ttl": "0"})
    node = os.open(mounted / "f", os.O_PATH)
    try:
        assert os.stat("/proc/self/fd/%d" % node).st_size == 3
        put_all(s3, bucket, {"f": b"second"})
        assert os.stat(mounted / "f").st_size == 6
        for call in (lambda: os.fstat(node),
                     lambda: os.open("/proc/self/fd/%d" % node, os.O_RDONLY)):
            with pytest.raises(OSError) as caught:
                call()
            assert caught.value.errno == errno.ESTALE
        assert (mounted / "f").read_bytes() == b"second"
    finally:
        os.close(node)


class Directory:
    """opendir(3) and its friends, as C programs use them."""

    def __init__(self, path):
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.opendir.restype = ctypes.c_void_p
        self._libc.readdir.restype = ctypes.c_void_p
        self._libc.readdir.argtypes = [ctypes.c_void_p]
        self._libc.telldir.restype = ctypes.c_long
        self._libc.telldir.argtypes = [ctypes.c_void_p]
        self._libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
        self._libc.rewinddir.argtypes = [ctypes.c_void_p]
        self._libc.closedir.argtypes = [ctypes.c_void_p]
        self._stream = self._libc.opendir(os.fsencode(path))
        assert self._stream

    def read(self):
        entry = self._libc.readdir(self._stream)
        return ctypes.string_at(entry + D_NAME) if entry else None

    def tell(self):
        return self._libc.telldir(self._stream)

    def seek(self, position):
        self._libc.seekdir(self._stream, position)

    def rewind(self):
        self._libc.rewinddir(self._stream)

    def close(self):
        self._libc.closedir(self._stream)


@pytest.mark.s3d_only("planting many objects")
@pytest.mark.parametrize("options", [{}, {"posix": True}], ids=["default", "posix"])
def test_telldir_and_seekdir(mount, bucket, server, options):
    server.synth(bucket, prefix="d/", format="f%06d", count=NAMES, size=1)
    mounted = mount(options=options)
    directory = Directory(mounted / "d")
    try:
        found = []
        while True:
            position, name = directory.tell(), directory.read()
            if name is None:
                break
            found.append((position, name))
        names = [name for _, name in found]
        assert len(names) == NAMES + 2 and len(set(names)) == len(names)
        for number in (NAMES + 1, 0, 1, 2, 1500, 1499, NAMES - 1, 3, 2900, 700):
            directory.seek(found[number][0])
            assert [directory.read() for _ in range(3)] == (names + [None] * 3)[number:number + 3]
        directory.rewind()
        assert [directory.read() for _ in range(5)] == names[:5]
    finally:
        directory.close()
