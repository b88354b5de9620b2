/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The grid of a stream: runs of equal parts, each run described by (first number, size), so that a
 * part is found by a few divisions. The arithmetic cannot overflow: 10,000 x 5 GiB is 2^45.6.
 */
#include "plan.h"

#include <assert.h>
#include <errno.h>

#include <pailfs/cache.h>
#include <pailfs/cleanup.h>

#define FIRST_PART_BYTES (8 * MIB)
#define PARTS_A_STEP 1000u

static uint64_t round_up(uint64_t bytes, uint64_t unit)
{
	return (bytes + unit - 1) / unit * unit;
}

void plan_init(struct plan *p, uint64_t part_bytes, uint64_t expected_bytes, uint64_t memory_bytes)
{
	uint64_t equal = MAX(part_bytes, PLAN_PART_BYTES_MIN);

	if (expected_bytes / PLAN_PARTS_MAX > equal)
		part_bytes = 0;
	*p = (struct plan){.fixed = part_bytes != 0};
	p->largest_bytes = memory_bytes / 8 / CACHE_BLOCK_BYTES * CACHE_BLOCK_BYTES;
	p->largest_bytes =
	    MIN(MAX(p->largest_bytes, (uint64_t)FIRST_PART_BYTES), PLAN_PART_BYTES_MAX);
	if (part_bytes != 0) {
		p->equal_bytes = round_up(MIN(equal, PLAN_PART_BYTES_MAX), CACHE_BLOCK_BYTES);
	} else if (expected_bytes != 0) {
		equal = expected_bytes / PLAN_PARTS_MAX + (expected_bytes % PLAN_PARTS_MAX != 0);
		equal = MIN(MAX(equal, (uint64_t)FIRST_PART_BYTES), PLAN_PART_BYTES_MAX);
		p->equal_bytes = round_up(equal, CACHE_BLOCK_BYTES);
		p->expected_count = (unsigned)MIN(
		    round_up(expected_bytes, p->equal_bytes) / p->equal_bytes, PLAN_PARTS_MAX);
	}
}

/* The size of the parts from `number` on, and how many of them there are. */
static uint64_t run_of(const struct plan *p, unsigned number, unsigned *ret_count)
{
	unsigned step = (number - 1) / PARTS_A_STEP, end = (step + 1) * PARTS_A_STEP;
	uint64_t bytes;

	if (p->fixed || number <= p->expected_count) {
		*ret_count = (p->fixed ? PLAN_PARTS_MAX : p->expected_count) - number + 1;
		return p->equal_bytes;
	}
	bytes = MIN(FIRST_PART_BYTES << step, p->largest_bytes);
	*ret_count = end - number + 1;
	return MAX(bytes, p->equal_bytes);
}

struct plan_part plan_part_at(const struct plan *p, uint64_t offset)
{
	struct plan_part part = {.number = 1};
	unsigned count;

	for (;;) {
		uint64_t index;

		assert(part.number <= PLAN_PARTS_MAX);
		part.length = run_of(p, part.number, &count);
		index = (offset - part.offset) / part.length;
		if (index < count) {
			part.number += (unsigned)index;
			part.offset += index * part.length;
			return part;
		}
		part.number += count;
		part.offset += count * part.length;
	}
}

struct plan_part plan_part_number(const struct plan *p, unsigned number)
{
	struct plan_part part = {.number = 1};
	unsigned count;

	assert(number >= 1 && number <= PLAN_PARTS_MAX);
	for (;;) {
		part.length = run_of(p, part.number, &count);
		if (number - part.number < count) {
			part.offset += (number - part.number) * part.length;
			part.number = number;
			return part;
		}
		part.number += count;
		part.offset += count * part.length;
	}
}

uint64_t plan_limit_bytes(const struct plan *p)
{
	struct plan_part last = plan_part_number(p, PLAN_PARTS_MAX);

	return last.offset + last.length;
}
