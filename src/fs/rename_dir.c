/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rename of a directory: copies until a listing brings nothing new, with changes below held back at
 * the last; then what this mount knows moves, and the sources are deleted. Until the first delete
 * an error, or the death of who asked, removes the copies and leaves the source as it was; from
 * then on it goes forward only.
 *
 * The thread of the rename. The log of the rename is on disk all the while.
 */
#include <errno.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>
#include <pailfs/text.h>

#include "rename_private.h"

#define OPEN_ROUNDS 3 /* while others change what is below */
#define ROUNDS_MAX 16
#define SLACK_S 900 /* of the server's clock: the target was empty, so nothing else is that new */
#define SHOWN_BYTES 256

/* What lies below the target. */
struct target {
	size_t base;
	bool marker, keys;
};

static int target_page(void *ctx, const struct s3_page *page)
{
	struct target *t = ctx;

	for (size_t k = 0; k < page->entry_count; k++) {
		if (page->entries[k].key_length > t->base + 1)
			t->keys = true;
		else
			t->marker = true;
	}
	return t->keys;
}

/* The target may be an empty directory. */
static int check_target(struct renaming *r, struct tree *t)
{
	struct target target = {.base = r->to.key.length};
	const struct inode *i = r->to.inode;
	int rc = keys_each_page(r->fs, &t->to_slash, t->cancel, target_page, &target);

	if (rc < 0)
		return rc;
	lock_acquire(&r->fs->lock);
	t->replaces = target.marker || (i != NULL && i->is_dir && inode_is_kept_locked(i));
	if (i != NULL && i->is_dir && i->dir != NULL && i->dir->dirty_below > 0)
		target.keys = true;
	rc = i != NULL && !i->is_dir ? -ENOTDIR : 0;
	lock_release(&r->fs->lock);
	if (r->only_new && (target.keys || t->replaces || rc < 0))
		return -EEXIST;
	if (target.keys)
		return -ENOTEMPTY;
	if (t->replaces && r->fs->config.safe_overwrite)
		return -EPERM;
	return rc;
}

/* Rounds until one brings nothing: 0; 1: even the last one did. */
static int copy_all(struct tree *t, int rounds, uint64_t *ret_keys)
{
	int rc = 1;

	for (; rc == 1 && rounds > 0; rounds--)
		rc = tree_copy_round(t, ret_keys);
	return rc;
}

/* Nothing is there, and this mount does not keep it, either. */
static bool is_gone(struct renaming *r)
{
	SCOPED_LOCK(&r->fs->lock);
	return !inode_is_kept_locked(r->from.inode);
}

/* All is copied and held: 0 (the gate is closed), or -errno (it is open). */
static int copy_and_hold(struct renaming *r, struct tree *t)
{
	struct dirty *d = NULL;
	uint64_t keys = 0;
	int rc, tries = 0;

	do {
		rc = copy_all(t, OPEN_ROUNDS, &keys);
		if (rc >= 0)
			rc = gate_close(r->fs, &r->gate, t->cancel);
		if (rc < 0)
			return rc;
		rc = copy_all(t, ROUNDS_MAX, &keys);
		if (rc == 1)
			rc = -EBUSY; /* another client writes all the time */
		if (rc == 0 && keys == 0 && is_gone(r))
			rc = -ENOENT;
		if (rc == 0)
			rc = tree_prune(t);
		if (rc == 0)
			rc = move_prepare(r, &d);
		if (rc == 0)
			return 0;
		lock_acquire(&r->fs->lock);
		gate_open_locked(r->fs, &r->gate);
		lock_release(&r->fs->lock);
		if (rc == 1) {
			rc = dirty_publish(d, &r->caller) < 0 ? -EBUSY : 1;
			dirty_unref(d);
		}
	} while (rc == 1 && ++tries < ROUNDS_MAX);
	return rc == 1 ? -EBUSY : rc;
}

/* The point of no return. -EINTR: who asked is gone. */
static int commit(struct renaming *r)
{
	int rc;

	lock_acquire(&r->lock);
	rc = r->given_up ? -EINTR : 0;
	r->committed = rc == 0;
	lock_release(&r->lock);
	if (rc == 0)
		rc = rename_log_deleting(r->log);
	if (rc == 0) {
		move_commit(r);
		return 0;
	}
	lock_acquire(&r->lock);
	r->committed = false;
	lock_release(&r->lock);
	SCOPED_LOCK(&r->fs->lock);
	gate_open_locked(r->fs, &r->gate);
	return rc;
}

static const char *shown(const struct place *p, char *dst)
{
	return text_printable(p->key.data, p->key.length, dst, SHOWN_BYTES);
}

/* Copies go; the log stays if some could not. */
static void take_back(struct renaming *r, struct tree *t, int err)
{
	char from[SHOWN_BYTES], to[SHOWN_BYTES];
	int rc;

	lock_acquire(&r->lock);
	r->taking_back = true;
	lock_release(&r->lock);
	rc = t->lines > 0 || t->in_doubt ? tree_take_back(t) : 0;
	if (t->lines > 0 || rc < 0)
		log_warn(
		    "renaming %s to %s was given up (%s) and taken back: %llu copies removed%s",
		    shown(&r->from, from), shown(&r->to, to), strerror(-err),
		    (unsigned long long)t->deleted,
		    rc == 0 ? "" : "; the next mount looks for what is left");
	if (rc == 0)
		rename_log_end(TAKE(r->log));
	else
		rename_log_keep(TAKE(r->log));
}

static int go_forward(struct renaming *r, struct tree *t)
{
	char from[SHOWN_BYTES], to[SHOWN_BYTES], size[32];
	uint64_t now_ns;
	int rc;

	lock_acquire(&r->lock);
	t->look_back = r->given_up;
	lock_release(&r->lock);
	rc = tree_delete_sources(t);
	now_ns = r->fs->clock->now_ns(r->fs->clock);
	if (rc == 0)
		log_info("renamed %s to %s: %llu objects, %s, in %.1f s", shown(&r->from, from),
			 shown(&r->to, to), (unsigned long long)t->deleted,
			 text_format_size(t->bytes, size, sizeof(size)),
			 (double)(now_ns - t->begun_ns) / (double)NS_PER_S);
	else
		log_warn("renaming %s to %s is not complete: %llu objects are still at the source: "
			 "%s",
			 shown(&r->from, from), shown(&r->to, to), (unsigned long long)t->left,
			 strerror(-rc));
	r->kernel_errs = r->kernel_errs || rc < 0;
	if (rc < 0 && t->left == 0)
		rename_log_keep(TAKE(r->log)); /* the server is gone: the next mount goes on */
	else
		rename_log_end(TAKE(r->log));
	return rc < 0 ? -EIO : 0;
}

static int run(struct renaming *r, struct tree *t)
{
	const struct clock *clock = r->fs->clock;
	struct rename_intent intent = {.from = r->from.key, .to = r->to.key, .is_dir = true};
	struct s3_target target;
	struct honoured unused;
	int rc = check_target(r, t);

	if (rc == 0)
		rc = conditions_learn(r->fs, t->cancel, &unused);
	if (rc < 0)
		return rc;
	xfer_target(r->fs->xfer, &target);
	intent.wall_s = (uint64_t)(clock->wall_s(clock) + target.clock_offset_s) - SLACK_S;
	intent.replaces = t->replaces;
	t->since_s = intent.wall_s;
	rc = rename_log_create(r->fs, &intent, &r->log);
	if (rc < 0)
		return rc;
	t->log = r->log;
	rc = copy_and_hold(r, t);
	if (rc == 0)
		rc = commit(r);
	if (rc == 0)
		return go_forward(r, t);
	take_back(r, t, rc);
	return rc;
}

int rename_dir(struct renaming *r)
{
	struct tree t;
	size_t n = r->from.key.length;
	int rc;

	if (r->from.inode == r->to.inode)
		return 0;
	if (r->to.key.length > n && r->to.key.data[n] == '/' &&
	    memcmp(r->to.key.data, r->from.key.data, n) == 0)
		return -EINVAL;
	rc = tree_init(&t, r->fs, &r->from.key, &r->to.key);
	t.cancel = &r->caller.cancel;
	if (rc == 0)
		rc = run(r, &t);
	tree_finish(&t);
	return rc;
}
