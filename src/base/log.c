/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log. A message is formatted on the caller's stack and written with one write(2), so that
 * lines of several threads do not mix. Under LOCK_LOG stand the sink and the table of sites that
 * limits repeats: a site (file:line) may write BURST messages a minute, then one a minute with the
 * count of those held back. Errors of the log itself are ignored: a full disk must not stop data.
 */
#include <pailfs/log.h>

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>

#include <pailfs/cleanup.h>
#include <pailfs/clock.h>
#include <pailfs/lock.h>

#define BURST 10
#define INTERVAL_NS (60 * NS_PER_S)
#define SITES_MAX 256
#define LINE_MAX_BYTES 2048

enum log_level log_threshold = LOG_LEVEL_INFO;

struct site {
	const char *name; /* address of the literal: identity */
	uint64_t since_ns;
	unsigned written, held;
};

static struct {
	struct lock lock;
	enum log_sink sink;
	int fd;
	char *path;
	struct site sites[SITES_MAX];
} state = {.lock = {.mutex = PTHREAD_MUTEX_INITIALIZER, .rank = LOCK_LOG}, .fd = STDERR_FILENO};

static const char *const level_names[] = {"ERROR", "WARNING", "INFO", "DEBUG"};
static const int level_syslog[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};

static int open_file(const char *path)
{
	int fd =
	    open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);

	return fd < 0 ? -errno : fd;
}

static void close_sink_locked(void)
{
	if (state.sink == LOG_SINK_FILE)
		close(state.fd);
	if (state.sink == LOG_SINK_SYSLOG)
		closelog();
	free(state.path);
	state.path = NULL;
	state.fd = STDERR_FILENO;
	state.sink = LOG_SINK_STDERR;
}

int log_open(enum log_sink sink, const char *path)
{
	CLEANUP(free) char *copy = path != NULL ? strdup(path) : NULL;
	int fd = STDERR_FILENO;

	if (sink == LOG_SINK_FILE) {
		if (copy == NULL)
			return path == NULL ? -EINVAL : -ENOMEM;
		fd = open_file(path);
		if (fd < 0)
			return fd;
	}
	SCOPED_LOCK(&state.lock);
	close_sink_locked();
	state.sink = sink;
	state.fd = fd;
	state.path = TAKE(copy);
	if (sink == LOG_SINK_SYSLOG)
		openlog("pailfs", LOG_PID | LOG_NDELAY, LOG_DAEMON);
	return 0;
}

int log_reopen(void)
{
	int fd;

	SCOPED_LOCK(&state.lock);
	if (state.sink != LOG_SINK_FILE)
		return 0;
	fd = open_file(state.path);
	if (fd < 0)
		return fd;
	close(state.fd);
	state.fd = fd;
	return 0;
}

void log_close(void)
{
	SCOPED_LOCK(&state.lock);
	close_sink_locked();
}

/* The entry of a call site, a fresh or the oldest one if it has none yet. */
static struct site *site_locked(const char *name)
{
	struct site *oldest = &state.sites[0];
	size_t i;

	lock_assert_held(&state.lock);
	for (i = 0; i < SITES_MAX; i++) {
		struct site *s = &state.sites[i];

		if (s->name == name)
			return s;
		if (s->name == NULL) {
			s->name = name;
			return s;
		}
		if (s->since_ns < oldest->since_ns)
			oldest = s;
	}
	*oldest = (struct site){.name = name};
	return oldest;
}

/* True if the site may write now; *ret_held: how many of its messages were held back before. */
static bool admit_locked(enum log_level level, const char *name, unsigned *ret_held)
{
	uint64_t now_ns = clock_now_ns();
	struct site *s;

	*ret_held = 0;
	if (level == LOG_LEVEL_DEBUG)
		return true;
	s = site_locked(name);
	if (s->since_ns == 0 || now_ns - s->since_ns >= INTERVAL_NS) {
		*ret_held = s->held;
		s->held = 0;
		s->written = *ret_held > 0 ? BURST - 1 : 0; /* still noisy: one a minute */
		s->since_ns = now_ns;
	}
	if (s->written >= BURST) {
		s->held++;
		return false;
	}
	s->written++;
	return true;
}

/* Replaces control characters in place of the text by \xNN; dst is large enough to be cut. */
static size_t escape(const char *src, char *dst, size_t size)
{
	size_t n = 0;

	for (; *src != '\0' && n + 5 < size; src++) {
		unsigned char c = (unsigned char)*src;

		if (c >= 0x20 && c != 0x7f)
			dst[n++] = (char)c;
		else
			n += (size_t)snprintf(dst + n, 5, "\\x%02x", c);
	}
	dst[n] = '\0';
	return n;
}

static size_t stamp(char *dst, size_t size)
{
	struct timespec ts;
	struct tm tm;
	size_t n;

	clock_gettime(CLOCK_REALTIME, &ts);
	localtime_r(&ts.tv_sec, &tm);
	n = strftime(dst, size, "%Y-%m-%dT%H:%M:%S", &tm);
	return n + (size_t)snprintf(dst + n, size - n, ".%03ld", ts.tv_nsec / 1000000);
}

static void emit_locked(enum log_level level, const char *text)
{
	char line[LINE_MAX_BYTES + 64];
	size_t n;

	lock_assert_held(&state.lock);
	if (state.sink == LOG_SINK_SYSLOG) {
		syslog(level_syslog[level], "%s", text);
		return;
	}
	n = stamp(line, sizeof(line));
	n += (size_t)snprintf(line + n, sizeof(line) - n, " pailfs[%d] %s %s\n", (int)getpid(),
			      level_names[level], text);
	if (n >= sizeof(line))
		n = sizeof(line) - 1;
	if (write(state.fd, line, n) < 0)
		return; /* nowhere to tell it */
}

void log_write(enum log_level level, const char *site, const char *fmt, ...)
{
	char raw[LINE_MAX_BYTES / 2], text[LINE_MAX_BYTES];
	int saved_errno = errno;
	unsigned held;
	va_list args;
	size_t n;

	va_start(args, fmt);
	vsnprintf(raw, sizeof(raw), fmt, args);
	va_end(args);
	n = escape(raw, text, sizeof(text) - 64);
	lock_acquire(&state.lock);
	if (admit_locked(level, site, &held)) {
		if (held > 0)
			snprintf(text + n, sizeof(text) - n, " [and %u more like it]", held);
		emit_locked(level, text);
	}
	lock_release(&state.lock);
	errno = saved_errno;
}

int log_level_parse(const char *text, enum log_level *ret_level)
{
	static const char *const names[] = {"error", "warning", "info", "debug"};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(text, names[i]) == 0) {
			*ret_level = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}
