/* SPDX-License-Identifier: Apache-2.0 */
/* The log: one line a message, to stderr, syslog or a file. Any thread may call it. */
#ifndef PAILFS_LOG_H
#define PAILFS_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

enum log_sink { LOG_SINK_STDERR, LOG_SINK_SYSLOG, LOG_SINK_FILE };

/* The one mutable global: messages above it cost one compare. */
extern enum log_level log_threshold;

/*
 * Sends what follows to that sink. path: an absolute path for LOG_SINK_FILE (opened append, 0600,
 * O_NOFOLLOW), else NULL. -errno when the file cannot be opened; the old sink stays then.
 */
int log_open(enum log_sink sink, const char *path);

/* Opens the log file again (SIGHUP, after rotation). Nothing to do for other sinks. */
int log_reopen(void);

/* Closes the sink; messages go to stderr again. */
void log_close(void);

/*
 * Writes `LEVEL message` with time (not in syslog). The same format string at the same place is
 * written at most 10 times a minute at levels above debug; then once a minute with its count.
 * A full or broken log never fails the caller and is never waited for. Control characters in
 * the text are written as \xNN. Use the macros.
 */
void log_write(enum log_level level, const char *site, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Parses error|warning|info|debug: 0, or -EINVAL. */
int log_level_parse(const char *text, enum log_level *ret_level);

#define LOG_STR_(x) #x
#define LOG_STR(x) LOG_STR_(x)
#define log_at(level, ...)                                                                         \
	do {                                                                                       \
		if ((level) <= log_threshold)                                                      \
			log_write((level), __FILE__ ":" LOG_STR(__LINE__), __VA_ARGS__);           \
	} while (0)
#define log_error(...) log_at(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_at(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_at(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
