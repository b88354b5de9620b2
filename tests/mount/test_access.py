# SPDX-License-Identifier: Apache-2.0
"""The ways to a bucket: other users, daemons, keys of several kinds, TLS, host names, rights."""
import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess

import pytest

from support import data
from support.data import MIB
from support.keys import put_all

NOBODY = 65534
ACCESS_KEY, SECRET_KEY = "AKIDOTHER", "other/secret+key"
SYSTEM_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"  # where Debian's curl looks


def key_environment(token=None):
    return {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_SESSION_TOKEN": token}


def readme_policy(which, bucket, prefix="team/a/"):
    """What the README proposes under that heading, for this bucket and prefix."""
    readme = (pathlib.Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    text = readme.split("\n" + which, 1)[1].split("```json\n", 1)[1].split("```", 1)[0]
    return json.loads(text.replace("my-bucket", bucket).replace("team/a/", prefix))


@pytest.fixture
def tree(s3, bucket):
    put_all(s3, bucket, {"dir/file": b"inside", "dir/sub/x": b"x", "other": b"outside"})


def test_a_user_without_privilege_mounts_and_reads(mount, tree):
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")
    mounted = mount(uid=NOBODY)
    assert mounted.shell("id -u; cat dir/file") == "%d\ninside" % NOBODY
    assert mounted.shell("stat -c '%u %g' dir/file dir").split() == [str(NOBODY)] * 4


def test_a_mount_of_one_user_is_closed_to_others(mount, tree):
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")
    mounted = mount()
    done = mounted.run_as(NOBODY, "cat", "dir/file", check=False)
    assert b"Permission denied" in done.stderr


def test_allow_other_opens_a_mount_as_far_as_modes_allow(mount, tree):
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")
    mounted = mount(options={"allow_other": True})
    assert mounted.run_as(NOBODY, "cat", "dir/file").stdout == b"inside"
    closed = mount(options={"allow_other": True, "file_mode": "0600"})
    done = closed.run_as(NOBODY, "cat", "dir/file", check=False)
    assert b"Permission denied" in done.stderr


def test_a_daemon_leaves_its_terminal_and_answers_when_the_command_returns(mount, tree):
    mounted = mount(daemonise=True)
    assert mounted.stderr() == ""
    assert os.getsid(mounted.pid) != os.getsid(0)
    assert (mounted / "dir" / "file").read_bytes() == b"inside"
    assert mounted.unmount() == 0


def test_files_of_a_mount_cannot_be_devices_or_set_ids(mount):
    mounted = mount()
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        (flags,) = [line.split()[5] for line in file if str(mounted.mount_point) in line]
    assert {"nosuid", "nodev"} <= set(flags.split(","))


@pytest.mark.s3d_only("session tokens")
def test_temporary_keys_sign_with_their_token(mount, server, tree):
    server.credentials({"access_key": ACCESS_KEY, "secret_key": SECRET_KEY,
                        "session_token": "tok/en+with=="})
    server.clear_log()
    mounted = mount(env=key_environment("tok/en+with=="))
    assert (mounted / "dir" / "file").read_bytes() == b"inside"
    assert all("x-amz-security-token" in request["headers"] for request in server.log())


@pytest.mark.s3d_only("buckets open to everybody")
def test_a_public_bucket_is_read_without_keys(mount, server, bucket, tree):
    server.bucket(bucket, public=True)
    server.clear_log()
    mounted = mount(options={"no_sign_request": True},
                    env={"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None})
    assert (mounted / "dir" / "file").read_bytes() == b"inside"
    assert all("authorization" not in request["headers"] for request in server.log())


@pytest.mark.s3d_only("policies")
def test_the_read_only_policy_is_enough_to_read(mount, server, bucket, tree):
    server.credentials({"access_key": ACCESS_KEY, "secret_key": SECRET_KEY,
                        "policy": readme_policy("Read-only, a whole bucket", bucket)})
    mounted = mount(options={"ro": True}, env=key_environment())
    assert mounted.shell("find . -type f | sort").split() == [
        "./dir/file", "./dir/sub/x", "./other"]
    assert (mounted / "dir" / "file").read_bytes() == b"inside"


@pytest.mark.s3d_only("policies")
def test_the_prefix_policy_is_enough_to_mount_the_prefix(mount, server, bucket, tree):
    server.credentials({"access_key": ACCESS_KEY, "secret_key": SECRET_KEY,
                        "policy": readme_policy("Read-only, one prefix", bucket, "dir/")})
    mounted = mount(prefix="dir", options={"ro": True}, env=key_environment())
    assert mounted.shell("find . -type f | sort").split() == ["./file", "./sub/x"]
    assert (mounted / "file").read_bytes() == b"inside"


@pytest.mark.s3d_only("policies")
@pytest.mark.parametrize("options", [{}, {"posix": True}], ids=["default", "posix"])
def test_the_read_write_policy_is_enough_for_all_kinds_of_writing(mount, server, s3, bucket,
                                                                  options):
    s3.put_object(Bucket=bucket, Key="tagged", Body=b"old", Tagging="colour=red")
    server.credentials({"access_key": ACCESS_KEY, "secret_key": SECRET_KEY,
                        "policy": readme_policy("Read-write", bucket)})
    mounted = mount(options=options, env=key_environment())
    assert mounted.shell("""set -e
        mkdir d; echo small > d/small; head -c 20000000 /dev/zero > d/large
        echo more >> d/large; truncate -s 19000000 d/large
        mv d/small d/moved; mv d e; echo new >> tagged; mv tagged tags; chmod 600 e/moved
        rm e/moved; find . -type f | sort; stat -c %s e/large; cat tags""").split() == [
            "./e/large", "./tags", "19000000", "oldnew"]
    server.credentials()
    assert s3.get_object_tagging(Bucket=bucket, Key="tags")["TagSet"] == [
        {"Key": "colour", "Value": "red"}]


@pytest.mark.s3d_only("policies")
def test_an_object_that_may_not_be_read_is_eacces(mount, server, bucket, tree):
    policy = readme_policy("Read-only, a whole bucket", bucket)
    policy["Statement"].append({"Effect": "Deny", "Action": "s3:GetObject",
                                "Resource": "arn:aws:s3:::%s/other" % bucket})
    server.credentials({"access_key": ACCESS_KEY, "secret_key": SECRET_KEY, "policy": policy})
    mounted = mount(options={"ro": True}, env=key_environment())
    mounted.tolerate("Permission denied|AccessDenied|s3:GetObject")
    assert (mounted / "dir" / "file").read_bytes() == b"inside"
    with pytest.raises(PermissionError):
        (mounted / "other").read_bytes()


def _connections(server, mounted, names):
    """Has so many requests wait side by side that each needs a connection of its own: those."""
    server.clear_log()
    server.faults({"match": {"op": "GetObject"}, "do": {"delay_ms": 300}})
    with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
        bodies = list(pool.map(lambda n: (mounted / f"f{n}").read_bytes(), names))
    assert bodies == [b"%d" % n for n in names]
    return {entry["conn"] for entry in server.log() if entry["op"] == "GetObject"}


@pytest.mark.s3d_only("TLS")
@pytest.mark.parametrize("whose", ["ours", "the system's"])
def test_trusted_certificates_are_read_once(mount, own_s3d, authority, tmp_path, whose):
    """Once a loop: those of a distribution cost more than the rest of a handshake."""
    server = own_s3d("--make-bucket", "secure", tls=authority.good())
    for n in range(30):
        server.s3.put_object(Bucket="secure", Key=f"f{n}", Body=b"%d" % n)
    if whose == "ours":
        trusted = tmp_path / "trusted.pem"
        shutil.copy(authority.ca, trusted)
        mounted = mount("secure", server=server, options={"ca_bundle": str(trusted)})
        known = _connections(server, mounted, range(8))
        trusted.write_bytes(b"")
    else:
        if os.geteuid() != 0:
            pytest.skip("needs root, for a mount namespace")
        if not os.path.exists(SYSTEM_CERTIFICATES):
            pytest.skip("no " + SYSTEM_CERTIFICATES)
        mounted = mount("secure", server=server, options={"ca_bundle": None},
                        private=f"mount --bind {authority.ca} {SYSTEM_CERTIFICATES}")
        known = _connections(server, mounted, range(8))
        subprocess.run(["nsenter", "--target", str(mounted.pid), "--mount", "--root", "umount",
                        SYSTEM_CERTIFICATES], check=True)
    assert _connections(server, mounted, range(8, 30)) - known


@pytest.mark.s3d_only("TLS")
def test_a_bucket_is_read_over_tls(mount, own_s3d, authority):
    server = own_s3d("--make-bucket", "secure", tls=authority.good())
    body = data.content(1, 9 * MIB + 1)
    server.s3.put_object(Bucket="secure", Key="file", Body=body)
    mounted = mount("secure", server=server)
    assert data.file_checksum(mounted / "file") == data.checksum(body)


def test_a_bucket_in_the_host_name_is_found(mount, server, s3, bucket):
    put_all(s3, bucket, {"dir/a b+c%": b"found"})
    if server.kind != "rgw":
        server.clear_log()
    endpoint = server.virtual_endpoint()
    mounted = mount(options={"endpoint": endpoint, "path_style": "no"})
    assert (mounted / "dir" / "a b+c%").read_bytes() == b"found"
    if server.kind != "rgw":
        assert {request["headers"]["host"] for request in server.log()} == {
            "%s.%s" % (bucket, endpoint.split("/")[2])}
