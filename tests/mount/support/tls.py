# SPDX-License-Identifier: Apache-2.0
"""The suite's own certificate authority, and good and bad certificates, by the openssl command."""
import collections
import os
import subprocess

# ca is what a client should trust; for a self-signed one it is the CA that did not sign it.
Certificate = collections.namedtuple("Certificate", "cert key ca")

# A wildcard needs two labels behind it: *.localhost would match nothing.
GOOD_NAMES = "DNS:localhost,DNS:s3.localhost,DNS:*.s3.localhost,IP:127.0.0.1"
KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def _openssl(*args):
    environment = {name: value for name, value in os.environ.items() if name != "OPENSSL_CONF"}
    done = subprocess.run(["openssl", *args], env=environment, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError("openssl %s: %s" % (" ".join(args), done.stderr))


class Authority:
    """A CA in a directory; certificates are made once and kept."""

    def __init__(self, directory):
        self.directory = str(directory)
        self.ca = self._path("ca.pem")
        self._made = {}
        _openssl("req", "-x509", *KEY, "-keyout", self._path("ca.key"), "-out", self.ca,
                 "-days", "30", "-subj", "/CN=pailfs test CA")

    def _path(self, name):
        return os.path.join(self.directory, name)

    def _issue(self, name, names=GOOD_NAMES, days=30):
        if name not in self._made:
            certificate = Certificate(self._path(name + ".pem"), self._path(name + ".key"), self.ca)
            with open(self._path(name + ".ext"), "w", encoding="ascii") as extensions:
                extensions.write("subjectAltName=%s\nextendedKeyUsage=serverAuth\n" % names)
            _openssl("req", "-new", *KEY, "-keyout", certificate.key,
                     "-out", self._path(name + ".csr"), "-subj", "/CN=pailfs test server")
            _openssl("x509", "-req", "-in", self._path(name + ".csr"), "-CA", self.ca,
                     "-CAkey", self._path("ca.key"), "-CAcreateserial", "-days", str(days),
                     "-extfile", self._path(name + ".ext"), "-out", certificate.cert)
            self._made[name] = certificate
        return self._made[name]

    def good(self):
        return self._issue("good")

    def expired(self):
        """Ran out yesterday."""
        return self._issue("expired", days=-1)

    def wrong_host(self):
        """In order, but for another name."""
        return self._issue("wrong-host", names="DNS:elsewhere.example")

    def self_signed(self):
        """Right names, signed by itself and not by the CA."""
        if "self" not in self._made:
            certificate = Certificate(self._path("self.pem"), self._path("self.key"), self.ca)
            _openssl("req", "-x509", *KEY, "-keyout", certificate.key, "-out", certificate.cert,
                     "-days", "30", "-subj", "/CN=localhost",
                     "-addext", "subjectAltName=" + GOOD_NAMES)
            self._made["self"] = certificate
        return self._made["self"]
