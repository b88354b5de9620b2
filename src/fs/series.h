/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether files are opened in an order that can be foreseen, and how many of the next ones to fetch
 * ahead: pure arithmetic on (state, position), without locks, time or I/O. neighbours.c carries it
 * out.
 *
 * A file has a position in each of two orders: the listing's, in which readdir(3) gives names
 * (tar, grep -r), and that of st_ino, by which cp -r and fts(3) sort them. Positions go on from one
 * directory to the next that is read in the same way.
 *
 * What is fetched for nothing is bounded: at any time no more files were fetched and not opened
 * than were fetched and opened, and SERIES_FIRST_FILES; of bytes SERIES_FIRST_BYTES, or one file.
 */
#ifndef PAILFS_FS_SERIES_H
#define PAILFS_FS_SERIES_H

#include <stdbool.h>
#include <stdint.h>

#include <pailfs/cleanup.h>

#define SERIES_AHEAD_MAX 64
#define SERIES_FIRST_FILES 2
#define SERIES_FIRST_BYTES (512 * KIB)
#define SERIES_NEED_MIN 2 /* opens in order, one after the other, before the first file ahead */
#define SERIES_NEED_MAX 64

enum series_order { SERIES_LISTED, SERIES_NUMBERED, SERIES_ORDERS };

/* A file's place in each order. SERIES_NOWHERE: that order is not known. */
struct series_position {
	uint32_t at[SERIES_ORDERS];
};

#define SERIES_NOWHERE UINT32_MAX

struct series_limits {
	unsigned files_max;
	uint64_t bytes_max;
};

struct series_head {
	uint32_t start, at; /* where it was found, and the furthest that was opened */
	uint64_t holes;	    /* bit k: at - 1 - k was left out so far */
	unsigned run;	    /* opens that went on from there */
};

struct series_ahead {
	uint32_t at;
	uint64_t bytes;
};

struct series {
	struct series_head head[SERIES_ORDERS];
	bool following; /* else it watches */
	enum series_order order;
	unsigned need;
	uint32_t next; /* following: up to here files were asked for, or left out */
	struct series_ahead ahead[SERIES_AHEAD_MAX]; /* asked for and not opened yet */
	unsigned ahead_count;
	uint64_t ahead_bytes;
	unsigned credit; /* files that may be ahead */
	uint64_t credit_bytes;
	unsigned used, lost; /* files asked for that were opened, or left behind */
};

enum series_open {
	SERIES_ELSEWHERE, /* it does not belong to the series */
	SERIES_BETWEEN,	  /* it was opened before, or left out */
	SERIES_IN_ORDER,
	SERIES_USED, /* it was asked for ahead */
};

/* Begins with a file that was opened there; need: see SERIES_NEED_MIN. */
void series_init(struct series *s, const struct series_position *p, unsigned need);
/* A file is opened there. What does not belong to the series changes nothing. */
enum series_open series_open(struct series *s, const struct series_position *p,
			     const struct series_limits *limits);
/* Another file of the directory was opened out of any order: what was no more than a beginning is
 * over. */
void series_disturb(struct series *s);
/* The next position to ask for, in s->order; false: enough is on its way, or it only watches. The
 * caller answers with one of the next two. */
bool series_next(const struct series *s, const struct series_limits *limits, uint32_t *ret);
/* The file at the next position is asked for: false if its bytes are too many now. */
bool series_ask(struct series *s, const struct series_limits *limits, uint64_t bytes);
/* The file at the next position is left out. */
void series_skip(struct series *s);
/* True if it had files fetched, and none was opened. */
bool series_failed(const struct series *s);

#endif
