/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel reads 128 KiB ahead on a FUSE mount, and INIT cannot raise that; sysfs can. 1 MiB is
 * worth half of a buffered stream's speed again (measured); far more makes a single fault of a
 * mapped file fetch megabytes.
 */
#include "mount_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>

#define READAHEAD_KIB "1024\n"

void readahead_raise(unsigned major, unsigned minor)
{
	char path[80];
	CLEANUP(close) int fd = -1;

	snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", major, minor);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, READAHEAD_KIB, strlen(READAHEAD_KIB)) < 0)
		log_debug("%s stays as it is: %s", path, strerror(errno));
}
