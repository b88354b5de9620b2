# SPDX-License-Identifier: Apache-2.0
"""Faults of listings and lookups: every name, or an errno; never an empty or a short directory.

Numbers are rows of faults.md.
"""
import errno
import os
import time

import pytest

from support.data import MIB
from support.keys import put_all

pytestmark = pytest.mark.s3d_only("scripted faults")

PATIENCE_S = 20
COUNT = 2500
XML_ERROR = '<?xml version="1.0"?><Error><Code>%s</Code><Message>x</Message></Error>'
PROLOG = '<?xml version="1.0" encoding="UTF-8"?>'
LIST_BODY = ('<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
             "<EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>")
LIST_HEAD = PROLOG + LIST_BODY
LIST_TAIL = "</ListBucketResult>"
ENTRY = ("<Contents><Key>dir/%s</Key><Size>%s</Size><ETag>%s</ETag>"
         "<LastModified>%s</LastModified></Contents>")

TRANSIENT = {
    "500": {"status": 500, "code": "InternalError"},
    "503 SlowDown": {"status": 503, "code": "SlowDown"},
    "504 of a proxy": {"status": 504, "body": "<html>timeout</html>"},
    "200 with an error document": {"status": 200, "body": XML_ERROR % "InternalError"},  # 2
    "200 with another document": {"status": 200, "body": "<html><body>login</body></html>"},
    "200 with nothing": {"status": 200, "body": ""},
    "cut in the XML": {"cut_after": 2000},
    "reset in the XML": {"reset_after": 2000},
    "XML that ends too early": {"status": 200, "body": LIST_HEAD + "<Contents><Key>dir/a"},
    "a stall before the first byte": {"stall_after": -1},
    "a stall in the XML": {"stall_after": 2000},
}

# Pages that never end the listing, or lie about it: EIO or every name, never a part. (25)
BAD_PAGING = {
    "the same token again": {"list": {"same_token": True}},
    "truncated without a token": {"list": {"no_token": True}},
}

# A server whose pages look odd and are complete. (25)
ODD_PAGING = {
    "an empty page that is truncated": {"list": {"empty_page": True}},
    "no encoding of names": {"list": {"no_encoding": True}},
    "the encoding told last": {"list": {"encoding_last": True}},
}

# What is too much or forbidden in a listing. (12)
HOSTILE = {
    "a DOCTYPE": '<?xml version="1.0"?><!DOCTYPE x SYSTEM "file:///etc/passwd">' + LIST_BODY
                 + LIST_TAIL,
    "an entity bomb": '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">' + "".join(
        '<!ENTITY %s "%s">' % (chr(98 + n), "&%s;" % chr(97 + n) * 10) for n in range(9))
        + "]><ListBucketResult><Contents><Key>&j;</Key></Contents></ListBucketResult>",
    "a long name": LIST_HEAD + ENTRY % ("k" * (10 * MIB), 1, "&quot;x&quot;",
                                        "2026-01-01T00:00:00.000Z") + LIST_TAIL,
}


@pytest.fixture
def names(server, bucket):
    """A directory of three pages."""
    server.synth(bucket, prefix="dir/", format="f%05d", count=COUNT, size=10)
    server.clear_log()
    return ["f%05d" % number for number in range(COUNT)]


@pytest.fixture
def faulty(mount):
    """A mount that may complain, with a short op_timeout."""
    def make(**options):
        mounted = mount(options={"op_timeout": "1s", **options})
        mounted.tolerate(".")
        return mounted
    return make


def play(server, what, count=1, op="ListObjectsV2", **match):
    server.faults({"name": "fault", "match": {"op": op, "query_has": "prefix=dir", **match},
                   "count": count, "do": what})


def list_error(path):
    """The errno with which a listing ends."""
    begin = time.monotonic()
    with pytest.raises(OSError) as error:
        os.listdir(path)
    assert time.monotonic() - begin < PATIENCE_S
    return error.value.errno


@pytest.mark.parametrize("fault", TRANSIENT)
@pytest.mark.parametrize("count", [1, 3])
def test_a_listing_does_not_show(faulty, server, names, fault, count):
    mounted = faulty(op_timeout="6s")
    (mounted / "dir").stat()
    play(server, TRANSIENT[fault], count=count)
    assert sorted(os.listdir(mounted / "dir")) == names


@pytest.mark.parametrize("fault", TRANSIENT)
def test_a_listing_that_fails_for_good_is_eio(faulty, server, names, fault):
    mounted = faulty()
    (mounted / "dir").stat()
    play(server, TRANSIENT[fault], count=0)
    assert list_error(mounted / "dir") == errno.EIO
    server.clear_faults()
    assert sorted(os.listdir(mounted / "dir")) == names


@pytest.mark.parametrize("fault", TRANSIENT)
def test_a_second_page_that_fails_for_good_is_eio_and_not_a_short_directory(
        faulty, server, names, fault):
    mounted = faulty()
    (mounted / "dir").stat()
    play(server, TRANSIENT[fault], count=0, query_has="continuation-token")
    assert list_error(mounted / "dir") == errno.EIO


@pytest.mark.parametrize("fault", BAD_PAGING)
def test_a_listing_that_never_ends_is_eio(faulty, server, names, fault):
    mounted = faulty()
    (mounted / "dir").stat()
    play(server, BAD_PAGING[fault], count=0)
    assert list_error(mounted / "dir") == errno.EIO
    assert len(server.log("ListObjectsV2")) < 20


@pytest.mark.parametrize("fault", ODD_PAGING)
def test_every_name_is_shown_once_over(faulty, server, names, fault):
    mounted = faulty()
    (mounted / "dir").stat()
    play(server, ODD_PAGING[fault], count=2)
    assert sorted(os.listdir(mounted / "dir")) == names


def test_keys_that_come_twice_are_shown_once(faulty, server, bucket):
    server.synth(bucket, prefix="dir/", format="f%05d", count=400, size=10)
    mounted = faulty()
    (mounted / "dir").stat()
    play(server, {"list": {"duplicate": True}}, count=0)
    found = os.listdir(mounted / "dir")
    assert len(found) == len(set(found)) == 400


def test_a_page_of_more_keys_than_were_asked_for_is_eio(faulty, server, names):  # 12
    mounted = faulty()
    (mounted / "dir").stat()
    play(server, {"list": {"duplicate": True}}, count=0)
    assert list_error(mounted / "dir") == errno.EIO


def test_unsorted_keys_are_merged_or_eio(faulty, server, names):
    mounted = faulty()
    (mounted / "dir").stat()
    play(server, {"list": {"unsorted": True}}, count=0)
    try:
        assert sorted(os.listdir(mounted / "dir")) == names
    except OSError as error:
        assert error.errno == errno.EIO


@pytest.mark.parametrize("fault", ["no_encoding", "encoding_last"])
def test_names_with_percent_signs_survive_a_server_with(faulty, server, s3, bucket, fault):
    names = ["100%", "a%2Fb", "plus+", "space ", "\u00e4", "a&b<c>"]
    put_all(s3, bucket, ["dir/" + name for name in names])
    mounted = faulty()
    play(server, {"list": {fault: True}}, count=0)
    assert sorted(os.listdir(mounted / "dir")) == sorted(names)


@pytest.mark.alone
@pytest.mark.parametrize("fault", HOSTILE)
def test_a_hostile_listing_is_eio_in_little_memory(faulty, server, names, fault):
    mounted = faulty()
    (mounted / "dir").stat()
    before = mounted.peak_rss()
    play(server, {"status": 200, "body": HOSTILE[fault]}, count=0)
    assert list_error(mounted / "dir") == errno.EIO
    assert mounted.peak_rss() - before < 64 * MIB


@pytest.mark.alone
@pytest.mark.parametrize("body", ["<a>", "<Contents><Key>dir/x</Key></Contents>", "<!-- c -->"],
                         ids=["depth", "entries", "comments"])
def test_an_endless_listing_is_eio_in_little_memory(faulty, server, names, body):
    mounted = faulty()
    (mounted / "dir").stat()
    before = mounted.peak_rss()
    play(server, {"status": 200, "body": LIST_BODY + body * 5000, "body_repeat": 3000}, count=0)
    assert list_error(mounted / "dir") == errno.EIO
    assert mounted.peak_rss() - before < 64 * MIB


@pytest.mark.parametrize("size, etag, date", [
    ("-1", "&quot;x&quot;", "2026-01-01T00:00:00.000Z"),
    ("99999999999999999999999", "&quot;x&quot;", "2026-01-01T00:00:00.000Z"),
    ("12x", "&quot;x&quot;", "2026-01-01T00:00:00.000Z"),
    ("5", "&quot;x&quot;", "99999-99-99T99:99:99Z"),
    ("5", "&quot;x&quot;", "yesterday"),
    ("5", "&quot;a&#13;&#10;X-Evil: 1&quot;", "2026-01-01T00:00:00.000Z"),
    ("5", "", ""),
])
def test_an_absurd_entry_does_not_hide_its_siblings(  # 27
        faulty, server, s3, bucket, size, etag, date):
    put_all(s3, bucket, ["dir/a", "dir/b"])
    mounted = faulty()
    play(server, {"list": {"raw_entries": ENTRY % ("zz", size, etag, date)}}, count=0)
    found = os.listdir(mounted / "dir")
    assert {"a", "b"} <= set(found) <= {"a", "b", "zz"}
    mounted.shell("ls -l dir || true")


def test_a_control_character_in_the_xml_does_not_hide_its_siblings(  # 26
        faulty, server, s3, bucket):
    put_all(s3, bucket, ["dir/a", "dir/m\x01m", "dir/z"])
    mounted = faulty()
    play(server, {"list": {"no_encoding": True}}, count=0)
    try:
        assert {"a", "z"} <= set(os.listdir(mounted / "dir"))
    except OSError as error:
        assert error.errno == errno.EIO


@pytest.mark.parametrize("op", ["HeadObject", "ListObjectsV2"])
@pytest.mark.parametrize("status", [500, 503])
def test_a_lookup_survives_a_transient(faulty, server, s3, bucket, op, status):
    put_all(s3, bucket, {"file": b"1234567"})
    mounted = faulty()
    server.faults({"name": "fault", "match": {"op": op}, "count": 1, "do": {"status": status}})
    assert (mounted / "file").stat().st_size == 7


@pytest.mark.parametrize("op", ["HeadObject", "ListObjectsV2"])
def test_a_lookup_that_fails_for_good_is_eio_and_never_enoent(faulty, server, bucket, op):
    mounted = faulty()
    server.faults({"name": "fault", "match": {"op": op}, "count": 0,
                   "do": {"status": 500, "code": "InternalError"}})
    with pytest.raises(OSError) as error:
        os.stat(mounted / "nothing")
    assert error.value.errno == errno.EIO


def test_a_bucket_that_goes_away_is_eio_and_not_an_empty_directory(faulty, server, s3, bucket):
    put_all(s3, bucket, ["dir/file"])
    mounted = faulty()
    (mounted / "dir").stat()
    play(server, {"status": 404, "code": "NoSuchBucket"}, count=0)
    assert list_error(mounted / "dir") == errno.EIO  # readdir(3) would take ENOENT for the end


def test_a_listing_that_is_denied_is_eacces(faulty, server, s3, bucket):
    put_all(s3, bucket, ["dir/file"])
    mounted = faulty()
    (mounted / "dir").stat()
    play(server, {"status": 403, "code": "AccessDenied"}, count=0)
    assert list_error(mounted / "dir") == errno.EACCES
