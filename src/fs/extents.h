/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The map of extents of a file under write: which of its ranges is where. Pure data, no bytes, no
 * lock. Where exactly a range lies follows from its offset alone (a block of memory, the same
 * offset of the spool or of the base object, the part of the plan), so a kind is all that is kept.
 * Private to fs/.
 */
#ifndef PAILFS_FS_EXTENTS_H
#define PAILFS_FS_EXTENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum extent_kind {
	EXTENT_HOLE,   /* zeros */
	EXTENT_BASE,   /* in the base object, unchanged, not here */
	EXTENT_CACHED, /* the same, and in memory, too: can be let go of */
	EXTENT_MEMORY, /* written; in memory */
	EXTENT_SPOOL,  /* written; in the spool */
	EXTENT_PART,   /* written; only in the part of the running upload that holds its offset */
	EXTENT_KINDS,
};

#define EXTENT_BIT(kind) (1u << (kind))

struct extent {
	uint64_t start, end;
	enum extent_kind kind;
};

struct extent_entry;

/* Zeroed: an empty file. */
struct extents {
	uint64_t size;
	struct extent_entry *entries; /* by start, the first at 0; neighbours differ in kind */
	size_t count, capacity;
};

/* Frees it; it is an empty file then. */
void extents_finish(struct extents *e);
/* [start, end) is of that kind now. Beyond the size it grows, with a hole before start. start <
 * end. -ENOMEM: nothing has changed. */
int extents_set(struct extents *e, uint64_t start, uint64_t end, enum extent_kind kind);
/* What of [start, end) is of kind `from` becomes `to`. -ENOMEM: nothing has changed. */
int extents_turn(struct extents *e, uint64_t start, uint64_t end, enum extent_kind from,
		 enum extent_kind to);
/* Cuts, or grows by a hole. -ENOMEM. */
int extents_resize(struct extents *e, uint64_t size);
/* The longest run of one kind from offset on (whose start is offset): false at or beyond the size.
 */
bool extents_at(const struct extents *e, uint64_t offset, struct extent *ret);
/* EXTENT_BITs of the kinds that [start, end) holds, cut at the size. */
unsigned extents_kinds(const struct extents *e, uint64_t start, uint64_t end);
/* How many bytes of [start, end) are of a kind in that set of EXTENT_BITs. */
uint64_t extents_bytes(const struct extents *e, uint64_t start, uint64_t end, unsigned kinds);

#endif
