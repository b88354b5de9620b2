# SPDX-License-Identifier: Apache-2.0
"""SIGTERM while files are being stored: what was closed is stored, and nothing new is begun."""
import os
import signal
import threading

import pytest

from support.objects import body, keys, wait_until

WAIT_S = 40


@pytest.mark.s3d_only("answers that are held back")
def test_nothing_is_opened_for_writing_while_it_drains(mount, server, s3, bucket):
    mounted = mount()
    mounted.expect("is busy")
    root = os.open(mounted.path, os.O_RDONLY)
    server.faults({"match": {"op": "PutObject", "key": "f"}, "count": 1,
                   "do": {"delay_ms": 3000}})
    closed = []

    def store():
        try:
            (mounted / "f").write_bytes(b"stored")
            closed.append(True)
        except OSError:
            closed.append(False)

    thread = threading.Thread(target=store)
    thread.start()
    wait_until(lambda: server.log("PutObject", key="f"), "the publication", WAIT_S)
    mounted.send_signal(signal.SIGTERM)
    wait_until(lambda: "is busy" in mounted.log(), "the signal to be heard", WAIT_S)
    with pytest.raises(OSError):
        os.open("late", os.O_CREAT | os.O_WRONLY, dir_fd=root)
    thread.join()
    os.close(root)
    assert closed == [True]
    assert mounted.wait() == 0
    assert keys(s3, bucket) == ["f"]
    assert body(s3, bucket, "f") == b"stored"
