# SPDX-License-Identifier: Apache-2.0
"""Ceph's S3 gateway, already running (tests/rgw/rgw.sh starts it), named by the environment."""
import os
from concurrent.futures import ThreadPoolExecutor

from .keys import THREADS
from .server import Server


class Rgw(Server):
    kind = "rgw"
    tolerated = ("ignores conditions of CompleteMultipartUpload",)

    def __init__(self):
        self.endpoint = os.environ["PAILFS_RGW_ENDPOINT"]
        self.access_key = os.environ["PAILFS_RGW_ACCESS"]
        self.secret_key = os.environ["PAILFS_RGW_SECRET"]

    def empty_bucket(self, bucket):
        """Its store is memory. One by one: an XML of keys cannot name control characters."""
        keys = [entry["Key"]
                for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
                for entry in page.get("Contents", [])]
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda key: self.s3.delete_object(Bucket=bucket, Key=key), keys))
