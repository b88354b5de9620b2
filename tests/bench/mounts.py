# SPDX-License-Identifier: Apache-2.0
"""Mount programs and the programs that work on them: started, measured, ended in any case.

Every program gets a session of its own, so that what it starts can be found, and only that is
ended. A cell that cannot be measured raises Failed with a line that says why; the run goes on.
"""
import contextlib
import os
import pathlib
import select
import shlex
import signal
import subprocess
import tempfile
import time

READY_SECONDS = 20
UMOUNT_SECONDS = 20
KILLED_SECONDS = 5
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
MIB = 1 << 20
WORDS_OF_LOG = 600


class Failed(Exception):
    """This cell has no figure; the text says why."""


class Cut(Failed):
    """The time limit came first."""


def session_pids(session):
    """The living processes of a session."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            stat = pathlib.Path(f"/proc/{entry}/stat").read_text()
        except OSError:
            continue
        fields = stat.rpartition(")")[2].split()
        if int(fields[3]) == session and fields[0] not in "ZX":
            found.append(int(entry))
    return found


def kill_session(process):
    """Ends what a process of ours started in its session, and reaps it."""
    for pid in session_pids(process.pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    try:
        process.wait(KILLED_SECONDS)
    except subprocess.TimeoutExpired:
        pass  # it waits in the kernel for a mount: ending the daemon frees it


class Usage:
    """CPU seconds and the largest resident size of a session: what it has now and what ended."""

    def __init__(self, session):
        self.session = session

    def cpu_s(self):
        ticks = 0
        for pid in session_pids(self.session):
            try:
                fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            ticks += sum(int(field) for field in fields[11:15])  # ended children, too
        return ticks / CLOCK_TICKS

    def peak_rss_bytes(self):
        total = 0
        for pid in session_pids(self.session):
            try:
                lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
            except OSError:
                continue
            total += sum(int(line.split()[1]) * 1024 for line in lines
                         if line.startswith("VmHWM:"))
        return total


def is_mounted(mount_point):
    """Asks the kernel's table: stat(2) of a mount whose daemon is dead or hangs would tell less."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as table:
        return any(line.split()[4] == str(mount_point) for line in table)


def unmount(mount_point):
    """umount, or by force of a lazy one; never waits for long."""
    if not is_mounted(mount_point):
        return True
    try:
        done = subprocess.run(["umount", mount_point], timeout=UMOUNT_SECONDS, check=False,
                              capture_output=True).returncode == 0
    except subprocess.TimeoutExpired:
        done = False
    if not done:
        subprocess.run(["umount", "-l", mount_point], check=False, capture_output=True,
                       timeout=UMOUNT_SECONDS)
    return done


class Mount:
    """One fresh mount of a peer; with-statement."""

    def __init__(self, command, mount_point, environment):
        self.mount_point, self.environment = str(mount_point), environment
        self.command = shlex.split(command)

    def __enter__(self):
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            self.command, env=self.environment, stdin=subprocess.DEVNULL, stdout=self.log,
            stderr=self.log, start_new_session=True)
        self.usage = Usage(self.process.pid)
        try:
            end = time.monotonic() + READY_SECONDS
            while not is_mounted(self.mount_point):
                if self.process.poll() is not None or time.monotonic() > end:
                    raise Failed(f"does not mount: {self.last_words()}")
                time.sleep(0.01)
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, kind, *_):
        if kind is None and self.process.poll() is not None:
            words = self.last_words()
            self.end()
            raise Failed(f"the daemon ended by itself with {self.process.returncode}: {words}")
        self.end(by_force=kind is not None)

    def last_words(self):
        self.log.seek(0)
        text = self.log.read().decode(errors="replace")[-WORDS_OF_LOG:]
        return " / ".join(text.split("\n")).strip() or "it said nothing"

    def end(self, by_force=False):
        if by_force:
            kill_session(self.process)
        try:
            clean = unmount(self.mount_point)
            self.process.wait(UMOUNT_SECONDS if clean and not by_force else 0)
        except subprocess.TimeoutExpired:
            pass
        finally:
            kill_session(self.process)
            if is_mounted(self.mount_point):
                unmount(self.mount_point)
            self.log.close()


def run_all(commands, limit_s, environment=None, output=None):
    """
    Runs commands at the same time; (seconds, their CPU seconds, what they printed, one after the
    other). output: a file for stdout instead. Raises Cut after limit_s.
    """
    begin = time.monotonic()
    processes = []
    with contextlib.ExitStack() as files:
        outs = [files.enter_context(tempfile.TemporaryFile()) for _ in commands]
        errors = files.enter_context(tempfile.TemporaryFile())
        try:
            for command, out in zip(commands, outs):
                processes.append(subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=output or out, stderr=errors,
                    start_new_session=True, env=environment))
            cpu_s = wait_all(processes, begin + limit_s, limit_s)
        finally:
            for process in processes:
                if process.returncode is None:
                    kill_session(process)
        seconds = time.monotonic() - begin
        failed = [p for p in processes if p.returncode != 0]
        if failed:
            errors.seek(0)
            words = errors.read().decode(errors="replace").strip()[-WORDS_OF_LOG:]
            name = os.path.basename(failed[0].args[0])
            raise Failed(f"{name} ended with {failed[0].returncode}: "
                         f"{' / '.join(words.split(chr(10)))}")
        for out in outs:
            out.seek(0)
        return seconds, cpu_s, "".join(out.read().decode(errors="replace") for out in outs)


def wait_all(processes, end, limit_s):
    """Waits for all; their CPU seconds."""
    cpu_s = 0
    for process in processes:
        pid_fd = os.pidfd_open(process.pid)
        try:
            poll = select.poll()
            poll.register(pid_fd, select.POLLIN)
            if not poll.poll(max(0, end - time.monotonic()) * 1000):
                raise Cut(f"not done after {limit_s:g} s")
        finally:
            os.close(pid_fd)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        cpu_s += usage.ru_utime + usage.ru_stime
    return cpu_s
