#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Compares pailfs with other file systems and with plain curl, side by side in one run.

Against one s3d on loopback, peers take turns: each measurement is a fresh mount, with the kernel's
caches dropped (as root) and the server's warm. Reported is the median of the rounds: throughput,
CPU seconds a GB of the daemon and of the server, and the daemon's largest resident size. Before
the rounds each peer reads everything once for its SHA-256, so that a fast wrong answer fails.
GB and MB are powers of ten. Other work on the machine disturbs it: the load is in the JSON.
"""
import argparse
import hashlib
import http.client
import json
import os
import pathlib
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import peers
from peers import MIB, PEERS, PROFILES, WORKLOADS

ACCESS, SECRET, BUCKET = "AKIDS3D", "s3d-secret-key", "bench"
READY_SECONDS = 20
END_SECONDS = 20
READ_SECONDS = 300
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
BARE_ENVIRONMENT = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"}


class Server:
    """s3d in a directory of ours, with one public bucket (so that curl need not sign)."""

    def __init__(self, program, directory):
        read_fd, write_fd = os.pipe()
        self.process = subprocess.Popen(
            [program, "--dir", directory, "--no-body-hash", "--ready-fd", str(write_fd),
             "--make-bucket", BUCKET], pass_fds=[write_fd], stdout=subprocess.DEVNULL)
        os.close(write_fd)
        with os.fdopen(read_fd) as ready:
            self.port = int(ready.readline() or sys.exit("bench.py: s3d did not start"))
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.admin("POST", "bucket", {"name": BUCKET, "public": True})

    def admin(self, method, what, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, "/_s3d/" + what, json.dumps(body) if body else None)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status >= 300:
            sys.exit(f"bench.py: s3d answered {answer.status} to {what}: {text.decode()}")
        return json.loads(text) if text.strip() else None

    def set_profile(self, settings):
        off = {"first_byte_ms": 0, "list_ms": 0, "pace": 0, "nic": 0}
        self.admin("POST", "config", off | settings)

    def url(self, name):
        return f"{self.endpoint}/{BUCKET}/{name}"

    def cpu_s(self):
        return self.admin("GET", "stats")["cpu_s"]

    def stop(self):
        self.process.terminate()
        self.process.wait(END_SECONDS)


class Mount:
    """One fresh mount of a peer; with-statement."""

    def __init__(self, peer, words):
        self.mount_point = words["mount"]
        self.command = shlex.split(peer.command.format(**words))
        self.env = {k: v.format(**words) for k, v in peer.env.items()}

    def __enter__(self):
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(self.command, env=BARE_ENVIRONMENT | self.env,
                                        stdout=self.log, stderr=self.log)
        end = time.monotonic() + READY_SECONDS
        while not os.path.ismount(self.mount_point):
            if self.process.poll() is not None or time.monotonic() > end:
                self.process.kill()
                self.log.seek(0)
                sys.exit(f"bench.py: {self.command[0]} does not mount: "
                         f"{self.log.read().decode(errors='replace')[-2000:]}")
            time.sleep(0.02)
        return self

    def __exit__(self, *_):
        subprocess.run(["umount", self.mount_point], check=True)
        try:
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def path(self, name):
        return os.path.join(self.mount_point, name)

    def cpu_s(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2]
        user, system = fields.split()[11:13]
        return (int(user) + int(system)) / CLOCK_TICKS

    def peak_rss_bytes(self):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return 0


def run_all(commands):
    """Runs commands at the same time; (seconds, their CPU seconds)."""
    begin = time.monotonic()
    processes = [subprocess.Popen(command) for command in commands]
    cpu_s = 0
    for process in processes:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        cpu_s += usage.ru_utime + usage.ru_stime
    seconds = time.monotonic() - begin
    failed = [p.args for p in processes if p.returncode != 0]
    if failed:
        sys.exit(f"bench.py: failed: {failed[0]}")
    return seconds, cpu_s


def curl_commands(url, size, connections):
    """curl processes that fetch an object, a range each."""
    step = -(-size // connections)
    plain = ["curl", "-sSf", "--noproxy", "*", "-o", "/dev/null"]
    if connections == 1:
        return [[*plain, url]]
    return [[*plain, "-r", f"{at}-{min(at + step, size) - 1}", url]
            for at in range(0, size, step)]


def sha256_of(command):
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        digest = hashlib.file_digest(process.stdout, "sha256").hexdigest()
    if process.returncode != 0:
        sys.exit(f"bench.py: failed: {command}")
    return digest


class Bench:
    def __init__(self, options, directory):
        self.options = options
        self.sums = {}
        store, mount = directory / "store", directory / "mnt"
        store.mkdir()
        mount.mkdir()
        passwd = directory / "passwd-s3fs"
        passwd.touch(mode=0o600)
        passwd.write_text(f"{ACCESS}:{SECRET}\n")
        self.server = Server(options.s3d, str(store))
        self.words = {"bucket": BUCKET, "mount": str(mount), "endpoint": self.server.endpoint,
                      "access": ACCESS, "secret": SECRET, "passwd": str(passwd),
                      "pailfs": options.pailfs}

    def load(self, workload, scratch):
        """Puts the workload's objects into the server, random bytes each."""
        # Hashing, so that ETags are true MD5 sums: rclone holds what it reads against them.
        self.server.admin("POST", "config", {"body_hash": True})
        for name, size in WORKLOADS[workload].objects.items():
            digest = hashlib.sha256()
            with open(scratch, "wb") as out:
                for _ in range(size // MIB):
                    piece = os.urandom(MIB)
                    digest.update(piece)
                    out.write(piece)
            self.sums[name] = digest.hexdigest()
            subprocess.run(
                ["curl", "-sSf", "--noproxy", "*", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user",
                 f"{ACCESS}:{SECRET}", "-H", f"x-amz-content-sha256: {self.sums[name]}",
                 "-T", str(scratch), self.server.url(name)], check=True)
            scratch.unlink()
        self.server.admin("POST", "config", {"body_hash": False})

    def fresh(self, workload, profile):
        """Cold kernel, warm server."""
        if os.geteuid() == 0:
            pathlib.Path("/proc/sys/vm/drop_caches").write_text("3")
        self.server.set_profile({})
        for name in WORKLOADS[workload].objects:
            run_all(curl_commands(self.server.url(name), 0, 1))
        self.server.set_profile(PROFILES[profile])

    def verify(self, workload, profile, peer_name):
        """Every byte that the peer delivers, by its sum."""
        peer, names = PEERS[peer_name], list(WORKLOADS[workload].objects)
        self.fresh(workload, profile)
        if isinstance(peer, peers.Client):
            found = {n: sha256_of(["curl", "-sSf", "--noproxy", "*", self.server.url(n)])
                     for n in names}
        else:
            with Mount(peer, self.words) as mount:
                found = {n: sha256_of(["cat", mount.path(n)]) for n in names}
        wrong = [n for n in names if found[n] != self.sums[n]]
        if wrong:
            sys.exit(f"bench.py: WRONG DATA: {peer_name} on {profile}: {wrong}")

    def measure(self, workload, profile, peer_name):
        """One run: a dict of figures."""
        peer, row = PEERS[peer_name], WORKLOADS[workload]
        self.fresh(workload, profile)
        server_cpu_s = self.server.cpu_s()
        if isinstance(peer, peers.Client):
            connections = peer.connections[profile]
            rss_bytes = 0  # not asked: the kernel counts this program's size in before exec
            seconds, cpu_s = run_all(
                [command for name, size in row.objects.items()
                 for command in curl_commands(self.server.url(name), size, connections)])
        else:
            with Mount(peer, self.words) as mount:
                cpu_s = mount.cpu_s()
                seconds, _ = run_all(
                    [shlex.split(row.reader.format(file=mount.path(name))) for name in row.objects])
                cpu_s, rss_bytes = mount.cpu_s() - cpu_s, mount.peak_rss_bytes()
        gigabytes = sum(row.objects.values()) / 1e9
        return {"mb_per_s": gigabytes * 1000 / seconds, "cpu_s_per_gb": cpu_s / gigabytes,
                "server_cpu_s_per_gb": (self.server.cpu_s() - server_cpu_s) / gigabytes,
                "rss_mib": rss_bytes / MIB, "load": os.getloadavg()[0]}

    def compare(self, workload):
        """All rounds of a workload: rows of medians, with the runs they come from."""
        combinations = [(p, n) for p in self.options.profiles for n in self.options.peers]
        runs = {c: [] for c in combinations}
        for combination in combinations:
            print(f"checking the sums: {workload} {' '.join(combination)}", file=sys.stderr)
            self.verify(workload, *combination)
        for number in range(self.options.rounds):
            for combination in combinations:
                run = self.measure(workload, *combination)
                runs[combination].append(run)
                print(f"round {number + 1}: {workload} {' '.join(combination)} "
                      f"{run['mb_per_s']:.0f} MB/s", file=sys.stderr)
        return [{"workload": workload, "profile": profile, "peer": name, "runs": found,
                 **{key: statistics.median(run[key] for run in found) for key in found[0]}}
                for (profile, name), found in runs.items()]


def print_table(rows):
    print(f"\n{'workload':10} {'profile':8} {'peer':12} {'MB/s':>6} {'(runs)':^20} "
          f"{'CPU s/GB':>9} {'RSS MiB':>8} {'server s/GB':>12} {'pailfs is':>10}")
    for row in rows:
        own = [r["mb_per_s"] for r in rows if r["peer"] == "pailfs"
               and (r["workload"], r["profile"]) == (row["workload"], row["profile"])]
        ratio = f"{own[0] / row['mb_per_s']:.2f} x" if own and row["peer"] != "pailfs" else ""
        rss = f"{row['rss_mib']:.0f}" if row["rss_mib"] else "-"
        runs = " ".join(f"{run['mb_per_s']:.0f}" for run in row["runs"])
        print(f"{row['workload']:10} {row['profile']:8} {row['peer']:12} {row['mb_per_s']:6.0f} "
              f"{runs:^20} {row['cpu_s_per_gb']:9.2f} {rss:>8} "
              f"{row['server_cpu_s_per_gb']:12.2f} {ratio:>10}")


def versions(options):
    found = {}
    for name in options.peers:
        command = shlex.split(PEERS[name].version.format(pailfs=options.pailfs))
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        found[name] = (run.stdout + run.stderr).splitlines()[0]
    return found


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS,
                        default=peers.DEFAULT_WORKLOADS)
    parser.add_argument("--profiles", nargs="+", choices=PROFILES, default=list(PROFILES))
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=peers.DEFAULT_PEERS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=pathlib.Path, help="write all figures to this file")
    parser.add_argument("--pailfs", default=os.environ.get("PAILFS_BIN"))
    parser.add_argument("--s3d", default=os.environ.get("PAILFS_S3D"))
    return parser.parse_args()


def end_by_exception(*_):
    sys.exit("bench.py: ended by a signal")


def main():
    options = parse_options()
    signal.signal(signal.SIGTERM, end_by_exception)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="pailfs-bench.",
                                              dir=os.environ.get("TMPDIR", "/var/tmp")))
    server = None
    try:
        bench = Bench(options, directory)
        server = bench.server
        rows = []
        for workload in options.workloads:
            bench.load(workload, directory / "upload")
            rows += bench.compare(workload)
        print_table(rows)
        if options.json:
            options.json.write_text(json.dumps(
                {"versions": versions(options), "cpus": os.cpu_count(), "rows": rows}, indent=1))
    finally:
        if server:
            server.stop()
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
