/* SPDX-License-Identifier: Apache-2.0 */
/* Writers under a small budget: nobody waits for ever, what must be kept is kept, and the rest is
 * given up in the order of writer_memory.c. */
#include "write_bench.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define WRITERS 64

struct file {
	struct bench *bench;
	struct writer *w;
	char key[16];
	uint64_t bytes;
	unsigned seed;
	int rc;
	pthread_t thread;
};

static void *write_file(void *ctx)
{
	struct file *f = ctx;
	unsigned char *data = malloc(300000);
	uint64_t at = 0;

	while (at < f->bytes && f->rc == 0) {
		size_t n = MIN((size_t)300000, f->bytes - at);

		bench_fill(data, n, at, f->seed);
		f->rc = writer_write(f->w, at, &(struct fs_bytes){.data = data, .length = n}, NULL,
				     NULL);
		at += n;
	}
	free(data);
	return NULL;
}

static void publish_and_check(struct file *f)
{
	const struct played_object *o;
	struct published published;
	bool final;

	assert_int_equal(f->rc, 0);
	assert_int_equal(writer_publish(f->w, PUBLISH_NEW, NULL, NULL, &published, &final), 0);
	etag_finish(&published.etag);
	o = played_find(&f->bench->server, f->key);
	assert_non_null(o);
	assert_int_equal(o->size, f->bytes);
	bench_check_filled(o->bytes, f->bytes, f->seed);
}

/* All of them write at once; all stay open until the last byte of the last one is written. */
static void run_files(struct bench *b, uint64_t bytes)
{
	static struct file files[WRITERS];
	unsigned i;

	memset(files, 0, sizeof(files));
	for (i = 0; i < WRITERS; i++) {
		struct file *f = &files[i];

		f->bench = b;
		f->bytes = bytes + i * 1000;
		f->seed = i;
		snprintf(f->key, sizeof(f->key), "file%u", i);
		assert_int_equal(
		    writer_create(b->writers, f->key, strlen(f->key), NULL, NULL, false, &f->w), 0);
		assert_int_equal(pthread_create(&f->thread, NULL, write_file, f), 0);
	}
	for (i = 0; i < WRITERS; i++)
		pthread_join(files[i].thread, NULL);
	for (i = 0; i < WRITERS; i++)
		publish_and_check(&files[i]);
	for (i = 0; i < WRITERS; i++)
		writer_destroy(files[i].w);
}

static void test_64_writers_of_a_partial_part_each(void **state)
{
	struct bench b;

	bench_init(&b, &(struct bench_config){.memory_bytes = 16 * MIB, .no_writer = true});
	run_files(&b, 3 * MIB); /* 192 MiB, none of which is a part yet; 12 MiB of memory */
	assert_true(budget_used_bytes(b.server.budget) <= 16 * MIB);
	bench_finish(&b);
}

static void test_64_streams(void **state)
{
	struct bench b;

	bench_init(&b, &(struct bench_config){.memory_bytes = 16 * MIB, .no_writer = true});
	run_files(&b, 2 * PART + 100);
	bench_finish(&b);
}

/* While the server says nothing and memory is on the wire, a stream waits for it: nothing is
 * spilled (the spool stays closed). */
static void test_a_stream_waits_for_the_wire(void **state)
{
	struct file f = {.bytes = 8 * PART, .key = "file"};
	struct bench b;

	bench_init(&b, &(struct bench_config){.memory_bytes = 32 * MIB,
					      .stream_keep_bytes = 1,
					      .spool_limit_bytes = 1,
					      .no_writer = true});
	f.bench = &b;
	assert_int_equal(writer_create(b.writers, "file", 4, NULL, NULL, false, &f.w), 0);
	assert_int_equal(pthread_create(&f.thread, NULL, write_file, &f), 0);
	played_wait(&b.server, S3_UPLOAD_PART, 1);
	played_hold(&b.server, true);
	played_wait(&b.server, S3_UPLOAD_PART, 4); /* 24 MiB for writers are 4 parts */
	played_hold(&b.server, false);
	pthread_join(f.thread, NULL);
	assert_true(extents_bytes(&f.w->map, 0, UINT64_MAX, EXTENT_BIT(EXTENT_SPOOL)) <= PART);
	publish_and_check(&f);
	writer_destroy(f.w);
	bench_finish(&b);
}

static void stream(struct bench *b, uint64_t size)
{
	uint64_t at;

	for (at = 0; at < size; at += MIN(MIB, size - at))
		assert_int_equal(bench_write(b, at, MIN(MIB, size - at), 0), 0);
}

/* A long stream that keeps little: a patch of its beginning works, one of a dropped part does not.
 */
static void test_keep_rules(void **state)
{
	struct bench_config config = {
	    .memory_bytes = 16 * MIB, .stream_keep_bytes = 2 * PART, .spool_limit_bytes = 1};
	bool final = false;
	struct bench b;

	bench_init(&b, &config);
	stream(&b, 12 * PART);
	assert_int_equal(bench_write(&b, 44, 4, 9), 0);
	bench_publish(&b, PUBLISH_NEW);
	bench_finish(&b);

	bench_init(&b, &config);
	stream(&b, 12 * PART);
	assert_int_equal(writer_keep_all(b.w), -EOPNOTSUPP);
	assert_int_equal(writer_rename(b.w, "x", 1), -EOPNOTSUPP);
	assert_int_equal(writer_write(b.w, 3 * PART,
				      &(struct fs_bytes){.data = "abcd", .length = 4}, NULL, NULL),
			 -EOPNOTSUPP);
	assert_int_equal(writer_error(b.w), -EOPNOTSUPP);
	assert_int_equal(bench_try_publish(&b, PUBLISH_NEW, &final), -EOPNOTSUPP);
	assert_true(final);
	assert_null(played_find(&b.server, "key"));
	bench_finish(&b);
}

/* The spool takes what memory does not, up to spool_limit; O_RDWR keeps all. */
static void test_what_is_kept_can_be_patched_and_read(void **state)
{
	struct bench_config configs[] = {
	    {.memory_bytes = 16 * MIB, .stream_keep_bytes = 1, .spool_limit_bytes = 100 * MIB},
	    {.memory_bytes = 16 * MIB,
	     .stream_keep_bytes = 1,
	     .spool_limit_bytes = 1,
	     .readable = true},
	};
	size_t i;
	uint64_t at;

	for (i = 0; i < ARRAY_SIZE(configs); i++) {
		struct bench b;

		bench_init(&b, &configs[i]);
		stream(&b, 12 * PART + 99);
		for (at = 0; at < 12 * PART; at += PART / 2)
			bench_check_read(&b, at, 300000);
		for (at = 0; at < 12 * PART; at += PART)
			assert_int_equal(bench_write(&b, at + 1000, 30, 4), 0);
		bench_publish(&b, PUBLISH_NEW);
		bench_finish(&b);
	}
}

static uint64_t bytes_of(struct bench *b, enum extent_kind kind)
{
	uint64_t bytes;

	writer_lock(b->w);
	bytes = extents_bytes(&b->w->map, 0, UINT64_MAX, EXTENT_BIT(kind));
	writer_unlock(b->w);
	return bytes;
}

static void wait_until_held(struct bench *b, uint64_t bytes)
{
	writer_lock(b->w);
	while (atomic_load(&b->writers->held_bytes) > bytes)
		cond_wait_until(&b->w->owner.changed, &b->w->owner.lock,
				clock_now_ns() + 20 * NS_PER_MS);
	writer_unlock(b->w);
}

/* There is room in memory, but sent parts of a stream leave it: for the spool, where they can be
 * patched, or, beyond spool_limit, for good. */
static void test_sent_parts_leave_memory(void **state)
{
	uint64_t limits[] = {100 * MIB, 1}, at;
	size_t i;

	if (!spool_is_direct("/tmp"))
		skip(); /* nothing is moved */
	for (i = 0; i < ARRAY_SIZE(limits); i++) {
		struct bench_config config = {.memory_bytes = 256 * MIB,
					      .stream_keep_bytes = 2 * PART,
					      .held_bytes_max = 4 * PART,
					      .spool_limit_bytes = limits[i]};
		struct bench b;

		bench_init(&b, &config);
		stream(&b, 12 * PART + 99);
		wait_until_held(&b, 4 * PART);
		assert_true(bytes_of(&b, i == 0 ? EXTENT_SPOOL : EXTENT_PART) >= 8 * PART);
		assert_int_equal(bytes_of(&b, i == 0 ? EXTENT_PART : EXTENT_SPOOL), 0);
		for (at = 0; at < (i == 0 ? 12u : 2u) * PART; at += PART)
			assert_int_equal(bench_write(&b, at + 1000, 30, 4), 0);
		bench_publish(&b, PUBLISH_NEW);
		bench_finish(&b);
	}
}

/* A program that may read back finds all of it in memory. */
static void test_a_readable_file_stays_in_memory(void **state)
{
	struct bench_config config = {.memory_bytes = 256 * MIB,
				      .stream_keep_bytes = 1,
				      .held_bytes_max = 1,
				      .readable = true};
	struct bench b;

	bench_init(&b, &config);
	stream(&b, 4 * PART + 99);
	played_wait(&b.server, S3_UPLOAD_PART, 4);
	assert_int_equal(memory_move_sent(b.writers), 0);
	assert_int_equal(bytes_of(&b, EXTENT_MEMORY), 4 * PART + 99);
	bench_publish(&b, PUBLISH_NEW);
	bench_finish(&b);
}

/* A disk of 6 MiB. */
struct small_disk {
	char dir[64];
	bool mounted;
};

static void small_disk_init(struct small_disk *d)
{
	snprintf(d->dir, sizeof(d->dir), "/tmp/pailfs-spool-test-XXXXXX");
	assert_non_null(mkdtemp(d->dir));
	d->mounted = mount("tmpfs", d->dir, "tmpfs", 0, "size=6m") == 0;
}

static void small_disk_finish(struct small_disk *d)
{
	if (d->mounted)
		umount(d->dir);
	rmdir(d->dir);
}

/* ENOSPC is told at write(2), and nothing is published. */
static void test_a_full_spool(void **state)
{
	bool final = false;
	struct small_disk disk;
	uint64_t at;
	struct bench b;
	int rc = 0;

	small_disk_init(&disk);
	if (!disk.mounted) {
		small_disk_finish(&disk);
		skip(); /* only root can make one */
	}
	bench_init(&b, &(struct bench_config){
			   .memory_bytes = 16 * MIB, .readable = true, .spool_dir = disk.dir});
	for (at = 0; at < 100 * MIB && rc == 0; at += MIB)
		rc = bench_write(&b, at, MIB, 0);
	assert_int_equal(rc, -ENOSPC);
	assert_in_range(at, 12 * MIB, 30 * MIB);
	bench_check_read(&b, 0, MIB);
	bench_check_read(&b, 4 * MIB, MIB);
	assert_int_equal(bench_try_publish(&b, PUBLISH_NEW, &final), -ENOSPC);
	assert_true(final);
	assert_null(played_find(&b.server, "key"));
	bench_finish(&b);
	small_disk_finish(&disk);
}

/* A stream needs no room in the spool: what must be kept stays in memory, the rest is dropped. */
static void test_a_stream_over_a_full_spool(void **state)
{
	struct small_disk disk;
	struct bench b;

	small_disk_init(&disk);
	if (!disk.mounted) {
		small_disk_finish(&disk);
		skip();
	}
	bench_init(&b, &(struct bench_config){.memory_bytes = 48 * MIB,
					      .stream_keep_bytes = 3 * PART,
					      .spool_dir = disk.dir});
	stream(&b, 20 * PART + 3);
	assert_int_equal(bench_write(&b, 10, 10, 7), 0);
	bench_publish(&b, PUBLISH_NEW);
	bench_finish(&b);
	small_disk_finish(&disk);
}

static void test_a_missing_spool_directory(void **state)
{
	struct writers_config config = {.spool_dir = "/nonexistent/spool"};
	struct writers *w;
	struct played *p = calloc(1, sizeof(*p));

	played_init(p, 16 * MIB, 1);
	assert_int_equal(writers_create_over(&config, p->budget, &p->source, p->cache, NULL, &w),
			 -ENOENT);
	played_finish(p);
	free(p);
}

/* Bytes of a base that are next to changed ones are fetched, with memory or without. */
static void test_ranges_of_the_base_are_fetched(void **state)
{
	static const uint64_t memory[] = {64 * MIB, 8 * MIB};
	size_t i;
	uint64_t at;

	for (i = 0; i < ARRAY_SIZE(memory); i++) {
		struct bench b;

		bench_init(&b, &(struct bench_config){.memory_bytes = memory[i]});
		stream(&b, 9 * PART + 11);
		bench_publish(&b, PUBLISH_NEW);
		for (at = 100; at < 9 * PART; at += 3 * PART)
			assert_int_equal(bench_write(&b, at, 50, 8), 0);
		bench_check_read(&b, 0, 2 * MIB);
		bench_check_read(&b, 3 * PART, MIB);
		bench_publish(&b, PUBLISH_UNCHANGED);
		assert_true(b.server.submitted[S3_UPLOAD_PART_COPY] >= 2);
		bench_finish(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_64_writers_of_a_partial_part_each),
	    cmocka_unit_test(test_64_streams),
	    cmocka_unit_test(test_a_stream_waits_for_the_wire),
	    cmocka_unit_test(test_keep_rules),
	    cmocka_unit_test(test_what_is_kept_can_be_patched_and_read),
	    cmocka_unit_test(test_sent_parts_leave_memory),
	    cmocka_unit_test(test_a_readable_file_stays_in_memory),
	    cmocka_unit_test(test_a_full_spool),
	    cmocka_unit_test(test_a_stream_over_a_full_spool),
	    cmocka_unit_test(test_a_missing_spool_directory),
	    cmocka_unit_test(test_ranges_of_the_base_are_fetched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
