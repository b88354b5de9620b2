/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the next pages of a listing will end, guessed from where the last two did: names are taken
 * for numbers with something around them (f0001999.jpg, 0a1b2c...). Private to fs/. Pure.
 */
#ifndef PAILFS_FS_GUESS_H
#define PAILFS_FS_GUESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <pailfs/buf.h>
#include <pailfs/s3.h>

#define GUESS_SCALE 16

struct guess {
	size_t from, to; /* the number's place in the name */
	unsigned radix;	 /* 10, 16 or 36; 0: nothing can be guessed */
	uint64_t step;	 /* from the end of a page to the next one's */
	unsigned scale;	 /* sixteenths of it that are taken */
	bool upper;	 /* digits beyond 9 */
};

/*
 * Learns from the last names of two pages, one after the other, and the alphabet from the second
 * page's names (keys without prefix_length bytes). scale stays as it is.
 */
void guess_learn(struct guess *g, const struct buf *before, const struct buf *last,
		 const struct s3_page *page, size_t prefix_length);
/* The name that a page behind `name` ends with, perhaps: 0, -ERANGE (no guess), -ENOMEM. */
int guess_next(const struct guess *g, const char *name, size_t length, struct buf *ret);

#endif
