# SPDX-License-Identifier: Apache-2.0
"""Names made, removed and renamed through the mount, and attributes that are set."""
import errno
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.data import content, file_checksum, object_checksum
from support.keys import put_all
from support.objects import body, head, keys

MIB = 1 << 20


def python(mounted, text, **kwargs):
    """Runs a Python program in the mount's root."""
    return mounted.run(sys.executable, "-c", text, **kwargs).stdout.decode()


# -- names

def test_mkdir_and_rmdir(mount, s3, bucket):
    mounted = mount()
    (mounted / "d").mkdir()
    assert head(s3, bucket, "d/")["ContentType"] == "application/x-directory"
    assert os.listdir(mounted.path) == ["d"]
    with pytest.raises(FileExistsError):
        (mounted / "d").mkdir()
    (mounted / "d").rmdir()
    assert keys(s3, bucket) == []
    assert os.listdir(mounted.path) == []


def test_mkdir_loses_against_another_client(mount, s3, bucket):
    mounted = mount(options={"negative_ttl": "60s"})
    mounted.tolerate("PutObject")
    assert not (mounted / "d").exists()
    s3.put_object(Bucket=bucket, Key="d/", Body=b"")
    with pytest.raises(FileExistsError):
        (mounted / "d").mkdir()


@pytest.mark.parametrize("marker", ["d/", "d_$folder$"])
def test_rmdir_removes_every_marker(mount, s3, bucket, marker):
    s3.put_object(Bucket=bucket, Key=marker, Body=b"")
    mounted = mount()
    assert os.listdir(mounted.path) == ["d"]
    (mounted / "d").rmdir()
    assert keys(s3, bucket) == []


def test_rmdir_refuses_what_is_not_empty(mount, s3, bucket):
    put_all(s3, bucket, {"d/f": b"x", "e//hidden": b"y"})
    mounted = mount()
    for name in ("d", "e"):
        with pytest.raises(OSError) as caught:
            (mounted / name).rmdir()
        assert caught.value.errno == errno.ENOTEMPTY
    assert "e//hidden" in mounted.log()


def test_rmdir_refuses_while_a_file_in_it_is_written(mount, s3, bucket):
    mounted = mount()
    (mounted / "d").mkdir()
    with open(mounted / "d" / "f", "wb"):
        with pytest.raises(OSError) as caught:
            (mounted / "d").rmdir()
        assert caught.value.errno == errno.ENOTEMPTY


def test_a_directory_that_empties_stays(mount, s3, bucket):
    put_all(s3, bucket, {"a/b/f": b"x"})
    mounted = mount()
    (mounted / "a" / "b" / "f").unlink()
    assert keys(s3, bucket) == []
    time.sleep(1.2)  # past the TTL
    assert os.listdir(mounted / "a") == ["b"]
    assert os.listdir(mounted / "a" / "b") == []
    (mounted / "a" / "b" / "g").write_bytes(b"y")
    assert keys(s3, bucket) == ["a/b/g"]
    shutil.rmtree(mounted / "a")
    assert os.listdir(mounted.path) == []


def test_unlink(mount, s3, bucket):
    put_all(s3, bucket, {"f": b"x", "g": b"y"})
    mounted = mount()
    assert sorted(os.listdir(mounted.path)) == ["f", "g"]
    (mounted / "f").unlink()
    assert os.listdir(mounted.path) == ["g"]
    assert not (mounted / "f").exists()
    assert keys(s3, bucket) == ["g"]


def test_a_file_that_is_written_and_unlinked_is_not_published(mount, s3, bucket):
    mounted = mount()
    with open(mounted / "f", "w+b", buffering=0) as file:
        file.write(b"secret")
        (mounted / "f").unlink()
        assert os.listdir(mounted.path) == []
        file.write(b" more")
        file.seek(0)
        assert file.read() == b"secret more"
        assert os.fstat(file.fileno()).st_nlink == 0
    assert keys(s3, bucket) == []


def test_rm_r_of_many(mount, s3, bucket):
    put_all(s3, bucket, {"t/%d/%d" % (n % 5, n): b"x" for n in range(300)})
    mounted = mount()
    mounted.run("rm", "-r", "t")
    assert keys(s3, bucket) == []
    assert os.listdir(mounted.path) == []


def test_rename(mount, s3, bucket):
    s3.put_object(Bucket=bucket, Key="f", Body=b"x" * 1000, ContentType="text/x-mine",
                  Metadata={"kind": "test"})
    s3.put_object(Bucket=bucket, Key="d/g", Body=b"old")
    mounted = mount()
    os.rename(mounted / "f", mounted / "d" / "g")
    assert keys(s3, bucket) == ["d/g"]
    answer = head(s3, bucket, "d/g")
    assert (answer["ContentType"], answer["Metadata"]["kind"]) == ("text/x-mine", "test")
    assert (mounted / "d" / "g").read_bytes() == b"x" * 1000
    assert not (mounted / "f").exists()


def test_rename_to_itself(mount, s3, bucket):
    put_all(s3, bucket, {"f": b"x"})
    mounted = mount()
    os.rename(mounted / "f", mounted / "f")
    assert body(s3, bucket, "f") == b"x"


def test_rename_noreplace(mount, s3, bucket):
    put_all(s3, bucket, {"f": b"x", "g": b"y"})
    mounted = mount()
    mounted.run("mv", "-n", "f", "g")
    assert body(s3, bucket, "g") == b"y"
    done = python(mounted, """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for target in (b"g", b"h"):
    print(libc.renameat2(-100, b"f", -100, target, 1), ctypes.get_errno())
""").split("\n")
    assert done[0] == "-1 %d" % errno.EEXIST
    assert done[1].startswith("0 ")
    assert keys(s3, bucket) == ["g", "h"]


def test_mv_of_a_directory(mount, s3, bucket):
    put_all(s3, bucket, {"d/a": b"1", "d/e/b": b"2"})
    mounted = mount()
    mounted.run("mv", "d", "z")
    assert keys(s3, bucket) == ["z/a", "z/e/b"]
    assert os.listdir(mounted.path) == ["z"]


def test_a_file_that_is_written_is_renamed_for_free(mount, server, s3, bucket):
    mounted = mount()
    with open(mounted / "f.tmp", "wb", buffering=0) as file:
        file.write(b"one ")
        os.rename(mounted / "f.tmp", mounted / "f")
        assert os.listdir(mounted.path) == ["f"]
        file.write(b"two")
        assert keys(s3, bucket) == []
    assert body(s3, bucket, "f") == b"one two"
    assert keys(s3, bucket) == ["f"]
    if server.kind != "rgw":
        assert server.count()["CopyObject"] == 0 or server.log("CopyObject", key="f") == []


def test_an_open_file_that_was_published_is_renamed(mount, s3, bucket):
    mounted = mount()
    with open(mounted / "f", "w+b", buffering=0) as file:
        file.write(b"one ")
        os.fsync(file.fileno())
        os.rename(mounted / "f", mounted / "g")
        file.write(b"two")
        file.seek(0)
        assert file.read() == b"one two"
    assert body(s3, bucket, "g") == b"one two"
    assert keys(s3, bucket) == ["g"]


def test_names_made_and_removed_show_in_listings(mount, s3, bucket):
    put_all(s3, bucket, {"m%03d" % n: b"x" for n in range(50)})
    mounted = mount(options={"metadata_ttl": "60s"})
    assert len(os.listdir(mounted.path)) == 50
    (mounted / "m007").unlink()
    (mounted / "aaa").write_bytes(b"y")
    (mounted / "sub").mkdir()
    with open(mounted / "zzz", "wb"):
        names = set(os.listdir(mounted.path))
        assert names == ({"m%03d" % n for n in range(50)} - {"m007"}) | {"aaa", "sub", "zzz"}
    assert not (mounted / "m007").exists()
    assert (mounted / "aaa").stat().st_size == 1


# -- attributes

def test_content_types(mount, s3, bucket):
    if not os.path.exists("/etc/mime.types"):
        pytest.skip("no /etc/mime.types here")
    mounted = mount()
    for name in ("a.html", "b.PNG", "c"):
        (mounted / name).write_bytes(b"x")
    assert head(s3, bucket, "a.html")["ContentType"].startswith("text/html")
    assert head(s3, bucket, "b.PNG")["ContentType"] == "image/png"


def test_times_are_stored(mount, s3, bucket, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"x")
    os.utime(source, ns=(10**18 + 5, 10**18 + 123456789))
    mounted = mount()
    mounted.run("cp", "-p", str(source), "f")
    assert head(s3, bucket, "f")["Metadata"]["mtime"] == "1000000000.123456789"
    assert (mounted / "f").stat().st_mtime_ns == 10**18 + 123456789
    mounted.run("touch", "-d", "2020-01-01 00:00:00 UTC", "f")
    assert head(s3, bucket, "f")["Metadata"]["mtime"] == "1577836800.000000000"
    assert (mounted / "f").stat().st_mtime == 1577836800
    assert body(s3, bucket, "f") == b"x"


def test_cp_p_of_a_large_file_stores_its_time(mount, s3, bucket, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(content("times", 20 * MIB))
    os.utime(source, ns=(10**18, 10**18))
    mount().run("cp", "-p", str(source), "f")
    assert head(s3, bucket, "f")["Metadata"]["mtime"] == "1000000000.000000000"
    assert object_checksum(s3, bucket, "f") == file_checksum(source)


def test_chmod_and_chown(mount, s3, bucket):
    put_all(s3, bucket, {"f": b"x"})
    mounted = mount()
    os.chmod(mounted / "f", 0o600)
    assert (mounted / "f").stat().st_mode & 0o777 == 0o644
    assert mounted.log().count("chmod has no effect") == 1


def test_nosilent_refuses_chmod(mount, s3, bucket):
    put_all(s3, bucket, {"f": b"x"})
    mounted = mount(options={"nosilent": True})
    os.chmod(mounted / "f", 0o644)
    with pytest.raises(PermissionError):
        os.chmod(mounted / "f", 0o600)


def test_truncate(mount, s3, bucket):
    put_all(s3, bucket, {"f": b"x" * 100})
    mounted = mount()
    os.truncate(mounted / "f", 0)
    assert body(s3, bucket, "f") == b""
    with open(mounted / "g", "wb", buffering=0) as file:
        file.write(b"x" * 10000)
        file.truncate(100)
        file.truncate(200)
    assert body(s3, bucket, "g") == b"x" * 100 + bytes(100)


# -- the table of exit codes in pailfs-semantics(7)

COMMANDS = {
    "cp, cp -p, tar xf, git clone, unzip": [
        "cp {tree}/d/f one", "cp -p {tree}/d/f two", "tar xf {tree}/t.tar",
        "git clone -q {tree}/g clone", "unzip -qo {tree}/z.zip"],
    "chmod, chown of a file": ["chmod 600 old", "chown 12345 old"],
    "cp -a, mv, install, rsync -r of files and directories": [
        "cp -a {tree}/d three", "mv {tree}/moved four", "install -m 644 {tree}/d/f five",
        "rsync -r {tree}/d/ six"],
    "rsync -a": ["rsync -a {tree}/d/ seven"],
    "mv of a directory": ["mv olddir newdir"],
    "touch": ["touch old", "touch new"],
    "ln": ["ln old link"],
    "ln -s": ["ln -s old link"],
    "cmd >> existing": ["echo x >> old"],
}


def table_of_the_page():
    page = Path(__file__).parents[2] / "man" / "pailfs-semantics.7"
    rows = [line[len(".It "):].split(" Ta ") for line in page.read_text().splitlines()
            if line.startswith(".It ") and line.count(" Ta ") == 3]
    return {row[0]: tuple(int(code) for code in row[1:]) for row in rows if not row[0].startswith("Sy")}


@pytest.fixture
def source_tree(tmp_path):
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "d" / "f").write_bytes(b"f")
    (tmp_path / "d" / "e" / "g").write_bytes(b"g")
    shutil.copytree(tmp_path / "d", tmp_path / "moved")
    script = """
    tar cf t.tar d
    git init -q g && cp d/f g && git -C g add f
    git -C g -c user.name=t -c user.email=t@example.org commit -q -m m
    python3 -c 'import zipfile; z = zipfile.ZipFile("z.zip", "w"); z.write("d/f"); z.close()'
    """
    subprocess.run(["bash", "-ec", script], cwd=tmp_path, check=True)
    return tmp_path


def test_the_page_has_the_table():
    assert set(table_of_the_page()) == set(COMMANDS)


MODES = {"default": {}, "nosilent": {"nosilent": True}, "posix": {"posix": True}}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("row", COMMANDS)
def test_exit_codes(mount, s3, bucket, source_tree, row, mode):
    put_all(s3, bucket, {"old": b"old", "olddir/a": b"a", "olddir/b/c": b"c"})
    mounted = mount(options=MODES[mode])
    expected = table_of_the_page()[row][list(MODES).index(mode)]
    for command in COMMANDS[row]:
        if shutil.which(command.split()[0]) is None and command.split()[0] != "cmd":
            continue
        done = mounted.run("bash", "-c", command.format(tree=source_tree), check=False)
        assert (done.returncode != 0) == (expected != 0), (command, done.stderr)
        if command.split()[0] not in ("rsync",):
            assert done.returncode == expected, (command, done.stderr)


@pytest.mark.s3d_only("storage classes")
def test_what_is_stored_with_every_object(mount, s3, bucket):
    mounted = mount(options={"storage_class": "STANDARD_IA", "content_type": "text/x-none"})
    (mounted / "small").write_bytes(b"x")
    (mounted / "large").write_bytes(bytes(20 * MIB))
    for key in ("small", "large"):
        answer = head(s3, bucket, key)
        assert (answer["StorageClass"], answer["ContentType"]) == ("STANDARD_IA", "text/x-none")
    os.rename(mounted / "small", mounted / "renamed")
    assert head(s3, bucket, "renamed")["StorageClass"] == "STANDARD_IA"
