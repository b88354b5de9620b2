/* SPDX-License-Identifier: Apache-2.0 */
/* Which opens make a series, how far it goes ahead, and what it may waste. */
#include "../test.h"

#include <stdlib.h>

#include "series.h"

#define FILES 200
#define FILE_BYTES (64 * KIB)

static const struct series_limits limits = {.files_max = 16, .bytes_max = 64 * MIB};

/* A directory that is read: what was asked for and what was opened. */
struct reading {
	struct series s;
	bool begun;
	unsigned asked[FILES], opened[FILES];
	unsigned asks, most_ahead;
	uint64_t bytes; /* of each file */
};

static struct series_position at(uint32_t listed, uint32_t numbered)
{
	return (struct series_position){.at = {listed, numbered}};
}

static unsigned wasted(const struct reading *r)
{
	unsigned n = 0;

	for (unsigned k = 0; k < FILES; k++)
		n += r->asked[k] > 0 && r->opened[k] == 0;
	return n;
}

static unsigned used(const struct reading *r)
{
	unsigned n = 0;

	for (unsigned k = 0; k < FILES; k++)
		n += r->asked[k] > 0 && r->opened[k] > 0;
	return n;
}

/* Opens a file; one that belongs to nothing begins anew, as a track that makes room would. */
static enum series_open open_file(struct reading *r, uint32_t listed, uint32_t numbered)
{
	const struct series_position p = at(listed, numbered);
	enum series_open found = SERIES_ELSEWHERE;
	uint32_t next;

	if (r->begun)
		found = series_open(&r->s, &p, &limits);
	if (found == SERIES_ELSEWHERE) {
		series_init(&r->s, &p, r->begun ? r->s.need : SERIES_NEED_MIN);
		r->begun = true;
	}
	r->opened[r->s.following && r->s.order == SERIES_NUMBERED ? numbered : listed]++;
	while (series_next(&r->s, &limits, &next) && next < FILES) {
		if (!series_ask(&r->s, &limits, r->bytes))
			break;
		assert_int_equal(r->asked[next], 0);
		r->asked[next]++;
		r->asks++;
	}
	r->most_ahead = MAX(r->most_ahead, r->s.ahead_count);
	return found;
}

static void in_order_it_asks_for_each_once_and_ever_further(void **state)
{
	struct reading r = {.bytes = FILE_BYTES};

	(void)state;
	for (uint32_t k = 0; k < FILES; k++) {
		unsigned before = r.asks;

		open_file(&r, k, (k * 37) % FILES);
		if (k < SERIES_NEED_MIN)
			assert_int_equal(r.asks, 0);
		else
			assert_true(r.asks - before <= 2);
	}
	assert_int_equal(r.asks, FILES - 1 - SERIES_NEED_MIN);
	assert_int_equal(wasted(&r), 0);
	assert_int_equal(r.most_ahead, limits.files_max);
}

static void by_number_is_an_order_too(void **state)
{
	struct reading r = {.bytes = FILE_BYTES};

	(void)state;
	for (uint32_t k = 0; k < FILES; k++)
		open_file(&r, (k * 37) % FILES, k);
	assert_int_equal(r.s.order, SERIES_NUMBERED);
	assert_int_equal(r.asks, FILES - 1 - SERIES_NEED_MIN);
}

static void several_readers_come_nearly_in_order(void **state)
{
	static const uint32_t mixed[] = {0, 2,	1,  3,	5,  4,	7,  6,	8,
					 9, 11, 10, 14, 12, 13, 15, 17, 16};
	struct reading r = {.bytes = FILE_BYTES};

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(mixed); k++)
		open_file(&r, mixed[k], SERIES_NOWHERE);
	assert_true(r.s.following);
	assert_true(used(&r) >= ARRAY_SIZE(mixed) - 6);
	assert_int_equal(r.s.lost, 0);
}

static void a_shuffled_reader_has_at_most_one_probe(void **state)
{
	(void)state;
	for (unsigned seed = 0; seed < 300; seed++) {
		struct reading r = {.bytes = FILE_BYTES};
		uint32_t order[FILES];

		srand(seed);
		for (uint32_t k = 0; k < FILES; k++) {
			uint32_t other = (uint32_t)rand() % (k + 1);

			order[k] = order[other];
			order[other] = k;
		}
		for (uint32_t k = 0; k < FILES; k++)
			open_file(&r, order[k], (order[k] * 37) % FILES);
		assert_true(r.asks <= SERIES_FIRST_FILES);
	}
}

static void what_is_left_behind_is_paid_for(void **state)
{
	struct reading r = {.bytes = FILE_BYTES};
	uint32_t k;

	(void)state;
	for (k = 0; k < 6; k++)
		open_file(&r, k, SERIES_NOWHERE);
	assert_true(r.s.following);
	for (; k < FILES; k += 3) { /* from now on every third */
		open_file(&r, k, SERIES_NOWHERE);
		assert_true(wasted(&r) <= used(&r) + SERIES_FIRST_FILES + r.s.ahead_count);
	}
	assert_false(r.s.following);
	assert_true(wasted(&r) <= used(&r) + SERIES_FIRST_FILES);
}

static void a_series_fails_when_nothing_ahead_was_opened(void **state)
{
	struct reading r = {.bytes = FILE_BYTES};
	uint32_t k;

	(void)state;
	for (k = 0; k <= SERIES_NEED_MIN; k++)
		open_file(&r, k, SERIES_NOWHERE);
	assert_int_equal(r.asks, SERIES_FIRST_FILES);
	assert_true(series_failed(&r.s));
	open_file(&r, k, SERIES_NOWHERE);
	assert_false(series_failed(&r.s));
}

static void bytes_are_bounded_as_files_are(void **state)
{
	struct reading r = {.bytes = MIB};

	(void)state;
	for (uint32_t k = 0; k < 3; k++)
		open_file(&r, k, SERIES_NOWHERE);
	assert_int_equal(r.asks, 1); /* one is always possible */
	for (uint32_t k = 3; k < FILES; k++) {
		open_file(&r, k, SERIES_NOWHERE);
		assert_true(r.s.ahead_count <= 1 || r.s.ahead_bytes <= r.s.credit_bytes);
	}
	assert_int_equal(r.most_ahead, limits.files_max);
}

static void what_is_left_out_costs_nothing(void **state)
{
	struct reading r = {.bytes = FILE_BYTES};
	uint32_t next, looks = 0;

	(void)state;
	for (uint32_t k = 0; k < 2; k++)
		open_file(&r, k, SERIES_NOWHERE);
	assert_int_equal(series_open(&r.s, &(struct series_position){{2, 2}}, &limits),
			 SERIES_IN_ORDER);
	for (; series_next(&r.s, &limits, &next); looks++)
		series_skip(&r.s);
	assert_true(looks > 64 && looks < 1024); /* but it does not look on for ever */
	assert_int_equal(r.s.ahead_count, 0);
	assert_false(series_failed(&r.s));
}

static void a_disturbed_beginning_is_over(void **state)
{
	struct reading r = {.bytes = FILE_BYTES};

	(void)state;
	for (uint32_t k = 0; k < FILES; k++) {
		open_file(&r, k, SERIES_NOWHERE);
		series_disturb(&r.s);
	}
	assert_int_equal(r.asks, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(in_order_it_asks_for_each_once_and_ever_further),
	    cmocka_unit_test(by_number_is_an_order_too),
	    cmocka_unit_test(several_readers_come_nearly_in_order),
	    cmocka_unit_test(a_shuffled_reader_has_at_most_one_probe),
	    cmocka_unit_test(what_is_left_behind_is_paid_for),
	    cmocka_unit_test(a_series_fails_when_nothing_ahead_was_opened),
	    cmocka_unit_test(bytes_are_bounded_as_files_are),
	    cmocka_unit_test(what_is_left_out_costs_nothing),
	    cmocka_unit_test(a_disturbed_beginning_is_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
