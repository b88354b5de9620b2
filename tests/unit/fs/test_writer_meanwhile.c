/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of a file that changes while a part of it waits for the next, or is hashed with it.
 */
#include <errno.h>

#include <pailfs/cleanup.h>

#include "waiting.h"

/* Then it is published as it is, or grows again. */
static void check_cut(uint64_t size, bool grows)
{
	struct bench b;
	struct waiting r;

	waiting_begin_at(&b, &r, 2);
	played_wait(&b.server, S3_UPLOAD_PART, 1);
	assert_int_equal(bench_truncate(&b, size), 0);
	waiting_join(&r);
	assert_int_equal(b.server.submitted[S3_UPLOAD_PART], 1);
	if (grows) {
		assert_int_equal(bench_truncate(&b, PART + MIB), 0);
		assert_int_equal(bench_write(&b, PART + 2 * MIB, 2 * PART, 7), 0);
		bench_check_read(&b, 0, 2 * MIB);
		bench_check_read(&b, PART, 2 * MIB);
	}
	bench_publish(&b, PUBLISH_NEW);
	bench_finish(&b);
}

/* Cut within the part that waits and within the one before, which was sent. */
static void test_a_cut_of_what_waits(void **state)
{
	static const uint64_t sizes[] = {2 * PART, PART + MIB / 2, PART, MIB / 2, 0};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		check_cut(sizes[i], false);
		check_cut(sizes[i], true);
	}
}

/* The part behind has a hole then, and is full once that is written. */
static void test_a_file_that_is_made_longer(void **state)
{
	struct bench b;
	struct waiting r;

	waiting_begin(&b, &r);
	assert_int_equal(bench_truncate(&b, 3 * PART), 0);
	assert_int_equal(bench_write(&b, PART + MIB, MIB, 0), 0);
	assert_int_equal(waiting_partner(b.w), 2);
	assert_int_equal(bench_write(&b, PART + 1, PART - 1, 0), 0);
	assert_false(b.rest);
	waiting_join(&r);
	played_wait(&b.server, S3_UPLOAD_PART, 2);
	bench_publish(&b, PUBLISH_NEW);
	assert_int_equal(b.server.submitted[S3_UPLOAD_PART], 3);
	bench_finish(&b);
}

/* Parts become larger (somebody says how long the file will be) before any was sent. */
static void test_another_grid(void **state)
{
	uint64_t length = 8 * MIB; /* of a part then */
	struct bench b;
	struct waiting r;

	waiting_begin(&b, &r);
	writer_expect(b.w, 60 * GIB);
	assert_int_equal(plan_part_number(&b.w->plan, 1).length, length);
	assert_int_equal(bench_write(&b, length, length + 1, 0), 0); /* the second */
	if (b.rest) /* the wait had ended by itself */
		writer_send_rest(b.w, length, 2 * length + 1);
	waiting_join(&r);
	played_wait(&b.server, S3_UPLOAD_PART, 1);
	b.owes = false;
	assert_int_equal(bench_write(&b, PART + 1, length - PART - 1, 0), 0);
	played_wait(&b.server, S3_UPLOAD_PART, 2);
	bench_publish(&b, PUBLISH_NEW);
	assert_int_equal(b.server.submitted[S3_UPLOAD_PART], 3);
	bench_finish(&b);
}

static void test_a_part_that_waits_is_written_again(void **state)
{
	struct bench b;
	struct waiting r;

	waiting_begin(&b, &r);
	assert_int_equal(bench_write(&b, 100, MIB, 9), 0);
	assert_true(b.rest); /* it is full, and who wrote it waits for nobody */
	writer_send_rest(b.w, 100, MIB + 100);
	waiting_join(&r);
	played_wait(&b.server, S3_UPLOAD_PART, 1);
	assert_int_equal(bench_write(&b, PART + 1, PART, 0), 0);
	assert_true(b.rest);
	writer_send_rest(b.w, PART + 1, 2 * PART + 1);
	bench_publish(&b, PUBLISH_NEW);
	assert_int_equal(b.server.submitted[S3_UPLOAD_PART], 3);
	bench_finish(&b);
}

/* A hole is left to the publication. */
static void test_a_part_that_waits_is_punched(void **state)
{
	struct bench b;
	struct waiting r;

	waiting_begin(&b, &r);
	assert_int_equal(writer_zero(b.w, 1000, MIB, NULL), 0);
	memset(b.bytes + 1000, 0, MIB - 1000);
	waiting_fill_second(&b);
	waiting_join(&r);
	played_wait(&b.server, S3_UPLOAD_PART, 1);
	bench_publish(&b, PUBLISH_NEW);
	assert_int_equal(b.server.submitted[S3_UPLOAD_PART], 3);
	bench_finish(&b);
}

/* Somebody opens the file for reading, too, and reads what waits, in memory and in the spool. */
static void test_what_waits_can_be_read(void **state)
{
	struct bench b;
	struct waiting r;

	waiting_begin(&b, &r);
	assert_int_equal(writer_keep_all(b.w), 0);
	bench_check_read(&b, 0, 2 * MIB);
	bench_check_read(&b, PART - MIB, 2 * MIB);
	writer_lock(b.w);
	assert_int_equal(spill_locked(b.w, MIB, 2 * MIB), 0);
	writer_unlock(b.w);
	bench_check_read(&b, 0, 2 * MIB);
	bench_check_read(&b, PART - MIB, 2 * MIB);
	assert_int_equal(waiting_partner(b.w), 2);
	assert_int_equal(b.server.submitted[S3_CREATE_MULTIPART], 0);
	waiting_fill_second(&b);
	waiting_join(&r);
	played_wait(&b.server, S3_UPLOAD_PART, 2);
	bench_publish(&b, PUBLISH_NEW);
	bench_finish(&b);
}

static void publish_as(struct bench *b, const char *key)
{
	struct published published;
	const struct played_object *o;
	bool final;

	assert_int_equal(writer_publish(b->w, PUBLISH_NEW, NULL, NULL, &published, &final), 0);
	etag_finish(&published.etag);
	o = played_find(&b->server, key);
	assert_non_null(o);
	assert_int_equal(o->size, b->size);
	assert_memory_equal(o->bytes, b->bytes, b->size);
	assert_null(played_find(&b->server, "key"));
}

static void test_a_file_that_is_renamed(void **state)
{
	struct bench b;
	struct waiting r;

	waiting_begin_at(&b, &r, 2);
	played_wait(&b.server, S3_UPLOAD_PART, 1);
	assert_int_equal(writer_rename(b.w, "other", 5), 0);
	assert_int_equal(waiting_partner(b.w), 3);
	assert_int_equal(bench_write(&b, 2 * PART + 1, PART, 0), 0);
	waiting_join(&r);
	played_wait(&b.server, S3_UPLOAD_PART, 3); /* the server checks their key */
	publish_as(&b, "other");
	assert_int_equal(b.server.submitted[S3_CREATE_MULTIPART], 2);
	bench_finish(&b);
}

static void test_a_file_that_is_removed(void **state)
{
	bool final;
	struct bench b;
	struct waiting r;

	waiting_begin(&b, &r);
	writer_detach(b.w);
	waiting_join(&r);
	assert_int_equal(bench_write(&b, PART + 1, PART, 0), 0);
	assert_false(b.rest);
	bench_check_read(&b, PART - MIB, 2 * MIB);
	assert_int_equal(bench_try_publish(&b, PUBLISH_NEW, &final), -ENOENT);
	assert_int_equal(b.server.submitted[S3_CREATE_MULTIPART], 0);
	bench_finish(&b);
}

/* What happens while two parts are hashed. */
struct meanwhile {
	struct bench *b;
	void (*act)(struct meanwhile *m); /* once, while nobody else is at the bench */
	_Atomic bool filled;
	uint64_t at;
	pthread_t thread;
};

/* Asked by who hashes, without a lock, and for how long to wait. */
static void target_meanwhile(void *ctx, struct s3_target *ret)
{
	struct played *p = ctx;
	struct meanwhile *m = p->fault_ctx;

	p->source.target(ctx, ret);
	if (m->act == NULL || m->b->w->sealing == 0)
		return;
	while (!m->filled)
		sched_yield();
	TAKE(m->act)(m);
}

static void hash_two(struct bench *b, struct meanwhile *m)
{
	struct waiting r;

	m->b = b;
	bench_init(b, &waiting_patient);
	b->server.fault_ctx = m;
	b->writers->uploads.source.target = target_meanwhile;
	waiting_fill(b, PART, WAITING_LONG_NS / 3);
	waiting_start(b, &r, PART);
	waiting_fill_second(b);
	m->filled = true;
	waiting_join(&r);
	assert_null(m->act);
}

static void write_meanwhile(struct meanwhile *m)
{
	assert_int_equal(bench_write(m->b, m->at, MIB, 9), 0);
	bench_check_read(m->b, m->at, MIB);
}

static void test_a_part_that_is_hashed_is_written(void **state)
{
	static const uint64_t offsets[] = {100, PART + 100, 2 * PART - MIB};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		struct meanwhile m = {.act = write_meanwhile, .at = offsets[i]};
		struct bench b;

		hash_two(&b, &m);
		assert_false(b.rest);
		played_wait(&b.server, S3_UPLOAD_PART, 1);
		bench_publish(&b, PUBLISH_NEW);
		assert_int_equal(b.server.submitted[S3_UPLOAD_PART], 3);
		bench_finish(&b);
	}
}

static void write_both(struct meanwhile *m)
{
	assert_int_equal(bench_write(m->b, PART - 1, 2, 9), 0);
}

static void test_both_parts_that_are_hashed_are_written(void **state)
{
	struct meanwhile m = {.act = write_both};
	struct bench b;

	hash_two(&b, &m);
	assert_int_equal(b.server.submitted[S3_UPLOAD_PART], 0);
	bench_publish(&b, PUBLISH_NEW);
	assert_int_equal(b.server.submitted[S3_UPLOAD_PART], 3);
	bench_finish(&b);
}

static void rename_meanwhile(struct meanwhile *m)
{
	assert_int_equal(writer_rename(m->b->w, "other", 5), 0);
}

static void detach_meanwhile(struct meanwhile *m)
{
	writer_detach(m->b->w);
}

static void test_a_file_whose_parts_are_hashed_is_moved(void **state)
{
	struct meanwhile renamed = {.act = rename_meanwhile}, removed = {.act = detach_meanwhile};
	struct bench b;

	hash_two(&b, &renamed);
	assert_int_equal(b.server.submitted[S3_CREATE_MULTIPART], 0);
	publish_as(&b, "other");
	assert_int_equal(b.server.submitted[S3_UPLOAD_PART], 3);
	bench_finish(&b);
	hash_two(&b, &removed);
	bench_check_read(&b, PART - MIB, 2 * MIB);
	assert_int_equal(b.server.submitted[S3_CREATE_MULTIPART], 0);
	bench_finish(&b);
}

static void *publish(void *ctx)
{
	bench_publish(ctx, PUBLISH_NEW);
	return NULL;
}

/* A publication has begun, and has got as far as it can without who else is at it. */
static void start_publication(struct bench *b, pthread_t *ret)
{
	bool publishing = false;

	assert_int_equal(pthread_create(ret, NULL, publish, b), 0);
	while (!publishing) {
		writer_lock(b->w);
		publishing = b->w->publishing;
		writer_unlock(b->w);
		sched_yield();
	}
}

static void publish_meanwhile(struct meanwhile *m)
{
	start_publication(m->b, &m->thread);
}

static void test_parts_that_are_hashed_are_published(void **state)
{
	struct meanwhile m = {.act = publish_meanwhile};
	struct bench b;

	hash_two(&b, &m);
	pthread_join(m.thread, NULL);
	assert_int_equal(b.server.submitted[S3_UPLOAD_PART], 3);
	bench_finish(&b);
}

static void *send_two(void *ctx)
{
	const struct plan_part parts[] = {{.number = 1, .offset = 0, .length = PART},
					  {.number = 2, .offset = PART, .length = PART}};
	struct writer *w = ctx;

	SCOPED_LOCK(&w->owner.lock);
	assert_int_equal(body_send_parts_locked(w, parts, BODIES_MAX), -EAGAIN);
	return NULL;
}

/* Two parts that a publication has found on their way are given up: the second was cut while it
 * was gathered, which waited for the spool. */
static void test_parts_that_are_given_up_are_published(void **state)
{
	pthread_t sender, publisher;
	struct publish_attr attr = {0};
	struct bench b;
	bool busy = false;

	bench_init(&b, &(struct bench_config){0});
	assert_int_equal(bench_write(&b, MIB, 2 * PART - MIB, 0), 0);
	b.owes = true;
	assert_int_equal(bench_write(&b, 0, MIB, 0), 0);
	assert_true(b.rest);
	writer_lock(b.w);
	assert_int_equal(spill_locked(b.w, 2 * PART - MIB, 2 * PART), 0);
	assert_int_equal(writer_start_upload_locked(b.w, &attr), 0);
	b.w->spilling = true; /* as if somebody wrote more of it there */
	writer_unlock(b.w);
	assert_int_equal(pthread_create(&sender, NULL, send_two, b.w), 0);
	while (!busy) {
		writer_lock(b.w);
		busy = upload_part_busy_locked(b.w->upload, 2);
		if (busy) { /* as a truncate does */
			b.size -= MIB;
			assert_int_equal(extents_resize(&b.w->map, b.size), 0);
			upload_forget_locked(b.w->upload, 2);
		}
		writer_unlock(b.w);
		sched_yield();
	}
	start_publication(&b, &publisher);
	writer_lock(b.w);
	b.w->spilling = false;
	cond_broadcast(&b.w->owner.changed);
	writer_unlock(b.w);
	pthread_join(sender, NULL);
	writer_send_rest(b.w, 0, MIB);
	pthread_join(publisher, NULL);
	assert_int_equal(b.server.submitted[S3_UPLOAD_PART], 2);
	bench_finish(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_cut_of_what_waits),
	    cmocka_unit_test(test_a_file_that_is_made_longer),
	    cmocka_unit_test(test_another_grid),
	    cmocka_unit_test(test_a_part_that_waits_is_written_again),
	    cmocka_unit_test(test_a_part_that_waits_is_punched),
	    cmocka_unit_test(test_what_waits_can_be_read),
	    cmocka_unit_test(test_a_file_that_is_renamed),
	    cmocka_unit_test(test_a_file_that_is_removed),
	    cmocka_unit_test(test_a_part_that_is_hashed_is_written),
	    cmocka_unit_test(test_both_parts_that_are_hashed_are_written),
	    cmocka_unit_test(test_a_file_whose_parts_are_hashed_is_moved),
	    cmocka_unit_test(test_parts_that_are_hashed_are_published),
	    cmocka_unit_test(test_parts_that_are_given_up_are_published),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
