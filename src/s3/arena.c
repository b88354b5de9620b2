/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strings of small answers (ids, attributes, pages of parts and uploads), on the thread of the
 * loop. Each is a malloc of its own: there are at most a few thousand, and they never move, so that
 * structs can point to them while the answer is still being read. Listings, with their tens of
 * thousands, have a buffer of their own in list.c.
 */
#include "arena.h"

#include <stdlib.h>
#include <string.h>

struct arena_piece {
	struct arena_piece *next;
	max_align_t bytes[];
};

void *arena_alloc(struct arena *a, size_t n)
{
	struct arena_piece *piece = calloc(1, sizeof(*piece) + n);

	if (!piece)
		return NULL;
	piece->next = a->pieces;
	a->pieces = piece;
	return piece->bytes;
}

char *arena_copy(struct arena *a, const char *text, size_t len)
{
	char *copy = arena_alloc(a, len + 1);

	if (copy)
		memcpy(copy, text, len);
	return copy;
}

void arena_finish(struct arena *a)
{
	while (a->pieces) {
		struct arena_piece *piece = a->pieces;

		a->pieces = piece->next;
		free(piece);
	}
}
