/* SPDX-License-Identifier: Apache-2.0 */
/* The pages of walks: asked for, one behind the other, and let go of. See walk.c. */
#include "walk_private.h"

#include <errno.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>

#define REST_NS (10 * NS_PER_S)

static void page_free(struct walk_page *p)
{
	xfer_op_finish(&p->op);
	buf_finish(&p->after);
	free(p->token);
	free(p);
}

void walk_page_drop_locked(struct walk_page *p)
{
	struct walk *w = p->walk;

	lock_assert_held(&p->walks->lock);
	TAILQ_REMOVE(&w->pages, p, link);
	w->page_count--;
	if (w->used == p)
		w->used = NULL;
	p->walk = NULL;
	if (p->answered)
		page_free(p);
	else
		xfer_cancel(p->walks->fs->xfer, &p->op);
}

void walk_clear_locked(struct walk *w)
{
	while (!TAILQ_EMPTY(&w->pages))
		walk_page_drop_locked(TAILQ_FIRST(&w->pages));
	w->ahead = 0;
}

int walk_compare_keys(const char *a, size_t a_length, const char *b, size_t b_length)
{
	int rc = memcmp(a, b, MIN(a_length, b_length));

	return rc != 0 ? rc : (a_length > b_length) - (a_length < b_length);
}

bool walk_key_below(const char *key, size_t length, const struct buf *prefix)
{
	return length >= prefix->length &&
	       (prefix->length == 0 || memcmp(key, prefix->data, prefix->length) == 0);
}

const struct s3_entry *walk_page_end(const struct walk_page *p)
{
	const struct s3_page *keys = page_keys(p);

	return keys->entry_count > 0 ? &keys->entries[keys->entry_count - 1] : NULL;
}

static void page_ask_locked(struct walk *w, struct walk_page *p);

void walk_ask_behind_locked(struct walks *ws, struct walk *w, const char *after, size_t length,
			    char *token)
{
	struct walk_page *p = calloc(1, sizeof(*p));

	lock_assert_held(&ws->lock);
	if (p == NULL || (length > 0 && buf_append(&p->after, after, length) < 0)) {
		free(p);
		free(token);
		return; /* the directories are listed by themselves */
	}
	p->walks = ws;
	p->token = token;
	page_ask_locked(w, p);
}

void walk_ask_next_locked(struct walks *ws, struct walk *w)
{
	const struct walk_page *last = TAILQ_LAST(&w->pages, walk_pages);
	const struct s3_entry *end = last != NULL && last->answered ? walk_page_end(last) : NULL;
	char *token;

	if (end == NULL || !page_keys(last)->truncated || w->page_count >= PAGES_MAX)
		return;
	token = strdup(page_keys(last)->next_token);
	if (token != NULL)
		walk_ask_behind_locked(ws, w, end->key, end->key_length, token);
}

unsigned walk_ahead_of_locked(const struct walk *w)
{
	const struct walk_page *p;
	unsigned n = 0;

	for (p = w->used; p != NULL && (p = TAILQ_NEXT(p, link)) != NULL;)
		n++;
	return n;
}

/* True if the keys ascend, also from the page before (which may have had one of them, too). */
static bool in_order(const struct walk_page *p)
{
	const struct s3_page *keys = page_keys(p);
	const char *last = p->after.data;
	size_t length = p->after.length, k;

	for (k = 0; k < keys->entry_count; k++) {
		const struct s3_entry *e = &keys->entries[k];

		if (length > 0 && walk_compare_keys(e->key, e->key_length, last, length) < 0)
			return false;
		last = e->key;
		length = e->key_length;
	}
	return true;
}

void walk_rest_locked(struct walk *w, uint64_t now_ns)
{
	walk_clear_locked(w);
	w->too_large = 0;
	w->rest_until_ns = now_ns + REST_NS;
}

/* An answer that is wanted. */
static void page_arrived_locked(struct walks *ws, struct walk_page *p)
{
	struct walk *w = p->walk;

	lock_assert_held(&ws->lock);
	if (p->op.s3.result.err < 0) {
		walk_rest_locked(w, p->fetched_ns);
		return;
	}
	if (!in_order(p)) {
		log_info("the server's keys are not in order: each directory is listed by itself");
		ws->off = true;
		walk_rest_locked(w, p->fetched_ns);
		return;
	}
	if (walk_ahead_of_locked(w) < w->ahead)
		walk_ask_next_locked(ws, w);
}

/* xfer's done: on a loop's thread or the dispatcher. */
static void on_page(struct xfer_op *op)
{
	struct walk_page *p = op->ctx;
	struct walks *ws = p->walks;

	lock_acquire(&ws->lock);
	p->answered = true;
	p->fetched_ns = ws->fs->clock->now_ns(ws->fs->clock);
	if (p->walk != NULL)
		page_arrived_locked(ws, p);
	else
		page_free(p);
	ws->on_their_way--;
	cond_broadcast(&ws->cond);
	lock_release(&ws->lock);
}

static void page_ask_locked(struct walk *w, struct walk_page *p)
{
	struct fs *fs = p->walks->fs;
	struct s3_op *s3 = &p->op.s3;

	xfer_op_init(&p->op, S3_LIST, XFER_META);
	s3->prefix = w->prefix.data != NULL ? w->prefix.data : "";
	s3->prefix_length = w->prefix.length;
	s3->max_keys = S3_LIST_ENTRIES_MAX;
	s3->token = p->token;
	s3->start_after = p->token == NULL && p->after.length > 0 ? p->after.data : NULL;
	s3->start_after_length = p->after.length;
	p->op.quiet = true; /* the directory is listed by itself then */
	p->op.done = on_page;
	p->op.ctx = p;
	p->walk = w;
	p->asked_ns = fs->clock->now_ns(fs->clock);
	TAILQ_INSERT_TAIL(&w->pages, p, link);
	w->page_count++;
	p->walks->on_their_way++;
	xfer_submit(fs->xfer, &p->op);
}
