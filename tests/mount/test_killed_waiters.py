# SPDX-License-Identifier: Apache-2.0
"""Processes that wait for a server that has stopped go within a second of their SIGKILL."""
import os
import subprocess
import sys
import time

import pytest

from support.keys import put_all
from support.objects import wait_until

pytestmark = [pytest.mark.alone, pytest.mark.s3d_only("a server that can be stopped")]

LONG = bool(os.environ.get("PAILFS_LONG"))
GONE_S = 1 if LONG else 4  # promised: 1; a machine that tests are run on is busy

# Each in a directory of its own, which holds `old` (an object), `new` (opened, written, not closed,
# where the first line opens it) and `empty` (a directory).
CALLS = {
    "close of a new file": ("f = open('new', 'wb', buffering=0); f.write(b'x')", "f.close()"),
    "close of a large one": ("f = open('new', 'wb', buffering=0); f.write(b'x' * (20 << 20))",
                             "f.close()"),
    "close of an overwritten file": ("f = open('old', 'wb', buffering=0); f.write(b'x')",
                                     "f.close()"),
    "close of an exclusive file": ("f = open('new', 'xb', buffering=0); f.write(b'x')",
                                   "f.close()"),
    "fsync": ("f = open('new', 'wb', buffering=0); f.write(b'x')", "os.fsync(f.fileno())"),
    "creat": ("", "open('new', 'wb')"),
    "exclusive creat": ("", "open('new', 'xb')"),
    "mknod": ("", "os.mknod('new', 0o644)"),
    "open": ("", "open('old', 'rb')"),
    "read": ("f = open('big', 'rb', buffering=0)", "os.pread(f.fileno(), 10, 6 << 20)"),
    "stat": ("", "os.stat('unknown')"),
    "readdir": ("", "os.listdir('empty')"),
    "mkdir": ("", "os.mkdir('made')"),
    "rmdir": ("", "os.rmdir('empty')"),
    "unlink": ("", "os.unlink('old')"),
    "rename": ("", "os.rename('old', 'moved')"),
    "rename over another": ("", "os.rename('old', 'other')"),
    "truncate": ("", "os.truncate('old', 0)"),
    "utime": ("", "os.utime('old')"),
    "chdir": ("", "os.chdir('empty/unknown')"),
}

PROGRAM = """
import os, sys
os.chdir(sys.argv[1])
%s
print(flush=True)
sys.stdin.readline()
%s
os._exit(1)
"""


def hangs(process):
    """True when it waits for an answer of the daemon."""
    assert process.poll() is None, "it did not wait: %s" % process.args
    with open("/proc/%d/wchan" % process.pid, encoding="ascii") as wchan:
        place = wchan.read()
    return "request_wait" in place or "folio_wait" in place  # the latter: for read-ahead


def start(directory, before, call):
    process = subprocess.Popen([sys.executable, "-c", PROGRAM % (before, call), str(directory)],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL)
    process.stdout.readline()
    return process


def test_killed_processes_go_whatever_they_wait_for(mount, server, s3, bucket):
    put_all(s3, bucket, {"%d/%s" % (number, name): b"object" for number in range(len(CALLS))
                         for name in ("old", "other", "empty/")})
    put_all(s3, bucket, {"%d/big" % list(CALLS).index("read"): bytes(8 << 20)})
    mounted = mount(options={"metadata_ttl": 0})
    mounted.tolerate(".")
    processes, slow = {}, {}
    try:
        for number, (what, (before, call)) in enumerate(CALLS.items()):
            processes[what] = start(mounted / str(number), before, call)
        server.pause()
        for process in processes.values():
            process.stdin.write(b"\n")
            process.stdin.flush()
        for what, process in processes.items():
            wait_until(lambda process=process: hangs(process), what + " to wait", 30)
        time.sleep(0.5)
        for what, process in processes.items():
            assert hangs(process), what
        begin = time.monotonic()
        for process in processes.values():
            process.kill()
        for what, process in processes.items():
            process.wait(30)
            slow[what] = time.monotonic() - begin
    finally:
        server.resume()
        for process in processes.values():
            process.kill()
            process.communicate()
    print("the last of %d was gone after %.2f s" % (len(slow), max(slow.values())))
    assert max(slow.values()) < GONE_S, slow
    (mounted / "after").write_bytes(b"fine")
    assert (mounted / "after").read_bytes() == b"fine"
