# SPDX-License-Identifier: Apache-2.0
"""payload=signed|unsigned: what vouches for the bytes of a PUT and of a part."""
import hashlib

import pytest

from support.data import MIB

pytestmark = pytest.mark.s3d_only("a log of headers")
UNSIGNED = "UNSIGNED-PAYLOAD"


def hashes_sent(server, op):
    return {entry["headers"]["x-amz-content-sha256"] for entry in server.log(op)}


@pytest.mark.parametrize("payload", [None, "signed", "unsigned"])
def test_payloads_are_signed_over_http_and_not_over_https_unless_told_otherwise(
        mount, server, payload):
    server.config(body_hash=False)  # over http the strict server refuses unsigned ones
    mounted = mount(options={"payload": payload} if payload else {})
    small, large = b"bytes that are vouched for", bytes(9 * MIB)
    (mounted / "small").write_bytes(small)
    (mounted / "large").write_bytes(large)
    expected = payload or ("unsigned" if server.kind == "s3d-tls" else "signed")
    if expected == "unsigned":
        assert hashes_sent(server, "PutObject") == {UNSIGNED}
        assert hashes_sent(server, "UploadPart") == {UNSIGNED}
    else:
        assert hashes_sent(server, "PutObject") == {hashlib.sha256(small).hexdigest()}
        assert hashes_sent(server, "UploadPart") == {
            hashlib.sha256(part).hexdigest() for part in (large[:8 * MIB], large[8 * MIB:])}
    assert (mounted / "small").read_bytes() == small

