#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes botocore_cases.inc: URLs and Authorization headers that botocore's S3SigV4Auth makes.

A second implementation that nobody here wrote signs what test_build.c asks of s3_build. The URLs
are quoted by Python's own rules. Run it again when a case is added:

    /usr/bin/python3 make_botocore_cases.py > botocore_cases.inc
    /usr/bin/python3 make_botocore_cases.py write > botocore_write_cases.inc

The second has the requests of test_sign_write.c: bodies, metadata, sources of copies.
"""
import datetime
import sys
from types import SimpleNamespace
from unittest import mock
from urllib.parse import quote

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

ODD_KEYS = [
    b"plain.txt", b"with space", b"plus+and&amp", b"100%", b"per%2fcent", b"tilde~.-_",
    b"a//b/../c/./d", b"/leading", b"..", b".", b"//", b"quote'\"*()!", "ä€\U0001f600".encode(),
    b"new\nline", b"tab\t", b"q?x=1#f", b"=;:@,$", b"[b]{c}|\\^`<>", b"trailing/", b"\x01\x7f",
    b"\xff\xfe bad utf-8 \xc3", b"%00", b"k" * 1024, bytes(range(1, 256)),
]


class FrozenTime(datetime.datetime):
    @classmethod
    def utcnow(cls):
        return datetime.datetime(2026, 8, 30, 12, 36, 0)


def literal(data):
    if isinstance(data, str):
        data = data.encode()
    return '"%s"' % "".join(
        chr(c) if 32 <= c < 127 and chr(c) not in '"\\?' else "\\%03o" % c for c in data)


ODD_VALUES = [
    "plain", "two  blanks", "1700000000.123456789", "h\u00e9llo \U0001f600", "a,b;c=d", "quote\"'",
    "=?UTF-8?B?w6k=?=", "%41+&", "x" * 200,
]
BODIES = [b"", b"abc", bytes(range(256))]


def sign(url, headers, method, token=None, region="us-east-1", body=b""):
    request = AWSRequest(method, url, headers=headers, data=body)
    # UNSIGNED-PAYLOAD is what pailfs sends over TLS; botocore must be told.
    request.context["client_config"] = SimpleNamespace(
        s3={"payload_signing_enabled": url.startswith("http://")})
    credentials = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token)
    botocore.auth.S3SigV4Auth(credentials, "s3", region).add_auth(request)
    return request.headers["Authorization"]


def emit(verb, url, fields, headers=None, method="GET", token=None, region="us-east-1"):
    print("{")
    print("\t.verb = %s," % verb)
    for name, value in fields.items():
        if isinstance(value, (bytes, str)):
            print("\t.%s = %s," % (name, literal(value)))
        else:
            print("\t.%s = %d," % (name, value))
    if isinstance(fields.get("key"), bytes):
        print("\t.key_length = %d," % len(fields["key"]))
    if isinstance(fields.get("prefix"), bytes):
        print("\t.prefix_length = %d," % len(fields["prefix"]))
    if token:
        print("\t.session_token = %s," % literal(token))
    print("\t.url = %s,\n\t.authorization = %s," % (
        literal(url), literal(sign(url, headers or {}, method, token, region))))
    print("},")


def emit_write(verb, url, fields, headers, method="PUT", body=b"", token=None, region="us-east-1"):
    print("{")
    print("\t.verb = %s," % verb)
    for name, value in fields.items():
        print("\t.%s = %s," % (name, literal(value)))
    for name in ("key", "source"):
        if name in fields:
            print("\t.%s_length = %d," % (name, len(fields[name])))
    if body:
        print("\t.body = %s,\n\t.body_length = %d," % (literal(body), len(body)))
    if token:
        print("\t.session_token = %s," % literal(token))
    if region != "us-east-1":
        print("\t.amazon = 1,")
    print("\t.url = %s,\n\t.authorization = %s," % (
        literal(url), literal(sign(url, headers, method, token, region, body))))
    print("},")


def main_write():
    print("/* Written by make_botocore_cases.py write; do not edit. */")
    for i, key in enumerate(ODD_KEYS):
        value, body = ODD_VALUES[i % len(ODD_VALUES)], BODIES[i % len(BODIES)]
        path = quote(key, safe="/~")
        emit_write("S3_PUT_OBJECT", "http://s3.localhost:9000/bucket/" + path,
                   {"key": key, "meta": value, "type": "text/x; a=\"b\"", "if_match": '"e"'},
                   {"Content-Type": "text/x; a=\"b\"", "If-Match": '"e"', "x-amz-meta-odd.name_": value},
                   body=body)
        emit_write("S3_COPY_OBJECT", "https://bucket.s3.eu-west-1.amazonaws.com/copy",
                   {"key": b"copy", "source": key},
                   {"x-amz-copy-source": "/bucket/" + path, "x-amz-metadata-directive": "COPY"},
                   region="eu-west-1", token="tok/en+with==")
        emit_write("S3_UPLOAD_PART", "http://s3.localhost:9000/bucket/" + path +
                   "?partNumber=17&uploadId=2~a%2Fb%2Bc%3D", {"key": key, "upload": b"2~a/b+c="}, {},
                   body=body)
        emit_write("S3_CREATE_MULTIPART", "http://s3.localhost:9000/bucket/" + path + "?uploads=",
                   {"key": key, "meta": value, "type": "a/b"},
                   {"Content-Type": "a/b", "x-amz-meta-odd.name_": value}, method="POST")


def main():
    print("/* Written by make_botocore_cases.py; do not edit. */")
    for key in ODD_KEYS:
        emit("S3_GET_OBJECT", "http://s3.localhost:9000/bucket/" + quote(key, safe="/~"),
             {"key": key, "if_match": '"abc"'},
             {"If-Match": '"abc"', "Range": "bytes=5-14"})
        emit("S3_HEAD_OBJECT", "https://bucket.s3.eu-west-1.amazonaws.com/" + quote(key, safe="/~"),
             {"key": key, "amazon": 1}, method="HEAD", region="eu-west-1", token="tok/en+with==")
        emit("S3_LIST", "http://s3.localhost:9000/bucket?continuation-token=%s&delimiter=%%2F"
             "&encoding-type=url&list-type=2&max-keys=1000&prefix=%s" % (
                 quote("1ueGc+/=", safe=""), quote(key, safe="~")),
             {"prefix": key, "token": "1ueGc+/="})


with mock.patch.object(botocore.auth.datetime, "datetime", FrozenTime):
    main_write() if sys.argv[1:] == ["write"] else main()
