/* SPDX-License-Identifier: Apache-2.0 */
/* Limits of the machine and of the process. First thread, before and after all others. */
#include "machine.h"

#include <malloc.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <pailfs/cleanup.h>
#include <pailfs/text.h>

#define DESCRIPTORS_WANTED 65536
#define ARENAS_MAX 4 /* each keeps freed memory; a thousand threads must not have one each */
/*
 * curl takes and gives back a buffer of 512 KiB with each request. As a mapping of its own, or at
 * the end of a heap that is trimmed, it would be touched for the first time with each request.
 */
#define MMAP_BYTES (1 << 20)
#define TRIM_BYTES (16 << 20)

static void fclosep(FILE **f)
{
	if (*f != NULL)
		fclose(*f);
}

/* The number in a file, UINT64_MAX if there is none ("max"). */
static uint64_t read_limit(const char *dir, const char *name)
{
	CLEANUP(free) char *path = text_format("%s/%s", dir, name);
	CLEANUP(fclose) FILE *f = path != NULL ? fopen(path, "re") : NULL;
	unsigned long long value;

	return f != NULL && fscanf(f, "%llu", &value) == 1 ? value : UINT64_MAX;
}

/* The smallest limit from a cgroup's directory up to the root of its hierarchy. */
static uint64_t limit_upwards(const char *root, const char *group, const char *name)
{
	CLEANUP(free) char *dir = text_format("%s%s", root, group);
	uint64_t limit = UINT64_MAX;
	size_t shortest = strlen(root);

	while (dir != NULL && strlen(dir) >= shortest) {
		char *slash = strrchr(dir, '/');

		limit = MIN(limit, read_limit(dir, name));
		if (slash == NULL)
			break;
		*slash = '\0';
	}
	return limit;
}

/* Lines are ID:CONTROLLERS:PATH; the unified hierarchy (cgroup v2) has no controllers there. */
static uint64_t cgroup_limit(void)
{
	CLEANUP(fclose) FILE *f = fopen("/proc/self/cgroup", "re");
	CLEANUP(free) char *line = NULL;
	uint64_t limit = UINT64_MAX;
	size_t size = 0;

	while (f != NULL && getline(&line, &size, f) > 0) {
		char *controllers = strchr(line, ':');
		char *group = controllers != NULL ? strchr(controllers + 1, ':') : NULL;

		if (group == NULL)
			continue;
		*group++ = '\0';
		group[strcspn(group, "\n")] = '\0';
		if (controllers[1] == '\0')
			limit = MIN(limit, limit_upwards("/sys/fs/cgroup", group, "memory.max"));
		else if (strstr(controllers, "memory") != NULL)
			limit = MIN(limit, limit_upwards("/sys/fs/cgroup/memory", group,
							 "memory.limit_in_bytes"));
	}
	return limit;
}

uint64_t machine_memory_bytes(void)
{
	uint64_t ram = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);

	return MIN(ram, cgroup_limit());
}

unsigned machine_cores(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return 1;
	return MAX((unsigned)CPU_COUNT(&set), 1U);
}

void machine_raise_limits(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < DESCRIPTORS_WANTED) {
		limit.rlim_cur = MIN(limit.rlim_max, (rlim_t)DESCRIPTORS_WANTED);
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	mallopt(M_ARENA_MAX, ARENAS_MAX);
	mallopt(M_MMAP_THRESHOLD, MMAP_BYTES);
	mallopt(M_TRIM_THRESHOLD, TRIM_BYTES);
}

void machine_hold_secrets(int holding)
{
	struct rlimit none = {0};

	if (holding)
		setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, holding ? 0 : 1);
}
