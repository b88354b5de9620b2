# SPDX-License-Identifier: Apache-2.0
"""What boto3 does with objects, parts and listings, in both styles and over TLS."""

import hashlib
import io
import os
import threading
import time
import urllib.error
import urllib.request

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

ODD_KEYS = ["a", "a b", "a+b", "ä/ö", "x%2Fy", "dir/f1", "dir/f2", "dir/sub/f3", "<&>\"'",
            "t~_-.*()!$@,;:=", "//", "a//b", "./x", "..", "tab\there", "line\nbreak"]
CHUNKS = TransferConfig(multipart_threshold=8 << 20, multipart_chunksize=8 << 20)


def code(call, *args, **kwargs):
    """Error code and status of a call that must fail."""
    with pytest.raises(ClientError) as error:
        call(*args, **kwargs)
    answer = error.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


@pytest.fixture(params=["path", "virtual", "tls", "tls-virtual"])
def client(request, start, certificate):
    server = start("--make-bucket", "pub", tls=certificate if "tls" in request.param else None)
    return server.client("virtual" if "virtual" in request.param else "path")


def test_objects_with_odd_keys(client):
    keys = [k for k in ODD_KEYS if not ("tab" in k or "line" in k)]
    for key in keys:
        body = key.encode() * 3
        answer = client.put_object(Bucket="pub", Key=key, Body=body, Metadata={"k": "v"},
                                   ContentType="text/x")
        assert answer["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    for key in keys:
        answer = client.get_object(Bucket="pub", Key=key)
        assert answer["Body"].read() == key.encode() * 3
        assert (answer["Metadata"], answer["ContentType"]) == ({"k": "v"}, "text/x")
    assert client.delete_objects(
        Bucket="pub", Delete={"Objects": [{"Key": k} for k in keys]}).get("Errors") is None
    assert client.list_objects_v2(Bucket="pub")["KeyCount"] == 0


def test_multipart_and_copies(client):
    big = os.urandom(20 << 20)
    client.upload_fileobj(io.BytesIO(big), "pub", "big", Config=CHUNKS)
    assert client.head_object(Bucket="pub", Key="big")["ETag"].endswith('-3"')
    out = io.BytesIO()
    client.download_fileobj("pub", "big", out)
    assert out.getvalue() == big
    assert client.get_object(Bucket="pub", Key="big")["Body"].read() == big
    part = client.get_object(Bucket="pub", Key="big", Range="bytes=8000000-9000000")
    assert part["Body"].read() == big[8000000:9000001]
    assert part["ContentRange"] == f"bytes 8000000-9000000/{len(big)}"
    client.copy({"Bucket": "pub", "Key": "big"}, "pub", "copy", Config=CHUNKS)
    client.delete_object(Bucket="pub", Key="big")
    assert client.get_object(Bucket="pub", Key="copy")["Body"].read() == big
    second = client.get_object(Bucket="pub", Key="copy", PartNumber=2)
    assert second["PartsCount"] == 3 and second["Body"].read() == big[8 << 20:16 << 20]


@pytest.fixture
def s3(server):
    return server.client()


@pytest.mark.parametrize("call", ["list_objects", "list_objects_v2"])
def test_listing(s3, call):
    for key in ODD_KEYS:
        s3.put_object(Bucket="pub", Key=key, Body=b"1")
    keys = sorted(ODD_KEYS, key=str.encode)
    assert [c["Key"] for c in getattr(s3, call)(Bucket="pub")["Contents"]] == keys
    for size in (1, 2, 3, 1000):
        names, prefixes = [], []
        for page in s3.get_paginator(call).paginate(
                Bucket="pub", Delimiter="/", PaginationConfig={"PageSize": size}):
            found = page.get("Contents", []), page.get("CommonPrefixes", [])
            assert len(found[0]) + len(found[1]) <= size
            names += [c["Key"] for c in found[0]]
            prefixes += [c["Prefix"] for c in found[1]]
        assert names == [k for k in keys if "/" not in k]
        assert prefixes == sorted({k.split("/")[0] + "/" for k in keys if "/" in k},
                                  key=str.encode)


def test_listing_positions(s3):
    for key in ("a", "d/1", "d/2", "e"):
        s3.put_object(Bucket="pub", Key=key, Body=b"")

    def listed(**query):
        page = s3.list_objects_v2(Bucket="pub", **query)
        return ([c["Key"] for c in page.get("Contents", [])],
                [c["Prefix"] for c in page.get("CommonPrefixes", [])], page["KeyCount"])

    assert listed(StartAfter="a") == (["d/1", "d/2", "e"], [], 3)
    assert listed(StartAfter="d", Delimiter="/") == (["e"], ["d/"], 2)
    assert listed(StartAfter="d/", Delimiter="/") == (["e"], [], 1)
    assert listed(Prefix="d/", Delimiter="/", StartAfter="d/1") == (["d/2"], [], 1)
    assert listed(Prefix="d", MaxKeys=0) == ([], [], 0)
    assert code(s3.list_objects_v2, Bucket="pub", ContinuationToken="00ff") == \
        ("InvalidArgument", 400)


def test_ranges(s3):
    s3.put_object(Bucket="pub", Key="k", Body=b"0123456789")

    def ranged(text):
        answer = s3.get_object(Bucket="pub", Key="k", Range=text)
        return (answer["ResponseMetadata"]["HTTPStatusCode"], answer["Body"].read(),
                answer.get("ContentRange"))

    assert ranged("bytes=2-4") == (206, b"234", "bytes 2-4/10")
    assert ranged("bytes=8-") == (206, b"89", "bytes 8-9/10")
    assert ranged("bytes=-3") == (206, b"789", "bytes 7-9/10")
    assert ranged("bytes=5-99") == (206, b"56789", "bytes 5-9/10")
    assert ranged("bytes=4-2")[:2] == (200, b"0123456789")
    assert code(s3.get_object, Bucket="pub", Key="k", Range="bytes=10-") == ("InvalidRange", 416)


def test_conditions(s3):
    etag = s3.put_object(Bucket="pub", Key="k", Body=b"1")["ETag"]
    assert code(s3.get_object, Bucket="pub", Key="k", IfMatch='"x"') == \
        ("PreconditionFailed", 412)
    assert code(s3.head_object, Bucket="pub", Key="k", IfMatch='"x"') == ("412", 412)
    assert code(s3.get_object, Bucket="pub", Key="k", IfNoneMatch=etag) == ("304", 304)
    modified = s3.head_object(Bucket="pub", Key="k")["LastModified"]
    assert code(s3.get_object, Bucket="pub", Key="k", IfModifiedSince=modified) == ("304", 304)
    assert s3.get_object(Bucket="pub", Key="k", IfUnmodifiedSince=modified)["ETag"] == etag
    assert code(s3.copy_object, Bucket="pub", Key="c", CopySource="pub/k",
                CopySourceIfMatch='"x"') == ("PreconditionFailed", 412)


def with_header(client, name, value):
    """Adds a header that this boto3 does not know to all later requests."""
    client.meta.events.register(
        "before-sign.s3", lambda request, **_: request.headers.add_header(name, value))
    return client


def test_conditional_writes(server):
    s3 = server.client()
    etag = s3.put_object(Bucket="pub", Key="k", Body=b"1")["ETag"]
    exclusive = with_header(server.client(), "If-None-Match", "*")
    assert code(exclusive.put_object, Bucket="pub", Key="k", Body=b"2") == \
        ("PreconditionFailed", 412)
    exclusive.put_object(Bucket="pub", Key="new", Body=b"2")
    matching = with_header(server.client(), "If-Match", etag)
    matching.put_object(Bucket="pub", Key="k", Body=b"2")
    assert code(matching.put_object, Bucket="pub", Key="k", Body=b"3") == \
        ("PreconditionFailed", 412)
    assert code(matching.put_object, Bucket="pub", Key="gone", Body=b"3") == ("NoSuchKey", 404)
    assert code(matching.delete_object, Bucket="pub", Key="k") == ("PreconditionFailed", 412)
    assert code(exclusive.copy_object, Bucket="pub", Key="k", CopySource="pub/new") == \
        ("PreconditionFailed", 412)
    assert s3.get_object(Bucket="pub", Key="k")["Body"].read() == b"2"


def test_key_deleted_during_a_conditional_put(server):
    """Nothing is there at the end, but something was at the start: 409."""
    s3 = server.client()
    s3.put_object(Bucket="pub", Key="k", Body=b"1")
    server.admin("DELETE", "log")
    server.admin("POST", "config", {"pace": 1 << 20})
    exclusive = with_header(server.client(), "If-None-Match", "*")
    outcome = []
    put = threading.Thread(target=lambda: outcome.append(code(
        exclusive.put_object, Bucket="pub", Key="k", Body=bytes(2 << 20))))
    put.start()
    while not server.log("PutObject"):
        time.sleep(0.01)
    s3.delete_object(Bucket="pub", Key="k")
    put.join()
    assert outcome == [("ConditionalRequestConflict", 409)]


def test_encrypted_objects_have_opaque_etags(s3):
    answer = s3.put_object(Bucket="pub", Key="k", Body=b"1", ServerSideEncryption="aws:kms")
    assert answer["ETag"] != f'"{hashlib.md5(b"1").hexdigest()}"'
    assert answer["ServerSideEncryption"] == "aws:kms"


def test_streamed_body_with_trailing_checksum(start, certificate):
    """boto3 sends aws-chunked with a trailer for a file over TLS."""
    server = start("--make-bucket", "pub", tls=certificate)
    body = os.urandom(300000)
    s3 = server.client()
    s3.put_object(Bucket="pub", Key="k", Body=io.BytesIO(body), ChecksumAlgorithm="CRC32")
    (record,) = server.log("PutObject")
    assert record["headers"]["x-amz-content-sha256"] == "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    answer = s3.get_object(Bucket="pub", Key="k", ChecksumMode="ENABLED")
    assert answer["Body"].read() == body and answer["ChecksumCRC32"]
    assert "ContentEncoding" not in answer


def test_multipart_rules(server, s3):
    upload = dict(Bucket="pub", Key="m",
                  UploadId=s3.create_multipart_upload(Bucket="pub", Key="m")["UploadId"])
    etags = {n: s3.upload_part(PartNumber=n, Body=bytes([n]) * 100, **upload)["ETag"]
             for n in (1, 2)}

    def complete(*numbers, etags=etags, client=s3):
        return client.complete_multipart_upload(MultipartUpload={
            "Parts": [{"PartNumber": n, "ETag": etags[n]} for n in numbers]}, **upload)

    assert len(s3.list_parts(**upload)["Parts"]) == 2
    assert s3.list_multipart_uploads(Bucket="pub")["Uploads"][0]["UploadId"] == upload["UploadId"]
    assert code(complete, 1, 2) == ("EntityTooSmall", 400)
    assert code(complete, 2, 1) == ("InvalidPartOrder", 400)
    assert code(complete, 1, etags={1: '"other"'}) == ("InvalidPart", 400)
    assert code(s3.upload_part, PartNumber=10001, Body=b"", **upload) == ("InvalidArgument", 400)
    wrong_size = with_header(server.client(), "x-amz-mp-object-size", "99")
    assert code(complete, 2, client=wrong_size) == ("InvalidRequest", 400)
    expected = hashlib.md5(bytes.fromhex(etags[2].strip('"'))).hexdigest()
    assert complete(2)["ETag"] == f'"{expected}-1"'
    assert complete(2)["ETag"] == f'"{expected}-1"'
    assert s3.get_object(Bucket="pub", Key="m")["Body"].read() == b"\2" * 100
    assert code(s3.upload_part, PartNumber=1, Body=b"", **upload) == ("NoSuchUpload", 404)
    again = s3.create_multipart_upload(Bucket="pub", Key="m")["UploadId"]
    s3.abort_multipart_upload(Bucket="pub", Key="m", UploadId=again)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket="pub")


def test_part_copy_range_needs_a_large_source(s3):
    s3.put_object(Bucket="pub", Key="small", Body=b"1" * 100)
    upload = s3.create_multipart_upload(Bucket="pub", Key="m")["UploadId"]
    assert code(s3.upload_part_copy, Bucket="pub", Key="m", UploadId=upload, PartNumber=1,
                CopySource="pub/small", CopySourceRange="bytes=0-9") == ("InvalidRequest", 400)


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
def test_checksums(server, s3, algorithm):
    name = "Checksum" + algorithm
    given = s3.put_object(Bucket="pub", Key="k", Body=b"hello", ChecksumAlgorithm=algorithm)[name]
    assert s3.head_object(Bucket="pub", Key="k", ChecksumMode="ENABLED")[name] == given
    assert name not in s3.head_object(Bucket="pub", Key="k")
    assert code(s3.put_object, Bucket="pub", Key="k", Body=b"hellp", **{name: given}) == \
        ("BadDigest", 400)


def test_known_crcs(server):
    """The check values of the two CRCs that boto3 does not compute here."""
    for header, value in (("x-amz-checksum-crc32c", "4waSgw=="),
                          ("x-amz-checksum-crc64nvme", "rosUhgp5mIg=")):
        s3 = with_header(server.client(), header, value)
        s3.put_object(Bucket="pub", Key="k", Body=b"123456789")
        assert code(s3.put_object, Bucket="pub", Key="k", Body=b"12345678") == ("BadDigest", 400)


def test_limits(s3):
    assert code(s3.put_object, Bucket="pub", Key="k" * 1025, Body=b"") == ("KeyTooLongError", 400)
    s3.put_object(Bucket="pub", Key="k" * 1024, Body=b"")
    assert code(s3.put_object, Bucket="pub", Key="k", Body=b"", Metadata={"m": "v" * 2048}) == \
        ("MetadataTooLarge", 400)
    assert code(s3.put_object, Bucket="pub", Key="k", Body=b"", ContentMD5="A" * 22 + "==") == \
        ("BadDigest", 400)
    assert code(s3.put_object, Bucket="pub", Key="k", Body=b"", StorageClass="HUH") == \
        ("InvalidStorageClass", 400)
    s3.put_object(Bucket="pub", Key="cold", Body=b"1", StorageClass="GLACIER")
    assert s3.head_object(Bucket="pub", Key="cold")["StorageClass"] == "GLACIER"
    assert code(s3.get_object, Bucket="pub", Key="cold") == ("InvalidObjectState", 403)
    too_many = {"Objects": [{"Key": str(i)} for i in range(1001)]}
    assert code(s3.delete_objects, Bucket="pub", Delete=too_many) == ("MalformedXML", 400)


def test_copy_metadata(s3):
    s3.put_object(Bucket="pub", Key="k", Body=b"1", Metadata={"a": "1"}, ContentType="x/y",
                  Tagging="t=1")
    s3.copy_object(Bucket="pub", Key="c", CopySource="pub/k")
    assert s3.head_object(Bucket="pub", Key="c")["Metadata"] == {"a": "1"}
    assert s3.get_object_tagging(Bucket="pub", Key="c")["TagSet"] == [{"Key": "t", "Value": "1"}]
    s3.copy_object(Bucket="pub", Key="k", CopySource="pub/k", MetadataDirective="REPLACE",
                   Metadata={"b": "2"})
    assert s3.head_object(Bucket="pub", Key="k")["Metadata"] == {"b": "2"}
    assert code(s3.copy_object, Bucket="pub", Key="k", CopySource="pub/k") == \
        ("InvalidRequest", 400)


def test_buckets(s3):
    assert code(s3.create_bucket, Bucket="No_Such") == ("InvalidBucketName", 400)
    s3.create_bucket(Bucket="more")
    assert {"pub", "more"} <= {b["Name"] for b in s3.list_buckets()["Buckets"]}
    s3.put_object(Bucket="more", Key="k", Body=b"")
    assert code(s3.delete_bucket, Bucket="more") == ("BucketNotEmpty", 409)
    s3.delete_object(Bucket="more", Key="k")
    s3.delete_bucket(Bucket="more")
    assert code(s3.head_bucket, Bucket="more") == ("404", 404)
    assert code(s3.get_object, Bucket="more", Key="k") == ("NoSuchBucket", 404)


def test_reader_keeps_its_version(server, s3):
    old, new = b"o" * (32 << 20), b"n" * (32 << 20)
    s3.put_object(Bucket="pub", Key="k", Body=old)
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/pub/k") as reader:
        begin = reader.read(1000)
        s3.put_object(Bucket="pub", Key="k", Body=new)
        assert begin + reader.read() == old
    assert s3.get_object(Bucket="pub", Key="k")["Body"].read() == new


def test_restart_keeps_everything(start, tmp_path):
    server = start("--make-bucket", "pub", directory=tmp_path / "d")
    s3 = server.client()
    big = os.urandom(12 << 20)
    s3.upload_fileobj(io.BytesIO(big), "pub", "big", Config=CHUNKS)
    s3.put_object(Bucket="pub", Key="ö", Body=b"1", Metadata={"a": "b"})
    s3.put_object(Bucket="pub", Key="gone", Body=b"1" * 1000)
    s3.delete_object(Bucket="pub", Key="gone")
    server.admin("POST", "synth", {"bucket": "pub", "prefix": "s/", "format": "%03d",
                                   "count": 100, "size": 5})
    s3.delete_object(Bucket="pub", Key="s/007")
    upload = s3.create_multipart_upload(Bucket="pub", Key="m")["UploadId"]
    etag = s3.upload_part(Bucket="pub", Key="m", UploadId=upload, PartNumber=1,
                          Body=b"part")["ETag"]
    before = s3.list_objects_v2(Bucket="pub")["Contents"]
    server.stop()
    s3 = start(directory=tmp_path / "d").client()
    assert s3.list_objects_v2(Bucket="pub")["Contents"] == before
    assert s3.get_object(Bucket="pub", Key="big")["Body"].read() == big
    assert s3.head_object(Bucket="pub", Key="ö")["Metadata"] == {"a": "b"}
    s3.complete_multipart_upload(
        Bucket="pub", Key="m", UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
    assert s3.get_object(Bucket="pub", Key="m")["Body"].read() == b"part"
    for key in ("m", "big", "ö"):
        s3.delete_object(Bucket="pub", Key=key)
    assert os.listdir(tmp_path / "d" / "blob") == []


def splitmix64(x):
    mask = (1 << 64) - 1
    x = (x + 0x9E3779B97F4A7C15) & mask
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & mask
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & mask
    return x ^ x >> 31


def test_synthetic_content(server, s3):
    server.admin("POST", "synth", {"bucket": "pub", "key": "huge", "size": 300000000000,
                                   "seed": 7})
    at = 299999999977
    got = s3.get_object(Bucket="pub", Key="huge", Range=f"bytes={at}-")["Body"].read()
    assert got == bytes(splitmix64(7 + o // 8) >> o % 8 * 8 & 255 for o in range(at, 300000000000))
    size = 10 * (5 << 40)
    server.admin("POST", "synth", {"bucket": "pub", "key": "zero", "size": size, "sparse": True})
    assert s3.head_object(Bucket="pub", Key="zero")["ContentLength"] == size
    got = s3.get_object(Bucket="pub", Key="zero", Range=f"bytes={size - 99999}-")["Body"].read()
    assert got == bytes(99999)


def test_a_million_synthetic_keys(server, s3):
    server.admin("POST", "synth", {"bucket": "pub", "prefix": "dir/", "format": "f%07d",
                                   "count": 1000000, "size": 1024})
    s3.put_object(Bucket="pub", Key="dir/f0000005", Body=b"real")
    s3.delete_object(Bucket="pub", Key="dir/f0000003")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket="pub", Prefix="dir/f00000")
    found = [c for page in pages for c in page["Contents"]]
    assert len(found) == 99 and found[4]["Key"] == "dir/f0000005" and found[4]["Size"] == 4
    page = s3.list_objects_v2(Bucket="pub", StartAfter="dir/f0999998")
    assert [c["Key"] for c in page["Contents"]] == ["dir/f0999999"]
    assert s3.list_objects_v2(Bucket="pub", Delimiter="/")["CommonPrefixes"] == [
        {"Prefix": "dir/"}]
    assert len(s3.get_object(Bucket="pub", Key="dir/f0999999")["Body"].read()) == 1024
    listed = s3.list_objects_v2(Bucket="pub", Prefix="dir/f0000009")["Contents"][0]
    assert s3.head_object(Bucket="pub", Key="dir/f0000009")["ETag"] == listed["ETag"]


def test_planted_objects(server, s3):
    server.admin("POST", "put", {"bucket": "pub", "key_hex": "ff0a01", "content": "x"})
    server.admin("POST", "put", {"bucket": "pub", "key": "/lead", "size": 7, "mtime": 86400,
                                 "headers": {"x-amz-meta-a": "1"}})
    with urllib.request.urlopen(
            f"http://127.0.0.1:{server.port}/pub?encoding-type=url") as answer:
        assert b"<Key>%FF%0A%01</Key>" in answer.read()
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/pub/%FF%0A%01") as answer:
        assert answer.read() == b"x"
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(f"http://127.0.0.1:{server.port}/pub/%FF%0A%02")
    head = s3.head_object(Bucket="pub", Key="/lead")
    assert (head["ContentLength"], head["Metadata"]) == (7, {"a": "1"})
    assert head["LastModified"].timestamp() == 86400
