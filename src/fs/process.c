/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /proc/PID/status, stat, task, fdinfo and mountinfo, as proc(5) has them. Any thread; no locks.
 *
 * A descriptor is of our file if its fdinfo shows our inode number and access mode and its mount id
 * is, by the mountinfo of that process, one of our device: two mounts of a bucket have the same
 * inode numbers. Kernels before 5.14 show no inode number: there nobody holds anything.
 */
#include "process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include <pailfs/cleanup.h>
#include <pailfs/text.h>

#define PROC_PATH_BYTES 384 /* /proc/PID/fdinfo/ and a name of a directory entry */
#define SIGKILL_BIT 0x100
#define PF_EXITING 0x4
/* fields of stat, as proc(5) numbers them */
#define STAT_PARENT 4
#define STAT_FLAGS 9
#define STAT_START_TIME 22
#define STAT_EXIT_CODE 52

static void closedirp(DIR **d)
{
	if (*d != NULL)
		closedir(*d);
}

static void fclosep(FILE **f)
{
	if (*f != NULL)
		fclose(*f);
}

/* Reads the start of /proc/PID/name into dst as a string. -errno. */
static int proc_read(int32_t pid, const char *name, char *dst, size_t size)
{
	CLEANUP(close) int fd = -1;
	char path[PROC_PATH_BYTES];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, dst, size - 1);
	if (n < 0)
		return -errno;
	dst[n] = '\0';
	return 0;
}

/* The value of a line `name:` in hexadecimal (base 16), octal or decimal; false if there is none.
 */
static bool line_value(const char *text, const char *name, int base, uint64_t *ret)
{
	const char *line = strstr(text, name);
	char *end;

	if (line == NULL)
		return false;
	line += strlen(name);
	*ret = strtoull(line, &end, base);
	return end != line;
}

bool process_kill_pending(int32_t tid)
{
	char text[4096];
	uint64_t pending;

	return proc_read(tid, "status", text, sizeof(text)) == 0 &&
	       line_value(text, "\nSigPnd:", 16, &pending) && (pending & SIGKILL_BIT) != 0;
}

int process_state(int32_t tid, struct process_state *ret)
{
	char text[2048], *p;
	int field, rc;

	rc = proc_read(tid, "stat", text, sizeof(text));
	if (rc < 0)
		return rc;
	*ret = (struct process_state){0};
	p = strrchr(text, ')'); /* the command's name may hold blanks and brackets */
	for (field = 3; p != NULL && (p = strchr(p + 1, ' ')) != NULL; field++) {
		uint64_t value = strtoull(p, NULL, 10);

		switch (field) {
		case STAT_PARENT:
			ret->parent = (int32_t)value;
			break;
		case STAT_FLAGS:
			ret->exiting = (value & PF_EXITING) != 0;
			break;
		case STAT_START_TIME:
			ret->started_ticks = value;
			break;
		case STAT_EXIT_CODE:
			ret->exit_code = (int)value;
			ret->has_exit_code = true;
			break;
		default:
			break;
		}
	}
	return field > STAT_START_TIME ? 0 : -EINVAL;
}

bool process_was_killed(const struct process_state *s)
{
	/* who may not read the exit code is shown 0 */
	return s->exiting && s->has_exit_code && (s->exit_code & 0x7f) != 0;
}

struct process process_of_thread(int32_t tid)
{
	struct process_state state;
	struct process p = {0};
	char text[4096];
	uint64_t group;

	if (tid == 0 || proc_read(tid, "status", text, sizeof(text)) < 0 ||
	    !line_value(text, "\nTgid:", 10, &group) || process_state((int32_t)group, &state) < 0)
		return p;
	p.pid = (int32_t)group;
	p.started_ticks = state.started_ticks;
	return p;
}

bool process_lives(const struct process *p)
{
	struct process_state state;

	return p->pid != 0 && process_state(p->pid, &state) == 0 &&
	       state.started_ticks == p->started_ticks;
}

/* True if the mount of that id, as process pid sees it, is of the device. */
static bool mount_is_of(int32_t pid, uint64_t mount_id, uint64_t device)
{
	CLEANUP(fclose) FILE *f = NULL;
	CLEANUP(free) char *line = NULL;
	char path[64];
	size_t size = 0;

	snprintf(path, sizeof(path), "/proc/%d/mountinfo", (int)pid);
	f = fopen(path, "re");
	while (f != NULL && getline(&line, &size, f) > 0) {
		unsigned long long id;
		unsigned major_number, minor_number;

		if (sscanf(line, "%llu %*u %u:%u", &id, &major_number, &minor_number) == 3 &&
		    id == mount_id)
			return makedev(major_number, minor_number) == device;
	}
	return false;
}

static bool descriptor_matches(int32_t pid, const char *fdinfo, const struct process_file *file)
{
	uint64_t ino, flags, mount_id;

	if (!line_value(fdinfo, "\nino:", 10, &ino) || ino != file->ino ||
	    !line_value(fdinfo, "\nflags:", 8, &flags) ||
	    (int)(flags & O_ACCMODE) != file->access_mode)
		return false;
	return file->device == 0 || (line_value(fdinfo, "\nmnt_id:", 10, &mount_id) &&
				     mount_is_of(pid, mount_id, file->device));
}

bool process_holds(int32_t pid, const struct process_file *file, unsigned *budget)
{
	CLEANUP(closedir) DIR *dir = NULL;
	struct process_state state;
	struct dirent *entry;
	char text[512], name[32 + NAME_MAX];

	if (pid <= 1 || process_state(pid, &state) < 0 || state.exiting)
		return false;
	snprintf(name, sizeof(name), "/proc/%d/fdinfo", (int)pid);
	dir = opendir(name);
	while (dir != NULL && *budget > 0 && (entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		(*budget)--;
		snprintf(name, sizeof(name), "fdinfo/%s", entry->d_name);
		if (proc_read(pid, name, text, sizeof(text)) == 0 &&
		    descriptor_matches(pid, text, file))
			return true;
	}
	return false;
}

/* The children of one thread. */
static bool thread_children_hold(int32_t pid, const char *tid, const struct process_file *file,
				 unsigned *budget)
{
	char name[64 + NAME_MAX], text[8192];
	char *save, *child;

	snprintf(name, sizeof(name), "task/%s/children", tid);
	if (proc_read(pid, name, text, sizeof(text)) < 0)
		return false;
	for (child = strtok_r(text, " \n", &save); child != NULL && *budget > 0;
	     child = strtok_r(NULL, " \n", &save)) {
		if (process_holds((int32_t)strtol(child, NULL, 10), file, budget))
			return true;
	}
	return false;
}

bool process_children_hold(int32_t pid, const struct process_file *file, unsigned *budget)
{
	CLEANUP(closedir) DIR *dir = NULL;
	struct dirent *entry;
	char name[64];

	snprintf(name, sizeof(name), "/proc/%d/task", (int)pid);
	dir = opendir(name);
	while (dir != NULL && *budget > 0 && (entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		(*budget)--;
		if (thread_children_hold(pid, entry->d_name, file, budget))
			return true;
	}
	return false;
}
