# SPDX-License-Identifier: Apache-2.0
"""Running a program as another user, or in a mount namespace of its own.

Debian's udev lets everybody open /dev/fuse; in a container or a chroot it is often root's alone.
Rather than change the machine, a mount of another user then gets a namespace with a node of its
own.
"""
import os
import shlex

# A node that everybody may open, in front of /dev/fuse, in this namespace only.
_OPEN_FUSE = """
mount -t tmpfs -o mode=755 tmpfs {directory}
mknod -m 666 {directory}/fuse c 10 229
mount --bind {directory}/fuse /dev/fuse
"""


def fuse_missing():
    """Why no FUSE mount can be made here, or None."""
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as error:
        return "/dev/fuse: %s" % error.strerror
    return None


def fuse_is_open():
    return os.stat("/dev/fuse").st_mode & 0o006 == 0o006


def as_user(uid):
    """The prefix of a command that makes it run as uid without any privilege."""
    if uid is None:
        return []
    return ["setpriv", "--reuid", str(uid), "--regid", str(uid), "--clear-groups", "--"]


def in_new_namespace(setup, scratch, uid=None):
    """The prefix of a command that makes it run in a mount namespace of its own, as uid.

    setup is shell text that root runs first in the namespace; scratch an empty directory for it.
    The process id stays that of the prefix: every step is an exec.
    """
    script = "set -e\n" + setup
    if uid is not None and not fuse_is_open():
        script += _OPEN_FUSE.format(directory=shlex.quote(str(scratch)))
    script += "\nexec %s \"$@\"" % " ".join(as_user(uid))
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]


def in_namespace_of(pid, uid=None):
    """The prefix of a command that makes it run beside process pid, also within a chroot."""
    return ["nsenter", "--target", str(pid), "--mount", "--root", "--", *as_user(uid)]
