# SPDX-License-Identifier: Apache-2.0
"""The checks that the other tests rely on are alive: each is shown what it must catch."""
import hashlib
import os
import socket
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from support import data, scrub_environment
from support import mount as mounts

INFO = "2026-11-21T21:14:24.123 pailfs[17] INFO mounted"


@pytest.fixture
def daemon(monkeypatch):
    """Puts a shell script in the daemon's place, where every user can reach it."""
    with tempfile.TemporaryDirectory(prefix="pailfs-fake-") as directory:
        path = Path(directory, "pailfs")
        os.chmod(directory, 0o755)

        def install(script):
            path.write_text("#!/bin/bash\n"
                            "fd=$(sed 's/.*ready_fd=\\([0-9]*\\).*/\\1/' <<<\"$*\")\n" + script)
            path.chmod(0o755)
            monkeypatch.setenv("PAILFS_BIN", str(path))
        yield install


def test_a_daemon_that_ends_before_it_is_ready_is_a_failed_start(server, bucket, daemon):
    daemon("echo 'pailfs: no such bucket' >&2; exit 3")
    failure = mounts.run_fail(server, bucket)
    assert failure.exit_code == 3
    assert failure.stderr == "pailfs: no such bucket\n"
    assert failure.seconds < 10


def test_a_daemon_that_comes_up_is_not_a_failed_start(server, bucket, daemon):
    daemon("eval \"echo READY=1 >&$fd\"; exec sleep 60")
    with pytest.raises(AssertionError, match="came up"):
        mounts.run_fail(server, bucket)


def test_a_daemon_gets_a_clean_environment(server, bucket, daemon, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.setenv("https_proxy", "http://proxy.invalid:1")
    daemon("env >&2; exit 1")
    names = {line.split("=")[0] for line in mounts.run_fail(server, bucket).stderr.splitlines()}
    assert "AWS_ACCESS_KEY_ID" in names
    assert not names & {"AWS_PROFILE", "https_proxy", "AWS_CA_BUNDLE", "SSL_CERT_FILE"}


def test_a_daemon_of_another_user_has_no_privilege(server, bucket, daemon):
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")
    daemon("id -u >&2; id -G >&2; grep CapEff /proc/self/status >&2; "
           "test -r /dev/fuse && echo open >&2; exit 1")
    failure = mounts.run_fail(server, bucket, uid=65534)
    assert failure.stderr.split() == ["65534", "65534", "CapEff:", "0000000000000000", "open"]


@pytest.mark.parametrize("line", [
    "2026-11-21T21:14:24.123 pailfs[17] WARNING slow",
    "2026-11-21T21:14:24.123 pailfs[17] ERROR broken",
    "fuse: something is wrong",
    "==17==ERROR: AddressSanitizer: heap-use-after-free",
    "../src/a.c:3:4: runtime error: signed integer overflow",
])
def test_each_kind_of_complaint_is_found_in_a_log(line):
    assert mounts.complaints(INFO + "\n" + line + "\n" + INFO + "\n") == [line]


def test_harmless_lines_are_not_complaints():
    assert mounts.complaints(INFO + "\n" + INFO.replace("INFO", "DEBUG") + " ERROR\n\n") == []


def test_options_with_commas_stay_one_option():
    assert mounts.option_text({"a": True, "b": "x,y\\z", "c": None, "d": 5}) == "a,b=x\\,y\\\\z,d=5"


def test_contents_are_a_rule_and_do_not_repeat():
    whole = data.content("seed", 3 * data.MIB + 17)
    assert len(whole) == 3 * data.MIB + 17
    assert data.content("seed", 100) == whole[:100]
    assert data.content("other", 100) != whole[:100]
    pages = {whole[at:at + 4096] for at in range(0, 3 * data.MIB, 4096)}
    assert len(pages) == 3 * 256


def test_the_sum_of_an_object_is_that_of_its_bytes(s3, bucket, tmp_path):
    body = data.content(1, 5 * data.MIB + 3)
    s3.put_object(Bucket=bucket, Key="k", Body=body)
    (tmp_path / "k").write_bytes(body)
    assert data.object_checksum(s3, bucket, "k") == hashlib.sha256(body).hexdigest()
    assert data.file_checksum(tmp_path / "k") == hashlib.sha256(body).hexdigest()


@pytest.mark.s3d_only("synthetic objects")
def test_synthetic_objects_follow_their_rule(server, s3, bucket):
    server.synth(bucket, key="big", size=1 << 40, seed=7)
    for offset, length in ((0, 100), (5, 3), ((1 << 39) + 1, 4096), ((1 << 40) - 9, 9)):
        answer = s3.get_object(Bucket=bucket, Key="big",
                               Range="bytes=%d-%d" % (offset, offset + length - 1))
        assert answer["Body"].read() == data.synthetic(7, offset, length)


@pytest.mark.s3d_only("a request log")
def test_the_log_says_what_was_asked(server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")
    server.clear_log()
    s3.get_object(Bucket=bucket, Key="k", Range="bytes=2-4")["Body"].read()
    s3.head_object(Bucket=bucket, Key="k")
    s3.list_objects_v2(Bucket=bucket, Prefix="a b")
    assert server.count(bucket=bucket) == {"GetObject": 1, "HeadObject": 1, "ListObjectsV2": 1}
    assert server.ranges("k") == [(2, 4)]
    assert server.queries("ListObjectsV2")[0]["prefix"] == "a b"
    assert server.log("GetObject")[0]["bytes_out"] == 3


@pytest.mark.s3d_only("scripted faults")
def test_a_fault_plays_as_often_as_it_was_told(server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    server.faults({"name": "slow", "match": {"op": "GetObject"}, "skip": 1, "count": 1,
                   "do": {"status": 503, "code": "SlowDown"}})
    s3.get_object(Bucket=bucket, Key="k")
    with pytest.raises(s3.exceptions.ClientError, match="SlowDown"):
        s3.get_object(Bucket=bucket, Key="k")
    s3.get_object(Bucket=bucket, Key="k")
    assert server.fault_hits() == {"slow": 1}


@pytest.mark.s3d_only("keys past S3's rules")
def test_keys_of_any_bytes_can_be_planted(server, bucket):
    server.put(bucket, b"bad\xff", b"abc")
    assert [entry for entry in server.log() if entry["op"] == "PutObject"] == []
    # boto3 asks encoding-type=url and decodes the name into its replacement character
    names = [entry["Key"] for entry in server.s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert len(names) == 1 and names[0].startswith("bad")


@pytest.mark.s3d_only("its own credentials")
def test_a_wrong_secret_is_refused(server, bucket):
    stranger = server.client(secret_key="wrong")
    with pytest.raises(stranger.exceptions.ClientError, match="SignatureDoesNotMatch"):
        stranger.list_objects_v2(Bucket=bucket)


def _handshake(server, ca):
    context = ssl.create_default_context(cafile=ca)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        with context.wrap_socket(raw, server_hostname="localhost"):
            pass


def test_the_good_certificate_is_good_and_the_bad_ones_are_bad(own_s3d, authority):
    _handshake(own_s3d(tls=authority.good()), authority.ca)
    for certificate, fault in ((authority.expired(), "expired"),
                               (authority.self_signed(), "self.signed"),
                               (authority.wrong_host(), "Hostname mismatch")):
        with pytest.raises(ssl.SSLCertVerificationError, match=fault):
            _handshake(own_s3d(tls=certificate), authority.ca)


def test_the_servers_data_outlive_a_restart(own_s3d):
    one = own_s3d("--make-bucket", "kept")
    one.s3.put_object(Bucket="kept", Key="k", Body=b"still here")
    one.restart()
    assert one.s3.get_object(Bucket="kept", Key="k")["Body"].read() == b"still here"


def test_foreign_variables_are_scrubbed():
    environment = {"AWS_CA_BUNDLE": "x", "REQUESTS_CA_BUNDLE": "x", "CURL_CA_BUNDLE": "x",
                   "SSL_CERT_FILE": "x", "HTTPS_PROXY": "x", "no_proxy": "x", "AWS_PROFILE": "x",
                   "NODE_EXTRA_CA_CERTS": "x", "HOME": "/root", "PAILFS_BIN": "/x"}
    scrub_environment(environment)
    assert set(environment) == {"HOME", "PAILFS_BIN", "AWS_CONFIG_FILE",
                                "AWS_SHARED_CREDENTIALS_FILE", "AWS_EC2_METADATA_DISABLED"}


def test_a_test_that_hangs_is_ended(tmp_path):
    (tmp_path / "conftest.py").write_text((Path(__file__).parent / "conftest.py").read_text())
    (tmp_path / "test_hang.py").write_text(
        "import time, pytest\n@pytest.mark.bounded(1)\ndef test_hang():\n    time.sleep(50)\n")
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith("PYTEST_") and name != "PAILFS_SANITIZER"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        env={**environment, "PYTHONPATH": str(Path(__file__).parent)}, capture_output=True,
        text=True, timeout=40, check=False)
    assert done.returncode == 1
    assert "more than 1 s" in done.stdout
