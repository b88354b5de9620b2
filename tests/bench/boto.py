#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""boto.py download|upload ENDPOINT BUCKET KEY FILE: one file as the pipelines of users do it.

download_file or upload_file with 10 threads and parts of 64 MB. Prints the seconds and the CPU
seconds of that call: a program of theirs has imported boto3 long before.
"""
import sys
import time

import boto3
import boto3.s3.transfer
import botocore.config

PART_BYTES = 64 * 1000 * 1000
THREADS = 10


def main():
    verb, endpoint, bucket, key, path = sys.argv[1:]
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1",
                          config=botocore.config.Config(proxies={}, max_pool_connections=THREADS,
                                                        s3={"addressing_style": "path"}))
    config = boto3.s3.transfer.TransferConfig(
        multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=THREADS)
    begin, begin_cpu = time.monotonic(), time.process_time()
    if verb == "download":
        client.download_file(bucket, key, path, Config=config)
    else:
        client.upload_file(path, bucket, key, Config=config)
    print(time.monotonic() - begin, time.process_time() - begin_cpu)


if __name__ == "__main__":
    main()
