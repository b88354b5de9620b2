/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A listing as a stream of names.
 *
 * While the names of one page are taken, the next ones are already asked for (listing.c), unless a
 * walk knows them all (walk.c). Pages go to the directory's names_set, too, so that the lookups
 * that follow make no request.
 *
 * Order and rules. The server sorts keys, so the object `a` comes before `a-1` and the directory
 * `a/` after it: an object is held back until the stream has passed `name/`, and dropped if that
 * came. A server that does not sort (or repeats keys between pages) is met by a set of all names
 * given out so far, made from the pages of this stream when the first key is out of order.
 *
 * A directory that is renamed here while it is read goes on at its new place. Its keys are copied
 * before it moves and deleted after, so an answer counts if the directory is still where it was
 * asked for when it came; else the same page is asked for below the new prefix.
 *
 * One caller at a time (dir.c sees to it).
 */
#include "stream.h"

#include <errno.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1 /* an element that was not added has hh.tbl NULL */
#include <uthash.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>
#include <pailfs/text.h>

#include "listing.h"
#include "neighbours.h"
#include "walk.h"

#define STREAM_PAGES_MAX 4096 /* of which names can still be looked up when order breaks */
#define BARREN_PAGES_MAX 100  /* pages in a row without a new name: the listing runs in circles */

/* A first-in first-out queue of names. */
struct name_queue {
	struct name_ref *refs;
	size_t head, count, capacity;
};

struct seen_name {
	UT_hash_handle hh;
	char text[];
};

struct stream {
	/* set at creation */
	struct fs *fs;
	struct inode *inode; /* borrowed: the directory */
	/* the caller's */
	struct buf prefix; /* the listing's */
	struct listing listing;
	bool whole;		  /* a walk, or begun, knew all names */
	struct names_page *begun; /* the whole listing, for the first time; referenced; or NULL */
	int lost;		  /* -errno: a page could not be taken, the stream has a hole */
	unsigned hidden;	  /* keys so far that have no name here */
	unsigned barren;	  /* pages in a row that brought nothing new */
	struct names_page *pages[STREAM_PAGES_MAX];
	size_t page_count;	 /* of this stream so far, kept or not */
	struct names_page *page; /* being given out; referenced */
	uint32_t page_at;
	struct name_queue held;	 /* objects whose `name/` may still come */
	struct name_queue ready; /* to be given out */
	struct buf last_key;	 /* below the prefix, for the check of order */
	struct seen_name *seen;	 /* only once order was broken */
	bool unordered;
};

void name_ref_finish(struct name_ref *r)
{
	names_page_unref(r->page);
	*r = (struct name_ref){0};
}

static int queue_push(struct name_queue *q, struct name_ref r)
{
	if (q->head + q->count == q->capacity && q->head > 0) {
		memmove(q->refs, q->refs + q->head, q->count * sizeof(q->refs[0]));
		q->head = 0;
	}
	if (q->count == q->capacity) {
		size_t capacity = MAX((size_t)16, 2 * q->capacity);
		struct name_ref *refs = realloc(q->refs, capacity * sizeof(*refs));

		if (refs == NULL)
			return -ENOMEM;
		q->refs = refs;
		q->capacity = capacity;
	}
	names_page_ref(r.page);
	q->refs[q->head + q->count++] = r;
	return 0;
}

static struct name_ref *queue_first(struct name_queue *q)
{
	return q->count > 0 ? &q->refs[q->head] : NULL;
}

/* Takes the first name out; its reference goes to the caller. */
static struct name_ref queue_pop(struct name_queue *q)
{
	struct name_ref r = q->refs[q->head++];

	q->count--;
	if (q->count == 0)
		q->head = 0;
	return r;
}

static void queue_finish(struct name_queue *q)
{
	while (q->count > 0) {
		struct name_ref r = queue_pop(q);

		name_ref_finish(&r);
	}
	free(q->refs);
	*q = (struct name_queue){0};
}

/* Tells once a directory how many keys below it have no name here; the listing is at its end. */
static void note_hidden(struct stream *s)
{
	struct dir_state *d;
	char shown[256];
	bool first;

	if (s->hidden == 0)
		return;
	lock_acquire(&s->fs->lock);
	d = inode_dir_locked(s->fs, s->inode);
	first = d != NULL && !d->hidden_logged;
	if (first)
		d->hidden_logged = true;
	lock_release(&s->fs->lock);
	if (first)
		log_info("/%s: %u keys hidden (names empty, '.', '..', over 255 bytes, not valid, "
			 "or a directory's)",
			 text_printable(s->prefix.data != NULL ? s->prefix.data : "",
					s->prefix.length, shown, sizeof(shown)),
			 s->hidden);
}

/* Goes on where the directory is now. */
static int move_on(struct stream *s)
{
	int rc = listing_is_unasked(&s->listing) ? 0 : listing_take_back(&s->listing);

	if (rc == 0)
		rc = inode_own_key(s->fs, s->inode, &s->prefix);
	s->lost = rc;
	return rc;
}

/* A page becomes the current one; its reference is taken over. 1; or, if the directory is elsewhere
 * by now, 0 or -errno as move_on. */
static int page_accept(struct stream *s, struct names_page *page)
{
	bool stayed;

	lock_acquire(&s->fs->lock);
	stayed = inode_has_key_locked(s->fs, s->inode, "", 0, &s->prefix);
	if (stayed)
		inode_add_names_locked(s->fs, s->inode, page, true);
	lock_release(&s->fs->lock);
	if (!stayed) {
		names_page_unref(page);
		return move_on(s);
	}
	if (page->last)
		neighbours_listed(s->fs, s->inode);
	names_page_unref(s->page);
	s->page = page;
	s->hidden += page->hidden;
	s->page_at = 0;
	if (s->page_count < STREAM_PAGES_MAX)
		s->pages[s->page_count] = names_page_ref(page);
	s->page_count++;
	s->barren++;
	return 1;
}

/* The listing's next page becomes the current one: 1, 0 if there is none, 2 if it was asked for
 * at an old place, or -errno. */
static int page_take(struct stream *s, struct caller *caller)
{
	struct listed_page from;
	unsigned refused;
	struct names_page *page = NULL;
	int rc = listing_next(&s->listing, caller, &from);

	if (rc <= 0)
		return rc == -ENOENT ? -EIO : rc; /* no bucket; readdir(3) would take it for the end
						     of the directory */
	rc = names_page_create(&from.page, s->prefix.length, from.begin->data, from.begin->length,
			       from.answered_ns, &page);
	refused = from.page.refused;
	s3_page_finish(&from.page);
	if (rc < 0) {
		s->lost = rc;
		return rc;
	}
	page->asked_ns = from.asked_ns;
	rc = page_accept(s, page);
	if (rc == 1)
		s->hidden += refused;
	return rc == 0 ? 2 : rc;
}

/* Before anything is asked: 1 if a walk knows all names, else 0 or -errno. */
static int page_from_walk(struct stream *s, struct caller *caller)
{
	struct names_page *page = NULL;
	int rc;

	if (s->page_count > 0 || !listing_is_unasked(&s->listing))
		return 0;
	rc = walk_serve(s->fs, s->inode, &s->prefix, caller, &page);
	if (rc == 1) {
		rc = page_accept(s, page);
		s->whole = rc == 1;
	}
	return rc;
}

/* The same of what stream_begin_with was given. */
static int page_from_begun(struct stream *s)
{
	struct names_page *page = s->begun;
	int rc;

	if (page == NULL)
		return 0;
	s->begun = NULL;
	if (s->fs->clock->now_ns(s->fs->clock) >=
	    time_after(page->fetched_ns, s->fs->config.metadata_ttl_ns)) {
		names_page_unref(page);
		return 0;
	}
	rc = page_accept(s, page);
	s->whole = rc == 1;
	return rc;
}

/* Moves on to the next page: 1, 0 if there is none, or -errno. */
static int page_next(struct stream *s, struct caller *caller)
{
	int rc;

	if (s->whole)
		return 0;
	if (s->lost < 0)
		return s->lost;
	rc = page_from_begun(s);
	if (rc == 0)
		rc = page_from_walk(s, caller);
	if (rc != 0)
		return rc;
	if (s->barren > BARREN_PAGES_MAX && !s->listing.complete) {
		log_warn("listing of %s does not come to an end: %u pages brought no new name",
			 s->prefix.data != NULL ? s->prefix.data : "/", s->barren);
		return -EIO;
	}
	do
		rc = page_take(s, caller);
	while (rc == 2);
	return rc;
}

static const char *ref_text(const struct name_ref *r)
{
	return name_text(r->page, r->name);
}

/* True if the name is new; from then on it is not. Only once order was broken. */
static int seen_add(struct stream *s, const char *text, size_t length)
{
	struct seen_name *seen;

	HASH_FIND(hh, s->seen, text, length, seen);
	if (seen != NULL)
		return 0;
	seen = malloc(sizeof(*seen) + length);
	if (seen == NULL)
		return -ENOMEM;
	memcpy(seen->text, text, length);
	HASH_ADD_KEYPTR(hh, s->seen, seen->text, length, seen);
	if (seen->hh.tbl != NULL)
		return 1;
	free(seen);
	return -ENOMEM;
}

static void seen_finish(struct stream *s)
{
	struct seen_name *seen, *next;

	HASH_ITER (hh, s->seen, seen, next) {
		HASH_DEL(s->seen, seen);
		free(seen);
	}
}

/* The listing's first step back: all names up to here (page, page_at) become the seen ones. */
static int begin_unordered(struct stream *s)
{
	size_t p;
	uint32_t n;
	int rc;

	if (s->page_count > STREAM_PAGES_MAX) {
		log_warn("the server's listing is not in order after %zu pages", s->page_count);
		return -EIO;
	}
	log_info("the server's listing is not in order: names are compared one by one");
	s->unordered = true;
	for (p = 0; p < s->page_count; p++) {
		const struct names_page *page = s->pages[p];
		uint32_t count = p + 1 < s->page_count ? page->count : s->page_at - 1;

		for (n = 0; n < count; n++) {
			const struct name *name = &page->names[n];

			rc = seen_add(s, name_text(page, name), name->length);
			if (rc < 0)
				return rc;
		}
	}
	return 0;
}

/* Checks the order of the name at page_at - 1: 1 to go on with it, 0 if it was there before. */
static int check_order(struct stream *s, const struct name *n)
{
	const char *text = name_text(s->page, n);
	int order, rc;

	if (!s->unordered) {
		order = s->last_key.length == 0 ? 1
						: name_compare(s->page, n, s->last_key.data,
							       s->last_key.length, NAME_FILE);
		if (order == 0 || (n->kind == NAME_DIR && s->last_key.length == n->length + 1u &&
				   memcmp(s->last_key.data, text, n->length) == 0 &&
				   s->last_key.data[n->length] == '/'))
			return 0; /* the same key again */
		if (order < 0) {
			rc = begin_unordered(s);
			if (rc < 0)
				return rc;
		}
	}
	if (s->unordered)
		return seen_add(s, text, n->length);
	buf_clear(&s->last_key);
	rc = buf_append(&s->last_key, text, n->length);
	if (rc == 0 && n->kind == NAME_DIR)
		rc = buf_append(&s->last_key, "/", 1);
	return rc < 0 ? rc : 1;
}

/* Gives out the held objects whose `name/` can no longer come (next NULL: all of them). */
static int release_held(struct stream *s, const struct name_ref *next)
{
	struct name_ref *first;
	int rc = 0;

	while (rc == 0 && (first = queue_first(&s->held)) != NULL) {
		struct name_ref r;

		if (next != NULL && !s->unordered &&
		    name_compare(next->page, next->name, ref_text(first), first->length,
				 NAME_DIR) <= 0)
			break;
		r = queue_pop(&s->held);
		rc = queue_push(&s->ready, r);
		name_ref_finish(&r);
	}
	return rc;
}

/* A directory came: the held object of its name is hidden by it. */
static void drop_held(struct stream *s, const struct name_ref *by)
{
	struct name_queue *q = &s->held;
	size_t i;

	for (i = 0; i < q->count; i++) {
		struct name_ref *r = &q->refs[q->head + i];

		if (r->length != by->length || memcmp(ref_text(r), ref_text(by), r->length) != 0)
			continue;
		s->hidden++;
		name_ref_finish(r);
		memmove(r, r + 1, (q->count - i - 1) * sizeof(*r));
		q->count--;
		return;
	}
}

/* True if the listing gave such a name before (for NAME_$folder$, which comes behind both). */
static bool was_given(const struct stream *s, const char *text, size_t length, enum name_kind kind)
{
	size_t p;

	for (p = MIN(s->page_count, (size_t)STREAM_PAGES_MAX); p > 0; p--) {
		const struct names_page *page = s->pages[p - 1];

		if (names_page_covers(page, text, length, kind))
			return names_page_find(page, text, length, kind) != NULL;
	}
	return false;
}

/* Takes the next name of the page into the stream. */
static int take_name(struct stream *s)
{
	const struct name *n = &s->page->names[s->page_at++];
	struct name_ref r = {.page = s->page, .name = n, .length = n->length};
	size_t suffix = strlen(FOLDER_SUFFIX);
	int rc = check_order(s, n);

	if (rc <= 0)
		return rc;
	s->barren = 0;
	rc = release_held(s, &r);
	if (rc < 0)
		return rc;
	if (n->kind == NAME_DIR) {
		r.as_dir = true;
		drop_held(s, &r);
		return queue_push(&s->ready, r);
	}
	if (n->length > suffix &&
	    memcmp(ref_text(&r) + n->length - suffix, FOLDER_SUFFIX, suffix) == 0) {
		r.length = (uint16_t)(n->length - suffix);
		r.as_dir = true;
		if (was_given(s, ref_text(&r), r.length, NAME_DIR) ||
		    was_given(s, ref_text(&r), r.length, NAME_FILE))
			return 0;
		return queue_push(&s->ready, r);
	}
	return queue_push(s->unordered ? &s->ready : &s->held, r);
}

/* The next name of the stream into *ret (its reference goes along): 1, 0 at the end, or -errno. */
int stream_next(struct stream *s, struct caller *caller, struct name_ref *ret)
{
	int rc;

	while (s->ready.count == 0) {
		if (s->page != NULL && s->page_at < s->page->count) {
			rc = take_name(s);
		} else {
			rc = page_next(s, caller);
			if (rc == 0) {
				rc = release_held(s, NULL);
				if (rc == 0 && s->ready.count == 0) {
					note_hidden(s);
					return 0;
				}
			}
		}
		if (rc < 0)
			return rc;
	}
	*ret = queue_pop(&s->ready);
	return 1;
}

/* Back to the start: the listing is read anew, where the directory is now. */
void stream_rewind(struct stream *s)
{
	size_t p;

	listing_rewind(&s->listing);
	for (p = 0; p < MIN(s->page_count, (size_t)STREAM_PAGES_MAX); p++)
		names_page_unref(s->pages[p]);
	names_page_unref(s->page);
	queue_finish(&s->held);
	queue_finish(&s->ready);
	seen_finish(s);
	buf_clear(&s->last_key);
	s->page = NULL;
	s->page_count = 0;
	s->whole = s->unordered = false;
	s->barren = s->hidden = 0;
	s->lost = inode_own_key(s->fs, s->inode, &s->prefix);
}

int stream_create(struct fs *fs, struct inode *dir, struct stream **ret)
{
	struct stream *s = calloc(1, sizeof(*s));
	int rc;

	if (s == NULL)
		return -ENOMEM;
	s->fs = fs;
	s->inode = dir;
	listing_init(&s->listing, fs, &s->prefix);
	rc = inode_own_key(fs, dir, &s->prefix);
	if (rc < 0) {
		stream_destroy(s);
		return rc;
	}
	*ret = s;
	return 0;
}

void stream_begin_with(struct stream *s, struct names_page *whole)
{
	s->begun = names_page_ref(whole);
}

void stream_destroy(struct stream *s)
{
	if (s == NULL)
		return;
	names_page_unref(s->begun);
	stream_rewind(s);
	buf_finish(&s->prefix);
	buf_finish(&s->last_key);
	listing_finish(&s->listing);
	free(s);
}
