/* SPDX-License-Identifier: Apache-2.0 */
/* Pages of names: what a listing proves of a name, and what it does not. And what is kept
 * of an object. */
#include "../test.h"

#include <stdio.h>

#include "../../../src/fs/names.h"

/* A page from keys; one that ends in '/' is a common prefix. */
static struct names_page *page_of(const char *const *keys, size_t count, const char *after,
				  bool truncated, uint64_t fetched_ns)
{
	struct s3_entry entries[64] = {{0}};
	struct s3_page from = {.entries = entries, .entry_count = count, .truncated = truncated};
	struct names_page *page;
	size_t i;

	for (i = 0; i < count; i++) {
		size_t n = strlen(keys[i]);

		entries[i] = (struct s3_entry){.key = keys[i],
					       .key_length = n,
					       .is_prefix = n > 2 && keys[i][n - 1] == '/',
					       .size = i,
					       .etag = "\"0123456789abcdef0123456789abcdef\""};
	}
	assert_int_equal(names_page_create(&from, 2, after, strlen(after), fetched_ns, &page), 0);
	return page;
}

#define PAGE(after, truncated, fetched_ns, ...)                                                    \
	page_of((const char *const[]){__VA_ARGS__},                                                \
		ARRAY_SIZE(((const char *const[]){__VA_ARGS__})), after, truncated, fetched_ns)

static enum names_verdict find(const struct names_set *s, const char *name)
{
	const struct name *n;
	uint64_t since_ns;

	return names_set_find(s, name, strlen(name), &n, &since_ns);
}

static void a_page_answers_what_it_covers(void **state)
{
	struct names_page *p = PAGE("", false, 1, "d/", "d/a", "d/b/", "d/c-1", "d/c.txt");
	struct names_set s = {0};

	assert_int_equal(p->count, 4); /* without the directory's own marker */
	names_set_add(&s, p);
	assert_int_equal(find(&s, "a"), NAMES_IS_FILE);
	assert_int_equal(find(&s, "b"), NAMES_IS_DIR);
	assert_int_equal(find(&s, "c.txt"), NAMES_IS_FILE);
	assert_int_equal(find(&s, "c"), NAMES_ABSENT);
	assert_int_equal(find(&s, "zzz"), NAMES_ABSENT);
	names_page_unref(p);
	names_set_drop(&s, UINT64_MAX);
	assert_int_equal(find(&s, "a"), NAMES_UNKNOWN);
}

static void the_asked_prefix_as_a_common_prefix_is_no_name(void **state)
{
	const struct s3_entry entries[] = {
	    {.key = "d/", .key_length = 2, .is_prefix = true},
	    {.key = "d/", .key_length = 2, .is_prefix = true},
	    {.key = "d/a", .key_length = 3},
	    {.key = "d/b/", .key_length = 4, .is_prefix = true},
	};
	const struct s3_page from = {.entries = (struct s3_entry *)entries,
				     .entry_count = ARRAY_SIZE(entries)};
	struct names_page *p;

	assert_int_equal(names_page_create(&from, 2, "Z", 1, 1, &p), 0);
	assert_int_equal(p->count, 2);
	assert_memory_equal(p->after, "Z", 1);
	assert_memory_equal(name_text(p, &p->names[1]), "b", 1);
	names_page_unref(p);
}

static void an_object_is_only_known_once_its_directory_is_ruled_out(void **state)
{
	struct names_page *first = PAGE("", true, 1, "d/a", "d/a-1");
	struct names_page *second = PAGE("a-1", false, 2, "d/a/", "d/b");
	struct names_set s = {0};

	names_set_add(&s, first);
	assert_int_equal(find(&s, "a"), NAMES_UNKNOWN); /* `a/` may be on the next page */
	names_set_add(&s, second);
	assert_int_equal(find(&s, "a"), NAMES_IS_DIR); /* and it is */
	assert_int_equal(find(&s, "a-1"), NAMES_IS_FILE);
	assert_int_equal(find(&s, "b"), NAMES_IS_FILE);
	names_page_unref(first);
	names_page_unref(second);
	names_set_drop(&s, UINT64_MAX);
}

static void a_page_behind_a_directory_begins_behind_its_slash(void **state)
{
	/* "b-1" sorts between "b" and "b/": a page behind "b/" says nothing of it */
	struct names_page *p = PAGE("b/", false, 1, "d/c");
	struct names_set s = {0};

	names_set_add(&s, p);
	assert_int_equal(find(&s, "b-1"), NAMES_UNKNOWN);
	assert_int_equal(find(&s, "b"), NAMES_UNKNOWN);
	assert_int_equal(find(&s, "b0"), NAMES_ABSENT);
	assert_int_equal(find(&s, "c"), NAMES_IS_FILE);
	names_page_unref(p);
	names_set_drop(&s, UINT64_MAX);
}

static void a_new_page_replaces_those_it_overlaps(void **state)
{
	struct names_page *old = PAGE("", false, 1, "d/a", "d/m", "d/z");
	struct names_page *fresh = PAGE("l~~", false, 9, "d/n");
	struct names_set s = {0};
	const struct name *n;
	uint64_t since_ns = 0;

	names_set_add(&s, old);
	names_set_add(&s, fresh);
	assert_int_equal(s.count, 1);
	assert_int_equal(find(&s, "a"), NAMES_UNKNOWN);
	assert_int_equal(find(&s, "m"), NAMES_ABSENT);
	assert_int_equal(names_set_find(&s, "n", 1, &n, &since_ns), NAMES_IS_FILE);
	assert_int_equal(since_ns, 9);
	names_page_unref(old);
	names_page_unref(fresh);
	names_set_drop(&s, UINT64_MAX);
}

static void unsorted_pages_prove_nothing(void **state)
{
	struct names_page *p = PAGE("", false, 1, "d/b", "d/a");
	struct names_set s = {0};

	assert_false(p->sorted);
	names_set_add(&s, p);
	assert_int_equal(s.count, 0);
	names_page_unref(p);
}

static void objects_and_prefixes_come_as_two_runs(void **state)
{
	struct names_page *p = PAGE("", true, 1, "d/a", "d/a-1", "d/x", "d/a/", "d/m/");
	struct names_set s = {0};

	assert_true(p->sorted);
	assert_int_equal(p->count, 5);
	names_set_add(&s, p);
	assert_int_equal(find(&s, "a"), NAMES_IS_DIR);
	assert_int_equal(find(&s, "a-1"), NAMES_IS_FILE);
	assert_int_equal(find(&s, "m"), NAMES_IS_DIR);
	assert_int_equal(find(&s, "n"), NAMES_ABSENT);
	assert_int_equal(find(&s, "y"), NAMES_UNKNOWN);
	names_page_unref(p);
	names_set_drop(&s, UINT64_MAX);
}

static void a_repeated_key_is_taken_once(void **state)
{
	struct names_page *p = PAGE("", false, 1, "d/a", "d/a", "d/b", "d/c/", "d/c/");

	assert_true(p->sorted);
	assert_int_equal(p->count, 3);
	names_page_unref(p);
}

static void names_no_directory_can_show_are_counted(void **state)
{
	char longest[300] = "d/", too_long[300] = "d/";
	struct names_page *p;

	memset(longest + 2, 'x', 255);
	memset(too_long + 2, 'y', 256);
	p = PAGE("", false, 1, "d//", "d/./", "d/..", longest, too_long);
	assert_int_equal(p->count, 1);
	assert_int_equal(p->hidden, 4);
	names_page_unref(p);
}

static void many_pages_in_any_order_stay_sorted(void **state)
{
	static const int order[] = {3, 0, 9, 1, 7, 2, 8, 4, 6, 5};
	struct names_set s = {0};
	char name[16];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(order); i++) {
		char from[16], a[16], b[16];
		struct names_page *p;

		snprintf(from, sizeof(from), order[i] == 0 ? "" : "k%d9", order[i] - 1);
		snprintf(a, sizeof(a), "d/k%d0", order[i]);
		snprintf(b, sizeof(b), "d/k%d9", order[i]);
		p = PAGE(from, order[i] != 9, 1, a, b);
		names_set_add(&s, p);
		names_page_unref(p);
	}
	assert_int_equal(s.count, 10);
	for (i = 0; i < 10; i++) {
		snprintf(name, sizeof(name), "k%d0", (int)i);
		assert_int_equal(find(&s, name), NAMES_IS_FILE);
		snprintf(name, sizeof(name), "k%d5", (int)i);
		assert_int_equal(find(&s, name), NAMES_ABSENT);
	}
	names_set_drop(&s, UINT64_MAX);
	assert_int_equal(s.bytes, 0);
}

static void etags_come_back_as_they_were(void **state)
{
	static const char *const cases[] = {
	    "",
	    "\"0123456789abcdef0123456789abcdef\"",
	    "0123456789abcdef0123456789abcdef",
	    "\"0123456789abcdef0123456789abcdef-17\"",
	    "\"0123456789abcdef0123456789abcdef-017\"",
	    "\"0123456789ABCDEF0123456789ABCDEF\"",
	    "\"0123456789abcdef0123456789abcdef-\"",
	    "\"0123456789abcdef0123456789abcdef-65535\"",
	    "\"0123456789abcdef0123456789abcdef-65536\"",
	    "\"0123456789abcdef0123456789abcdef-99999999999\"",
	    "\"opaque\"",
	    "\"",
	    "opaque",
	};
	static const int class_of[] = {0, 1, 1, 2, 3,  4, 5,
				       6, 7, 8, 9, 10, 9}; /* but for the quotes */
	char text[S3_ETAG_MAX];
	struct etag e, copy;
	size_t i, j;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(etag_init(&e, cases[i]), 0);
		assert_int_equal(etag_copy(&copy, &e), 0);
		assert_string_equal(etag_text(&copy, text), cases[i]);
		etag_finish(&e);
		for (j = 0; j < ARRAY_SIZE(cases); j++) {
			assert_int_equal(etag_init(&e, cases[j]), 0);
			assert_int_equal(etag_equal(&e, &copy), class_of[i] == class_of[j]);
			etag_finish(&e);
		}
		etag_finish(&copy);
	}
}

static void objects_keep_any_time_and_size(void **state)
{
	static const struct timespec times[] = {
	    {0, 0}, {1700000000, 999999999}, {-1, 1}, {253402300799, 0}, {INT64_MIN, 0}};
	static const uint64_t sizes[] = {0, 1, UINT64_C(1) << 63, UINT64_MAX};
	struct timespec kept;
	struct object o;

	for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
		for (size_t k = 0; k < 2 * ARRAY_SIZE(sizes); k++) {
			assert_int_equal(object_init(&o, sizes[k / 2], times[i], "", k % 2), 0);
			kept = object_modified(&o);
			assert_true(o.size == sizes[k / 2] && o.archived == k % 2);
			assert_true(kept.tv_sec == times[i].tv_sec &&
				    kept.tv_nsec == times[i].tv_nsec);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_page_answers_what_it_covers),
	    cmocka_unit_test(the_asked_prefix_as_a_common_prefix_is_no_name),
	    cmocka_unit_test(an_object_is_only_known_once_its_directory_is_ruled_out),
	    cmocka_unit_test(a_page_behind_a_directory_begins_behind_its_slash),
	    cmocka_unit_test(a_new_page_replaces_those_it_overlaps),
	    cmocka_unit_test(unsorted_pages_prove_nothing),
	    cmocka_unit_test(objects_and_prefixes_come_as_two_runs),
	    cmocka_unit_test(a_repeated_key_is_taken_once),
	    cmocka_unit_test(names_no_directory_can_show_are_counted),
	    cmocka_unit_test(many_pages_in_any_order_stay_sorted),
	    cmocka_unit_test(etags_come_back_as_they_were),
	    cmocka_unit_test(objects_keep_any_time_and_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
