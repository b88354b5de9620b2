#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes sigv4_cases.inc: the facts of AWS's public signing test suite (v4, header form).

    make_sigv4_cases.py SUITE_DIRECTORY > sigv4_cases.inc

SUITE_DIRECTORY has a folder a case with context.json, request.txt and header-signature.txt. All
cases share keys, region, service and time; that is checked here and written in test_sign.c.
"""
import json
import pathlib
import sys

COMMON = {
    "region": "us-east-1", "service": "service", "timestamp": "2015-08-30T12:36:00Z",
}
ACCESS_KEY = "AKIDEXAMPLE"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


def quoted(text):
    return '"%s"' % "".join(
        chr(c) if 32 <= c < 127 and chr(c) not in '"\\?' else "\\%03o" % c
        for c in text.encode())


def parse(text):
    head, _, body = text.partition("\n\n")
    lines = head.split("\n")
    method, rest = lines[0].split(" ", 1)
    target = rest.rsplit(" ", 1)[0]
    headers = []
    for line in lines[1:]:
        if line.startswith(" "):
            headers[-1][1] += "\n" + line
        elif line:
            headers.append(line.split(":", 1))
    return method, target, headers, body


def emit(case):
    context = json.loads((case / "context.json").read_text())
    credentials = context["credentials"]
    for name, value in COMMON.items():
        assert context[name] == value, (case, name)
    assert credentials["access_key_id"] == ACCESS_KEY, case
    assert credentials["secret_access_key"] == SECRET_KEY, case
    method, target, headers, body = parse((case / "request.txt").read_text())
    path, _, query = target.partition("?")
    token = credentials.get("token")
    if context.get("omit_session_token"):
        token = None
    print("{")
    print("\t.name = %s," % quoted(case.name))
    print("\t.normalize = %s," % ("true" if context["normalize"] else "false"))
    print("\t.sign_body = %s," % ("true" if context["sign_body"] else "false"))
    print("\t.method = %s,\n\t.path = %s,\n\t.query = %s," % (
        quoted(method), quoted(path), quoted(query)))
    print("\t.headers = {%s}," % ", ".join(
        "{%s, %s}" % (quoted(n), quoted(v)) for n, v in headers))
    if token:
        print("\t.token = %s," % quoted(token))
    if body:
        print("\t.body = %s," % quoted(body))
    print("\t.signature = %s," % quoted((case / "header-signature.txt").read_text().strip()))
    print("},")


def main():
    print("/* Written by make_sigv4_cases.py; do not edit. */")
    for case in sorted(pathlib.Path(sys.argv[1]).iterdir()):
        emit(case)


main()
