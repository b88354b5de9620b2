/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How large the window of a stream is worth being, and over how many requests at once: pure
 * arithmetic on what was measured, bytes that the reader took and how long answers take to begin.
 *
 * A window hides the time in which nothing comes. Where answers begin at once, a small one does as
 * well, over memory that is in the processor's caches; there few connections are tried first, more
 * are kept if they bring more, and fewer as soon as those do as well.
 */
#ifndef PAILFS_FS_PACE_H
#define PAILFS_FS_PACE_H

#include <stdbool.h>
#include <stdint.h>

#define PACE_PARTS_MAX 24 /* parts in a window */
#define PACE_PARTS_MIN 4  /* ... of a stream that has few connections, or needs few */

/* What is known about the link and who else uses it. */
struct pace_link {
	uint64_t first_byte_ns; /* until an answer begins, at its best lately; 0: not known */
	unsigned streams;	/* that are active; 0 is as 1 */
};

enum pace_phase {
	PACE_REST,   /* measures what it has */
	PACE_SETTLE, /* a trial: what was asked for before it is read first */
	PACE_TRIAL,  /* ... and what it brings is measured */
};

/* Of one stream; made by pace_begin. */
struct pace {
	uint64_t begun_ns, bytes;  /* of the measure that runs */
	uint64_t rate_bytes_per_s; /* of the last one, or so far; 0: not known */
	bool measured;		   /* that is of a whole measure */
	/* the search for the best number of parts of a near link */
	enum pace_phase phase;
	uint64_t sum_bytes, sum_ns; /* of the measures of this phase */
	unsigned parts, before;	    /* now, and before the trial */
	uint64_t base_bytes_per_s;  /* what the trial is held against */
	unsigned left, rest;	    /* sums until the next trial, and then between two */
	bool fewer;		    /* what the next trial is of */
};

/* A stream begins. */
void pace_begin(struct pace *p, uint64_t now_ns);
/* The reader asks for bytes that it has not read before, and has a window of that size. */
void pace_read(struct pace *p, const struct pace_link *link, uint64_t bytes, uint64_t window_bytes,
	       uint64_t now_ns);
/* True if answers begin so soon that a small window does as well; false as long as nothing is known
 * of the link. */
bool pace_is_near(const struct pace *p, const struct pace_link *link);
/* The largest window that is worth its memory, for a stream that has read so much. */
uint64_t pace_window_bytes_max(const struct pace *p, const struct pace_link *link,
			       uint64_t read_bytes);
/* What a far link needs of one stream. */
uint64_t pace_far_bytes(const struct pace_link *link);
/* True if the link is far, and parts of a window of that size come in little more than the time
 * until they begin. */
bool pace_parts_are_short(const struct pace *p, const struct pace_link *link,
			  uint64_t window_bytes);
/* Parts in a window of that size: PACE_PARTS_MIN to PACE_PARTS_MAX. */
unsigned pace_parts(const struct pace *p, const struct pace_link *link, uint64_t window_bytes);

#endif
