# SPDX-License-Identifier: Apache-2.0
"""Workloads that read. See work.py for what a cell and a work are."""
import hashlib
import json
import os
import random
import shlex

import peers
from mounts import Failed, MIB, run_all
from work import GEN, Work, fio_job, rates

FIRST_BYTES = 4096
# Ranges that a curl can about have, one after the other.
CURL_FETCHES_PER_S = {"wire": 1000, "s3": 30, "https": 500}


class ReadFiles(Work):
    """All files of data, each by a dd of its own, at the same time."""

    def __init__(self, data):
        self.data = data

    def total(self):
        return sum(size for _, size in self.data.entries())

    def timed(self, cell):
        seconds, _, _ = run_all(
            [["dd", f"if={cell.path(key)}", "of=/dev/null", "bs=1M", "status=none"]
             for key, _ in self.data.entries()], cell.limit_s)
        return rates(self.total(), seconds)

    def client(self, cell):
        entries, fast = self.data.entries(), cell.scratch
        if cell.peer.name == "curl":
            seconds, cpu_s, _ = run_all(
                peers.curl_reads(cell.server, entries, peers.CURL_CONNECTIONS[cell.profile]),
                cell.limit_s, cell.environment)
            return rates(self.total(), seconds, cpu_s)
        places = {key: fast / f"download-{i}" for i, (key, _) in enumerate(entries)}
        if cell.peer.name == "boto3":
            seconds, _, text = run_all([peers.boto3_command(cell.server, "download", k, p)
                                        for k, p in places.items()], cell.limit_s,
                                       cell.environment)
            words = [float(word) for word in text.split()]
            seconds, cpu_s = max(words[0::2]), sum(words[1::2])
        else:
            seconds, cpu_s, _ = run_all([peers.awscli_command(cell.server, "download", k, p)
                                         for k, p in places.items()], cell.limit_s,
                                        cell.environment)
        wrong = []
        for key, path in places.items():
            if cell.first:
                with open(path, "rb") as stored:
                    if hashlib.file_digest(stored, "sha256").hexdigest() != self.data.sums[key]:
                        wrong.append(key)
            path.unlink()
        if wrong:
            raise Failed(f"WRONG DATA: {wrong}")
        return rates(self.total(), seconds, cpu_s)

    def verify(self, cell):
        for key, _ in self.data.entries():
            digest = ["openssl", "dgst", "-sha256", "-r"]
            if cell.peer.name == "curl":
                fetch = ["curl", "-sSf", "--noproxy", "*", *cell.server.curl_trust(),
                         cell.server.url(key)]
                command = ["sh", "-c", f"{shlex.join(fetch)} | {shlex.join(digest)}"]
            elif cell.peer.kind == "client":
                return
            else:
                command = [*digest, cell.path(key)]
            _, _, text = run_all([command], cell.limit_s)
            found = text.split()[0]
            if found != self.data.sums[key]:
                raise Failed(f"WRONG DATA in {key}")


def share_out(transfers, threads):
    """Each thread's transfers."""
    return [transfers[number::threads] for number in range(threads)]


def fetch_all(cell, shares):
    """A curl for each share: (seconds, CPU seconds, the seconds of each transfer)."""
    commands = [peers.curl_fetches(cell.server, share, cell.scratch / f"curl-{number}")
                for number, share in enumerate(shares)]
    seconds, cpu_s, text = run_all(commands, cell.limit_s, cell.environment)
    return seconds, cpu_s, [float(word) for word in text.split()]


class Fio(Work):
    """
    fio over a stamped file. seconds: how long at most (0: until each byte was read once);
    checked: fio holds every block against its stamp while it measures, otherwise beforehand.
    """

    def __init__(self, data, seconds, threads, checked=True, **words):
        self.data, self.seconds, self.threads = data, seconds, threads
        self.checked, self.words = checked, words

    def job(self, cell, checked, seconds):
        words = dict(self.words)
        if "rand" not in words["rw"]:
            share = self.data.size // self.threads
            words |= {"offset_increment": share, "size": share}
        else:
            words |= {"size": self.data.size, "randrepeat": 0, "norandommap": 1}
        if checked:
            words |= {"verify": "crc32c", "verify_interval": "4k", "verify_fatal": 1}
        if seconds:
            words |= {"runtime": seconds}
            words |= {"time_based": 1} if "rand" in words["rw"] else {}
        return fio_job(cell.path(self.data.key), numjobs=self.threads, group_reporting=1,
                       thread=1, invalidate=0, **words)

    def client(self, cell):
        """curl as the ceiling: as many ranges as a thread can have in the time, or about."""
        if "rand" not in self.words["rw"]:
            seconds, cpu_s, _ = run_all(
                peers.curl_reads(cell.server, self.data.entries(), self.threads), cell.limit_s,
                cell.environment)
            return rates(self.data.size, seconds, cpu_s)
        length = int(self.words["bs"])
        count = self.threads * int(self.seconds * CURL_FETCHES_PER_S[cell.profile])
        chance, blocks = random.Random(1), self.data.size // length
        starts = [chance.randrange(blocks) * length for _ in range(count)]
        seconds, cpu_s, times = fetch_all(cell, share_out(
            [(self.data.key, f"{at}-{at + length - 1}", "/dev/null") for at in starts],
            self.threads))
        return rates(count * length, seconds, cpu_s) | {
            "ops_per_s": count / seconds, "p99_ms": sorted(times)[count * 99 // 100] * 1000}

    def timed(self, cell):
        checked = self.checked and not cell.empty
        _, _, text = run_all([self.job(cell, checked, self.seconds)], cell.limit_s)
        read = json.loads(text[text.index("{"):])["jobs"][0]["read"]
        if read["total_ios"] == 0:
            raise Failed("fio did not read anything")
        seconds = read["runtime"] / 1000
        return rates(read["io_bytes"], seconds) | {
            "ops_per_s": read["total_ios"] / seconds, "asked_bytes": read["io_bytes"],
            "p99_ms": read["clat_ns"].get("percentile", {}).get("99.000000", 0) / 1e6}

    def verify(self, cell):
        if not self.checked and cell.peer.kind == "mount":
            run_all([self.job(cell, True, 0)], cell.limit_s)


class SmallReads(Work):
    """
    Whole small files by some threads, each compared; listed: the directory is read first. curl
    neither lists nor compares.
    """

    def __init__(self, data, threads, listed, seconds):
        self.data, self.threads, self.listed, self.seconds = data, threads, listed, seconds

    def timed(self, cell):
        compare = {"BENCH_COMPARE": "no"} if cell.empty else {}
        _, _, text = run_all([[*GEN, "read", cell.path(self.data.prefix), str(self.data.count),
                               str(self.data.size), str(self.threads), str(self.seconds),
                               str(int(self.listed))]], cell.limit_s, os.environ | compare)
        found = json.loads(text)
        seconds = found["end"] - found["begin"]
        return rates(found["done"] * self.data.size, seconds) | {
            "files_per_s": found["done"] / seconds, "done": found["done"]}


    def client(self, cell):
        transfers = [(key, None, "/dev/null") for key, _ in self.data.entries()]
        seconds, cpu_s, _ = fetch_all(cell, share_out(transfers, self.threads))
        return rates(len(transfers) * self.data.size, seconds, cpu_s) | {
            "files_per_s": len(transfers) / seconds, "done": len(transfers)}


class FirstBytes(Work):
    """The first 4 KiB of files that were never touched, in directories that were."""

    def __init__(self, data, listed):
        self.data, self.listed = data, listed

    def timed(self, cell):
        keys = [key for key, _ in self.data.entries()]
        for key in keys:
            directory = os.path.dirname(cell.path(key))
            run_all([["ls", directory] if self.listed else ["stat", directory]], cell.limit_s)
        _, _, text = run_all([[*GEN, "first", *map(cell.path, keys)]], cell.limit_s)
        found = json.loads(text)
        return self.figures(cell, keys, found["sums"], found["times"])

    def client(self, cell):
        """curl as the ceiling: one process, the first range with the connection's set-up."""
        keys = [key for key, _ in self.data.entries()]
        places = [cell.scratch / f"first-{number}" for number in range(len(keys))]
        _, cpu_s, times = fetch_all(cell, [[(key, f"0-{FIRST_BYTES - 1}", place)
                                            for key, place in zip(keys, places)]])
        sums = [hashlib.sha256(place.read_bytes()).hexdigest() for place in places]
        for place in places:
            place.unlink()
        return self.figures(cell, keys, sums, times) | {"cpu_s": cpu_s}

    def figures(self, cell, keys, sums, times):
        if cell.first and not cell.empty:
            for (_, body), found_sum in zip(self.true_bytes(cell.server, keys), sums):
                if hashlib.sha256(body).hexdigest() != found_sum:
                    raise Failed("WRONG DATA in the first 4 KiB")
        times = sorted(times)
        return {"ms": times[len(times) // 2] * 1000, "worst_ms": times[-1] * 1000,
                "asked_bytes": len(keys) * FIRST_BYTES}

    @staticmethod
    def true_bytes(server, keys):
        connection = server.connect()
        for key in keys:
            connection.request("GET", server.url(key).removeprefix(server.endpoint),
                               headers={"Range": f"bytes=0-{FIRST_BYTES - 1}"})
            yield key, connection.getresponse().read()
        connection.close()


__all__ = ["ReadFiles", "Fio", "SmallReads", "FirstBytes", "MIB"]
