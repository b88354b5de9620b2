/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of an in-place change. Three passes over the file: runs of changed and unchanged bytes
 * (unchanged ones that are shorter than `least` count as changed); changed runs that are too short
 * for a part grow into the run behind or before them; long runs are cut into parts. When that makes
 * more than 10,000 parts, again with longer parts and a longer `least`; at last
 * 10,000 equal parts, each of them copied or sent as a whole.
 */
#include "plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <pailfs/cleanup.h>

#define COPY_BYTES_MAX (512 * MIB)
#define UNCHANGED (EXTENT_BIT(EXTENT_BASE) | EXTENT_BIT(EXTENT_CACHED))

struct segments {
	struct plan_segment *items;
	size_t count, capacity;
};

static int add(struct segments *s, uint64_t offset, uint64_t length, bool copied)
{
	size_t capacity = MAX((size_t)16, s->capacity * 2);
	struct plan_segment *items;

	if (s->count == s->capacity) {
		items = reallocarray(s->items, capacity, sizeof(*items));
		if (items == NULL)
			return -ENOMEM;
		s->items = items;
		s->capacity = capacity;
	}
	s->items[s->count++] = (struct plan_segment){offset, length, copied};
	return 0;
}

/* Joins a run to the one before if both are of a kind. */
static int add_run(struct segments *s, uint64_t offset, uint64_t length, bool copied)
{
	if (s->count > 0 && s->items[s->count - 1].copied == copied) {
		s->items[s->count - 1].length += length;
		return 0;
	}
	return add(s, offset, length, copied);
}

/* Runs of the file; what is unchanged for less than `least` is sent. */
static int find_runs(const struct extents *e, bool may_copy, uint64_t least, struct segments *ret)
{
	uint64_t at = 0;
	struct extent x;
	int rc = 0;

	while (rc == 0 && extents_at(e, at, &x)) {
		bool unchanged = (EXTENT_BIT(x.kind) & UNCHANGED) != 0;
		uint64_t end = x.end;

		while (unchanged && extents_at(e, end, &x) && (EXTENT_BIT(x.kind) & UNCHANGED))
			end = x.end;
		rc = add_run(ret, at, end - at, may_copy && unchanged && end - at >= least);
		at = end;
	}
	return rc;
}

/*
 * Each run that is sent, but the last of the file, gets 5 MiB at least: it takes from the copy
 * behind it, from the one before it, or all of one that would become too short.
 */
static void widen_runs(struct segments *s)
{
	size_t i;

	for (i = 0; i < s->count; i++) {
		struct plan_segment *run = &s->items[i], *next = run + 1;
		bool last = i + 1 == s->count;
		uint64_t lack;

		if (run->copied || last || run->length >= PLAN_PART_BYTES_MIN)
			continue;
		lack = PLAN_PART_BYTES_MIN - run->length;
		if (next->length < lack + PLAN_PART_BYTES_MIN) { /* takes all of it, and what was
								    sent behind it */
			size_t joined = i + 2 < s->count ? 2 : 1;

			run->length += next->length + (joined == 2 ? next[1].length : 0);
			memmove(next, next + joined, (s->count - i - 1 - joined) * sizeof(*next));
			s->count -= joined;
			i--; /* perhaps it is still too short */
			continue;
		}
		run->length += lack;
		next->offset += lack;
		next->length -= lack;
	}
}

/* Cuts a run into equal parts of at most `most` bytes. */
static int cut_run(const struct plan_segment *run, uint64_t most, struct segments *ret)
{
	uint64_t count = (run->length + most - 1) / most, i;
	uint64_t piece = run->length / count, rest = run->length % count, at = run->offset;
	int rc = 0;

	for (i = 0; i < count && rc == 0; i++) {
		uint64_t length = piece + (i < rest);

		rc = add(ret, at, length, run->copied);
		at += length;
	}
	return rc;
}

static int try_plan(const struct extents *e, bool may_copy, uint64_t least, uint64_t copy_bytes,
		    uint64_t part_bytes, struct segments *ret)
{
	struct segments runs = {0};
	size_t i;
	int rc = find_runs(e, may_copy, least, &runs);

	widen_runs(&runs);
	for (i = 0; i < runs.count && rc == 0 && ret->count <= PLAN_PARTS_MAX; i++)
		rc = cut_run(&runs.items[i], runs.items[i].copied ? copy_bytes : part_bytes, ret);
	free(runs.items);
	return rc;
}

/* As many equal parts as there may be. */
static int equal_parts(const struct extents *e, bool may_copy, struct segments *ret)
{
	uint64_t piece = MAX(e->size / PLAN_PARTS_MAX + 1, PLAN_PART_BYTES_MIN), at, length;
	int rc = 0;

	piece = MIN(piece, PLAN_PART_BYTES_MAX);
	for (at = 0; at < e->size && rc == 0; at += length) {
		bool changed;

		length = MIN(piece, e->size - at);
		changed = (extents_kinds(e, at, at + length) & ~UNCHANGED) != 0;
		rc = add(ret, at, length, may_copy && !changed);
	}
	return rc;
}

int plan_copies(const struct extents *e, uint64_t base_bytes, uint64_t part_bytes,
		struct plan_segment **ret, size_t *ret_count)
{
	uint64_t least = PLAN_PART_BYTES_MIN, copy_bytes = COPY_BYTES_MAX;
	bool may_copy = base_bytes > PLAN_COPY_SOURCE_MIN;
	struct segments s = {0};
	int rc;

	if (e->size > PLAN_PARTS_MAX * PLAN_PART_BYTES_MAX)
		return -EFBIG;
	part_bytes = MAX(part_bytes, 2 * PLAN_PART_BYTES_MIN); /* halves of a cut run, too */
	part_bytes = MAX(part_bytes, e->size / PLAN_PARTS_MAX);
	copy_bytes = MAX(copy_bytes, e->size / PLAN_PARTS_MAX);
	for (;;) {
		rc = try_plan(e, may_copy, least, copy_bytes, part_bytes, &s);
		if (rc < 0 || s.count <= PLAN_PARTS_MAX)
			break;
		if (part_bytes >= PLAN_PART_BYTES_MAX && least >= PLAN_PART_BYTES_MAX) {
			s.count = 0;
			rc = equal_parts(e, may_copy, &s);
			break;
		}
		s.count = 0;
		least = MIN(least * 2, PLAN_PART_BYTES_MAX);
		copy_bytes = MIN(copy_bytes * 2, PLAN_PART_BYTES_MAX);
		part_bytes = MIN(part_bytes * 2, PLAN_PART_BYTES_MAX);
	}
	if (rc < 0) {
		free(s.items);
		return rc;
	}
	*ret = s.items;
	*ret_count = s.count;
	return 0;
}
