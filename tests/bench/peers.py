# SPDX-License-Identifier: Apache-2.0
"""Who is compared: the mount programs of peers.ini, those of the command line, and clients.

Clients mount nothing. curl is the ceiling: plain processes of it, one on wire and https, 16 ranges
or objects at once where connections are paced; for small and random reads one for each thread, each
with one connection that stays. boto3 is what one would write instead of mounting:
download_file and upload_file with 10 threads and parts of 64 MB. awscli's cp comes with its
defaults. fuse is fusenull.c, FUSE without anything behind it: the ceiling of all mounts. local is a
directory of the fastest file system at hand (no mount, no server), which shows that the programs
that make the load are not what is measured. These two, and what peers.ini has of fusenull, have no
data: reads give zeros.
"""
import collections
import configparser
import os
import pathlib
import shlex
import shutil
import subprocess

from server import ACCESS, BUCKET, SECRET

HERE = pathlib.Path(__file__).resolve().parent
CURL_CONNECTIONS = {"wire": 1, "s3": 16, "https": 1}
PYTHON = "/usr/bin/python3"
AWS = "/usr/bin/aws"

# kind: "mount", "client", "fuse" or "local"; command: of a mount program, to be filled in.
Peer = collections.namedtuple("Peer", "name kind command version unset", defaults=[()])
CLIENTS = [Peer("curl", "client", None, "curl --version"),
           Peer("boto3", "client", None,
                PYTHON + " -c 'import boto3; print(\"boto3\", boto3.__version__)'"),
           Peer("awscli", "client", None, AWS + " --version"),
           Peer("fuse", "fuse", "{fusenull} {manifest} {mount}", "fusermount3 --version"),
           Peer("local", "local", None, "uname -r")]
EMPTY_KINDS = {"fuse", "local"}


def read_peers(extra=(), path=HERE / "peers.ini"):
    """{name: Peer}. extra: NAME=COMMAND words of the command line."""
    parser = configparser.ConfigParser(interpolation=None)
    with open(path, encoding="utf-8") as text:
        parser.read_file(text)
    found = {name: Peer(name, "fuse" if "{fusenull}" in parser[name]["command"] else "mount",
                        parser[name]["command"], parser[name]["version"],
                        tuple(parser[name].get("unset", "").split()))
             for name in parser.sections()}
    for word in extra:
        name, _, command = word.partition("=")
        if not name or "{mount}" not in command:
            raise SystemExit(f"bench.py: --mount NAME=COMMAND needs {{mount}} in it: {word}")
        found[name] = Peer(name, "mount", command, shlex.split(command)[0] + " --version")
    return found | {peer.name: peer for peer in CLIENTS}


def is_here(peer, options):
    """Whether its program is installed."""
    if peer.name == "awscli":
        return os.access(AWS, os.X_OK)
    if not peer.command:
        return True
    program = shlex.split(peer.command)[0].format(pailfs=options.pailfs, fusenull=options.fusenull)
    return shutil.which(program) is not None


def version_of(peer, pailfs):
    try:
        done = subprocess.run(shlex.split(peer.version.format(pailfs=pailfs)), timeout=20,
                              capture_output=True, text=True, check=False)
        return (done.stdout + done.stderr).splitlines()[0]
    except (OSError, IndexError, subprocess.TimeoutExpired) as error:
        return f"unknown ({error})"


def environment(home, server, unset=()):
    """What mounts and clients see: nothing of the caller's settings."""
    found = {"PATH": os.environ["PATH"], "HOME": str(home), "LC_ALL": "C.UTF-8",
             "TMPDIR": os.environ.get("TMPDIR", "/tmp"), "AWS_ACCESS_KEY_ID": ACCESS,
             "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_EC2_METADATA_DISABLED": "true",
             "PYTHONDONTWRITEBYTECODE": "1"}
    if server.certificate:
        found |= {name: server.certificate
                  for name in ("AWS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")}
    return {name: value for name, value in found.items() if name not in unset}


# -- what the clients run

def curl_reads(server, keys_and_sizes, connections):
    """curl processes that fetch objects, a range each where there are fewer objects."""
    plain = ["curl", "-sSf", "--noproxy", "*", *server.curl_trust(), "-o", "/dev/null"]
    each = max(1, connections // len(keys_and_sizes))
    commands = []
    for key, size in keys_and_sizes:
        step = -(-size // each)
        ranges = [[]] if each == 1 else [["-r", f"{at}-{min(at + step, size) - 1}"]
                                         for at in range(0, size, step)]
        commands += [[*plain, *words, server.url(key)] for words in ranges]
    return commands


def curl_fetches(server, transfers, config):
    """
    One curl that fetches [(key, range or None, output)] one after the other, on a connection that
    stays, and prints the seconds of each. config: a file for its options.
    """
    trust = f'cacert = "{server.certificate}"\n' if server.certificate else ""
    config.write_text("next\n".join(
        f'url = "{server.url(key)}"\noutput = "{output}"\nwrite-out = "%{{time_total}}\\n"\n'
        f'silent\nshow-error\nfail\nnoproxy = "*"\n{trust}'
        + (f'range = "{span}"\n' if span else "") for key, span, output in transfers))
    return ["curl", "-q", "-K", str(config)]


def curl_writes(server, sources, prefix):
    """A curl for each source file, to an object of its own; payloads are not signed."""
    return [["curl", "-sSf", "--noproxy", "*", *server.curl_trust(), "-H", "Expect:",
             "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", f"{ACCESS}:{SECRET}",
             "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD", "-T", str(source),
             server.url(f"{prefix}{number}")] for number, source in enumerate(sources)]


def boto3_command(server, verb, key, path):
    return [PYTHON, str(HERE / "boto.py"), verb, server.endpoint, BUCKET, key, str(path)]


def awscli_command(server, verb, key, path):
    place = f"s3://{BUCKET}/{key}"
    words = [place, str(path)] if verb == "download" else [str(path), place]
    return [AWS, "--endpoint-url", server.endpoint, "--region", "us-east-1", "s3", "cp",
            "--only-show-errors", *words]
