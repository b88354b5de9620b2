/* SPDX-License-Identifier: Apache-2.0 */
/* Reaching the bucket before anything is mounted, and saying in one line why it cannot be. */
#ifndef PAILFS_PROBE_H
#define PAILFS_PROBE_H

#include <stddef.h>
#include <stdint.h>

#include <pailfs/cred.h>
#include <pailfs/http.h>
#include <pailfs/s3.h>

#define PROBE_ERROR_BYTES 512

struct probe_config {
	struct http *http;
	struct cred *cred;
	const char *prefix;    /* "" or "a/b/" */
	uint64_t patience_ns;  /* tries again that long while there is no name or no connection */
	const char *ca_bundle; /* for advice; NULL: the system's */
};

/*
 * Asks for a listing of one key below the prefix, which is the least that a mount must be able to
 * do. A region and a clock's offset that are learnt are written into *target. Blocks at most 8 s
 * beyond patience_ns. 0, or -errno with one line: the bucket, what is wrong, what to try.
 */
int probe_bucket(const struct probe_config *config, struct s3_target *target, char *ret_error,
		 size_t error_size);

#endif
