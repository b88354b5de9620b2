# SPDX-License-Identifier: Apache-2.0
"""Files written through the mount by normal tools, looked at in the bucket by boto3."""
import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from support.data import checksum, content, file_checksum, object_checksum
from support.keys import put_all
from support.objects import body, exists, keys, publications, uploads, wait_until

MIB = 1 << 20
PROBE = ".pailfs-condition-probe-"


def python(mounted, text, **kwargs):
    """Runs a Python program in the mount's root."""
    return mounted.run(sys.executable, "-c", text, **kwargs).stdout.decode()


# -- what normal tools do

@pytest.mark.parametrize("size", [0, 1, 4096, 100_000, 5 * MIB, 8 * MIB, 8 * MIB + 1, 40 * MIB])
def test_cp_in(mount, s3, bucket, tmp_path, size):
    source = tmp_path / "source"
    source.write_bytes(content("cp%d" % size, size))
    mounted = mount()
    mounted.run("cp", str(source), "copy")
    assert object_checksum(s3, bucket, "copy") == file_checksum(source)
    assert file_checksum(mounted / "copy") == file_checksum(source)
    assert uploads(s3, bucket) == []


def test_cp_over_an_object(mount, s3, bucket, tmp_path):
    put_all(s3, bucket, {"f": b"old" * 1000})
    (tmp_path / "new").write_bytes(b"new")
    mounted = mount()
    assert (mounted / "f").read_bytes() == b"old" * 1000
    mounted.run("cp", str(tmp_path / "new"), "f")
    assert body(s3, bucket, "f") == b"new"
    assert (mounted / "f").read_bytes() == b"new"


@pytest.mark.parametrize("blocks", [1, 512, MIB, 3 * MIB + 17])
def test_dd(mount, s3, bucket, tmp_path, blocks):
    source = tmp_path / "source"
    source.write_bytes(content("dd", 12 * MIB if blocks > 1 else 5000))
    mounted = mount()
    mounted.run("dd", "if=%s" % source, "of=f", "bs=%d" % blocks)
    assert object_checksum(s3, bucket, "f") == file_checksum(source)


def test_dd_with_a_hole(mount, s3, bucket):
    mounted = mount()
    mounted.run("dd", "if=/dev/zero", "of=hole", "bs=1", "count=1", "seek=10M")
    assert (mounted / "hole").stat().st_size == 10 * MIB + 1
    assert body(s3, bucket, "hole") == bytes(10 * MIB + 1)


def test_cat_of_two_into_one(mount, s3, bucket):
    put_all(s3, bucket, {"a": b"one\n" * 3, "b": b"two\n" * 5})
    mount().shell("cat a b > c")
    assert body(s3, bucket, "c") == b"one\n" * 3 + b"two\n" * 5


def test_tar_in_and_out(mount, s3, bucket, tmp_path):
    tree = tmp_path / "tree"
    for number in range(120):
        place = tree / ("d%d" % (number % 7)) / ("e%d" % (number % 3))
        place.mkdir(parents=True, exist_ok=True)
        (place / ("f%d" % number)).write_bytes(content("t%d" % number, number * 97))
    archive = tmp_path / "in.tar"
    subprocess.run(["tar", "cf", str(archive), "-C", str(tmp_path), "tree"], check=True)
    mounted = mount()
    mounted.run("tar", "xf", str(archive))
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run("tar cf - -C %s tree | tar xf - -C %s" % (mounted.path, out), shell=True,
                   check=True)
    subprocess.run(["diff", "-r", str(tree), str(out / "tree")], check=True)
    assert sum(not key.endswith("/") for key in keys(s3, bucket)) == 120


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_git_clone(mount, tmp_path):
    repository = tmp_path / "repository"
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(repository)]
    subprocess.run(["git", "init", "-q", str(repository)], check=True)
    for number in range(30):
        (repository / ("f%d" % number)).write_bytes(content("git%d" % number, 3000))
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "all"], check=True)
    mounted = mount()
    mounted.run("git", "clone", "-q", str(repository), "clone")
    mounted.run("git", "-C", "clone", "fsck", "--strict")
    assert mounted.run("git", "-C", "clone", "status", "--porcelain").stdout == b""


def test_a_program_is_linked_and_run(mount, tmp_path):
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    (tmp_path / "p.c").write_text("int main(void) { return 42; }\n")
    mounted = mount(options={"file_mode": "0755"})
    mounted.run("gcc", "-o", "program", str(tmp_path / "p.c"))
    assert mounted.run("./program", check=False).returncode == 42


def test_unzip_and_zip(mount, s3, bucket):
    mounted = mount()
    python(mounted, """
import zipfile
with zipfile.ZipFile("z.zip", "w", zipfile.ZIP_DEFLATED) as z:
    for n in range(50):
        with z.open("m%d" % n, "w") as member:
            member.write(b"%d " % n * 20000)
with zipfile.ZipFile("z.zip") as z:
    assert z.testzip() is None
    z.extractall("out")
""")
    assert body(s3, bucket, "out/m7") == b"7 " * 20000


def test_a_wav_with_a_patched_header(mount, s3, bucket):
    python(mount(), """
import wave
w = wave.open("w.wav", "wb")
w.setparams((2, 2, 44100, 0, "NONE", ""))
for n in range(300):
    w.writeframes(bytes(44100))
w.close()
""")
    data = body(s3, bucket, "w.wav")
    assert len(data) == 44 + 300 * 44100
    assert int.from_bytes(data[40:44], "little") == 300 * 44100


# -- which close publishes

@pytest.mark.parametrize("command", [
    "touch f", "dd if=/dev/zero of=f bs=4k count=3", "echo x > f", "(echo a; echo b) > f",
    "exec 3>f; echo a >&3; echo b >&3; exec 3>&-", "echo a | tee f", "cp /etc/passwd f",
    "{ sleep 0.1; echo late; } > f", "bash -c 'echo a; echo b' > f", "sort /etc/passwd -o f",
])
@pytest.mark.s3d_only("its log tells how often a key was published")
def test_a_command_publishes_once_and_before_it_returns(mount, server, s3, bucket, command):
    mounted = mount()
    mounted.shell(command)
    assert publications(server, "f") == 1
    assert body(s3, bucket, "f") == (mounted / "f").read_bytes()


@pytest.mark.s3d_only("its log tells how often a key was published")
def test_popen_with_stdout_publishes_once(mount, server, s3, bucket):
    mounted = mount()
    python(mounted, """
import subprocess
with open("f", "w") as f:
    subprocess.Popen(["sh", "-c", "echo one; echo two"], stdout=f).wait()
    subprocess.run(["echo", "three"], stdout=f)
""")
    assert body(s3, bucket, "f") == b"one\ntwo\nthree\n"
    assert publications(server, "f") == 1


@pytest.mark.s3d_only("its log tells what was asked")
def test_a_clean_close_asks_nothing(mount, server, bucket):
    mounted = mount()
    with open(mounted / "f", "wb", buffering=0) as file:
        file.write(b"x")
        os.fsync(file.fileno())
        server.clear_log()
    assert server.count() == {}


def test_fsync_publishes_and_writing_goes_on(mount, s3, bucket):
    mounted = mount()
    with open(mounted / "f", "wb") as file:
        file.write(b"one ")
        file.flush()
        os.fsync(file.fileno())
        assert body(s3, bucket, "f") == b"one "
        file.write(b"two")
    assert body(s3, bucket, "f") == b"one two"
    assert (mounted / "f").read_bytes() == b"one two"


def test_a_file_is_there_for_this_mount_as_it_grows(mount, s3, bucket):
    mounted = mount()
    with open(mounted / "f", "wb", buffering=0) as file:
        assert os.listdir(mounted.path) == ["f"]
        file.write(b"x" * 5000)
        assert (mounted / "f").stat().st_size == 5000
        assert (mounted / "f").read_bytes() == b"x" * 5000
        assert not exists(s3, bucket, "f")
    assert exists(s3, bucket, "f")


def test_two_handles_share_a_file(mount, s3, bucket):
    mounted = mount()
    with open(mounted / "f", "wb", buffering=0) as one:
        one.write(b"aaaa")
        with open(mounted / "f", "r+b", buffering=0) as two:
            two.seek(2)
            two.write(b"BB")
            two.seek(0)
            assert two.read() == b"aaBB"
        one.write(b"cc")
    assert body(s3, bucket, "f") == b"aaBBcc"


def test_a_reader_goes_on_with_what_is_written(mount, s3, bucket):
    put_all(s3, bucket, {"f": b"old old old"})
    mounted = mount()
    with open(mounted / "f", "rb", buffering=0) as reader:
        assert reader.read(3) == b"old"
        (mounted / "f").write_bytes(b"new and longer")
        reader.seek(0)
        assert reader.read() == b"new and longer"


# -- what is refused, and what fails

def test_links_are_refused(mount, s3, bucket):
    put_all(s3, bucket, {"f": b"x"})
    mounted = mount()
    for call in (os.symlink, os.link):
        with pytest.raises(OSError) as caught:
            call(mounted / "f", mounted / "g")
        assert caught.value.errno == errno.EPERM


def test_read_only_refuses(mount, s3, bucket):
    put_all(s3, bucket, {"f": b"x"})
    mounted = mount(options={"ro": True})
    for call in (lambda: open(mounted / "f", "wb"), lambda: open(mounted / "g", "wb"),
                 lambda: os.unlink(mounted / "f"), lambda: os.mkdir(mounted / "d"),
                 lambda: os.rename(mounted / "f", mounted / "g")):
        with pytest.raises(OSError) as caught:
            call()
        assert caught.value.errno == errno.EROFS


def test_safe_allows_new_files_only(mount, s3, bucket):
    put_all(s3, bucket, {"f": b"x", "d/g": b"y"})
    mounted = mount(options={"safe": True})
    (mounted / "new").write_bytes(b"new")
    (mounted / "new").rename(mounted / "newer")
    for call in (lambda: open(mounted / "f", "wb"), lambda: os.unlink(mounted / "f"),
                 lambda: os.rename(mounted / "newer", mounted / "f")):
        with pytest.raises(OSError) as caught:
            call()
        assert caught.value.errno == errno.EPERM
    assert body(s3, bucket, "f") == b"x"
    assert body(s3, bucket, "newer") == b"new"


def test_o_excl_at_open(mount, s3, bucket):
    put_all(s3, bucket, {"f": b"x"})
    with pytest.raises(FileExistsError):
        open(mount() / "f", "xb")


def test_o_excl_loses_at_close(mount, s3, bucket):
    mounted = mount()
    mounted.expect("f is not published: File exists")
    file = open(mounted / "f", "xb")
    file.write(b"mine")
    s3.put_object(Bucket=bucket, Key="f", Body=b"theirs")
    with pytest.raises(FileExistsError):
        file.close()
    assert body(s3, bucket, "f") == b"theirs"
    assert (mounted / "f").read_bytes() == b"theirs"


def test_o_excl_of_a_large_file_loses_at_close(mount, s3, bucket):
    mounted = mount()
    mounted.expect("f is not published: File exists")
    file = open(mounted / "f", "xb")
    file.write(content("large", 20 * MIB))
    s3.put_object(Bucket=bucket, Key="f", Body=b"theirs")
    with pytest.raises(FileExistsError):
        file.close()
    assert body(s3, bucket, "f") == b"theirs"
    wait_until(lambda: uploads(s3, bucket) == [], "the upload to be aborted")


def test_excl_claim_takes_the_name_at_open(mount, s3, bucket):
    mounted = mount(options={"excl": "claim"})
    with open(mounted / "lock", "xb") as file:
        assert body(s3, bucket, "lock") == b""
        file.write(b"pid 7")
    assert body(s3, bucket, "lock") == b"pid 7"


def test_two_mounts_race_for_a_name(mount, s3, bucket):
    first, second = mount(), mount()
    second.expect("f is not published: File exists")
    files = [open(one / "f", "xb", buffering=0) for one in (first, second)]
    won = []
    for number, file in enumerate(files):
        file.write(b"%d" % number)
        try:
            file.close()
            won.append(number)
        except FileExistsError:
            pass
    assert won == [0]
    assert body(s3, bucket, "f") == b"0"


@pytest.mark.s3d_only("scripted faults")
def test_a_publication_that_fails_is_told_by_close(mount, server, s3, bucket):
    put_all(s3, bucket, {"f": b"old"})
    mounted = mount(options={"op_timeout": "2s", "retries": 1})
    mounted.tolerate(".")
    server.faults({"match": {"op": "PutObject"}, "do": {"status": 500}})
    file = open(mounted / "f", "wb")
    file.write(b"new")
    with pytest.raises(OSError) as caught:
        file.close()
    assert caught.value.errno == errno.EIO
    server.clear_faults()
    assert (mounted / "f").read_bytes() == b"old"
    (mounted / "f").write_bytes(b"newer")
    assert body(s3, bucket, "f") == b"newer"


@pytest.mark.s3d_only("scripted faults")
def test_faults_that_pass_are_not_seen(mount, server, s3, bucket):
    mounted = mount()
    server.faults({"match": {"op": "PutObject"}, "count": 2, "do": {"status": 503}},
                  {"match": {"op": "UploadPart"}, "count": 2, "do": {"status": 500}},
                  {"match": {"op": "CompleteMultipartUpload"}, "count": 1,
                   "do": {"status": 200, "body": "<Error><Code>InternalError</Code></Error>"}})
    (mounted / "small").write_bytes(b"small")
    (mounted / "large").write_bytes(content("large", 20 * MIB))
    assert body(s3, bucket, "small") == b"small"
    assert object_checksum(s3, bucket, "large") == checksum(content("large", 20 * MIB))


def test_a_full_spool_is_told_by_write(mount, s3, bucket, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small tmpfs")
    spool = tmp_path / "spool"
    spool.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16M", "tmpfs", str(spool)], check=True)
    try:
        mounted = mount(options={"spool_dir": str(spool), "memory": "32M"})
        mounted.tolerate("spool|tmpfs|write failed|is not published")
        with pytest.raises(OSError) as caught:
            with open(mounted / "f", "w+b", buffering=0) as file:
                for number in range(200):
                    file.seek((199 - number) * MIB)  # backwards: nothing can be sent
                    file.write(content("n%d" % number, MIB))
        assert caught.value.errno == errno.ENOSPC
        assert not exists(s3, bucket, "f")
        mounted.unmount()
    finally:
        subprocess.run(["umount", "-l", str(spool)], check=True)


# -- killed writers

KILLED = """
import os, sys
f = open("f", sys.argv[1], buffering=0)
f.write(b"half" * int(sys.argv[2]))
os.kill(os.getpid(), %d)
"""


def kill_writer(mounted, mode, quads=1000, number=signal.SIGKILL):
    done = mounted.run(sys.executable, "-c", KILLED % number, mode, str(quads), check=False)
    assert done.returncode == -number


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
@pytest.mark.parametrize("quads", [1000, 5_000_000])
def test_a_killed_writer_publishes_nothing(mount, s3, bucket, number, quads):
    mounted = mount()
    mounted.expect("its writer was killed: %d bytes are not published" % (4 * quads))
    kill_writer(mounted, "wb", quads, number)
    wait_until(lambda: "writer was killed" in mounted.log(), "the warning")
    assert not exists(s3, bucket, "f")
    assert os.listdir(mounted.path) == []
    wait_until(lambda: uploads(s3, bucket) == [], "the upload to be aborted")


def test_a_killed_overwriter_leaves_the_old_object(mount, s3, bucket):
    put_all(s3, bucket, {"f": b"old"})
    mounted = mount()
    mounted.expect("writer was killed")
    kill_writer(mounted, "wb")
    wait_until(lambda: "writer was killed" in mounted.log(), "the warning")
    assert body(s3, bucket, "f") == b"old"
    assert (mounted / "f").read_bytes() == b"old"


def test_a_killed_log_is_published(mount, s3, bucket):
    mounted = mount()
    kill_writer(mounted, "ab")
    wait_until(lambda: exists(s3, bucket, "f"), "the log")
    assert body(s3, bucket, "f") == b"half" * 1000


def test_on_kill_publish(mount, s3, bucket):
    mounted = mount(options={"on_kill": "publish"})
    kill_writer(mounted, "wb")
    wait_until(lambda: exists(s3, bucket, "f"), "the file")
    assert body(s3, bucket, "f") == b"half" * 1000


def test_exit_without_close_publishes(mount, s3, bucket):
    python(mount(), "import os; f = open('f', 'wb', buffering=0); f.write(b'x'); os._exit(3)",
           check=False)
    wait_until(lambda: exists(s3, bucket, "f"), "the file")
    assert body(s3, bucket, "f") == b"x"


@pytest.mark.s3d_only("it can be stopped")
@pytest.mark.parametrize("mode", ["wb", "xb"])  # the second waits in the probe of conditions
def test_a_closer_can_be_killed(mount, server, s3, bucket, mode):
    mounted = mount()
    mounted.tolerate(".")
    program = "f = open('f', '" + mode + "'); f.write(b'x'); print(flush=True); input(); f.close()"
    closer = subprocess.Popen([sys.executable, "-c", program], cwd=mounted.path,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    closer.stdout.readline()
    server.pause()
    wait_until(lambda: " T " in open("/proc/%d/stat" % server.pid).read(), "the server to stop")
    try:
        closer.stdin.write(b"\n")
        closer.stdin.flush()
        time.sleep(0.5)  # it hangs in close
        assert closer.poll() is None
        closer.kill()
        begin = time.monotonic()
        closer.wait(10)
        assert time.monotonic() - begin < 1.5
    finally:
        closer.stdin.close()
        server.resume()
    wait_until(lambda: "writer was killed" in mounted.log(), "the warning")
    # its PUT may have been under way to the server, whole
    assert not exists(s3, bucket, "f") or body(s3, bucket, "f") == b"x"


# -- the end

def test_unmount_waits_until_all_is_stored(mount, server, s3, bucket):
    mounted = mount()
    (mounted / "f").write_bytes(content("end", 10 * MIB))
    mounted.run_outside(os.environ["PAILFS_BIN"], "--unmount", str(mounted.mount_point))
    assert not os.path.exists("/proc/%d/exe" % mounted.pid) or mounted.wait(1) == 0
    assert object_checksum(s3, bucket, "f") == checksum(content("end", 10 * MIB))


def test_unmount_of_what_is_no_mount(tmp_path):
    done = subprocess.run([os.environ["PAILFS_BIN"], "--unmount", str(tmp_path)],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pailfs has mounted nothing there" in done.stderr


def test_open_files_of_a_busy_mount_are_given_up(mount, s3, bucket):
    mounted = mount()
    mounted.expect("is busy")
    mounted.expect("still open at the end of the mount")
    fd = os.open(mounted / "f", os.O_CREAT | os.O_WRONLY)
    os.write(fd, b"x" * 100)
    mounted.send_signal(signal.SIGTERM)
    assert mounted.wait() == 0
    with pytest.raises(OSError):
        os.close(fd)
    assert keys(s3, bucket) == []


def test_progress(mount, s3, bucket):
    mounted = mount()
    with open(mounted / "f", "wb", buffering=0) as file:
        file.write(b"x" * 100)
        mounted.send_signal(signal.SIGUSR1)
        wait_until(lambda: "writing f: " in mounted.log(), "the line of progress")


@pytest.mark.s3d_only("its log tells what was asked")
def test_the_probe_runs_once_and_leaves_nothing(mount, server, s3, bucket):
    mounted = mount()
    for number in range(3):
        with open(mounted / ("x%d" % number), "xb"):
            pass
    deleted = [entry["key"] for entry in server.log("DeleteObject", status=204)]
    probes = [key for key in deleted if re.fullmatch(re.escape(PROBE) + "[0-9a-f]{16}", key)]
    assert len(probes) == 1
    assert keys(s3, bucket) == ["x0", "x1", "x2"]
