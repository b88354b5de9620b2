# SPDX-License-Identifier: Apache-2.0
"""What names cost: which requests S3 sees for lookups, listings, walks and creates, and when."""
import http.client
import json
import os
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.keys import put_all

LONG = bool(os.environ.get("PAILFS_LONG"))
LISTS_BEYOND = 14  # what may be asked beyond the end of a directory, or for a wrong guess

pytestmark = pytest.mark.s3d_only("a request log")


@pytest.mark.concurrent
def test_names_of_one_directory_are_looked_up_side_by_side(mount, server, s3, bucket):
    names = ["f%d" % number for number in range(8)]
    put_all(s3, bucket, {"dir/" + name: b"7 bytes" for name in names})
    mounted = mount()
    os.stat(mounted / "dir")
    server.clear_log()
    server.config(first_byte_ms=1000, list_ms=1000)
    with ThreadPoolExecutor(len(names)) as pool:
        found = list(pool.map(lambda name: os.stat(mounted / "dir" / name).st_size, names))
    server.config(first_byte_ms=0, list_ms=0)
    assert found == [7] * len(names)
    assert max(entry["concurrent"] for entry in server.log("HeadObject")) >= 4


def ops(server):
    return sorted(entry["op"] for entry in server.log())


def put_file(path, content=b"small"):
    """Create, write, close, and nothing else."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.write(descriptor, content)
    os.close(descriptor)


@pytest.mark.parametrize("name", ["new", "a-first", "~last"])
def test_a_create_in_a_listed_directory_is_one_request_with_negative_ttl(mount, server, s3, bucket,
                                                                         name):
    put_all(s3, bucket, ["dir/m", "dir/old"])
    mounted = mount(options={"negative_ttl": 60, "metadata_ttl": 60})
    os.listdir(mounted / "dir")
    server.clear_log()
    put_file(mounted / "dir" / name)
    assert ops(server) == ["PutObject"]
    assert s3.get_object(Bucket=bucket, Key="dir/" + name)["Body"].read() == b"small"


def test_a_second_create_needs_no_listing_either(mount, server, s3, bucket):
    put_all(s3, bucket, ["dir/m"])
    mounted = mount(options={"negative_ttl": 60, "metadata_ttl": 60})
    os.listdir(mounted / "dir")
    server.clear_log()
    for number in range(50):
        put_file(mounted / "dir" / ("n%d" % number))
    assert ops(server) == ["PutObject"] * 50


@pytest.mark.parametrize("listed", [False, True])
def test_a_create_asks_for_the_name_and_puts_it_by_default(mount, server, s3, bucket, listed):
    put_all(s3, bucket, ["dir/old"])
    mounted = mount(options={"metadata_ttl": 60})
    os.stat(mounted / "dir")
    if listed:
        os.listdir(mounted / "dir")
    server.clear_log()
    put_file(mounted / "dir" / "new")
    assert ops(server) == ["HeadObject", "ListObjectsV2", "PutObject"]


def test_many_creates_by_default_cost_no_more_than_that_each(mount, server, s3, bucket):
    put_all(s3, bucket, ["dir/old"])
    mounted = mount(options={"metadata_ttl": 60})
    os.stat(mounted / "dir")
    server.clear_log()
    for number in range(60):
        put_file(mounted / "dir" / ("n%d" % number))
    count = server.count()
    assert count["PutObject"] == 60
    assert count["HeadObject"] <= 60 and count["ListObjectsV2"] <= 60 + 2


def test_many_names_of_a_directory_that_was_not_listed_come_by_the_page(mount, server, bucket):
    server.synth(bucket, prefix="dir/", format="f%05d", count=1000, size=7)
    mounted = mount(options={"metadata_ttl": 60})
    os.stat(mounted / "dir")
    server.clear_log()
    assert {os.stat(mounted / "dir" / ("f%05d" % number)).st_size
            for number in range(1000)} == {7}
    count = server.count()
    assert count["HeadObject"] <= 4
    assert count["ListObjectsV2"] <= 4 + 2


def test_names_at_random_in_a_huge_directory_do_not_pay_for_pages(mount, server, bucket):
    server.synth(bucket, prefix="dir/", format="f%07d", count=1000000, size=7)
    mounted = mount(options={"metadata_ttl": 60})
    os.stat(mounted / "dir")
    server.clear_log()
    rng = random.Random(3)
    for _ in range(200):
        assert os.stat(mounted / "dir" / ("f%07d" % rng.randrange(1000000))).st_size == 7
    pages = [query for query in server.queries("ListObjectsV2") if query["max-keys"] != "1"]
    assert len(pages) <= 2 + 200 // 64 + 2


@pytest.mark.bounded(240)
@pytest.mark.parametrize("list_ms", [1, 100])
def test_ls_l_of_100000_names_makes_no_head(mount, server, bucket, list_ms):
    names = 100000 if LONG else 20000
    server.synth(bucket, format="f%07d", count=names, size=1024)
    mounted = mount(options={"metadata_ttl": 60})  # of 1 s: test_scale.py
    server.config(list_ms=list_ms)
    lines = mounted.shell("ls -l", timeout=200).splitlines()
    server.config(list_ms=0)
    assert len(lines) == names + 1
    count = server.count()
    assert count["HeadObject"] == 0
    assert count["ListObjectsV2"] <= names // 1000 + LISTS_BEYOND


def plant(server, bucket, keys):
    """Puts many keys past boto3, which would take a minute."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    for key in keys:
        connection.request("POST", "/_s3d/put", json.dumps(
            {"bucket": bucket, "key": key, "content_hex": "00"}))
        answer = connection.getresponse()
        answer.read()
        assert answer.status < 300
    connection.close()


SYNTHETIC = {  # prefixes and formats that put their keys in the order of their numbers
    "numbers": [("", "f%07d.jpg", 12000)],
    "numbers with a gap": [("f0", "%06d", 8000), ("f7", "%06d", 4000), ("g", "%d", 10)],
    "directories": [("", "d%06d/x", 12000)],
}
AT_RANDOM = {
    "hexadecimal": lambda rng: "%016x" % rng.getrandbits(64),
    "upper case": lambda rng: "x-%08X-%d" % (rng.getrandbits(32), rng.randrange(10)),
    "words": lambda rng: "".join(rng.choice("aeioubcdf-") for _ in range(rng.randrange(3, 12))),
}


def assert_listed(server, mounted, names):
    server.clear_log()
    server.config(list_ms=20)
    with os.scandir(mounted / "dir") as entries:
        found = [entry.name for entry in entries]
    server.config(list_ms=0)
    assert found == names
    assert server.count()["ListObjectsV2"] <= (len(names) + 999) // 1000 + LISTS_BEYOND


@pytest.mark.parametrize("shape", SYNTHETIC)
def test_pages_asked_at_once_show_each_name_once_and_in_order(mount, server, bucket, shape):
    for prefix, form, count in SYNTHETIC[shape]:
        server.synth(bucket, prefix="dir/" + prefix, format=form, count=count, size=1)
    mounted = mount(options={"metadata_ttl": 60})
    os.stat(mounted / "dir")
    names = sorted((prefix + form.split("/")[0] % number for prefix, form, count in
                    SYNTHETIC[shape] for number in range(count)), key=str.encode)
    assert_listed(server, mounted, names)
    assert max(entry["concurrent"] for entry in server.log("ListObjectsV2")) >= 2


@pytest.mark.bounded(240)
@pytest.mark.parametrize("shape", AT_RANDOM)
def test_names_at_random_are_shown_once_and_in_order(mount, server, bucket, shape):
    rng = random.Random(11)
    names = sorted({AT_RANDOM[shape](rng) for _ in range(4000)}, key=str.encode)
    plant(server, bucket, ["dir/" + name for name in names])
    mounted = mount(options={"metadata_ttl": 60})
    os.stat(mounted / "dir")
    assert_listed(server, mounted, names)


@pytest.mark.parametrize("fault", [{"status": 400, "code": "InvalidArgument"},
                                   {"list": {"unsorted": True}}, {"list": {"duplicate": True}}],
                         ids=["refused", "unsorted", "repeated"])
def test_a_server_that_takes_no_start_after_is_asked_for_one_page_after_the_other(
        mount, server, bucket, fault):
    server.synth(bucket, prefix="dir/", format="f%07d", count=20000, size=1)
    mounted = mount(options={"metadata_ttl": 60})
    os.stat(mounted / "dir")
    server.faults({"name": "after", "match": {"op": "ListObjectsV2", "query_has": "start-after="},
                   "do": fault})
    assert_listed(server, mounted, ["f%07d" % number for number in range(20000)])
    assert server.fault_hits()["after"] >= 1
