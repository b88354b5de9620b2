/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How far ahead of the reads of one open handle to ask: pure arithmetic on (state, read), without
 * locks, time or I/O. reader.c carries the plans out.
 *
 * A handle has up to four streams, so that interleaved sequential readers of one descriptor each
 * have a window. A read belongs to a stream when it is near the furthest byte that the stream has
 * read: the kernel's read-ahead comes from several threads and a few MiB out of order. What belongs
 * to none is random and gets exactly what it asks for, except at offset 0, where files are begun.
 */
#ifndef PAILFS_FS_WINDOW_H
#define PAILFS_FS_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#include "pace.h"

#define WINDOW_STREAMS 4
#define WINDOW_RECENT 8
#define WINDOW_JUMPS 2 /* reads that belong to no stream, one after the other: a random pattern */
#define WINDOW_FIRST_BYTES ((uint64_t)1 << 20) /* asked for at the first read of a file */

struct window_limits {
	uint64_t part_bytes_max;   /* ceiling of a part; a multiple of a block */
	uint64_t window_bytes_max; /* this stream's share of the memory */
	unsigned parallel;	   /* this stream's share of the connections */
	struct pace_link link;
};

struct window_stream {
	uint64_t flow;		 /* the cache's name for it; reader.c sets it */
	uint64_t position;	 /* furthest byte that was read, exclusive */
	uint64_t asked;		 /* up to where bytes were asked for */
	uint64_t parts;		 /* ... in so many parts */
	uint64_t window_bytes;	 /* how far ahead of position to ask; 0: the slot is free */
	uint64_t read_bytes;	 /* of the object, so far */
	uint64_t consumed_bytes; /* what counts for growth, since the window last grew */
	uint64_t credit_bytes;	 /* that count whole though the reader does not wait for them */
	uint64_t used_at;	 /* tick of its last read */
	struct pace pace;	 /* what it reads a second, and what that asks for */
	bool from_start;	 /* it began at offset 0 */
	bool confirmed;		 /* it has gone on for long enough to be no accident */
	bool jumped;		 /* its last read was a jump ahead within the window */
};

struct window_range {
	uint64_t start, end;
};

struct window_recent {
	struct window_range range;
	bool chance; /* two neighbours that met in a random pattern */
};

struct window {
	struct window_stream streams[WINDOW_STREAMS];
	struct window_recent recent[WINDOW_RECENT]; /* reads that belonged to no stream */
	unsigned recent_next;
	unsigned jumps; /* such reads since the last one that did, at most WINDOW_JUMPS */
	uint64_t tick;
};

enum window_verdict {
	WINDOW_RANDOM, /* no stream: fetch exactly what is asked */
	WINDOW_BEGIN,  /* a new stream, in a slot that may have held another */
	WINDOW_STREAM, /* a stream goes on */
	WINDOW_JUMP,   /* it goes on after a jump: fetch exactly, ask for nothing ahead */
};

/* A read, and what the cache has of it. */
struct window_request {
	uint64_t offset, length; /* lies in the object */
	uint64_t covered;	 /* up to which offset it is in the cache or on its way */
	bool there;		 /* all of it is in the cache: the reader need not wait */
	uint64_t now_ns;
};

/* What to do for a read. */
struct window_plan {
	enum window_verdict verdict;
	int stream;		   /* its slot; -1 with WINDOW_RANDOM */
	uint64_t ended_flow;	   /* a stream that is over, 0: none */
	struct window_range first; /* WINDOW_BEGIN: what to ask for at once, not ahead */
	uint64_t passed;	   /* the stream will not read below that offset */
};

/* Plans for a read of an object of `size` bytes. */
void window_read(struct window *w, const struct window_limits *limits, uint64_t size,
		 const struct window_request *request, struct window_plan *ret);
/* The next part to ask for ahead of a stream, one GET; false: the window is full. */
bool window_next(const struct window *w, int stream, const struct window_limits *limits,
		 uint64_t size, struct window_range *ret);
/* Bytes were asked for up to that offset (less than planned: memory was short). */
void window_asked(struct window *w, int stream, uint64_t upto);
/* Size of a part in a window of that size, which is cut into so many of them, before so many bytes
 * that are still to be asked for. */
uint64_t window_part_bytes(const struct window_limits *limits, unsigned parts,
			   uint64_t window_bytes, uint64_t left_bytes);

#endif
