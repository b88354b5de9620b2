# SPDX-License-Identifier: Apache-2.0
"""What names cost: which requests S3 sees for lookups, listings, walks and creates, and when."""
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.keys import put_all

pytestmark = pytest.mark.s3d_only("a request log")


@pytest.mark.concurrent
def test_names_of_one_directory_are_looked_up_side_by_side(mount, server, s3, bucket):
    names = ["f%d" % number for number in range(8)]
    put_all(s3, bucket, {"dir/" + name: b"7 bytes" for name in names})
    mounted = mount()
    os.stat(mounted / "dir")
    server.clear_log()
    server.config(first_byte_ms=1000, list_ms=1000)
    with ThreadPoolExecutor(len(names)) as pool:
        found = list(pool.map(lambda name: os.stat(mounted / "dir" / name).st_size, names))
    server.config(first_byte_ms=0, list_ms=0)
    assert found == [7] * len(names)
    assert max(entry["concurrent"] for entry in server.log("HeadObject")) >= 4
