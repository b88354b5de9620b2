# SPDX-License-Identifier: Apache-2.0
"""Limits as the server's network sees them: bytes that the client's TCP has acknowledged, or sent.

PAILFS_LONG=1 measures for longer; the bounds are the same.
"""
import contextlib
import os
import subprocess
import threading
import time

import pytest

from support.data import MIB

pytestmark = [pytest.mark.limited, pytest.mark.s3d_only("a record of the traffic")]

LONG = bool(os.environ.get("PAILFS_LONG"))
SECONDS = 10 if LONG else 4
WARM_UP_S = 1  # until a new reader has its share
WINDOWS_S = (0.2, 2.0)
DEMAND_S = 0.3
READERS, DEMANDED = 2, 6

DOWN, UP = 1, 2  # columns of the samples
TRIES = 3  # for the mean: on a busy machine sleepers wake up late, and a bucket flows over meanwhile

# rate and burst in bytes as the option's text says; the least mean
LIMITS = [("50M", 50e6, 5e6, 0.95), ("5M", 5e6, 500e3, 0.95), ("50M:1M", 50e6, 1 << 20, 0.95),
          ("5M:64K", 5e6, 64 << 10, 0.9), ("500K", 500e3, 50e3, 0.95)]


class Reader(threading.Thread):
    """Reads a file from its beginning until stop() and counts."""

    def __init__(self, path, delay_s=0):
        super().__init__()
        self._path, self._delay_s = path, delay_s
        self._stopped = threading.Event()
        self.bytes = 0
        self.start()

    def run(self):
        self._stopped.wait(self._delay_s)
        with open(self._path, "rb", buffering=0) as file:
            while not self._stopped.is_set():
                self.bytes += len(file.read(128 * 1024))

    def stop(self):
        self._stopped.set()
        self.join()


@contextlib.contextmanager
def reading(*paths, delay_s=0):
    """Readers of those files, each beginning delay_s after the one before it."""
    readers = [Reader(path, number * delay_s) for number, path in enumerate(paths)]
    try:
        yield readers
    finally:
        for reader in readers:
            reader.stop()


@pytest.fixture
def big(server, bucket):
    """Objects that nobody reads to the end."""
    for number in range(READERS + DEMANDED):
        server.synth(bucket, key="big%d" % number, size=4 << 30, sparse=True)


def most_in_a_window(samples, seconds, column):
    """The most bytes between two samples that are at most so far apart."""
    most = first = 0
    for sample in samples:
        while sample[0] - samples[first][0] > seconds:
            first += 1
        most = max(most, sample[column] - samples[first][column])
    return most


def mean_rate(samples, column):
    """Bytes a second, from the first byte and WARM_UP_S on to the last."""
    begin = next(sample[0] for sample in samples if sample[column] > 0) + WARM_UP_S
    first = next(sample for sample in samples if sample[0] >= begin)
    last = next(sample for sample in samples if sample[column] == samples[-1][column])
    return (last[column] - first[column]) / (last[0] - first[0])


def assert_limited(samples_of_a_try, rate, burst, least, column):
    """The bound holds in every try, and the mean in one."""
    means = []
    while len(means) < TRIES and max(means, default=0) < least * rate:
        samples = samples_of_a_try()
        for window_s in WINDOWS_S:
            assert most_in_a_window(samples, window_s, column) <= rate * window_s + burst
        means.append(mean_rate(samples, column))
    assert max(means) >= least * rate, means


# The mean of a daemon that a sanitizer makes four times as slow says nothing of its limit.
rates = pytest.mark.skipif(os.environ.get("PAILFS_SANITIZER", "none") not in ("", "none"),
                           reason="rates are not measured under a sanitizer")


@rates
@pytest.mark.usefixtures("big")
@pytest.mark.parametrize("text,rate,burst,least", LIMITS)
def test_no_interval_has_more_than_rate_and_burst_and_the_mean_is_kept(mount, server, text, rate,
                                                                       burst, least):
    def read():
        mounted = mount(options={"download_limit": text})
        server.traffic(on=True)
        with reading(mounted / "big0"):
            time.sleep(WARM_UP_S + SECONDS)
            samples = server.traffic()
        mounted.finish()
        return samples

    assert_limited(read, rate, burst, least, DOWN)


@rates
@pytest.mark.parametrize("text,rate,burst,least", LIMITS[:3])
def test_an_upload_keeps_to_its_limit(mount, server, tmp_path, text, rate, burst, least):
    source = tmp_path / "source"
    source.write_bytes(bytes(int(rate * (WARM_UP_S + SECONDS))))

    def write():
        mounted = mount(options={"upload_limit": text})
        server.traffic(on=True)
        mounted.run("cp", source, mounted.mount_point / "copy")
        samples = server.traffic()
        mounted.finish()
        return samples

    assert_limited(write, rate, burst, least, UP)


def sent_bytes(server, names, from_t, to_t):
    """What each key's parts have brought between two of the server's times, as they ended."""
    brought = dict.fromkeys(names, 0)
    for entry in server.log("UploadPart", status=200):
        if entry["key"] not in brought:
            continue
        length = max(entry["t_end"] - entry["t"], 1e-6)
        within = max(0, min(entry["t_end"], to_t) - max(entry["t"], from_t))
        brought[entry["key"]] += entry["bytes_in"] * within / length
    return [brought[name] for name in names]


@rates
@pytest.mark.parametrize("text,rate,burst",
                         [("5M", 5e6, 500e3), ("50M", 50e6, 5e6)][:2 if LONG else 1])
def test_two_writers_have_half_each(mount, server, tmp_path, text, rate, burst):
    source = tmp_path / "source"
    source.write_bytes(bytes(int(rate * (WARM_UP_S + SECONDS + 2) / 2)))

    def write():
        server.clear_log()
        mounted = mount(options={"upload_limit": text, "upload_part_size": "5M"})
        server.traffic(on=True)
        writers = [subprocess.Popen(["cp", str(source), str(mounted / name)])
                   for name in ("one", "two")]
        assert [writer.wait() for writer in writers] == [0, 0]
        samples = server.traffic()
        mounted.finish()
        begin = max(min(entry["t"] for entry in server.log("UploadPart", key=key))
                    for key in ("one", "two"))
        first_end = min(max(entry["t_end"] for entry in server.log("UploadPart", key=key))
                        for key in ("one", "two"))
        shares = sent_bytes(server, ("one", "two"), begin + WARM_UP_S, first_end)
        assert all(0.45 <= share / sum(shares) <= 0.55 for share in shares), shares
        print("%s: shares %.3f, mean %.1f MB/s" % (text, shares[0] / sum(shares),
                                                 mean_rate(samples, UP) / 1e6))
        return samples

    # A short run has much of its beginning and end in the mean; one writer's is held above.
    assert_limited(write, rate, burst, 0.95 if LONG else 0.3, UP)


@pytest.mark.usefixtures("big")
@rates
@pytest.mark.parametrize("text", ["50M", "5M"])
@pytest.mark.parametrize("delay_s", [0, 3], ids=["together", "one-after-the-other"])
def test_two_readers_have_half_each(mount, text, delay_s):
    mounted = mount(options={"download_limit": text})
    with reading(mounted / "big0", mounted / "big1", delay_s=delay_s) as readers:
        time.sleep(delay_s + WARM_UP_S)
        before = [reader.bytes for reader in readers]
        time.sleep(SECONDS + 2)
        shares = [reader.bytes - first for reader, first in zip(readers, before)]
    assert all(0.45 <= share / sum(shares) <= 0.55 for share in shares), shares


@pytest.mark.usefixtures("big")
@pytest.mark.parametrize("offset", [0, 12345678], ids=["the-beginning", "the-middle"])
@pytest.mark.parametrize("text", ["50M", "5M", "50M:1M"])
def test_a_demand_read_passes_the_read_ahead_of_others(mount, text, offset):
    mounted = mount(options={"download_limit": text})
    with reading(mounted / "big0"):
        time.sleep(WARM_UP_S)
        for number in range(READERS, READERS + DEMANDED):  # the first opens new connections
            begin = time.monotonic()
            with open(mounted / ("big%d" % number), "rb", buffering=0) as file:
                assert len(os.pread(file.fileno(), 4096, offset)) == 4096
            assert time.monotonic() - begin < DEMAND_S
            time.sleep(0.2)


@pytest.mark.usefixtures("big")
def test_parts_under_a_limit_are_small_so_that_connections_turn_over(mount, server):
    mounted = mount(options={"download_limit": "50M"})
    with reading(mounted / "big0"):
        time.sleep(WARM_UP_S + SECONDS)
    assert max(last - first + 1 for first, last in server.ranges("big0")) <= 4 * MIB


@pytest.mark.parametrize("value", ["0", "0:1M", "5M:8K", "-1", "5M:", "5X"])
def test_a_limit_that_makes_no_sense_is_a_usage_error(mount, value):
    failure = mount.fail(options={"download_limit": value})
    assert failure.exit_code == 2
    assert "download_limit=" + value in failure.stderr
