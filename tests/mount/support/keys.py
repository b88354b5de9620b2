# SPDX-License-Identifier: Apache-2.0
"""Putting many keys into a bucket through the independent client."""
from concurrent.futures import ThreadPoolExecutor

THREADS = 16


def put_all(s3, bucket, objects):
    """Puts {key: body}; an iterable of keys puts empty objects."""
    if not isinstance(objects, dict):
        objects = dict.fromkeys(objects, b"")
    with ThreadPoolExecutor(THREADS) as pool:
        for done in [pool.submit(s3.put_object, Bucket=bucket, Key=key, Body=body)
                     for key, body in objects.items()]:
            done.result()
