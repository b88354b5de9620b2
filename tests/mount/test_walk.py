# SPDX-License-Identifier: Apache-2.0
"""Recursive walks: what find, du, rm -r and cp -r see, and which listings S3 sees for it."""
import os
import random
import shutil
import time

import pytest

from support.keys import put_all

ODD = ["a", "a-1", "a.b", "a b", "\u00e4", "z%2F", "new\nline", "~", "a" * 200]
PAGES_KEPT = 24  # of a walk, when it goes on


def random_keys(rng, tops):
    """Keys of a tree with all that a listing has rules for."""
    keys = set()
    for top in range(tops):
        for sub in range(rng.randrange(2, 9)):
            at = "d%d/%s%d" % (top, rng.choice(["s", "t-", "u."]), sub)
            for number in range(rng.choice([1, 2, 5, 20])):
                keys.add("%s/f%03d" % (at, number))
            keys.update({"%s/%s" % (at, rng.choice(ODD))} if rng.random() < 0.3 else ())
            keys.update({at + "/deep/er/" + rng.choice(ODD)} if rng.random() < 0.3 else ())
            keys.update({at + "/empty/"} if rng.random() < 0.2 else ())
            keys.update({at + "/"} if rng.random() < 0.2 else ())
            keys.update({at} if rng.random() < 0.1 else ())
            keys.update({at + "-x"} if rng.random() < 0.1 else ())
            keys.update({at + "_$folder$"} if rng.random() < 0.1 else ())
    return keys


def tree(root, rng=None):
    """Every path below root with its type and, of a file, its size; in any order of reading."""
    seen, todo = set(), [str(root)]
    while todo:
        at = todo.pop(rng.randrange(len(todo)) if rng else 0)
        with os.scandir(at) as entries:
            for entry in entries:
                is_dir = entry.is_dir(follow_symlinks=False)
                path = os.path.relpath(entry.path, root)
                seen.add((path, -1 if is_dir else entry.stat(follow_symlinks=False).st_size))
                if is_dir:
                    todo.append(entry.path)
    return seen


def files(seen):
    return {entry for entry in seen if entry[1] >= 0}


def change(rng, mounted, paths):
    """One change through the mount that leaves no directory empty."""
    path = rng.choice(paths)
    directory = mounted / os.path.dirname(path)
    kind = rng.choice(["write", "write", "overwrite", "mkdir", "remove", "rename"])
    if kind == "overwrite":
        (mounted / path).write_bytes(b"x" * rng.randrange(1, 100))
    elif kind == "mkdir":
        below = directory / ("new%d" % rng.randrange(100)) / "below"
        below.mkdir(parents=True, exist_ok=True)
        (below / "file").write_bytes(b"y" * rng.randrange(1, 100))
    elif kind == "write" or len(os.listdir(directory)) < 2:
        (directory / ("w%d" % rng.randrange(100))).write_bytes(b"z" * rng.randrange(1, 100))
    elif kind == "remove":
        (mounted / path).unlink()
    else:
        os.rename(mounted / path, directory / ("r%d" % rng.randrange(100)))


def make_tree(rng, tops, server, bucket):
    put_all(server.s3, bucket, {key: b"" if key.endswith("/") else b"q" * rng.randrange(50)
                                for key in random_keys(rng, tops)})


@pytest.fixture
def pair(mount):
    """Two mounts of the bucket. The one without a TTL lists each directory by itself: nothing else
    would be fresh enough."""
    walked, plain = mount(options={"metadata_ttl": 60}), mount(options={"metadata_ttl": 0})
    for one in (walked, plain):
        one.tolerate("hid")
    return walked, plain


def test_a_walk_shows_what_a_listing_of_each_directory_shows(pair, server, bucket):
    walked, plain = pair
    make_tree(random.Random(7), 4, server, bucket)
    assert tree(walked.path) == tree(plain.path)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.s3d_only("a quick answer to thousands of requests")
def test_a_walk_shows_what_was_changed_here(pair, server, bucket, seed):
    walked, plain = pair
    rng = random.Random(seed)
    print("seed", seed)
    make_tree(rng, rng.randrange(3, 8), server, bucket)
    for turn in range(4):
        paths = sorted(path for path, _ in files(tree(walked.path, rng)))
        for _ in range(rng.randrange(1, 12)):
            paths = [path for path in paths if (walked / path).is_file()]
            change(rng, walked, paths)
        assert files(tree(walked.path, rng if turn % 2 else None)) == files(tree(plain.path))


@pytest.mark.concurrent
def test_rm_r_and_cp_r_take_the_whole_tree(mount, s3, bucket, tmp_path):
    keys = {"t/d%02d/s%d/f%d" % (d, s, f): b"x" * f for d in range(4) for s in range(2)
            for f in range(1, 3)}
    put_all(s3, bucket, keys)
    mounted = mount()
    shutil.copytree(mounted / "t", tmp_path / "copy")
    mounted.run("cp", "-r", "t", "u")
    assert tree(tmp_path / "copy") == tree(mounted / "u") == tree(mounted / "t")
    mounted.run("rm", "-r", "t")
    found = s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert sorted(entry["Key"] for entry in found if not entry["Key"].endswith("/")) == sorted(
        "u" + key[1:] for key in keys)
    assert os.listdir(mounted.path) == ["u"]


@pytest.mark.s3d_only("a request log")
def test_find_asks_for_keys_and_not_for_each_directory(mount, server, bucket):
    for number in range(60):
        server.synth(bucket, prefix="t/d%03d/" % number, format="f%05d", count=100, size=10)
    mounted = mount(options={"metadata_ttl": 60})
    server.clear_log()
    found = mounted.shell("find t -type f -size -9").split()
    assert len(found) == len(set(found)) == 6000
    count = server.count(bucket=bucket)
    assert count["HeadObject"] <= 1  # of t
    # t's name and names, its first directory, and the keys of the other 59
    assert count["ListObjectsV2"] <= 3 + 6 + 1


@pytest.mark.s3d_only("a request log")
@pytest.mark.parametrize("order", ["by name", "at random"])
def test_large_directories_in_a_tree_cost_few_listings_more(mount, server, bucket, order):
    """Each of them is listed by itself; that a walk was tried is seen only twice."""
    directories, pages = 8, 4
    for number in range(directories):
        server.synth(bucket, prefix="t/d%d/" % number, format="f%05d", count=pages * 1000, size=1)
    mounted = mount(options={"metadata_ttl": 60})
    names = ["d%d" % number for number in range(directories)]
    if order == "at random":
        random.Random(5).shuffle(names)
    assert sorted(os.listdir(mounted / "t")) == sorted(names)
    server.clear_log()
    for name in names:
        assert len(os.listdir(mounted / "t" / name)) == pages * 1000
    # and each of them may ask one page that was guessed, behind its end
    assert server.count()["ListObjectsV2"] <= directories * (pages + 1) + 2 * 3


@pytest.mark.s3d_only("faults")
@pytest.mark.parametrize("fault", [{"status": 400, "code": "InvalidArgument"},
                                   {"list": {"unsorted": True}}], ids=["refused", "unsorted"])
def test_a_walk_that_the_server_does_not_serve_is_given_up(mount, server, bucket, fault):
    for number in range(20):
        server.synth(bucket, prefix="t/d%02d/" % number, format="f%05d", count=10, size=10)
    mounted = mount(options={"metadata_ttl": 60})
    server.faults({"name": "walk", "match": {"op": "ListObjectsV2", "query_has": "start-after="},
                   "do": fault})
    assert len(set(mounted.shell("find t -type f").split())) == 200
    assert server.fault_hits() == {"walk": 1}
    assert server.count()["ListObjectsV2"] >= 20


def walk_pages(server):
    return sum("delimiter" not in entry["query"] for entry in server.log("ListObjectsV2"))


@pytest.mark.s3d_only("synthetic keys")
def test_a_directory_in_the_oldest_pages_of_a_long_walk(mount, server, bucket):
    """It lies in two pages, of which the first is let go of as it is answered."""
    for number in range(6):
        server.synth(bucket, prefix="t/a%d/" % number, format="f%05d", count=50, size=1)
    server.synth(bucket, prefix="t/b/", format="f%05d", count=1500, size=1)
    names = ["c%03d" % number for number in range(60)]
    for name in names:
        server.synth(bucket, prefix="t/%s/" % name, format="f%05d", count=500, size=1)
    mounted = mount(options={"metadata_ttl": 600})
    mounted.shell("ls t")
    server.clear_log()
    # the walk begins at c001, then anew from the start of the tree, and goes on to its page 17
    for name in ["c000", "c001"] + ["a%d" % number for number in range(6)] + names[2:29]:
        assert len(os.listdir(mounted / "t" / name)) == (50 if name[0] == "a" else 500)
    until = time.monotonic() + 10  # a machine that pauses for seconds ends the walk: no matter
    while walk_pages(server) < 1 + PAGES_KEPT + 1 and time.monotonic() < until:
        time.sleep(0.02)
    assert len(set(os.listdir(mounted / "t" / "b"))) == 1500
