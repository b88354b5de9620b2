/* SPDX-License-Identifier: Apache-2.0 */
/* What a daemon that dies leaves in its journal, and what the next mount makes of it. */
#include "write_bench.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "../../../src/fs/journal_private.h"

#define PLACE "https://host/bucket with blank"

static char dir[64];

static int setup(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/pailfs-journal-XXXXXX");
	return mkdtemp(dir) == NULL;
}

static int teardown(void **state)
{
	char path[400];
	struct dirent *e;
	DIR *d = opendir(dir);

	while (d != NULL && (e = readdir(d)) != NULL) {
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		unlink(path);
	}
	closedir(d);
	return rmdir(dir);
}

static unsigned count_files(void)
{
	struct dirent *e;
	unsigned n = 0;
	DIR *d = opendir(dir);

	while ((e = readdir(d)) != NULL)
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

/* What a daemon does before it is killed. */
static void die_after(void (*fn)(struct journal *j, void *ctx), void *ctx)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct journal *j;

		if (journal_open(dir, PLACE, &j) < 0)
			_exit(1);
		fn(j, ctx);
		_exit(0); /* without journal_close */
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void test_a_clean_end_leaves_no_file(void **state)
{
	struct journal *j;
	struct stat st;
	uint64_t a, b;

	assert_int_equal(journal_open(dir, PLACE, &j), 0);
	assert_int_equal(count_files(), 1);
	assert_int_equal(stat(dir, &st), 0);
	a = journal_intend(j, "a", 1, 1000);
	b = journal_intend(j, "b", 1, 1000);
	assert_true(a != 0 && b != 0 && a != b);
	journal_created(j, a, "id a");
	journal_end(j, b);
	journal_end(j, a);
	journal_close(j);
	assert_int_equal(count_files(), 0);
	journal_end(NULL, journal_intend(NULL, "a", 1, 1));
	journal_close(NULL);
}

static void test_a_directory_that_others_may_write_to(void **state)
{
	struct journal *j;

	assert_int_equal(chmod(dir, 0777), 0);
	assert_int_equal(journal_open(dir, PLACE, &j), -EACCES);
	assert_int_equal(chmod(dir, 0700), 0);
}

static void test_parse(void **state)
{
	static const char text[] = "pailfs-journal 1 https%3A%2F%2Fhost%2Fb\n"
				   "I 1 100 key%0Aone\n"
				   "I 2 101 two\n"
				   "I 3 102 three\n"
				   "U 2 the%20id\n"
				   "nonsense\n"
				   "E 3\n"
				   "I x y z\n"
				   "I 4 103 %zz\n"
				   "U 77 nobody\n"
				   "E 2\n"
				   "I 5 104 five\n"
				   "U 5 id5\n"
				   "E 5"; /* the daemon died here */
	struct journal_entry *e;
	size_t count;

	assert_int_equal(journal_parse(text, strlen(text), "https://host/b", &e, &count), 0);
	assert_int_equal(count, 2);
	assert_string_equal(e[0].key, "key\none");
	assert_int_equal(e[0].wall_s, 100);
	assert_null(e[0].id);
	assert_string_equal(e[1].key, "five");
	assert_string_equal(e[1].id, "id5");
	journal_entries_free(e, count);
	assert_int_equal(journal_parse(text, strlen(text), "https://host/c", &e, &count), -EINVAL);
	assert_int_equal(journal_parse("", 0, "https://host/b", &e, &count), -EINVAL);
	assert_int_equal(journal_parse("\n\n", 2, "https://host/b", &e, &count), -EINVAL);
}

/* Any cut of a journal is read, and nothing is made up. */
static void test_parse_of_every_prefix(void **state)
{
	static const char text[] = "pailfs-journal 1 p\nI 1 100 k\nU 1 id\nI 2 5 m\nE 1\n";
	size_t n;

	for (n = 0; n <= strlen(text); n++) {
		struct journal_entry *e = NULL;
		size_t count = 0, i;

		if (journal_parse(text, n, "p", &e, &count) < 0)
			continue;
		for (i = 0; i < count; i++)
			assert_true(strcmp(e[i].key, "k") == 0 || strcmp(e[i].key, "m") == 0);
		journal_entries_free(e, count);
	}
}

/* Aborts what is left, as its owner would. */
static void abort_all(struct bench *b)
{
	while (played_uploads(&b->server) > 0) {
		char *key = strdup(b->server.uploads->key), *id = strdup(b->server.uploads->id);

		assert_int_equal(upload_abort_run(&b->writers->uploads, key, strlen(key), id), 0);
		free(key);
		free(id);
	}
}

static void leave_id(struct journal *j, void *ctx)
{
	journal_created(j, journal_intend(j, "left", 4, 1000), ctx);
}

static void leave_intent(struct journal *j, void *ctx)
{
	journal_intend(j, "left", 4, (uint64_t) * (const time_t *)ctx);
}

static void test_known_ids_are_aborted(void **state)
{
	struct bench b;
	const char *id;

	bench_init(&b, &(struct bench_config){.no_writer = true});
	id = played_begin_upload(&b.server, "left", 1000);
	played_begin_upload(&b.server, "theirs", 1000);
	die_after(leave_id, (void *)(uintptr_t)id);
	assert_int_equal(count_files(), 1);
	assert_int_equal(journal_settle_over(dir, "https://elsewhere/b", &b.server.source), 0);
	assert_int_equal(played_uploads(&b.server), 2); /* another bucket's journal */
	assert_int_equal(journal_settle_over(dir, PLACE, &b.server.source), 1);
	assert_int_equal(played_uploads(&b.server), 1);
	assert_int_equal(count_files(), 0);
	assert_int_equal(journal_settle_over(dir, PLACE, &b.server.source), 0);
	abort_all(&b);
	bench_finish(&b);
}

static void test_intents_without_id(void **state)
{
	static const struct {
		unsigned before, after; /* uploads of that key, begun before and after it */
		int aborted;
		unsigned left;
	} rows[] = {
	    {0, 0, 0, 0}, {1, 0, 0, 1}, {0, 1, 1, 0}, {2, 1, 1, 2}, {0, 2, 0, 2},
	};
	time_t at = 5000;
	size_t i;
	unsigned n;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct bench b;

		bench_init(&b, &(struct bench_config){.no_writer = true});
		for (n = 0; n < rows[i].before; n++)
			played_begin_upload(&b.server, "left", at - 10);
		for (n = 0; n < rows[i].after; n++)
			played_begin_upload(&b.server, "left", at + 1);
		played_begin_upload(&b.server, "left-over", at + 1); /* another key */
		die_after(leave_intent, &at);
		assert_int_equal(journal_settle_over(dir, PLACE, &b.server.source),
				 rows[i].aborted);
		assert_int_equal(played_uploads(&b.server), rows[i].left + 1);
		assert_int_equal(count_files(), 0);
		abort_all(&b);
		bench_finish(&b);
	}
}

static void test_a_living_daemon_is_left_alone(void **state)
{
	struct journal *j;
	struct bench b;

	bench_init(&b, &(struct bench_config){.no_writer = true});
	assert_int_equal(journal_open(dir, PLACE, &j), 0);
	journal_created(j, journal_intend(j, "mine", 4, 1), "id");
	assert_int_equal(journal_settle_over(dir, PLACE, &b.server.source), 0);
	assert_int_equal(b.server.submitted[S3_ABORT_MULTIPART], 0);
	assert_int_equal(count_files(), 1);
	journal_close(j); /* an entry is open: the file stays */
	assert_int_equal(count_files(), 1);
	assert_int_equal(journal_settle_over(dir, PLACE, &b.server.source), 1);
	bench_finish(&b);
}

static struct played_fault no_abort(struct played *p, const struct xfer_op *op, unsigned n)
{
	return (struct played_fault){.err = op->s3.verb == S3_ABORT_MULTIPART ? -EIO : 0};
}

static void test_what_cannot_be_aborted_stays_in_the_journal(void **state)
{
	struct bench b;
	const char *id;

	bench_init(&b, &(struct bench_config){.no_writer = true});
	id = played_begin_upload(&b.server, "left", 1000);
	die_after(leave_id, (void *)(uintptr_t)id);
	b.server.fault = no_abort;
	assert_int_equal(journal_settle_over(dir, PLACE, &b.server.source), 0);
	assert_int_equal(count_files(), 1);
	b.server.fault = NULL;
	assert_int_equal(journal_settle_over(dir, PLACE, &b.server.source), 1);
	bench_finish(&b);
}

/* A writer's upload is in the journal while it runs, and not after. */
static void test_a_writer_keeps_the_journal(void **state)
{
	struct journal *j;
	struct bench b;

	assert_int_equal(journal_open(dir, PLACE, &j), 0);
	bench_init(&b, &(struct bench_config){.journal = j});
	assert_int_equal(bench_write(&b, 0, 3 * PART, 0), 0);
	bench_publish(&b, PUBLISH_NEW);
	assert_int_equal(bench_write(&b, 0, 3 * PART, 1), 0); /* and one that is dropped */
	bench_finish(&b);
	journal_close(j);
	assert_int_equal(count_files(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_a_clean_end_leaves_no_file, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_a_directory_that_others_may_write_to, setup,
					    teardown),
	    cmocka_unit_test(test_parse),
	    cmocka_unit_test(test_parse_of_every_prefix),
	    cmocka_unit_test_setup_teardown(test_known_ids_are_aborted, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_intents_without_id, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_a_living_daemon_is_left_alone, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_what_cannot_be_aborted_stays_in_the_journal, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(test_a_writer_keeps_the_journal, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
