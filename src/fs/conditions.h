/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the server honours conditions of what changes objects. Private to fs/. One a mount. */
#ifndef PAILFS_FS_CONDITIONS_H
#define PAILFS_FS_CONDITIONS_H

#include <stdbool.h>

#include <pailfs/lock.h>

#define CONDITIONS_PROBE_KEY ".pailfs-condition-probe" /* below the mount's prefix */

struct fs;
struct conditions;

/* What is honoured, per verb. */
struct honoured {
	bool put, complete, copy, delete;
};

/* Nothing is asked yet. -ENOMEM. */
int conditions_create(struct conditions **ret);
/* NULL is fine. */
void conditions_destroy(struct conditions *c);
/*
 * What the server honours: probed at the first call, once; the others wait. Amazon is not probed.
 * 0, or -EINTR; a probe that fails counts as honoured, is logged, and done again next time.
 */
int conditions_learn(struct fs *fs, struct cancel *cancel, struct honoured *ret);

#endif
