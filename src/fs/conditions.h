/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the server honours conditions of what changes objects. Private to fs/. One a mount. */
#ifndef PAILFS_FS_CONDITIONS_H
#define PAILFS_FS_CONDITIONS_H

#include <stdbool.h>

#include <pailfs/lock.h>

/* Below the mount's prefix, with random hex digits behind it. */
#define CONDITIONS_PROBE_KEY ".pailfs-condition-probe-"

struct fs;
struct conditions;

/* What is honoured, per verb. */
struct honoured {
	bool put, complete, copy, delete;
};

/* Nothing is asked yet. -ENOMEM. */
int conditions_create(struct conditions **ret);
/* Breaks a running probe off and waits for its thread. NULL is fine. */
void conditions_destroy(struct conditions *c);
/* Begins the probe unless it runs or is done; waits for nothing. Any thread, without locks. */
void conditions_begin(struct fs *fs);
/*
 * What the server honours: begins the probe and waits for its end. Amazon is not probed. 0, or what
 * cancel answered; a probe that fails counts as honoured, is logged, and is done again next time.
 */
int conditions_learn(struct fs *fs, struct cancel *cancel, struct honoured *ret);

#endif
