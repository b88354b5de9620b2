# SPDX-License-Identifier: Apache-2.0
"""What the workloads find in the bucket: each is loaded once a server, and knows its own sums.

entries() is [(key, bytes)]; every key begins with prefix. For the peer "local" the same names are
made as sparse files.
"""
import hashlib
import os
import subprocess

import content

COLD_BYTES = 64 << 20
NAME_BYTES = 1000  # of the objects of which only the names are used


class Data:
    prefix = None
    stored = True  # bodies are kept by the server: freed when no row needs them any more

    def entries(self):
        raise NotImplementedError

    def load(self, server, scratch):
        raise NotImplementedError

    def make_local(self, directory):
        for key, size in self.entries():
            path = os.path.join(directory, key)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as out:
                out.truncate(size)


class Files(Data):
    """Large files of random bytes: count of size bytes each."""

    def __init__(self, prefix, count, size):
        self.prefix, self.count, self.size = prefix, count, size
        self.sums = {}

    def entries(self):
        return [(f"{self.prefix}{number}", self.size) for number in range(self.count)]

    def load(self, server, scratch):
        path = scratch / "upload"
        for number, (key, size) in enumerate(self.entries()):
            digest = hashlib.sha256()
            with open(path, "wb") as out:
                for piece in content.Large(size, number + 1).pieces():
                    digest.update(piece)
                    out.write(piece)
            self.sums[key] = digest.hexdigest()
            server.load_file(key, path, self.sums[key])
            path.unlink()


class Stamped(Data):
    """One file as fio writes it: each 4 KiB carries its place and its CRC."""

    def __init__(self, prefix, size):
        self.prefix, self.size = prefix, size
        self.key = prefix + "stamped"

    def entries(self):
        return [(self.key, self.size)]

    def load(self, server, scratch):
        path = scratch / "stamped"
        subprocess.run(
            ["fio", "--name=stamp", f"--filename={path}", f"--size={self.size}", "--rw=write",
             "--bs=1M", "--verify=crc32c", "--verify_interval=4k", "--do_verify=0",
             "--fallocate=none", "--refill_buffers", "--verify_state_save=0"],
            check=True, stdout=subprocess.DEVNULL)
        with open(path, "rb") as text:
            digest = hashlib.file_digest(text, "sha256").hexdigest()
        server.load_file(self.key, path, digest)
        path.unlink()


class SmallFiles(Data):
    """count files of size bytes, as gen.py read expects them."""

    def __init__(self, prefix, count, size):
        self.prefix, self.count, self.size = prefix, count, size

    def entries(self):
        return [(f"{self.prefix}f{number:05d}", self.size) for number in range(self.count)]

    def load(self, server, scratch):
        contents = content.Small(self.count, self.size)
        server.load_many((key, contents.of(number, size))
                         for number, (key, size) in enumerate(self.entries()))


class ColdFiles(Data):
    """One large file in each of count directories."""

    stored = False

    def __init__(self, prefix, count):
        self.prefix, self.count = prefix, count

    def entries(self):
        return [(f"{self.prefix}d{number:02d}/file", COLD_BYTES) for number in range(self.count)]

    def load(self, server, scratch):
        for number, (key, size) in enumerate(self.entries()):
            server.synth(key=key, size=size, seed=(number + 1) << 40)


class Names(Data):
    """Objects for their names: count in each of so many directories."""

    stored = False

    def __init__(self, prefix, directories, count):
        self.prefix, self.directories, self.count = prefix, directories, count

    def places(self):
        if self.directories == 1:
            return [self.prefix]
        return [f"{self.prefix}d{number:04d}/" for number in range(self.directories)]

    def entries(self):
        return [(f"{place}f{number:07d}", NAME_BYTES) for place in self.places()
                for number in range(self.count)]

    def total(self):
        return self.directories * self.count

    def load(self, server, scratch):
        for place in self.places():
            server.synth(prefix=place, format="f%07d", count=self.count, size=NAME_BYTES, seed=1)


class Tree(Data):
    """Files of 0.5 to 300 KB in many directories, two levels deep."""

    def __init__(self, prefix, directories, count):
        self.prefix, self.directories, self.count = prefix, directories, count
        self.sizes = content.tree_sizes(count)

    def entries(self):
        found = []
        for number, size in enumerate(self.sizes):
            place = number % self.directories
            found.append((f"{self.prefix}a{place // 32:02d}/b{place % 32:02d}/f{number:05d}", size))
        return found

    def contents(self):
        """Yields (key, bytes)."""
        small = content.Small(self.count, max(self.sizes))
        for number, (key, size) in enumerate(self.entries()):
            yield key, small.of(number, size)

    def load(self, server, scratch):
        server.load_many(self.contents())

    def make_source(self, directory):
        """The tree as real files; false if it was there."""
        if directory.exists():
            return
        for key, data in self.contents():
            path = directory / key.removeprefix(self.prefix)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
