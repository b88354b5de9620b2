# SPDX-License-Identifier: Apache-2.0
"""Starts s3d for its own tests. PAILFS_S3D names the binary."""

import json
import os
import signal
import socket
import ssl
import subprocess
import urllib.request

import boto3
import pytest
from botocore.config import Config

for name in list(os.environ):
    if name.endswith("_CA_BUNDLE") or name.startswith("SSL_CERT"):
        del os.environ[name]

SYSTEM_GETADDRINFO = socket.getaddrinfo


def loopback_getaddrinfo(host, *args, **kwargs):
    """*.localhost is loopback (RFC 6761), which glibc 2.36 leaves to DNS."""
    if str(host).endswith("localhost"):
        host = "127.0.0.1"
    return SYSTEM_GETADDRINFO(host, *args, **kwargs)


socket.getaddrinfo = loopback_getaddrinfo


class Server:
    """A running s3d, its admin interface and its clients."""

    def __init__(self, directory, *options, tls=None):
        binary = os.environ.get("PAILFS_S3D")
        if binary is None:
            pytest.skip("PAILFS_S3D does not name the server")
        read_end, write_end = os.pipe()
        command = [binary, "--dir", str(directory), "--ready-fd", str(write_end), *options]
        self.tls = tls
        if tls:
            command += ["--tls-cert", tls[0], "--tls-key", tls[1]]
        self.process = subprocess.Popen(command, pass_fds=[write_end], stdout=subprocess.DEVNULL)
        os.close(write_end)
        with os.fdopen(read_end) as ready:
            self.port = int(ready.readline())
        self.scheme = "https" if tls else "http"

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(10) == 0

    def admin(self, method, call, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.scheme}://127.0.0.1:{self.port}/_s3d/{call}", data=data, method=method)
        context = ssl.create_default_context(cafile=self.tls[0]) if self.tls else None
        with urllib.request.urlopen(request, context=context) as answer:
            return json.load(answer)

    def log(self, op=None):
        return [r for r in self.admin("GET", "log") if op in (None, r["op"])]

    def faults(self, *faults):
        self.admin("DELETE", "faults")
        self.admin("POST", "faults", list(faults))

    def client(self, style="path", key="AKIDS3D", secret="s3d-secret-key", **more):
        host = "localhost" if style == "virtual" else "127.0.0.1"
        return boto3.client(
            "s3", endpoint_url=f"{self.scheme}://{host}:{self.port}", aws_access_key_id=key,
            aws_secret_access_key=secret, region_name=more.pop("region_name", "us-east-1"),
            verify=self.tls[0] if self.tls else None,
            config=Config(s3={"addressing_style": style}, retries={"max_attempts": 0}), **more)

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A certificate of our own for 127.0.0.1 and *.localhost, and its key."""
    where = tmp_path_factory.mktemp("tls")
    cert, key = str(where / "cert.pem"), str(where / "key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=s3d", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:*.localhost",
         "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


@pytest.fixture
def start(tmp_path):
    """Starts servers that end with the test."""
    running = []

    def starter(*options, directory=None, tls=None):
        server = Server(directory or tmp_path / "data", *options, tls=tls)
        running.append(server)
        return server

    yield starter
    for server in running:
        if server.process.poll() is None:
            server.stop()


@pytest.fixture
def server(start):
    """A server with the bucket `pub`, which anybody may read."""
    running = start("--make-bucket", "pub")
    running.admin("POST", "bucket", {"name": "pub", "public": True})
    return running
