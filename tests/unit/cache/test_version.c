/* SPDX-License-Identifier: Apache-2.0 */
/* Versions: which are the same, when they die, when they are stale; the sparse index. */
#include "script.h"

#include <errno.h>

#include <pailfs/cleanup.h>

#define TIB (GIB * 1024)

static int setup(void **state)
{
	static struct script s;

	script_init(&s, 64 * MIB);
	*state = &s;
	return 0;
}

static int teardown(void **state)
{
	script_finish(*state);
	return 0;
}

static struct cache_version *get(struct script *s, const char *key, size_t key_length,
				 const char *etag, uint64_t size)
{
	struct cache_version *v = NULL;

	assert_int_equal(cache_version_get(s->cache, key, key_length, etag, size, &v), 0);
	return v;
}

/* Puts the block at offset into the cache. */
static void fill(struct script *s, struct cache_version *v, uint64_t offset)
{
	size_t op = script_count(s);

	script_want(v, offset, 1, MIB, XFER_READ, 0);
	script_end(s, op, 0);
	assert_true(cache_has(v, offset, 1));
}

static void same_identity_is_same_version(void **state)
{
	struct script *s = *state;
	struct cache_version *v = get(s, "a\0b", 3, "\"e\"", 10);
	static const struct {
		const char *key;
		size_t key_length;
		const char *etag;
		uint64_t size;
		bool same;
	} cases[] = {
	    {"a\0b", 3, "\"e\"", 10, true},  {"a\0c", 3, "\"e\"", 10, false},
	    {"a", 1, "\"e\"", 10, false},    {"a\0b", 3, "\"f\"", 10, false},
	    {"a\0b", 3, "\"e\"", 11, false}, {"", 0, "\"e\"", 10, false},
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cache_version *w =
		    get(s, cases[i].key, cases[i].key_length, cases[i].etag, cases[i].size);

		assert_int_equal(w == v, cases[i].same);
		cache_version_unref(w);
	}
	assert_int_equal(cache_version_size(v), 10);
	cache_version_unref(v);
	cache_version_unref(NULL);
}

static void blocks_outlive_the_last_reference(void **state)
{
	struct script *s = *state;
	struct cache_version *v = get(s, "k", 1, "\"e\"", MIB);

	fill(s, v, 0);
	cache_version_unref(v);
	v = get(s, "k", 1, "\"e\"", MIB);
	assert_true(cache_has(v, 0, CACHE_BLOCK_BYTES));
	cache_version_unref(v);
}

static void no_etag_is_never_shared(void **state)
{
	struct script *s = *state;
	struct cache_version *v = get(s, "k", 1, "", MIB), *w = get(s, "k", 1, "", MIB);
	struct cache_stats stats;

	assert_ptr_not_equal(v, w);
	fill(s, v, 0);
	cache_version_unref(v);
	cache_stats(s->cache, &stats);
	assert_int_equal(stats.blocks, 0);
	cache_version_unref(w);
}

static void stale_after(struct script *s, int err)
{
	struct cache_version *v = get(s, "k", 1, "\"e\"", MIB), *again;
	struct script_reader r = {.version = v, .offset = 512 * KIB, .length = 100};
	size_t op = script_count(s);

	fill(s, v, 0);
	script_read_start(&r);
	script_wait_ops(s, op + 2);
	script_end(s, op + 1, err);
	assert_int_equal(script_read_join(&r), -ESTALE);
	assert_int_equal(cache_version_error(v), -ESTALE);
	/* what is there is still served; nothing more is asked for */
	assert_int_equal(cache_read(v, 10, 100, 0, NULL, &r.view), 0);
	script_check_view(&r.view, 10, 100);
	assert_int_equal(cache_read(v, 512 * KIB, 100, 0, NULL, &r.view), -ESTALE);
	assert_int_equal(script_want(v, 512 * KIB, 100, MIB, XFER_AHEAD, 1), 512 * KIB);
	assert_int_equal(script_count(s), op + 2);
	/* should the object come back, it begins anew */
	again = get(s, "k", 1, "\"e\"", MIB);
	assert_ptr_not_equal(again, v);
	assert_int_equal(cache_version_error(again), 0);
	cache_version_unref(again);
	cache_version_unref(v);
}

static void replaced_is_stale(void **state)
{
	stale_after(*state, -ESTALE);
}

static void deleted_is_stale(void **state)
{
	stale_after(*state, -ENOENT);
}

/* 48.8 TiB: blocks at both ends and in the middle cost what they hold. */
static void index_is_sparse(void **state)
{
	struct script *s = *state;
	uint64_t size = 48 * TIB + 800 * GIB + 1, i;
	const uint64_t offsets[] = {0, 7 * MIB, 8 * MIB, 3 * TIB, 48 * TIB, size - 1};
	struct cache_version *v = get(s, "huge", 4, "\"e\"", size);
	struct view view;

	for (i = 0; i < ARRAY_SIZE(offsets); i++)
		fill(s, v, offsets[i]);
	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		assert_int_equal(cache_read(v, offsets[i], 1, 0, NULL, &view), 0);
		script_check_view(&view, offsets[i], 1);
	}
	assert_false(cache_has(v, 16 * MIB, 1) || cache_has(v, 5 * TIB, 1));
	assert_true(budget_used_bytes(s->budget) <= ARRAY_SIZE(offsets) * CACHE_BLOCK_BYTES);
	cache_version_unref(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(same_identity_is_same_version, setup, teardown),
	    cmocka_unit_test_setup_teardown(blocks_outlive_the_last_reference, setup, teardown),
	    cmocka_unit_test_setup_teardown(no_etag_is_never_shared, setup, teardown),
	    cmocka_unit_test_setup_teardown(replaced_is_stale, setup, teardown),
	    cmocka_unit_test_setup_teardown(deleted_is_stale, setup, teardown),
	    cmocka_unit_test_setup_teardown(index_is_sparse, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
