# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the mount tests. The environment says against what they run:

    PAILFS_BIN          the daemon
    PAILFS_S3D          the strict server of tests/s3d
    PAILFS_TEST_SERVER  s3d (the default), s3d-tls, rgw, or several with commas between
    PAILFS_RGW_*        the running RGW, see support/rgw.py
    PAILFS_SANITIZER    asan or tsan: the daemon is slower, and bounds are four times as wide
    PAILFS_FAILED       a file that gets the names of the tests that failed, one a line

Every test is bounded: after 120 s, or what its `bounded` mark says, it fails; if it cannot, because
it hangs in a system call on a mount, the daemon is killed under it.
"""
import faulthandler
import itertools
import os
import signal
import tempfile
import threading
import uuid

import pytest

from support import mount as mounts
from support import namespace, rgw, s3d, tls

DEFAULT_BOUND_S = 120
SLOWNESS = 1 if os.environ.get("PAILFS_SANITIZER", "none") in ("", "none") else 4
KILL_AFTER_S = 5
DUMP_AFTER_S = 10
SERVERS = [kind.strip() for kind in os.environ.get("PAILFS_TEST_SERVER", "s3d").split(",")]
FAILED_FILE = os.environ.pop("PAILFS_FAILED", None)  # not for what a test starts: also pytest
_bucket_numbers = itertools.count(1)


def pytest_configure(config):
    config.addinivalue_line("markers", "s3d_only(feature): needs what only the strict server does")
    config.addinivalue_line("markers", "bounded(seconds): may take longer than two minutes")
    config.addinivalue_line("markers", "concurrent: many threads at once; runs under TSan, too")
    config.addinivalue_line("markers", "alone: measures time or memory; not beside other tests")
    config.addinivalue_line("markers", "limited: measures a small rate; beside a few of its kind")
    for kind in SERVERS:
        if kind not in ("s3d", "s3d-tls", "rgw"):
            raise pytest.UsageError("PAILFS_TEST_SERVER: %r is not s3d, s3d-tls or rgw" % kind)
    if not os.access(os.environ.get("PAILFS_S3D", ""), os.X_OK):
        raise pytest.UsageError("PAILFS_S3D does not name the s3d program")
    if "rgw" in SERVERS and not os.environ.get("PAILFS_RGW_ENDPOINT"):
        raise pytest.UsageError("PAILFS_TEST_SERVER=rgw needs PAILFS_RGW_ENDPOINT")


def pytest_runtest_logreport(report):
    """In the process that reports (with xdist the one that starts the others)."""
    if FAILED_FILE and report.failed:
        with open(FAILED_FILE, "a", encoding="utf-8") as failed:
            failed.write(report.nodeid + "\n")


def pytest_runtest_setup(item):
    mark = item.get_closest_marker("s3d_only")
    kind = getattr(item, "callspec", None) and item.callspec.params.get("server")
    if mark and kind == "rgw":
        pytest.skip("needs s3d: %s" % mark.args[0])


@pytest.fixture(autouse=True)
def _bounded(request):
    """Ends a test that takes too long."""
    mark = request.node.get_closest_marker("bounded")
    seconds = (mark.args[0] if mark else DEFAULT_BOUND_S) * SLOWNESS

    def expire(_signal, _frame):
        raise TimeoutError("the test took more than %d s" % seconds)

    def kill_daemons():
        for mount in list(mounts.live):
            try:
                os.kill(mount.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    previous = signal.signal(signal.SIGALRM, expire)
    killer = threading.Timer(seconds + KILL_AFTER_S, kill_daemons)
    killer.daemon = True
    killer.start()
    faulthandler.dump_traceback_later(seconds + DUMP_AFTER_S)
    signal.alarm(seconds)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)
    faulthandler.cancel_dump_traceback_later()
    killer.cancel()


@pytest.fixture(scope="session")
def authority():
    """The suite's own certificate authority, in a directory that mounts of other users can read."""
    with tempfile.TemporaryDirectory(prefix="pailfs-tls-") as directory:
        os.chmod(directory, 0o755)
        yield tls.Authority(directory)


@pytest.fixture(scope="session", params=SERVERS)
def server(request, tmp_path_factory):
    """The S3 server, one for the whole session."""
    if request.param == "rgw":
        found = rgw.Rgw()
    else:
        certificate = None
        if request.param == "s3d-tls":
            certificate = request.getfixturevalue("authority").good()
        found = s3d.S3d(tmp_path_factory.mktemp("s3d"), tls=certificate)
    yield found
    found.stop()


@pytest.fixture(scope="session")
def own_s3d(tmp_path_factory):
    """Starts further s3d servers with arguments of the test's choice; all end with the session."""
    started = []

    def start(*args, **kwargs):
        started.append(s3d.S3d(tmp_path_factory.mktemp("s3d"), *args, **kwargs))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def s3(server):
    """The independent client, boto3."""
    return server.s3


@pytest.fixture
def bucket(server):
    """The name of a fresh bucket; the server's log is empty and nothing is scripted."""
    name = "t%d-%s" % (next(_bucket_numbers), uuid.uuid4().hex[:8])
    server.s3.create_bucket(Bucket=name)
    server.reset()
    yield name
    server.reset()
    server.empty_bucket(name)


class MountFactory:
    """mount(...) as support.mount.Mount, of the test's own server and bucket if not said."""

    def __init__(self, server, bucket):
        self._server, self._bucket = server, bucket
        self.made = []

    def __call__(self, bucket=None, prefix=None, *, server=None, **kwargs):
        self.made.append(mounts.Mount(server or self._server, bucket or self._bucket, prefix,
                                      **kwargs))
        return self.made[-1]

    def fail(self, bucket=None, prefix=None, *, server=None, **kwargs):
        """A mount that must not come up: (exit_code, stderr, seconds)."""
        return mounts.run_fail(server or self._server, bucket or self._bucket, prefix, **kwargs)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Tells the fixtures whether the test body failed."""
    report = (yield).get_result()
    if call.when == "call":
        item.failed = report.failed


@pytest.fixture
def mount(request, server, bucket):
    """Makes mounts; at the end each is unmounted, and its exit code and log are checked."""
    reason = namespace.fuse_missing()
    if reason:
        pytest.skip(reason)
    factory = MountFactory(server, bucket)
    yield factory
    failures = []
    for one in reversed(factory.made):
        log = one.log() if one.base.exists() else ""
        try:
            if one.base.exists():
                one.finish()
        except Exception as error:  # every mount is ended before the first failure is told
            failures.append(error)
        if getattr(request.node, "failed", False) or failures:
            print("---- log of %s\n%s" % (one.mount_point, log[-20000:]))
    if failures:
        raise failures[0]
