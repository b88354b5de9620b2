/* SPDX-License-Identifier: Apache-2.0 */
/* The map of extents against an array that holds the kind of each byte. */
#include "../test.h"

#include "../../../src/fs/extents.h"

#define BYTES_MAX 300

struct model {
	unsigned char kind[BYTES_MAX];
	uint64_t size;
};

static void check(const struct extents *e, const struct model *m)
{
	uint64_t at = 0, end;
	struct extent x;
	unsigned last = EXTENT_KINDS;

	assert_int_equal(e->size, m->size);
	while (extents_at(e, at, &x)) {
		assert_int_equal(x.start, at);
		assert_true(x.end > at && x.end <= m->size);
		assert_int_not_equal(x.kind, last); /* runs are the longest there are */
		for (end = at; end < x.end; end++)
			assert_int_equal(m->kind[end], x.kind);
		last = x.kind;
		at = x.end;
	}
	assert_int_equal(at, m->size);
}

static void check_queries(const struct extents *e, const struct model *m, uint64_t start,
			  uint64_t end)
{
	unsigned kinds = 0;
	uint64_t bytes[EXTENT_KINDS] = {0}, at;
	int k;

	for (at = start; at < end && at < m->size; at++) {
		kinds |= EXTENT_BIT(m->kind[at]);
		bytes[m->kind[at]]++;
	}
	assert_int_equal(extents_kinds(e, start, end), kinds);
	for (k = 0; k < EXTENT_KINDS; k++)
		assert_int_equal(extents_bytes(e, start, end, EXTENT_BIT(k)), bytes[k]);
}

static void model_set(struct model *m, uint64_t start, uint64_t end, unsigned char kind)
{
	if (start > m->size)
		memset(m->kind + m->size, EXTENT_HOLE, start - m->size);
	memset(m->kind + start, kind, end - start);
	m->size = MAX(m->size, end);
}

static void model_turn(struct model *m, uint64_t start, uint64_t end, unsigned from, unsigned to)
{
	for (; start < end && start < m->size; start++)
		if (m->kind[start] == from)
			m->kind[start] = (unsigned char)to;
}

static void step(struct extents *e, struct model *m)
{
	uint64_t start = (uint64_t)(rand() % BYTES_MAX);
	uint64_t end = start + 1 + (uint64_t)rand() % (BYTES_MAX - start);
	unsigned kind = (unsigned)rand() % EXTENT_KINDS, other = (unsigned)rand() % EXTENT_KINDS;

	switch (rand() % 8) {
	case 0:
		if (start > m->size)
			memset(m->kind + m->size, EXTENT_HOLE, start - m->size);
		m->size = start;
		assert_int_equal(extents_resize(e, start), 0);
		break;
	case 1:
	case 2:
		model_turn(m, start, end, kind, other);
		assert_int_equal(
		    extents_turn(e, start, end, (enum extent_kind)kind, (enum extent_kind)other),
		    0);
		break;
	default:
		model_set(m, start, end, (unsigned char)kind);
		assert_int_equal(extents_set(e, start, end, (enum extent_kind)kind), 0);
	}
	check_queries(e, m, start, end);
}

static void test_random(void **state)
{
	unsigned seed, i;

	for (seed = 1; seed <= 200; seed++) {
		struct extents e = {0};
		struct model m = {.size = 0};

		srand(seed);
		for (i = 0; i < 300; i++) {
			step(&e, &m);
			check(&e, &m);
		}
		extents_finish(&e);
	}
}

static void test_stream(void **state)
{
	struct extents e = {0};
	struct extent x;
	uint64_t at;

	for (at = 0; at < 1000; at++)
		assert_int_equal(extents_set(&e, at * 4096, (at + 1) * 4096, EXTENT_MEMORY), 0);
	assert_int_equal(e.count, 1);
	assert_true(extents_at(&e, 5, &x));
	assert_int_equal(x.end, 1000 * 4096);
	assert_false(extents_at(&e, 1000 * 4096, &x));
	extents_finish(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_random),
	    cmocka_unit_test(test_stream),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
