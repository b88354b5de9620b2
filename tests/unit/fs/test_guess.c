/* SPDX-License-Identifier: Apache-2.0 */
/* Guesses of where pages end: exact for numbers, a name in order for anything else, or none. */
#include "../test.h"

#include <stdio.h>
#include <string.h>

#include "../../../src/fs/guess.h"

static struct buf text(const char *s)
{
	struct buf b = BUF_INIT;

	assert_int_equal(buf_append_str(&b, s), 0);
	return b;
}

/* Learns from two ends and the names between them; "" if nothing is guessed behind the second. */
static const char *guess(const char *before, const char *last, const char *between, unsigned scale,
			 char *ret, size_t size)
{
	struct guess g = {.scale = scale};
	struct s3_entry entries[] = {{.key = between, .key_length = strlen(between)},
				     {.key = last, .key_length = strlen(last)}};
	struct s3_page page = {.entries = entries, .entry_count = ARRAY_SIZE(entries)};
	CLEANUP(buf_finish) struct buf a = text(before);
	CLEANUP(buf_finish) struct buf b = text(last);
	CLEANUP(buf_finish) struct buf next = BUF_INIT;

	guess_learn(&g, &a, &b, &page, 0);
	*ret = '\0';
	if (guess_next(&g, b.data, b.length, &next) == 0)
		snprintf(ret, size, "%.*s", (int)next.length, next.data);
	return ret;
}

static void test_guesses(void **state)
{
	static const struct {
		const char *before, *last, *between, *next;
		unsigned scale;
	} cases[] = {
	    {"f0000999", "f0001999", "f0001500", "f0002999", 16},
	    {"f0000999.jpg", "f0001999.jpg", "f0001500.jpg", "f0002999.jpg", 16},
	    {"f0008999", "f0009999", "f0009500", "f0010999", 16},
	    {"f0000999", "f0001999", "f0001500", "f0002499", 8}, /* half as far */
	    {"d000999/", "d001999/", "d001500/", "d002999/", 16},
	    {"0a10", "1a10", "1b00", "2a10", 16},
	    {"0A10-x", "1A10-x", "1B00-x", "2A10-x", 16},
	    {"az", "bz", "bk", "cz", 16},
	    {"8999", "9999", "9500", "", 16}, /* no more digits */
	    {"img9", "img10", "img95", "", 16},
	    {"a-b", "a.b", "a-z", "", 16},
	    {"", "f0000999", "f0000500", "", 16},
	    {"f1999", "f0999", "f0500", "", 16}, /* not in order */
	    {"same", "same", "same", "", 16},
	};
	char found[64];

	for (size_t k = 0; k < ARRAY_SIZE(cases); k++)
		assert_string_equal(guess(cases[k].before, cases[k].last, cases[k].between,
					  cases[k].scale, found, sizeof(found)),
				    cases[k].next);
}

/* A name that is no number of that kind is not guessed from. */
static void test_no_guess_from_another_name(void **state)
{
	struct guess g = {.from = 1, .to = 4, .radix = 10, .step = 5, .scale = GUESS_SCALE};
	CLEANUP(buf_finish) struct buf next = BUF_INIT;

	assert_int_equal(guess_next(&g, "f012x", 5, &next), 0);
	assert_string_equal(next.data, "f017x");
	assert_true(guess_next(&g, "f0a2x", 5, &next) < 0);
	assert_true(guess_next(&g, "f0", 2, &next) < 0);
	assert_true(guess_next(&g, "", 0, &next) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_guesses),
	    cmocka_unit_test(test_no_guess_from_another_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
