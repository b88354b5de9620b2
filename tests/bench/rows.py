# SPDX-License-Identifier: Apache-2.0
"""
The rows of the comparison: a name, what it is, the data and the work, the profiles, who takes
part, the figure that it is about, and the targets of shared/performance.md, which the output holds
against what was measured. Only this table changes when a row is added.
"""
import collections
import os

import data as d
import work_names as names
import work_read as read
import work_write as write

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

# figure OP bound, for a peer in a profile; of: the bound is a share of that peer's figure. quiet:
# one of every row, told in the table if it is missed.
Target = collections.namedtuple("Target", "profile peer figure op bound of quiet",
                                defaults=[None, False])
# chosen: the profiles of the default selection. limit_s: of a cell, 0: the common one.
Row = collections.namedtuple(
    "Row", "name title work profiles chosen peers figure unit targets limit_s",
    defaults=[(), 0])

# Left out of the default selection in a profile, or in a row's profile, so that it takes less than
# 25 minutes: what was slow in another profile, too.
LEFT_OUT = {
    "wire": {"awscli", "fuse-lookup30"},
    "s3": {"awscli", "fuse"},
    "https": {"awscli", "fuse", "s3fs", "rclone", "pailfs-256M"},
    ("seqwrite", "s3"): {"rclone"},
    ("seqwrite", "wire"): {"boto3", "rclone"},
}


def left_out(row, profile):
    return LEFT_OUT[profile] | LEFT_OUT.get((row.name, profile), set())


MOUNTS = ["pailfs", "s3fs", "s3fs-best", "rclone", "rclone-best"]
FUSE_TOO = [*MOUNTS, "fuse"]
CURL_TOO = [*MOUNTS, "curl"]
READERS = [*MOUNTS, "boto3", "awscli", "curl", "fuse"]
WRITERS = ["pailfs", "pailfs-unsigned", *MOUNTS[1:], "boto3", "awscli", "curl", "fuse"]
CREATORS = ["pailfs", "pailfs-negative_ttl", *MOUNTS[1:]]
# What the kernel lets through where a missing name is asked for at a server 30 ms away: it holds
# a directory from the look-up of a name that may be made until it is made.
CEILING = "fuse-lookup30"
OVERHEAD_MIB = 100
NAMES_SECONDS = 20  # enough for all but those that send a HEAD a name
SMALL_MEMORY_MIB = 256


class Sizes:
    """How much of everything; quick: enough to see that a row runs."""

    def __init__(self, quick):
        self.large = 32 * MIB if quick else GIB
        self.parallel = 8 * MIB if quick else 128 * MIB
        self.seconds = 1 if quick else 3
        self.small_seconds = 2 if quick else 5
        self.small = 100 if quick else 1000
        self.creates = 80 if quick else 400
        self.medium = 4 if quick else 40
        self.cold = 4 if quick else 8
        self.listed = 2_000 if quick else 20_000
        self.many = 5_000 if quick else 100_000
        self.million = 10_000 if quick else 1_000_000
        self.walk = (10, 100) if quick else (100, 100)
        self.deep = (16, 100) if quick else (160, 100)
        self.removed = (4, 25) if quick else (20, 100)
        self.tree = (32, 200) if quick else (1024, 6400)


def both(row_profiles, *words):
    return [Target(profile, *words) for profile in row_profiles]


def read_rows(s):
    large, stamped = d.Files("large/", 1, s.large), d.Stamped("stamped/", s.large)
    parallel = d.Files("parallel/", 8, s.parallel)
    cold = d.ColdFiles("cold/", s.cold)
    yield Row("seqread", "one large file, dd bs=1M, cold", read.ReadFiles(large),
              ("wire", "s3", "https"), ("wire", "s3", "https"),
              ["pailfs", "pailfs-256M", *READERS[1:]], "mb_per_s", "MB/s", [
                  Target("wire", "pailfs", "mb_per_s", ">=", 1000),
                  Target("wire", "pailfs", "cpu_s_per_gb", "<=", 0.8),
                  Target("wire", "pailfs", "mb_per_s", ">=", 0.7, "curl"),
                  Target("s3", "pailfs", "mb_per_s", ">=", 850),
                  Target("s3", "pailfs-256M", "mb_per_s", ">=", 850)])
    yield Row("direct1", "O_DIRECT, 1 MiB, 1 thread",
              read.Fio(stamped, 0, 1, checked=False, rw="read", bs="1M", direct=1),
              ("wire", "s3"), (), [*CURL_TOO, "fuse"], "mb_per_s", "MB/s")
    yield Row("direct4", "O_DIRECT, 1 MiB, 4 threads, a quarter of the file each",
              read.Fio(stamped, 0, 4, checked=False, rw="read", bs="1M", direct=1),
              ("wire", "s3"), (), [*CURL_TOO, "fuse"], "mb_per_s", "MB/s")
    for size, text, threads in [(4 * KIB, "4k", 4), (128 * KIB, "128k", 4), (4 * KIB, "4k", 1),
                                (4 * KIB, "4k", 16), (256 * KIB, "256k", 1),
                                (256 * KIB, "256k", 4), (256 * KIB, "256k", 16)]:
        targets = {("4k", 4): [Target("s3", "pailfs", "ops_per_s", ">=", 120),
                               Target("s3", "pailfs", "amplification", "<=", 32)],
                   ("128k", 4): [Target("s3", "pailfs", "ops_per_s", ">=", 115),
                                 Target("s3", "pailfs", "amplification", "<=", 1.1)]}
        wanted = targets.get((text, threads), [])
        yield Row(f"random{text}x{threads}", f"random reads of {text}, {threads} threads",
                  read.Fio(stamped, s.seconds, threads, rw="randread", bs=size),
                  ("s3", "wire"), ("s3",) if wanted else (), CURL_TOO, "ops_per_s", "ops/s",
                  wanted)
    yield Row("strided", "128 KiB, then 896 KiB left out, and so on, 1 thread",
              read.Fio(stamped, s.seconds, 1, rw="read:896k", bs="128k"),
              ("s3", "wire"), (), MOUNTS, "ops_per_s", "ops/s")
    yield Row("parread8", "8 files in parallel, a dd bs=1M each", read.ReadFiles(parallel),
              ("s3", "wire"), ("s3",), ["pailfs", "pailfs-256M", *READERS[1:]],
              "mb_per_s", "MB/s", [Target("s3", "pailfs", "mb_per_s", ">=", 850)])
    for listed in (False, True):
        yield Row("first4k-listed" if listed else "first4k",
                  "first 4 KiB of a cold file, median; its directory was "
                  + ("listed" if listed else "looked up"),
                  read.FirstBytes(cold, listed), ("s3", "wire"), ("s3",), CURL_TOO, "ms", "ms",
                  [Target("s3", "pailfs", "ms", "<=", 32 if listed else 62)])
    yield from small_read_rows(s)


def small_read_rows(s):
    small = d.SmallFiles("small/", s.small, 64 * KIB)
    medium = d.SmallFiles("medium/", s.medium, 5 * MIB)
    for listed in (True, False):
        yield Row("smallread" if listed else "smallread-unlisted",
                  f"{s.small} files of 64 KiB, 8 readers, the directory "
                  + ("listed first, in the time" if listed else "not listed"),
                  read.SmallReads(small, 8, listed, s.small_seconds), ("s3", "wire"),
                  ("s3",) if listed else (), CURL_TOO, "files_per_s", "files/s",
                  [Target("s3", "pailfs", "files_per_s", ">=", 230)])
    yield Row("read5m", "files of 5 MiB one after the other, listed first",
              read.SmallReads(medium, 1, True, s.small_seconds), ("s3", "wire"), (),
              CURL_TOO, "mb_per_s", "MB/s")


def write_rows(s):
    yield Row("seqwrite", "one large file, writes of 1 MiB, until it is stored",
              write.WriteFile("out/", s.large), ("wire", "s3", "https"), ("wire", "s3"),
              ["pailfs", "pailfs-unsigned", "pailfs-256M", *WRITERS[2:]], "mb_per_s", "MB/s", [
                  Target("wire", "pailfs-unsigned", "mb_per_s", ">=", 900),
                  Target("wire", "pailfs-unsigned", "cpu_s_per_gb", "<=", 0.7),
                  Target("wire", "pailfs", "mb_per_s", ">=", 500),
                  Target("wire", "pailfs", "cpu_s_per_gb", "<=", 1.4),
                  Target("s3", "pailfs-unsigned", "mb_per_s", ">=", 700),
                  Target("s3", "pailfs", "mb_per_s", ">=", 500),
                  Target("s3", "pailfs", "close_s", "<=", 0.5),
                  Target("s3", "pailfs-unsigned", "close_s", "<=", 0.5)])
    yield Row("overwrite", "the same over an object that is there",
              write.WriteFile("over/", s.large // 4, over=True), ("s3", "wire"), (), WRITERS,
              "mb_per_s", "MB/s")
    yield Row("fioverify", "fio writes through the mount, its --verify reads back",
              write.FioVerify("fio/", s.large // 4), ("s3", "wire"), ("s3",),
              ["pailfs"], "mb_per_s", "MB/s")
    wanted = [Target("s3", "pailfs-negative_ttl", "files_per_s", ">=", 200),
              Target("s3", "pailfs", "files_per_s", ">=", 120)]
    yield Row("create64k", f"{s.creates} files of 64 KiB in one directory, 8 writers, until they "
              "are stored", write.Creates("new/", s.creates, 64 * KIB, 8, s.small_seconds),
              ("s3", "wire"), ("s3",), [*CREATORS, CEILING], "files_per_s", "files/s",
              [*wanted, Target("s3", "pailfs", "files_per_s", ">=", 0.9, CEILING)])
    yield Row("create64k-dirs", "the same, each writer in a directory of its own",
              write.Creates("own/", s.creates, 64 * KIB, 8, s.small_seconds, own=True),
              ("s3", "wire"), ("s3",), [*CREATORS, CEILING], "files_per_s", "files/s", wanted)
    yield Row("create1b", "files of 1 byte, one after the other",
              write.Creates("one/", s.creates, 1, 1, s.small_seconds), ("s3", "wire"), (),
              CREATORS, "files_per_s", "files/s")
    yield Row("write5m", "files of 5 MiB one after the other",
              write.Creates("five/", s.medium, 5 * MIB, 1, s.small_seconds), ("s3", "wire"), (),
              CREATORS, "mb_per_s", "MB/s")


def name_rows(s):
    listed, many = d.Names("listed/", 1, s.listed), d.Names("many/", 1, s.many)
    million, walk = d.Names("million/", 1, s.million), d.Names("walk/", *s.walk)
    deep, tree = d.Names("deep/", *s.deep), d.Tree("tree/", *s.tree)
    long = ["ls", "-l", "--color=never"]
    yield Row("lsl20k", f"ls -l of {s.listed:,} keys", names.ListNames(listed, long, 1),
              ("wire", "s3"), ("wire", "s3"), FUSE_TOO, "keys_per_s", "keys/s",
              [Target("wire", "pailfs", "keys_per_s", ">=", 70_000),
               Target("s3", "pailfs", "keys_per_s", ">=", 25_000)], NAMES_SECONDS)
    yield Row("ls100k", f"ls of {s.many:,} keys", names.ListNames(many, ["ls"]),
              ("wire", "s3"), (), FUSE_TOO, "keys_per_s", "keys/s")
    yield Row("lsl100k", f"ls -l of {s.many:,} keys", names.ListNames(many, long, 1),
              ("wire", "s3"), (), FUSE_TOO, "keys_per_s", "keys/s")
    yield Row("ls1m", f"ls of {s.million:,} keys", names.ListNames(million, ["ls"]),
              ("wire", "s3"), (), MOUNTS, "keys_per_s", "keys/s",
              both(("wire", "s3"), "pailfs", "rss_mib", "<=", 200 * 1_000_000 / MIB), 180)
    yield Row("find10k", f"find over {walk.total():,} files in {s.walk[0]} directories",
              names.FindFiles(walk), ("s3", "wire"), ("s3",), MOUNTS, "keys_per_s", "keys/s",
              [Target("s3", "pailfs", "keys_per_s", ">=", 10_000)], NAMES_SECONDS)
    yield Row("find16k", f"find over {deep.total():,} keys in a tree of {s.deep[0]} directories",
              names.FindFiles(deep), ("s3", "wire"), (), MOUNTS, "keys_per_s", "keys/s")
    yield Row("rmr", "rm -r of {0} directories of {1} files".format(*s.removed),
              names.RemoveTree("gone", *s.removed), ("s3", "wire"), (), MOUNTS,
              "files_per_s", "files/s")
    yield Row("cpr-in", f"cp -r of {s.tree[1]} files of 0.5-300 KB in {s.tree[0]} directories "
              "into the mount", write.CopyIn("copied/", tree), ("s3", "wire"), (), CREATORS,
              "files_per_s", "files/s", (), 120)
    yield Row("cpr-out", "the same tree out of the mount", names.CopyOut(tree), ("s3", "wire"), (),
              MOUNTS, "files_per_s", "files/s", (), 120)


def default_memory_mib():
    """As pailfs chooses it without a cgroup's limit: a quarter of RAM, 128 MiB to 2 GiB."""
    ram = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(max(ram // 4, 128 * MIB), 2 * GIB) / MIB


def with_memory_bounds(row):
    """RSS <= memory + 100 MiB + 200 bytes a name, in every row, for each pailfs."""
    data = row.work.data or row.work.names
    names_mib = 200 * (len(data.entries()) if data else 0) / MIB
    bounds = []
    for peer in row.peers:
        if peer.partition("-")[0] == "pailfs":
            memory = SMALL_MEMORY_MIB if peer == "pailfs-256M" else default_memory_mib()
            bounds += [Target(profile, peer, "rss_mib", "<=",
                              round(memory + OVERHEAD_MIB + names_mib), quiet=True)
                       for profile in row.profiles]
    return row._replace(targets=[*row.targets, *bounds])


def rows(quick=False):
    """{name: Row}, in the order in which they are measured."""
    sizes = Sizes(quick)
    return {row.name: with_memory_bounds(row)
            for part in (read_rows, write_rows, name_rows) for row in part(sizes)}
