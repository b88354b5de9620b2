# SPDX-License-Identifier: Apache-2.0
"""A mounted bucket: the daemon named by PAILFS_BIN, started, watched and ended.

A mount is ready when the daemon says so on a file descriptor, never after a sleep. At the end the
daemon must exit by itself within EXIT_S with code 0, and its log may hold nothing above the level
of INFO that the test did not expect; a sanitizer's report is never excused.
"""
import collections
import ctypes
import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

from . import namespace

START_S = 30
EXIT_S = 20
COMMAND_S = 100

# All that a daemon may say unasked. Errors, warnings, libfuse's and the sanitizers' words are not.
_HARMLESS = re.compile(r"^\S+ pailfs\[\d+\] (INFO|DEBUG) ")
_SANITIZER = re.compile(r"(Address|Leak|Thread|Memory)Sanitizer|runtime error:")
_PR_SET_CHILD_SUBREAPER = 36

# What a failed start was: see run_fail().
Failure = collections.namedtuple("Failure", "exit_code stderr seconds")

# The mounts that are up, for the watchdog of conftest.py.
live = set()


class StartFailed(Exception):
    """The daemon ended, or said nothing, instead of becoming ready."""

    def __init__(self, exit_code, stderr):
        super().__init__("the mount failed with exit code %s:\n%s" % (exit_code, stderr))
        self.exit_code = exit_code
        self.stderr = stderr


def binary():
    """The path of the daemon, from PAILFS_BIN."""
    path = os.environ.get("PAILFS_BIN")
    if not path or not os.access(path, os.X_OK):
        raise FileNotFoundError("PAILFS_BIN does not name the pailfs program: %r" % path)
    return os.path.abspath(path)


def option_text(options):
    """The value of -o: {"a": True, "b": "x,y", "c": None} is "a,b=x\\,y"."""
    words = []
    for name, value in options.items():
        if value is True:
            words.append(name)
        elif value is not None and value is not False:  # 0 is a value
            words.append("%s=%s" % (name, str(value).replace("\\", "\\\\").replace(",", "\\,")))
    return ",".join(words)


def complaints(log_text):
    """The lines of a daemon's log that a test must have expected."""
    return [line for line in log_text.splitlines()
            if line.strip() and not _HARMLESS.search(line)]


class Mount:
    """BUCKET[:/PREFIX] of a server, mounted; use as a context manager or call finish().

    options   extra -o options (a dict; True is a bare word, None takes a default away)
    flags     extra words of the command line
    env       extra environment variables (None takes a default away)
    source    instead of BUCKET[:/PREFIX]
    daemonise without -f: the command returns and the daemon goes on
    uid       run as this user, who has no privilege
    private   shell text that root runs first, in a mount namespace of its own ("" for nothing)
    """

    def __init__(self, server, bucket, prefix=None, *, options=None, flags=(), env=None,
                 source=None, daemonise=False, uid=None, private=None, directory=None):
        self._binary = binary()
        self.server = server
        self.bucket = bucket
        self.exit_code = None
        self.pid = None
        self._uid = uid
        self._daemonise = daemonise
        if uid is not None and not namespace.fuse_is_open():
            private = private or ""
        self._private = private
        self._expected = []
        self._tolerated = [re.compile(regex) for regex in server.tolerated]
        self._make_directories(directory)
        self._mounts_before = self._mounts_here()
        self._source = source or (bucket if prefix is None else "%s:/%s" % (bucket, prefix))
        self._options = {**server.mount_options(), **(options or {})}
        self._flags = list(flags)
        self._environment = self._clean_environment(env or {})
        self._process = None
        self._begin = time.monotonic()
        self._launch()

    # -- before the start

    def _make_directories(self, directory):
        self.base = Path(tempfile.mkdtemp(prefix="pailfs-mount-"))
        self.base.chmod(0o755)
        self.mount_point = Path(directory) if directory else self.base / "mnt"
        self.home = self.base / "home"
        self.log_path = self.base / "log" / "pailfs.log"
        self.stderr_path = self.base / "stderr"
        for path in (self.base / "mnt", self.home, self.log_path.parent, self.base / "scratch"):
            path.mkdir()
            if self._uid is not None:
                os.chown(path, self._uid, self._uid)
        self.stderr_path.touch()

    def _clean_environment(self, extra):
        environment = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin:/usr/sbin:/sbin"),
            "HOME": str(self.home), "LANG": "C.UTF-8", "TMPDIR": "/var/tmp",
            "AWS_EC2_METADATA_DISABLED": "true",
            **{name: value for name, value in os.environ.items()
               if name.endswith("SAN_OPTIONS")},
            **self.server.mount_environment(), **extra,
            # By which a daemon that left its parent is found again.
            "PAILFS_TEST_MARK": uuid.uuid4().hex,
        }
        return {name: value for name, value in environment.items() if value is not None}

    def command(self, ready_fd):
        options = dict(self._options, ready_fd=ready_fd)
        if self._daemonise:
            options.setdefault("log_file", str(self.log_path))
        foreground = [] if self._daemonise else ["-f"]
        words = [self._binary, self._source, str(self.mount_point), *foreground, *self._flags,
                 "-o", option_text(options)]
        if self._private is not None:
            return namespace.in_new_namespace(self._private, self.base / "scratch",
                                              self._uid) + words
        return namespace.as_user(self._uid) + words

    def _launch(self):
        read_end, write_end = os.pipe()
        if self._daemonise:  # orphans become our children, so that their exit code is ours to read
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        with open(self.stderr_path, "ab") as errors:
            self._process = subprocess.Popen(
                self.command(write_end), pass_fds=[write_end], env=self._environment, cwd="/",
                stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)
        os.close(write_end)
        self.pid = self._process.pid
        live.add(self)
        try:
            with os.fdopen(read_end, "rb", buffering=0) as ready:
                self._wait_ready(ready)
            if self._daemonise:
                self._follow_daemon()
        except BaseException:
            self.kill()
            self._forget()
            raise
        self.start_seconds = time.monotonic() - self._begin

    def _wait_ready(self, ready):
        said = b""
        end = time.monotonic() + START_S
        while b"READY=1\n" not in said:
            if not select.select([ready], [], [], max(0, end - time.monotonic()))[0]:
                raise StartFailed(None, "neither ready nor ended after %d s\n%s" % (
                    START_S, self.stderr()))
            piece = ready.read(64)
            if not piece:
                raise StartFailed(self._process.wait(START_S), self.stderr())
            said += piece

    def _follow_daemon(self):
        code = self._process.wait(START_S)
        mark = ("PAILFS_TEST_MARK=" + self._environment["PAILFS_TEST_MARK"]).encode()
        found = [int(entry) for entry in os.listdir("/proc")
                 if entry.isdigit() and mark in _read(Path("/proc", entry, "environ")).split(b"\0")]
        if code != 0 or len(found) != 1:
            raise StartFailed(code, "%s\n%d daemons were found" % (self.stderr(), len(found)))
        self.pid = found[0]

    # -- while it is up

    @property
    def path(self):
        """Where this process sees the mount."""
        if self._private is not None:
            return Path("/proc/%d/root" % self.pid) / self.mount_point.relative_to("/")
        return self.mount_point

    def __truediv__(self, name):
        return self.path / name

    def run(self, *argv, check=True, timeout=COMMAND_S, **kwargs):
        """Runs a program in the mount's root, as its user and in its namespace."""
        prefix = namespace.as_user(self._uid)
        if self._private is not None:
            prefix = namespace.in_namespace_of(self.pid, self._uid)
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        done = subprocess.run([*prefix, "env", "-C", str(self.mount_point), *map(str, argv)],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                              env={"PATH": self._environment["PATH"], "HOME": str(self.home),
                                   "LANG": "C.UTF-8"},
                              timeout=timeout, **kwargs)
        if check and done.returncode != 0:
            raise AssertionError("%s: exit code %d\n%s" % (
                " ".join(map(str, argv)), done.returncode, done.stderr.decode(errors="replace")))
        return done

    def run_as(self, uid, *argv, **kwargs):
        """As run(), but as another user than the mount's."""
        return self.run(*namespace.as_user(uid), *argv, **kwargs)

    def shell(self, text, **kwargs):
        """The output of a bash command line, run in the mount's root."""
        return self.run("bash", "-o", "pipefail", "-c", text, **kwargs).stdout.decode(
            errors="surrogateescape")

    def stderr(self):
        return self.stderr_path.read_text(errors="replace")

    def log(self):
        """What the daemon wrote so far."""
        text = self.stderr()
        if self._daemonise and self.log_path.exists():
            text += self.log_path.read_text(errors="replace")
        return text

    def expect(self, regex):
        """A complaint that matches must come, and is no fault."""
        self._expected.append(re.compile(regex))

    def tolerate(self, regex):
        """A complaint that matches may come."""
        self._tolerated.append(re.compile(regex))

    def status(self, field):
        """A number of /proc/PID/status: bytes for sizes (VmHWM, VmRSS), else as it stands."""
        for line in _read(Path("/proc/%d/status" % self.pid)).decode().splitlines():
            name, _, value = line.partition(":")
            if name == field:
                number, *unit = value.split()
                return int(number) * (1024 if unit == ["kB"] else 1)
        raise AssertionError("/proc/%d/status has no %s" % (self.pid, field))

    def peak_rss(self):
        """The most memory it has had, in bytes."""
        return self.status("VmHWM")

    def _mounts_here(self):
        """How many mounts lie on the mount point, one above the other."""
        pid = self.pid if self._private is not None and self.pid else os.getpid()
        text = _read(Path("/proc/%d/mountinfo" % pid)).decode()
        return sum(line.split()[4] == str(self.mount_point) for line in text.splitlines())

    def is_mounted(self):
        return self._mounts_here() > self._mounts_before

    def send_signal(self, number):
        os.kill(self.pid, number)

    # -- the end

    def unmount(self):
        """fusermount3 -u, then waits for the daemon; the exit code is in exit_code."""
        self.run_outside("fusermount3", "-u", str(self.mount_point))
        return self.wait()

    def run_outside(self, *argv):
        """Runs a program beside the mount, not in it, as its user."""
        prefix = namespace.as_user(self._uid)
        if self._private is not None:
            prefix = namespace.in_namespace_of(self.pid, self._uid)
        done = subprocess.run([*prefix, *argv], capture_output=True, text=True, cwd="/",
                              stdin=subprocess.DEVNULL, timeout=COMMAND_S, check=False)
        if done.returncode != 0:
            raise AssertionError("%s: %s" % (" ".join(argv), done.stderr))

    def wait(self, seconds=EXIT_S):
        """Waits for the daemon's end and gives its exit code; -N for signal N."""
        end = time.monotonic() + seconds
        while self.exit_code is None:
            self._poll()
            if self.exit_code is None:
                if time.monotonic() > end:
                    raise AssertionError("the daemon has not ended after %d s" % seconds)
                time.sleep(0.01)
        live.discard(self)
        return self.exit_code

    def _poll(self):
        if self._process.pid == self.pid:
            self.exit_code = self._process.poll()
            return
        found, status = os.waitpid(self.pid, os.WNOHANG)
        if found:
            self.exit_code = os.waitstatus_to_exitcode(status)

    def kill(self):
        """SIGKILL and a lazy unmount: what a test left behind must not hang the next one."""
        for pid in {self.pid, self._process.pid} if self.exit_code is None else ():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if self.exit_code is None:
            try:
                self.wait()
            except ChildProcessError:
                pass
        if self._private is None and self.is_mounted():  # not what lay there before us
            subprocess.run(["umount", "-l", str(self.mount_point)], check=False,
                           stderr=subprocess.DEVNULL)

    def _forget(self):
        live.discard(self)
        shutil.rmtree(self.base, ignore_errors=True)

    def check_log(self):
        """Fails on complaints nobody expected, and on expected ones that did not come."""
        text = self.log()
        found = complaints(text)
        excused = self._expected + self._tolerated
        surprising = [line for line in found if _SANITIZER.search(line) or
                      not any(pattern.search(line) for pattern in excused)]
        missing = [pattern.pattern for pattern in self._expected
                   if not any(pattern.search(line) for line in found)]
        if surprising:
            raise AssertionError("the daemon complained:\n" + "\n".join(surprising))
        if missing:
            raise AssertionError("expected in the log, not found: %s\n%s" % (missing, text))

    def finish(self, exit_code=0):
        """Unmounts if need be and checks exit code and log; always leaves nothing behind."""
        try:
            if self.exit_code is None:
                self._poll()
            if self.exit_code is None:
                self.peak_rss_at_end = self.peak_rss()
                self.unmount()
            self.check_log()
            if self.exit_code != exit_code:
                raise AssertionError("the daemon ended with %s:\n%s" % (
                    self.exit_code, self.log()[-4000:]))
        finally:
            self.kill()
            self._forget()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if kind is None:
            self.finish()
        else:
            self.kill()
            self._forget()


def run_fail(server, bucket, *args, **kwargs):
    """A mount that must not come up (arguments as Mount's): how it failed, and how fast."""
    begin = time.monotonic()
    try:
        mount = Mount(server, bucket, *args, **kwargs)
    except StartFailed as failure:
        return Failure(failure.exit_code, failure.stderr, time.monotonic() - begin)
    mount.kill()
    mount._forget()
    raise AssertionError("the mount came up, but should have failed")


def _read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""
