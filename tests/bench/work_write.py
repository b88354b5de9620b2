# SPDX-License-Identifier: Apache-2.0
"""Workloads that write. What was written is fetched from the server and compared."""
import hashlib
import json
import os
import subprocess
import time

import content
import peers
from mounts import Cut, Failed, run_all
from work import GEN, Work, fio_job, rates, wait_until_stored


class Written(Work):
    """A work whose objects lie below one prefix, which is emptied around each cell."""

    prefix, size, count = None, 0, 1

    def prepare(self, cell):
        cell.server.remove(self.prefix)

    def directory(self, cell):
        os.makedirs(cell.path(self.prefix), exist_ok=True)
        return cell.path(self.prefix)

    def bytes_moved(self):
        return self.size * self.count

    def after(self, cell):
        try:
            if cell.first and not cell.empty and not cell.failed:
                self.check(cell)
        finally:
            cell.server.set_profile()
            cell.server.remove(self.prefix)

    def check(self, cell):
        raise NotImplementedError


class WriteFile(Written):
    """One file from its first byte until it is stored; over: an older one is there."""

    def __init__(self, prefix, size, over=False):
        self.prefix, self.size, self.over = prefix, size, over
        self.serial = 0

    def prepare(self, cell):
        super().prepare(cell)
        self.serial += 1  # s3d brings no removed key back by synth
        self.key = f"{self.prefix}file{self.serial}"
        if self.over:
            cell.server.synth(key=self.key, size=self.size - content.MIB, seed=3)
            if self.key not in cell.server.sizes(self.prefix):
                raise Failed("the object to be overwritten is not there")

    def timed(self, cell):
        self.directory(cell)
        _, _, text = run_all([[*GEN, "write", cell.path(self.key), str(self.size), "0"]],
                             cell.limit_s)
        found = json.loads(text)
        stored = wait_until_stored(cell, self.prefix, {self.key: self.size}, found["end"])
        return rates(self.size, stored - found["begin"]) | {
            "close_s": found["end"] - found["written"],
            "close_mb_per_s": self.size / 1e6 / (found["end"] - found["begin"])}

    def sources(self, cell, count):
        """Files of size/count bytes, in memory if there is some; kept for the next cell."""
        path = cell.scratch / f"source-{self.size // count}"
        if not path.exists():
            with open(path, "wb") as out:
                for piece in content.Large(self.size // count).pieces():
                    out.write(piece)
        subprocess.run(["cat", str(path)], stdout=subprocess.DEVNULL, check=True)
        return [path] * count

    def client(self, cell):
        key = self.key
        if cell.peer.name == "curl":
            sources = self.sources(cell, peers.CURL_CONNECTIONS[cell.profile])
            seconds, cpu_s, _ = run_all(peers.curl_writes(cell.server, sources, self.prefix),
                                        cell.limit_s, cell.environment)
            return rates(self.size, seconds, cpu_s)
        source = self.sources(cell, 1)[0]
        if cell.peer.name == "boto3":
            _, _, text = run_all([peers.boto3_command(cell.server, "upload", key, source)],
                                 cell.limit_s, cell.environment)
            seconds, cpu_s = map(float, text.split())
        else:
            seconds, cpu_s, _ = run_all([peers.awscli_command(cell.server, "upload", key, source)],
                                        cell.limit_s, cell.environment)
        return rates(self.size, seconds, cpu_s)

    def check(self, cell):
        if cell.peer.name == "curl":
            return  # its objects are not the file
        expected = hashlib.sha256()
        for piece in content.Large(self.size).pieces():
            expected.update(piece)
        cell.server.set_profile()
        with subprocess.Popen(["curl", "-sSf", "--noproxy", "*", *cell.server.curl_trust(),
                               cell.server.url(self.key)],
                              stdout=subprocess.PIPE) as fetched:
            found = hashlib.file_digest(fetched.stdout, "sha256").hexdigest()
        if found != expected.hexdigest():
            raise Failed("WRONG DATA: the stored object is another one")


class FioVerify(Written):
    """fio writes a file through the mount, and its --verify reads it back after the close."""

    def __init__(self, prefix, size):
        self.prefix, self.size = prefix, size

    def timed(self, cell):
        path = os.path.join(self.directory(cell), "file")
        common = {"size": self.size, "bs": "1M", "verify": "crc32c", "verify_interval": "4k"}
        write = fio_job(path, rw="write", do_verify=0, fallocate="none", refill_buffers=1,
                        create_on_open=1, **common)
        begin = time.monotonic()
        run_all([write], cell.limit_s)
        stored = wait_until_stored(cell, self.prefix, {self.prefix + "file": self.size},
                                   time.monotonic())
        seconds, _, _ = run_all([fio_job(path, rw="read", verify_fatal=1, **common)], cell.limit_s)
        return rates(self.size, stored - begin) | {"read_mb_per_s": self.size / 1e6 / seconds,
                                                   "moved_bytes": 2 * self.size}

    def check(self, cell):
        """fio has, in every round."""


class Creates(Written):
    """New small files by some threads, in one directory or in one of each thread's own; no further
    one is begun after so many seconds."""

    def __init__(self, prefix, count, size, threads, seconds, own=False):
        self.prefix, self.count, self.size = prefix, count, size
        self.threads, self.seconds, self.own = threads, seconds, own

    def directory(self, cell):
        found = super().directory(cell)
        for thread in range(self.threads if self.own else 0):
            os.mkdir(os.path.join(found, f"d{thread}"))
        return found

    def timed(self, cell):
        directory = self.directory(cell)
        _, _, text = run_all([[*GEN, "create", directory, str(self.count), str(self.size),
                               str(self.threads), str(self.seconds), str(int(self.own))]],
                             cell.limit_s)
        found = json.loads(text)
        done, cell.made = found["done"], {self.prefix + name: number
                                          for name, number in found["made"]}
        stored = wait_until_stored(cell, self.prefix, dict.fromkeys(cell.made, self.size),
                                   found["end"])
        seconds = stored - found["begin"]
        return rates(done * self.size, seconds) | {"files_per_s": done / seconds, "done": done}

    def check(self, cell):
        cell.server.set_profile()
        contents = content.Small(self.count, self.size)
        for key, body in cell.server.bodies(cell.made):
            if body != contents.of(cell.made[key], self.size):
                raise Failed(f"WRONG DATA: {key} is stored otherwise")


class CopyIn(Written):
    """cp -r of a tree into the mount; cut off by the time limit, what is stored counts."""

    def __init__(self, prefix, tree):
        self.prefix, self.tree = prefix, tree

    def prepare(self, cell):
        super().prepare(cell)
        self.tree.make_source(cell.scratch / "tree")

    def expected(self):
        return {self.prefix + "tree/" + key.removeprefix(self.tree.prefix): size
                for key, size in self.tree.entries()}

    def timed(self, cell):
        begin = time.monotonic()
        source = cell.scratch / "tree"
        expected, cut = self.expected(), False
        try:
            run_all([["cp", "-r", str(source), self.directory(cell)]], cell.limit_s)
            stored = wait_until_stored(cell, self.prefix, expected, time.monotonic())
            done = list(expected)
        except Cut:
            cut, stored = True, time.monotonic()
            found = cell.server.sizes(self.prefix)
            done = [key for key, size in expected.items() if found.get(key) == size]
        seconds = stored - begin
        cell.done = done
        return rates(sum(expected[key] for key in done), seconds) | {
            "files_per_s": len(done) / seconds, "done": len(done), "cut": cut}

    def check(self, cell):
        cell.server.set_profile()
        contents = {self.prefix + "tree/" + key.removeprefix(self.tree.prefix): data
                    for key, data in self.tree.contents()}
        for key, body in cell.server.bodies(cell.done):
            if body != contents[key]:
                raise Failed(f"WRONG DATA: {key} is stored otherwise")
