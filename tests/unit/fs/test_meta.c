/* SPDX-License-Identifier: Apache-2.0 */
/* The dialects of POSIX attributes in metadata: read, told apart, written. */
#include "../../../src/fs/meta.h"

#include <sys/stat.h>

#include "../test.h"

static void modes(void **state)
{
	static const struct {
		const char *name, *text;
		unsigned mode; /* 0: refused */
	} cases[] = {
	    /* s3fs, geesefs: decimal */
	    {"mode", "33188", 0100644},
	    {"mode", "33279", 0100777},
	    {"mode", "16877", 040755},
	    {"mode", "16704", 040500}, /* all digits are octal ones, too */
	    {"mode", "41471", 0120777},
	    {"mode", "4516", 010644},
	    {"mode", "8612", 020644},
	    {"mode", "49590", 0140666},
	    {"mode", "420", 0644},
	    /* rclone: octal */
	    {"mode", "100644", 0100644},
	    {"mode", "40755", 040755},
	    {"mode", "41777", 041777},
	    {"mode", "120777", 0120777},
	    {"mode", "120444", 0120777},
	    {"mode", "0130644", 0644},
	    {"mode", "0100644", 0100644},
	    {"mode", "0644", 0644},
	    {"mode", "x", 0},
	    {"mode", "", 0},
	    {"mode", "-1", 0},
	    {"mode", "99999999999999999999", 0},
	    {"mode", "70000000", 0},
	    /* AWS, GCS */
	    {"file-permissions", "0100644", 0100644},
	    {"file-permissions", "0040755", 040755},
	    {"file-permissions", "0120777", 0120777},
	    {"file-permissions", "9", 0},
	    {"goog-reserved-posix-mode", "644", 0644},
	};

	for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
		struct s3_meta meta = {cases[k].name, cases[k].text};
		struct file_meta m;

		file_meta_parse(&meta, 1, &m);
		assert_int_equal((m.has & META_HAS_MODE) != 0, cases[k].mode != 0);
		assert_int_equal(m.mode, cases[k].mode);
	}
}

static void times(void **state)
{
	static const struct {
		const char *name, *text;
		long long s; /* -1: refused */
		long ns;
	} cases[] = {
	    {"mtime", "1600000000", 1600000000, 0},
	    {"mtime", "1600000000.000000001", 1600000000, 1},
	    {"mtime", "1600000000.5", 1600000000, 500000000},
	    {"mtime", "1600000000.1234567891234", 1600000000, 123456789},
	    {"mtime", "-5.000000000", -5, 0},
	    {"mtime", "1600000000.", 1600000000, 0},
	    {"mtime", "16e8", -1, 0},
	    {"mtime", "", -1, 0},
	    {"mtime", ".5", -1, 0},
	    {"file-mtime", "1600000000123456789ns", 1600000000, 123456789},
	    {"file-mtime", "1600000000123", 1600000000, 123000000},
	    {"file-mtime", "ns", -1, 0},
	    {"goog-reserved-file-mtime", "1600000000", 1600000000, 0},
	};

	for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
		struct s3_meta meta = {cases[k].name, cases[k].text};
		struct file_meta m;

		file_meta_parse(&meta, 1, &m);
		assert_int_equal((m.has & META_HAS_MTIME) != 0, cases[k].s != -1);
		if (cases[k].s == -1)
			continue;
		assert_int_equal(m.mtime.tv_sec, cases[k].s);
		assert_int_equal(m.mtime.tv_nsec, cases[k].ns);
	}
}

static void first_dialect_counts(void **state)
{
	const struct s3_meta meta[] = {{"file-owner", "1"}, {"goog-reserved-posix-uid", "2"},
				       {"uid", "3"},	    {"file-group", "4"},
				       {"gid", "x"},	    {"other", "5"}};
	struct file_meta m;

	file_meta_parse(meta, ARRAY_SIZE(meta), &m);
	assert_int_equal(m.has, META_HAS_UID | META_HAS_GID);
	assert_int_equal(m.uid, 3);
	assert_int_equal(m.gid, 4); /* what cannot be read is not there */
	assert_true(file_meta_knows("file-owner"));
	assert_false(file_meta_knows("other"));
}

static void geesefs(void **state)
{
	const struct s3_meta meta[] = {{"--symlink-target", "a%20b"}, {"rdev", "259"}};
	struct file_meta m;

	file_meta_parse(meta, ARRAY_SIZE(meta), &m);
	assert_int_equal(m.has, META_HAS_TARGET | META_HAS_RDEV);
	assert_string_equal(m.target, "a%20b");
	assert_int_equal(m.rdev, 259);
}

static void formats(void **state)
{
	const struct file_meta m = {.has = META_HAS_MODE | META_HAS_UID | META_HAS_GID |
					   META_HAS_MTIME | META_HAS_ATIME | META_HAS_CTIME |
					   META_HAS_RDEV | META_HAS_XATTR,
				    .mode = 0100644,
				    .uid = 1,
				    .gid = 4294967294u,
				    .rdev = 259,
				    .mtime = {1600000000, 1},
				    .atime = {1600000001, 999999999},
				    .ctime = {1600000002, 0},
				    .xattr = "%7B%7D"};
	static const struct {
		enum meta_dialect dialect;
		const char *name, *value;
	} wanted[] = {
	    {META_S3FS, "mode", "33188"},
	    {META_S3FS, "uid", "1"},
	    {META_S3FS, "gid", "4294967294"},
	    {META_S3FS, "mtime", "1600000000.000000001"},
	    {META_S3FS, "atime", "1600000001.999999999"},
	    {META_S3FS, "ctime", "1600000002.000000000"},
	    {META_S3FS, "rdev", "259"},
	    {META_S3FS, "xattr", "%7B%7D"},
	    {META_AWS, "file-permissions", "0100644"},
	    {META_AWS, "file-owner", "1"},
	    {META_AWS, "file-group", "4294967294"},
	    {META_AWS, "file-mtime", "1600000000000000001ns"},
	    {META_AWS, "file-atime", "1600000001999999999ns"},
	    {META_AWS, "ctime", "1600000002.000000000"},
	};

	for (size_t k = 0; k < ARRAY_SIZE(wanted); k++) {
		struct meta_text t;
		unsigned n = 0;

		file_meta_format(&m, wanted[k].dialect, &t);
		assert_int_equal(t.count, 8);
		while (n < t.count && strcmp(t.meta[n].name, wanted[k].name) != 0)
			n++;
		assert_true(n < t.count);
		assert_string_equal(t.meta[n].value, wanted[k].value);
	}
}

static void both_ways(void **state)
{
	for (int dialect = 0; dialect < META_DIALECTS; dialect++) {
		struct file_meta m = {.has = META_HAS_MODE | META_HAS_MTIME | META_HAS_CTIME,
				      .mode = 0120777,
				      .mtime = {-3, 7},
				      .ctime = {0, 0}},
				 back;
		struct meta_text t;

		file_meta_format(&m, (enum meta_dialect)dialect, &t);
		file_meta_parse(t.meta, t.count, &back);
		assert_int_equal(back.has, m.has);
		assert_int_equal(back.mode, m.mode);
		assert_int_equal(back.mtime.tv_sec, -3);
		assert_int_equal(back.mtime.tv_nsec, 7);
	}
}

static void far_times(void **state)
{
	const struct file_meta m = {.has = META_HAS_MTIME, .mtime = {160000000023456789, 5}};
	struct file_meta back;
	struct meta_text t;

	file_meta_format(&m, META_AWS, &t);
	file_meta_parse(t.meta, t.count, &back);
	assert_int_equal(back.mtime.tv_sec, m.mtime.tv_sec);
	assert_int_equal(back.mtime.tv_nsec, 5);
}

static void counted_bytes(void **state)
{
	const struct s3_meta meta[] = {{"mode", "33188"}, {"uid", "0"}};

	assert_int_equal(meta_bytes(meta, 2), 4 + 5 + 3 + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(modes),	     cmocka_unit_test(times),
	    cmocka_unit_test(geesefs),	     cmocka_unit_test(first_dialect_counts),
	    cmocka_unit_test(formats),	     cmocka_unit_test(both_ways),
	    cmocka_unit_test(counted_bytes), cmocka_unit_test(far_times),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
