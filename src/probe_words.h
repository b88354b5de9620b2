/* SPDX-License-Identifier: Apache-2.0 */
/* A try to reach the bucket, shared by probe.c, which makes it, and probe_words.c. */
#ifndef PAILFS_PROBE_WORDS_H
#define PAILFS_PROBE_WORDS_H

#include <stdbool.h>

#include <pailfs/lock.h>

#include "probe.h"

struct trial {
	struct http_request http;
	struct s3_op op;
	struct lock lock;
	struct cond ended;
	bool done; /* under the lock */
};

/* A listing of one key below prefix, which is borrowed. */
void trial_init(struct trial *t, const char *prefix);
/* Frees what it holds. */
void trial_finish(struct trial *t);
/* Makes the try, once; waits for its end. The result's errno; the rest stands in *t. */
int trial_run(struct trial *t, struct http *http, const struct s3_target *target,
	      const struct s3_keys *keys, uint64_t deadline_ns);

/*
 * Writes the line for a try that failed. May make one more try, unsigned, to tell whether a server
 * that does not understand http speaks https. keys may be NULL.
 */
void probe_explain(const struct trial *t, const struct probe_config *config,
		   const struct s3_target *target, const struct cred_keys *keys, char *dst,
		   size_t size);

#endif
