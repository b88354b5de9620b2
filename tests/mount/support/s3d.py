# SPDX-License-Identifier: Apache-2.0
"""The strict S3 server of tests/s3d: a process of our own, its admin interface as methods."""
import collections
import http.client
import json
import os
import signal
import ssl
import subprocess
import urllib.parse

from .server import Server

START_S = 10
STOP_S = 10

# What a test may change while the server runs, and how it is when nobody did.
CONFIG_AT_START = {"first_byte_ms": 0, "list_ms": 0, "pace": 0, "nic": 0, "body_hash": True,
                   "as": "aws", "clock_offset": 0}


class AdminError(Exception):
    """The admin interface refused a call: the test has a mistake."""


def binary():
    """The path of the server's program, from PAILFS_S3D."""
    path = os.environ.get("PAILFS_S3D")
    if not path or not os.access(path, os.X_OK):
        raise FileNotFoundError("PAILFS_S3D does not name the s3d program: %r" % path)
    return path


class S3d(Server):
    """A running s3d. directory keeps its data; tls is a support.tls.Certificate or None."""

    kind = "s3d"
    virtual_host = "s3.localhost"
    access_key = "AKIDS3D"
    secret_key = "s3d-secret-key"

    def __init__(self, directory, *args, tls=None, host=None, region="us-east-1"):
        self.directory = str(directory)
        self.region = region
        self.kind = "s3d-tls" if tls else "s3d"
        self.ca_bundle = str(tls.ca) if tls else None
        self._tls = tls
        self._host = host or ("localhost" if tls else "127.0.0.1")
        self._args = [str(arg) for arg in args]
        self._process = None
        self.start()

    # -- the process

    def start(self, port=0):
        """Starts it and returns when it listens."""
        read_end, write_end = os.pipe()
        command = [binary(), "--dir", self.directory, "--region", self.region,
                   "--port", str(port), "--ready-fd", str(write_end),
                   "--vhost-suffix", self.virtual_host, *self._args]
        if self._tls:
            command += ["--tls-cert", str(self._tls.cert), "--tls-key", str(self._tls.key)]
        self.log_path = os.path.join(self.directory, os.pardir, "%s-%d.err" % (
            os.path.basename(self.directory), os.getpid()))
        with open(self.log_path, "ab") as errors, os.fdopen(read_end) as ready:
            self._process = subprocess.Popen(command, pass_fds=[write_end], stdout=errors,
                                             stderr=errors, stdin=subprocess.DEVNULL)
            os.close(write_end)
            answer = ready.readline().strip()  # ends by itself when the process does
        if not answer:
            self._process.wait(START_S)
            with open(self.log_path, encoding="utf-8", errors="replace") as errors:
                raise RuntimeError("s3d did not start:\n" + errors.read())
        self.port = int(answer)
        self.endpoint = "%s://%s:%d" % ("https" if self._tls else "http", self._host, self.port)
        self.__dict__.pop("s3", None)

    @property
    def pid(self):
        return self._process.pid

    def pause(self):
        """kill -STOP: the connections stay, nothing answers. Returns when it stands still."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitpid(self._process.pid, os.WUNTRACED)

    def resume(self):
        self._process.send_signal(signal.SIGCONT)

    def stop(self):
        """Ends it; an exit code other than 0 is an error of the server."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            code = process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        if code != 0:
            raise RuntimeError("s3d ended with %d; its words are in %s" % (code, self.log_path))

    def kill(self):
        """kill -9; start(port) brings it back with its data."""
        self._process.kill()
        self._process.wait()

    def restart(self):
        """Ends it and starts it again on the same port and data."""
        port = self.port
        self.stop()
        self.start(port)

    # -- the admin interface

    def _admin(self, method, what, document=None):
        if self._tls:
            context = ssl.create_default_context(cafile=self.ca_bundle)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE  # some servers have a bad certificate on purpose
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60,
                                                     context=context)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            body = None if document is None else json.dumps(document)
            connection.request(method, "/_s3d/" + what, body)
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        if response.status >= 300:
            raise AdminError("%s /_s3d/%s: %d %s" % (method, what, response.status,
                                                    answer.decode(errors="replace")))
        return json.loads(answer) if answer.strip() else None

    def log(self, op=None, **match):
        """The requests since clear_log(), oldest first; op and other fields filter."""
        if op:
            match["op"] = op
        return [entry for entry in self._admin("GET", "log")
                if all(entry.get(name) == value for name, value in match.items())]

    def clear_log(self):
        self._admin("DELETE", "log")

    def count(self, **match):
        """How often each operation was asked: Counter({"GetObject": 3, ...})."""
        return collections.Counter(entry["op"] for entry in self.log(**match))

    def faults(self, *faults):
        """Adds faults (dicts as in tests/s3d's README)."""
        self._admin("POST", "faults", list(faults))

    def clear_faults(self):
        self._admin("DELETE", "faults")

    def fault_hits(self):
        """How often each named fault played."""
        return {fault["name"]: fault["hits"] for fault in self._admin("GET", "faults")}

    def config(self, **settings):
        """Changes settings; as_ stands for "as", which Python keeps for itself."""
        self._admin("POST", "config", {name.rstrip("_"): value
                                       for name, value in settings.items()})

    def credentials(self, *credentials):
        """Replaces all keys; without arguments the one of the start."""
        self._admin("POST", "credentials", list(credentials) or [
            {"access_key": self.access_key, "secret_key": self.secret_key}])

    def bucket(self, name, **settings):
        self._admin("POST", "bucket", {"name": name, **settings})

    def synth(self, bucket, **settings):
        self._admin("POST", "synth", {"bucket": bucket, **settings})

    def put(self, bucket, key, content=None, **settings):
        """Plants an object past S3's rules; a key of bytes may be any bytes."""
        document = {"bucket": bucket, **settings}
        if isinstance(key, bytes):
            document["key_hex"] = key.hex()
        else:
            document["key"] = key
        if content is not None:
            document["content_hex"] = bytes(content).hex()
        self._admin("POST", "put", document)

    def traffic(self, on=None):
        """on=True starts sampling, False stops it; without: [[t, delivered, received], ...]."""
        if on is None:
            return self._admin("GET", "traffic")
        return self._admin("POST", "traffic", {"on": on})

    def stats(self):
        return self._admin("GET", "stats")

    def reset(self):
        self.resume()
        self.clear_faults()
        self._admin("POST", "config", CONFIG_AT_START)
        self.credentials()
        self.clear_log()

    # -- what the log says

    def ranges(self, key, bucket=None):
        """The byte ranges asked of a key by GET, in the order of asking; None: without one."""
        match = {"key": key, **({"bucket": bucket} if bucket else {})}
        return [tuple(entry["range"]) if entry.get("range") else None
                for entry in self.log("GetObject", **match)]

    def queries(self, op):
        """The decoded queries of an operation's requests."""
        return [dict(urllib.parse.parse_qsl(entry["query"], keep_blank_values=True))
                for entry in self.log(op)]


def most_at_once(entries):
    """The most of those requests of the log that ran at the same time; some may still run."""
    changes = sorted([(entry["t"], 1) for entry in entries] +
                     [(entry["t_end"] or float("inf"), -1) for entry in entries])
    most = running = 0
    for _, change in changes:
        running += change
        most = max(most, running)
    return most
