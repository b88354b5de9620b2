/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer: part plans of files that are changed in place, and of streams. Input: the base's size,
 * then changes (start, length, kind). Whatever they are, the parts follow each other, keep S3's
 * limits, and copy nothing that has changed.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "plan.h"

#define CHANGE_BYTES 17

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t number(const uint8_t *bytes, uint64_t below)
{
	uint64_t n;

	memcpy(&n, bytes, sizeof(n));
	return n % below;
}

static void check_segments(const struct extents *e, uint64_t base)
{
	const unsigned unchanged = EXTENT_BIT(EXTENT_BASE) | EXTENT_BIT(EXTENT_CACHED);
	struct plan_segment *s;
	uint64_t at = 0;
	size_t count, i;

	if (plan_copies(e, base, 8 << 20, &s, &count) < 0)
		return;
	assert(count <= PLAN_PARTS_MAX);
	for (i = 0; i < count; i++) {
		assert(s[i].offset == at && s[i].length > 0 && s[i].length <= PLAN_PART_BYTES_MAX);
		assert(i + 1 == count || s[i].length >= PLAN_PART_BYTES_MIN);
		assert(!s[i].copied || (extents_kinds(e, at, at + s[i].length) & ~unchanged) == 0);
		at += s[i].length;
	}
	assert(at == e->size);
	free(s);
}

static void check_grid(uint64_t part, uint64_t expected, uint64_t memory, uint64_t offset)
{
	struct plan_part found, same;
	struct plan p;

	plan_init(&p, part, expected, memory);
	found = plan_part_at(&p, offset % plan_limit_bytes(&p));
	same = plan_part_number(&p, found.number);
	assert(found.number >= 1 && found.number <= PLAN_PARTS_MAX);
	assert(found.offset == same.offset && found.length == same.length);
	assert(found.length >= PLAN_PART_BYTES_MIN && found.length <= PLAN_PART_BYTES_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint64_t largest = PLAN_PARTS_MAX * PLAN_PART_BYTES_MAX;
	struct extents e = {0};
	uint64_t base;

	if (size < 8 + CHANGE_BYTES)
		return 0;
	base = number(data, largest) + 1;
	if (extents_set(&e, 0, base, EXTENT_BASE) < 0)
		return 0;
	check_grid(number(data + 8, UINT64_MAX), number(data, UINT64_MAX), base, base * 31);
	for (data += 8, size -= 8; size >= CHANGE_BYTES;
	     data += CHANGE_BYTES, size -= CHANGE_BYTES) {
		uint64_t start = number(data, largest);
		uint64_t length = 1 + number(data + 8, largest - start);

		if (extents_set(&e, start, start + length,
				(enum extent_kind)(data[16] % EXTENT_KINDS)) < 0)
			break;
	}
	check_segments(&e, base);
	extents_finish(&e);
	return 0;
}
