/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of a walk share: walk.c (what is answered) and walk_pages.c (what is asked). */
#ifndef PAILFS_FS_WALK_PRIVATE_H
#define PAILFS_FS_WALK_PRIVATE_H

#include "walk.h"

#define PAGES_MAX 32 /* a walk's, answered or on their way */
#define AHEAD_MAX 8  /* pages beyond the one that was used last */
#define CHANGE_SLOTS 16384

/* A page of keys: on its way, or answered. */
struct walk_page {
	TAILQ_ENTRY(walk_page) link;
	struct walks *walks;
	struct walk *walk; /* NULL: nobody wants it any more */
	struct xfer_op op; /* holds the page */
	struct buf after;  /* the page begins behind this key */
	char *token;
	uint64_t asked_ns, fetched_ns;
	bool answered;
};

TAILQ_HEAD(walk_pages, walk_page);

struct walk {
	TAILQ_ENTRY(walk) link; /* the one used last is the first */
	struct buf prefix;
	struct walk_pages pages; /* of keys that follow each other; the last may be on its way */
	unsigned page_count;
	struct walk_page *used; /* that served last; NULL: none yet */
	unsigned ahead;
	unsigned too_large;	/* directories in a row */
	uint64_t rest_until_ns; /* the tree is left alone until then */
};

TAILQ_HEAD(walk_list, walk);

struct walks {
	/* set at creation */
	struct fs *fs;
	struct lock lock;
	struct cond cond;
	/* under the lock */
	struct walk_list list;
	unsigned count;
	unsigned on_their_way;
	bool off; /* the server's keys are not in order */
	/* under fs->lock */
	uint64_t changed_ns[CHANGE_SLOTS];
};

/* The keys of an answered page. */
static inline const struct s3_page *page_keys(const struct walk_page *p)
{
	return &p->op.s3.page;
}

/* Bytewise, as S3 sorts: less than, equal to or greater than 0. */
int walk_compare_keys(const char *a, size_t a_length, const char *b, size_t b_length);
/* True if the key begins with the prefix. */
bool walk_key_below(const char *key, size_t length, const struct buf *prefix);
/* The last key of an answered page; NULL: it has none. */
const struct s3_entry *walk_page_end(const struct walk_page *p);
/* Takes a page out of its walk; one on its way is freed when it comes. */
void walk_page_drop_locked(struct walk_page *p);
/* Drops all pages. */
void walk_clear_locked(struct walk *w);
/* Drops them, and leaves the tree alone for a while. */
void walk_rest_locked(struct walk *w, uint64_t now_ns);
/* Asks for the keys behind `after`, by the token of the page before if there is one (taken over).
 * Without memory for it nothing is asked. */
void walk_ask_behind_locked(struct walks *ws, struct walk *w, const char *after, size_t length,
			    char *token);
/* Asks for the page behind the walk's last one, if that was answered and is not the end. */
void walk_ask_next_locked(struct walks *ws, struct walk *w);
/* How many pages there are beyond the one that served last. */
unsigned walk_ahead_of_locked(const struct walk *w);

#endif
