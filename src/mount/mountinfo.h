/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel says of a mount point: /proc/self/mountinfo, without touching the mount. */
#ifndef PAILFS_MOUNT_MOUNTINFO_H
#define PAILFS_MOUNT_MOUNTINFO_H

#include <stddef.h>

struct mountinfo {
	unsigned major, minor;
	char fstype[64];
	char source[256]; /* cut when longer */
};

/* The topmost mount at an absolute, resolved path: 1 with *ret, 0 if none, or -errno. */
int mountinfo_find(const char *path, struct mountinfo *ret);

/* The topmost mount at path in a file of that form; for tests, as mountinfo_find. */
int mountinfo_find_in(const char *file, const char *path, struct mountinfo *ret);

/*
 * Unmounts path: as root by umount2(2), else by fusermount3. lazy detaches it even when busy. 0,
 * -EBUSY, or another -errno.
 */
int mountinfo_unmount(const char *path, int lazy);

#endif
