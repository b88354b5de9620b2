/* SPDX-License-Identifier: Apache-2.0 */
/* The log of a rename, and the set of keys that it is read into. */
#include "../test.h"

#include <stdio.h>
#include <string.h>

#include <pailfs/cleanup.h>

#include "keyset.h"
#include "rename_log.h"

#define LINES 3000

/* Odd bytes, and none. */
static const struct rename_copied odd[] = {
    {"", 0, "\"a\"", "\"b-2\""},
    {"/a b\n%+", 7, "", "\"c\""},
    {"/\x01\xff\0x", 5, "\"d\"", "e"},
};

struct reading {
	unsigned count;
};

static int check_line(void *ctx, const struct rename_copied *c)
{
	struct reading *r = ctx;
	char suffix[32];

	if (r->count < ARRAY_SIZE(odd)) {
		assert_int_equal(c->length, odd[r->count].length);
		assert_memory_equal(c->suffix, odd[r->count].suffix, c->length);
		assert_string_equal(c->source_etag, odd[r->count].source_etag);
		assert_string_equal(c->etag, odd[r->count].etag);
	} else {
		snprintf(suffix, sizeof(suffix), "/f%u", r->count);
		assert_string_equal(c->suffix, suffix);
	}
	r->count++;
	return 0;
}

static void test_what_is_noted_is_read(void **state)
{
	struct fs fs = {.config = {.spool_dir = "/tmp"}};
	struct rename_intent intent = {.from = {.data = (char *)"from dir", .length = 8},
				       .to = {.data = (char *)"to", .length = 2},
				       .is_dir = true};
	struct reading reading = {0};
	struct rename_log *log;
	char suffix[32];

	assert_int_equal(rename_log_create(&fs, &intent, &log), 0);
	assert_false(rename_log_lasts(log));
	for (size_t k = 0; k < ARRAY_SIZE(odd); k++)
		assert_int_equal(rename_log_copied(log, &odd[k]), 0);
	for (unsigned k = ARRAY_SIZE(odd); k < LINES; k++) {
		struct rename_copied c = {.suffix = suffix, .source_etag = "s", .etag = "e"};

		c.length = (size_t)snprintf(suffix, sizeof(suffix), "/f%u", k);
		assert_int_equal(rename_log_copied(log, &c), 0);
	}
	assert_int_equal(rename_log_deleting(log), 0);
	assert_int_equal(rename_log_each(log, check_line, &reading), 0);
	assert_int_equal(reading.count, LINES);
	rename_log_end(log);
}

static void test_a_set_of_keys(void **state)
{
	struct keyset set;
	char key[32];

	keyset_init(&set);
	assert_false(keyset_has(&set, "a", 1, ""));
	for (unsigned k = 0; k < 10000; k++) {
		int n = snprintf(key, sizeof(key), "some/key/%u", k);

		assert_int_equal(keyset_add(&set, key, (size_t)n, "\"x\""), 0);
		assert_int_equal(keyset_add(&set, key, (size_t)n, "x"), 0); /* the same */
	}
	assert_int_equal(set.count, 10000);
	for (unsigned k = 0; k < 10000; k++) {
		int n = snprintf(key, sizeof(key), "some/key/%u", k);

		assert_true(keyset_has(&set, key, (size_t)n, "x"));
		assert_false(keyset_has(&set, key, (size_t)n, "y"));
		assert_false(keyset_has(&set, key, (size_t)n - 1, "y"));
	}
	assert_true(set.capacity <= 2 * 10000 * 4 / 3);
	keyset_finish(&set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_what_is_noted_is_read),
	    cmocka_unit_test(test_a_set_of_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
