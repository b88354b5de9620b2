/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks. Who reads two directories of one parent in a row is taken for a walk below the parent.
 * From the second one on the subtree is listed without a delimiter: pages of keys in the order in
 * which find(1) goes down, each holding many small directories. A directory that lies in the pages
 * whole is answered from them; every other one is listed by itself, so that a walk is never the
 * only way to a name.
 *
 * Bounded: PAGES_MAX pages a walk, WALKS_MAX walks. Pages ahead of the walker are asked for one
 * after the other, few at first and more as they prove useful. A walker that leaves the pages
 * (another order, a large directory that it lists by itself) is followed by one page at its place.
 * Trees whose directories are too large for that are left alone for REST_NS.
 *
 * What is answered is not older than metadata_ttl, nor than the same directory's last reading. Of
 * local changes only the time is kept, in a table of slots by hash: two names in one slot cost a
 * listing, never a wrong answer. A directory is not answered from a page that was asked for before
 * the last change in it, or of it, or of a directory above it.
 *
 * FUSE threads and (on_page) loops' threads; everything is under walks->lock, which may be taken
 * under fs->lock.
 */
#include "walk_private.h"

#include <errno.h>
#include <string.h>

#include <pailfs/cleanup.h>

#define WALKS_MAX 4
#define PAGES_OF_A_DIRECTORY 2
#define TOO_LARGE_MAX 2
#define PAUSE_NS (2 * NS_PER_S) /* between two directories of a walk at most */

/* A directory that is about to be read. */
struct visit {
	struct fs *fs;
	struct walks *walks;
	const struct buf *prefix; /* the directory's */
	size_t parent_length;	  /* of prefix: the parent's */
	uint64_t now_ns;
	uint64_t since_ns; /* what was asked for before is too old */
	bool in_a_row;	   /* another directory of its parent was read just before */
	unsigned pages;	   /* that were waited for */
	uint64_t page_ns;  /* when the last of them was asked for */
};

enum coverage { COVERED, NEEDS_NEXT, TOO_OLD, BEFORE_PAGES, BEHIND_PAGES, NOT_TOLD };

int walks_create(struct fs *fs, struct walks **ret)
{
	struct walks *ws = calloc(1, sizeof(*ws));

	if (ws == NULL)
		return -ENOMEM;
	ws->fs = fs;
	lock_init(&ws->lock, LOCK_INODE);
	cond_init(&ws->cond);
	TAILQ_INIT(&ws->list);
	*ret = ws;
	return 0;
}

static void walk_destroy_locked(struct walks *ws, struct walk *w)
{
	lock_assert_held(&ws->lock);
	walk_clear_locked(w);
	TAILQ_REMOVE(&ws->list, w, link);
	ws->count--;
	buf_finish(&w->prefix);
	free(w);
}

void walks_destroy(struct walks *ws)
{
	if (ws == NULL)
		return;
	lock_acquire(&ws->lock);
	while (!TAILQ_EMPTY(&ws->list))
		walk_destroy_locked(ws, TAILQ_FIRST(&ws->list));
	while (ws->on_their_way > 0)
		cond_wait(&ws->cond, &ws->lock);
	lock_release(&ws->lock);
	cond_finish(&ws->cond);
	lock_finish(&ws->lock);
	free(ws);
}

/* The deepest walk that the directory lies below and that is not resting; NULL: none. */
static struct walk *walk_find_locked(const struct visit *v)
{
	struct walk *w, *best = NULL;

	TAILQ_FOREACH (w, &v->walks->list, link) {
		if (w->prefix.length < v->prefix->length &&
		    walk_key_below(v->prefix->data, v->prefix->length, &w->prefix) &&
		    (best == NULL || w->prefix.length > best->prefix.length))
			best = w;
	}
	return best != NULL && v->now_ns >= best->rest_until_ns ? best : NULL;
}

/* The walk of exactly that prefix, resting or not. */
static struct walk *walk_of_locked(const struct visit *v, size_t length)
{
	struct walk *w;

	TAILQ_FOREACH (w, &v->walks->list, link) {
		if (w->prefix.length == length &&
		    (length == 0 || memcmp(w->prefix.data, v->prefix->data, length) == 0))
			return w;
	}
	return NULL;
}

/* A walk below the directory's parent, from the directory on; NULL: the tree is left alone. */
static struct walk *walk_begin_locked(const struct visit *v)
{
	struct walks *ws = v->walks;
	struct walk *w;

	if (!v->in_a_row || walk_of_locked(v, v->parent_length) != NULL)
		return NULL;
	if (ws->count == WALKS_MAX)
		walk_destroy_locked(ws, TAILQ_LAST(&ws->list, walk_list));
	w = calloc(1, sizeof(*w));
	if (w == NULL || (v->parent_length > 0 &&
			  buf_append(&w->prefix, v->prefix->data, v->parent_length) < 0)) {
		free(w);
		return NULL;
	}
	TAILQ_INIT(&w->pages);
	TAILQ_INSERT_HEAD(&ws->list, w, link);
	ws->count++;
	walk_ask_behind_locked(ws, w, v->prefix->data, v->prefix->length, NULL);
	return w;
}

/* The first page that may hold keys of the directory. */
static enum coverage first_page_locked(const struct visit *v, struct walk *w,
				       struct walk_page **ret)
{
	const struct s3_entry *end;
	struct walk_page *p;

	TAILQ_FOREACH (p, &w->pages, link) {
		if (p->after.length > 0 &&
		    walk_compare_keys(p->after.data, p->after.length, v->prefix->data,
				      v->prefix->length) > 0)
			return BEFORE_PAGES;
		*ret = p;
		if (!p->answered)
			return NEEDS_NEXT;
		end = walk_page_end(p);
		if (!page_keys(p)->truncated ||
		    (end != NULL && walk_compare_keys(end->key, end->key_length, v->prefix->data,
						      v->prefix->length) >= 0))
			return COVERED;
	}
	return BEHIND_PAGES;
}

/* How far the pages from p on cover the directory; *ret_end: the last of them. */
static enum coverage coverage_locked(const struct visit *v, struct walk_page *p,
				     struct walk_page **ret_end)
{
	for (; p != NULL; p = TAILQ_NEXT(p, link)) {
		const struct s3_entry *end;

		if (!p->answered)
			return NEEDS_NEXT;
		if (p->asked_ns <= v->since_ns ||
		    v->now_ns >= time_after(p->fetched_ns, v->fs->config.metadata_ttl_ns))
			return TOO_OLD;
		if (page_keys(p)->refused > 0)
			return NOT_TOLD; /* whose names those were */
		*ret_end = p;
		end = walk_page_end(p);
		if (!page_keys(p)->truncated)
			return COVERED;
		if (end == NULL)
			return NOT_TOLD;
		if (!walk_key_below(end->key, end->key_length, v->prefix) &&
		    walk_compare_keys(end->key, end->key_length, v->prefix->data,
				      v->prefix->length) > 0)
			return COVERED;
	}
	return NEEDS_NEXT;
}

/* Entries of a listing with a delimiter, made from keys. */
struct gathered {
	struct s3_entry *entries;
	size_t count, capacity;
};

static int gather(struct gathered *g, const struct s3_entry *e)
{
	if (g->count == g->capacity) {
		size_t capacity = MAX((size_t)64, 2 * g->capacity);
		struct s3_entry *more = realloc(g->entries, capacity * sizeof(*more));

		if (more == NULL)
			return -ENOMEM;
		g->entries = more;
		g->capacity = capacity;
	}
	g->entries[g->count++] = *e;
	return 0;
}

/* A key below the directory: an object in it, or the common prefix that it begins with. */
static int gather_key(struct gathered *g, const struct s3_entry *key, size_t prefix_length)
{
	const char *slash = memchr(key->key + prefix_length, '/', key->key_length - prefix_length);
	struct s3_entry dir = {.key = key->key, .is_prefix = true};
	const struct s3_entry *last = g->count > 0 ? &g->entries[g->count - 1] : NULL;

	if (slash == NULL)
		return gather(g, key);
	dir.key_length = (size_t)(slash - key->key) + 1;
	if (last != NULL && last->is_prefix && last->key_length == dir.key_length &&
	    memcmp(last->key, dir.key, dir.key_length) == 0)
		return 0;
	return gather(g, &dir);
}

/* The directory's listing out of pages that cover it. */
static int make_listing_locked(const struct visit *v, struct walk_page *first,
			       const struct walk_page *end, struct names_page **ret)
{
	struct gathered g = {0};
	struct s3_page listing;
	struct names_page *page = NULL;
	uint64_t fetched_ns = UINT64_MAX, asked_ns = UINT64_MAX;
	int rc = 0;

	for (struct walk_page *p = first;; p = TAILQ_NEXT(p, link)) {
		const struct s3_page *keys = page_keys(p);

		for (size_t k = 0; k < keys->entry_count && rc == 0; k++) {
			const struct s3_entry *e = &keys->entries[k];

			if (walk_key_below(e->key, e->key_length, v->prefix))
				rc = gather_key(&g, e, v->prefix->length);
		}
		fetched_ns = MIN(fetched_ns, p->fetched_ns);
		asked_ns = MIN(asked_ns, p->asked_ns);
		if (p == end)
			break;
	}
	listing = (struct s3_page){.entries = g.entries, .entry_count = g.count};
	if (rc == 0)
		rc = names_page_create(&listing, v->prefix->length, "", 0, fetched_ns, &page);
	free(g.entries);
	if (rc < 0)
		return rc;
	page->asked_ns = asked_ns;
	*ret = page;
	return 1;
}

/* The walker is at that page: those ahead of it are asked for, those far behind it let go. */
static void walk_advance_locked(struct walks *ws, struct walk *w, struct walk_page *at)
{
	if (w->used != NULL) /* a second directory out of these pages */
		w->ahead = MIN(MAX(1U, 2 * w->ahead), (unsigned)AHEAD_MAX);
	w->used = at;
	w->too_large = 0;
	while (w->page_count > PAGES_MAX - AHEAD_MAX && TAILQ_FIRST(&w->pages) != at)
		walk_page_drop_locked(TAILQ_FIRST(&w->pages));
	if (walk_ahead_of_locked(w) < w->ahead)
		walk_ask_next_locked(ws, w);
	TAILQ_REMOVE(&ws->list, w, link);
	TAILQ_INSERT_HEAD(&ws->list, w, link);
}

/* The walk goes on elsewhere: from the directory on, or from the start of the tree. */
static void walk_move_locked(const struct visit *v, struct walk *w, bool to_start)
{
	walk_clear_locked(w);
	if (to_start)
		walk_ask_behind_locked(v->walks, w, "", 0, NULL);
	else
		walk_ask_behind_locked(v->walks, w, v->prefix->data, v->prefix->length, NULL);
}

/* The directory is not whole in as many pages: 0, it is listed by itself. */
static int give_up_locked(const struct visit *v, struct walk *w)
{
	if (++w->too_large >= TOO_LARGE_MAX)
		walk_rest_locked(w, v->now_ns);
	return 0;
}

/* -EAGAIN: to be waited for, a page of the walk is on its way; 0: none is. */
static int await_locked(struct visit *v, struct walk *w)
{
	const struct walk_page *last = TAILQ_LAST(&w->pages, walk_pages);

	if (last == NULL || last->answered)
		return 0;
	if (last->asked_ns == v->page_ns)
		return -EAGAIN; /* somebody else's page came */
	if (v->pages >= PAGES_OF_A_DIRECTORY)
		return give_up_locked(v, w);
	v->page_ns = last->asked_ns;
	v->pages++;
	return -EAGAIN;
}

/* One look: 1 with *ret, 0 as walk_serve, -EAGAIN: again after the next page. */
static int look_locked(struct visit *v, struct names_page **ret)
{
	struct walk *w = walk_find_locked(v);
	struct walk_page *first = NULL, *end = NULL;
	enum coverage c;
	int rc;

	if (v->walks->off)
		return 0;
	if (w == NULL) {
		w = v->pages == 0 ? walk_begin_locked(v) : NULL;
		return w != NULL ? await_locked(v, w) : 0;
	}
	c = first_page_locked(v, w, &first);
	if (c == COVERED)
		c = coverage_locked(v, first, &end);
	switch (c) {
	case COVERED:
		rc = make_listing_locked(v, first, end, ret);
		walk_advance_locked(v->walks, w, end); /* may let go of first */
		return rc;
	case NEEDS_NEXT:
		if (v->pages < PAGES_OF_A_DIRECTORY)
			walk_ask_next_locked(v->walks, w);
		else if (TAILQ_LAST(&w->pages, walk_pages)->answered)
			return give_up_locked(v, w);
		return await_locked(v, w);
	case NOT_TOLD:
		return 0;
	case BEFORE_PAGES:
	case BEHIND_PAGES:
	case TOO_OLD:
		if (v->pages > 0 || !v->in_a_row)
			return 0;
		walk_move_locked(v, w, c == BEFORE_PAGES);
		return await_locked(v, w);
	}
	return 0;
}

static uint64_t *slot_of(struct walks *ws, uint64_t ino, bool of_name)
{
	uint64_t h =
	    (ino ^ (of_name ? UINT64_C(0x9e3779b97f4a7c15) : 0)) * UINT64_C(0xbf58476d1ce4e5b9);

	return &ws->changed_ns[(h >> 32) % CHANGE_SLOTS];
}

void walk_note_change_locked(struct fs *fs, const struct inode *dir, const char *name,
			     size_t length)
{
	uint64_t now_ns = fs->clock->now_ns(fs->clock);

	lock_assert_held(&fs->lock);
	if (fs->walks == NULL)
		return;
	*slot_of(fs->walks, inode_ino(dir), false) = now_ns;
	*slot_of(fs->walks, inode_child_hash(dir, name, length), true) = now_ns;
}

/* When the name of the directory, or one above it, was changed here last. */
static uint64_t path_changed_ns(struct walks *ws, const struct inode *dir)
{
	uint64_t at_ns = 0;

	for (const struct inode *i = dir; i->parent != NULL; i = i->parent)
		at_ns = MAX(at_ns,
			    *slot_of(ws, inode_child_hash(i->parent, inode_name(i), i->name_length),
				     true)); /* not st_ino: rename takes that along */
	return at_ns;
}

/* Notes that the directory is read, and since when a page must have been asked for to tell of it.
 */
static void visit_begin_locked(struct visit *v, const struct inode *dir)
{
	const struct dir_state *d = dir->dir;
	struct dir_state *parent = inode_dir_locked(v->fs, dir->parent);

	v->since_ns =
	    MAX(*slot_of(v->walks, inode_ino(dir), false), path_changed_ns(v->walks, dir));
	if (d != NULL)
		v->since_ns = MAX(v->since_ns, d->last_read_ns);
	if (parent == NULL)
		return;
	v->in_a_row = parent->child_ino != 0 && parent->child_ino != inode_ino(dir) &&
		      v->now_ns < parent->child_ns + PAUSE_NS;
	parent->child_ino = inode_ino(dir);
	parent->child_ns = v->now_ns;
}

/* The length of the prefix that is the parent's. */
static size_t parent_length(const struct buf *prefix)
{
	const char *slash = memrchr(prefix->data, '/', prefix->length - 1);

	return slash != NULL ? (size_t)(slash - prefix->data) + 1 : 0;
}

int walk_serve(struct fs *fs, struct inode *dir, const struct buf *prefix, struct caller *caller,
	       struct names_page **ret)
{
	struct walks *ws = fs->walks;
	struct visit v = {
	    .fs = fs, .walks = ws, .prefix = prefix, .now_ns = fs->clock->now_ns(fs->clock)};
	int rc = 0;

	if (dir->parent == NULL || prefix->length == 0 || fs->config.metadata_ttl_ns == 0)
		return 0;
	v.parent_length = parent_length(prefix);
	lock_acquire(&fs->lock);
	visit_begin_locked(&v, dir);
	lock_release(&fs->lock);
	SCOPED_LOCK(&ws->lock);
	while (rc == 0) {
		rc = look_locked(&v, ret);
		if (rc != -EAGAIN)
			return rc;
		rc = cond_wait_cancel(&ws->cond, &ws->lock, UINT64_MAX, &caller->cancel);
		v.now_ns = fs->clock->now_ns(fs->clock);
	}
	return rc;
}

int walk_look_ahead_locked(struct fs *fs, const struct inode *parent, const char *name,
			   size_t length, const struct buf *prefix, struct names_page **ret)
{
	struct walks *ws = fs->walks;
	struct visit v = {
	    .fs = fs, .walks = ws, .prefix = prefix, .now_ns = fs->clock->now_ns(fs->clock)};
	uint64_t ino = inode_child_hash(parent, name, length);
	struct walk_page *first = NULL, *end = NULL;
	enum coverage c;
	struct walk *w;

	lock_assert_held(&fs->lock);
	v.since_ns = MAX(MAX(*slot_of(ws, ino, true), *slot_of(ws, ino, false)),
			 path_changed_ns(ws, parent));
	SCOPED_LOCK(&ws->lock);
	w = ws->off ? NULL : walk_find_locked(&v);
	if (w == NULL)
		return 0;
	c = first_page_locked(&v, w, &first);
	if (c == COVERED)
		c = coverage_locked(&v, first, &end);
	return c == COVERED ? make_listing_locked(&v, first, end, ret) : 0;
}

void walks_trim_locked(struct fs *fs, uint64_t now_ns)
{
	struct walks *ws = fs->walks;
	struct walk *w, *next;

	lock_assert_held(&fs->lock);
	if (ws == NULL)
		return;
	SCOPED_LOCK(&ws->lock);
	for (w = TAILQ_FIRST(&ws->list); w != NULL; w = next) {
		const struct walk_page *last = TAILQ_LAST(&w->pages, walk_pages);

		next = TAILQ_NEXT(w, link);
		if (now_ns >= w->rest_until_ns &&
		    (last == NULL ||
		     (last->answered &&
		      now_ns >= time_after(last->fetched_ns, fs->config.metadata_ttl_ns))))
			walk_destroy_locked(ws, w);
	}
}
