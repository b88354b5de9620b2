# SPDX-License-Identifier: Apache-2.0
"""Contents by rule: no two regions alike, so that a misplaced part changes the sum.

Objects that a test uploads are made here (0.9 GB/s). Objects that s3d makes up by itself follow
splitmix64(seed + offset/8); of those only small slices are computed here, in plain Python; the
sum of a large one is taken from the server through boto3, at C speed.
"""
import hashlib
import random

MIB = 1 << 20
_MASK = (1 << 64) - 1


def content(seed, size):
    """size bytes that do not compress; the first bytes of a longer content of the same seed."""
    blocks = (random.Random("%s/%d" % (seed, index)).randbytes(MIB)
              for index in range((size + MIB - 1) // MIB))
    return b"".join(blocks)[:size]


def checksum(data):
    return hashlib.sha256(data).hexdigest()


def file_checksum(path):
    """Reads a file from its beginning with read(2), 256 KiB at a time."""
    with open(path, "rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def object_checksum(s3, bucket, key):
    """The sum of an object as boto3 reads it."""
    digest = hashlib.sha256()
    for piece in s3.get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(MIB):
        digest.update(piece)
    return digest.hexdigest()


def _splitmix64(state):
    state = (state + 0x9E3779B97F4A7C15) & _MASK
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
    return state ^ (state >> 31)


def synthetic(seed, offset, length):
    """A slice of what s3d makes up for {"seed": seed}: little-endian words, one each 8 bytes."""
    first, last = offset // 8, (offset + length + 7) // 8
    words = b"".join(_splitmix64((seed + word) & _MASK).to_bytes(8, "little")
                     for word in range(first, last))
    return words[offset - first * 8:][:length]


def _crc32c_table():
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        yield value


_CRC32C = tuple(_crc32c_table())


def crc32c(content):
    """CRC-32C (Castagnoli), in plain Python: for small contents."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc = _CRC32C[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def without_races(ranges):
    """Ranges that were asked for, each once: of 100 requests, one may be sent a second time."""
    once = list(dict.fromkeys(ranges))
    assert len(ranges) - len(once) <= len(ranges) / 100
    return once
