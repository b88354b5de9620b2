# SPDX-License-Identifier: Apache-2.0
"""Every mistake is answered by one line that says what is wrong and what to try, within 10 s.

`pytest -rP test_mistakes.py` prints the lines: the table of mistakes.
"""
import os
import re
import signal
import socket
import time

import pytest

from support.keys import put_all
from support.mount import complaints

NOBODY = 65534
OTHER = {"AWS_ACCESS_KEY_ID": "AKIDOTHER", "AWS_SECRET_ACCESS_KEY": "other/secret+key"}
OTHER_KEY = {"access_key": "AKIDOTHER", "secret_key": "other/secret+key"}


def says(failure, *patterns, code=1):
    """Checks that a start failed as promised, with words that match all patterns."""
    print(failure.stderr, end="")
    (line,) = complaints(failure.stderr)  # in front, the log is on stderr, too
    assert line.startswith("pailfs: ")
    for pattern in patterns:
        assert re.search(pattern, line, re.IGNORECASE), line
    assert failure.exit_code == code
    assert failure.seconds < 10


def closed_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def directory(tmp_path):
    """A mount point that outlives the mounts on it."""
    path = tmp_path / "mnt"
    path.mkdir()
    return path


@pytest.mark.parametrize("daemonise", [False, True], ids=["foreground", "daemon"])
def test_no_such_bucket(mount, daemonise):
    says(mount.fail("no-such-bucket", daemonise=daemonise), "no such bucket", "no-such-bucket")


def test_a_wrong_secret_key(mount):
    says(mount.fail(env={"AWS_SECRET_ACCESS_KEY": "wrong"}), "secret key")


def test_an_unknown_access_key(mount):
    says(mount.fail(env={"AWS_ACCESS_KEY_ID": "AKIDUNKNOWN"}), "access key")


def test_no_keys_at_all(mount):
    says(mount.fail(env={"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}), "keys",
         "no_sign_request")


@pytest.mark.s3d_only("session tokens")
def test_an_expired_session_token(mount, server):
    server.credentials({**OTHER_KEY, "session_token": "token", "expires": int(time.time()) - 60})
    says(mount.fail(env={**OTHER, "AWS_SESSION_TOKEN": "token"}), "expired")


@pytest.mark.s3d_only("session tokens")
def test_a_wrong_session_token(mount, server):
    server.credentials({**OTHER_KEY, "session_token": "token"})
    says(mount.fail(env={**OTHER, "AWS_SESSION_TOKEN": "other"}), "token", "not valid")


@pytest.mark.s3d_only("policies")
def test_a_denied_list_names_the_action_and_the_prefix(mount, server):
    server.credentials({**OTHER_KEY, "policy": {"Statement": [
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}})
    says(mount.fail(prefix="some/dir", env=OTHER), "access denied", "s3:ListBucket", "some/dir/")


@pytest.mark.s3d_only("buckets that are closed to strangers")
def test_a_bucket_that_is_not_public_without_keys(mount):
    says(mount.fail(options={"no_sign_request": True}), "not public")


@pytest.mark.s3d_only("regions")
def test_a_wrong_region_is_corrected(mount, server, s3, bucket):
    put_all(s3, bucket, {"file": b"found"})
    server.bucket(bucket, region="eu-central-1")
    mounted = mount()
    assert (mounted / "file").read_bytes() == b"found"
    assert "eu-central-1" in mounted.log()


@pytest.mark.s3d_only("scripted answers")
def test_a_wrong_region_that_the_server_does_not_correct(mount, server):
    server.faults({"name": "elsewhere", "match": {}, "do": {
        "status": 301, "code": "PermanentRedirect", "headers": {"x-amz-bucket-region": None}}})
    says(mount.fail(), "region", "region=")


@pytest.mark.s3d_only("a clock that can be set")
@pytest.mark.parametrize("offset", [3600, -3600])
def test_a_clock_an_hour_off_is_noticed_and_corrected(mount, server, s3, bucket, offset):
    put_all(s3, bucket, {"file": b"found"})
    server.config(clock_offset=offset)
    mounted = mount()
    mounted.expect("clock")
    assert (mounted / "file").read_bytes() == b"found"


@pytest.mark.s3d_only("scripted answers")
def test_a_clock_off_of_a_server_that_does_not_tell_its_own(mount, server):
    server.faults({"name": "late", "match": {}, "do": {
        "status": 403, "code": "RequestTimeTooSkewed", "headers": {"Date": None}}})
    says(mount.fail(), "clock")


def test_a_host_that_has_no_address(mount):
    says(mount.fail(options={"endpoint": "http://no-such-host.invalid"}), "no-such-host.invalid",
         "address|resolve", "endpoint")


def test_a_port_where_nobody_listens(mount):
    port = closed_port()
    says(mount.fail(options={"endpoint": "http://127.0.0.1:%d" % port}), "connect", str(port))


def test_a_port_where_somebody_listens_and_never_answers(mount):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        failure = mount.fail(
            options={"endpoint": "http://127.0.0.1:%d" % silent.getsockname()[1]})
    says(failure, "answer")


@pytest.mark.s3d_only("plain http")
def test_https_where_http_is_spoken(mount, own_s3d):
    server = own_s3d("--make-bucket", "plain")
    failure = mount.fail("plain", server=server,
                         options={"endpoint": server.endpoint.replace("http:", "https:")})
    says(failure, "https", "http://")


@pytest.mark.s3d_only("TLS")
def test_http_where_https_is_spoken(mount, own_s3d, authority):
    server = own_s3d("--make-bucket", "secure", tls=authority.good())
    failure = mount.fail("secure", server=server,
                         options={"endpoint": server.endpoint.replace("https:", "http:")})
    says(failure, "https://")


@pytest.mark.s3d_only("TLS")
@pytest.mark.parametrize("kind, words", [("expired", "expired"), ("self_signed", "not trusted"),
                                         ("wrong_host", "another host")])
def test_a_bad_certificate(mount, own_s3d, authority, kind, words):
    server = own_s3d("--make-bucket", "secure", tls=getattr(authority, kind)())
    says(mount.fail("secure", server=server), "certificate", words)
    assert server.log() == []


@pytest.mark.s3d_only("TLS")
def test_a_certificate_of_an_unknown_authority(mount, own_s3d, authority):
    server = own_s3d("--make-bucket", "secure", tls=authority.good())
    says(mount.fail("secure", server=server, options={"ca_bundle": None}), "certificate",
         "ca_bundle")


def test_a_ca_bundle_that_is_not_there(mount, tmp_path):
    says(mount.fail(options={"ca_bundle": str(tmp_path / "none.pem")}), "none.pem", "No such file")


def test_a_mount_point_that_is_not_there(mount, tmp_path):
    says(mount.fail(directory=tmp_path / "missing"), "missing", "no such directory", "mkdir")


def test_a_mount_point_that_is_a_file(mount, tmp_path):
    (tmp_path / "file").write_text("x")
    says(mount.fail(directory=tmp_path / "file"), "not a directory")


def test_a_mount_point_that_is_already_mounted(mount, s3, bucket, directory):
    put_all(s3, bucket, {"file": b"x"})
    first = mount(directory=directory)
    says(mount.fail(directory=directory), "already", "umount")
    assert (first / "file").read_bytes() == b"x"


def test_a_dead_mount_of_ours_is_replaced_with_a_line_in_the_log(mount, s3, bucket, directory):
    put_all(s3, bucket, {"file": b"x"})
    first = mount(directory=directory)
    first.send_signal(signal.SIGKILL)
    first.wait()
    with pytest.raises(OSError):
        os.stat(directory)
    second = mount(directory=directory)
    second.expect("gone|dead")
    assert (second / "file").read_bytes() == b"x"
    second.finish()
    first.finish(exit_code=-signal.SIGKILL)


def needs_root():
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")


def test_no_fusermount3_for_a_user(mount):
    needs_root()
    says(mount.fail(uid=NOBODY, private="mount --bind /dev/null /usr/bin/fusermount3"),
         "fusermount3", "fuse3")


def test_allow_other_without_user_allow_other(mount):
    needs_root()
    says(mount.fail(uid=NOBODY, private="mount --bind /dev/null /etc/fuse.conf",
                    options={"allow_other": True}), "allow_other", "fuse.conf")


def test_a_mount_point_of_somebody_else(mount):
    needs_root()
    says(mount.fail(uid=NOBODY, directory="/usr"), "/usr", "writable|permission")


def test_a_fuse_device_that_is_none(mount):
    needs_root()
    says(mount.fail(private="mount --bind /dev/null /dev/fuse"), "fuse")


def test_a_credentials_file_that_others_can_read(mount, server, tmp_path):
    path = tmp_path / "passwd"
    path.write_text("%s:%s\n" % (server.access_key, server.secret_key))
    path.chmod(0o644)
    says(mount.fail(options={"passwd_file": path}), "passwd", "chmod|0600|600")


def test_a_credentials_file_that_is_not_there(mount, tmp_path):
    says(mount.fail(options={"passwd_file": tmp_path / "none"}), "none")


def test_a_profile_that_is_not_there(mount):
    says(mount.fail(options={"profile": "nobody"},
                    env={"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}), "nobody")


@pytest.mark.parametrize("option", ["log_file", "passwd_file", "ca_bundle"])
def test_a_file_inside_the_mount_point(mount, directory, option):
    path = directory / "file"
    path.write_text("x")
    path.chmod(0o600)
    says(mount.fail(directory=directory, options={option: path}), option, "inside")


@pytest.mark.parametrize("option, value, words", [
    ("download_limit", "0", "download_limit"),
    ("download_limit", "50M:1K", "download_limit"),
    ("parallel", "0", r"parallel.*\b1\b"),
    ("parallel", "3.5", "parallel.*3.5"),
    ("part_size", "512K", r"part_size.*\b1M|part_size.*MiB"),
    ("memory", "1M", "memory"),
    ("metadata_ttl", "soon", "metadata_ttl.*soon"),
    ("file_mode", "0999", "file_mode.*0999"),
    ("endpoint", "ftp://x", "endpoint"),
    ("no_such_option", "1", "no_such_option"),
    ("use_cache", "/tmp/x", "use_cache"),
])
def test_a_wrong_option_is_a_usage_error(mount, option, value, words):
    says(mount.fail(options={option: value}), words, code=2)


@pytest.mark.parametrize("bucket", ["Bad_Bucket/", "a", "s3://", "b:relative"])
def test_a_wrong_bucket_name_is_a_usage_error(mount, bucket):
    failure = mount.fail(source=bucket)
    assert len(failure.stderr.splitlines()) == 1
    assert failure.exit_code in (1, 2)
