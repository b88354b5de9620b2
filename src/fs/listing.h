/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pages of a directory's listing, in order, several of them asked at once where that pays.
 * Private to fs/; used by stream.c, one call at a time.
 */
#ifndef PAILFS_FS_LISTING_H
#define PAILFS_FS_LISTING_H

#include <pailfs/lock.h>
#include <pailfs/xfer.h>

#include "guess.h"
#include "inode.h"

struct listing_ask;
TAILQ_HEAD(listing_asks, listing_ask);

struct listing {
	/* set at creation */
	struct fs *fs;
	const struct buf *prefix; /* borrowed: of the directory; asks point into it */
	struct lock lock;
	struct cond cond;
	/* under the lock: `answered` of each; the rest is the caller's */
	struct listing_asks asks; /* in the order of their keys */
	unsigned guessed;	  /* of them */
	char *token;		  /* of the page behind the last one; NULL: by `after` */
	struct buf after;	  /* the greatest key so far, below the prefix */
	struct buf begin;	  /* that of before the last page: where that begins */
	bool complete;		  /* there is no further page */
	bool out_of_order;	  /* the server does not sort: nothing is guessed */
	unsigned pages;		  /* so far */
	uint64_t given_ns;	  /* when the last one was given out */
	unsigned depth;		  /* how many pages to guess */
	unsigned useless;	  /* guesses that told nothing new, less those that did */
	struct guess guess;
};

/* A page; finish it with s3_page_finish. */
struct listed_page {
	struct s3_page page;
	const struct buf *begin; /* it begins behind this name; valid until the next call */
	uint64_t asked_ns, answered_ns;
	bool last;
};

/* Asks nothing yet. prefix outlives it. */
void listing_init(struct listing *l, struct fs *fs, const struct buf *prefix);
/* True before the first page is asked for. */
static inline bool listing_is_unasked(const struct listing *l)
{
	return l->pages == 0 && TAILQ_EMPTY(&l->asks);
}
/* Ends it, with the requests on their way. */
void listing_finish(struct listing *l);
/* Back to the start. */
void listing_rewind(struct listing *l);
/*
 * The next page: 1, 0 at the end, or -errno; a call after an error tries again. Waits for it;
 * -EINTR leaves the requests on their way to the next call.
 */
int listing_next(struct listing *l, struct caller *caller, struct listed_page *ret);
/*
 * Takes the page that listing_next gave last back, to be asked for anew below another prefix (which
 * may change before the next call) by the name that it begins behind. -EIO: the server does not
 * sort, so that no name tells where to go on.
 */
int listing_take_back(struct listing *l);

#endif
