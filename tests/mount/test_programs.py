# SPDX-License-Identifier: Apache-2.0
"""Programs of others over a mount in default mode, each with a result that can be wrong.

The same script in a local directory gives the expected tree where that is enough. Ordinary copies
in and out are in test_write.py. PAILFS_LONG=1 runs the counts of the acceptance list: 1,000
transactions, 5,200 names.
"""
import os
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from support.data import content
from support.objects import body, keys

LONG = bool(os.environ.get("PAILFS_LONG"))
TRANSACTIONS = 1000 if LONG else 100
TREE_FILES, TREE_DIRS = (5000, 200) if LONG else (600, 40)
FIO_MIB = 64 if LONG else 16
MIB = 1 << 20
SMALL = {"memory": "64M", "upload_part_size": "5M"}
VIM = "vim.tiny"

pytestmark = pytest.mark.bounded(1800 if LONG else 240)


@pytest.fixture
def scaled(server):
    """A count, smaller for RGW: it takes 20 times as long for a small object."""
    return lambda count: count if server.kind != "rgw" else max(count // 10, 8)


def tree_of(root):
    """{path: content} of the files below a directory; directories end in "/" and hold None."""
    found = {}
    for place, dirs, files in os.walk(root):
        for name in dirs:
            found[os.path.relpath(os.path.join(place, name), root) + "/"] = None
        for name in files:
            path = os.path.join(place, name)
            found[os.path.relpath(path, root)] = Path(path).read_bytes()
    return found


def assert_same_tree(left, right):
    """With the names that differ, not megabytes of contents."""
    left, right = tree_of(left), tree_of(right)
    assert sorted(left) == sorted(right)
    assert [name for name in left if left[name] != right[name]] == []


# -- the same script here and there

PREPARE = """
seq 1 60000 > numbers; head -c 300000 numbers > part; printf 'one\\ntwo\\n' > text
printf '%s\\n' 'int a(void);' 'int a(void) { return 1; }' > a.c; mkdir d; cp text d/t
"""

SCRIPTS = {
    "append": "echo three >> text; cat numbers >> text; (echo a; echo b) >> d/t; tee -a d/t < text",
    "sed -i": "sed -i s/two/TWO/ text d/t; sed -i.bak -e 5d numbers",
    "perl -i": "perl -pi -e 's/^1/x/' numbers",
    "dd in place": "dd if=text of=numbers bs=3 seek=1000 conv=notrunc status=none;"
                   "dd if=/dev/zero of=part bs=64k seek=20 count=1 conv=notrunc status=none;"
                   "dd if=numbers of=numbers bs=4096 skip=3 seek=9 count=4 conv=notrunc"
                   " status=none",
    "dd with holes": "dd if=/dev/zero of=zeros bs=1M count=6 status=none;"
                     "cat part >> zeros; dd if=zeros of=sparse bs=64k conv=sparse status=none;"
                     "cp --sparse=always zeros again; cp zeros plain",
    "truncate": "truncate -s 1000 numbers; truncate -s +5000 numbers; truncate -s 7M part;"
                "truncate -s 0 text; truncate -s 12345 new",
    "fallocate": "fallocate -l 200000 text; fallocate -p -o 4096 -l 50000 numbers;"
                 "fallocate -z -o 1000 -l 199999 part; fallocate -n -l 1M a.c;"
                 "head -c 4000000 /dev/zero > zeros; cat text >> zeros; fallocate -d zeros",
    "sort onto itself": "sort -r numbers -o numbers; sort -u -o text text text",
    "patch": "sed s/two/2/ text > new; diff -u text new > diff || true; patch -s text diff;"
             "rm new diff",
    "gzip": "gzip -n numbers; gzip -dk numbers.gz; cmp <(gzip -dc numbers.gz) numbers;"
            "gzip -n text; gunzip text.gz",
    "ar": "gcc -c a.c; ar rcD lib.a a.o; cp a.o b.o; ar rD lib.a b.o;"
          "ar dD lib.a a.o; ranlib -D lib.a",
    "tar -r": "tar --sort=name --mtime=@0 --owner=0 --group=0 --mode=644 -cf t.tar text;"
              "tar --mtime=@0 --owner=0 --group=0 --mode=644 -rf t.tar numbers part;"
              "tar --delete -f t.tar text; tar tf t.tar",
    "split and join": "split -b 100000 numbers piece.; cat piece.* > joined; cmp joined numbers",
    "install and mv":
        "install -m 600 text d/installed; mv d/t d/u; mv numbers d; cp d/u d/installed",
    "objcopy": "gcc -c -o a.o a.c; strip -D a.o; objcopy -D --add-section .note.x=text a.o",
    "mailbox": """python3 -c '
import mailbox
box = mailbox.mbox("mbox")
for n in range(40):
    message = mailbox.mboxMessage("From: a\\nSubject: %d\\n\\n%s\\n" % (n, "text " * n))
    message.set_from("a", (2020, 1, 1, 0, 0, 0, 2, 1, 0))
    box.add(message)
box.flush()
del box[3]
box.flush()
box.close()'""",
    "dbm": """python3 -c '
import dbm.dumb
for turn in range(3):
    with dbm.dumb.open("db", "c") as db:
        for n in range(60):
            db["k%d" % (n * 7 % 50)] = str(n * turn) * n'""",
    "mmap": """python3 -c '
import mmap
with open("numbers", "r+b") as f, mmap.mmap(f.fileno(), 0) as m:
    m[5000:5010] = b"0123456789"
    m.move(70000, 20000, 9000)
with open("part", "r+b") as f, mmap.mmap(f.fileno(), 0) as m:
    m[299999:300000] = b"X"
    m.flush()'""",
    "r+ in Python": """python3 -c '
with open("numbers", "r+b") as f:
    f.seek(100000); f.write(b"#" * 30000)
    f.seek(10); f.write(b"head")
    f.truncate(120001)
with open("text", "a+") as f:
    f.write("more"); f.seek(0); assert f.read().endswith("more")'""",
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_does_here_what_it_does_on_a_disk(mount, s3, bucket, tmp_path, name):
    local = tmp_path / "local"
    local.mkdir()
    mounted = mount()
    outputs = []
    for place in (local, mounted.path):
        for script in (PREPARE, SCRIPTS[name]):
            done = subprocess.run(["bash", "-eo", "pipefail", "-c", script], cwd=place,
                                  capture_output=True, check=False, timeout=60)
            assert done.returncode == 0, done.stderr.decode()
        outputs.append(done.stdout)
    assert outputs[0] == outputs[1]
    assert_same_tree(local, mounted.path)
    expected = {key: data for key, data in tree_of(local).items() if data is not None}
    assert [key for key in keys(s3, bucket) if not key.endswith("/")] == sorted(expected)
    assert [key for key in expected if body(s3, bucket, key) != expected[key]] == []


# -- fio

@pytest.mark.parametrize("engine", ["psync", "mmap"])
def test_fio_verifies_random_writes(mount, engine):
    """Written and verified through one mount, verified again through another."""
    job = ["fio", "--name=v", "--filename=v", "--rw=randwrite", "--verify=crc32c", "--bs=8k",
           "--size=%dM" % FIO_MIB, "--ioengine=" + engine, "--randseed=7",
           "--verify_fatal=1", "--verify_state_save=0", "--fallocate=none", "--minimal"]
    mounted = mount(options=SMALL)
    mounted.run(*job, "--end_fsync=1", timeout=900)
    assert (mounted / "v").stat().st_size == FIO_MIB * MIB
    mounted.unmount()
    again = mount(options=SMALL)
    again.run(*job, "--verify_only", timeout=900)
    with open(again / "v", "r+b") as file:
        file.seek(FIO_MIB * MIB // 2 + 100)
        file.write(b"wrong")
    failed = again.run(*job, "--verify_only", check=False, timeout=900)
    assert failed.returncode != 0  # it is alive


def test_fio_mixes_random_reads_and_writes(mount):
    mounted = mount(options=SMALL)
    mounted.run("fio", "--name=m", "--filename=m", "--rw=randrw", "--verify=crc32c", "--bs=8k",
                "--size=%dM" % FIO_MIB, "--ioengine=psync", "--verify_fatal=1", "--minimal",
                "--verify_state_save=0", "--fsync=500", "--verify_backlog=64", timeout=900)


# -- sqlite

SQLITE = """
import random, sqlite3, sys
mode, count = sys.argv[1], int(sys.argv[2])
db = sqlite3.connect("s.db", isolation_level=None)
assert db.execute("PRAGMA journal_mode=" + mode).fetchone()[0] == mode.lower()
db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, k INTEGER, v BLOB)")
db.execute("CREATE INDEX i ON t (k)")
rng = random.Random(5)
for n in range(count):
    db.execute("BEGIN")
    db.execute("INSERT INTO t VALUES (?, ?, ?)", (n, n * 7919 % 1009, rng.randbytes(n % 3000)))
    db.execute("UPDATE t SET v = v || 'x' WHERE id = ?", (rng.randrange(n + 1),))
    db.execute("ROLLBACK" if n % 10 == 9 else "COMMIT")
db.close()
"""

SQLITE_LOOK = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
print(db.execute("PRAGMA integrity_check").fetchone()[0],
      db.execute("SELECT count(*), sum(k) FROM t").fetchone(),
      db.execute("SELECT sum(length(v)) FROM t").fetchone())
"""


@pytest.mark.parametrize("mode", ["DELETE", "WAL", "TRUNCATE", "PERSIST"])
def test_sqlite(mount, s3, bucket, tmp_path, scaled, mode):
    count = scaled(TRANSACTIONS if LONG or mode in ("DELETE", "WAL") else 30)
    local = tmp_path / "local"
    local.mkdir()
    subprocess.run([sys.executable, "-c", SQLITE, mode, str(count)], cwd=local, check=True)
    look = [sys.executable, "-c", SQLITE_LOOK, "s.db"]
    expected = subprocess.run(look, cwd=local, check=True, capture_output=True).stdout
    assert expected.startswith(b"ok (%d," % (count - count // 10))
    mounted = mount()
    mounted.run(sys.executable, "-c", SQLITE, mode, str(count), timeout=900)
    assert mounted.run(*look).stdout == expected
    mounted.unmount()
    assert mount().run(*look).stdout == expected
    assert "s.db-wal" not in keys(s3, bucket)
    (tmp_path / "copy.db").write_bytes(body(s3, bucket, "s.db"))
    look[-1] = str(tmp_path / "copy.db")
    assert subprocess.run(look, check=True, capture_output=True).stdout == expected


# -- trees

def make_tree(root, files, dirs):
    for number in range(files):
        place = root / ("d%d" % (number % dirs)) / "sub" if number % 2 else root / (
            "d%d" % (number % dirs))
        place.mkdir(parents=True, exist_ok=True)
        size = number % 3000 if number % 100 else 9 * MIB if number == 0 else 200_000
        (place / ("f%d" % number)).write_bytes(content("tree%d" % number, size))


def test_tar_of_a_large_tree_there_and_back(mount, tmp_path, scaled):
    make_tree(tmp_path / "tree", scaled(TREE_FILES), scaled(TREE_DIRS))
    subprocess.run(["tar", "cf", "t.tar", "tree"], cwd=tmp_path, check=True)
    mounted = mount(options={"memory": "128M"})
    mounted.run("tar", "xf", str(tmp_path / "t.tar"), timeout=900)
    (tmp_path / "back").mkdir()
    with subprocess.Popen(["tar", "xf", "-"], cwd=tmp_path / "back",
                          stdin=subprocess.PIPE) as unpack:
        subprocess.run(["tar", "cf", "-", "tree"], cwd=mounted.path, stdout=unpack.stdin,
                       check=True)
        unpack.stdin.close()
        assert unpack.wait(60) == 0
    assert_same_tree(tmp_path / "tree", tmp_path / "back" / "tree")


def test_rsync_by_size_moves_nothing_the_second_time(mount, tmp_path, scaled):
    files = scaled(80)
    make_tree(tmp_path / "tree", files, 5)
    mounted = mount()
    command = ["rsync", "-r", "--size-only", "--itemize-changes", "%s/tree" % tmp_path, "."]
    assert mounted.run(*command).stdout.count(b">f+++++++++") == files
    assert mounted.run(*command).stdout == b""
    assert_same_tree(tmp_path / "tree", mounted / "tree")
    (tmp_path / "tree" / "d0" / "f0").write_bytes(b"shorter than before")
    assert mounted.run(*command).stdout.split()[1:] == [b"tree/d0/f0"]
    mounted.run("rsync", "-r", "--inplace", "--no-whole-file", "--ignore-times",
                "%s/tree" % tmp_path, ".")
    assert_same_tree(tmp_path / "tree", mounted / "tree")


def test_git(mount, server, tmp_path, scaled):
    origin, script = tmp_path / "origin", """
set -e
export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@example.org
export GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t@example.org
git clone -q {origin} clone
cd clone
git checkout -q -b side
echo side > side; git add side; git commit -q -m side
git checkout -q main
echo more >> f1; git commit -q -a -m more
git merge -q -m merged side
git gc -q --prune=now
git fsck --strict --full
git status --porcelain
git log -n 3 --format=%s
git push -q origin main
"""
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(origin)]
    origin.mkdir()
    subprocess.run([*git, "init", "-q", "-b", "main"], check=True)
    for number in range(scaled(40)):
        (origin / ("f%d" % number)).write_bytes(content("git%d" % number, 4000))
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "all"], check=True)
    subprocess.run([*git, "checkout", "-q", "--detach"], check=True)
    # It looks for thousands of names; an answer of RGW takes a while.
    mounted = mount(options={"metadata_ttl": 60, "negative_ttl": 60} if server.kind == "rgw"
                    else {})
    words = mounted.shell(script.format(origin=shlex.quote(str(origin))), timeout=200)
    assert words.splitlines()[:1] == ["merged"] and set(words.split()[1:3]) == {"more", "side"}
    mounted.unmount()
    again = mount()
    again.run("git", "-c", "safe.directory=*", "-C", "clone", "fsck", "--strict", "--full")
    assert again.run("git", "-c", "safe.directory=*", "-C", "clone", "status",
                     "--porcelain").stdout == b""
    subprocess.run([*git, "fsck", "--strict"], check=True)
    assert (again / "clone" / "side").read_text() == "side\n"


# -- archives

def test_zip_and_unzip_with_a_large_member(mount, s3, bucket, tmp_path):
    members = {"small": b"small\n" * 100, "d/large": content("large", 12 * MIB), "empty": b""}
    with zipfile.ZipFile(tmp_path / "z.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    mounted = mount(options={"upload_part_size": "5M"})
    mounted.run("unzip", "-q", str(tmp_path / "z.zip"))
    assert {name: body(s3, bucket, name) for name in members} == members
    mounted.run("zip", "-q", "-r", "new.zip", "small", "d")
    mounted.run("zip", "-q", "new.zip", "empty")
    mounted.run("zip", "-q", "-d", "new.zip", "small")
    mounted.run("unzip", "-tq", "new.zip")
    (tmp_path / "new.zip").write_bytes(body(s3, bucket, "new.zip"))
    with zipfile.ZipFile(tmp_path / "new.zip") as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == ["d/", "d/large", "empty"]
        assert archive.read("d/large") == members["d/large"]


def test_a_member_is_added_to_an_archive(mount, s3, bucket, tmp_path):
    """zipfile in mode "a" writes over the old directory, at the end of the file."""
    mounted = mount(options={"upload_part_size": "5M"})
    data = content("member", 7 * MIB)
    for turn in range(3):
        with zipfile.ZipFile(mounted / "z.zip", "a") as archive:
            archive.writestr("m%d" % turn, data[turn:])
    (tmp_path / "z.zip").write_bytes(body(s3, bucket, "z.zip"))
    with zipfile.ZipFile(tmp_path / "z.zip") as archive:
        assert archive.testzip() is None
        assert [archive.read("m%d" % turn) == data[turn:] for turn in range(3)] == [True] * 3


# -- building and editing

MAKEFILE = """
objects = main.o one.o two.o
program: $(objects)
	gcc -o $@ $(objects)
%.o: %.c all.h
	gcc -c -o $@ $<
"""


def test_make_twice(mount):
    mounted = mount(options={"file_mode": "0755"})
    (mounted / "Makefile").write_text(MAKEFILE)
    (mounted / "all.h").write_text("int one(void);\nint two(void);\n")
    (mounted / "one.c").write_text('#include "all.h"\nint one(void) { return 40; }\n')
    (mounted / "two.c").write_text('#include "all.h"\nint two(void) { return 2; }\n')
    (mounted / "main.c").write_text('#include "all.h"\nint main(void) { return one() + two(); }\n')
    assert mounted.shell("make").count("gcc -c") == 3
    assert mounted.run("./program", check=False).returncode == 42
    assert mounted.shell("make") == "make: 'program' is up to date.\n"
    mounted.unmount()
    again = mount(options={"file_mode": "0755"})
    assert again.shell("make") == "make: 'program' is up to date.\n"
    (again / "two.c").write_text('#include "all.h"\nint two(void) { return 3; }\n')
    assert again.shell("make").count("gcc -c") == 1
    assert again.run("./program", check=False).returncode == 43


def test_vim_edits_and_writes_twice(mount, s3, bucket):
    """It asks, and waits for a key for ever, when a file's time is not the one that it saw."""
    mounted = mount()
    (mounted / "f").write_text("alpha\nbeta\n")
    command = [VIM, "-N", "-u", "NONE", "-i", "NONE", "-c", "%s/alpha/one/", "-c", "w", "-c",
               "sleep 1200m", "-c", "%s/beta/two/", "-c", "w", "-c", "e", "-c", "checktime", "-c",
               "$s/$/!/", "-c", "wq", "f"]
    seen = mounted.shell("TERM=xterm script -qefc %s /dev/null" % shlex.quote(
        shlex.join(command)), timeout=60)
    for words in ("changed", "WARNING", "W1", "E1", "E2", "E5", "E8"):
        assert words not in seen
    assert body(s3, bucket, "f") == b"one\ntwo!\n"
    assert keys(s3, bucket) == ["f"]  # no swap file, no backup
