#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Compares pailfs with other mount programs, with boto3 and awscli, and with plain curl, side by side
in one run: `sudo tests/bench/run.sh`. Against one s3d on loopback the peers take turns; each
measurement is a fresh mount with the kernel's caches dropped (as root) and the server's warm.
Reported are medians of the rounds: the row's figure, the daemon's CPU seconds and largest resident
size (VmHWM), what the server saw (requests, bytes of bodies), and whether the targets of
performance.md were reached. All bytes are random, and all are checked once a run: while they are
read, in a pass of its own, or by fetching what was stored.

A peer that fails, or takes longer than the limit, gets a line that says so, and the run goes on.
Ctrl-C ends it: what was measured so far is in the output directory. MB and GB are powers of ten.
"""
import argparse
import json
import os
import pathlib
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import draw
import memory
import peers
import report
from mounts import Failed, Mount, MIB
from rows import left_out, rows
from server import ACCESS, BUCKET, PROFILES, SECRET, Server, make_certificate
from work import Work, say

GIB = 1 << 30
ROUNDS = 3
CELL_SECONDS = 60
# Of the machine, for all programs and the server: on loopback, bbr costs both ends more CPU.
CONGESTION = "/proc/sys/net/ipv4/tcp_congestion_control"
# With so much free memory, and room in /dev/shm, objects lie there: no disk is measured then.
MEMORY_FOR_TMPFS = 8 * GIB
ROOM_IN_TMPFS = 6 * GIB
# How often a row's bytes are in memory: as objects, as the kernel's pages, in the daemon or a copy.
WARM_TIMES = 4


class Cell:
    """One measurement; work.py says what a work may use of it."""

    def __init__(self, bench, row, profile, peer, first):
        self.server, self.profile, self.peer, self.first = (
            bench.server(profile), profile, peer, first)
        self.scratch, self.limit_s = bench.scratch, row.limit_s or bench.options.cell_seconds
        self.environment = peers.environment(bench.home, self.server, peer.unset)
        self.root = bench.local if peer.kind == "local" else bench.mount_point
        self.empty = peer.kind in peers.EMPTY_KINDS
        self.failed = False

    def path(self, key):
        return os.path.join(self.root, key)


class Bench:
    """The servers, the directories, and one row after the other."""

    def __init__(self, options, directory, scratch):
        self.options, self.directory, self.scratch = options, directory, scratch
        self.in_memory = scratch != directory
        self.ended = False  # by Ctrl-C: a row has what it has
        self.complete = options.all or options.peers or options.rows
        self.home, self.mount_point = directory / "home", directory / "mnt"
        self.cache, self.local = directory / "cache", scratch / "local"
        self.manifest = directory / "manifest"
        for path in (self.home, self.mount_point, self.local):
            path.mkdir()
        self.passwd = directory / "passwd-s3fs"
        self.passwd.touch(mode=0o600)
        self.passwd.write_text(f"{ACCESS}:{SECRET}\n")
        self.servers, self.verified, self.begin = {}, set(), time.monotonic()
        self.kept = memory.Kept(0)

    def server(self, profile):
        scheme = "https" if profile == "https" else "http"
        if scheme not in self.servers:
            store = self.scratch / f"store-{scheme}"
            store.mkdir()
            tls = make_certificate(self.directory) if scheme == "https" else None
            self.servers[scheme] = Server(self.options.s3d, store, tls)
        return self.servers[scheme]

    def stop(self):
        for server in self.servers.values():
            server.stop()

    def fresh(self, server):
        """Cold kernel, empty caches of the peers, warm server."""
        shutil.rmtree(self.cache, ignore_errors=True)
        self.cache.mkdir()
        if os.geteuid() == 0 and not self.options.keep_caches:
            os.sync()
            pathlib.Path("/proc/sys/vm/drop_caches").write_text("3")
            if not self.in_memory:
                subprocess.run("find . -type f -print0 | xargs -0 -r cat >/dev/null", shell=True,
                               cwd=self.scratch, check=False, stderr=subprocess.DEVNULL)
        self.kept.hold()
        server.set_profile()

    def mount(self, cell, work):
        data = work.names or work.data
        if "{manifest}" in cell.peer.command:
            self.manifest.write_text("".join(f"{size} {key}\n" for key, size in
                                             (data.entries() if data else [])))
        words = {"bucket": BUCKET, "mount": str(self.mount_point), "access": ACCESS,
                 "endpoint": cell.server.endpoint, "secret": SECRET, "passwd": str(self.passwd),
                 "cache": str(self.cache), "pailfs": self.options.pailfs,
                 "fusenull": self.options.fusenull, "manifest": str(self.manifest)}
        return Mount(cell.peer.command.format(**words), self.mount_point, cell.environment)

    def need(self, data, server):
        """Loads data, if this server has not got it yet."""
        if data and data not in server.loaded:
            say(f"loading {data.prefix}")
            server.set_profile()
            data.load(server, self.scratch)
            server.loaded.add(data)

    def verify(self, row, profile, peer):
        """The pass whose bytes are checked, without the profile's delays."""
        key = row.name, self.server(profile), peer.name
        if key in self.verified or peer.kind in peers.EMPTY_KINDS:
            return
        self.verified.add(key)
        cell = Cell(self, row, profile, peer, True)
        self.fresh(cell.server)
        self.kept.free()
        if peer.kind == "client":
            row.work.verify(cell)
        elif type(row.work).verify is not Work.verify:
            with self.mount(cell, row.work):
                row.work.verify(cell)

    def measure(self, row, profile, peer, first):
        """One cell: its figures."""
        cell = Cell(self, row, profile, peer, first)
        server = cell.server
        if peer.kind == "local" and row.work.data:
            row.work.data.make_local(self.local)
        try:
            row.work.prepare(cell)
            self.fresh(server)
            server.set_profile(profile)
            server.clear_log()
            server_cpu_s = server.cpu_s()
            figures = self.timed(cell, row.work)
            figures["server_cpu_s"] = server.cpu_s() - server_cpu_s
            figures |= server.seen()
            figures["load"] = os.getloadavg()[0]
            return report.finish(figures)
        except BaseException:
            cell.failed = True
            raise
        finally:
            server.set_profile()
            row.work.after(cell)

    def timed(self, cell, work):
        if cell.peer.kind in ("client", "local"):
            self.kept.free()
            return work.client(cell) if cell.peer.kind == "client" else work.timed(cell)
        with self.mount(cell, work) as mount:
            self.kept.free()
            before_s = mount.usage.cpu_s()
            figures = work.timed(cell)
            return figures | {"cpu_s": mount.usage.cpu_s() - before_s,
                              "rss_mib": mount.usage.peak_rss_bytes() / MIB}

    def compare(self, row, profiles, chosen):
        """All rounds of a row: the lines of the results."""
        combinations = [(profile, peer) for profile in profiles for peer in chosen
                        if self.complete or peer.name not in left_out(row, profile)]
        runs, failed = {c: [] for c in combinations}, {c: None for c in combinations}
        self.kept.free()
        for profile in profiles:
            self.need(row.work.data, self.server(profile))
        self.kept = memory.Kept(WARM_TIMES * row.work.bytes_moved())
        try:
            for number in range(-1, self.options.rounds):
                for combination in combinations:
                    self.one(row, *combination, number, runs, failed)
        except KeyboardInterrupt:
            self.ended = True
        return [report.summary(row, profile, peer.name, found, failed[profile, peer] or
                               (None if found else "not measured"))
                for (profile, peer), found in runs.items()]

    def one(self, row, profile, peer, number, runs, failed):
        """The cell of a round, or the pass that checks all bytes (-1)."""
        done = runs[profile, peer]
        if failed[profile, peer] or (done and done[-1].get("cut")):
            return  # what took too long once is not waited for again
        try:
            if number < 0:
                self.verify(row, profile, peer)
                return
            done.append(self.measure(row, profile, peer, number == 0))
            text = f"{report.number(done[-1][row.figure])} {row.unit}"
        except (Failed, OSError, subprocess.SubprocessError) as error:
            failed[profile, peer] = text = str(error) or type(error).__name__
        what = f"round {number + 1}" if number >= 0 else "checking"
        say(f"{time.monotonic() - self.begin:6.0f} s  {what}: {row.name} {profile} "
            f"{peer.name}: {text}")

    def forget(self, data, later):
        """Frees what no later row reads."""
        if data and data.stored and all(row.work.data is not data for row in later):
            for server in self.servers.values():
                if data in server.loaded:
                    server.set_profile()
                    server.remove(data.prefix)
                    server.loaded.discard(data)


def machine():
    cpu = [line.partition(":")[2].strip() for line in
           pathlib.Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {"cpus": os.cpu_count(), "cpu": cpu[0] if cpu else "unknown",
            "memory_gib": round(pages / GIB, 1), "kernel": platform.release(),
            "congestion_control": pathlib.Path(CONGESTION).read_text().strip()}


def commit():
    done = subprocess.run(["git", "-C", str(peers.HERE), "describe", "--always", "--dirty"],
                          capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def comma_list(text):
    return [word for word in text.split(",") if word]


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="tell rows, profiles and peers")
    parser.add_argument("--rows", type=comma_list, metavar="A,B", help="these rows; see --list")
    parser.add_argument("--all", action="store_true",
                        help="all rows in all of their profiles: some hours")
    parser.add_argument("--profiles", type=comma_list, metavar="A,B",
                        help=f"of {', '.join(PROFILES)}")
    parser.add_argument("--peers", type=comma_list, metavar="A,B")
    parser.add_argument("--mount", action="append", default=[], metavar="NAME=COMMAND",
                        help="one more mount program: stays in the foreground, {bucket} {mount} "
                        "{endpoint} {cache} ... are filled in (tests/bench/peers.ini)")
    parser.add_argument("--rounds", type=int, help=f"{ROUNDS} unless --quick")
    parser.add_argument("--quick", action="store_true", help="one round, small sizes: a trial")
    parser.add_argument("--cell-seconds", type=float, default=CELL_SECONDS,
                        help="how long a program may run (%(default)s); rows may have a limit")
    parser.add_argument("--keep-caches", action="store_true",
                        help="do not drop the kernel's caches (others work on this machine)")
    parser.add_argument("--out", type=pathlib.Path, metavar="DIR",
                        help="table.txt, results.json, bars.svg (below TMPDIR or /var/tmp)")
    parser.add_argument("--dir", type=pathlib.Path, help="where objects and scratch files lie")
    parser.add_argument("--pailfs", default=os.environ.get("PAILFS_BIN"))
    parser.add_argument("--fusenull", default=os.environ.get("PAILFS_FUSENULL", "fusenull"))
    parser.add_argument("--s3d", default=os.environ.get("PAILFS_S3D"))
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else ROUNDS)
    return options


def takes_part(row, peer, table):
    """
    Whether a peer that was asked for is measured in a row: if the row names it. A mount program
    that no row names (FUSE and a local directory too) is measured in all.
    """
    anywhere = peer.kind in peers.EMPTY_KINDS or (
        peer.kind == "mount" and all(peer.name not in other.peers for other in table.values()))
    return anywhere or peer.name in row.peers


def select(options, table, known):
    """[(row, profiles, peers)] that are to be measured."""
    wanted = options.rows or [n for n, row in table.items() if options.all or row.chosen]
    for given, names in ((wanted, table), (options.profiles or [], PROFILES),
                         (options.peers or [], known)):
        for name in given:
            if name not in names:
                raise SystemExit(f"bench.py: there is no {name}; there are {', '.join(names)}")
    extra = [word.partition("=")[0] for word in options.mount]
    chosen = []
    for name in wanted:
        row = table[name]
        profiles = [p for p in row.profiles if p in options.profiles] if options.profiles else (
            row.profiles if options.all or not row.chosen else row.chosen)
        names = [n for n in options.peers if takes_part(row, known[n], table)] \
            if options.peers else [*row.peers, *extra]
        here = [known[n] for n in names if peers.is_here(known[n], options)]
        if profiles and here:
            chosen.append((row, profiles, here))
        else:
            say(f"{name} is left out: none of these peers or profiles is in it")
    return chosen


def print_list(table, known):
    for row in table.values():
        mark = f"[default: {', '.join(row.chosen)}]" if row.chosen else ""
        print(f"{row.name:18} {row.title} ({row.unit}; {', '.join(row.profiles)}) {mark}")
    print(f"\nprofiles: {PROFILES}\npeers: {', '.join(known)}")


def run(bench, selection, results, out):
    """Measures; leaves the results so far in out after each row."""
    texts = [report.head(results)]
    for index, (row, profiles, chosen) in enumerate(selection):
        found = bench.compare(row, profiles, chosen)
        held = report.targets_of(row, found)
        results["lines"] += found
        results["targets"] += held
        texts.append(report.table(row, found, held))
        print(texts[-1], flush=True)
        results["seconds"] = round(time.monotonic() - bench.begin)
        (out / "table.txt").write_text("\n".join(texts) + "\n")
        (out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
        if bench.ended:
            raise KeyboardInterrupt
        bench.forget(row.work.data, [later for later, _, _ in selection[index + 1:]])


def open_directories(options):
    """(a directory of ours, where objects and scratch files lie)."""
    base = os.environ.get("TMPDIR", "/var/tmp")
    directory = pathlib.Path(tempfile.mkdtemp(prefix="pailfs-bench.", dir=base))
    if options.dir:
        return directory, pathlib.Path(tempfile.mkdtemp(prefix="pailfs-bench.", dir=options.dir))
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    shm = shutil.disk_usage("/dev/shm").free if os.path.isdir("/dev/shm") else 0
    if options.quick or (free >= MEMORY_FOR_TMPFS and shm >= ROOM_IN_TMPFS):
        return directory, pathlib.Path(tempfile.mkdtemp(prefix="pailfs-bench.", dir="/dev/shm"))
    return directory, directory


def finish(results, out):
    """The picture, and the last words."""
    files = {path.name for path in out.iterdir()}
    if results["lines"]:
        try:
            draw.draw(results, out / "bars.svg")
            files.add("bars.svg")
        except ImportError as error:
            say(f"no picture: {error} (Debian's python3-matplotlib)")
    missed = [t for t in results["targets"] if not t["reached"]]
    say(f"\n{len(results['targets']) - len(missed)} targets reached, {len(missed)} not; "
        f"{', '.join(sorted(files))} are in {out}")


def end_by_exception(*_):
    raise KeyboardInterrupt


def main():
    options = parse_options()
    table, known = rows(options.quick), peers.read_peers(options.mount)
    if options.list:
        print_list(table, known)
        return
    selection = select(options, table, known)
    signal.signal(signal.SIGTERM, end_by_exception)
    out = options.out or pathlib.Path(tempfile.mkdtemp(
        prefix=time.strftime("pailfs-bench-%Y%m%d-%H%M-"), dir=os.environ.get("TMPDIR",
                                                                             "/var/tmp")))
    out.mkdir(parents=True, exist_ok=True)
    used = {peer.name: peer for _, _, chosen in selection for peer in chosen}
    results = {"date": time.strftime("%Y-%m-%d %H:%M:%S %Z"), "command": sys.argv,
               "commit": commit(), "quick": options.quick, "rounds": options.rounds,
               "machine": machine(), "profiles": PROFILES, "lines": [], "targets": [],
               "peers": {name: {"version": peers.version_of(peer, options.pailfs),
                                "command": peer.command} for name, peer in used.items()}}
    directory, scratch = open_directories(options)
    bench, ended = None, False
    try:
        bench = Bench(options, directory, scratch)
        results["machine"] |= memory.warm(WARM_TIMES * max(
            (row.work.bytes_moved() for row, _, _ in selection), default=0))
        say(report.head(results))
        run(bench, selection, results, out)
    except KeyboardInterrupt:
        ended = True
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if bench:
            bench.stop()
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.rmtree(directory, ignore_errors=True)
    finish(results, out)
    own = [line for line in results["lines"] if line["failed"] and "pailfs" in line["peer"]]
    sys.exit(130 if ended else 1 if own else 0)


if __name__ == "__main__":
    main()
