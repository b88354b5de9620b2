/* SPDX-License-Identifier: Apache-2.0 */
/* The log: one line a message, nothing unprintable, repeats held back; and the lock's checks. */
#include "../test.h"

#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <pailfs/lock.h>
#include <pailfs/log.h>

static char path[64];

static int setup(void **state)
{
	snprintf(path, sizeof(path), "/tmp/pailfs-log-test.%d", (int)getpid());
	unlink(path);
	return log_open(LOG_SINK_FILE, path);
}

static int teardown(void **state)
{
	log_close();
	return unlink(path);
}

static size_t read_log(char *dst, size_t size)
{
	FILE *f = fopen(path, "r");
	size_t n;

	assert_non_null(f);
	n = fread(dst, 1, size - 1, f);
	fclose(f);
	dst[n] = '\0';
	return n;
}

static unsigned lines_of(const char *text)
{
	unsigned n = 0;

	for (; *text != '\0'; text++)
		n += *text == '\n';
	return n;
}

static void control_characters_do_not_forge_lines(void **state)
{
	char text[4096];

	log_error("key %s", "a\nERROR forged\x1b[2J");
	read_log(text, sizeof(text));
	assert_int_equal(lines_of(text), 1);
	assert_non_null(strstr(text, "ERROR key a\\x0aERROR forged\\x1b[2J"));
}

static void a_repeated_message_is_held_back(void **state)
{
	char text[8192];
	int i;

	for (i = 0; i < 100; i++)
		log_warn("the same trouble %d", i);
	read_log(text, sizeof(text));
	assert_int_equal(lines_of(text), 10);
}

static void levels_above_the_threshold_are_silent(void **state)
{
	char text[256];

	log_debug("not seen");
	assert_int_equal(read_log(text, sizeof(text)), 0);
}

static void the_file_is_private_and_follows_rotation(void **state)
{
	char rotated[80], text[512];
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	snprintf(rotated, sizeof(rotated), "%s.1", path);
	assert_int_equal(rename(path, rotated), 0);
	assert_int_equal(log_reopen(), 0);
	log_info("after rotation");
	read_log(text, sizeof(text));
	assert_non_null(strstr(text, "after rotation"));
	unlink(rotated);
}

static void a_symlink_is_not_followed(void **state)
{
	char link[80];

	snprintf(link, sizeof(link), "%s.link", path);
	unlink(link);
	assert_int_equal(symlink(path, link), 0);
	assert_int_equal(log_open(LOG_SINK_FILE, link), -ELOOP);
	unlink(link);
}

static void a_wrong_lock_order_is_caught(void **state)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct lock low, high;

		freopen("/dev/null", "w", stderr);
		lock_init(&low, LOCK_FS);
		lock_init(&high, LOCK_CACHE);
		lock_acquire(&high);
		lock_acquire(&low);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(control_characters_do_not_forge_lines, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_repeated_message_is_held_back, setup, teardown),
	    cmocka_unit_test_setup_teardown(levels_above_the_threshold_are_silent, setup, teardown),
	    cmocka_unit_test_setup_teardown(the_file_is_private_and_follows_rotation, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(a_symlink_is_not_followed, setup, teardown),
	    cmocka_unit_test(a_wrong_lock_order_is_caught),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
