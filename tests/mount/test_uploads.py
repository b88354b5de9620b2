# SPDX-License-Identifier: Apache-2.0
"""pailfs --uploads: unfinished uploads, listed and aborted on request."""
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from support import mount as mounts
from support.objects import uploads

COMMAND_S = 60


def pailfs(server, *words, **options):
    """Runs pailfs --uploads; nothing is mounted."""
    text = mounts.option_text({**server.mount_options(), **options})
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LANG": "C.UTF-8",
                   "AWS_EC2_METADATA_DISABLED": "true", **server.mount_environment(),
                   **{name: value for name, value in os.environ.items()
                      if name.endswith("SAN_OPTIONS")}}
    return subprocess.run([mounts.binary(), "--uploads", *words, "-o", text], text=True,
                          env={k: v for k, v in environment.items() if v is not None},
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_S,
                          check=False)


def begin(s3, bucket, *keys):
    with ThreadPoolExecutor(8) as pool:
        made = pool.map(lambda key: s3.create_multipart_upload(Bucket=bucket, Key=key), keys)
        return {key: answer["UploadId"] for key, answer in zip(keys, made)}


@pytest.fixture
def begun(server, s3, bucket):
    # RGW 16.2 encodes keys in this listing and does not say so
    odd = "logs/plain" if server.kind == "rgw" else "logs/new\nline"
    ids = begin(s3, bucket, "a", "logs/x", odd, "logs2/z")
    yield ids
    for upload in uploads(s3, bucket):
        s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])


def test_all_are_listed(server, bucket, begun):
    done = pailfs(server, bucket)
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    shown = {row[3].replace("\\x0a", "\n"): row[2] for row in rows}
    assert shown == begun
    for row in rows:
        parsed = time.strptime(row[0], "%Y-%m-%dT%H:%M:%SZ")
        assert parsed.tm_year >= 2020
        assert row[1].endswith("s") or row[1].endswith("m")
    assert done.stderr.strip() == "4 unfinished uploads in %s" % bucket


def test_those_below_a_prefix(server, bucket, begun):
    done = pailfs(server, bucket + ":/logs")
    assert done.returncode == 0, done.stderr
    assert {line.split("\t")[2] for line in done.stdout.splitlines()} == {
        upload for key, upload in begun.items() if key.startswith("logs/")}
    assert done.stderr.strip() == "2 unfinished uploads in %s:/logs/" % bucket


def test_nothing(server, bucket):
    done = pailfs(server, bucket)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.strip() == "0 unfinished uploads in %s" % bucket


def test_abort_by_age(server, s3, bucket, begun):
    done = pailfs(server, "--abort", "--older-than", "1h", bucket)
    assert (done.returncode, done.stdout) == (0, "")
    assert len(uploads(s3, bucket)) == 4
    done = pailfs(server, "s3://%s/logs/" % bucket, "--abort", "--older-than=0s")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2
    assert done.stderr.strip() == "2 unfinished uploads in %s:/logs/, 2 aborted" % bucket
    assert {upload["Key"] for upload in uploads(s3, bucket)} == {"a", "logs2/z"}


def test_more_than_a_page(server, s3, bucket):
    if server.kind == "rgw":
        count = 3
    else:
        count = 1010
    ids = begin(s3, bucket, *["k%04d" % n for n in range(count)])
    done = pailfs(server, bucket, "--abort", "--older-than", "0")
    assert done.returncode == 0, done.stderr
    assert {line.split("\t")[2] for line in done.stdout.splitlines()} == set(ids.values())
    assert uploads(s3, bucket) == []


def test_an_abort_that_fails_is_told(server, s3, bucket, begun):
    if server.kind == "rgw":
        pytest.skip("needs s3d: scripted faults")
    server.faults({"match": {"op": "AbortMultipartUpload", "key": "a"}, "count": 0,
                   "do": {"status": 403, "code": "AccessDenied"}})
    done = pailfs(server, bucket, "--abort", "--older-than", "0s")
    assert done.returncode == 1
    assert "of a cannot be aborted: Permission denied" in done.stderr
    assert "4 unfinished uploads in %s, 3 aborted" % bucket in done.stderr
    server.clear_faults()


@pytest.mark.parametrize("words, says", [
    (["b", "--abort"], "--abort needs --older-than"),
    (["b", "c"], "--uploads takes one bucket"),
    ([], "--uploads takes one bucket"),
    (["b", "--abort", "--older-than", "soon"], "must be a time"),
])
def test_mistakes(server, words, says):
    done = pailfs(server, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr and len(done.stderr.splitlines()) == 1


def test_no_such_bucket(server):
    done = pailfs(server, "no-such-bucket-of-ours")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("pailfs: no-such-bucket-of-ours") and \
        len(done.stderr.splitlines()) == 1
