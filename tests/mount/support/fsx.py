# SPDX-License-Identifier: Apache-2.0
"""The random-operation tester of tests/fsx over a mount: it stops at each publication, and the
object is compared with its model, by boto3 and through a second mount."""
import collections
import mmap
import os
import subprocess
import tempfile
import time
from pathlib import Path

import botocore.exceptions

END_S = 60
TRIES = 20  # of boto3, when faults are scripted

# What s3d saw of one file: publications by one PUT, by parts, and how many of those copied parts.
Published = collections.namedtuple("Published", "single multipart copied")


class Mismatch(AssertionError):
    """The published object is not what the tester wrote, or the tester itself found a difference."""


def binary():
    """The tester, beside the server that PAILFS_S3D names."""
    path = Path(os.environ["PAILFS_S3D"]).parents[1] / "fsx" / "fsx"
    assert os.access(path, os.X_OK), path
    return str(path)


def difference(good, found):
    """Where two contents part, in words."""
    if good == found:
        return ""
    first = next((at for at in range(0, min(len(good), len(found)), 4096)
                  if good[at:at + 4096] != found[at:at + 4096]), min(len(good), len(found)))
    while first < min(len(good), len(found)) and good[first] == found[first]:
        first += 1
    return "%d bytes instead of %d, differing from byte %d" % (len(found), len(good), first)


class Player:
    """Plays one seed on NAME of a mount.

    arguments  further words for the tester
    second     another mount of the same bucket, without cached metadata
    spoil      called before each comparison with the object's name
    """

    def __init__(self, mounted, second, s3, bucket, name, *arguments, spoil=None):
        self.checks = 0
        self.multipart = 0  # of the objects that were compared
        self._second, self._s3, self._bucket, self._spoil = second, s3, bucket, spoil
        shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        with tempfile.TemporaryDirectory(prefix="fsx-", dir=shared) as directory:
            self._play(mounted, Path(directory), [binary(), "--ask", "--model",
                                                  directory + "/model", *map(str, arguments),
                                                  str(mounted / name)])

    def _play(self, mounted, directory, command):
        with open(directory / "stderr", "w+b") as errors:
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=errors, text=True, bufsize=1) as process:
                try:
                    last = self._answer(process, directory / "model")
                    code = process.wait(END_S)
                finally:
                    process.kill()
            errors.seek(0)
            words = errors.read().decode(errors="replace")
        if code != 0 or not last.startswith("done "):
            raise Mismatch("%s\nended with %d:\n%s" % (" ".join(command), code, words))
        assert words == ""
        counts = last.split()
        self.done = dict(zip(counts[4::2], map(int, counts[5::2])))
        assert int(counts[3]) == self.checks

    def _answer(self, process, model_path):
        """Serves the tester's questions; gives its last line."""
        model = None
        for line in process.stdout:
            if not line.startswith("check "):
                return line
            if model is None:
                with open(model_path, "rb") as file:
                    model = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
            _, _, name, size, _ = line.split(maxsplit=4)
            wrong = self._check(name, model[:int(size)])
            try:
                process.stdin.write(wrong.replace("\n", " ") + "\n" if wrong else "ok\n")
                process.stdin.flush()
            except BrokenPipeError:
                return ""
        return ""

    def _check(self, name, good):
        self.checks += 1
        if self._spoil:
            self._spoil(name)
        etag, found = self._object(name)
        self.multipart += "-" in etag
        wrong = difference(good, found)
        if wrong:
            return "by boto3: " + wrong
        try:
            wrong = difference(good, (self._second / name).read_bytes())
        except OSError as error:
            wrong = str(error)
        return "by the second mount: " + wrong if wrong else ""

    def _object(self, name):
        """ETag and body; asked again as often as a fault plays."""
        for tries in range(TRIES):
            try:
                answer = self._s3.get_object(Bucket=self._bucket, Key=name)
                return answer["ETag"], answer["Body"].read()
            except self._s3.exceptions.NoSuchKey:
                break
            except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError):
                if tries == TRIES - 1:
                    raise
                time.sleep(0.05)
        return "", b""


def published(server, bucket, name):
    """What the strict server saw of NAME, and of what it is renamed to: Published."""
    log = [entry for entry in server.log(bucket=bucket)
           if entry["key"] in (name, name + ".renamed") and entry["status"] == 200]
    copied = {upload_of(entry) for entry in log if entry["op"] == "UploadPartCopy"}
    ends = [entry for entry in log if entry["op"] == "CompleteMultipartUpload"]
    single = sum(entry["op"] == "PutObject" and not entry["fault"] for entry in log)
    return Published(single, len(ends), sum(upload_of(entry) in copied for entry in ends))


def upload_of(entry):
    return next(word for word in entry["query"].split("&") if word.startswith("uploadId="))
