#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes auth_cases.inc: requests as boto3 puts them on the wire, signed by botocore.

The signer is a second implementation that nobody here wrote; test_auth.c feeds its requests to
the test server's verifier. Run it again when a case is added:

    /usr/bin/python3 make_auth_cases.py > auth_cases.inc
"""
import datetime
import io
import os
import sys
from unittest import mock
from urllib.parse import urlsplit

for name in [n for n in os.environ if n.startswith("AWS_") or "_CA_" in n]:
    del os.environ[name]

import boto3
import botocore.auth
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.config import Config
from botocore.credentials import Credentials

NOW = datetime.datetime(2026, 8, 30, 12, 36, 0)


class FrozenTime(datetime.datetime):
    @classmethod
    def utcnow(cls):
        return NOW


class Raw(io.BytesIO):
    def stream(self, *args, **kwargs):
        yield b""


def quoted(value):
    if isinstance(value, str):
        value = value.encode()
    text = "".join(
        chr(c) if 32 <= c < 127 and chr(c) not in '"\\?' else "\\%03o" % c for c in value)
    return '"%s"' % text


def emit(name, request, code=None):
    url = urlsplit(request.url)
    headers = [(k, v if isinstance(v, bytes) else str(v).encode())
               for k, v in request.headers.items()
               if k.lower() not in ("user-agent", "amz-sdk-invocation-id", "amz-sdk-request")]
    headers.append(("Host", url.netloc.encode()))
    body = request.body
    if hasattr(body, "read"):
        body = body.read()
    print("{")
    print("\t.name = %s,\n\t.method = %s, .tls = %s,\n\t.path = %s,\n\t.query = %s," % (
        quoted(name), quoted(request.method), "true" if url.scheme == "https" else "false",
        quoted(url.path), quoted(url.query)))
    if code:
        print("\t.code = %s," % quoted(code))
    print("\t.headers = {")
    for key, value in headers:
        print("\t\t{%s, %s}," % (quoted(key), quoted(value)))
    print("\t},")
    if body:
        body = body if isinstance(body, bytes) else bytes(body)
        print("\t.body = %s,\n\t.body_len = %d," % (quoted(body), len(body)))
    print("},")


def client(tls=False, token=None, style="path"):
    scheme = "https" if tls else "http"
    result = boto3.client(
        "s3", region_name="us-east-1", endpoint_url="%s://s3.localhost:9000" % scheme,
        aws_access_key_id="AKIDTOKEN" if token else "AKIDEXAMPLE",
        aws_secret_access_key="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        aws_session_token=token,
        config=Config(s3={"addressing_style": style}, retries={"max_attempts": 0}))
    return result


def capture(name, call, **kwargs):
    s3 = client(**kwargs)

    def before_send(request, **_):
        emit(name, request)
        return AWSResponse(request.url, 200, {"ETag": '"x"'}, Raw(b""))

    s3.meta.events.register("before-send.s3", before_send)
    try:
        call(s3)
    except Exception as error:  # an empty answer is not what every parser expects
        print("%s: %s" % (name, error), file=sys.stderr)


def sign_as_spelled(path):
    """A client that signs the path as it spells it, which is not S3's canonical spelling."""
    request = AWSRequest("GET", "http://s3.localhost:9000" + path)
    credentials = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
    botocore.auth.S3SigV4Auth(credentials, "s3", "us-east-1").add_auth(request)
    emit("signed as spelled: " + path, request.prepare(), "SignatureDoesNotMatch")


ODD_KEYS = [
    "plain.txt", "with space", "plus+and&amp", "100%", "per%2fcent", "tilde~.-_", "a//b/../c/./d",
    "quote'\"*()!", "unicode-\u00e4\u20ac\U0001f600", "new\nline", "tab\t", "q?x=1#f", "=;:@,$",
    "[b]{c}|\\^`<>", "trailing/", "\u0001\u007f",
]


def main():
    print("/* Written by make_auth_cases.py; do not edit. */")
    with mock.patch.object(botocore.auth.datetime, "datetime", FrozenTime):
        for key in ODD_KEYS:
            capture("GET " + key.encode("unicode_escape").decode(),
                    lambda s3, key=key: s3.get_object(Bucket="bucket", Key=key))
            capture("list " + key.encode("unicode_escape").decode(),
                    lambda s3, key=key: s3.list_objects_v2(
                        Bucket="bucket", Prefix=key, Delimiter="/", StartAfter=key))
        capture("range and If-Match", lambda s3: s3.get_object(
            Bucket="bucket", Key="k", Range="bytes=0-9", IfMatch='"abc"'))
        capture("metadata with blanks", lambda s3: s3.put_object(
            Bucket="bucket", Key="k", Body=b"hello", Metadata={"a": "two  blanks", "b": "x"}))
        capture("session token", lambda s3: s3.head_object(Bucket="bucket", Key="k"),
                token="tok/en+with==")
        capture("TLS", lambda s3: s3.put_object(Bucket="bucket", Key="k", Body=b"hello"), tls=True)
        capture("virtual host", lambda s3: s3.get_object(Bucket="bucket", Key="a b"),
                style="virtual")
        capture("upload part", lambda s3: s3.upload_part(
            Bucket="bucket", Key="k", UploadId="2~x/y+z", PartNumber=2, Body=b"part"))
        capture("sub-resource without a value", lambda s3: s3.create_multipart_upload(
            Bucket="bucket", Key="k"))
        capture("delete objects", lambda s3: s3.delete_objects(
            Bucket="bucket", Delete={"Objects": [{"Key": "a"}]}))
        capture("trailing checksum", lambda s3: s3.put_object(
            Bucket="bucket", Key="k", Body=io.BytesIO(b"hello"), ChecksumAlgorithm="CRC32"),
            tls=True)
        for path in ("/bucket/a%2fb", "/bucket/%7Etilde", "/bucket/a%e4"):
            sign_as_spelled(path)


main()
