/* SPDX-License-Identifier: Apache-2.0 */
/* The part plan at each of its steps, and the plan of in-place changes. */
#include "../test.h"

#include "../../../src/fs/plan.h"

#define MEMORY (2 * GIB)

/* Parts follow each other without gaps, within S3's limits; each is found by any of its bytes. */
static void check_grid(const struct plan *p)
{
	uint64_t at = 0;
	unsigned n;

	for (n = 1; n <= PLAN_PARTS_MAX; n++) {
		struct plan_part part = plan_part_number(p, n), found;

		assert_int_equal(part.number, n);
		assert_int_equal(part.offset, at);
		assert_in_range(part.length, PLAN_PART_BYTES_MIN, PLAN_PART_BYTES_MAX);
		assert_int_equal(part.length % (128 * KIB), 0);
		found = plan_part_at(p, part.offset);
		assert_int_equal(found.number, n);
		found = plan_part_at(p, part.offset + part.length - 1);
		assert_int_equal(found.number, n);
		assert_int_equal(found.offset, part.offset);
		at += part.length;
	}
	assert_int_equal(plan_limit_bytes(p), at);
}

static void test_stream(void **state)
{
	static const struct {
		uint64_t memory_bytes, limit_bytes;
	} rows[] = {
	    {128 * MIB, 1000 * 8 * MIB + 9000 * 16 * MIB},
	    {512 * MIB, 1000 * (8 + 16 + 32) * MIB + 7000 * 64 * MIB},
	    {2 * GIB, 1000 * (8 + 16 + 32 + 64 + 128) * MIB + 5000 * 256 * MIB},
	    {8 * MIB, 10000 * 8 * MIB}, /* parts do not shrink below the first */
	};
	struct plan p;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		plan_init(&p, 0, 0, rows[i].memory_bytes);
		check_grid(&p);
		assert_int_equal(plan_limit_bytes(&p), rows[i].limit_bytes);
	}
	plan_init(&p, 0, 0, MEMORY);
	assert_int_equal(plan_part_at(&p, 0).length, 8 * MIB);
	assert_int_equal(plan_part_at(&p, 8000 * MIB - 1).number, 1000);
	assert_int_equal(plan_part_at(&p, 8000 * MIB).number, 1001);
	assert_int_equal(plan_part_at(&p, 8000 * MIB).length, 16 * MIB);
	assert_int_equal(plan_part_number(&p, 10000).length, 256 * MIB);
}

/* Parts of a size that was asked for, but for what 10,000 of them do not take. */
static void test_fixed_parts_that_are_too_small(void **state)
{
	struct plan p;

	plan_init(&p, 5 * MIB, 10000 * 5 * MIB, MEMORY);
	assert_true(p.fixed);
	assert_int_equal(plan_limit_bytes(&p), 10000 * 5 * MIB);
	plan_init(&p, 5 * MIB, 10000 * 5 * MIB + 10000, MEMORY);
	assert_false(p.fixed);
	assert_true(plan_limit_bytes(&p) >= 10000 * 5 * MIB + 10000);
	check_grid(&p);
}

static void test_fixed(void **state)
{
	static const struct {
		uint64_t asked, part;
	} rows[] = {
	    {1, 5 * MIB},	  {5 * MIB, 5 * MIB},	 {5 * MIB + 1, 5 * MIB + 128 * KIB},
	    {64 * MIB, 64 * MIB}, {UINT64_MAX, 5 * GIB},
	};
	struct plan p;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		plan_init(&p, rows[i].asked, 0, MEMORY);
		check_grid(&p);
		assert_int_equal(plan_part_number(&p, 1).length, rows[i].part);
		assert_int_equal(plan_limit_bytes(&p), 10000 * rows[i].part);
	}
}

static void test_known_length(void **state)
{
	static const struct {
		uint64_t bytes;
		uint64_t part;
		unsigned count;
	} rows[] = {
	    {1, 8 * MIB, 1},
	    {8 * MIB, 8 * MIB, 1},
	    {8 * MIB + 1, 8 * MIB, 2},
	    {80000 * MIB, 8 * MIB, 10000}, /* exactly 10,000 */
	    {80000 * MIB + 1, 8 * MIB + 128 * KIB, 9847},
	    {10000 * 5 * GIB, 5 * GIB, 10000}, /* the largest object there is */
	    {UINT64_MAX, 5 * GIB, 10000},
	};
	struct plan p;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t last = MIN(rows[i].bytes, 10000 * 5 * GIB) - 1;

		plan_init(&p, 0, rows[i].bytes, MEMORY);
		check_grid(&p);
		assert_int_equal(plan_part_number(&p, 1).length, rows[i].part);
		assert_int_equal(plan_part_at(&p, last).number, rows[i].count);
		assert_int_equal(plan_part_at(&p, last).length, rows[i].part);
	}
}

static void fill(struct extents *e, uint64_t size)
{
	extents_finish(e);
	assert_int_equal(extents_set(e, 0, size, EXTENT_BASE), 0);
}

/* S3's rules; copied parts lie in what is unchanged. */
static void check_copies(const struct extents *e, uint64_t base_bytes, const struct plan_segment *s,
			 size_t count)
{
	uint64_t at = 0;
	size_t i;

	assert_in_range(count, 1, PLAN_PARTS_MAX);
	for (i = 0; i < count; i++) {
		unsigned kinds = extents_kinds(e, s[i].offset, s[i].offset + s[i].length);

		assert_int_equal(s[i].offset, at);
		assert_true(s[i].length > 0 && s[i].length <= PLAN_PART_BYTES_MAX);
		assert_true(i + 1 == count || s[i].length >= PLAN_PART_BYTES_MIN);
		if (s[i].copied) {
			assert_int_equal(
			    kinds & ~(EXTENT_BIT(EXTENT_BASE) | EXTENT_BIT(EXTENT_CACHED)), 0);
			assert_true(base_bytes > PLAN_COPY_SOURCE_MIN);
		}
		at += s[i].length;
	}
	assert_int_equal(at, e->size);
}

static size_t plan(const struct extents *e, uint64_t base_bytes, uint64_t *ret_sent)
{
	struct plan_segment *s;
	size_t i, count;

	assert_int_equal(plan_copies(e, base_bytes, 8 * MIB, &s, &count), 0);
	check_copies(e, base_bytes, s, count);
	*ret_sent = 0;
	for (i = 0; i < count; i++)
		*ret_sent += s[i].copied ? 0 : s[i].length;
	free(s);
	return count;
}

static void test_copies(void **state)
{
	struct extents e = {0};
	uint64_t sent;

	fill(&e, 100 * GIB); /* one byte in the middle of much */
	extents_set(&e, 50 * GIB, 50 * GIB + 1, EXTENT_MEMORY);
	plan(&e, 100 * GIB, &sent);
	assert_int_equal(sent, 5 * MIB);

	fill(&e, GIB); /* an append */
	extents_set(&e, GIB, GIB + 3, EXTENT_MEMORY);
	assert_int_equal(plan(&e, GIB, &sent), 3);
	assert_int_equal(sent, 3);

	fill(&e, 12 * MIB); /* what is left before and behind is too short to be copied */
	extents_set(&e, 4 * MIB, 8 * MIB, EXTENT_MEMORY);
	plan(&e, 12 * MIB, &sent);
	assert_int_equal(sent, 12 * MIB);

	fill(&e, 4 * MIB); /* S3 copies no range of so small a source */
	extents_set(&e, 4 * MIB, 40 * MIB, EXTENT_MEMORY);
	plan(&e, 4 * MIB, &sent);
	assert_int_equal(sent, 40 * MIB);

	fill(&e, 10000 * 5 * GIB); /* the largest object, one byte changed */
	extents_set(&e, 7, 8, EXTENT_MEMORY);
	plan(&e, 10000 * 5 * GIB, &sent);
	assert_int_equal(sent, 5 * GIB);
	extents_finish(&e);
}

static void test_random_copies(void **state)
{
	struct extents e = {0};
	unsigned seed, i;

	for (seed = 1; seed <= 300; seed++) {
		uint64_t size, sent;

		srand(seed);
		size = 1 + (uint64_t)rand() % (2 * GIB - 1);
		if (seed % 10 == 0)
			size *= 20000;
		fill(&e, size);
		for (i = 0; i < seed; i++) {
			uint64_t start = ((uint64_t)rand() << 15 ^ (uint64_t)rand()) % size;
			uint64_t length = 1 + (uint64_t)rand() % (seed % 2 ? 9 * MIB : 4096);
			enum extent_kind kind = rand() % 5 ? EXTENT_SPOOL : EXTENT_CACHED;

			extents_set(&e, start, start + length, kind);
		}
		plan(&e, size, &sent);
	}
	extents_finish(&e);
}

static void test_too_many_pieces(void **state)
{
	struct extents e = {0};
	uint64_t at, sent;

	fill(&e, 150000 * MIB); /* a byte in each 10 MiB: 15,000 changes cannot all be parts */
	for (at = 5 * MIB; at < e.size; at += 10 * MIB)
		extents_set(&e, at, at + 1, EXTENT_MEMORY);
	plan(&e, e.size, &sent);
	extents_finish(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_stream),
	    cmocka_unit_test(test_fixed),
	    cmocka_unit_test(test_fixed_parts_that_are_too_small),
	    cmocka_unit_test(test_known_length),
	    cmocka_unit_test(test_copies),
	    cmocka_unit_test(test_random_copies),
	    cmocka_unit_test(test_too_many_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
