# SPDX-License-Identifier: Apache-2.0
"""Who may do what, regions, the clock, the dialects of other servers, the admin interface."""

import time
import urllib.error
import urllib.request

import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
import boto3

from test_objects import code, with_header


def anonymous(server):
    return boto3.client("s3", endpoint_url=f"http://127.0.0.1:{server.port}",
                        region_name="us-east-1",
                        config=Config(signature_version=UNSIGNED,
                                      s3={"addressing_style": "path"}))


def test_signatures_and_keys(server):
    s3 = server.client()
    s3.put_object(Bucket="pub", Key="k", Body=b"1")
    assert code(server.client(secret="x").get_object, Bucket="pub", Key="k") == \
        ("SignatureDoesNotMatch", 403)
    assert code(server.client(key="x").get_object, Bucket="pub", Key="k") == \
        ("InvalidAccessKeyId", 403)
    flipped = server.client()
    flipped.meta.events.register("before-send.s3",
                                 lambda request, **_: setattr(request, "body", b"2"))
    assert code(flipped.put_object, Bucket="pub", Key="k2", Body=b"1") == \
        ("XAmzContentSHA256Mismatch", 400)
    assert code(s3.head_object, Bucket="pub", Key="k2") == ("404", 404)
    url = s3.generate_presigned_url("get_object", {"Bucket": "pub", "Key": "k"})
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(url)


def test_tokens_and_expiry(server):
    s3 = server.client()
    s3.put_object(Bucket="pub", Key="k", Body=b"1")
    later, before = time.time() + 3600, time.time() - 1
    server.admin("POST", "credentials", [
        {"access_key": "T", "secret_key": "s", "session_token": "tok", "expires": later},
        {"access_key": "E", "secret_key": "s", "session_token": "tok", "expires": before}])
    good = server.client(key="T", secret="s", aws_session_token="tok")
    assert good.get_object(Bucket="pub", Key="k")["Body"].read() == b"1"
    bad = server.client(key="T", secret="s", aws_session_token="other")
    assert code(bad.get_object, Bucket="pub", Key="k")[0] == "InvalidToken"
    assert code(server.client(key="T", secret="s").get_object, Bucket="pub", Key="k")[1] in \
        (400, 403)
    old = server.client(key="E", secret="s", aws_session_token="tok")
    assert code(old.get_object, Bucket="pub", Key="k") == ("ExpiredToken", 400)
    assert code(s3.get_object, Bucket="pub", Key="k")[0] == "InvalidAccessKeyId"
    assert all("tok" != r["headers"].get("x-amz-security-token") for r in server.log())


def test_anonymous(server):
    server.client().create_bucket(Bucket="private")
    for bucket in ("pub", "private"):
        server.client().put_object(Bucket=bucket, Key="k", Body=b"1")
    s3 = anonymous(server)
    assert s3.get_object(Bucket="pub", Key="k")["Body"].read() == b"1"
    assert s3.list_objects_v2(Bucket="pub")["KeyCount"] == 1
    assert code(s3.get_object, Bucket="private", Key="k") == ("AccessDenied", 403)
    assert code(s3.list_objects_v2, Bucket="private") == ("AccessDenied", 403)
    assert code(s3.put_object, Bucket="pub", Key="k", Body=b"2") == ("AccessDenied", 403)
    assert code(s3.delete_object, Bucket="pub", Key="k") == ("AccessDenied", 403)


def test_policies(server):
    policy = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::pub/in/*"},
        {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::pub",
         "Condition": {"StringLike": {"s3:prefix": ["in/*"]}}}]}
    for key in ("in/k", "out"):
        server.client().put_object(Bucket="pub", Key=key, Body=b"1")
    server.admin("POST", "credentials",
                 [{"access_key": "P", "secret_key": "s", "policy": policy}])
    s3 = server.client(key="P", secret="s")
    assert s3.get_object(Bucket="pub", Key="in/k")["Body"].read() == b"1"
    assert s3.list_objects_v2(Bucket="pub", Prefix="in/")["KeyCount"] == 1
    assert code(s3.list_objects_v2, Bucket="pub", Prefix="") == ("AccessDenied", 403)
    assert code(s3.get_object, Bucket="pub", Key="out") == ("AccessDenied", 403)
    assert code(s3.put_object, Bucket="pub", Key="in/k", Body=b"2") == ("AccessDenied", 403)
    # a missing key is a 403 for one who may not list
    assert code(s3.get_object, Bucket="pub", Key="in/none")[1] in (403, 404)
    answer = s3.delete_objects(Bucket="pub", Delete={"Objects": [{"Key": "in/k"}]})
    assert answer["Errors"][0]["Code"] == "AccessDenied"


def test_missing_key_without_list_is_403(server):
    policy = {"Statement": [{"Effect": "Allow", "Action": "s3:GetObject",
                             "Resource": "arn:aws:s3:::pub/*"}]}
    server.admin("POST", "credentials",
                 [{"access_key": "P", "secret_key": "s", "policy": policy}])
    assert code(server.client(key="P", secret="s").head_object, Bucket="pub", Key="none") == \
        ("403", 403)


def test_regions(server):
    server.admin("POST", "bucket", {"name": "far", "region": "eu-west-1"})

    def outcome(region, bucket):
        """What a client of this region sees first, without boto3's own redirector."""
        s3 = server.client(region_name=region)
        seen = []
        s3.meta.events.register_first("needs-retry.s3", lambda response, **_: seen.append(response))
        s3.list_objects_v2(Bucket=bucket)
        http, parsed = seen[0]
        return (http.status_code, parsed.get("Error", {}).get("Code"),
                http.headers.get("x-amz-bucket-region"), parsed.get("Error", {}).get("Region"))

    assert outcome("eu-west-1", "pub") == \
        (400, "AuthorizationHeaderMalformed", "us-east-1", "us-east-1")
    assert outcome("us-east-1", "far")[:3] == (301, "PermanentRedirect", "eu-west-1")
    assert outcome("eu-west-1", "far")[0] == 200
    there = server.client(region_name="eu-west-1")
    assert there.get_bucket_location(Bucket="far")["LocationConstraint"] == "eu-west-1"
    assert server.client().get_bucket_location(Bucket="pub")["LocationConstraint"] is None


def test_clock(server):
    server.admin("POST", "config", {"clock_offset": 3600})
    with pytest.raises(ClientError) as error:
        server.client().list_objects_v2(Bucket="pub")
    answer = error.value.response
    assert answer["Error"]["Code"] == "RequestTimeTooSkewed"
    assert "ServerTime" in answer["Error"]
    server.admin("POST", "config", {"clock_offset": 0})
    server.client().list_objects_v2(Bucket="pub")


def parts(s3, sizes, order=None):
    """Uploads parts of these sizes and completes them."""
    upload = dict(Bucket="pub", Key="m",
                  UploadId=s3.create_multipart_upload(Bucket="pub", Key="m")["UploadId"])
    done = [{"PartNumber": n, "ETag": s3.upload_part(PartNumber=n, Body=bytes(size), **upload)
             ["ETag"]} for n, size in enumerate(sizes, 1)]
    done = [done[i] for i in order] if order else done
    s3.complete_multipart_upload(MultipartUpload={"Parts": done}, **upload)
    return lambda: s3.complete_multipart_upload(MultipartUpload={"Parts": done}, **upload)


def test_dialects(server):
    five, six = 5 << 20, 6 << 20
    s3 = server.client()
    exclusive = with_header(server.client(), "If-None-Match", "*")
    quoted = with_header(server.client(), "If-Match", s3.put_object(
        Bucket="pub", Key="k", Body=b"1")["ETag"])

    def play(name):
        server.admin("POST", "config", {"as": name})

    play("minio")
    again = parts(s3, [five, 1])
    assert code(again)[0] == "NoSuchUpload"
    play("r2")
    assert code(parts, s3, [five, six, 1])[0] == "InvalidPart"
    server.faults({"match": {"op": "GetObject"}, "do": {"code": "SlowDown"}})
    assert code(s3.get_object, Bucket="pub", Key="k") == ("SlowDown", 403)
    server.admin("DELETE", "faults")
    play("gcs")
    upload = s3.create_multipart_upload(Bucket="pub", Key="m")["UploadId"]
    assert code(s3.upload_part_copy, Bucket="pub", Key="m", UploadId=upload, PartNumber=1,
                CopySource="pub/k") == ("NotImplemented", 501)
    play("rgw")
    parts(s3, [five, 1], order=[1, 0])()
    assert code(exclusive.put_object, Bucket="pub", Key="k", Body=b"")[1] == 412
    exclusive.copy_object(Bucket="pub", Key="k", CopySource="pub/m")
    server.client(region_name="anywhere").list_objects_v2(Bucket="pub")
    s3.put_object(Bucket="pub", Key="k", Body=b"1")
    assert code(quoted.put_object, Bucket="pub", Key="k", Body=b"2") == \
        ("PreconditionFailed", 412)
    play("aws")
    quoted.put_object(Bucket="pub", Key="k", Body=b"2")
    assert code(server.client(aws_session_token="bogus").list_objects_v2, Bucket="pub")[0] == \
        "InvalidToken"


def test_log(server):
    s3 = server.client()
    s3.put_object(Bucket="pub", Key="ö k", Body=b"0123456789")
    server.admin("DELETE", "log")
    s3.get_object(Bucket="pub", Key="ö k", Range="bytes=2-")["Body"].read()
    (record,) = server.log()
    assert (record["op"], record["method"], record["bucket"], record["key"]) == \
        ("GetObject", "GET", "pub", "ö k")
    assert (record["status"], record["range"], record["bytes_out"]) == (206, [2, 9], 8)
    assert record["headers"]["authorization"] == "..." and record["access_key"] == "AKIDS3D"
    assert record["t"] <= record["t_first"] <= record["t_end"] and record["concurrent"] == 1


def test_admin_refuses_what_it_does_not_know(server):
    for call, body in (("config", {"pase": 1}), ("bucket", {"name": "B"}), ("nothing", {}),
                       ("synth", {"bucket": "pub", "format": "f%02d", "count": 101})):
        with pytest.raises(urllib.error.HTTPError):
            server.admin("POST", call, body)
