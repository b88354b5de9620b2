# SPDX-License-Identifier: Apache-2.0
"""Who is compared, on what, over which network: tables only. A new row needs no other change.

In a command, {bucket} {mount} {endpoint} {access} {secret} {passwd} {pailfs} are filled in.
"""
import collections

MIB = 1 << 20
GIB = 1 << 30

# Settings of s3d while the profile is measured (/_s3d/config); what is absent is off.
PROFILES = {
    "wire": {},
    "s3": {"first_byte_ms": 30, "list_ms": 30, "pace": 80_000_000, "nic": 1_000_000_000},
}

# A program that mounts and stays in the foreground. env is added to a bare environment.
Mounter = collections.namedtuple("Mounter", "command env version")
# No mount: plain curl, with so many ranges at once in each profile. The ceiling.
Client = collections.namedtuple("Client", "connections version")

KEYS = {"AWS_ACCESS_KEY_ID": "{access}", "AWS_SECRET_ACCESS_KEY": "{secret}"}
RCLONE = ("rclone mount --config=/dev/null --s3-provider=Other --s3-env-auth"
          " --s3-endpoint={endpoint}")

PEERS = {
    "pailfs": Mounter(
        "{pailfs} {bucket} {mount} -f -o endpoint={endpoint},region=us-east-1",
        KEYS, "{pailfs} -V"),
    "pailfs-256M": Mounter(
        "{pailfs} {bucket} {mount} -f -o endpoint={endpoint},region=us-east-1,memory=256M",
        KEYS, "{pailfs} -V"),
    "s3fs": Mounter(
        "s3fs {bucket} {mount} -f -o url={endpoint},use_path_request_style,passwd_file={passwd}",
        {}, "s3fs --version"),
    "rclone": Mounter(RCLONE + " :s3:{bucket} {mount}", KEYS, "rclone version"),
    "curl": Client({"wire": 1, "s3": 16}, "curl --version"),
}

# Objects are {name: bytes}; each file is read from its beginning to its end by a dd of its own,
# all at the same time.
Workload = collections.namedtuple("Workload", "objects reader")
DD = "dd if={file} of=/dev/null bs=1M status=none"

WORKLOADS = {
    "seqread": Workload({"seq/1g": GIB}, DD),
    "parread8": Workload({f"par/{i}": GIB // 4 for i in range(8)}, DD),
}
DEFAULT_WORKLOADS = ["seqread"]
DEFAULT_PEERS = ["pailfs", "s3fs", "rclone", "curl"]
