# SPDX-License-Identifier: Apache-2.0
"""Directories are renamed: every key goes along, and what is open goes on."""
import ctypes
import errno
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from support.data import content
from support.keys import put_all, put_multipart
from support.objects import body, exists, head, keys, uploads, wait_until

MIB = 1 << 20
WAIT_S = 40
LATE_MS = (1000, 4000, 16000)  # an answer that must come after a rename: the first that does
NOREPLACE = 1


def renameat2(old, new, flags):
    """0, or the errno."""
    libc = ctypes.CDLL(None, use_errno=True)
    done = libc.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), flags)
    return 0 if done == 0 else ctypes.get_errno()


def bodies(s3, bucket):
    return {key: body(s3, bucket, key) for key in keys(s3, bucket)}


def test_all_keys_below_go_along(mount, s3, bucket):
    objects = {"d/f%03d" % n: b"%d" % n for n in range(40)}
    objects.update({"d/e/%d" % n: b"e%d" % n for n in range(20)})
    objects.update({"d/e/deep/er/x": b"x", "d/": b"", "other": b"o", "d2/x": b"d2"})
    put_all(s3, bucket, objects)
    mounted = mount()
    os.rename(mounted / "d", mounted / "z")
    expected = {("z/" + key[2:] if key.startswith("d/") else key): data
                for key, data in objects.items()}
    assert bodies(s3, bucket) == expected
    assert sorted(os.listdir(mounted.path)) == ["d2", "other", "z"]
    assert not (mounted / "d").exists()
    assert (mounted / "z" / "e" / "deep" / "er" / "x").read_bytes() == b"x"
    assert "renamed d to z: 62 objects" in mounted.log()


def test_metadata_goes_along(mount, s3, bucket):
    s3.put_object(Bucket=bucket, Key="d/f", Body=b"x", ContentType="text/x-mine",
                  Metadata={"kind": "test"})
    mounted = mount()
    os.rename(mounted / "d", mounted / "z")
    answer = head(s3, bucket, "z/f")
    assert (answer["ContentType"], answer["Metadata"]["kind"]) == ("text/x-mine", "test")


def create_error(path, ret):
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    except OSError as error:
        ret.append(error.errno)
    else:
        ret.append(0)


@pytest.mark.s3d_only("slow answers")
def test_a_create_whose_key_becomes_too_long_meanwhile_fails_alone(mount, server, s3, bucket):
    above = "/".join(["a" * 200] * 3)
    put_all(s3, bucket, [above + "/d/old"])
    mounted = mount()
    old, new = mounted / above / "d", mounted / above / ("z" * 250)
    assert old.is_dir()
    name, ends = "n" * 250, []
    server.faults({"name": "late", "match": {"op": "HeadObject", "key": "%s/d/%s" % (above, name)},
                   "do": {"delay_ms": 3000}})
    thread = threading.Thread(target=create_error, args=(old / name, ends))
    thread.start()
    wait_until(lambda: server.fault_hits()["late"] > 0, "the look-up of the new name")
    os.rename(old, new)
    thread.join()
    assert ends in ([errno.ENAMETOOLONG], [errno.ENOENT])
    assert os.listdir(new) == ["old"] and (new / "old").read_bytes() == body(
        s3, bucket, above + "/" + "z" * 250 + "/old")


def test_no_byte_of_a_body_moves(mount, server, s3, bucket):
    put_all(s3, bucket, {"d/%d" % n: b"x" * 1000 for n in range(10)})
    s3.put_object(Bucket=bucket, Key="f", Body=b"y" * 1000)
    mounted = mount()
    os.listdir(mounted / "d")
    (mounted / "first").write_bytes(b"")  # the probe of conditions is over
    if server.kind != "rgw":
        server.clear_log()
    os.rename(mounted / "d", mounted / "z")
    os.rename(mounted / "f", mounted / "g")
    assert body(s3, bucket, "g") == b"y" * 1000
    if server.kind != "rgw":
        assert sum(e["bytes_in"] for e in server.log()
                   if e["op"] in ("PutObject", "UploadPart")) == 0
        assert [e for e in server.log("GetObject") if e["key"] != "g"] == []


def test_hidden_keys_and_markers_go_along(mount, s3, bucket):
    put_all(s3, bucket, {"d//a": b"1", "d/../b": b"2", "d/x/./c": b"3", "d": b"hidden",
                         "d_$folder$": b"", "d/e_$folder$": b"", "d/f": b"4"})
    mounted = mount()
    os.listdir(mounted.path)
    os.rename(mounted / "d", mounted / "z")
    assert bodies(s3, bucket) == {"z//a": b"1", "z/../b": b"2", "z/x/./c": b"3", "z": b"hidden",
                                  "z_$folder$": b"", "z/e_$folder$": b"", "z/f": b"4"}
    assert sorted(os.listdir(mounted / "z")) == ["e", "f", "x"]


def test_odd_names_go_along(mount, server, s3, bucket):
    names = ["a b", "a+b", "100%", "x&y", "quote\"'", "new\nline", "uml\u00e4ut", "<tag>"]
    if server.kind != "rgw":  # it cannot go on behind such a key in a listing
        names.append("\x01")
    put_all(s3, bucket, {"d/" + name: name.encode() for name in names})
    mounted = mount()
    os.rename(mounted / "d", mounted / "z +%")
    assert bodies(s3, bucket) == {"z +%/" + name: name.encode() for name in names}


@pytest.mark.concurrent
@pytest.mark.s3d_only("a delay of listings")
def test_copies_end_while_a_listing_is_waited_for(mount, server, s3, bucket):
    """What was copied is noted by the copiers and looked up by who lists: ThreadSanitizer sees it
    when no lock is between them."""
    put_all(s3, bucket, {"d": b"hidden", "d/f": b"1", "d/g": b"2"})
    mounted = mount()
    assert os.listdir(mounted.path) == ["d"]
    server.config(list_ms=300)
    os.rename(mounted / "d", mounted / "z")
    assert bodies(s3, bucket) == {"z": b"hidden", "z/f": b"1", "z/g": b"2"}


def test_an_empty_directory(mount, s3, bucket):
    mounted = mount()
    (mounted / "d").mkdir()
    os.rename(mounted / "d", mounted / "z")
    assert keys(s3, bucket) == ["z/"]
    assert os.listdir(mounted.path) == ["z"]
    put_all(s3, bucket, {"k/f": b"x"})
    (mounted / "k" / "f").unlink()  # known to this mount alone from now on
    os.rename(mounted / "k", mounted / "l")
    assert sorted(os.listdir(mounted.path)) == ["l", "z"]
    (mounted / "l" / "g").write_bytes(b"y")
    assert "l/g" in keys(s3, bucket)


def test_into_other_directories_and_back(mount, s3, bucket):
    put_all(s3, bucket, {"a/d/f": b"1", "b/": b""})
    mounted = mount()
    os.rename(mounted / "a" / "d", mounted / "b" / "e")
    assert [key for key in keys(s3, bucket) if not key.endswith("/")] == ["b/e/f"]
    assert os.listdir(mounted / "a") == []
    os.rename(mounted / "b" / "e", mounted / "a" / "d")
    assert "a/d/f" in keys(s3, bucket)
    with pytest.raises(OSError) as caught:
        os.rename(mounted / "a", mounted / "a" / "d" / "x")
    assert caught.value.errno == errno.EINVAL


def test_what_is_at_the_target(mount, s3, bucket):
    put_all(s3, bucket, {"d/f": b"1", "empty/": b"", "full/x": b"2", "file": b"3"})
    mounted = mount()
    assert renameat2(mounted / "d", mounted / "empty", NOREPLACE) == errno.EEXIST
    assert renameat2(mounted / "d", mounted / "full", 0) == errno.ENOTEMPTY
    assert renameat2(mounted / "d", mounted / "file", 0) == errno.ENOTDIR
    assert renameat2(mounted / "file", mounted / "d", 0) == errno.EISDIR
    assert renameat2(mounted / "d", mounted / "empty", 0) == 0
    assert renameat2(mounted / "empty", mounted / "new", NOREPLACE) == 0
    assert bodies(s3, bucket)["new/f"] == b"1"
    assert sorted(os.listdir(mounted.path)) == ["file", "full", "new"]


def test_safe_keeps_what_is_there(mount, s3, bucket):
    put_all(s3, bucket, {"d/f": b"1", "empty/": b""})
    mounted = mount(options={"safe": True})
    assert renameat2(mounted / "d", mounted / "empty", 0) == errno.EPERM
    assert renameat2(mounted / "d", mounted / "new", 0) == 0
    assert keys(s3, bucket) == ["empty/", "new/f"]


def test_nodes_and_numbers_stay(mount, s3, bucket):
    put_all(s3, bucket, {"d/e/f": b"1", "g": b"2"})
    mounted = mount()
    before = {name: (mounted / name).stat().st_ino for name in ("d", "d/e", "d/e/f", "g")}
    os.rename(mounted / "d", mounted / "z")
    os.rename(mounted / "g", mounted / "h")
    after = {name: (mounted / name).stat().st_ino for name in ("z", "z/e", "z/e/f", "h")}
    assert list(before.values()) == list(after.values())
    assert {e.name: e.inode() for e in os.scandir(mounted.path)} == {
        "z": after["z"], "h": after["h"]}
    (mounted / "g").write_bytes(b"3")
    (mounted / "d").mkdir()
    numbers = {(mounted / name).stat().st_ino for name in ("d", "g", "z", "h")}
    assert len(numbers) == 4


def test_open_files_read_on(mount, s3, bucket):
    data = content("open", 20 * MIB)
    s3.put_object(Bucket=bucket, Key="d/whole", Body=data)
    put_multipart(s3, bucket, "d/parts", data, 10 * MIB)
    mounted = mount(options={"memory": "32M"})
    files = [open(mounted / "d" / name, "rb", buffering=0) for name in ("whole", "parts")]
    for file in files:
        assert file.read(4096) == data[:4096]
    os.rename(mounted / "d", mounted / "z")
    for file in files:
        got = b"".join(iter(lambda: file.read(MIB), b""))
        assert got == data[4096:]
        file.close()
    assert (mounted / "z" / "parts").stat().st_size == len(data)


def test_files_under_write_go_along(mount, s3, bucket):
    put_all(s3, bucket, {"d/old": b"old content", "d/e/x": b"x"})
    mounted = mount()
    with open(mounted / "d" / "new", "w+b", buffering=0) as new, \
            open(mounted / "d" / "old", "r+b", buffering=0) as old, \
            open(mounted / "d" / "e" / "again", "w+b", buffering=0) as again:
        new.write(b"one ")
        old.seek(4)
        old.write(b"CON")
        again.write(b"first ")
        os.fsync(again.fileno())
        again.write(b"second")
        os.rename(mounted / "d", mounted / "z")
        assert sorted(os.listdir(mounted / "z")) == ["e", "new", "old"]
        new.write(b"two")
        old.seek(0)
        assert old.read() == b"old CONtent"
        again.seek(0)
        assert again.read() == b"first second"
    assert bodies(s3, bucket) == {"z/old": b"old CONtent", "z/new": b"one two", "z/e/x": b"x",
                                  "z/e/again": b"first second"}


def test_a_file_in_parts_that_is_changed_goes_along(mount, s3, bucket):
    data = content("in parts", 5 * MIB + 1000)
    put_multipart(s3, bucket, "d/parts", data, 5 * MIB)
    mounted = mount()
    with open(mounted / "d" / "parts", "r+b", buffering=0) as file:
        file.seek(10)
        file.write(b"before")
        os.rename(mounted / "d", mounted / "z")
        assert os.pread(file.fileno(), 10, 5 * MIB) == data[5 * MIB:5 * MIB + 10]
        file.write(b"after")
    assert body(s3, bucket, "z/parts") == data[:10] + b"beforeafter" + data[21:]
    assert keys(s3, bucket) == ["z/parts"]


def test_a_stream_goes_along(mount, s3, bucket):
    data = content("stream", 90 * MIB)
    put_all(s3, bucket, {"d/x": b"x"})
    mounted = mount(options={"memory": "64M"})
    with open(mounted / "d" / "f", "wb", buffering=0) as file:
        file.write(data[:80 * MIB])
        os.rename(mounted / "d", mounted / "z")
        file.write(data[80 * MIB:])
    assert body(s3, bucket, "z/f") == data
    assert keys(s3, bucket) == ["z/f", "z/x"]
    wait_until(lambda: not uploads(s3, bucket), "the old upload to be aborted", WAIT_S)


@pytest.mark.concurrent
def test_writers_below_work_on(mount, s3, bucket):
    put_all(s3, bucket, {"d0/f%03d" % n: b"%d" % n for n in range(60)})
    mounted = mount()
    (mounted / "d0" / "w").mkdir()
    fd = os.open(mounted / "d0" / "w", os.O_RDONLY)
    closed, stop = {}, threading.Event()

    def write(number):
        turn = 0
        while not stop.is_set():
            name, data = "w%d-%d" % (number, turn), b"%d %d" % (number, turn)
            with open(name, "wb", opener=lambda p, flags: os.open(p, flags, dir_fd=fd)) as file:
                file.write(data)
            closed[name] = data
            turn += 1
            if turn % 3 == 0:
                os.unlink(name, dir_fd=fd)
                del closed[name]

    threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for turn in range(4):
        os.rename(mounted / ("d%d" % turn), mounted / ("d%d" % (turn + 1)))
    stop.set()
    for thread in threads:
        thread.join()
    os.close(fd)
    expected = {"d4/f%03d" % n: b"%d" % n for n in range(60)}
    expected.update({"d4/w/" + name: data for name, data in closed.items()})
    found = bodies(s3, bucket)
    assert found.pop("d4/w/") == b""
    assert found == expected


def test_a_rename_whose_copy_fails_changes_nothing(mount, server, s3, bucket):
    if server.kind == "rgw":
        pytest.skip("needs s3d: scripted faults")
    objects = {"d/%03d" % n: b"%d" % n for n in range(100)}
    put_all(s3, bucket, objects)
    mounted = mount(options={"retries": "1"})
    mounted.expect("cannot be copied")
    mounted.tolerate("CopyObject")
    mounted.expect("was given up")
    server.faults({"match": {"op": "CopyObject", "key": "z/077"}, "count": 0,
                   "do": {"status": 403, "code": "AccessDenied"}})
    with pytest.raises(PermissionError):
        os.rename(mounted / "d", mounted / "z")
    assert bodies(s3, bucket) == objects
    assert os.listdir(mounted.path) == ["d"]
    server.clear_faults()
    os.rename(mounted / "d", mounted / "z")
    assert sorted(keys(s3, bucket)) == sorted("z" + key[1:] for key in objects)


def test_a_copy_that_somebody_changed_is_not_taken_back(mount, server, s3, bucket):
    if server.kind == "rgw":
        pytest.skip("needs s3d: scripted faults")
    put_all(s3, bucket, {"d/%d" % n: b"%d" % n for n in range(5)})
    mounted = mount(options={"retries": "0"})
    mounted.expect("cannot be copied")
    mounted.tolerate("CopyObject")
    mounted.expect("was given up")
    server.faults({"match": {"op": "CopyObject", "key": "z/4"}, "count": 0,
                   "do": {"delay_ms": 1500, "status": 403, "code": "AccessDenied"}})
    thread = threading.Thread(target=renameat2, args=(mounted / "d", mounted / "z", 0))
    thread.start()
    wait_until(lambda: exists(s3, bucket, "z/1"), "a copy", WAIT_S)
    s3.put_object(Bucket=bucket, Key="z/1", Body=b"somebody else's")
    thread.join()
    assert bodies(s3, bucket) == {**{"d/%d" % n: b"%d" % n for n in range(5)},
                                  "z/1": b"somebody else's"}


def test_what_cannot_be_deleted_stays(mount, server, s3, bucket):
    if server.kind == "rgw":
        pytest.skip("needs s3d: scripted faults")
    put_all(s3, bucket, {"d/%d" % n: b"%d" % n for n in range(5)})
    mounted = mount(options={"retries": "0"})
    mounted.expect("is not complete")
    mounted.tolerate("rename: ")
    mounted.tolerate("DeleteObject")
    server.faults({"match": {"op": "DeleteObjects"}, "count": 0,
                   "do": {"status": 403, "code": "AccessDenied"}})
    with pytest.raises(OSError) as caught:
        os.rename(mounted / "d", mounted / "z")
    assert caught.value.errno == errno.EIO
    server.clear_faults()
    wait_until(lambda: sorted(os.listdir(mounted.path)) == ["d", "z"], "both to be seen", WAIT_S)
    assert [len(os.listdir(mounted / name)) for name in ("d", "z")] == [5, 5]


def test_a_server_without_deleteobjects(mount, server, s3, bucket):
    if server.kind == "rgw":
        pytest.skip("needs s3d: scripted faults")
    put_all(s3, bucket, {"d/%d" % n: b"%d" % n for n in range(70)})
    mounted = mount()
    server.faults({"match": {"op": "DeleteObjects"}, "count": 0,
                   "do": {"status": 501, "code": "NotImplemented"}})
    os.rename(mounted / "d", mounted / "z")
    assert sorted(keys(s3, bucket)) == sorted("z/%d" % n for n in range(70))
    assert "one by one" in mounted.log()


def test_keys_that_appear_meanwhile(mount, server, s3, bucket):
    if server.kind == "rgw":
        pytest.skip("needs s3d: scripted delays")
    put_all(s3, bucket, {"d/%d" % n: b"%d" % n for n in range(8)})
    mounted = mount()
    server.faults({"match": {"op": "CopyObject", "key": "z/7"}, "count": 1,
                   "do": {"delay_ms": 1500}})
    thread = threading.Thread(target=os.rename, args=(mounted / "d", mounted / "z"))
    thread.start()
    wait_until(lambda: exists(s3, bucket, "z/1"), "a copy", WAIT_S)
    s3.put_object(Bucket=bucket, Key="d/late", Body=b"late")
    s3.put_object(Bucket=bucket, Key="d/0", Body=b"changed")
    s3.delete_object(Bucket=bucket, Key="d/1")
    thread.join()
    assert bodies(s3, bucket) == {**{"z/%d" % n: b"%d" % n for n in range(2, 8)},
                                  "z/0": b"changed", "z/late": b"late"}


RENAMER = "import os, sys; os.rename(sys.argv[1], sys.argv[2])"


def test_a_killed_rename_is_taken_back(mount, server, s3, bucket):
    if server.kind == "rgw":
        pytest.skip("needs s3d: scripted delays")
    objects = {"d/%03d" % n: b"%d" % n for n in range(60)}
    put_all(s3, bucket, objects)
    mounted = mount()
    mounted.expect("was given up")
    server.faults({"match": {"op": "CopyObject"}, "skip": 20, "count": 0,
                   "do": {"stall_after": -1}})
    process = subprocess.Popen([sys.executable, "-c", RENAMER, str(mounted / "d"),
                                str(mounted / "z")])
    wait_until(lambda: keys(s3, bucket)[-1] > "z/", "a copy", WAIT_S)  # any: threads race
    begin = time.monotonic()
    process.send_signal(signal.SIGKILL)
    assert process.wait(20) == -signal.SIGKILL
    assert time.monotonic() - begin < 5  # a second, on a machine of one's own
    server.clear_faults()
    wait_until(lambda: keys(s3, bucket) == sorted(objects), "the copies to go", WAIT_S)
    assert bodies(s3, bucket) == objects
    wait_until(lambda: "was given up" in mounted.log(), "its end", WAIT_S)
    wait_until(lambda: os.listdir(mounted.path) == ["d"], "the old name", WAIT_S)
    os.rename(mounted / "d", mounted / "y")
    assert sorted(keys(s3, bucket)) == sorted("y" + key[1:] for key in objects)


def test_a_rename_killed_late_is_finished(mount, server, s3, bucket):
    if server.kind == "rgw":
        pytest.skip("needs s3d: scripted delays")
    put_all(s3, bucket, {"d/%03d" % n: b"%d" % n for n in range(10)})
    mounted = mount()
    server.faults({"match": {"op": "DeleteObjects"}, "count": 1, "do": {"delay_ms": 2500}})
    process = subprocess.Popen([sys.executable, "-c", RENAMER, str(mounted / "d"),
                                str(mounted / "z")])
    wait_until(lambda: server.log("DeleteObjects"), "the first delete", WAIT_S)
    process.send_signal(signal.SIGKILL)
    assert process.wait(20) == -signal.SIGKILL
    wait_until(lambda: sorted(keys(s3, bucket)) == ["z/%03d" % n for n in range(10)],
               "the rest", WAIT_S)
    wait_until(lambda: "renamed d to z" in mounted.log(), "its end", WAIT_S)
    wait_until(lambda: os.listdir(mounted.path) == ["z"], "the new name", WAIT_S)
    assert (mounted / "z" / "003").read_bytes() == b"3"


def test_old_names_do_not_answer(mount, s3, bucket):
    put_all(s3, bucket, {"d/e/f": b"1"})
    mounted = mount(options={"metadata_ttl": "forever"})
    assert (mounted / "d" / "e" / "f").read_bytes() == b"1"
    os.rename(mounted / "d", mounted / "z")
    for name in ("d", "d/e", "d/e/f"):
        assert not (mounted / name).exists()
    (mounted / "d").mkdir()
    assert os.listdir(mounted / "d") == []
    assert not (mounted / "d" / "e").exists()
    assert (mounted / "z" / "e" / "f").read_bytes() == b"1"


def test_a_directory_that_is_being_read_is_read_whole(mount, server, s3, bucket):
    """Of three pages, so that one is asked for after the rename."""
    names = {"name-%04d-%s" % (n, "x" * 40) for n in range(1100 if server.kind == "rgw" else 2100)}
    put_all(s3, bucket, ["d/" + name for name in names])
    mounted = mount()
    fd = os.open(mounted / "d", os.O_RDONLY)
    with os.scandir(mounted / "d") as entries:
        found = [next(entries).name for _ in range(5)]
        assert set(os.listdir(fd)) == names
        os.rename(mounted / "d", mounted / "z")
        found += [entry.name for entry in entries]
    assert (len(found), set(found)) == (len(names), names)
    again = os.listdir(fd)
    assert (len(again), set(again)) == (len(names), names)
    os.close(fd)
    assert set(os.listdir(mounted / "z")) == names


@pytest.mark.parametrize("of", ["a name", "a file"])
def test_an_answer_about_the_old_place_does_not_count(mount, server, s3, bucket, of):
    """That the old key is gone says nothing of the file at its new place."""
    if server.kind == "rgw":
        pytest.skip("needs s3d: scripted delays")
    put_all(s3, bucket, {"d/f": b"1"})
    mounted = mount(options={"metadata_ttl": 0})
    directory, sizes = os.open(mounted / "d", os.O_PATH), []
    file = os.open(mounted / "d" / "f", os.O_PATH) if of == "a file" else -1

    def ask():
        try:
            found = os.stat(file) if of == "a file" else os.stat("f", dir_fd=directory)
            sizes.append(found.st_size)
        except OSError as error:
            sizes.append(error)

    for delay_ms in LATE_MS:
        sizes.clear()
        server.reset()
        server.faults({"name": "late", "match": {"op": "HeadObject", "key": "d/f"}, "count": 1,
                       "do": {"status": 404, "delay_ms": delay_ms}})
        thread = threading.Thread(target=ask)
        thread.start()
        wait_until(lambda: server.fault_hits() == {"late": 1}, "the question", WAIT_S)
        os.rename(mounted / "d", mounted / "z")
        is_late = not next(entry for entry in server.log("HeadObject") if entry["fault"])["t_end"]
        thread.join()
        if is_late:
            break
        os.rename(mounted / "z", mounted / "d")
    assert is_late and sizes == [1]
    for fd in {directory, file} - {-1}:
        os.close(fd)
