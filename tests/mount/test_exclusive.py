# SPDX-License-Identifier: Apache-2.0
"""O_CREAT|O_EXCL is exclusive between clients: two mounts and boto3 race for each name.

PAILFS_LONG=1 races for 2,000 names, half of them of 20 MiB.
"""
import collections
import errno
import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from support.data import MIB, checksum, content, object_checksum
from support.objects import body, exists, keys, uploads, wait_until

LONG = bool(os.environ.get("PAILFS_LONG"))
NAMES, LARGE_BYTES = (2000, 20 * MIB) if LONG else (16, 9 * MIB)
SMALL_BYTES = 5000
RACERS = ("first", "second", "boto3")
PIECE_BYTES = 4 * MIB
SPREAD_S = 0.02  # by how much a racer may start after the others

LOST = "is not published: File exists"
# RGW 16.2 may answer a Complete that races with another one, and each repeat of it, with 500 "This
# multipart completion is already in progress": whether it was carried out stays unknown.
UNKNOWN = "is not published: Input/output error"


class Race:
    """One name: who won, and how the others lost."""

    def __init__(self, name, size):
        self.name, self.size = name, size
        self.outcomes = {}
        self._start = threading.Barrier(len(RACERS))

    def data(self, racer):
        """The same length for all, and other bytes for each."""
        mark = ("%s/%s/" % (self.name, racer)).encode()
        block = mark + content(racer, 65536 - len(mark))
        return (block * (self.size // len(block) + 1))[:self.size]

    def run(self, racer, how):
        rng = random.Random("%s/%s" % (self.name, racer))
        data = self.data(racer)
        self._start.wait(60)
        threading.Event().wait(rng.uniform(0, SPREAD_S))
        self.outcomes[racer] = how(self.name, data)

    def winners(self):
        return self.of("won")

    def of(self, *outcomes):
        return [racer for racer, outcome in self.outcomes.items() if outcome in outcomes]


def by_mount(mounted, complete_may_fail=False):
    def race(name, data):
        try:
            file = open(mounted / name, "xb", buffering=0)
        except FileExistsError:
            return "lost at open"
        try:
            for at in range(0, len(data), PIECE_BYTES):
                file.write(data[at:at + PIECE_BYTES])
        finally:
            try:
                file.close()
            except FileExistsError:
                return "lost at close"
            except OSError as error:
                if error.errno != errno.EIO or not complete_may_fail:
                    raise
                return "unknown at close"
        return "won"

    return race


def by_boto3(client, bucket):
    """A conditional PutObject; this botocore has no parameter for it yet."""
    client.meta.events.register("before-call.s3.PutObject", lambda params, **_:
                                params["headers"].update({"If-None-Match": "*"}))

    def race(name, data):
        try:
            client.put_object(Bucket=bucket, Key=name, Body=data)
        except ClientError as error:
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] in (409, 412), error
            return "lost at PutObject"
        return "won"

    return race


def run_races(races, hows):
    """All races, one after the other; each error of a racer is raised."""
    with ThreadPoolExecutor(len(RACERS)) as pool:
        for race in races:
            for done in [pool.submit(race.run, racer, how) for racer, how in hows.items()]:
                done.result()


@pytest.mark.bounded(3000 if LONG else 120)
def test_one_of_three_wins_each_name_and_its_bytes_stay(mount, server, s3, bucket):
    is_rgw = server.kind == "rgw"
    mounts = [mount(), mount()]
    for mounted in mounts:
        mounted.tolerate(LOST + ("|" + UNKNOWN if is_rgw else ""))
    hows = {"first": by_mount(mounts[0], is_rgw), "second": by_mount(mounts[1], is_rgw),
            "boto3": by_boto3(server.client(), bucket)}
    races = [Race("n%d" % number, LARGE_BYTES if number % 2 else SMALL_BYTES)
             for number in range(NAMES)]
    run_races(races, hows)
    tally = collections.Counter("%s %s" % (racer, outcome) for race in races
                                for racer, outcome in race.outcomes.items())
    several = [race for race in races if len(race.winners()) != 1]
    print("outcomes: %s; with more than one winner: %d small, %d large" % (
        dict(tally), sum(race.size == SMALL_BYTES for race in several),
        sum(race.size == LARGE_BYTES for race in several)))
    if is_rgw:  # it ignores conditions of Complete: best effort, and logged
        assert all("ignores conditions of CompleteMultipartUpload" in one.log() for one in mounts)
        several = [race for race in several if race.size == SMALL_BYTES]
    assert [(race.name, race.outcomes) for race in several] == []
    for race in races:
        sums = [checksum(race.data(racer)) for racer in race.of("won", "unknown at close")]
        assert object_checksum(s3, bucket, race.name) in sums, race.name
    assert sorted(keys(s3, bucket)) == sorted(race.name for race in races)
    wait_until(lambda: uploads(s3, bucket) == [], "the losers' uploads to be aborted", 30)


@pytest.mark.parametrize("size", [SMALL_BYTES, LARGE_BYTES], ids=["small", "large"])
@pytest.mark.parametrize("made_first", [True, False])
def test_a_loser_gets_eexist_and_its_mount_shows_the_winner(mount, server, s3, bucket, size,
                                                            made_first):
    winner, loser = mount(), mount()
    loser.tolerate(LOST)
    race = Race("name", size)
    if not made_first:
        file = open(loser / "name", "xb", buffering=0)
        file.write(race.data("loser"))
    assert by_mount(winner)("name", race.data("winner")) == "won"
    if made_first:
        assert by_mount(loser)("name", race.data("loser")) == "lost at open"
    else:
        with pytest.raises(FileExistsError):
            file.close()
    assert body(s3, bucket, "name") == race.data("winner")
    assert (loser / "name").read_bytes() == race.data("winner")


def test_threads_of_one_mount_race_for_a_name(mount, s3, bucket):
    mounted = mount()
    for number in range(10):
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda me: by_mount(mounted)("n%d" % number, b"%d" % me),
                                  range(8)))
        assert sorted(found)[-2:] == ["lost at open", "won"]
        assert body(s3, bucket, "n%d" % number) == b"%d" % found.index("won")


def test_claimed_names_have_one_winner_at_open(mount, s3, bucket):
    mounts = [mount(options={"excl": "claim"}) for _ in range(2)]
    for mounted in mounts:
        mounted.tolerate(LOST)
    for number in range(10):
        name, opened = "lock%d" % number, []

        def take(mounted):
            try:
                opened.append(open(mounted / name, "xb"))
            except FileExistsError:
                pass

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(take, mounts))
        assert len(opened) == 1
        assert exists(s3, bucket, name)
        opened[0].close()
