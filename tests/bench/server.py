# SPDX-License-Identifier: Apache-2.0
"""s3d for the benchmark: its process, its profiles, what is put into it and what it saw."""
import collections
import concurrent.futures
import http.client
import json
import os
import ssl
import subprocess
import time
import urllib.parse
import xml.etree.ElementTree as ElementTree

ACCESS, SECRET, BUCKET = "AKIDS3D", "s3d-secret-key", "bench"
END_SECONDS = 20
SETTLE_SECONDS = 2
LOADERS = 8
NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"

# Settings of s3d while a profile is measured (/_s3d/config); what is absent is off.
PROFILES = {
    "wire": {},
    "s3": {"first_byte_ms": 30, "list_ms": 30, "pace": 80_000_000, "nic": 1_000_000_000},
    "https": {},
}
OFF = {"first_byte_ms": 0, "list_ms": 0, "pace": 0, "nic": 0}


def make_certificate(directory):
    """A certificate for 127.0.0.1, signed by itself: (certificate, key)."""
    certificate, key = directory / "tls.pem", directory / "tls.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                    "-keyout", str(key), "-out", str(certificate)],
                   check=True, capture_output=True)
    return certificate, key


class Server:
    """s3d in a directory of ours, with one public bucket (so that curl need not sign)."""

    def __init__(self, program, directory, tls=None):
        read_fd, write_fd = os.pipe()
        command = [program, "--dir", str(directory), "--no-body-hash", "--ready-fd",
                   str(write_fd), "--make-bucket", BUCKET]
        self.certificate = str(tls[0]) if tls else None
        self.context = None
        if tls:
            command += ["--tls-cert", str(tls[0]), "--tls-key", str(tls[1])]
            self.context = ssl.create_default_context(cafile=self.certificate)
        # A session of its own: Ctrl-C ends the measurement first, the server last. Its log of
        # clients that leave in the middle of an answer is of no use here.
        self.process = subprocess.Popen(command, pass_fds=[write_fd], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, start_new_session=True)
        os.close(write_fd)
        with os.fdopen(read_fd) as ready:
            line = ready.readline()
        if not line:
            raise SystemExit(f"bench.py: {program} did not start")
        self.port = int(line)
        self.endpoint = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.loaded = set()
        self.admin("POST", "bucket", {"name": BUCKET, "public": True})

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def connect(self):
        if self.context:
            return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=120,
                                               context=self.context)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)

    def request(self, method, path, body=None, connection=None):
        """An unsigned request: the body of the answer."""
        own = connection or self.connect()
        own.request(method, path, body)
        answer = own.getresponse()
        text = answer.read()
        if not connection:
            own.close()
        if answer.status >= 300:
            raise SystemExit(f"bench.py: s3d answered {answer.status} to {method} {path}: "
                             f"{text.decode(errors='replace')[:500]}")
        return text

    def admin(self, method, what, body=None):
        text = self.request(method, "/_s3d/" + what, json.dumps(body) if body else None)
        return json.loads(text) if text.strip() else None

    def set_profile(self, name=None):
        self.admin("POST", "config", OFF | (PROFILES[name] if name else {}))

    def url(self, key):
        return f"{self.endpoint}/{BUCKET}/{urllib.parse.quote(key)}"

    def cpu_s(self):
        return self.admin("GET", "stats")["cpu_s"]

    # -- what is in it

    def boto3(self):
        import boto3  # pylint: disable=import-outside-toplevel
        import botocore.config  # pylint: disable=import-outside-toplevel
        return boto3.client(
            "s3", endpoint_url=self.endpoint, aws_access_key_id=ACCESS,
            aws_secret_access_key=SECRET, region_name="us-east-1", verify=self.certificate or True,
            config=botocore.config.Config(proxies={}, max_pool_connections=LOADERS,
                                          s3={"addressing_style": "path"}))

    def load_file(self, key, path, sha256):
        """Puts a file; the ETag is its true MD5 (rclone holds what it reads against it)."""
        self.admin("POST", "config", {"body_hash": True})
        subprocess.run(["curl", "-sSf", "--noproxy", "*", *self.curl_trust(), "--aws-sigv4",
                        "aws:amz:us-east-1:s3", "--user", f"{ACCESS}:{SECRET}",
                        "-H", f"x-amz-content-sha256: {sha256}", "-T", str(path), self.url(key)],
                       check=True)
        self.admin("POST", "config", {"body_hash": False})

    def load_many(self, objects):
        """Puts [(key, bytes)], by boto3."""
        self.admin("POST", "config", {"body_hash": True})
        client = self.boto3()
        with concurrent.futures.ThreadPoolExecutor(LOADERS) as pool:
            for _ in pool.map(lambda o: client.put_object(Bucket=BUCKET, Key=o[0],
                                                          Body=bytes(o[1])), objects):
                pass
        self.admin("POST", "config", {"body_hash": False})

    def synth(self, **settings):
        self.admin("POST", "synth", {"bucket": BUCKET, **settings})

    def curl_trust(self):
        return ["--cacert", self.certificate] if self.certificate else []

    def sizes(self, prefix):
        """{key: bytes} of what is stored, as an unsigned listing tells it."""
        found, token, connection = {}, None, self.connect()
        while True:
            query = {"list-type": "2", "prefix": prefix} | (
                {"continuation-token": token} if token else {})
            text = self.request("GET", f"/{BUCKET}?{urllib.parse.urlencode(query)}",
                                connection=connection)
            root = ElementTree.fromstring(text)
            for entry in root.iter(NAMESPACE + "Contents"):
                found[entry.findtext(NAMESPACE + "Key")] = int(entry.findtext(NAMESPACE + "Size"))
            token = root.findtext(NAMESPACE + "NextContinuationToken")
            if not token:
                connection.close()
                return found

    def bodies(self, keys):
        """Yields (key, bytes) of each, on one connection."""
        connection = self.connect()
        for key in keys:
            yield key, self.request("GET", f"/{BUCKET}/{urllib.parse.quote(key)}",
                                    connection=connection)
        connection.close()

    def remove(self, prefix):
        """Removes objects and unfinished uploads."""
        client = self.boto3()
        keys = list(self.sizes(prefix))
        for at in range(0, len(keys), 1000):
            client.delete_objects(Bucket=BUCKET, Delete={
                "Quiet": True, "Objects": [{"Key": key} for key in keys[at:at + 1000]]})
        for upload in client.list_multipart_uploads(Bucket=BUCKET,
                                                    Prefix=prefix).get("Uploads", []):
            client.abort_multipart_upload(Bucket=BUCKET, Key=upload["Key"],
                                          UploadId=upload["UploadId"])

    # -- what it saw

    def clear_log(self):
        self.admin("DELETE", "log")

    def settle(self):
        """Waits until no request but ours is open, so that the log is whole; not for long."""
        end = time.monotonic() + SETTLE_SECONDS
        while self.admin("GET", "stats")["in_flight"] > 1 and time.monotonic() < end:
            time.sleep(0.01)

    def seen(self):
        """Requests by operation and bytes of bodies, without our own (unsigned) listings."""
        self.settle()
        operations, down, up, of_objects = collections.Counter(), 0, 0, 0
        for entry in self.admin("GET", "log"):
            if entry["access_key"] or entry["op"] != "ListObjectsV2":
                operations[entry["op"]] += 1
                down += entry["bytes_out"]
                up += entry["bytes_in"]
                of_objects += entry["bytes_out"] if entry["op"] == "GetObject" else 0
        return {"requests": sum(operations.values()), "operations": dict(operations),
                "wire_down_bytes": down, "wire_up_bytes": up, "object_down_bytes": of_objects}
