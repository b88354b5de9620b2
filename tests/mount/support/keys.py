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


def put_multipart(s3, bucket, key, data, part_bytes, **attributes):
    """Puts an object in parts, so that a copy of it has another ETag."""
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key, **attributes)["UploadId"]
    parts = [{"PartNumber": at // part_bytes + 1, "ETag": s3.upload_part(
        Bucket=bucket, Key=key, UploadId=upload, PartNumber=at // part_bytes + 1,
        Body=data[at:at + part_bytes])["ETag"]} for at in range(0, len(data), part_bytes)]
    s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload,
                                 MultipartUpload={"Parts": parts})
