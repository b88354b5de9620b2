# SPDX-License-Identifier: Apache-2.0
"""posix mode with the programs that ask for it, and beside s3fs on one bucket."""
import os
import shutil
import stat
import subprocess

import pytest

from support.objects import wait_until

MTIME_NS = 1_500_000_000_123_456_789
POSIX = {"posix": True}


def make_tree(root):
    """Files, directories, links, modes, owners and times of all kinds below root."""
    (root / "d" / "e").mkdir(parents=True)
    for number, mode in enumerate((0o644, 0o600, 0o755, 0o400, 0o666)):
        path = root / "d" / ("f%d" % number)
        path.write_bytes(b"content %d\n" % number * number * 50)
        os.chown(path, 100 + number, 200 + number)
        path.chmod(mode)
        os.utime(path, ns=(MTIME_NS + number, MTIME_NS + number * 1000))
    (root / "d" / "e" / "empty").touch()
    os.symlink("../f1", root / "d" / "e" / "link")
    os.symlink("/nowhere at all", root / "dangling")
    os.utime(root / "dangling", ns=(MTIME_NS, MTIME_NS), follow_symlinks=False)
    os.utime(root / "d" / "e" / "link", ns=(MTIME_NS, MTIME_NS), follow_symlinks=False)
    os.mkfifo(root / "d" / "fifo", 0o620)
    os.utime(root / "d" / "fifo", ns=(MTIME_NS, MTIME_NS))
    os.utime(root / "d" / "e" / "empty", ns=(MTIME_NS, MTIME_NS))
    (root / "d" / "e").chmod(0o711)
    os.chown(root / "d" / "e", 7, 8)
    for path in (root / "d" / "e", root / "d"):
        os.utime(path, ns=(MTIME_NS, MTIME_NS))


def described(root, times=True, divide=1):
    """What a tree is: {name: (mode, uid, gid, mtime, content or target)}."""
    found = {}
    for place, dirs, files in os.walk(root):
        for name in dirs + files:
            path = os.path.join(place, name)
            st = os.lstat(path)
            what = None
            if stat.S_ISLNK(st.st_mode):
                what = os.readlink(path)
            elif stat.S_ISREG(st.st_mode):
                with open(path, "rb") as file:
                    what = file.read()
            found[os.path.relpath(path, root)] = (
                oct(st.st_mode), st.st_uid, st.st_gid,
                st.st_mtime_ns // divide if times else 0, what)
    return found


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    root.mkdir()
    make_tree(root)
    return root


def test_rsync_twice(mount, s3, bucket, tree):
    """The second run, and one after a remount, moves nothing."""
    mounted = mount(options=POSIX)
    command = ("rsync", "-a", "--itemize-changes", "%s/" % tree, "copy")
    assert mounted.run(*command).stdout != b""
    assert described(mounted / "copy") == described(tree)
    assert mounted.run(*command).stdout == b""
    again = mount(options=POSIX)
    assert again.run(*command).stdout == b""
    assert described(again / "copy") == described(tree)


def test_tar_there_and_back(mount, s3, bucket, tree, tmp_path):
    mounted = mount(options=POSIX)
    subprocess.run("tar cf - --format=posix -C %s . | tar xpf - -C %s" % (tree, mounted.path), shell=True,
                   check=True)
    again = mount(options=POSIX)
    back = tmp_path / "back"
    back.mkdir()
    subprocess.run("tar cf - --format=posix -C %s . | tar xpf - -C %s" % (again.path, back), shell=True,
                   check=True)
    assert described(mounted.path) == described(tree)
    assert described(back) == described(tree)


def test_cp_a(mount, s3, bucket, tree):
    mounted = mount(options=POSIX)
    os.setxattr(tree / "d" / "f1", "user.kept", b"yes")
    mounted.run("cp", "-a", str(tree), "copy")
    mounted.run("cp", "-a", "copy", "second")
    again = mount(options=POSIX)
    for name in ("copy", "second"):
        assert described(again / name) == described(tree)
        assert os.getxattr(again / name / "d" / "f1", "user.kept") == b"yes"


def test_sed_i_keeps_the_mode(mount, s3, bucket):
    mounted = mount(options=POSIX)
    (mounted / "f").write_bytes(b"one\n")
    os.chmod(mounted / "f", 0o600)
    mounted.run("sed", "-i", "s/one/two/", "f")
    assert (mounted / "f").read_bytes() == b"two\n"
    assert stat.S_IMODE(os.stat(mounted / "f").st_mode) == 0o600


# -- s3fs

class S3fs:
    """The same bucket, mounted by s3fs."""

    def __init__(self, server, bucket, base):
        self.path = base / "s3fs"
        self.path.mkdir()
        secret = base / "passwd"
        secret.write_text("%s:%s" % (server.access_key, server.secret_key))
        secret.chmod(0o600)
        self._log = open(base / "s3fs.log", "wb")
        self._process = subprocess.Popen(
            ["s3fs", bucket, str(self.path), "-f", "-o", "url=%s" % server.endpoint,
             "-o", "use_path_request_style,use_xattr,stat_cache_expire=0",
             "-o", "passwd_file=%s" % secret, "-o", "endpoint=%s" % server.region,
             "-o", "tmpdir=%s" % base],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)
        wait_until(lambda: os.path.ismount(self.path), "s3fs to mount", seconds=60)

    def __truediv__(self, name):
        return self.path / name

    def finish(self):
        subprocess.run(["umount", str(self.path)], check=False)
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            subprocess.run(["umount", "-l", str(self.path)], check=False)
            self._process.wait()
        self._log.close()


@pytest.fixture
def s3fs(server, bucket, tmp_path):
    if shutil.which("s3fs") is None:
        pytest.skip("s3fs is not installed")
    made = S3fs(server, bucket, tmp_path)
    yield made
    made.finish()


def seconds(tree):
    """Owners, modes, contents and the seconds of times, without what s3fs keeps otherwise."""
    return {name: (mode, uid, gid, 0 if mode.startswith("0o4") else mtime, what)
            for name, (mode, uid, gid, mtime, what) in described(tree, divide=10**9).items()}


def test_what_s3fs_wrote_is_read(mount, s3, bucket, s3fs, tree):
    subprocess.run(["cp", "-a", str(tree / "d"), str(tree / "dangling"), str(s3fs.path)],
                   check=True)
    os.setxattr(s3fs / "d" / "f1", "user.a", b"from s3fs")
    os.chmod(s3fs / "d" / "f2", 0o751)
    os.chown(s3fs / "d" / "f2", 4711, 4712)
    os.utime(s3fs / "d" / "f2", ns=(MTIME_NS, MTIME_NS))
    mounted = mount(options=POSIX)
    found = seconds(mounted.path)
    assert found == seconds(s3fs.path)
    assert set(found) == set(seconds(tree))
    assert found["d/f2"][:4] == (oct(0o100751), 4711, 4712, MTIME_NS // 10**9)
    assert os.readlink(mounted / "dangling") == "/nowhere at all"
    assert os.getxattr(mounted / "d" / "f1", "user.a") == b"from s3fs"


def test_s3fs_reads_what_we_wrote(mount, s3, bucket, s3fs, tree):
    mounted = mount(options=POSIX)
    mounted.run("cp", "-a", str(tree / "d"), str(tree / "dangling"), ".")
    os.setxattr(mounted / "d" / "f1", "user.a", b"from pailfs")
    assert seconds(s3fs.path) == seconds(mounted.path) == seconds(tree)
    assert os.getxattr(s3fs / "d" / "f1", "user.a") == b"from pailfs"
