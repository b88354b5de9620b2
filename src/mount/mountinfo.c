/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads proc(5)'s mountinfo: looking at a mount point itself could hang when its daemon does. Any
 * thread.
 */
#include "mountinfo.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pailfs/cleanup.h>

extern char **environ;

static void fclosep(FILE **f)
{
	if (*f != NULL)
		fclose(*f);
}

/* Blanks, tabs, newlines and backslashes are written as \ooo; decoded in place. */
static void decode_octal(char *text)
{
	char *to = text;

	for (const char *c = text; *c != '\0'; to++) {
		if (c[0] == '\\' && c[1] >= '0' && c[1] <= '3' && c[2] >= '0' && c[2] <= '7' &&
		    c[3] >= '0' && c[3] <= '7') {
			*to = (char)((c[1] - '0') * 64 + (c[2] - '0') * 8 + (c[3] - '0'));
			c += 4;
		} else {
			*to = *c++;
		}
	}
	*to = '\0';
}

/* `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAG]... - TYPE SOURCE SUPEROPTIONS` */
static int parse_line(char *line, char **ret_point, struct mountinfo *ret)
{
	char *rest = strstr(line, " - ");
	char *save, *device, *type, *source;

	if (rest == NULL)
		return -EINVAL;
	*rest = '\0';
	rest += strlen(" - ");
	strtok_r(line, " ", &save);
	strtok_r(NULL, " ", &save);
	device = strtok_r(NULL, " ", &save);
	strtok_r(NULL, " ", &save);
	*ret_point = strtok_r(NULL, " ", &save);
	type = strtok_r(rest, " \n", &save);
	source = strtok_r(NULL, " \n", &save);
	if (*ret_point == NULL || type == NULL || source == NULL ||
	    sscanf(device, "%u:%u", &ret->major, &ret->minor) != 2)
		return -EINVAL;
	decode_octal(*ret_point);
	decode_octal(source);
	snprintf(ret->fstype, sizeof(ret->fstype), "%s", type);
	snprintf(ret->source, sizeof(ret->source), "%s", source);
	return 0;
}

int mountinfo_find_in(const char *file, const char *path, struct mountinfo *ret)
{
	CLEANUP(fclose) FILE *f = fopen(file, "re");
	CLEANUP(free) char *line = NULL;
	size_t size = 0;
	int found = 0;

	if (f == NULL)
		return -errno;
	while (getline(&line, &size, f) > 0) {
		struct mountinfo info;
		char *point;

		if (parse_line(line, &point, &info) == 0 && strcmp(point, path) == 0) {
			*ret = info; /* a later line lies on top of an earlier one */
			found = 1;
		}
	}
	return found;
}

int mountinfo_find(const char *path, struct mountinfo *ret)
{
	return mountinfo_find_in("/proc/self/mountinfo", path, ret);
}

/* Its messages would name fusermount3, not us: they are dropped. */
static int run_fusermount(const char *path, int lazy)
{
	char *argv[] = {(char *)"fusermount3", (char *)(lazy ? "-uz" : "-u"),
			(char *)"-q",	       (char *)"--",
			(char *)path,	       NULL};
	posix_spawn_file_actions_t files;
	pid_t pid;
	int status, rc;

	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	rc = posix_spawnp(&pid, argv[0], &files, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&files);
	if (rc != 0)
		return -rc;
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EBUSY;
}

int mountinfo_unmount(const char *path, int lazy)
{
	if (umount2(path, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0)
		return 0;
	return errno == EPERM ? run_fusermount(path, lazy) : -errno;
}
