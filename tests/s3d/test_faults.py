# SPDX-License-Identifier: Apache-2.0
"""Each scripted fault is seen by a client as it was asked for."""

import http.client
import socket
import struct
import time

import pytest
from botocore.exceptions import ClientError

BODY = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture
def planted(server):
    server.client().put_object(Bucket="pub", Key="k", Body=BODY)
    server.admin("DELETE", "log")
    return server


def fault(server, do, **more):
    server.faults({"name": "x", "match": {"op": "GetObject"}, "do": do, **more})


def get(server, path="/pub/k", method="GET", headers=()):
    """Status, headers, body as far as it came, and the error that ended it."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    error = None
    body = b""
    try:
        connection.request(method, path, headers=dict(headers))
        answer = connection.getresponse()
        while chunk := answer.read1(65536):
            body += chunk
        if answer.length:
            error = "cut"
    except http.client.IncompleteRead as e:
        body += e.partial
        error = "cut"
    except http.client.RemoteDisconnected:
        return None, None, b"", "closed"
    except ConnectionResetError:
        error = "reset"
        if "answer" not in locals():
            return None, None, b"", error
    except TimeoutError:
        error = "stalled"
        if "answer" not in locals():
            return None, None, b"", error
    finally:
        connection.close()
    return answer.status, answer.headers, body, error


def test_a_percentage_is_drawn_alike_each_time(planted):
    def play(name):
        planted.admin("DELETE", "faults")
        fault(planted, {"status": 500}, name=name, percent=20)
        return [get(planted)[0] for _ in range(300)]

    first = play("one")
    assert 30 <= first.count(500) <= 90
    assert play("one") == first
    assert play("another") != first


def test_status_code_and_retry_after(planted):
    fault(planted, {"status": 503, "code": "SlowDown", "retry_after": 2}, skip=1, count=2)
    assert [get(planted)[0] for _ in range(5)] == [200, 503, 503, 200, 200]
    assert planted.admin("GET", "faults")[0]["hits"] == 2
    fault(planted, {"status": 503, "code": "SlowDown", "retry_after": 2})
    _, headers, body, _ = get(planted)
    assert headers["Retry-After"] == "2" and b"<Code>SlowDown</Code>" in body
    assert [r["fault"] for r in planted.log("GetObject")][1] == "x"


def test_headers_set_and_dropped(planted):
    fault(planted, {"headers": {"ETag": '"other"', "Last-Modified": None,
                                "Content-Encoding": "gzip"}})
    _, headers, body, _ = get(planted)
    assert headers["ETag"] == '"other"' and "Last-Modified" not in headers
    assert headers["Content-Encoding"] == "gzip" and body == BODY


def test_no_content_length(planted):
    planted.faults({"match": {"op": "HeadObject"}, "do": {"headers": {"Content-Length": None}}})
    status, headers, _, _ = get(planted, method="HEAD")
    assert status == 200 and "Content-Length" not in headers
    fault(planted, {"headers": {"Content-Length": None}})
    status, headers, body, _ = get(planted)
    assert "Content-Length" not in headers and body == BODY


def test_wrong_content_length(planted):
    fault(planted, {"headers": {"Content-Length": str(len(BODY) + 10)}})
    _, headers, body, error = get(planted)
    assert headers["Content-Length"] == str(len(BODY) + 10)
    assert body == BODY and error == "cut"


def test_raw_body_and_repeat(planted):
    fault(planted, {"status": 200, "body": "<a>"})
    assert get(planted)[2] == b"<a>"
    fault(planted, {"status": 200, "body": "<a>", "body_repeat": 1000000})
    assert get(planted)[2] == b"<a>" * 1000000


def test_delay(planted):
    fault(planted, {"delay_ms": 300})
    begin = time.monotonic()
    assert get(planted)[2] == BODY
    assert time.monotonic() - begin >= 0.3


@pytest.mark.parametrize("at", [0, 1, 70000, len(BODY) - 1])
def test_cut_and_reset(planted, at):
    fault(planted, {"cut_after": at})
    assert get(planted)[2:] == (BODY[:at], "cut")
    fault(planted, {"reset_after": at})
    assert get(planted)[2:] == (BODY[:at], "reset")


def test_end_before_first_byte(planted):
    fault(planted, {"cut_after": -1})
    assert get(planted)[3] == "closed"
    fault(planted, {"reset_after": -1})
    assert get(planted)[3] == "reset"


@pytest.mark.parametrize("at", [-1, 0, 70000])
def test_stall(planted, at):
    fault(planted, {"stall_after": at})
    with planted.connect() as s:
        s.settimeout(0.7)
        s.sendall(b"GET /pub/k HTTP/1.1\r\nHost: x\r\n\r\n")
        got = b""
        with pytest.raises(TimeoutError):
            while True:
                got += s.recv(65536)
        if at < 0:
            assert got == b""
        else:
            assert got.split(b"\r\n\r\n", 1)[1] == BODY[:at]
        assert planted.log("GetObject")[0]["t_end"] is None
    for _ in range(100):
        if planted.log("GetObject")[0]["t_end"] is not None:
            break
        time.sleep(0.05)
    assert planted.log("GetObject")[0]["t_end"] is not None


def test_short_answers_agree_with_themselves(planted):
    fault(planted, {"short": 10})
    _, headers, body, _ = get(planted, headers={"Range": "bytes=100-199"})
    assert headers["Content-Range"] == f"bytes 100-189/{len(BODY)}"
    assert headers["Content-Length"] == "90" and body == BODY[100:190]


def test_flip(planted):
    fault(planted, {"flip_at": 5})
    _, _, body, _ = get(planted)
    assert [i for i in range(len(BODY)) if body[i] != BODY[i]] == [5]


def test_ranges_ignored_or_renamed(planted):
    fault(planted, {"ignore_range": True})
    status, headers, body, _ = get(planted, headers={"Range": "bytes=1-2"})
    assert (status, body) == (200, BODY) and "Content-Range" not in headers
    fault(planted, {"content_range": "bytes 5-9/100"})
    status, headers, body, _ = get(planted, headers={"Range": "bytes=0-4"})
    assert (status, headers["Content-Range"], body) == (206, "bytes 5-9/100", BODY[:5])


def test_close(planted):
    fault(planted, {"close": True})
    assert get(planted)[1]["Connection"] == "close"


def test_padding_headers(planted):
    fault(planted, {"header_bytes": 1 << 20})
    with planted.connect() as s:
        s.sendall(b"GET /pub/k HTTP/1.1\r\nHost: x\r\n\r\n")
        got = b""
        while chunk := s.recv(1 << 20):
            got += chunk
    head = got.split(b"\r\n\r\n", 1)[0]
    assert got.startswith(b"HTTP/1.1 200 ") and len(head) >= 1 << 20


def test_match_by_range_and_query(planted):
    planted.faults({"match": {"range_first": 7}, "do": {"status": 500}},
                   {"match": {"query_has": "prefix=zz"}, "do": {"status": 502}},
                   {"match": {"key_prefix": "other"}, "do": {"status": 504}})
    assert get(planted, headers={"Range": "bytes=7-8"})[0] == 500
    assert get(planted, headers={"Range": "bytes=8-8"})[0] == 206
    assert get(planted, path="/pub?prefix=zz")[0] == 502
    assert get(planted, path="/pub/other1")[0] == 504


def test_misspelt_fault_is_refused(planted):
    for wrong in ({"match": {"op": "GetObjekt"}, "do": {"status": 500}},
                  {"match": {"ops": "GetObject"}, "do": {"status": 500}},
                  {"do": {"statuss": 500}}):
        with pytest.raises(Exception, match="400"):
            planted.admin("POST", "faults", [wrong])


def upload(server, key=b"k2", size=8 << 20, anonymous_bucket=True):
    """A PUT by hand, unsigned: only for faults that play before rights matter."""
    s = server.connect()
    s.sendall(b"PUT /pub/%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (key, size))
    return s


def test_reset_in_request_body(server):
    server.faults({"match": {"op": "PutObject"}, "do": {"reset_request": 100000}})
    with upload(server) as s:
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            for _ in range(128):
                s.sendall(bytes(65536))
            s.recv(1)
    assert server.log("PutObject")[0]["bytes_in"] == 100000


def test_request_body_not_read(server):
    server.faults({"match": {"op": "PutObject"}, "do": {"stall_request": True}})
    with upload(server, size=64 << 20) as s:
        s.settimeout(0.7)
        with pytest.raises(TimeoutError):
            for _ in range(1024):
                s.sendall(bytes(65536))
    assert server.log("PutObject")[0]["bytes_in"] == 0


def test_lost_answers(server):
    """apply: the operation has happened, its answer has not."""
    client = server.client()
    server.faults({"match": {"op": "PutObject"}, "do": {"apply": True, "reset_after": -1},
                   "count": 1})
    with pytest.raises(Exception):
        client.put_object(Bucket="pub", Key="new", Body=b"1")
    assert client.get_object(Bucket="pub", Key="new")["Body"].read() == b"1"
    server.faults({"match": {"op": "PutObject"}, "do": {"status": 500}, "count": 1})
    with pytest.raises(ClientError):
        client.put_object(Bucket="pub", Key="never", Body=b"1")
    with pytest.raises(ClientError, match="404"):
        client.head_object(Bucket="pub", Key="never")


def test_blanks_before_the_outcome(server):
    client = server.client()
    client.put_object(Bucket="pub", Key="from", Body=b"1")
    server.faults({"match": {"op": "CopyObject"}, "do": {"blanks_ms": 500}})
    begin = time.monotonic()
    client.copy_object(Bucket="pub", Key="to", CopySource="pub/from")
    assert time.monotonic() - begin >= 0.5
    with pytest.raises(ClientError):
        client.copy_object(Bucket="pub", Key="to", CopySource="pub/none")
    assert server.log("CopyObject")[-1]["status"] == 200


def pages(server, query=""):
    return get(server, path=f"/pub?list-type=2{query}")[2].decode()


def test_list_faults(server):
    client = server.client()
    for key in ("a b", "c", "d"):
        client.put_object(Bucket="pub", Key=key, Body=b"")

    def listing(do, query="&max-keys=2"):
        server.faults({"match": {"op": "ListObjectsV2"}, "do": {"list": do}})
        return pages(server, query)

    def token(page):
        return page.split("<NextContinuationToken>")[1].split("<")[0]

    first = listing({"same_token": True})
    again = pages(server, "&max-keys=2&continuation-token=" + token(first))
    assert token(again) == token(first)
    page = listing({"no_token": True})
    assert "<IsTruncated>true" in page and "<NextContinuationToken>" not in page
    page = listing({"empty_page": True})
    assert "<IsTruncated>true" in page and "<Key>" not in page and token(page)
    assert listing({"duplicate": True}).count("<Key>c</Key>") == 2
    page = listing({"unsorted": True})
    assert page.index("<Key>c") < page.index("<Key>a b")
    assert "<x/>" in listing({"raw_entries": "<x/>"})
    encoded = "&encoding-type=url"
    assert "<Key>a+b</Key>" in listing({}, encoded)
    page = listing({"no_encoding": True}, encoded)
    assert "<Key>a b</Key>" in page and "EncodingType" not in page
    page = listing({"encoding_last": True}, encoded)
    assert page.index("EncodingType") > page.index("<Key>a+b</Key>")


def test_many_stalled_connections_hold_nobody_up(planted):
    planted.faults({"match": {"op": "GetObject", "query_has": "stall"},
                    "do": {"stall_after": 1000}})
    stalled = []
    for _ in range(600):
        s = socket.create_connection(("127.0.0.1", planted.port))
        s.sendall(b"GET /pub/k?stall HTTP/1.1\r\nHost: x\r\n\r\n")
        stalled.append(s)
    for _ in range(100):
        if len(planted.log("GetObject")) == 600:
            break
        time.sleep(0.1)
    assert max(r["concurrent"] for r in planted.log("GetObject")) == 600
    begin = time.monotonic()
    for _ in range(20):
        assert get(planted)[2] == BODY
    assert time.monotonic() - begin < 5
    for s in stalled:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.close()
    for _ in range(100):
        if planted.admin("GET", "stats")["in_flight"] == 1:
            break
        time.sleep(0.1)
    else:
        raise AssertionError([r for r in planted.log() if not r["t_end"]])


def test_broken_off_heads_are_forgotten(planted):
    for _ in range(10):
        with planted.connect() as s:
            s.sendall(b"GET /pub/k HTTP/1.1\r\nHost: ")
    assert get(planted)[2] == BODY
    assert len(planted.log()) == 1
