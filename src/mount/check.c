/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mistakes that can be told before anything is mounted. Each is one line for the user that says
 * what is wrong and what to try. First thread, before mount_attach; looking at DIR may block when
 * the daemon of a mount there hangs, which the parent's patience (daemon.c) bounds.
 */
#include <pailfs/mount.h>

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>
#include <pailfs/text.h>

#include "mount_private.h"
#include "mountinfo.h"

#define OUR_FSTYPE "fuse.pailfs"
#define FUSE_MAJOR 10 /* misc, and fuse's number there: devices.txt of the kernel */
#define FUSE_MINOR 229
#define DEAD_MOUNTS_MAX 16 /* dead ones on top of each other that are detached */

static void fclosep(FILE **f)
{
	if (*f != NULL)
		fclose(*f);
}

__attribute__((format(printf, 4, 5))) static int refuse(int err, char *error, size_t size,
							const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(error, size, fmt, args);
	va_end(args);
	return err;
}

static int refuse_path(int err, const char *dir, char *error, size_t size)
{
	if (err == -ENOENT)
		return refuse(err, error, size, "%s: no such directory; try mkdir -p %s", dir, dir);
	if (err == -ENOTCONN)
		return refuse(err, error, size,
			      "%s: the mount of another program is dead there; try umount -l %s",
			      dir, dir);
	return refuse(err, error, size, "%s: %s", dir, strerror(-err));
}

/*
 * True if the daemon of a mount is gone. The kernel may still know the attributes that stat(2)
 * wants, but asks for statfs(2) each time; who is not the owner is told by neither.
 */
static bool is_dead(const char *path)
{
	struct statvfs sv;
	struct stat st;

	if (statvfs(path, &sv) == 0 && stat(path, &st) == 0)
		return false;
	return errno == ENOTCONN || errno == ECONNABORTED;
}

/* A mount of ours at path: dead ones are detached (0: look again), a live one is refused. */
static int settle_our_mount(const char *path, const struct mountinfo *info, char *error,
			    size_t size)
{
	int rc;

	if (!is_dead(path))
		return refuse(-EBUSY, error, size,
			      "%s: pailfs has already mounted %s there; try umount %s, or another "
			      "directory",
			      path, info->source, path);
	rc = mountinfo_unmount(path, 1);
	if (rc < 0)
		return refuse(rc, error, size,
			      "%s: a dead mount of pailfs (%s) is there and cannot be detached "
			      "(%s); try sudo umount -l %s",
			      path, info->source, strerror(-rc), path);
	log_warn("%s: the daemon of an earlier mount (%s) is gone; its mount was detached", path,
		 info->source);
	return 0;
}

void note_if_not_empty(const char *path)
{
	DIR *d = opendir(path);
	int names = 0;

	while (d != NULL && names <= 2 && readdir(d) != NULL)
		names++;
	if (d != NULL)
		closedir(d);
	if (names > 2)
		log_info("%s is not empty: the mount hides what is in it", path);
}

int mount_check_dir(const char *dir, char **ret_path, char *ret_error, size_t error_size)
{
	CLEANUP(free) char *path = realpath(dir, NULL);
	struct mountinfo info;
	struct stat st;
	int rc;

	if (path == NULL)
		return refuse_path(-errno, dir, ret_error, error_size);
	for (int i = 0; i < DEAD_MOUNTS_MAX; i++) {
		rc = mountinfo_find(path, &info);
		if (rc <= 0 || strcmp(info.fstype, OUR_FSTYPE) != 0)
			break;
		rc = settle_our_mount(path, &info, ret_error, error_size);
		if (rc < 0)
			return rc;
	}
	if (stat(path, &st) < 0)
		return refuse_path(-errno, path, ret_error, error_size);
	if (!S_ISDIR(st.st_mode))
		return refuse(-ENOTDIR, ret_error, error_size, "%s: not a directory", path);
	*ret_path = TAKE(path);
	return 0;
}

static bool has_fusermount(void)
{
	const char *search = getenv("PATH");
	CLEANUP(free) char *path = text_format("/usr/bin:/bin:%s", search != NULL ? search : "");
	char *save;

	for (char *dir = path != NULL ? strtok_r(path, ":", &save) : NULL; dir != NULL;
	     dir = strtok_r(NULL, ":", &save)) {
		CLEANUP(free) char *program = text_format("%s/fusermount3", dir);

		if (program != NULL && access(program, X_OK) == 0)
			return true;
	}
	return false;
}

static bool others_are_allowed(void)
{
	CLEANUP(fclose) FILE *f = fopen("/etc/fuse.conf", "re");
	CLEANUP(free) char *line = NULL;
	size_t size = 0;

	while (f != NULL && getline(&line, &size, f) > 0) {
		char word[32], more[2];

		if (sscanf(line, " %31s %1s", word, more) == 1 &&
		    strcmp(word, "user_allow_other") == 0)
			return true;
	}
	return false;
}

/* A request that the kernel aborts sooner than we answer it would kill the whole mount. */
static void warn_of_request_timeout(uint64_t op_timeout_ns)
{
	CLEANUP(fclose) FILE *f = fopen("/proc/sys/fs/fuse/max_request_timeout", "re");
	unsigned long long seconds = 0;

	if (f != NULL && fscanf(f, "%llu", &seconds) == 1 && seconds > 0 &&
	    seconds < op_timeout_ns / NS_PER_S)
		log_warn("the kernel ends a mount with a request older than "
			 "fs.fuse.max_request_timeout=%llu s, below op_timeout=%llu s; raise it "
			 "with sysctl or lower op_timeout",
			 seconds, (unsigned long long)(op_timeout_ns / NS_PER_S));
}

/* What fusermount3 would refuse, in words of its own. */
static int check_as_user(const struct mount_config *config, char *error, size_t size)
{
	struct stat st;

	if (!has_fusermount())
		return refuse(-ENOENT, error, size,
			      "fusermount3 is not there, and only root mounts without it; try "
			      "apt-get install fuse3");
	if (config->allow_other && !others_are_allowed())
		return refuse(-EPERM, error, size,
			      "allow_other: /etc/fuse.conf does not permit it to users; add the "
			      "line user_allow_other there, or mount as root");
	if (access(config->dir, W_OK) < 0)
		return refuse(-EACCES, error, size,
			      "%s: not writable, so that only root may mount there; choose a "
			      "directory of yours",
			      config->dir);
	if (stat(config->dir, &st) == 0 && (st.st_mode & S_ISVTX) && st.st_uid != geteuid())
		return refuse(-EACCES, error, size,
			      "%s: sticky and not yours, so that only root may mount there; choose "
			      "a directory of yours",
			      config->dir);
	return 0;
}

static int check_device(void)
{
	struct stat st;

	if (access("/dev/fuse", R_OK | W_OK) < 0 || stat("/dev/fuse", &st) < 0)
		return -errno;
	return S_ISCHR(st.st_mode) && st.st_rdev == makedev(FUSE_MAJOR, FUSE_MINOR) ? 0 : -ENODEV;
}

int mount_check_permitted(const struct mount_config *config, char *ret_error, size_t error_size)
{
	int rc;

	warn_of_request_timeout(config->op_timeout_ns);
	rc = check_device();
	if (rc < 0)
		return refuse(
		    rc, ret_error, error_size,
		    "/dev/fuse: %s; try modprobe fuse (in a container: --device /dev/fuse "
		    "--cap-add SYS_ADMIN)",
		    strerror(-rc));
	return geteuid() == 0 ? 0 : check_as_user(config, ret_error, error_size);
}

int mount_check_outside(const char *dir, const char *what, const char *path, char *ret_error,
			size_t error_size)
{
	CLEANUP(free) char *resolved = path != NULL ? realpath(path, NULL) : NULL;
	CLEANUP(free) char *copy = path != NULL && resolved == NULL ? strdup(path) : NULL;
	char *slash = copy != NULL ? strrchr(copy, '/') : NULL;
	size_t length = strlen(dir);

	if (slash != NULL) { /* it will be created: where its directory is counts */
		*slash = '\0';
		resolved = realpath(slash == copy ? "/" : copy, NULL);
	} else if (copy != NULL) {
		resolved = realpath(".", NULL);
	}
	if (resolved == NULL || strncmp(resolved, dir, length) != 0 ||
	    (resolved[length] != '/' && resolved[length] != '\0'))
		return 0;
	return refuse(-EINVAL, ret_error, error_size,
		      "%s=%s lies inside the mount point %s, which would hide it; choose a place "
		      "outside",
		      what, path, dir);
}
