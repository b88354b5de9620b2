/* SPDX-License-Identifier: Apache-2.0 */
/* The read side of one open handle: what to fetch ahead of its reads, and the reads. */
#ifndef PAILFS_FS_READER_H
#define PAILFS_FS_READER_H

#include <stdint.h>

#include <pailfs/cache.h>
#include <pailfs/clock.h>
#include <pailfs/lock.h>
#include <pailfs/view.h>
#include <pailfs/xfer.h>

/*
 * How many streams of the mount are active, so that each takes its share of the memory: those that
 * read in this epoch of two seconds or in the one before. One a mount.
 */
struct fs_streams;

/* Counts on the system's clock. -ENOMEM. */
int fs_streams_create(struct fs_streams **ret);
/* The same on another clock, which outlives it. */
int fs_streams_create_on(const struct clock *clock, struct fs_streams **ret);
/* Ends it: no reader uses it any more. NULL is fine. */
void fs_streams_destroy(struct fs_streams *s);
/* How many streams are active. */
unsigned fs_streams_active(struct fs_streams *s);
/* A stream reads. *epoch, 0 at first, is the stream's own note of when it was counted. */
void fs_streams_note(struct fs_streams *s, uint64_t *epoch);
/* A stream is over. *epoch becomes 0; 0 is fine. */
void fs_streams_leave(struct fs_streams *s, uint64_t *epoch);

struct reader;

struct reader_config {
	uint64_t part_bytes;	   /* ceiling of a part: part_size */
	unsigned parallel;	   /* parts that can be on the wire at once, >= 1 */
	uint64_t memory_bytes;	   /* of the budget */
	struct fs_streams *shared; /* outlives the reader */
};

/* How large parts may be so that `parallel` of them fit in a window. */
uint64_t reader_part_share(uint64_t memory_bytes, unsigned parallel);
/* A reader for one open handle. xfer numbers its streams. -ENOMEM. */
int reader_create(const struct reader_config *config, struct xfer *xfer, struct reader **ret);
/* Ends its streams. Nobody reads, all views are released. NULL is fine. */
void reader_destroy(struct reader *r);
/*
 * The bytes [offset, offset + length) of v, cut at its end (an empty view beyond it); length at
 * most 2 MiB. Waits; many threads at once. Errors as cache_read. With another version than last
 * time, the streams on that one end.
 */
int reader_read(struct reader *r, struct cache_version *v, uint64_t offset, size_t length,
		struct cancel *cancel, struct view *ret);
/*
 * v was opened and is about to be read: asks for all of it when it is so small that one GET brings
 * it, unless demand waits for a slot already: it would only hold memory meanwhile, and who opens
 * many files need not read them. Never waits.
 */
void reader_expect(struct reader *r, struct cache_version *v);
/* The version moved: ends the streams and lets go of the version. */
void reader_reset(struct reader *r);

#endif
