# SPDX-License-Identifier: Apache-2.0
"""Kinds of writes for the fault tests: each uses one S3 operation, and knows what must be there.

before() makes what is needed while the server behaves; act() is what a program does, and raises
OSError when it is told of a failure; done(): it happened, all of it; whole(): it happened, or it
did not, but nothing in between is there.
"""
import os

from botocore.exceptions import ClientError

from .data import MIB, content
from .objects import exists, head

LARGE = content("write", 17 * MIB + 3)  # three parts
SMALL = LARGE[:5000]


class Write:
    op = ""

    def __init__(self, mounted, s3, bucket, name):
        self.path, self.s3, self.bucket, self.name = mounted / name, s3, bucket, name

    def before(self):
        pass

    def act(self):
        raise NotImplementedError

    def end(self):
        """After a failure: what is still open is closed."""

    def done(self):
        raise NotImplementedError

    def whole(self):
        return True

    def body(self, name=None):
        try:
            return self.s3.get_object(Bucket=self.bucket, Key=name or self.name)["Body"].read()
        except ClientError as error:
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 404
            return None


class Put(Write):
    """Overwrites a small object."""
    op, data, old = "PutObject", SMALL, b"old"

    def before(self):
        if self.old is not None:
            self.s3.put_object(Bucket=self.bucket, Key=self.name, Body=self.old)

    def act(self):
        with open(self.path, "wb", buffering=0) as file:
            file.write(self.data)

    def done(self):
        return self.body() == self.data

    def whole(self):
        return self.body() in (self.old, self.data)


class Exclusive(Put):
    """Makes a small file: PutObject with If-None-Match."""
    old = None

    def act(self):
        with open(self.path, "xb", buffering=0) as file:
            file.write(self.data)


class Create(Put):
    op, data = "CreateMultipartUpload", LARGE


class Part(Put):
    op, data = "UploadPart", LARGE


class Complete(Put):
    op, data = "CompleteMultipartUpload", LARGE


class ExclusiveComplete(Exclusive):
    op, data = "CompleteMultipartUpload", LARGE


class PartCopy(Write):
    """Writes on after an fsync: what is unchanged is copied."""
    op = "UploadPartCopy"

    def before(self):
        self.file = open(self.path, "wb", buffering=0)
        self.file.write(LARGE)
        os.fsync(self.file.fileno())

    def act(self):
        self.file.write(b"more" * 1000)
        os.fsync(self.file.fileno())
        self.file.close()

    def end(self):
        try:
            self.file.close()
        except OSError:
            pass

    def done(self):
        return self.body() == LARGE + b"more" * 1000

    def whole(self):
        return self.body() in (LARGE, LARGE + b"more" * 1000)


class Rename(Write):
    op = "CopyObject"

    def before(self):
        self.s3.put_object(Bucket=self.bucket, Key=self.name, Body=SMALL)

    def act(self):
        os.rename(self.path, str(self.path) + ".new")

    def done(self):
        return self.body() is None and self.body(self.name + ".new") == SMALL

    def whole(self):
        found = [self.body(), self.body(self.name + ".new")]
        return SMALL in found and set(found) <= {None, SMALL}


class Times(Rename):
    """utimens of a published file: a copy in place."""

    def act(self):
        os.utime(self.path, (1, 86400))

    def done(self):
        mtime = head(self.s3, self.bucket, self.name)["Metadata"].get("mtime", "0")
        return self.body() == SMALL and float(mtime) == 86400

    def whole(self):
        return self.body() == SMALL


class Unlink(Rename):
    op = "DeleteObject"

    def act(self):
        os.unlink(self.path)

    def done(self):
        return self.body() is None

    def whole(self):
        return self.body() in (None, SMALL)


class Mkdir(Write):
    op = "PutObject"

    def act(self):
        os.mkdir(self.path)

    def done(self):
        return exists(self.s3, self.bucket, self.name + "/")


class Rmdir(Write):
    op = "ListObjectsV2"

    def before(self):
        self.s3.put_object(Bucket=self.bucket, Key=self.name + "/")
        os.stat(self.path)

    def act(self):
        os.rmdir(self.path)

    def done(self):
        return not exists(self.s3, self.bucket, self.name + "/")


KINDS = {kind.__name__: kind for kind in (Put, Exclusive, Create, Part, Complete, ExclusiveComplete,
                                          PartCopy, Rename, Times, Unlink, Mkdir, Rmdir)}
