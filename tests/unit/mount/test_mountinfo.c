/* SPDX-License-Identifier: Apache-2.0 */
/* Reading mountinfo as proc(5) describes it: escapes, optional fields, mounts on top of mounts. */
#include "../test.h"

#include <stdio.h>
#include <unistd.h>

#include "../../../src/mount/mountinfo.h"

static const char table[] =
    "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
    "40 22 0:40 / /mnt/with\\040blank rw,nosuid,nodev - fuse.pailfs b:/a\\054b rw,user_id=0\n"
    "41 22 0:41 / /mnt/top rw shared:5 master:1 - tmpfs tmpfs rw\n"
    "42 41 0:42 / /mnt/top rw,nosuid shared:6 - fuse.pailfs bucket rw\n"
    "43 22 0:43 / /mnt/back\\134slash rw - proc proc rw\n"
    "nonsense\n"
    "44 22 0:x / /mnt/bad rw - proc proc rw\n"
    "45 22 0:45 / /mnt/last rw - fuse.pailfs last rw\n";

static char path[] = "/tmp/pailfs-mountinfo-XXXXXX";

static int setup(void **state)
{
	int fd = mkstemp(path);
	ssize_t n = fd >= 0 ? write(fd, table, strlen(table)) : -1;

	close(fd);
	return n == (ssize_t)strlen(table) ? 0 : -1;
}

static int teardown(void **state)
{
	return unlink(path);
}

static void test_finds_the_topmost(void **state)
{
	struct mountinfo info;

	assert_int_equal(mountinfo_find_in(path, "/mnt/top", &info), 1);
	assert_int_equal(info.major, 0);
	assert_int_equal(info.minor, 42);
	assert_string_equal(info.fstype, "fuse.pailfs");
	assert_string_equal(info.source, "bucket");
}

static void test_decodes_escapes(void **state)
{
	struct mountinfo info;

	assert_int_equal(mountinfo_find_in(path, "/mnt/with blank", &info), 1);
	assert_string_equal(info.source, "b:/a,b");
	assert_int_equal(mountinfo_find_in(path, "/mnt/back\\slash", &info), 1);
	assert_int_equal(info.minor, 43);
}

static void test_only_mount_points_count(void **state)
{
	struct mountinfo info;

	assert_int_equal(mountinfo_find_in(path, "/mnt", &info), 0);
	assert_int_equal(mountinfo_find_in(path, "/mnt/top/below", &info), 0);
	assert_int_equal(mountinfo_find_in(path, "/mnt/bad", &info), 0);
	assert_int_equal(mountinfo_find_in("/nonexistent", "/", &info), -ENOENT);
}

static void test_nonsense_hides_nothing_behind_it(void **state)
{
	struct mountinfo info;

	assert_int_equal(mountinfo_find_in(path, "/mnt/last", &info), 1);
	assert_string_equal(info.source, "last");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_finds_the_topmost),
	    cmocka_unit_test(test_decodes_escapes),
	    cmocka_unit_test(test_only_mount_points_count),
	    cmocka_unit_test(test_nonsense_hides_nothing_behind_it),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
