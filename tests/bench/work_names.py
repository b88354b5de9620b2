# SPDX-License-Identifier: Apache-2.0
"""Workloads on names: lists, walks, removals, and the copy of a tree out of the mount."""
import filecmp
import os
import shutil
import time

from data import Names
from mounts import Cut, Failed, run_all
from work import Work, rates


def count_lines(file):
    file.seek(0)
    return sum(piece.count(b"\n") for piece in iter(lambda: file.read(1 << 20), b""))


class ListNames(Work):
    """
    A program that prints a line a name, the name last; extra lines come first. All names are held
    against those that there are in the first round, later their number.
    """

    def __init__(self, data, command, extra=0):
        self.data, self.command, self.extra = data, command, extra

    def expected(self):
        return sorted(key.removeprefix(self.data.prefix) for key, _ in self.data.entries())

    def timed(self, cell):
        with open(cell.scratch / "names", "w+b") as out:
            place = cell.path(self.data.prefix.rstrip("/"))
            try:
                seconds, _, _ = run_all([[*self.command, place]], cell.limit_s, output=out)
            except Cut as cut:
                raise Cut(f"{cut}: fewer than {self.data.total() / cell.limit_s:,.0f} keys/s") \
                    from cut
            lines = count_lines(out) - self.extra
            if cell.first:
                out.seek(0)
                found = [line.split()[-1].decode() for line in out.readlines()[self.extra:]]
        os.unlink(cell.scratch / "names")
        if lines != self.data.total() or (cell.first and sorted(found) != self.expected()):
            raise Failed(f"WRONG NAMES: {lines}, expected {self.data.total()}")
        return {"keys_per_s": lines / seconds, "seconds": seconds, "done": lines}


class FindFiles(ListNames):
    """find -type f: each path is held against what is there. Cut off, it has found some."""

    def __init__(self, data):
        super().__init__(data, None)

    def timed(self, cell):
        with open(cell.scratch / "names", "w+b") as out:
            place = cell.path(self.data.prefix.rstrip("/"))
            cut = False
            try:
                seconds, _, _ = run_all([["find", place, "-type", "f"]],
                                        cell.limit_s, output=out)
            except Cut:
                cut, seconds = True, cell.limit_s
            out.seek(0)
            found = sorted(out.read().decode().splitlines())
        os.unlink(cell.scratch / "names")
        if not cut and found != sorted(cell.path(key) for key, _ in self.data.entries()):
            raise Failed(f"WRONG NAMES: {len(found)}, expected {self.data.total()}")
        return {"keys_per_s": len(found) / seconds, "seconds": seconds, "done": len(found),
                "cut": cut}


class RemoveTree(Work):
    """rm -r; the tree is made anew for each cell (s3d brings no removed key back by synth)."""

    def __init__(self, prefix, directories, count):
        self.prefix, self.directories, self.count, self.serial = prefix, directories, count, 0

    def prepare(self, cell):
        self.serial += 1
        self.names = Names(f"{self.prefix}{self.serial}/", self.directories, self.count)
        if cell.peer.kind == "local":
            self.names.make_local(cell.path(""))
        else:
            self.names.load(cell.server, cell.scratch)
            if len(cell.server.sizes(self.names.prefix)) != self.names.total():
                raise Failed("the tree to be removed is not there")

    def timed(self, cell):
        cut, words, begin = False, "", time.monotonic()
        try:
            run_all([["rm", "-r", cell.path(self.names.prefix.rstrip("/"))]], cell.limit_s)
        except Cut:
            cut = True
        except Failed as failed:
            words = str(failed)  # a directory without an object of its own is gone with its files
        seconds = time.monotonic() - begin
        left = 0 if cell.empty else len(cell.server.sizes(self.names.prefix))
        if left and not cut:
            raise Failed(words or f"rm has ended, and {left} objects are still there")
        done = self.names.total() - left
        return {"files_per_s": done / seconds, "seconds": seconds, "done": done, "cut": cut}

    def after(self, cell):
        cell.server.set_profile()
        cell.server.remove(self.names.prefix)


class CopyOut(Work):
    """cp -r of a tree out of the mount, to memory; every file is compared in the first round."""

    def __init__(self, tree):
        self.data = tree

    def timed(self, cell):
        target = cell.scratch / "copied"
        shutil.rmtree(target, ignore_errors=True)
        cut, begin = False, time.monotonic()
        try:
            run_all([["cp", "-r", cell.path(self.data.prefix.rstrip("/")), str(target)]],
                    cell.limit_s)
        except Cut:
            cut = True
        seconds = time.monotonic() - begin
        sizes = {key.removeprefix(self.data.prefix): size for key, size in self.data.entries()}
        done = [name for name, size in sizes.items()
                if (target / name).exists() and (target / name).stat().st_size == size]
        if len(done) != len(sizes) and not cut:
            raise Failed(f"WRONG DATA: {len(sizes) - len(done)} files have another size")
        if cell.first and not cell.empty:
            self.data.make_source(cell.scratch / "tree")
            wrong = [name for name in done if not filecmp.cmp(target / name, cell.scratch / "tree" /
                                                              name, shallow=False)]
            if wrong:
                raise Failed(f"WRONG DATA: {wrong[:3]}")
        shutil.rmtree(target)
        return rates(sum(sizes[name] for name in done), seconds) | {
            "files_per_s": len(done) / seconds, "done": len(done), "cut": cut}
