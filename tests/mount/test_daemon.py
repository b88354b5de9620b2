# SPDX-License-Identifier: Apache-2.0
"""How a mount begins and ends, and what signals do meanwhile."""
import os
import re
import signal
import socket
import subprocess
import time

import pytest

from support import mount as mounts
from support.keys import put_all

PATIENCE_S = 10


def wait_for(condition, what):
    """Waits until condition() holds; for what has no descriptor to wait on."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "waited in vain for " + what
        time.sleep(0.02)


def needs_root():
    if os.geteuid() != 0:
        pytest.skip("needs root")


def lines_of(mounted, word):
    return [line for line in mounted.log().splitlines() if word in line]


@pytest.fixture
def tree(s3, bucket):
    put_all(s3, bucket, {"dir/file": b"inside", "big": os.urandom(1 << 20)})


def mount_flags(mount_point):
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        fields = [line.split() for line in file if line.split()[4] == str(mount_point)]
    return fields[-1] if fields else None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_unmounts_an_idle_mount(mount, tree, number):
    mounted = mount()
    assert (mounted / "dir" / "file").read_bytes() == b"inside"
    mounted.send_signal(number)
    assert mounted.wait() == 0
    assert not mounted.is_mounted()


def test_a_signal_detaches_a_busy_mount(mount, tree):
    mounted = mount()
    mounted.expect("is busy")
    with open(mounted / "big", "rb") as file:
        file.read(10)
        mounted.send_signal(signal.SIGTERM)
        assert mounted.wait() == 0
        assert not mounted.is_mounted()


def test_the_first_thread_sleeps_while_files_are_looked_up(mount, tree):
    mounted = mount()
    before = mounted.status("voluntary_ctxt_switches")  # of the first thread
    for _ in range(100):
        os.stat(mounted / "dir")
        assert not os.path.exists(mounted / "dir" / "none")  # asked each time
    assert mounted.status("voluntary_ctxt_switches") - before < 10


@pytest.mark.s3d_only("stalls")
def test_a_second_signal_does_not_wait_for_what_is_asked(mount, server, tree):
    mounted = mount()
    mounted.expect("is busy")
    mounted.expect("second signal")
    server.faults({"name": "stall", "match": {"op": "GetObject"}, "do": {"stall_after": -1}})
    with subprocess.Popen(["cat", str(mounted / "big")], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as reader:
        wait_for(lambda: server.fault_hits().get("stall"), "the stalled request")
        mounted.send_signal(signal.SIGTERM)
        wait_for(lambda: not mounted.is_mounted(), "the unmount")
        with pytest.raises(AssertionError, match="has not ended"):
            mounted.wait(1)  # it drains
        begin = time.monotonic()
        mounted.send_signal(signal.SIGTERM)
        assert mounted.wait() == 1
        assert time.monotonic() - begin < 5  # a minute if it drained
        assert reader.wait() != 0
    mounted.check_log()
    mounted.exit_code = 0  # checked above


@pytest.mark.s3d_only("stalls")
def test_an_aborted_mount_gives_its_requests_up(mount, server, tree):
    needs_root()
    mounted = mount()
    server.faults({"name": "stall", "match": {"op": "GetObject"}, "do": {"stall_after": -1}})
    with subprocess.Popen(["cat", str(mounted / "big")], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as reader:
        wait_for(lambda: server.fault_hits().get("stall"), "the stalled request")
        subprocess.run(["umount", "-f", mounted.mount_point], stderr=subprocess.DEVNULL,
                       check=False)  # busy, but the kernel has given the connection up
        assert reader.wait() != 0
        mounted.wait()  # not a minute, which the request would take
    if mounted.is_mounted():
        subprocess.run(["umount", "-l", mounted.mount_point], check=True)


def test_what_is_mounted_over_it_stays(mount, tree):
    needs_root()
    mounted = mount()
    mounted.expect("under another mount")
    subprocess.run(["mount", "-t", "tmpfs", "none", mounted.mount_point], check=True)
    try:
        (mounted.mount_point / "over").touch()
        mounted.send_signal(signal.SIGTERM)
        assert mounted.wait() == 0
        assert os.listdir(mounted.mount_point) == ["over"]
    finally:
        subprocess.run(["umount", mounted.mount_point], check=True)


def test_what_it_is_mounted_over_stays(mount, tree, tmp_path):
    needs_root()
    below = tmp_path / "below"
    below.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", below], check=True)
    try:
        (below / "hidden").touch()
        mounted = mount(directory=below)
        mounted.expect("is busy")
        with open(below / "big", "rb") as file:
            file.read(10)
            mounted.send_signal(signal.SIGTERM)
            assert mounted.wait() == 0
        assert os.listdir(below) == ["hidden"]
    finally:
        subprocess.run(["umount", below], check=True)


def test_umount_ends_the_daemon(mount, tree):
    needs_root()
    mounted = mount(daemonise=True)
    subprocess.run(["umount", mounted.mount_point], check=True)
    assert mounted.wait() == 0


def test_a_lazy_umount_ends_the_daemon_when_the_last_file_is_closed(mount, tree):
    needs_root()
    mounted = mount()
    with open(mounted / "big", "rb") as file:
        file.read(10)
        subprocess.run(["umount", "-l", mounted.mount_point], check=True)
        file.seek(1 << 19)
        assert len(file.read()) == 1 << 19
        assert mounted.exit_code is None
    assert mounted.wait() == 0


def test_hangup_opens_the_log_again(mount, tree):
    mounted = mount(daemonise=True)
    moved = mounted.log_path.with_suffix(".1")
    mounted.log_path.rename(moved)
    mounted.send_signal(signal.SIGHUP)
    wait_for(mounted.log_path.exists, "the new log")
    assert mounted.unmount() == 0
    assert "unmounted" in mounted.log_path.read_text()
    assert "unmounted" not in moved.read_text()
    assert mounted.log_path.stat().st_mode & 0o777 == 0o600


@pytest.mark.s3d_only("changes of keys")
def test_hangup_reads_the_keys_again(mount, server, bucket, tree, tmp_path):
    keys = tmp_path / "keys"

    def write_keys(name, secret):
        keys.write_text("%s:%s\n" % (name, secret))
        keys.chmod(0o600)

    admin = {"access_key": server.access_key, "secret_key": server.secret_key}
    write_keys("AKIDFIRST", "first")
    server.credentials(admin, {"access_key": "AKIDFIRST", "secret_key": "first"})
    mounted = mount(options={"passwd_file": str(keys), "metadata_ttl": 0})
    assert (mounted / "dir" / "file").read_bytes() == b"inside"
    server.credentials(admin, {"access_key": "AKIDSECOND", "secret_key": "second"})
    write_keys("AKIDSECOND", "second")
    mounted.send_signal(signal.SIGHUP)

    def reads():
        mounted.tolerate("status 403")  # HEAD says no more
        try:
            return (mounted / "big").stat().st_size == 1 << 20
        except PermissionError:
            return False

    wait_for(reads, "the new keys")


@pytest.mark.s3d_only("stalls")
def test_usr1_logs_a_line_for_each_transfer(mount, server, tree):
    mounted = mount()
    server.faults({"name": "stall", "match": {"op": "GetObject"}, "do": {"stall_after": 1000}})
    with subprocess.Popen(["cat", str(mounted / "big")], stdout=subprocess.DEVNULL) as reader:
        wait_for(lambda: server.fault_hits().get("stall"), "the stalled request")
        mounted.send_signal(signal.SIGUSR1)
        wait_for(lambda: lines_of(mounted, "transfers running"), "the summary")
        reader.kill()
    wait_for(lambda: lines_of(mounted, "big: "), "the transfer's line")
    assert " of 1 MiB" in lines_of(mounted, "big: ")[0]


def test_systemd_is_told(mount, tree, tmp_path):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        listener.settimeout(PATIENCE_S)
        mounted = mount(daemonise=True, env={"NOTIFY_SOCKET": path})
        words = listener.recv(1000).decode().split("\n")
    assert "READY=1" in words
    assert "MAINPID=%d" % mounted.pid in words


def test_closed_descriptors_are_no_files_of_ours(server, bucket, tree, tmp_path):
    directory, log = tmp_path / "mnt", tmp_path / "log"
    directory.mkdir()
    options = mounts.option_text({**server.mount_options(), "log_file": str(log)})
    subprocess.run(["sh", "-c", '"$@" <&- >&- 2>&-', "sh", mounts.binary(), bucket, directory,
                    "-o", options], env={"PATH": os.environ["PATH"], **server.mount_environment()},
                   check=True, timeout=30)
    try:
        assert (directory / "dir" / "file").read_bytes() == b"inside"
        pid = int(re.search(r"pailfs\[(\d+)\]", log.read_text()).group(1))
        targets = {os.readlink("/proc/%d/fd/%d" % (pid, fd)) for fd in range(3)}
        assert targets == {"/dev/null"}
    finally:
        subprocess.run(["fusermount3", "-u", directory], check=True)


def test_nobody_looks_into_the_daemon(mount, tree):
    mounted = mount()
    with open("/proc/%d/limits" % mounted.pid, encoding="utf-8") as file:
        (core,) = [line.split()[4:6] for line in file if line.startswith("Max core file")]
    assert core == ["0", "0"]
    assert os.stat("/proc/%d/mem" % mounted.pid).st_uid == 0


def test_a_user_cannot_read_his_daemons_environment(mount, tree):
    needs_root()
    mounted = mount(uid=65534)
    done = mounted.run("cat", "/proc/%d/environ" % mounted.pid, check=False)
    assert b"Permission denied" in done.stderr


def test_read_ahead_is_raised(mount, tree):
    needs_root()
    if not os.access("/sys/class/bdi", os.W_OK) or os.statvfs("/sys").f_flag & os.ST_RDONLY:
        pytest.skip("/sys/class/bdi is missing or read-only here")
    mounted = mount()
    device = mount_flags(mounted.mount_point)[2]
    with open("/sys/class/bdi/%s/read_ahead_kb" % device, encoding="ascii") as file:
        assert file.read() == "1024\n"


def test_the_source_is_listed_as_it_was_written(mount, tree, bucket):
    mounted = mount(source="%s:/dir" % bucket)
    fields = mount_flags(mounted.mount_point)
    assert fields[fields.index("-") + 1:][:2] == ["fuse.pailfs", "%s:/dir" % bucket]


def test_ro_and_noexec_are_the_kernels(mount, tree):
    mounted = mount(options={"ro": True, "noexec": True})
    assert {"ro", "noexec"} <= set(mount_flags(mounted.mount_point)[5].split(","))


def helper_link(tmp_path):
    link = tmp_path / "mount.pailfs"
    link.symlink_to(mounts.binary())
    return link


def test_the_helper_of_mount_mounts(server, bucket, tree, tmp_path):
    needs_root()
    directory = tmp_path / "mnt"
    directory.mkdir()
    options = {**server.mount_options(), "_netdev": True, "nofail": True, "x-systemd.automount":
               True, "allow-other": True, "rw": True, "user": "somebody"}
    environment = {"PATH": os.environ["PATH"], **server.mount_environment()}
    command = [helper_link(tmp_path), bucket, directory, "-n", "-s", "-o",
               mounts.option_text(options)]
    subprocess.run(command, env=environment, check=True, timeout=30)
    try:
        assert (directory / "dir" / "file").read_bytes() == b"inside"
    finally:
        subprocess.run(["umount", directory], check=True)


def test_the_helper_of_mount_pretends(tmp_path):
    done = subprocess.run([helper_link(tmp_path), "b", tmp_path, "-f"], check=False)
    assert done.returncode == 0
    assert mount_flags(tmp_path) is None


@pytest.mark.s3d_only("a server that starts late")
def test_at_boot_a_late_server_is_waited_for(own_s3d, tmp_path):
    needs_root()
    server = own_s3d("--make-bucket", "late")
    directory = tmp_path / "mnt"
    directory.mkdir()
    environment = {"PATH": os.environ["PATH"], **server.mount_environment()}
    command = [helper_link(tmp_path), "late", directory, "-o",
               mounts.option_text(server.mount_options())]
    server.stop()
    with subprocess.Popen(command, env=environment) as mounting:
        with pytest.raises(subprocess.TimeoutExpired):
            mounting.wait(1.5)
        server.restart()
        assert mounting.wait(PATIENCE_S) == 0
    subprocess.run(["umount", directory], check=True)


def test_a_hanging_mount_is_told(mount, tree):
    needs_root()
    mounted = mount(daemonise=True)
    (mounted / "dir" / "file").read_bytes()
    os.kill(mounted.pid, signal.SIGSTOP)
    try:
        begin = time.monotonic()
        done = subprocess.run([mounts.binary(), "any-bucket", mounted.mount_point,
                               "-o", "no_sign_request"], capture_output=True, text=True,
                              check=False, timeout=30)
        assert done.returncode == 1
        assert str(mounted.mount_point) in done.stderr and "umount" in done.stderr
        assert time.monotonic() - begin < 12
    finally:
        os.kill(mounted.pid, signal.SIGCONT)
