/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A listing's pages.
 *
 * Each page says by a token where the next one begins, so that pages follow each other, a round
 * trip each. Where a reader waits for them and the directory proves large, the names with which the
 * next pages will end are guessed (guess.c), and the pages behind those names are asked for at the
 * same time, by start-after. A guess need not be right: pages are taken in the order of their keys,
 * what was there before is left out, and a gap between the end of a page and the guess behind it is
 * asked for by the page's token. So no name is lost or given twice, and what a wrong guess costs is
 * a request. Few are made at first, and none any more where they are of no use.
 *
 * Pages must ascend for that. A server that does not sort, or takes no start-after, is asked for
 * one page after the other.
 *
 * One caller at a time; on_page is on a loop's thread. The lock guards `answered`.
 */
#include "listing.h"

#include <errno.h>
#include <string.h>

#include <pailfs/cleanup.h>

#define DEPTH_MAX 12	   /* of the 16 slots for names */
#define PAGES_A_GUESS 2	   /* taken in for each that may be guessed */
#define WORTH_NS NS_PER_MS /* a wait that is worth a guess */
#define USELESS_MAX 4
#define SHARE_OF_TTL 4 /* of metadata_ttl: how long an answer may wait for the reader */

struct listing_ask {
	TAILQ_ENTRY(listing_ask) link;
	struct listing *listing;
	struct xfer_op op;
	struct buf after; /* a guess: the key behind which it begins */
	char *token;
	bool guessed;
	uint64_t asked_ns;
	/* under the listing's lock */
	bool answered;
	uint64_t answered_ns;
};

/* xfer's done: on a loop's thread or the dispatcher. */
static void on_page(struct xfer_op *op)
{
	struct listing_ask *a = op->ctx;
	struct listing *l = a->listing;

	lock_acquire(&l->lock);
	a->answered = true;
	a->answered_ns = l->fs->clock->now_ns(l->fs->clock);
	cond_broadcast(&l->cond);
	lock_release(&l->lock);
}

static void ask_free(struct listing_ask *a)
{
	xfer_op_finish(&a->op);
	buf_finish(&a->after);
	free(a->token);
	free(a);
}

/* Takes an ask out of the queue. */
static void ask_unlink(struct listing *l, struct listing_ask *a)
{
	TAILQ_REMOVE(&l->asks, a, link);
	l->guessed -= a->guessed;
}

static void ask_submit(struct listing *l, struct listing_ask *a)
{
	struct s3_op *s3 = &a->op.s3;

	xfer_op_init(&a->op, S3_LIST, XFER_META);
	s3->prefix = l->prefix->data != NULL ? l->prefix->data : "";
	s3->prefix_length = l->prefix->length;
	s3->delimiter = true;
	s3->max_keys = S3_LIST_ENTRIES_MAX;
	s3->token = a->token;
	if (a->after.length > 0) {
		s3->start_after = a->after.data;
		s3->start_after_length = a->after.length;
	}
	a->op.quiet = a->guessed; /* it is asked for in order then */
	a->op.done = on_page;
	a->op.ctx = a;
	a->listing = l;
	a->asked_ns = l->fs->clock->now_ns(l->fs->clock);
	xfer_submit(l->fs->xfer, &a->op);
}

/* Where the page behind the last one begins: by its token, or (after listing_take_back) its key. */
static int set_begin(const struct listing *l, struct listing_ask *a)
{
	int rc = 0;

	if (l->token != NULL) {
		a->token = strdup(l->token);
		return a->token != NULL ? 0 : -ENOMEM;
	}
	if (l->after.length > 0)
		rc = buf_append(&a->after, l->prefix->data, l->prefix->length);
	if (rc == 0 && l->after.length > 0)
		rc = buf_append(&a->after, l->after.data, l->after.length);
	return rc;
}

/* Asks for the page behind the last one, before all that is guessed. */
static int ask_in_order(struct listing *l)
{
	struct listing_ask *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return -ENOMEM;
	if (set_begin(l, a) < 0) {
		buf_finish(&a->after);
		free(a);
		return -ENOMEM;
	}
	TAILQ_INSERT_HEAD(&l->asks, a, link);
	ask_submit(l, a);
	return 0;
}

/* Asks for the page behind a name, behind all others; without memory for it not. */
static void ask_guessed(struct listing *l, const struct buf *name)
{
	struct listing_ask *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return;
	if (buf_append(&a->after, l->prefix->data, l->prefix->length) < 0 ||
	    buf_append(&a->after, name->data, name->length) < 0 || a->after.length > S3_KEY_MAX) {
		buf_finish(&a->after);
		free(a);
		return;
	}
	a->guessed = true;
	l->guessed++;
	TAILQ_INSERT_TAIL(&l->asks, a, link);
	ask_submit(l, a);
}

/* Gives all asks up. */
static void abandon(struct listing *l)
{
	struct listing_ask *a;

	lock_acquire(&l->lock);
	TAILQ_FOREACH (a, &l->asks, link)
		if (!a->answered)
			xfer_cancel(l->fs->xfer, &a->op);
	TAILQ_FOREACH (a, &l->asks, link)
		while (!a->answered)
			cond_wait(&l->cond, &l->lock);
	lock_release(&l->lock);
	while ((a = TAILQ_FIRST(&l->asks)) != NULL) {
		ask_unlink(l, a);
		ask_free(a);
	}
}

/* Bytewise: less than, equal to or greater than 0. */
static int compare(const char *a, size_t a_length, const char *b, size_t b_length)
{
	size_t common = MIN(a_length, b_length);
	int rc = common > 0 ? memcmp(a, b, common) : 0;

	return rc != 0 ? rc : (a_length > b_length) - (a_length < b_length);
}

/* The greatest key of a page: its objects and its common prefixes are two runs, each in order. */
static const struct s3_entry *page_end(const struct s3_page *page)
{
	const struct s3_entry *end[2] = {NULL, NULL};

	for (size_t k = 0; k < page->entry_count; k++)
		end[page->entries[k].is_prefix] = &page->entries[k];
	if (end[0] == NULL || end[1] == NULL)
		return end[0] != NULL ? end[0] : end[1];
	return compare(end[0]->key, end[0]->key_length, end[1]->key, end[1]->key_length) < 0
		   ? end[1]
		   : end[0];
}

/* True if both runs of the answered page ascend, from where it begins on. */
static bool is_sorted(const struct listing *l, const struct listing_ask *a,
		      const struct s3_page *page)
{
	size_t skip = l->prefix->length;
	const char *begin = a->guessed ? a->after.data + skip : l->after.data;
	size_t begin_length = a->guessed ? a->after.length - skip : l->after.length;
	const char *last[2] = {begin, begin};
	size_t length[2] = {begin_length, begin_length};

	for (size_t k = 0; k < page->entry_count; k++) {
		const struct s3_entry *e = &page->entries[k];

		if (compare(e->key + skip, e->key_length - skip, last[e->is_prefix],
			    length[e->is_prefix]) < 0)
			return false;
		last[e->is_prefix] = e->key + skip;
		length[e->is_prefix] = e->key_length - skip;
	}
	return true;
}

/* Leaves out what was listed before. */
static void drop_known(const struct listing *l, struct s3_page *page)
{
	size_t n = 0;

	for (size_t k = 0; k < page->entry_count; k++) {
		const struct s3_entry *e = &page->entries[k];

		if (compare(e->key + l->prefix->length, e->key_length - l->prefix->length,
			    l->after.data, l->after.length) > 0)
			page->entries[n++] = *e;
	}
	page->entry_count = n;
}

/* How the guesses fare: more of them while they are of use, none when they are not. */
static void judge(struct listing *l, bool guessed, size_t fresh, size_t all)
{
	if (!guessed)
		return;
	if (fresh < all / 2 || all == 0) {
		l->useless++;
		l->depth /= 2;
	} else if (l->useless > 0) {
		l->useless--;
	}
	if (all - fresh > all / 8)
		l->guess.scale = MIN(l->guess.scale + 1, (unsigned)GUESS_SCALE);
}

/* Guesses as many pages as may pay. Something is asked in order before them. */
static void guess_pages(struct listing *l)
{
	CLEANUP(buf_finish) struct buf name = BUF_INIT;
	struct listing_ask *last = TAILQ_LAST(&l->asks, listing_asks);
	bool ended;

	if (l->out_of_order || l->useless > USELESS_MAX || l->guessed >= l->depth)
		return;
	lock_acquire(&l->lock);
	ended = last->answered && !last->op.s3.page.truncated;
	lock_release(&l->lock);
	while (!ended && l->guessed < l->depth) {
		const char *from = l->after.data;
		size_t length = l->after.length;

		last = TAILQ_LAST(&l->asks, listing_asks);
		if (last->guessed) {
			from = last->after.data + l->prefix->length;
			length = last->after.length - l->prefix->length;
		}
		if (guess_next(&l->guess, from, length, &name) < 0 ||
		    compare(name.data, name.length, from, length) <= 0)
			return;
		ask_guessed(l, &name);
	}
}

/* What the page says of where to go on. Without memory for it nothing changes. */
static int note_end(struct listing *l, const struct s3_page *page, bool learn)
{
	CLEANUP(free) char *token = page->truncated ? strdup(page->next_token) : NULL;
	CLEANUP(buf_finish) struct buf after = BUF_INIT;
	const struct s3_entry *end = page_end(page);
	int rc = 0;

	if (page->truncated && token == NULL)
		return -ENOMEM;
	if (end != NULL)
		rc = buf_append(&after, end->key + l->prefix->length,
				end->key_length - l->prefix->length);
	else
		rc = buf_append(&after, l->after.data, l->after.length);
	if (rc < 0)
		return rc;
	if (learn)
		guess_learn(&l->guess, &l->after, &after, page, l->prefix->length);
	l->complete = !page->truncated;
	SWAP(l->token, token);
	SWAP(l->begin, l->after);
	SWAP(l->after, after);
	return 0;
}

/* True if the first ask is about what lies behind the last page, without a gap. */
static bool is_next(const struct listing *l)
{
	const struct listing_ask *a = TAILQ_FIRST(&l->asks);

	return a != NULL && (!a->guessed || compare(a->after.data + l->prefix->length,
						    a->after.length - l->prefix->length,
						    l->after.data, l->after.length) <= 0);
}

/* How many pages may wait for the reader without being old when he gets to them. */
static unsigned depth_max(const struct listing *l, uint64_t now_ns)
{
	uint64_t page_ns = MAX(now_ns - l->given_ns, UINT64_C(1)); /* that he takes for one */
	uint64_t pages = l->fs->config.metadata_ttl_ns / SHARE_OF_TTL / page_ns;

	return (unsigned)MIN(pages, (uint64_t)MIN((unsigned)DEPTH_MAX, l->pages / PAGES_A_GUESS));
}

/* Waits for the first ask. */
static int wait_first(struct listing *l, unsigned most, struct caller *caller)
{
	const struct listing_ask *a = TAILQ_FIRST(&l->asks);
	uint64_t began_ns = l->fs->clock->now_ns(l->fs->clock);
	int rc = 0;

	SCOPED_LOCK(&l->lock);
	while (!a->answered && rc == 0)
		rc = cond_wait_cancel(&l->cond, &l->lock, UINT64_MAX, &caller->cancel);
	if (rc == 0 && l->fs->clock->now_ns(l->fs->clock) - began_ns >= WORTH_NS)
		l->depth = MIN(l->depth + MAX(1U, l->depth), most);
	return rc;
}

/* Takes the answered first ask's page: 1, 0 if it told nothing, or -errno. */
static int take_first(struct listing *l, struct listed_page *ret)
{
	struct listing_ask *a = TAILQ_FIRST(&l->asks);
	struct s3_page page = s3_page_take(&a->op.s3);
	size_t all = page.entry_count;
	bool guessed = a->guessed, sorted;
	int rc = a->op.s3.result.err;

	sorted = is_sorted(l, a, &page);
	*ret = (struct listed_page){.asked_ns = a->asked_ns, .answered_ns = a->answered_ns};
	ask_unlink(l, a);
	ask_free(a);
	if (!sorted || (guessed && rc < 0)) {
		l->out_of_order = true;
		abandon(l);
	}
	if (guessed && (!sorted || rc < 0)) {
		s3_page_finish(&page);
		return 0; /* to be asked for in order */
	}
	if (rc == 0 && !l->out_of_order)
		drop_known(l, &page);
	if (rc == 0)
		judge(l, guessed, page.entry_count, all);
	if (rc == 0 && guessed && page.entry_count == 0 && page.truncated) {
		s3_page_finish(&page);
		return 0;
	}
	if (rc == 0)
		rc = note_end(l, &page, !l->out_of_order && page.entry_count == all);
	if (rc < 0) {
		s3_page_finish(&page);
		return rc;
	}
	l->pages++;
	ret->page = page;
	ret->begin = &l->begin;
	ret->last = l->complete;
	return 1;
}

/* Makes sure that the page behind the last one is asked for. */
static int ask_next(struct listing *l)
{
	int rc = 0;

	if (!is_next(l)) {
		if (!TAILQ_EMPTY(&l->asks)) /* a gap: the guesses are too far */
			l->guess.scale = MAX(l->guess.scale - 1, GUESS_SCALE / 2U);
		rc = ask_in_order(l);
	}
	if (rc == 0)
		guess_pages(l);
	return rc;
}

int listing_next(struct listing *l, struct caller *caller, struct listed_page *ret)
{
	unsigned most = depth_max(l, l->fs->clock->now_ns(l->fs->clock));
	int rc = 0;

	l->depth = MIN(l->depth, most);
	while (rc == 0 && !l->complete) {
		rc = ask_next(l);
		if (rc == 0)
			rc = wait_first(l, most, caller);
		if (rc == 0)
			rc = take_first(l, ret);
	}
	if (rc == 1 && !l->complete)
		ask_next(l); /* while this one is used; without memory for it, later */
	if (l->complete)
		abandon(l);
	l->given_ns = l->fs->clock->now_ns(l->fs->clock);
	return rc;
}

int listing_take_back(struct listing *l)
{
	abandon(l);
	free(l->token);
	l->token = NULL;
	SWAP(l->begin, l->after);
	l->complete = false;
	l->pages--;
	return l->out_of_order && l->after.length > 0 ? -EIO : 0;
}

void listing_init(struct listing *l, struct fs *fs, const struct buf *prefix)
{
	*l = (struct listing){.fs = fs, .prefix = prefix, .guess.scale = GUESS_SCALE};
	lock_init(&l->lock, LOCK_HANDLE);
	cond_init(&l->cond);
	TAILQ_INIT(&l->asks);
}

void listing_rewind(struct listing *l)
{
	abandon(l);
	free(l->token);
	l->token = NULL;
	buf_clear(&l->after);
	buf_clear(&l->begin);
	l->complete = l->out_of_order = false;
	l->pages = l->depth = l->useless = 0;
	l->guess = (struct guess){.scale = GUESS_SCALE};
}

void listing_finish(struct listing *l)
{
	listing_rewind(l);
	buf_finish(&l->after);
	buf_finish(&l->begin);
	cond_finish(&l->cond);
	lock_finish(&l->lock);
}
