# SPDX-License-Identifier: Apache-2.0
"""Readers that are killed while S3 does not answer, and the others meanwhile."""
import os
import signal
import subprocess
import time

import pytest

from support.keys import put_all

pytestmark = pytest.mark.s3d_only("stalls")

BLOCKED = 500
QUICK_S = 1
PATIENCE_S = 20


@pytest.fixture
def stalled(mount, server, s3, bucket):
    """A mount where objects below stuck/ are never answered, and names always."""
    put_all(s3, bucket, {"stuck/%03d" % i: b"x" * 1000 for i in range(BLOCKED)})
    put_all(s3, bucket, {"fine/file": b"fine"})
    server.faults({"name": "stall", "match": {"op": "GetObject", "key_prefix": "stuck/"},
                   "do": {"stall_after": -1}})
    mounted = mount()
    yield mounted
    server.clear_faults()


def reader(mounted, name):
    return subprocess.Popen(["cat", str(mounted / name)], stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL)


def wait_until_stalled(server):
    end = time.monotonic() + PATIENCE_S
    while not server.fault_hits().get("stall"):
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_deadly_signal_ends_a_reader_that_waits(stalled, server, number):
    with reader(stalled, "stuck/000") as process:
        wait_until_stalled(server)
        begin = time.monotonic()
        process.send_signal(number)
        assert process.wait(PATIENCE_S) == -number
        assert time.monotonic() - begin < QUICK_S


def test_a_handled_signal_neither_fails_nor_shortens_a_read(stalled, server):
    script = ("import os, signal, sys\n"
              "signal.signal(signal.SIGUSR1, lambda *_: None)\n"
              "fd = os.open(sys.argv[1], os.O_RDONLY)\n"
              "print(len(os.read(fd, 4000)))\n")
    with subprocess.Popen(["/usr/bin/python3", "-c", script, str(stalled / "stuck/001")],
                          stdout=subprocess.PIPE) as process:
        wait_until_stalled(server)
        process.send_signal(signal.SIGUSR1)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        server.clear_faults()
        process.kill()


@pytest.mark.bounded(240)
def test_names_are_answered_behind_500_blocked_reads(stalled, server):
    processes = [reader(stalled, "stuck/%03d" % i) for i in range(BLOCKED)]
    try:
        threads = 0
        end = time.monotonic() + 60
        while threads < BLOCKED and time.monotonic() < end:
            threads = stalled.status("Threads")
            time.sleep(0.05)
        assert threads >= BLOCKED
        begin = time.monotonic()
        assert os.listdir(stalled / "fine") == ["file"]
        assert time.monotonic() - begin < QUICK_S
        begin = time.monotonic()
        assert (stalled / "fine" / "file").stat().st_size == 4
        assert time.monotonic() - begin < QUICK_S
        assert [p for p in processes if p.poll() is not None] == []
    finally:
        begin = time.monotonic()
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()
    assert time.monotonic() - begin < 5
