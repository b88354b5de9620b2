/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this mount knows follows a directory to its new place: its inode takes all below along (a
 * node of the kernel stays the same node), files that are open read on from the copies, and files
 * under write go on over theirs. While that happens nothing below is published (gate.c).
 *
 * Threads of rename. fs->lock is held for the tables; the log is read without it.
 */
#include <errno.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>

#include "node.h"
#include "rename_private.h"

/* A file below that is known, and what its copy is. */
struct followed {
	struct inode *inode; /* referenced */
	struct etag source, etag;
};

struct followers {
	struct renaming *r;
	struct followed *items;
	size_t count, capacity;
};

static void followers_finish(struct followers *f)
{
	for (size_t k = 0; k < f->count; k++) {
		inode_unref(f->r->fs, f->items[k].inode);
		etag_finish(&f->items[k].source);
		etag_finish(&f->items[k].etag);
	}
	free(f->items);
}

/* The known file of that path below top. */
static struct inode *find_below_locked(struct fs *fs, struct inode *top, const char *suffix,
				       size_t length)
{
	const char *at = suffix, *end = suffix + length;
	struct inode *i = top;

	while (i != NULL && at < end && *at == '/') {
		const char *slash;

		at++;
		slash = memchr(at, '/', (size_t)(end - at));
		if (slash == NULL)
			slash = end;
		if (slash == at || !i->is_dir)
			return NULL;
		i = inode_find_locked(fs, i, at, (size_t)(slash - at));
		at = slash;
	}
	return i != NULL && !i->is_dir && at == end ? i : NULL;
}

static int follow(void *ctx, const struct rename_copied *c)
{
	struct followers *f = ctx;
	struct fs *fs = f->r->fs;
	struct followed *items, one = {0};
	int rc;

	lock_acquire(&fs->lock);
	one.inode = find_below_locked(fs, f->r->from.inode, c->suffix, c->length);
	if (one.inode != NULL)
		inode_ref_locked(one.inode);
	lock_release(&fs->lock);
	if (one.inode == NULL)
		return 0;
	rc = etag_init(&one.source, c->source_etag);
	if (rc == 0)
		rc = etag_init(&one.etag, c->etag);
	if (rc == 0 && f->count == f->capacity) {
		size_t capacity = MAX(2 * f->capacity, (size_t)64);

		items = reallocarray(f->items, capacity, sizeof(*items));
		rc = items == NULL ? -ENOMEM : 0;
		if (rc == 0) {
			f->items = items;
			f->capacity = capacity;
		}
	}
	if (rc == 0) {
		f->items[f->count++] = one;
		return 0;
	}
	inode_unref(fs, one.inode);
	etag_finish(&one.source);
	etag_finish(&one.etag);
	return rc;
}

/* Files under write below the directory, referenced. NULL with 0 of them; -ENOMEM. */
static int dirties_below(struct renaming *r, struct dirty ***ret, size_t *ret_count)
{
	struct fs *fs = r->fs;
	struct dirty *d, **all = NULL;
	size_t n = 0;

	SCOPED_LOCK(&fs->lock);
	TAILQ_FOREACH (d, &fs->dirties, link)
		n++;
	*ret_count = 0;
	*ret = NULL;
	if (n == 0)
		return 0;
	all = calloc(n, sizeof(struct dirty *));
	if (all == NULL)
		return -ENOMEM;
	TAILQ_FOREACH (d, &fs->dirties, link) {
		if (d->inode->retired || !is_below_locked(d->inode->parent, r->from.inode))
			continue;
		d->refs++;
		all[(*ret_count)++] = d;
	}
	*ret = all;
	return 0;
}

static bool is_over(struct dirty *d)
{
	SCOPED_LOCK(&d->lock);
	return d->failed < 0 || d->unlinked;
}

int move_prepare(struct renaming *r, struct dirty **ret_dirty)
{
	CLEANUP(free) struct dirty **all = NULL;
	size_t n;
	int rc = dirties_below(r, &all, &n);

	for (size_t k = 0; k < n; k++) {
		int held = rc == 0 && !is_over(all[k]) ? writer_keep_all(dirty_writer(all[k])) : 0;

		if (held == -EOPNOTSUPP) {
			rc = 1;
			*ret_dirty = all[k];
			all[k] = NULL;
		}
		dirty_unref(all[k]);
	}
	return rc;
}

/* The base of a file under write was copied: it goes on over the copy. */
static int rebase(struct dirty *d, const struct buf *key, const struct followers *f)
{
	char etag[S3_ETAG_MAX], base[S3_ETAG_MAX];
	struct cache_version *version = NULL;
	struct writer *w = dirty_writer(d);
	uint64_t size = writer_base_size(w);
	int rc = -ESTALE;

	writer_base_etag(w, base);
	for (size_t k = f->count; k-- > 0 && rc == -ESTALE;) {
		const struct followed *o = &f->items[k];

		if (o->inode != d->inode || !s3_etags_equal(etag_text(&o->source, etag), base))
			continue;
		etag_text(&o->etag, etag);
		rc = size == UINT64_MAX ? 0
					: cache_version_get(d->fs->cache, key->data, key->length,
							    etag, size, &version);
		if (rc == 0)
			rc = writer_move(w, key->data, key->length, version, etag);
		cache_version_unref(version);
	}
	return rc;
}

static void move_dirty(struct dirty *d, const struct followers *f)
{
	CLEANUP(buf_finish) struct buf key = BUF_INIT;
	char base[S3_ETAG_MAX];
	struct inode *i;
	int rc = -ESTALE;

	lock_acquire(&d->fs->lock);
	i = d->inode != NULL ? inode_ref_locked(d->inode) : NULL;
	lock_release(&d->fs->lock);
	if (i == NULL || is_over(d)) {
		inode_unref(d->fs, i);
		return;
	}
	rc = inode_own_key(d->fs, i, &key);
	inode_unref(d->fs, i);
	if (rc == 0 && writer_base_etag(dirty_writer(d), base)[0] != '\0')
		rc = rebase(d, &key, f);
	else if (rc == 0)
		rc = writer_rename(dirty_writer(d), key.data, key.length);
	if (rc < 0) {
		log_warn("a file under write could not follow its directory (%s): nothing of it is "
			 "published",
			 strerror(-rc));
		dirty_abort(d, rc);
	}
}

static void move_dirties(struct renaming *r, const struct followers *f)
{
	CLEANUP(free) struct dirty **all = NULL;
	size_t n;

	if (dirties_below(r, &all, &n) < 0)
		log_warn("out of memory: files under write stay at their old names");
	for (size_t k = 0; k < n; k++) {
		move_dirty(all[k], f);
		dirty_unref(all[k]);
	}
}

/* Readers are bound to a key: they look for it again. */
static void unsettle(struct fs *fs, struct inode *i)
{
	if (i->is_dir)
		inode_drop_names_locked(fs, i);
	else
		inode_moved_on_locked(i);
}

static void settle_followers_locked(const struct followers *f)
{
	for (size_t k = 0; k < f->count; k++) {
		const struct followed *o = &f->items[k];
		struct etag made;

		if (o->inode->retired || !etag_equal(&o->inode->object.etag, &o->source) ||
		    etag_copy(&made, &o->etag) < 0)
			continue;
		SWAP(o->inode->object.etag, made);
		etag_finish(&made);
	}
}

static int move_inode_locked(struct renaming *r)
{
	struct fs *fs = r->fs;
	struct inode *i = r->from.inode;
	unsigned below = i->dir != NULL ? i->dir->dirty_below : 0;
	int rc;

	name_gone_locked(fs, r->to.parent, r->to.name, r->to.length);
	inode_count_dirty_locked(fs, i->parent, -(int)below);
	rc = inode_move_locked(fs, i, r->to.parent, r->to.name, r->to.length);
	inode_count_dirty_locked(fs, i->parent, (int)below);
	inode_drop_names_locked(fs, i);
	inode_each_below_locked(fs, i, unsettle);
	local_set_locked(fs, r->from.parent, r->from.name, r->from.length, LOCAL_GONE);
	inode_names_changed_locked(fs, r->from.parent);
	local_set_locked(fs, r->to.parent, r->to.name, r->to.length, LOCAL_DIR);
	inode_keep_locked(fs, r->from.parent);
	return rc;
}

void move_commit(struct renaming *r)
{
	struct followers f = {.r = r};
	struct fs *fs = r->fs;
	int rc = rename_log_each(r->log, follow, &f);

	if (rc < 0)
		log_warn("open files below a renamed directory may be stale: %s", strerror(-rc));
	lock_acquire(&fs->lock);
	if (move_inode_locked(r) < 0) {
		inode_retire_locked(fs, r->from.inode); /* both names are looked up again */
		r->kernel_errs = true;
	}
	settle_followers_locked(&f);
	lock_release(&fs->lock);
	move_dirties(r, &f);
	lock_acquire(&fs->lock);
	gate_open_locked(fs, &r->gate);
	lock_release(&fs->lock);
	followers_finish(&f);
}

int move_file_locked(struct renaming *r, struct object *object)
{
	struct fs *fs = r->fs;
	struct inode *i = r->from.inode;
	uint64_t now_ns = fs->clock->now_ns(fs->clock);
	int rc = 0;

	lock_assert_held(&fs->lock);
	name_gone_locked(fs, r->to.parent, r->to.name, r->to.length);
	if (!i->retired) {
		if (i->dirty != NULL)
			inode_count_dirty_locked(fs, i->parent, -1);
		rc = inode_move_locked(fs, i, r->to.parent, r->to.name, r->to.length);
		if (i->dirty != NULL)
			inode_count_dirty_locked(fs, i->parent, 1);
		if (rc == 0 && object != NULL) {
			SWAP(i->object.etag, object->etag);
			inode_moved_on_locked(i);
			i->fresh_until_ns = time_after(now_ns, fs->config.metadata_ttl_ns);
		}
	}
	if (rc < 0)
		inode_retire_locked(fs, i);
	local_set_locked(fs, r->from.parent, r->from.name, r->from.length, LOCAL_GONE);
	inode_names_changed_locked(fs, r->from.parent);
	local_set_locked(fs, r->to.parent, r->to.name, r->to.length, LOCAL_FILE);
	inode_keep_locked(fs, r->from.parent);
	return rc;
}
