# SPDX-License-Identifier: Apache-2.0
"""Delays, pacing and what is measured of the traffic. Times are bounds that a loaded machine keeps:
nothing here fails by being slow."""

import threading
import time
import urllib.request

import pytest

MIB = 1 << 20


@pytest.fixture
def data(server):
    server.admin("POST", "synth", {"bucket": "pub", "key": "k", "size": 1 << 40, "sparse": True})
    return server


def read(server, size, at=0):
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}/pub/k",
                                     headers={"Range": f"bytes={at}-{at + size - 1}"})
    begin = time.monotonic()
    with urllib.request.urlopen(request) as answer:
        assert len(answer.read()) == size
    return time.monotonic() - begin


def traffic(server, delivered, received=0):
    """The samples, once they say that so much has come and gone."""
    for _ in range(200):
        samples = server.admin("GET", "traffic")
        if samples and samples[-1][1] >= delivered and samples[-1][2] >= received:
            return samples
        time.sleep(0.02)
    raise AssertionError(f"{samples[-1]} is less than {delivered} and {received}")


def test_first_byte_and_list_delays(data):
    data.admin("POST", "config", {"first_byte_ms": 200})
    assert read(data, 10) >= 0.2
    s3 = data.client()
    begin = time.monotonic()
    s3.list_objects_v2(Bucket="pub")
    assert time.monotonic() - begin >= 0.2
    data.admin("POST", "config", {"list_ms": 0})
    fastest = 1
    for _ in range(10):
        begin = time.monotonic()
        s3.list_objects_v2(Bucket="pub")
        fastest = min(fastest, time.monotonic() - begin)
    assert fastest < 0.2


def test_delays_are_at_once_for_many(data):
    """100 delayed requests take no longer than a few: no thread waits."""
    data.admin("POST", "config", {"first_byte_ms": 500})
    threads = [threading.Thread(target=read, args=(data, 10)) for _ in range(100)]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0.5 <= time.monotonic() - begin < 10


def test_pace_of_a_connection(data):
    data.admin("POST", "config", {"pace": 20 * MIB})
    assert read(data, 20 * MIB) >= 0.8
    data.admin("POST", "config", {"pace": 0})
    assert min(read(data, 20 * MIB) for _ in range(10)) < 0.8


def test_pace_of_uploads(data):
    data.admin("POST", "config", {"pace": 20 * MIB})
    begin = time.monotonic()
    data.client().put_object(Bucket="pub", Key="up", Body=bytes(20 * MIB))
    assert time.monotonic() - begin >= 0.8


def test_nic_is_shared(data):
    data.admin("POST", "config", {"nic": 40 * MIB})
    data.admin("POST", "traffic", {"on": True})
    threads = [threading.Thread(target=read, args=(data, 10 * MIB)) for _ in range(8)]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - begin >= 1.6
    samples = traffic(data, 80 * MIB)
    for first in samples:  # no half second above the rate, but for what a tick may overshoot
        last = [s for s in samples if s[0] <= first[0] + 0.5][-1]
        assert last[1] - first[1] <= 40 * MIB * 0.5 * 1.25 + 4 * MIB


def test_traffic_counts_what_arrived(data):
    data.admin("POST", "traffic", {"on": True})
    read(data, 5 * MIB)
    data.client().put_object(Bucket="pub", Key="up", Body=bytes(3 * MIB))
    samples = traffic(data, 5 * MIB, 3 * MIB)
    assert samples[-1][1] < 6 * MIB and samples[-1][2] < 4 * MIB
    assert all(a[0] < b[0] and a[1] <= b[1] for a, b in zip(samples, samples[1:]))
    data.admin("POST", "traffic", {"on": False})
    count = len(data.admin("GET", "traffic"))
    time.sleep(0.1)
    assert len(data.admin("GET", "traffic")) == count
