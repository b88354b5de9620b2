# SPDX-License-Identifier: Apache-2.0
"""The daemon is killed while files are written: what was closed is whole, nothing is left over."""
import os
import random
import signal
import threading
import time

import pytest

from support.data import content
from support.objects import body, exists, keys, uploads, wait_until

MIB = 1 << 20


def kill_daemon(mounted):
    os.kill(mounted.pid, signal.SIGKILL)
    mounted.wait()
    mounted.kill()
    mounted.finish(exit_code=-signal.SIGKILL)


def test_the_next_mount_aborts_what_was_left(mount, s3, bucket):
    mounted = mount(options={"upload_limit": "20M"})
    fd = os.open(mounted / "f", os.O_CREAT | os.O_WRONLY)
    os.write(fd, content("left", 24 * MIB))
    wait_until(lambda: uploads(s3, bucket), "an upload to begin")
    other = s3.create_multipart_upload(Bucket=bucket, Key="f")["UploadId"]
    kill_daemon(mounted)
    with pytest.raises(OSError):
        os.close(fd)
    assert not exists(s3, bucket, "f")
    assert len(uploads(s3, bucket)) == 2
    mount()
    wait_until(lambda: len(uploads(s3, bucket)) == 1, "ours to be aborted")
    assert uploads(s3, bucket)[0]["UploadId"] == other
    s3.abort_multipart_upload(Bucket=bucket, Key="f", UploadId=other)


@pytest.mark.parametrize("seed", range(4))
def test_what_was_closed_is_whole(mount, s3, bucket, seed):
    rng = random.Random(seed)
    mounted = mount(options={"upload_limit": "100M"})
    device = os.stat(mounted.mount_point).st_dev
    closed, begun = {}, {}

    def write(number):
        for turn in range(1000):
            name = "w%d-%d" % (number, turn)
            begun[name] = data = content("%d%s" % (seed, name), (1000, 6 * MIB, 20 * MIB)[turn % 3])
            try:
                with open(mounted / name, "wb") as file:
                    if os.fstat(file.fileno()).st_dev != device:
                        return  # the dead mount is off: this is the directory below it
                    file.write(data)
            except OSError:
                return
            closed[name] = data

    threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(rng.uniform(0.1, 1.5))
    kill_daemon(mounted)
    for thread in threads:
        thread.join()
    assert len(closed) < len(begun), "nothing was in flight"
    there = {key: body(s3, bucket, key) for key in keys(s3, bucket)}
    assert set(closed) <= set(there) <= set(begun)
    for key, data in there.items():
        assert data == begun[key], key
    mount()
    wait_until(lambda: not uploads(s3, bucket), "unfinished uploads to be aborted")
