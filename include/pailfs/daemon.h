/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Becoming a daemon, and telling who waits. The fork comes first, before any thread, curl or
 * OpenSSL; the parent stays until the child says how the start went, so that the command's exit
 * status and its one line on stderr are true.
 */
#ifndef PAILFS_DAEMON_H
#define PAILFS_DAEMON_H

#include <stdint.h>

#define DAEMON_IN_PARENT 1

struct daemon {
	int report_fd; /* to the parent; -1 in front */
};

/*
 * Forks. In the child: 0, and d reports to the parent. In the parent, after the child's report:
 * DAEMON_IN_PARENT, with *ret_exit_status to exit with (the line was printed; on success DIR was
 * asked and answered). A child that says nothing for limit_ns is killed. Without memory for a
 * child: -errno.
 */
int daemon_fork(struct daemon *d, const char *dir, uint64_t limit_ns, int *ret_exit_status);

/* A daemon that stays in front: reports go to stderr. */
void daemon_in_front(struct daemon *d);

/* The start failed: hands the line (without "pailfs: ") and the status over, or prints it. */
void daemon_report_failure(struct daemon *d, int exit_status, const char *line);

/*
 * The mount answers: tells systemd (NOTIFY_SOCKET), ready_fd (closed then; -1: none) and, last, the
 * parent; then leaves its session, terminal and directory behind. Logging to stderr must have ended
 * before, unless in front.
 */
void daemon_report_ready(struct daemon *d, int ready_fd);

/* Opens /dev/null on each of descriptors 0-2 that is closed, so that no file gets their number. */
void daemon_fill_standard_fds(void);

#endif
