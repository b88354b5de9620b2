/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fork of a daemon and its report. The report is one message on a pipe: the status as a byte,
 * then the line for the user. A child that dies closes the pipe without one. First thread only.
 */
#include <pailfs/daemon.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pailfs/cleanup.h>
#include <pailfs/clock.h>
#include <pailfs/log.h>

#define EXIT_FAILED 1
#define REPORT_BYTES 1024

struct report {
	unsigned char exit_status;
	char line[REPORT_BYTES];
};

void daemon_fill_standard_fds(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

static int fail_line(const char *line)
{
	fprintf(stderr, "pailfs: %s\n", line);
	return EXIT_FAILED;
}

/* Reads the report until the child closes the pipe: its bytes, 0 if it died, -ETIMEDOUT. */
static ssize_t read_report(int fd, uint64_t limit_ns, struct report *ret)
{
	uint64_t deadline = clock_now_ns() + limit_ns;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	ssize_t n;

	do {
		uint64_t now = clock_now_ns();
		uint64_t left_ms = now < deadline ? (deadline - now) / NS_PER_MS : 0;

		n = poll(&p, 1, (int)MIN(left_ms, (uint64_t)INT_MAX));
		if (n == 0)
			return -ETIMEDOUT;
		if (n > 0)
			n = read(fd, ret, sizeof(*ret) - 1);
	} while (n < 0 && errno == EINTR);
	return n;
}

static int say_how_it_died(pid_t child)
{
	char line[80];
	int status = 0;

	waitpid(child, &status, 0);
	if (WIFSIGNALED(status))
		snprintf(line, sizeof(line), "the daemon was killed at start by signal %d",
			 WTERMSIG(status));
	else
		snprintf(line, sizeof(line), "the daemon ended at start with status %d",
			 WEXITSTATUS(status));
	return fail_line(line);
}

/* Waits for the child's word and says what the command should exit with. */
static int parent_wait(pid_t child, int fd, const char *dir, uint64_t limit_ns)
{
	struct report report = {0};
	struct statvfs st;
	ssize_t n = read_report(fd, limit_ns, &report);

	if (n == -ETIMEDOUT) {
		kill(child, SIGKILL);
		fprintf(stderr,
			"pailfs: %s: no answer within the time allowed; a mount there may hang: "
			"try umount -l %s\n",
			dir, dir);
		return EXIT_FAILED;
	}
	if (n <= 0)
		return say_how_it_died(child);
	if (report.exit_status != 0) {
		fail_line(report.line);
		return report.exit_status;
	}
	if (statvfs(dir, &st) < 0) {
		fprintf(stderr, "pailfs: %s: mounted, but does not answer here: %s\n", dir,
			strerror(errno));
		return EXIT_FAILED;
	}
	return 0;
}

int daemon_fork(struct daemon *d, const char *dir, uint64_t limit_ns, int *ret_exit_status)
{
	int fds[2];
	pid_t parent = getpid(), child;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	child = fork();
	if (child < 0) {
		close(fds[0]);
		close(fds[1]);
		return -errno;
	}
	if (child > 0) {
		close(fds[1]);
		*ret_exit_status = parent_wait(child, fds[0], dir, limit_ns);
		close(fds[0]);
		return DAEMON_IN_PARENT;
	}
	close(fds[0]);
	prctl(PR_SET_PDEATHSIG, SIGTERM); /* nobody waits any more: nothing is to appear later */
	if (getppid() != parent)
		_exit(EXIT_FAILED);
	d->report_fd = fds[1];
	return 0;
}

void daemon_in_front(struct daemon *d)
{
	d->report_fd = -1;
}

static void send_report(struct daemon *d, int exit_status, const char *line)
{
	struct report report = {.exit_status = (unsigned char)exit_status};

	snprintf(report.line, sizeof(report.line), "%s", line);
	if (write(d->report_fd, &report, offsetof(struct report, line) + strlen(report.line)) < 0)
		log_warn("nobody waits for this start: %s", strerror(errno));
	close(d->report_fd);
	d->report_fd = -1;
}

void daemon_report_failure(struct daemon *d, int exit_status, const char *line)
{
	if (d->report_fd >= 0)
		send_report(d, exit_status, line);
	else
		fail_line(line);
}

/* sd_notify(3) by hand: a datagram to the socket that systemd names. */
static void notify_systemd(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	CLEANUP(close) int fd = -1;
	char text[64];
	size_t length;

	if (path == NULL || (path[0] != '/' && path[0] != '@') ||
	    strlen(path) >= sizeof(address.sun_path))
		return;
	length = strlen(path);
	memcpy(address.sun_path, path, length);
	if (path[0] == '@')
		address.sun_path[0] = '\0';
	snprintf(text, sizeof(text), "READY=1\nMAINPID=%d\n", (int)getpid());
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&address,
			     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) < 0)
		log_warn("NOTIFY_SOCKET=%s: %s", path, strerror(errno));
}

static void notify_fd(int fd)
{
	static const char ready[] = "READY=1\n";

	if (write(fd, ready, strlen(ready)) < 0)
		log_warn("ready_fd=%d: %s", fd, strerror(errno));
	close(fd);
}

static void leave_terminal(void)
{
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	setsid();
	prctl(PR_SET_PDEATHSIG, 0);
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO && null_fd >= 0; fd++)
		dup2(null_fd, fd);
	if (null_fd > STDERR_FILENO)
		close(null_fd);
}

void daemon_report_ready(struct daemon *d, int ready_fd)
{
	if (chdir("/") < 0)
		log_warn("chdir /: %s", strerror(errno));
	notify_systemd();
	if (ready_fd >= 0)
		notify_fd(ready_fd);
	if (d->report_fd < 0)
		return;
	leave_terminal();
	send_report(d, 0, "");
}
