# SPDX-License-Identifier: Apache-2.0
"""Files whose name is taken away while they are open."""
import errno
import os
import threading

import pytest

from support.data import content
from support.keys import put_all
from support.objects import body, keys, uploads, wait_until

MIB = 1 << 20
WAIT_S = 40


def read_all(file):
    return b"".join(iter(lambda: file.read(MIB), b""))


@pytest.mark.parametrize("replaced", [False, True], ids=["unlink", "rename"])
def test_a_reader_reads_on(mount, s3, bucket, replaced):
    data = content("kept", 12 * MIB)
    put_all(s3, bucket, {"f": data, "g": b"other"})
    mounted = mount(options={"memory": "32M"})
    with open(mounted / "f", "rb", buffering=0) as first, \
            open(mounted / "f", "rb", buffering=0) as second:
        assert first.read(5000) == data[:5000]
        if replaced:
            os.rename(mounted / "g", mounted / "f")
            assert (mounted / "f").read_bytes() == b"other"
        else:
            (mounted / "f").unlink()
            assert not (mounted / "f").exists()
        assert os.fstat(first.fileno()).st_nlink == 0
        assert os.fstat(first.fileno()).st_size == len(data)
        assert read_all(second) == data
        assert first.read(4096) == data[5000:9096]
    assert keys(s3, bucket) == (["f"] if replaced else ["g"])


def test_a_small_keep(mount, s3, bucket):
    data = content("large", 8 * MIB)
    put_all(s3, bucket, {"f": data, "g": data[:MIB]})
    mounted = mount(options={"unlink_keep": "1M"})
    with open(mounted / "f", "rb", buffering=0) as large, \
            open(mounted / "g", "rb", buffering=0) as small:
        (mounted / "f").unlink()
        (mounted / "g").unlink()
        assert read_all(small) == data[:MIB]
        with pytest.raises(OSError) as caught:
            read_all(large)
        assert caught.value.errno == errno.ESTALE
    assert keys(s3, bucket) == []


def test_a_reader_costs_nothing_without_unlink(mount, server, s3, bucket):
    put_all(s3, bucket, {"f": content("f", 3 * MIB)})
    mounted = mount()
    if server.kind != "rgw":
        server.clear_log()
    (mounted / "f").unlink()  # nobody has it open
    if server.kind != "rgw":
        assert server.count()["GetObject"] == 0


@pytest.mark.parametrize("replaced", [False, True], ids=["unlink", "rename"])
def test_a_file_changed_in_place_works_on(mount, s3, bucket, replaced):
    data = content("old", 3 * MIB)
    put_all(s3, bucket, {"f": data, "g": b"other"})
    mounted = mount()
    with open(mounted / "f", "r+b", buffering=0) as file:
        file.seek(MIB)
        file.write(b"changed")
        if replaced:
            os.rename(mounted / "g", mounted / "f")
        else:
            (mounted / "f").unlink()
        file.write(b" again")
        file.seek(0)
        assert read_all(file) == data[:MIB] + b"changed again" + data[MIB + 13:]
    assert keys(s3, bucket) == (["f"] if replaced else ["g"])
    assert body(s3, bucket, keys(s3, bucket)[0]) == b"other"


def test_an_upload_is_aborted(mount, s3, bucket):
    mounted = mount(options={"upload_part_size": "5M"})
    with open(mounted / "f", "w+b", buffering=0) as file:
        file.write(content("up", 22 * MIB))
        wait_until(lambda: uploads(s3, bucket), "an upload", WAIT_S)
        (mounted / "f").unlink()
        wait_until(lambda: not uploads(s3, bucket), "its end", WAIT_S)
        file.seek(0)
        assert read_all(file) == content("up", 22 * MIB)
    assert keys(s3, bucket) == []


def test_what_is_made_and_unlinked_at_once_is_never_seen(mount, server, s3, bucket):
    mounted = mount()
    if server.kind != "rgw":
        server.clear_log()
    for turn in range(20):
        with open(mounted / ("t%d" % turn), "w+b", buffering=0) as file:
            (mounted / ("t%d" % turn)).unlink()
            file.write(b"x" * turn)
    if server.kind != "rgw":
        asked = [e for e in server.log() if e["key"] and e["key"].startswith("t")]
        assert {e["op"] for e in asked} <= {"HeadObject"}
    assert [key for key in keys(s3, bucket) if key.startswith("t")] == []


def test_a_failed_unlink_takes_nothing_away(mount, server, s3, bucket):
    if server.kind == "rgw":
        pytest.skip("needs s3d: scripted faults")
    put_all(s3, bucket, {"f": b"old content"})
    mounted = mount(options={"retries": "0"})
    mounted.tolerate("DeleteObject")
    with open(mounted / "f", "r+b", buffering=0) as file:
        file.write(b"OLD")
        server.faults({"match": {"op": "DeleteObject"}, "count": 1,
                       "do": {"status": 403, "code": "AccessDenied"}})
        with pytest.raises(PermissionError):
            (mounted / "f").unlink()
        assert os.fstat(file.fileno()).st_nlink == 1
    assert body(s3, bucket, "f") == b"OLD content"


@pytest.mark.concurrent
def test_many_at_once(mount, s3, bucket):
    put_all(s3, bucket, {"f%d" % n: b"%d" % n * 1000 for n in range(40)})
    mounted = mount()
    wrong = []

    def work(number):
        for n in range(number, 40, 4):
            with open(mounted / ("f%d" % n), "rb", buffering=0) as file:
                (mounted / ("f%d" % n)).unlink()
                if read_all(file) != b"%d" % n * 1000:
                    wrong.append(n)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert keys(s3, bucket) == []
