# SPDX-License-Identifier: Apache-2.0
"""Ceph's S3 gateway, already running (tests/rgw/rgw.sh starts it), named by the environment."""
import os

from .server import Server


class Rgw(Server):
    kind = "rgw"

    def __init__(self):
        self.endpoint = os.environ["PAILFS_RGW_ENDPOINT"]
        self.access_key = os.environ["PAILFS_RGW_ACCESS"]
        self.secret_key = os.environ["PAILFS_RGW_SECRET"]

    def empty_bucket(self, bucket):
        """Its store is memory. Keys that boto3 cannot name stay."""
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            objects = [{"Key": entry["Key"]} for entry in page.get("Contents", [])]
            if objects:
                self.s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
