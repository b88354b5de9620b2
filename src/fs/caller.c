/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process behind a request, and whether it was killed.
 *
 * The kernel sends one INTERRUPT and then waits for the reply, so a waiting thread looks at /proc
 * itself, every CANCEL_POLL_NS, once the INTERRUPT has come. A fatal signal (SIGKILL, or Ctrl-C on
 * a default handler) puts bit 9 into SigPnd of every thread of the process; a signal with a handler
 * does not. So does a normal exit() for the siblings of the thread that calls it: then exit_code
 * (field 52 of stat, in wait() form) has no signal number in its low 7 bits.
 */
#include <pailfs/fs.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/text.h>

#define SIGKILL_BIT 0x100
#define STAT_EXIT_CODE 52 /* proc(5): (52) exit_code */

/* Reads the start of /proc/TID/name into dst as a string. -errno. */
static int proc_read(int32_t tid, const char *name, char *dst, size_t size)
{
	CLEANUP(close) int fd = -1;
	char path[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)tid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, dst, size - 1);
	if (n < 0)
		return -errno;
	dst[n] = '\0';
	return 0;
}

static bool kill_is_pending(int32_t tid)
{
	unsigned long long pending;
	char text[4096], *line;

	if (proc_read(tid, "status", text, sizeof(text)) < 0)
		return false;
	line = strstr(text, "\nSigPnd:");
	return line != NULL && sscanf(line, "\nSigPnd: %llx", &pending) == 1 &&
	       (pending & SIGKILL_BIT) != 0;
}

/* The exit code that the process is dying with, in wait() form; -errno if it cannot be read. */
static int exit_code(int32_t tid)
{
	char text[2048], *p;
	int field, code;

	if (proc_read(tid, "stat", text, sizeof(text)) < 0)
		return -EACCES;
	p = strrchr(text, ')'); /* the command's name may hold blanks and brackets */
	if (p == NULL)
		return -EINVAL;
	for (field = 2; field < STAT_EXIT_CODE; field++) {
		p = strchr(p + 1, ' ');
		if (p == NULL)
			return -EINVAL;
	}
	return sscanf(p, "%d", &code) == 1 ? code : -EINVAL;
}

/* struct cancel's poll: -EINTR once the caller was killed. */
static int caller_poll(struct cancel *cancel)
{
	struct caller *c = CONTAINER_OF(cancel, struct caller, cancel);
	int code;

	if (!__atomic_load_n(&c->interrupted, __ATOMIC_RELAXED) || c->tid == 0)
		return 0;
	if (!kill_is_pending(c->tid))
		return 0;
	code = exit_code(c->tid);
	return code >= 0 && (code & 0x7f) == 0 ? 0 : -EINTR;
}

void caller_init(struct caller *c, uint32_t uid, uint32_t gid, int32_t tid)
{
	*c = (struct caller){.cancel.poll = caller_poll, .uid = uid, .gid = gid, .tid = tid};
}

void caller_interrupt(struct caller *c)
{
	__atomic_store_n(&c->interrupted, true, __ATOMIC_RELAXED);
}
