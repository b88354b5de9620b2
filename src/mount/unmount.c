/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `pailfs --unmount DIR`: umount(8) returns before the daemon has stored what was released last, so
 * this waits for the daemon's end.
 *
 * Each daemon listens at an abstract socket that is named by the device of its mount, and accepts
 * nobody: whoever connected is hung up on when the process ends, however it does. Its owner must be
 * root or the user who asks, so that nobody else can keep him waiting.
 */
#include "mount_private.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>

#include "mountinfo.h"

#define WAITERS_MAX 16

static socklen_t life_address(struct sockaddr_un *a, unsigned major, unsigned minor)
{
	int length;

	*a = (struct sockaddr_un){.sun_family = AF_UNIX};
	length = snprintf(a->sun_path + 1, sizeof(a->sun_path) - 1, "pailfs-%u:%u", major, minor);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
}

int life_open(unsigned major, unsigned minor)
{
	struct sockaddr_un address;
	socklen_t length = life_address(&address, major, minor);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && bind(fd, (struct sockaddr *)&address, length) == 0 &&
	    listen(fd, WAITERS_MAX) == 0)
		return fd;
	log_debug("pailfs --unmount will not wait for this daemon: %s", strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

/* A connection to the daemon of that mount; -1 if there is none. */
static int life_connect(const struct mountinfo *info)
{
	struct sockaddr_un address;
	socklen_t length = life_address(&address, info->major, info->minor);
	struct ucred owner;
	socklen_t size = sizeof(owner);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, length) == 0 &&
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &owner, &size) == 0 &&
	    (owner.uid == 0 || owner.uid == getuid() || getuid() == 0))
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

static void wait_for_end(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	while (poll(&p, 1, -1) < 0 && errno == EINTR)
		;
}

int mount_end(const char *dir, char *ret_error, size_t error_size)
{
	CLEANUP(free) char *path = realpath(dir, NULL);
	CLEANUP(close) int fd = -1;
	struct mountinfo info;
	int rc;

	if (path == NULL) {
		rc = -errno;
		snprintf(ret_error, error_size, "%s: %s", dir, strerror(-rc));
		return rc;
	}
	if (mountinfo_find(path, &info) != 1 || strcmp(info.fstype, "fuse.pailfs") != 0) {
		snprintf(ret_error, error_size, "%s: pailfs has mounted nothing there", path);
		return -EINVAL;
	}
	fd = life_connect(&info);
	rc = mountinfo_unmount(path, false);
	if (rc < 0) {
		snprintf(ret_error, error_size, "%s: cannot be unmounted: %s", path,
			 rc == -EBUSY ? "busy (a file open or a directory entered), or not yours"
				      : strerror(-rc));
		return rc;
	}
	if (fd >= 0)
		wait_for_end(fd);
	return 0;
}
