/* SPDX-License-Identifier: Apache-2.0 */
/* A directory's listing as a stream of names. Private to fs/; used by dir.c, one call at a time. */
#ifndef PAILFS_FS_STREAM_H
#define PAILFS_FS_STREAM_H

#include "inode.h"

/* A name of a page. */
struct name_ref {
	struct names_page *page; /* referenced */
	const struct name *name;
	bool as_dir; /* a directory, whatever kind the name has (NAME_$folder$) */
	uint16_t length;
};

struct stream;

/* A stream over the listing of a directory (which outlives it). Asks nothing yet. -ENOMEM,
 * -ENAMETOOLONG. */
int stream_create(struct fs *fs, struct inode *dir, struct stream **ret);
/* The listing need not be asked for while it is that page, which has it all, and not older than
 * metadata_ttl; once. Takes a reference. Before the first stream_next. */
void stream_begin_with(struct stream *s, struct names_page *whole);
/* Ends it, with the request that it may have on its way. NULL is fine. */
void stream_destroy(struct stream *s);
/*
 * The next name, its reference given to the caller (name_ref_finish): 1, 0 at the end, or -errno; a
 * call after an error tries again. Waits for a page where it must.
 */
int stream_next(struct stream *s, struct caller *caller, struct name_ref *ret);
/* Back to the start: the listing is asked for anew, where the directory is now. */
void stream_rewind(struct stream *s);
/* Gives a name's reference back and empties it. */
void name_ref_finish(struct name_ref *r);

#endif
