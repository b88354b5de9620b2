/* SPDX-License-Identifier: Apache-2.0 */
#ifndef S3D_REQLOG_H
#define S3D_REQLOG_H

#include "request.h"

/* The log of requests, in memory and, if asked for, as JSON lines in a file. Any thread. */
struct reqlog;

/* path may be NULL. NULL when the file cannot be opened (errno). Times count from start_ns. */
struct reqlog *reqlog_create(const char *path, uint64_t start_ns);
/* Takes NULL. */
void reqlog_destroy(struct reqlog *log);

/* Opens the record of a request that has just been understood; it can be seen from now on. */
struct log_record *reqlog_begin(struct reqlog *log, const struct request *request);
/* The answer begins: status and, for an object, the range that is sent. */
void reqlog_answer(struct reqlog *log, struct log_record *record, const struct request *request);
/* The request is over. bytes_out counts the body. The record is not touched afterwards. */
void reqlog_end(struct reqlog *log, struct log_record *record, const struct request *request,
		uint64_t bytes_out);

/* Appends all records since the last clear as a JSON array. */
void reqlog_write(struct reqlog *log, struct buf *to);
/* Forgets them. What is in flight is not seen again. */
void reqlog_clear(struct reqlog *log);

#endif
