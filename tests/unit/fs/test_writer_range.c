/* SPDX-License-Identifier: Apache-2.0 */
/* The writer's ranges: zeros, holes, what is taken from other objects. */
#include "write_bench.h"

#include <stdio.h>

#include "../../../src/fs/kept.h"

#define SOURCE_BYTES (4 * PART + 12345)

/* Objects to take from. */
static const char *const sources[] = {"one", "two"};

struct source {
	const char *key;
	unsigned char *bytes;
	char etag[S3_ETAG_MAX];
	struct cache_version *version;
};

static void make_source(struct bench *b, const char *key, struct source *ret)
{
	const struct played_object *o;

	ret->key = key;
	ret->bytes = malloc(SOURCE_BYTES);
	bench_fill(ret->bytes, SOURCE_BYTES, 0, (unsigned char)key[0]);
	played_put(&b->server, key, ret->bytes, SOURCE_BYTES);
	o = played_find(&b->server, key);
	snprintf(ret->etag, sizeof(ret->etag), "%s", o->etag);
	assert_int_equal(
	    cache_version_get(b->server.cache, key, strlen(key), o->etag, o->size, &ret->version),
	    0);
}

static void free_source(struct source *s)
{
	cache_version_unref(s->version);
	free(s->bytes);
}

/* What the array holds is made to follow; -EXDEV leaves it. */
static int bench_graft(struct bench *b, const struct source *s, uint64_t offset,
		       uint64_t source_offset, uint64_t length)
{
	struct graft g = {.offset = offset,
			  .source_offset = source_offset,
			  .length = length,
			  .version = s->version,
			  .key = s->key,
			  .key_length = strlen(s->key),
			  .etag = s->etag};
	unsigned char *copy;
	int rc = writer_graft(b->w, &g, NULL);

	if (rc < 0)
		return rc;
	if (offset + length > b->size) {
		copy = calloc(1, offset + length);
		if (b->size > 0)
			memcpy(copy, b->bytes, b->size);
		free(b->bytes);
		b->bytes = copy;
		b->size = b->capacity = offset + length;
	}
	memcpy(b->bytes + offset, s->bytes + source_offset, length);
	return 0;
}

static int bench_zero(struct bench *b, uint64_t start, uint64_t end)
{
	int rc = writer_zero(b->w, start, end, NULL);

	end = MIN(end, b->size);
	if (rc == 0 && start < end)
		memset(b->bytes + start, 0, end - start);
	return rc;
}

static void test_punched_bytes_do_not_come_back(void **state)
{
	struct bench b;

	bench_init(&b, &(struct bench_config){.readable = true, .memory_bytes = 12 * MIB});
	assert_int_equal(bench_write(&b, 0, 4 * PART, 1), 0); /* much of it is in the spool */
	assert_int_equal(bench_zero(&b, 5000, 3 * PART), 0);
	bench_check_read(&b, 0, 2 * MIB);
	assert_int_equal(bench_write(&b, PART + 77, 1000, 2), 0);
	assert_int_equal(bench_zero(&b, 4 * PART - 10, 5 * PART), 0);
	bench_publish(&b, PUBLISH_ALWAYS);
	assert_int_equal(bench_zero(&b, 0, 10), 0);
	assert_int_equal(bench_zero(&b, 4 * PART, 5 * PART), 0); /* nothing is there */
	bench_publish(&b, PUBLISH_UNCHANGED);
	bench_finish(&b);
}

static void test_holes_are_found(void **state)
{
	uint64_t at = 0;
	struct bench b;

	bench_init(&b, &(struct bench_config){.readable = true});
	assert_int_equal(writer_seek(b.w, 0, true, false, &at), -ENXIO);
	assert_int_equal(bench_write(&b, MIB, MIB, 1), 0);
	assert_int_equal(bench_truncate(&b, 3 * MIB), 0);
	assert_int_equal(writer_seek(b.w, 0, true, false, &at), 0);
	assert_int_equal(at, 0);
	assert_int_equal(writer_seek(b.w, 0, false, false, &at), 0);
	assert_int_equal(at, MIB);
	assert_int_equal(writer_seek(b.w, MIB + 1, true, false, &at), 0);
	assert_int_equal(at, 2 * MIB);
	assert_int_equal(writer_seek(b.w, 2 * MIB, false, false, &at), -ENXIO);
	assert_int_equal(writer_seek(b.w, 2 * MIB, false, true, &at), 0);
	assert_int_equal(at, 2 * MIB);
	assert_int_equal(writer_seek(b.w, 0, true, true, &at), 0);
	assert_int_equal(at, 3 * MIB);
	assert_int_equal(writer_seek(b.w, 3 * MIB, true, false, &at), -ENXIO);
	bench_finish(&b);
}

static void test_a_whole_object_moves_no_byte(void **state)
{
	struct source one;
	struct bench b;

	bench_init(&b, &(struct bench_config){.readable = true});
	make_source(&b, sources[0], &one);
	assert_int_equal(bench_graft(&b, &one, 0, 0, 2 * PART), 0);
	assert_int_equal(bench_graft(&b, &one, 2 * PART, 2 * PART, SOURCE_BYTES - 2 * PART), 0);
	bench_publish(&b, PUBLISH_NEW);
	assert_int_equal(b.server.served[S3_UPLOAD_PART], 0);
	assert_int_equal(b.server.served[S3_PUT_OBJECT], 0);
	assert_true(b.server.served[S3_UPLOAD_PART_COPY] > 0);
	free_source(&one);
	bench_finish(&b);
}

static void test_one_object_at_one_distance(void **state)
{
	struct source one, two;
	struct bench b;

	bench_init(&b, &(struct bench_config){.readable = true});
	make_source(&b, sources[0], &one);
	make_source(&b, sources[1], &two);
	assert_int_equal(bench_graft(&b, &one, 1000, 0, 2 * PART), 0);
	assert_int_equal(bench_graft(&b, &one, 3 * PART, 0, PART), -EXDEV);
	assert_int_equal(bench_graft(&b, &two, 3 * PART, 3 * PART, PART), -EXDEV);
	assert_int_equal(bench_graft(&b, &one, 3 * PART, 3 * PART - 1000, PART), 0);
	/* what covers all of it may be of another one */
	assert_int_equal(bench_graft(&b, &two, 0, 5, SOURCE_BYTES - 5), 0);
	bench_check_read(&b, 2 * PART, MIB);
	bench_publish(&b, PUBLISH_ALWAYS);
	free_source(&one);
	free_source(&two);
	bench_finish(&b);
}

static void test_a_source_that_is_about_to_go(void **state)
{
	struct source one;
	struct bench b;

	bench_init(&b, &(struct bench_config){.readable = true, .memory_bytes = 12 * MIB});
	make_source(&b, sources[0], &one);
	assert_int_equal(bench_graft(&b, &one, 0, 0, SOURCE_BYTES), 0);
	assert_int_equal(writers_detach_source(b.writers, "two", 3, NULL), 0);
	assert_int_equal(b.server.served[S3_GET_OBJECT], 0);
	assert_int_equal(writers_detach_source(b.writers, "one", 3, NULL), 0);
	played_put(&b.server, "one", "other", 5);
	bench_check_read(&b, PART, MIB);
	bench_publish(&b, PUBLISH_ALWAYS);
	assert_int_equal(b.server.served[S3_UPLOAD_PART_COPY], 0);
	free_source(&one);
	bench_finish(&b);
}

static void random_step(struct bench *b, const struct source *from, unsigned i)
{
	uint64_t limit = 5 * PART, offset = (uint64_t)rand() * 7919 % limit;
	uint64_t length = 1 + (uint64_t)rand() % (rand() % 4 == 0 ? 3 * MIB : 9000);
	uint64_t source_offset = (uint64_t)rand() * 7919 % (SOURCE_BYTES - 3 * MIB);
	int rc;

	switch (rand() % 8) {
	case 0:
		assert_int_equal(bench_zero(b, offset, offset + length), 0);
		break;
	case 1:
		assert_int_equal(bench_truncate(b, offset), 0);
		break;
	case 2:
	case 3: /* where it is, and where it is not */
		if (rand() % 2 == 0)
			source_offset = MIN(offset, source_offset);
		rc = bench_graft(b, &from[rand() % 2], offset, source_offset, length);
		assert_true(rc == 0 || rc == -EXDEV);
		break;
	case 4:
		if (rand() % 4 == 0)
			bench_publish(b, PUBLISH_ALWAYS);
		break;
	case 5:
		bench_check_read(b, offset, MIN(length, 2 * MIB));
		break;
	default:
		assert_int_equal(bench_write(b, offset, length, i), 0);
	}
}

static void test_random_ranges(void **state)
{
	for (unsigned seed = 1; seed <= 10; seed++) {
		struct bench_config config = {.seed = seed, .readable = true};
		struct source from[2];
		struct bench b;

		config.memory_bytes = seed % 3 == 0 ? 64 * MIB : 12 * MIB;
		print_message("seed %u\n", seed);
		srand(seed);
		bench_init(&b, &config);
		make_source(&b, sources[0], &from[0]);
		make_source(&b, sources[1], &from[1]);
		for (unsigned i = 0; i < 100; i++)
			random_step(&b, from, i);
		bench_publish(&b, PUBLISH_ALWAYS);
		free_source(&from[0]);
		free_source(&from[1]);
		bench_finish(&b);
	}
}

static void test_what_an_object_had_is_kept(void **state)
{
	struct s3_meta meta[] = {{"a", "1"}, {"b", "2"}};
	struct s3_attributes had = {.content_type = "image/png",
				    .cache_control = "no-store",
				    .storage_class = "STANDARD_IA",
				    .meta = meta,
				    .meta_count = 2};
	struct s3_attributes stored = {
	    .storage_class = "GLACIER", .sse = "AES256", .acl = "private"};
	struct publish_attr attr = {.content_type = "image/png", .meta = meta, .meta_count = 1};
	struct s3_attributes asked;
	struct upload_attr copy;
	struct kept *kept;

	assert_int_equal(kept_create(&had, "team=red", &kept), 0);
	attr.kept = kept;
	assert_int_equal(upload_attr_init(&copy, &attr, "nonce"), 0);
	kept_unref(kept); /* the copy has its own */
	upload_attr_fill(&copy, &stored, &asked);
	assert_string_equal(asked.content_type, "image/png");
	assert_string_equal(asked.cache_control, "no-store");
	assert_string_equal(asked.storage_class, "STANDARD_IA");
	assert_string_equal(asked.tagging, "team=red");
	assert_string_equal(asked.sse, "AES256");
	assert_string_equal(asked.acl, "private");
	assert_int_equal(asked.meta_count, 2); /* what was asked for, and the nonce */
	upload_attr_finish(&copy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_punched_bytes_do_not_come_back),
	    cmocka_unit_test(test_holes_are_found),
	    cmocka_unit_test(test_a_whole_object_moves_no_byte),
	    cmocka_unit_test(test_one_object_at_one_distance),
	    cmocka_unit_test(test_a_source_that_is_about_to_go),
	    cmocka_unit_test(test_random_ranges),
	    cmocka_unit_test(test_what_an_object_had_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
