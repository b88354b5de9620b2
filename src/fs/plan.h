/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which bytes of a file are which part of its upload. Pure functions of numbers: S3's limits
 * (1..10,000 parts of 5 MiB..5 GiB, no least size for the last) live here and nowhere else in fs/.
 * Private to fs/.
 */
#ifndef PAILFS_FS_PLAN_H
#define PAILFS_FS_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "extents.h"

#define PLAN_PARTS_MAX 10000u
#define PLAN_PART_BYTES_MIN (UINT64_C(5) << 20)
#define PLAN_PART_BYTES_MAX (UINT64_C(5) << 30)
/* S3: a range only of a source that is larger than "5 MB", in whichever sense */
#define PLAN_COPY_SOURCE_MIN (UINT64_C(5) << 20)

/* The parts of a file whose beginning does not move: the grid that a stream is sent on. */
struct plan {
	/* parts up to expected_count are equal, later ones grow; both 0: the stream's growth */
	uint64_t equal_bytes;
	unsigned expected_count;
	uint64_t largest_bytes; /* growth ends there */
	bool fixed;		/* all are equal_bytes, however many */
};

struct plan_part {
	unsigned number; /* 1... */
	uint64_t offset, length;
};

/*
 * The plan of a file: part_bytes != 0: parts of that size (brought within S3's limits, to whole
 * blocks), unless 10,000 of them are less than expected_bytes; else expected_bytes != 0: equal
 * parts that take so many bytes; else a stream of unknown length: 8 MiB x 1,000, doubling every
 * 1,000 parts up to memory_bytes / 8.
 */
void plan_init(struct plan *p, uint64_t part_bytes, uint64_t expected_bytes, uint64_t memory_bytes);
/* The part that holds offset (its full length, though the file may end before). offset below
 * plan_limit_bytes. All parts begin and end at multiples of 128 KiB. */
struct plan_part plan_part_at(const struct plan *p, uint64_t offset);
/* The part of that number, 1..PLAN_PARTS_MAX. */
struct plan_part plan_part_number(const struct plan *p, unsigned number);
/* The largest file that the plan takes. */
uint64_t plan_limit_bytes(const struct plan *p);

/* A part of an in-place change: copied from the base, or sent. */
struct plan_segment {
	uint64_t offset, length;
	bool copied;
};

/*
 * The parts of a file of which some ranges are unchanged in a base of base_bytes (BASE and CACHED
 * extents): those are copied where S3 lets them (5 MiB at least, each copy 512 MiB at most while
 * parts last), the rest is sent in parts of about part_bytes; changed ranges that are too small
 * take bytes of their neighbours in. Parts follow each other without gaps and are 10,000 at most.
 * *ret is the caller's to free. -ENOMEM, -EFBIG.
 */
int plan_copies(const struct extents *e, uint64_t base_bytes, uint64_t part_bytes,
		struct plan_segment **ret, size_t *ret_count);

#endif
