#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The programs that work on a mount where fio or coreutils do not fit. Prints JSON.

  gen.py create DIR COUNT SIZE THREADS SECONDS [OWN]   new files, each opened, written, closed;
                                                 OWN 1: thread N's in DIR/dN, which is there
  gen.py read DIR COUNT SIZE THREADS SECONDS LISTED   whole files, each compared
  gen.py first FILE...                           the first 4 KiB of each, one after the other
  gen.py write FILE SIZE SEED                    one file in writes of 1 MiB

Against a tmpfs (--peers local) create and read do tens of thousands of files a second, first some
10 us a file, write 2 to 5 GB/s: they do not hold up what is measured. Times are the monotonic
clock's, which all processes share. After SECONDS no further file is begun.
"""
import hashlib
import json
import os
import sys
import threading
import time

import content

FIRST_BYTES = 4096


def name_of(number):
    return f"f{number:05d}"


def each_file(count, threads, seconds, one):
    """Calls one(number, thread) for 0..count-1 on threads: how many were done, begin, end."""
    numbers, lock, failures = iter(range(count)), threading.Lock(), []
    done = [0] * threads
    begin = time.monotonic()

    def work(index):
        try:
            while not failures and time.monotonic() - begin < seconds:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                one(number, index)
                done[index] += 1
        except Exception as error:  # pylint: disable=broad-except
            failures.append(f"{type(error).__name__}: {error}")

    workers = [threading.Thread(target=work, args=(i,)) for i in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    end = time.monotonic()
    if failures:
        sys.exit(f"gen.py: {failures[0]}")
    return {"done": sum(done), "begin": begin, "end": end}


def write_all(fd, data):
    while len(data) > 0:
        data = data[os.write(fd, data):]


def create(directory, count, size, threads, seconds, own=0):
    contents, made = content.Small(count, size), []

    def one(number, thread):
        name = os.path.join(f"d{thread}" if own else "", name_of(number))
        fd = os.open(os.path.join(directory, name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            write_all(fd, contents.of(number, size))
        finally:
            os.close(fd)
        made.append((name, number))

    return each_file(count, threads, seconds, one) | {"made": made}


def read(directory, count, size, threads, seconds, listed):
    contents = content.Small(count, size)
    compared = os.environ.get("BENCH_COMPARE") != "no"  # the peer "local" has zeros

    def one(number, _):
        fd = os.open(os.path.join(directory, name_of(number)), os.O_RDONLY)
        try:
            at = 0
            while piece := os.read(fd, 1 << 20):
                if compared and piece != contents.of(number, size)[at:at + len(piece)]:
                    raise ValueError(f"WRONG DATA in {name_of(number)} at {at}")
                at += len(piece)
            if at != size:
                raise ValueError(f"WRONG DATA: {name_of(number)} has {at} bytes, not {size}")
        finally:
            os.close(fd)

    begin = time.monotonic()
    if listed and len(os.listdir(directory)) < count:
        sys.exit(f"gen.py: {directory} lists fewer than {count} names")
    found = each_file(count, threads, seconds, one)
    return found | {"begin": begin}


def first(*files):
    times, sums = [], []
    for path in files:
        begin = time.monotonic()
        fd = os.open(path, os.O_RDONLY)
        data = os.read(fd, FIRST_BYTES)
        times.append(time.monotonic() - begin)
        os.close(fd)
        sums.append(hashlib.sha256(data).hexdigest())
    return {"times": times, "sums": sums}


def write(path, size, seed):
    large = content.Large(size, seed)
    begin = time.monotonic()
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for piece in large.pieces():
        write_all(fd, piece)
    written = time.monotonic()
    os.close(fd)
    return {"begin": begin, "written": written, "end": time.monotonic()}


def main():
    verb, *words = sys.argv[1:]
    if verb == "first":
        found = first(*words)
    else:
        verbs = {"create": create, "read": read, "write": write}
        found = verbs[verb](words[0], *map(int, words[1:]))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
