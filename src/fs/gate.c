/* SPDX-License-Identifier: Apache-2.0 */
/* Lists under fs->lock; there are as many entries as there are calls on their way. */
#include "gate.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <pailfs/cleanup.h>

bool is_below_locked(const struct inode *dir, const struct inode *top)
{
	while (dir != NULL && dir != top)
		dir = dir->parent;
	return dir == top;
}

static bool closes_locked(const struct gate *g, const struct key_change *c)
{
	if (g->closed && is_below_locked(c->dir, g->dir))
		return true;
	for (int k = 0; g->names_closed && c->name != NULL && k < 2; k++)
		if (g->parents[k] == c->dir && strcmp(g->names[k], c->name) == 0)
			return true;
	return false;
}

static bool is_closed_locked(const struct fs *fs, const struct key_change *c)
{
	const struct gate *g;

	TAILQ_FOREACH (g, &fs->gates, link)
		if (closes_locked(g, c))
			return true;
	return false;
}

int change_begin(struct fs *fs, struct key_change *c, const struct inode *dir, const char *name,
		 struct cancel *cancel)
{
	*c = (struct key_change){.dir = dir, .name = name};
	return change_begin_both(fs, c, NULL, cancel);
}

int change_begin_both(struct fs *fs, struct key_change *a, struct key_change *b,
		      struct cancel *cancel)
{
	int rc = 0;

	SCOPED_LOCK(&fs->lock);
	while (rc == 0 && (is_closed_locked(fs, a) || (b != NULL && is_closed_locked(fs, b))))
		rc = cond_wait_cancel(&fs->gates_moved, &fs->lock, UINT64_MAX, cancel);
	if (rc < 0)
		return rc;
	TAILQ_INSERT_TAIL(&fs->changes, a, link);
	if (b != NULL)
		TAILQ_INSERT_TAIL(&fs->changes, b, link);
	return 0;
}

int change_begin_at(struct fs *fs, struct key_change *c, struct inode *i, struct cancel *cancel)
{
	char name[NAME_MAX + 1] = "";
	struct inode *dir;
	bool named;
	int rc;

	lock_acquire(&fs->lock);
	named = !i->is_dir && i->parent != NULL;
	dir = inode_ref_locked(named ? i->parent : i);
	if (named)
		snprintf(name, sizeof(name), "%.*s", (int)i->name_length, inode_name(i));
	lock_release(&fs->lock);
	rc = change_begin(fs, c, dir, named ? name : NULL, cancel);
	c->name = NULL; /* looked at only while it began */
	if (rc < 0)
		inode_unref(fs, dir);
	c->owned = dir;
	return rc;
}

void change_edits(struct fs *fs, struct key_change *c, const struct inode *i)
{
	SCOPED_LOCK(&fs->lock);
	c->edited = i;
}

static bool is_edited_locked(const struct fs *fs, const struct inode *i)
{
	const struct key_change *c;

	TAILQ_FOREACH (c, &fs->changes, link)
		if (c->edited == i)
			return true;
	return false;
}

int change_wait_edits_locked(struct fs *fs, const struct inode *i, struct cancel *cancel)
{
	int rc = 0;

	while (rc == 0 && i->dirty == NULL && is_edited_locked(fs, i))
		rc = cond_wait_cancel(&fs->gates_moved, &fs->lock, UINT64_MAX, cancel);
	return rc;
}

void change_end(struct fs *fs, struct key_change *c)
{
	SCOPED_LOCK(&fs->lock);
	TAILQ_REMOVE(&fs->changes, c, link);
	inode_unref_locked(fs, c->owned);
	if (!TAILQ_EMPTY(&fs->gates) || c->edited != NULL)
		cond_broadcast(&fs->gates_moved);
}

/* One is above the other, or both are the same. */
static bool keys_overlap(const struct buf *a, const struct buf *b)
{
	size_t n = MIN(a->length, b->length);
	const struct buf *longer = a->length > n ? a : b;

	if (n > 0 && memcmp(a->data, b->data, n) != 0)
		return false;
	return longer->length == n || n == 0 || longer->data[n] == '/';
}

static bool overlaps_locked(const struct fs *fs, const struct gate *g)
{
	const struct gate *other;

	TAILQ_FOREACH (other, &fs->gates, link)
		if (keys_overlap(g->from, other->from) || keys_overlap(g->from, other->to) ||
		    keys_overlap(g->to, other->from) || keys_overlap(g->to, other->to))
			return true;
	return false;
}

static void enter_locked(struct fs *fs, struct gate *g)
{
	g->entered = true;
	TAILQ_INSERT_TAIL(&fs->gates, g, link);
}

int gate_enter(struct fs *fs, struct gate *g, struct cancel *cancel)
{
	int rc = 0;

	SCOPED_LOCK(&fs->lock);
	while (rc == 0 && overlaps_locked(fs, g))
		rc = cond_wait_cancel(&fs->gates_moved, &fs->lock, UINT64_MAX, cancel);
	if (rc == 0)
		enter_locked(fs, g);
	return rc;
}

void gate_close_names_locked(struct fs *fs, struct gate *g)
{
	lock_assert_held(&fs->lock);
	g->names_closed = true;
	if (!g->entered)
		enter_locked(fs, g);
}

static bool is_changing_locked(const struct fs *fs, const struct gate *g)
{
	const struct key_change *c;

	TAILQ_FOREACH (c, &fs->changes, link)
		if (is_below_locked(c->dir, g->dir))
			return true;
	return false;
}

int gate_close(struct fs *fs, struct gate *g, struct cancel *cancel)
{
	int rc = 0;

	SCOPED_LOCK(&fs->lock);
	g->closed = true;
	while (rc == 0 && is_changing_locked(fs, g))
		rc = cond_wait_cancel(&fs->gates_moved, &fs->lock, UINT64_MAX, cancel);
	if (rc < 0)
		gate_open_locked(fs, g);
	return rc;
}

void gate_open_locked(struct fs *fs, struct gate *g)
{
	lock_assert_held(&fs->lock);
	g->closed = false;
	cond_broadcast(&fs->gates_moved);
}

void gate_leave(struct fs *fs, struct gate *g)
{
	SCOPED_LOCK(&fs->lock);
	if (!g->entered)
		return;
	TAILQ_REMOVE(&fs->gates, g, link);
	g->entered = false;
	cond_broadcast(&fs->gates_moved);
}
