/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sorted array of starts, searched by halves. A stream has a handful of entries; a file that is
 * written at random has as many as it has pieces, each change moving the ones behind it (16 bytes
 * each: 0.1 ms for 100,000). The writer fills its blocks up with zeros over holes, which keeps the
 * pieces at least a block apart there.
 *
 * Invariants (checked after each change in debug builds): the first entry starts at 0, starts rise,
 * neighbours differ in kind, all lie below the size; no entries if and only if the size is 0.
 */
#include "extents.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <pailfs/cleanup.h>

#define CAPACITY_MIN 16

struct extent_entry {
	uint64_t start;
	enum extent_kind kind;
};

void extents_finish(struct extents *e)
{
	free(e->entries);
	*e = (struct extents){0};
}

/* Room for two more entries than there are. */
static int make_room(struct extents *e)
{
	size_t capacity = MAX((size_t)CAPACITY_MIN, e->capacity * 2);
	struct extent_entry *entries;

	if (e->count + 2 <= e->capacity)
		return 0;
	entries = realloc(e->entries, capacity * sizeof(*entries));
	if (entries == NULL)
		return -ENOMEM;
	e->entries = entries;
	e->capacity = capacity;
	return 0;
}

/* The first entry that starts beyond offset; the one before it holds offset. */
static size_t find_beyond(const struct extents *e, uint64_t offset)
{
	size_t low = 0, high = e->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (e->entries[middle].start <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static uint64_t entry_end(const struct extents *e, size_t i)
{
	return i + 1 < e->count ? e->entries[i + 1].start : e->size;
}

static void check_near(const struct extents *e, size_t i)
{
	size_t first = i > 2 ? i - 2 : 0, last = MIN(i + 3, e->count);

	assert((e->count == 0) == (e->size == 0));
	assert(e->count == 0 || e->entries[0].start == 0);
	for (i = first; i < last; i++) {
		assert(e->entries[i].start < entry_end(e, i));
		assert(i == 0 || e->entries[i].kind != e->entries[i - 1].kind);
	}
}

/* Replaces entries [first, last) by n others. There is room. */
static void splice(struct extents *e, size_t first, size_t last, const struct extent_entry *with,
		   size_t n)
{
	memmove(&e->entries[first + n], &e->entries[last], (e->count - last) * sizeof(*e->entries));
	memcpy(&e->entries[first], with, n * sizeof(*with));
	e->count += n - (last - first);
}

/* Within the size. There is room for two more. */
static void set_within(struct extents *e, uint64_t start, uint64_t end, enum extent_kind kind)
{
	size_t first = find_beyond(e, start) - 1; /* holds start */
	size_t last = find_beyond(e, end - 1);	  /* the first one behind */
	struct extent_entry with[3];
	size_t n = 0;

	if (e->entries[first].start < start) { /* its beginning stays */
		if (e->entries[first].kind == kind)
			start = e->entries[first].start;
		else
			with[n++] = e->entries[first];
	} else if (first > 0 && e->entries[first - 1].kind == kind) {
		first--;
		start = e->entries[first].start;
	}
	with[n++] = (struct extent_entry){.start = start, .kind = kind};
	if (end < entry_end(e, last - 1)) { /* the end of the last one stays */
		if (e->entries[last - 1].kind != kind)
			with[n++] = (struct extent_entry){end, e->entries[last - 1].kind};
	} else if (last < e->count && e->entries[last].kind == kind) {
		last++;
	}
	splice(e, first, last, with, n);
	check_near(e, first);
}

/* Grows to size. There is room for one more. */
static void append(struct extents *e, uint64_t size, enum extent_kind kind)
{
	uint64_t start = e->size;

	assert(size > start);
	e->size = size;
	if (e->count == 0 || e->entries[e->count - 1].kind != kind)
		e->entries[e->count++] = (struct extent_entry){.start = start, .kind = kind};
	check_near(e, e->count - 1);
}

int extents_set(struct extents *e, uint64_t start, uint64_t end, enum extent_kind kind)
{
	uint64_t size = e->size;

	assert(start < end);
	if (make_room(e) < 0)
		return -ENOMEM;
	if (start > size)
		append(e, start, EXTENT_HOLE);
	if (end > e->size)
		append(e, end, kind); /* a change within the size only joins to it */
	if (start < size)
		set_within(e, start, end, kind);
	return 0;
}

int extents_turn(struct extents *e, uint64_t start, uint64_t end, enum extent_kind from,
		 enum extent_kind to)
{
	struct extent x;

	if (make_room(e) < 0)
		return -ENOMEM;
	end = MIN(end, e->size);
	for (; start < end && extents_at(e, start, &x); start = x.end) {
		x.end = MIN(x.end, end);
		if (x.kind != from)
			continue;
		/* only a turn that touches a border of the range adds entries: two at most */
		if (make_room(e) < 0)
			return -ENOMEM;
		set_within(e, x.start, x.end, to);
	}
	return 0;
}

int extents_resize(struct extents *e, uint64_t size)
{
	if (make_room(e) < 0)
		return -ENOMEM;
	if (size > e->size) {
		append(e, size, EXTENT_HOLE);
		return 0;
	}
	e->count = size == 0 ? 0 : find_beyond(e, size - 1);
	e->size = size;
	check_near(e, e->count);
	return 0;
}

bool extents_at(const struct extents *e, uint64_t offset, struct extent *ret)
{
	size_t i;

	if (offset >= e->size)
		return false;
	i = find_beyond(e, offset) - 1;
	*ret = (struct extent){offset, entry_end(e, i), e->entries[i].kind};
	return true;
}

unsigned extents_kinds(const struct extents *e, uint64_t start, uint64_t end)
{
	unsigned kinds = 0;
	size_t i;

	end = MIN(end, e->size);
	if (start >= end)
		return 0;
	for (i = find_beyond(e, start) - 1; i < e->count && e->entries[i].start < end; i++)
		kinds |= EXTENT_BIT(e->entries[i].kind);
	return kinds;
}

uint64_t extents_bytes(const struct extents *e, uint64_t start, uint64_t end, unsigned kinds)
{
	uint64_t bytes = 0;
	size_t i;

	end = MIN(end, e->size);
	if (start >= end)
		return 0;
	for (i = find_beyond(e, start) - 1; i < e->count && e->entries[i].start < end; i++)
		if (kinds & EXTENT_BIT(e->entries[i].kind))
			bytes += MIN(entry_end(e, i), end) - MAX(e->entries[i].start, start);
	return bytes;
}
