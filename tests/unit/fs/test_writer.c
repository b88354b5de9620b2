/* SPDX-License-Identifier: Apache-2.0 */
/* What a writer makes of writes: streams, patches, holes, cuts, appends, and which requests it
 * takes. */
#include "write_bench.h"

static void setup(struct bench *b)
{
	bench_init(b, &(struct bench_config){0});
}

static void stream(struct bench *b, uint64_t size)
{
	uint64_t at;

	for (at = 0; at < size; at += MIN(MIB, size - at))
		assert_int_equal(bench_write(b, at, MIN(MIB, size - at), 0), 0);
}

static void test_empty_and_small_files_are_one_put(void **state)
{
	static const uint64_t sizes[] = {0, 1, 4096, 128 * KIB, 128 * KIB + 1, PART - 1, PART};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct bench b;

		setup(&b);
		assert_true(writer_is_dirty(b.w));
		stream(&b, sizes[i]);
		bench_publish(&b, PUBLISH_NEW);
		assert_int_equal(b.server.submitted[S3_PUT_OBJECT], 1);
		assert_int_equal(b.server.submitted[S3_CREATE_MULTIPART], 0);
		assert_int_equal(b.server.submitted[S3_HEAD_OBJECT], 0);
		assert_string_equal(played_find(&b.server, "key")->content_type, "text/plain");
		bench_finish(&b);
	}
}

static void test_parts_go_out_while_a_stream_is_written(void **state)
{
	struct bench b;

	setup(&b);
	played_hold(&b.server, true);
	stream(&b, PART + 1);
	played_wait(&b.server, S3_CREATE_MULTIPART, 1);
	played_hold(&b.server, false);
	played_wait(&b.server, S3_UPLOAD_PART, 1);
	played_hold(&b.server, true);
	assert_int_equal(bench_write(&b, PART + 1, 3 * PART, 0), 0);
	played_wait(&b.server, S3_UPLOAD_PART, 4); /* more than one on the wire */
	played_hold(&b.server, false);
	bench_publish(&b, PUBLISH_NEW);
	assert_int_equal(b.server.submitted[S3_UPLOAD_PART], 5);
	assert_int_equal(b.server.submitted[S3_COMPLETE_MULTIPART], 1);
	assert_int_equal(b.server.submitted[S3_HEAD_OBJECT], 0);
	bench_finish(&b);
}

static void test_a_rest_is_sent_by_who_owes_it(void **state)
{
	struct bench b;

	setup(&b);
	b.owes = true;
	stream(&b, PART);
	assert_false(b.rest);
	assert_int_equal(bench_write(&b, PART, 1, 0), 0);
	assert_true(b.rest);
	assert_int_equal(b.server.submitted[S3_CREATE_MULTIPART], 0);
	writer_send_rest(b.w, PART, PART + 1);
	played_wait(&b.server, S3_UPLOAD_PART, 1);
	assert_int_equal(bench_write(&b, PART + 1, PART - 1, 0), 0);
	assert_false(b.rest);
	assert_int_equal(bench_write(&b, 2 * PART, 1, 0), 0);
	assert_true(b.rest);
	b.owes = false;
	bench_publish(&b, PUBLISH_NEW); /* waits for no rest: it sends what is there */
	writer_send_rest(b.w, 2 * PART, 2 * PART + 1);
	assert_int_equal(b.server.submitted[S3_CREATE_MULTIPART], 1);
	bench_finish(&b);
}

static void test_whole_pieces_are_taken_over(void **state)
{
	struct bench b;

	setup(&b);
	b.in_pieces = true;
	assert_int_equal(bench_write(&b, 0, MIB, 1), 0);
	assert_int_equal(b.taken_over, 8);
	assert_int_equal(bench_write(&b, MIB + 1, MIB, 1), 0); /* not at a chunk */
	assert_int_equal(b.taken_over, 8);
	assert_int_equal(bench_write(&b, 2 * MIB, 3 * 128 * KIB - 1, 1), 0);
	assert_int_equal(b.taken_over, 10);
	assert_int_equal(bench_write(&b, 0, 256 * KIB, 2), 0); /* over chunks that are there */
	assert_int_equal(b.taken_over, 12);
	bench_check_read(&b, 0, 2 * MIB);
	bench_check_read(&b, 2 * MIB, MIB);
	bench_publish(&b, PUBLISH_NEW);
	bench_finish(&b);
}

static void test_a_piece_does_not_change_a_part_on_the_wire(void **state)
{
	struct bench b;

	setup(&b);
	b.in_pieces = true;
	stream(&b, PART + 1);
	played_wait(&b.server, S3_UPLOAD_PART, 1);
	played_hold(&b.server, true);
	assert_int_equal(bench_write(&b, PART + 1, PART, 0), 0);
	played_wait(&b.server, S3_UPLOAD_PART, 2);
	b.taken_over = 0;
	assert_int_equal(bench_write(&b, PART, MIB, 77), 0); /* the server checks its hash */
	assert_int_equal(b.taken_over, 8);
	played_hold(&b.server, false);
	bench_publish(&b, PUBLISH_ALWAYS);
	bench_finish(&b);
}

struct late_rest {
	struct writer *w;
	_Atomic bool begun;
};

static void *send_rest_later(void *ctx)
{
	struct late_rest *late = ctx;

	while (writer_zero(late->w, 0, 0, NULL) == 0) /* until the writer has begun to end */
		sched_yield();
	late->begun = true;
	writer_send_rest(late->w, PART, PART + 1);
	return NULL;
}

static void test_a_writer_ends_after_its_rests(void **state)
{
	struct late_rest late;
	pthread_t thread;
	struct bench b;

	setup(&b);
	b.owes = true;
	stream(&b, PART);
	assert_int_equal(bench_write(&b, PART, 1, 0), 0);
	assert_true(b.rest);
	late = (struct late_rest){.w = b.w};
	assert_int_equal(pthread_create(&thread, NULL, send_rest_later, &late), 0);
	writer_destroy(TAKE(b.w));
	assert_true(late.begun);
	pthread_join(thread, NULL);
	bench_finish(&b);
}

static void test_patched_parts_are_sent_again_once(void **state)
{
	struct bench b;
	int i;

	setup(&b);
	stream(&b, 4 * PART + 10);
	for (i = 0; i < 100; i++) { /* the first, a middle and the last part, many times */
		assert_int_equal(bench_write(&b, 40, 8, 1 + (unsigned)i), 0);
		assert_int_equal(bench_write(&b, 2 * PART - 4, 8, 2 + (unsigned)i), 0);
		assert_int_equal(bench_write(&b, 4 * PART + 1, 4, 3 + (unsigned)i), 0);
	}
	bench_publish(&b, PUBLISH_ALWAYS);
	assert_int_equal(b.server.submitted[S3_UPLOAD_PART], 4 + 1 + 3);
	bench_finish(&b);
}

static void test_a_part_on_the_wire_is_not_changed(void **state)
{
	struct bench b;

	setup(&b);
	stream(&b, PART + 1);
	played_wait(&b.server, S3_UPLOAD_PART, 1);
	played_hold(&b.server, true);
	assert_int_equal(bench_write(&b, PART + 1, PART, 0), 0);
	played_wait(&b.server, S3_UPLOAD_PART, 2);
	assert_int_equal(bench_write(&b, PART + 7, 9, 77), 0); /* the server checks its hash */
	played_hold(&b.server, false);
	bench_publish(&b, PUBLISH_ALWAYS);
	bench_finish(&b);
}

static void test_holes_read_and_arrive_as_zeros(void **state)
{
	struct bench b;

	setup(&b);
	assert_int_equal(bench_write(&b, 3 * PART + 5, 100, 1), 0);
	assert_int_equal(bench_write(&b, 200 * KIB, 10, 2), 0);
	bench_check_read(&b, 0, MIB);
	bench_check_read(&b, 3 * PART - 100, 4096);
	bench_check_read(&b, 3 * PART + 50, 4096);
	bench_check_read(&b, 4 * PART, 10);
	bench_publish(&b, PUBLISH_NEW);
	bench_finish(&b);
}

static void test_cut_bytes_do_not_come_back(void **state)
{
	struct bench b;

	setup(&b);
	stream(&b, 3 * PART + 1000);
	assert_int_equal(bench_truncate(&b, PART + 77), 0);
	assert_int_equal(bench_truncate(&b, 2 * PART + 9), 0);
	bench_check_read(&b, PART, MIB);
	bench_publish(&b, PUBLISH_NEW);
	assert_int_equal(bench_truncate(&b, 10), 0);
	assert_int_equal(bench_truncate(&b, 5000), 0);
	bench_check_read(&b, 0, 8192);
	bench_publish(&b, PUBLISH_UNCHANGED);
	assert_int_equal(bench_truncate(&b, 0), 0);
	bench_publish(&b, PUBLISH_UNCHANGED);
	bench_finish(&b);
}

static void test_append_after_publication_copies_what_is_unchanged(void **state)
{
	struct bench b;
	unsigned parts;

	setup(&b);
	stream(&b, 6 * PART + 1000);
	bench_publish(&b, PUBLISH_NEW);
	parts = b.server.submitted[S3_UPLOAD_PART];
	assert_int_equal(bench_write(&b, 6 * PART + 1000, 500, 5), 0);
	bench_check_read(&b, 6 * PART, 4096);
	bench_publish(&b, PUBLISH_UNCHANGED);
	assert_int_equal(b.server.submitted[S3_UPLOAD_PART_COPY], 1);
	assert_int_equal(b.server.submitted[S3_UPLOAD_PART], parts + 1);
	assert_int_equal(b.server.submitted[S3_GET_OBJECT], 0); /* what is copied is not read */
	assert_int_equal(bench_write(&b, 2 * PART, 500, 6), 0);
	bench_publish(&b, PUBLISH_UNCHANGED);
	assert_in_range(b.server.submitted[S3_UPLOAD_PART_COPY], 2, 3);
	bench_finish(&b);
}

static void test_small_appends_after_publication_need_no_download(void **state)
{
	struct bench b;
	unsigned i;

	setup(&b);
	for (i = 0; i < 50; i++) {
		assert_int_equal(bench_write(&b, i * 1000, 1000, i), 0);
		bench_publish(&b, i == 0 ? PUBLISH_NEW : PUBLISH_UNCHANGED);
	}
	assert_int_equal(b.server.submitted[S3_PUT_OBJECT], 50);
	assert_int_equal(b.server.submitted[S3_GET_OBJECT], 0);
	bench_finish(&b);
}

static void test_https_sends_a_crc_and_no_sha256(void **state)
{
	struct bench b;

	setup(&b);
	b.server.https = true;
	stream(&b, 2 * PART + 1);
	bench_publish(&b, PUBLISH_NEW);
	bench_finish(&b);
}

static void test_a_known_length_makes_equal_parts(void **state)
{
	struct bench b;

	bench_init(&b, &(struct bench_config){.part_bytes = 1});
	assert_int_equal(bench_truncate(&b, 33 * MIB), 0);
	stream(&b, 33 * MIB);
	bench_publish(&b, PUBLISH_NEW);
	assert_int_equal(b.server.submitted[S3_UPLOAD_PART], 5);
	bench_finish(&b);
}

static void test_beyond_the_plan_is_efbig(void **state)
{
	struct bench b;

	setup(&b);
	assert_int_equal(writer_write(b.w, 10000 * PART - 1,
				      &(struct fs_bytes){.data = "ab", .length = 2}, NULL, NULL),
			 -EFBIG);
	assert_int_equal(writer_truncate(b.w, 10000 * PART + 1, NULL), -EFBIG);
	bench_finish(&b);
}

static void test_rename_while_writing_publishes_one_name(void **state)
{
	struct bench b;
	struct published published;
	bool final;

	setup(&b);
	stream(&b, 3 * PART);
	assert_int_equal(writer_rename(b.w, "other", 5), 0);
	assert_int_equal(writer_publish(b.w, PUBLISH_ALWAYS, NULL, NULL, &published, &final), 0);
	etag_finish(&published.etag);
	assert_null(played_find(&b.server, "key"));
	assert_int_equal(played_find(&b.server, "other")->size, b.size);
	assert_memory_equal(played_find(&b.server, "other")->bytes, b.bytes, b.size);
	assert_int_equal(writer_rename(b.w, "third", 5), -EBUSY);
	bench_finish(&b);
}

static void test_an_unlinked_file_is_not_published(void **state)
{
	bool final = false;
	struct bench b;

	setup(&b);
	stream(&b, 3 * PART);
	writer_detach(b.w);
	assert_int_equal(bench_write(&b, 3 * PART, 3 * PART, 0), 0);
	bench_check_read(&b, PART - 5, 4096);
	assert_int_equal(bench_try_publish(&b, PUBLISH_ALWAYS, &final), -ENOENT);
	assert_true(final);
	assert_null(played_find(&b.server, "key"));
	bench_finish(&b);
}

static void test_dropping_a_file_leaves_nothing(void **state)
{
	struct bench b;

	setup(&b);
	b.server.leftovers = 3; /* the server keeps a part over three aborts */
	stream(&b, 4 * PART);
	bench_finish(&b);
}

static void test_attributes_of_a_begun_upload(void **state)
{
	struct publish_attr attr = {"image/png", NULL, 0}, later = {"text/plain", NULL, 0};
	struct published published;
	struct bench b;
	bool final;

	setup(&b);
	assert_int_equal(writer_set_attr(b.w, &attr), 0);
	stream(&b, 2 * PART);
	assert_int_equal(writer_publish(b.w, PUBLISH_ALWAYS, &later, NULL, &published, &final), 0);
	assert_true(published.attr_stale);
	assert_string_equal(played_find(&b.server, "key")->content_type, "image/png");
	etag_finish(&published.etag);
	bench_finish(&b);
}

static void random_step(struct bench *b, unsigned i)
{
	uint64_t limit = 5 * PART, offset = (uint64_t)rand() * 7919 % limit;
	uint64_t length = 1 + (uint64_t)rand() % (rand() % 4 == 0 ? 2 * MIB : 9000);

	if (i % 2 == 0)
		offset -= offset % FS_PIECE_BYTES;
	switch (rand() % 12) {
	case 0:
		assert_int_equal(bench_truncate(b, (uint64_t)rand() * 7919 % limit), 0);
		break;
	case 1:
		bench_check_read(b, offset, MIN(length, 2 * MIB));
		break;
	case 2:
	case 3: /* the stream goes on */
	case 4:
	case 5:
	case 6:
		if (b->size + length <= limit)
			assert_int_equal(bench_write(b, b->size, length, i), 0);
		break;
	case 7:
		if (rand() % 4 == 0)
			bench_publish(b, PUBLISH_ALWAYS);
		break;
	default:
		assert_int_equal(bench_write(b, offset, length, i), 0);
	}
}

/* Any order of writes, cuts, reads and publications makes the same bytes as an array. Little
 * memory, so that parts are spilled while they are written. */
static void test_random_operations(void **state)
{
	unsigned seed, i;

	for (seed = 1; seed <= 12; seed++) {
		struct bench_config config = {.seed = seed, .readable = true};
		struct bench b;

		config.memory_bytes = seed % 3 == 0 ? 64 * MIB : 12 * MIB;
		print_message("seed %u\n", seed);
		srand(seed);
		bench_init(&b, &config);
		b.server.https = seed % 2;
		b.in_pieces = seed % 4 < 2;
		for (i = 0; i < 120; i++)
			random_step(&b, i);
		bench_publish(&b, PUBLISH_ALWAYS);
		bench_finish(&b);
	}
}

/* The same on an object that is changed in place. */
static void test_random_operations_on_a_base(void **state)
{
	unsigned seed, i;

	for (seed = 1; seed <= 12; seed++) {
		struct bench_config config = {.seed = seed, .readable = true, .no_writer = true};
		struct cache_version *base;
		const struct played_object *o;
		struct bench b;

		config.memory_bytes = seed % 3 == 0 ? 64 * MIB : 12 * MIB;
		print_message("seed %u\n", seed);
		srand(seed);
		bench_init(&b, &config);
		b.size = b.capacity = (uint64_t)rand() * 7919 % (4 * PART);
		b.bytes = malloc(b.size + 1);
		for (i = 0; i < b.size; i++)
			b.bytes[i] = (unsigned char)(i * 17 + i / 5000);
		played_put(&b.server, "key", b.bytes, b.size);
		o = played_find(&b.server, "key");
		assert_int_equal(
		    cache_version_get(b.server.cache, "key", 3, o->etag, o->size, &base), 0);
		assert_int_equal(writer_create(b.writers, "key", 3, base, o->etag, true, &b.w), 0);
		cache_version_unref(base);
		assert_false(writer_is_dirty(b.w));
		b.in_pieces = seed % 4 < 2;
		for (i = 0; i < 80; i++)
			random_step(&b, i);
		bench_publish(&b, PUBLISH_UNCHANGED);
		bench_finish(&b);
	}
}

/* Many threads on one file, each in ranges of its own, while it is published, read and starved. */
#define THREADS 4
#define STRIPE 100003 /* odd, so that chunks and parts are shared */

struct worker {
	struct bench *bench;
	unsigned number;
	pthread_t thread;
};

static void *work(void *ctx)
{
	struct worker *me = ctx;
	unsigned char *data = malloc(STRIPE);
	unsigned stripe, round;

	for (round = 1; round <= 2; round++) {
		for (stripe = me->number; stripe < 260; stripe += THREADS) {
			uint64_t at = (uint64_t)stripe * STRIPE;
			struct fs_bytes bytes = {.data = data, .length = STRIPE};
			bool rest;

			memset(data, (int)(stripe + round), STRIPE);
			if (writer_write(me->bench->w, at, &bytes, NULL, &rest) < 0)
				abort();
			if (rest)
				writer_send_rest(me->bench->w, at, at + STRIPE);
		}
	}
	free(data);
	return NULL;
}

static void test_threads_on_one_file(void **state)
{
	unsigned seed, i;

	for (seed = 1; seed <= 3; seed++) {
		struct worker workers[THREADS];
		struct published published;
		struct view view;
		struct bench b;
		bool final;

		bench_init(&b,
			   &(struct bench_config){.seed = seed,
						  .readable = true,
						  .memory_bytes = seed == 1 ? 64 * MIB : 12 * MIB});
		for (i = 0; i < THREADS; i++) {
			workers[i] = (struct worker){&b, i, 0};
			assert_int_equal(
			    pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
		}
		for (i = 0; i < 6; i++) {
			assert_int_equal(
			    writer_publish(b.w, PUBLISH_ALWAYS, NULL, NULL, &published, &final), 0);
			etag_finish(&published.etag);
			assert_int_equal(writer_read(b.w, i * 777777, MIB, NULL, &view), 0);
			view_release(&view);
		}
		for (i = 0; i < THREADS; i++)
			pthread_join(workers[i].thread, NULL);
		b.size = b.capacity = 260ull * STRIPE;
		b.bytes = malloc(b.size);
		for (i = 0; i < 260; i++)
			memset(b.bytes + (size_t)i * STRIPE, (int)(i + 2), STRIPE);
		bench_publish(&b, PUBLISH_ALWAYS);
		bench_finish(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_empty_and_small_files_are_one_put),
	    cmocka_unit_test(test_parts_go_out_while_a_stream_is_written),
	    cmocka_unit_test(test_a_rest_is_sent_by_who_owes_it),
	    cmocka_unit_test(test_whole_pieces_are_taken_over),
	    cmocka_unit_test(test_a_piece_does_not_change_a_part_on_the_wire),
	    cmocka_unit_test(test_a_writer_ends_after_its_rests),
	    cmocka_unit_test(test_patched_parts_are_sent_again_once),
	    cmocka_unit_test(test_a_part_on_the_wire_is_not_changed),
	    cmocka_unit_test(test_holes_read_and_arrive_as_zeros),
	    cmocka_unit_test(test_cut_bytes_do_not_come_back),
	    cmocka_unit_test(test_append_after_publication_copies_what_is_unchanged),
	    cmocka_unit_test(test_small_appends_after_publication_need_no_download),
	    cmocka_unit_test(test_https_sends_a_crc_and_no_sha256),
	    cmocka_unit_test(test_a_known_length_makes_equal_parts),
	    cmocka_unit_test(test_beyond_the_plan_is_efbig),
	    cmocka_unit_test(test_rename_while_writing_publishes_one_name),
	    cmocka_unit_test(test_an_unlinked_file_is_not_published),
	    cmocka_unit_test(test_dropping_a_file_leaves_nothing),
	    cmocka_unit_test(test_attributes_of_a_begun_upload),
	    cmocka_unit_test(test_random_operations),
	    cmocka_unit_test(test_random_operations_on_a_base),
	    cmocka_unit_test(test_threads_on_one_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
