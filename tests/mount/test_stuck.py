# SPDX-License-Identifier: Apache-2.0
"""A server that stops answering (kill -STOP), is killed, comes back; and what a load leaves behind.

PAILFS_LONG=1 mounts a hundred times; otherwise a few times.
"""
import errno
import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from support import data
from support.data import MIB
from support.keys import put_all
from support.objects import wait_until

pytestmark = [pytest.mark.alone, pytest.mark.s3d_only("a server that can be stopped")]

LONG = bool(os.environ.get("PAILFS_LONG"))
QUICK_S = 1
PATIENCE_S = 20
OP_TIMEOUT_S = 4
STALL_S = 2  # less than any timer of the daemon
CYCLES = 100 if LONG else 5
BLOCKED = 100


@pytest.fixture
def big(server, bucket):
    """An object that takes a while, and a pause in the middle of it."""
    server.synth(bucket, key="dir/big", size=512 * MIB, seed=9)
    server.config(nic=100 * MIB)
    return "dir/big"


@pytest.fixture
def stopped(server):
    """stopped() stops the server; it goes on at the end in any case."""
    yield server.pause
    server.resume()


class Reading(subprocess.Popen):
    """cat of a file; to a pipe nobody reads from, it would stop by itself."""

    def __init__(self, path):
        super().__init__(["cat", str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                         text=True)

    def bytes_read(self):
        with open("/proc/%d/io" % self.pid, encoding="ascii") as counters:
            return int(counters.read().split("rchar: ")[1].split()[0])

    def wait_for_bytes(self, count):
        end = time.monotonic() + PATIENCE_S
        while self.bytes_read() < count:
            assert time.monotonic() < end
            time.sleep(0.01)

    def wait_until_stuck(self):
        """Returns when no byte came for half a second."""
        end = time.monotonic() + PATIENCE_S
        last, since = self.bytes_read(), time.monotonic()
        while time.monotonic() < since + 0.5:
            assert time.monotonic() < end
            time.sleep(0.02)
            if self.bytes_read() != last:
                last, since = self.bytes_read(), time.monotonic()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_reader_of_a_stopped_server_can_be_killed(mount, big, stopped, number):
    mounted = mount()
    with Reading(mounted / big) as cat:
        cat.wait_for_bytes(4 * MIB)
        stopped()
        cat.wait_until_stuck()
        begin = time.monotonic()
        cat.send_signal(number)
        assert cat.wait(PATIENCE_S) == -number
        assert time.monotonic() - begin < QUICK_S


def test_a_lister_of_a_stopped_server_can_be_killed(mount, big, stopped):
    mounted = mount()
    stopped()
    with subprocess.Popen(["ls", str(mounted / "dir")], stderr=subprocess.DEVNULL) as lister:
        time.sleep(0.5)
        assert lister.poll() is None
        begin = time.monotonic()
        lister.send_signal(signal.SIGINT)
        assert lister.wait(PATIENCE_S) == -signal.SIGINT
        assert time.monotonic() - begin < QUICK_S


def test_a_reader_goes_on_when_the_server_does(mount, server, s3, bucket, stopped, big):
    mounted = mount()
    with subprocess.Popen(["sha256sum", str(mounted / big)], stdout=subprocess.PIPE,
                          text=True) as reader:
        time.sleep(1)
        stopped()
        time.sleep(STALL_S)
        server.resume()
        found = reader.communicate(timeout=60)[0].split()[0]
    server.config(nic=0)
    assert found == data.object_checksum(s3, bucket, big)


def test_names_that_are_known_are_answered_while_readers_wait(mount, server, s3, bucket, stopped):
    put_all(s3, bucket, {"stuck/%d" % number: b"x" * 100 for number in range(BLOCKED)})
    put_all(s3, bucket, {"fine/%d" % number: b"y" for number in range(3)})
    mounted = mount(options={"metadata_ttl": 60})
    names = os.listdir(mounted / "stuck")
    assert sorted(os.listdir(mounted / "fine")) == ["0", "1", "2"]
    stopped()
    readers = [Reading(mounted / "stuck" / name) for name in names]
    try:
        end = time.monotonic() + PATIENCE_S
        while mounted.status("Threads") < BLOCKED:
            assert time.monotonic() < end
            time.sleep(0.02)
        begin = time.monotonic()
        assert [(mounted / "fine" / name).stat().st_size for name in "012"] == [1, 1, 1]
        assert time.monotonic() - begin < QUICK_S
    finally:
        server.resume()
        codes = [reader.wait(PATIENCE_S) for reader in readers]
        for reader in readers:
            reader.stderr.close()
    assert codes == [0] * BLOCKED


def test_after_op_timeout_there_is_an_errno(mount, server, big, stopped):
    mounted = mount(options={"op_timeout": OP_TIMEOUT_S})
    mounted.expect("big.*cannot be read")
    mounted.tolerate("WARN")
    with Reading(mounted / big) as cat:
        cat.wait_for_bytes(4 * MIB)
        stopped()
        cat.wait_until_stuck()
        begin = time.monotonic()
        assert cat.wait(PATIENCE_S) == 1
        assert OP_TIMEOUT_S / 2 < time.monotonic() - begin < OP_TIMEOUT_S + 2
        assert os.strerror(errno.EIO) in cat.stderr.read()
    with pytest.raises(OSError) as error:
        os.listdir(mounted / "dir")
    assert error.value.errno == errno.EIO
    server.resume()
    with open(mounted / big, "rb", buffering=0) as file:
        assert os.pread(file.fileno(), 1000, 300 * MIB) == data.synthetic(9, 300 * MIB, 1000)


def test_a_handled_signal_does_not_shorten_a_read_of_a_stopped_server(mount, server, bucket,
                                                                     stopped):
    server.synth(bucket, key="small", size=MIB, seed=4)
    script = ("import os, signal, sys\n"
              "signal.signal(signal.SIGUSR1, lambda *_: None)\n"
              "fd = os.open(sys.argv[1], os.O_RDONLY)\n"
              "print('open', flush=True)\n"
              "sys.stdin.readline()\n"
              "sys.stdout.buffer.write(os.read(fd, 70000))\n")
    mounted = mount()
    with subprocess.Popen(["/usr/bin/python3", "-c", script, str(mounted / "small")],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
        assert reader.stdout.readline() == b"open\n"
        stopped()
        reader.stdin.write(b"\n")
        reader.stdin.flush()
        for _ in range(5):
            time.sleep(0.2)
            reader.send_signal(signal.SIGUSR1)
        assert reader.poll() is None
        server.resume()
        assert reader.communicate(timeout=PATIENCE_S)[0] == data.synthetic(4, 0, 70000)
        assert reader.returncode == 0


def test_a_server_that_is_killed_and_comes_back_is_not_noticed(mount, own_s3d):
    server = own_s3d()
    server.s3.create_bucket(Bucket="comes-back")
    body = data.content("comes-back", 64 * MIB)
    server.s3.put_object(Bucket="comes-back", Key="file", Body=body)
    server.config(nic=20 * MIB)
    mounted = mount("comes-back", server=server)
    mounted.tolerate("WARN")
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(data.file_checksum, mounted / "file")
        for _ in range(2):
            time.sleep(1)
            server.kill()
            time.sleep(0.5)
            server.start(server.port)
        assert found.result(60) == data.checksum(body)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_daemon_with_blocked_readers_ends_after_op_timeout_at_the_latest(mount, big, stopped,
                                                                          number):
    mounted = mount(options={"op_timeout": OP_TIMEOUT_S})
    mounted.tolerate("busy|cannot be read")
    with Reading(mounted / big) as cat:
        cat.wait_for_bytes(4 * MIB)
        stopped()
        cat.wait_until_stuck()
        begin = time.monotonic()
        mounted.send_signal(number)
        assert mounted.wait() == 0
        assert time.monotonic() - begin < OP_TIMEOUT_S + 2
        assert cat.wait(PATIENCE_S) == 1
    assert not mounted.is_mounted()


def test_umount_under_load_is_refused_and_the_lazy_one_lets_readers_finish(mount, server, s3,
                                                                          bucket):
    server.synth(bucket, key="file", size=64 * MIB, seed=8)
    server.config(nic=40 * MIB)
    mounted = mount()
    with subprocess.Popen(["sha256sum", str(mounted / "file")], stdout=subprocess.PIPE,
                          text=True) as reader:
        time.sleep(0.5)
        refused = subprocess.run(["umount", str(mounted.mount_point)], capture_output=True,
                                 text=True, check=False)
        assert refused.returncode != 0 and "busy" in refused.stderr
        subprocess.run(["umount", "-l", str(mounted.mount_point)], check=True)
        found = reader.communicate(timeout=60)[0].split()[0]
    server.config(nic=0)
    assert found == data.object_checksum(s3, bucket, "file")
    assert mounted.wait() == 0


def test_readers_of_a_killed_daemon_get_an_errno_and_a_new_one_takes_its_place(mount, big,
                                                                                  tmp_path):
    directory = tmp_path / "mnt"
    directory.mkdir()
    mounted = mount(directory=directory)
    with Reading(mounted / big) as cat:
        cat.wait_for_bytes(4 * MIB)
        mounted.send_signal(signal.SIGKILL)
        assert cat.wait(PATIENCE_S) == 1
    mounted.wait()
    again = mount(directory=directory)
    again.expect("gone|dead")
    assert os.listdir(again / "dir") == ["big"]
    again.finish()
    mounted.finish(exit_code=-signal.SIGKILL)


def descriptors(mounted):
    return len(os.listdir("/proc/%d/fd" % mounted.pid))


def test_a_load_leaves_neither_descriptors_nor_threads(mount, server, s3, bucket, stopped):
    put_all(s3, bucket, {"many/%d" % number: b"z" * 5000 for number in range(200)})
    mounted = mount()

    def load(names):
        with ThreadPoolExecutor(BLOCKED // 2) as pool:
            assert set(pool.map(lambda name: len((mounted / "many" / name).read_bytes()),
                                names)) == {5000}

    def wait_for_idle():
        """Workers that idle, and those with a name."""
        wait_until(lambda: mounted.status("Threads") <= 16 + 8, "the workers to end", PATIENCE_S)

    names = os.listdir(mounted / "many")
    with ThreadPoolExecutor(BLOCKED) as pool:  # opens all the connections that there may be
        stopped()
        absent = [pool.submit((mounted / ("absent%d" % number)).exists)
                  for number in range(BLOCKED // 2)]
        reading = pool.submit(load, names[:BLOCKED // 2])
        try:
            wait_until(lambda: mounted.status("Threads") > BLOCKED, "all to wait", PATIENCE_S)
        finally:
            server.resume()
        assert not any(one.result() for one in absent)
        reading.result()
    wait_for_idle()
    first = descriptors(mounted)
    for _ in range(10):
        load(os.listdir(mounted / "many"))
    wait_for_idle()
    assert descriptors(mounted) <= first + 2  # one worker's pipe


def test_mounting_again_and_again_leaves_nothing(mount, server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="file", Body=b"here")
    connections = server.stats()["connections"]
    for _ in range(CYCLES):
        with mount() as mounted:
            assert (mounted / "file").read_bytes() == b"here"
        assert not mounted.is_mounted()
        assert not os.path.exists("/proc/%d" % mounted.pid)
    assert server.stats()["connections"] <= connections
