/* SPDX-License-Identifier: Apache-2.0 */
/* pailfs --uploads: what was begun and never finished, listed and, on request, aborted. */
#ifndef PAILFS_UPLOADS_H
#define PAILFS_UPLOADS_H

#include <stdbool.h>
#include <stdint.h>

#include <pailfs/xfer.h>

struct uploads_ask {
	const char *bucket, *prefix; /* prefix "" or "a/b/" */
	uint64_t older_than_ns;	     /* younger ones are left out; 0: none */
	bool abort;
};

/*
 * Writes a line an upload to stdout (when it was initiated, its age, its id, its key, with tabs
 * between) and one on all of them to stderr. Waits for the server. 0, or -errno when they could not
 * all be listed, or aborted: a line on stderr says why.
 */
int uploads_command(struct xfer *xfer, const struct uploads_ask *ask);

#endif
