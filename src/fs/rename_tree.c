/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys of a directory's rename. All keys below are listed and copied, again and again until
 * a listing brings nothing new; then the sources are listed once more and deleted, those that are
 * what was copied. Who takes it back lists the copies, and removes those that are what was made and
 * whose source is still there.
 *
 * Memory: a page of the listing, a short queue, and 8 to 16 bytes a key in each of three sets. The
 * ETags themselves are in the log. On the thread of a rename, or of the one that settles what a
 * daemon before has left; no locks are held.
 */
#include <errno.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>
#include <pailfs/text.h>

#include "copy.h"
#include "rename_private.h"

#define TELL_NS (5 * NS_PER_S)

const char *const tree_extras[2] = {"", FOLDER_SUFFIX};

int tree_init(struct tree *t, struct fs *fs, const struct buf *from, const struct buf *to)
{
	int rc;

	*t = (struct tree){.fs = fs, .from = from, .to = to};
	keyset_init(&t->copied);
	keyset_init(&t->made);
	keyset_init(&t->seen);
	t->begun_ns = t->told_ns = fs->clock->now_ns(fs->clock);
	rc = buf_append(&t->from_slash, from->data, from->length);
	if (rc == 0)
		rc = buf_append_str(&t->from_slash, "/");
	if (rc == 0)
		rc = buf_append(&t->to_slash, to->data, to->length);
	return rc < 0 ? rc : buf_append_str(&t->to_slash, "/");
}

void tree_finish(struct tree *t)
{
	buf_finish(&t->from_slash);
	buf_finish(&t->to_slash);
	keyset_finish(&t->copied);
	keyset_finish(&t->made);
	keyset_finish(&t->seen);
}

void tree_tell(struct tree *t, const char *what, uint64_t count)
{
	uint64_t now_ns = t->fs->clock->now_ns(t->fs->clock);
	char from[256], to[256];

	if (now_ns - t->told_ns < TELL_NS)
		return;
	t->told_ns = now_ns;
	log_info("renaming %s to %s: %llu objects %s",
		 text_printable(t->from->data, t->from->length, from, sizeof(from)),
		 text_printable(t->to->data, t->to->length, to, sizeof(to)),
		 (unsigned long long)count, what);
}

int tree_note_copied(struct tree *t, const struct rename_copied *c)
{
	int rc = keyset_add(&t->copied, c->suffix, c->length, c->source_etag);

	if (rc == 0)
		rc = keyset_add(&t->made, c->suffix, c->length, c->etag);
	if (rc == 0 && t->log != NULL)
		rc = rename_log_copied(t->log, c);
	t->lines++;
	return rc;
}

/* ---- copying ---- */

struct round {
	struct tree *tree;
	struct keyset before; /* suffixes of the round before */
	uint64_t keys, wanted;
};

static int copy_key(struct round *r, const char *suffix, size_t length, const char *etag)
{
	struct tree *t = r->tree;
	int rc = keyset_add(&t->seen, suffix, length, "");

	r->keys++;
	if (rc < 0 || pool_has_copied(t->pool, suffix, length, etag))
		return rc;
	r->wanted++;
	return pool_add(t->pool, suffix, length, keyset_has(&r->before, suffix, length, ""));
}

static int copy_page(void *ctx, const struct s3_page *page)
{
	struct round *r = ctx;
	size_t base = r->tree->from->length;
	int rc = 0;

	for (size_t k = 0; k < page->entry_count && rc == 0; k++) {
		const struct s3_entry *e = &page->entries[k];

		rc = copy_key(r, e->key + base, e->key_length - base, e->etag ?: "");
	}
	tree_tell(r->tree, "copied", pool_copied(r->tree->pool));
	return rc;
}

/* The object that the directory hides, and its folder marker. */
static int copy_extras(struct round *r)
{
	struct batch b = {0};
	char etags[ARRAY_SIZE(tree_extras)][S3_ETAG_MAX];
	struct tree *t = r->tree;
	int rc = 0;

	for (size_t k = 0; k < ARRAY_SIZE(tree_extras) && rc == 0; k++)
		if (t->from->length + strlen(tree_extras[k]) <= S3_KEY_MAX)
			rc = batch_add(&b, t->from, tree_extras[k], strlen(tree_extras[k]), "");
	if (rc == 0)
		rc = batch_look(t->fs, &b, t->from, t->from, etags, t->cancel);
	for (unsigned k = 0; k < b.count && rc == 0; k++) {
		rc = b.keys[k].err;
		if (rc == 0 && etags[k][0] != '\0')
			rc = copy_key(r, tree_extras[k], strlen(tree_extras[k]), etags[k]);
	}
	batch_finish(&b);
	return rc;
}

int tree_copy_round(struct tree *t, uint64_t *ret_keys)
{
	struct round r = {.tree = t, .before = t->seen};
	int rc, ended;

	keyset_init(&t->seen);
	rc = pool_create(t, &t->pool);
	if (rc == 0)
		rc = copy_extras(&r);
	if (rc == 0)
		rc = keys_each_page(t->fs, &t->from_slash, t->cancel, copy_page, &r);
	ended = pool_destroy(TAKE(t->pool));
	keyset_finish(&r.before);
	if (ended < 0)
		rc = ended;
	*ret_keys = r.keys;
	return rc < 0 ? rc : r.wanted > 0;
}

/* ---- deleting ---- */

/* Keys on one side, deleted in batches if the set has them. */
struct sweep {
	struct tree *tree;
	const struct buf *base, *other;	    /* keys are base + suffix; the other side of them */
	const struct keyset *mine, *theirs; /* what may go; what the other side must have */
	bool listed; /* just now: a server without conditions need not be asked again */
	struct batch batch;
	uint64_t deleted, left, strange;
};

/* Those whose other side is not as it should be stay: -ENOLINK. */
static int look_at_others(struct sweep *s)
{
	struct batch *b = &s->batch;
	CLEANUP(free) char(*etags)[S3_ETAG_MAX] = calloc(b->count, sizeof(*etags));
	int rc = etags != NULL
		     ? batch_look(s->tree->fs, b, s->base, s->other, etags, s->tree->cancel)
		     : -ENOMEM;

	for (unsigned k = 0; rc == 0 && k < b->count; k++) {
		struct doomed *d = &b->keys[k];

		if (d->err == 0 && !keyset_has(s->theirs, d->key.data + s->base->length,
					       d->key.length - s->base->length, etags[k]))
			d->err = -ENOLINK;
	}
	return rc;
}

static int sweep_flush(struct sweep *s)
{
	struct batch *b = &s->batch;
	char shown[256];
	int rc = 0;

	if (b->count == 0)
		return 0;
	if (s->theirs != NULL)
		rc = look_at_others(s);
	if (rc == 0)
		rc = batch_delete(s->tree->fs, b, !s->listed, s->tree->cancel);
	for (unsigned k = 0; k < b->count; k++) {
		const struct doomed *d = &b->keys[k];

		s->deleted += d->err == 0;
		s->left += d->err != 0;
		if (d->err != 0 && rc == 0 && s->left == 1)
			log_warn("rename: %s stays: %s",
				 text_printable(d->key.data, d->key.length, shown, sizeof(shown)),
				 d->err == -ENOLINK ? "its copy or source is not there any more"
						    : strerror(-d->err));
	}
	batch_clear(b);
	return rc;
}

static int sweep_key(struct sweep *s, const char *suffix, size_t length, const char *etag)
{
	int rc;

	if (!keyset_has(s->mine, suffix, length, etag)) {
		s->strange++;
		return 0;
	}
	rc = batch_add(&s->batch, s->base, suffix, length, etag);
	return rc == 0 && s->batch.count == S3_DELETES_MAX ? sweep_flush(s) : rc;
}

static int sweep_page(void *ctx, const struct s3_page *page)
{
	struct sweep *s = ctx;
	size_t base = s->base->length;
	int rc = 0;

	for (size_t k = 0; k < page->entry_count && rc == 0; k++) {
		const struct s3_entry *e = &page->entries[k];

		if (s->base == s->tree->to && s->tree->replaces && e->key_length == base + 1)
			continue; /* the directory was there before */
		rc = sweep_key(s, e->key + base, e->key_length - base, e->etag ?: "");
	}
	if (rc == 0)
		rc = sweep_flush(s);
	tree_tell(s->tree, s->base == s->tree->from ? "deleted" : "taken back", s->deleted);
	return rc;
}

/* The keys beside the directory's own, on that side. */
static int sweep_extras(struct sweep *s)
{
	struct batch b = {0};
	char etags[ARRAY_SIZE(tree_extras)][S3_ETAG_MAX];
	int rc = 0;

	for (size_t k = 0; k < ARRAY_SIZE(tree_extras) && rc == 0; k++)
		if (s->base->length + strlen(tree_extras[k]) <= S3_KEY_MAX)
			rc = batch_add(&b, s->base, tree_extras[k], strlen(tree_extras[k]), "");
	if (rc == 0)
		rc = batch_look(s->tree->fs, &b, s->base, s->base, etags, s->tree->cancel);
	for (unsigned k = 0; k < b.count && rc == 0; k++) {
		rc = b.keys[k].err;
		if (rc == 0 && etags[k][0] != '\0')
			rc = sweep_key(s, tree_extras[k], strlen(tree_extras[k]), etags[k]);
	}
	batch_finish(&b);
	return rc < 0 ? rc : sweep_flush(s);
}

static int sweep_run(struct sweep *s, const struct buf *base_slash)
{
	int rc = keys_each_page(s->tree->fs, base_slash, s->tree->cancel, sweep_page, s);

	if (rc == 0)
		rc = sweep_extras(s);
	batch_finish(&s->batch);
	return rc;
}

int tree_delete_sources(struct tree *t)
{
	struct sweep s = {.tree = t,
			  .base = t->from,
			  .other = t->to,
			  .mine = &t->copied,
			  .theirs = t->look_back ? &t->made : NULL,
			  .listed = true};
	int rc = sweep_run(&s, &t->from_slash);

	t->deleted += s.deleted;
	t->left = s.left + s.strange;
	if (s.strange > 0)
		log_warn(
		    "rename: %llu objects stay at the source: they came or changed while it ran",
		    (unsigned long long)s.strange);
	return rc == 0 && t->left > 0 ? -EIO : rc;
}

/* ---- taking back ---- */

struct strays {
	struct tree *tree;
	unsigned found;
	int err;
};

/* A copy of which the daemon could not note any more that it was made. */
static int note_stray(struct strays *s, const char *suffix, size_t length, const char *etag)
{
	CLEANUP(buf_finish) struct buf from = BUF_INIT, to = BUF_INIT;
	struct tree *t = s->tree;
	char source[S3_ETAG_MAX], copy[S3_ETAG_MAX];
	int rc;

	if (keyset_has(&t->made, suffix, length, etag))
		return 0;
	rc = buf_append(&from, t->from->data, t->from->length);
	if (rc == 0)
		rc = buf_append(&from, suffix, length);
	if (rc == 0)
		rc = buf_append(&to, t->to->data, t->to->length);
	if (rc == 0)
		rc = buf_append(&to, suffix, length);
	if (rc == 0)
		rc = copy_is_there(t->fs, &from, &to, t->since_s, t->cancel, source, copy);
	if (rc == 1) {
		rc = keyset_add(&t->copied, suffix, length, source);
		if (rc == 0)
			rc = keyset_add(&t->made, suffix, length, copy);
		s->found++;
	}
	return rc == -ENOENT ? 0 : rc;
}

static int stray_page(void *ctx, const struct s3_page *page)
{
	struct strays *s = ctx;
	size_t base = s->tree->to->length;
	int rc = 0;

	for (size_t k = 0; k < page->entry_count && rc == 0; k++) {
		const struct s3_entry *e = &page->entries[k];

		rc = note_stray(s, e->key + base, e->key_length - base, e->etag ?: "");
	}
	return rc;
}

/* Copies whose answer was lost, or of a daemon that was killed right after them. */
static int find_strays(struct tree *t)
{
	struct strays s = {.tree = t};
	int rc = keys_each_page(t->fs, &t->to_slash, t->cancel, stray_page, &s);

	for (size_t k = 0; k < ARRAY_SIZE(tree_extras) && rc == 0; k++)
		rc = note_stray(&s, tree_extras[k], strlen(tree_extras[k]), "");
	return rc;
}

int tree_take_back(struct tree *t)
{
	struct sweep s = {.tree = t,
			  .base = t->to,
			  .other = t->from,
			  .mine = &t->made,
			  .theirs = &t->copied,
			  .listed = true};
	int rc = t->in_doubt ? find_strays(t) : 0;

	if (rc == 0)
		rc = sweep_run(&s, &t->to_slash);
	t->deleted += s.deleted;
	t->left = s.left;
	if (s.strange > 0)
		log_info("rename: %llu objects at the target are not copies of it, and stay",
			 (unsigned long long)s.strange);
	return rc == 0 && t->left > 0 ? -EIO : rc;
}

/* ---- what vanished while it ran ---- */

struct pruning {
	struct tree *tree;
	struct batch batch;
};

static int prune_flush(struct pruning *p)
{
	int rc =
	    p->batch.count > 0 ? batch_delete(p->tree->fs, &p->batch, true, p->tree->cancel) : 0;

	for (unsigned k = 0; k < p->batch.count && rc == 0; k++)
		if (p->batch.keys[k].err != -ESTALE) /* not ours any more: it stays */
			rc = p->batch.keys[k].err;
	batch_clear(&p->batch);
	return rc;
}

static int prune_line(void *ctx, const struct rename_copied *c)
{
	struct pruning *p = ctx;
	int rc;

	if (keyset_has(&p->tree->seen, c->suffix, c->length, ""))
		return 0;
	rc = batch_add(&p->batch, p->tree->to, c->suffix, c->length, c->etag);
	return rc == 0 && p->batch.count == S3_DELETES_MAX ? prune_flush(p) : rc;
}

int tree_prune(struct tree *t)
{
	struct pruning p = {.tree = t};
	int rc;

	if (t->lines == t->seen.count)
		return 0; /* each was copied once, and is there */
	rc = rename_log_each(t->log, prune_line, &p);
	if (rc == 0)
		rc = prune_flush(&p);
	batch_finish(&p.batch);
	return rc;
}
