# SPDX-License-Identifier: Apache-2.0
"""What is in a bucket, asked by boto3, and what the strict server saw of it."""
import time

from botocore.exceptions import ClientError

PUBLISHING = {"PutObject", "CompleteMultipartUpload"}


def keys(s3, bucket):
    """All keys of the bucket, in order."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


def body(s3, bucket, key):
    return s3.get_object(Bucket=bucket, Key=key)["Body"].read()


def head(s3, bucket, key):
    return s3.head_object(Bucket=bucket, Key=key)


def exists(s3, bucket, key):
    try:
        head(s3, bucket, key)
    except ClientError as error:
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 404
        return False
    return True


def uploads(s3, bucket):
    return s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])


def publications(server, key):
    """How often an object of that key was published: s3d only."""
    return sum(entry["op"] in PUBLISHING and entry["status"] == 200
               for entry in server.log(key=key))


def wait_until(condition, what, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain for " + what
        time.sleep(0.02)
