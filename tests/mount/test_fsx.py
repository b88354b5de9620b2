# SPDX-License-Identifier: Apache-2.0
"""Random operations on one file of a mount, against a model: tests/fsx, driven over S3.

After each publication the object is read by boto3 and through a second mount. A mismatch prints
the seed and the last operations; `fsx --seed N ...` plays the seed again. PAILFS_LONG=1 runs a
million operations of each kind: 20 seeds of 50,000.
"""
import os

import pytest

from support.fsx import Mismatch, Player, published

LONG = bool(os.environ.get("PAILFS_LONG"))
SEEDS = range(1, 21) if LONG else range(1, 3)
PLAIN = os.environ.get("PAILFS_SANITIZER", "none") in ("", "none")
STEPS = 50_000 if LONG else 800 if PLAIN else 400
PUBLISHED_LEAST = STEPS // 100  # 10,000 in a million
SMALL = {"upload_part_size": "5M", "memory": "32M"}
SECOND = {"metadata_ttl": 0, "memory": "32M"}

# 5 % of all requests.
FAULTS = [
    {"name": "500", "match": {}, "do": {"status": 500, "code": "InternalError"}, "percent": 1},
    {"name": "503", "match": {}, "do": {"status": 503, "code": "SlowDown"}, "percent": 1},
    {"name": "reset", "match": {}, "do": {"reset_after": -1}, "percent": 1},
    {"name": "lost", "match": {}, "do": {"reset_after": -1, "apply": True}, "percent": 1},
    {"name": "cut GET", "match": {"op": "GetObject"}, "do": {"reset_after": 3000}, "percent": 1},
    {"name": "cut PUT", "match": {"method": "PUT"}, "do": {"reset_request": 3000}, "percent": 1},
]

pytestmark = pytest.mark.bounded(7200 if LONG else 120)


@pytest.fixture
def play(mount, server, s3, bucket, record_property):
    """Plays a seed, counts what was published and notes it in the report."""
    def run(seed, *arguments, options=None, steps=STEPS, tolerate=None, spoil=None):
        first, second = mount(options=options or {}), mount(options=SECOND)
        if LONG and server.kind != "rgw":
            server.config(body_hash=False)  # a third of all work, and each byte is compared
        for one in (first, second) if tolerate else ():
            one.tolerate(tolerate)
        name = "f%d" % seed
        player = Player(first, second, s3, bucket, name, "--seed", seed, "--ops", steps,
                        *arguments, spoil=spoil)
        record_property("operations", sum(player.done.values()))
        record_property("compared", player.checks)
        record_property("compared_multipart", player.multipart)
        if server.kind != "rgw":
            for what, count in published(server, bucket, name)._asdict().items():
                record_property("published_" + what, count)
        return player
    return run


def assert_enough_was_published(server, bucket, seed):
    """Of an acceptance run: its share of 10,000 publications, and half of them by parts."""
    if server.kind == "rgw" or not LONG:
        return
    seen = published(server, bucket, "f%d" % seed)
    assert seen.single + seen.multipart >= PUBLISHED_LEAST
    assert 2 * seen.multipart >= seen.single + seen.multipart


@pytest.mark.parametrize("seed", SEEDS)
def test_one_handle(play, server, bucket, seed):
    assert play(seed, options=SMALL).checks > 0
    assert_enough_was_published(server, bucket, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_two_handles(play, server, bucket, seed):
    assert play(100 + seed, "--handles", 2, options=SMALL).checks > 0
    assert_enough_was_published(server, bucket, 100 + seed)


@pytest.mark.s3d_only("scripted faults")
@pytest.mark.parametrize("seed", SEEDS)
def test_one_request_in_twenty_fails(play, server, bucket, seed, record_property):
    server.faults(*FAULTS)
    assert play(200 + seed, options=SMALL, tolerate=".").checks > 0
    hits = sum(server.fault_hits().values())
    record_property("faults", hits)
    assert hits >= len(server.log()) * 0.03
    server.clear_faults()
    assert_enough_was_published(server, bucket, 200 + seed)


def test_the_default_options(play):
    assert play(300).checks > 0


def test_a_spoilt_object_is_found(play, s3, bucket):
    """The comparison is alive: one byte of the object is changed before it."""
    def spoil(name):
        data = bytearray(s3.get_object(Bucket=bucket, Key=name)["Body"].read())
        if len(data) > 5000:
            data[5000] ^= 1
            s3.put_object(Bucket=bucket, Key=name, Body=bytes(data))

    with pytest.raises(Mismatch, match="by boto3: .* differing from byte 5000"):
        play(400, spoil=spoil, tolerate=".")
