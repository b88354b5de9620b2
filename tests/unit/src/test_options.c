/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: every row of the table is exercised, then the three ways to write options. */
#include "../test.h"

#include <stdio.h>

#include <pailfs/bucket.h>
#include <pailfs/cleanup.h>
#include <pailfs/options.h>

#define ARGS_MAX 16

/* Parses words, the last one NULL. */
static int parse(struct options *o, char *error, const char *const *words)
{
	char *argv[ARGS_MAX];
	int argc = 0;

	while (words[argc] != NULL) {
		assert_true(argc < ARGS_MAX);
		argv[argc] = (char *)words[argc];
		argc++;
	}
	error[0] = '\0';
	return options_parse(o, argc, argv, error, OPTION_ERROR_BYTES);
}

#define PARSE(o, error, ...) parse(o, error, (const char *const[]){__VA_ARGS__, NULL})

static void expect_refused(const char *const *words, const char *said)
{
	struct options o;
	char error[OPTION_ERROR_BYTES];

	assert_int_equal(parse(&o, error, words), -EINVAL);
	if (strstr(error, said) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", error, said);
	assert_null(strchr(error, '\n'));
	options_finish(&o);
}

#define REFUSED(said, ...) expect_refused((const char *const[]){__VA_ARGS__, NULL}, said)
#define REFUSED_OPTION(text, said) REFUSED(said, "pailfs", "b", "/d", "-o", text)

/* A value that the row takes, and one that it does not; NULL if it takes any. */
static void example(const struct option_row *row, char *good, char *bad, size_t size)
{
	static const char *const good_of[] = {
	    [OPTION_FLAG] = "yes",  [OPTION_FLAG_OFF] = "yes", [OPTION_AUTO] = "no",
	    [OPTION_TEXT] = "text", [OPTION_RATE] = "50M",     [OPTION_LEVEL] = "warning",
	};
	static const char *const bad_of[] = {
	    [OPTION_FLAG] = "maybe", [OPTION_FLAG_OFF] = "2",	  [OPTION_AUTO] = "auto",
	    [OPTION_TEXT] = "",	     [OPTION_OCTAL] = "888",	  [OPTION_SIZE] = "1.5M",
	    [OPTION_TIME] = "soon",  [OPTION_RATE] = "0",	  [OPTION_LEVEL] = "loud",
	    [OPTION_COUNT] = "3.5",  [OPTION_CHOICE] = "neither",
	};

	snprintf(bad, size, "%s", bad_of[row->type]);
	switch (row->type) {
	case OPTION_COUNT:
	case OPTION_SIZE:
		snprintf(good, size, "%llu", (unsigned long long)row->max);
		break;
	case OPTION_OCTAL:
		snprintf(good, size, "%llo", (unsigned long long)row->max);
		break;
	case OPTION_TIME:
		snprintf(good, size, "%llu", (unsigned long long)(row->max / NS_PER_S));
		break;
	case OPTION_CHOICE:
		snprintf(good, size, "%s", strrchr(row->value, '|') + 1);
		break;
	default:
		snprintf(good, size, "%s", good_of[row->type]);
		break;
	}
}

static void check_name(const struct option_row *row, const char *name)
{
	CLEANUP(free) char *word = NULL;
	char good[64], bad[64], error[OPTION_ERROR_BYTES];
	struct options o;

	example(row, good, bad, sizeof(good));
	options_init(&o);
	assert_false(options_given(&o, row->name));
	assert_true(asprintf(&word, "%s=%s", name, good) > 0);
	if (options_set(&o, word, error, sizeof(error)) < 0)
		fail_msg("%s: %s", word, error);
	assert_true(options_given(&o, row->name));
	free(word);
	assert_true(asprintf(&word, "%s=%s", name, bad) > 0);
	assert_int_equal(options_set(&o, word, error, sizeof(error)), -EINVAL);
	if (strstr(error, word) == NULL || strstr(error, "must be ") == NULL)
		fail_msg("%s: \"%s\" names neither option, value and range", word, error);
	if (row->bare != NULL) {
		assert_int_equal(options_set(&o, name, error, sizeof(error)), 0);
	} else if (row->value != NULL) {
		assert_int_equal(options_set(&o, name, error, sizeof(error)), -EINVAL);
		assert_non_null(strstr(error, "needs a value"));
	}
	options_finish(&o);
}

static void test_every_row_takes_its_range_by_every_name(void **state)
{
	size_t count;
	const struct option_row *rows = options_table(&count);

	for (size_t i = 0; i < count; i++) {
		check_name(&rows[i], rows[i].name);
		for (size_t k = 0; k < OPTION_ALIASES_MAX && rows[i].aliases[k] != NULL; k++)
			check_name(&rows[i], rows[i].aliases[k]);
	}
}

static void test_names_are_told_apart(void **state)
{
	size_t count;
	const struct option_row *rows = options_table(&count);

	for (size_t i = 0; i < count; i++) {
		assert_null(option_foreign_advice(rows[i].name));
		assert_false(option_is_ignored(rows[i].name));
		for (size_t j = i + 1; j < count; j++)
			assert_false(option_name_equal(rows[i].name, rows[j].name));
		for (size_t k = 0; k < OPTION_ALIASES_MAX && rows[i].aliases[k] != NULL; k++) {
			assert_null(option_foreign_advice(rows[i].aliases[k]));
			assert_false(option_is_ignored(rows[i].aliases[k]));
		}
	}
}

static void test_numbers_just_out_of_range(void **state)
{
	REFUSED_OPTION("parallel=0", "parallel=0: must be a whole number from 1 to 1024");
	REFUSED_OPTION("parallel=1025", "from 1 to 1024");
	REFUSED_OPTION("parallel=3.5", "parallel=3.5: must be a whole number from 1 to 1024");
	REFUSED_OPTION("parallel=-1", "parallel=-1: must be");
	REFUSED_OPTION("part_size=1048575",
		       "part_size=1048575: must be a size from 1 MiB to 5 GiB");
	REFUSED_OPTION("part_size=6G", "from 1 MiB to 5 GiB");
	REFUSED_OPTION("download_limit=0", "download_limit=0: must be a rate from 1 kB/s");
	REFUSED_OPTION("download_limit=50M:16383", "a burst from 16 KiB");
	REFUSED_OPTION("download_limit=50M:", "download_limit=50M:: must be");
	REFUSED_OPTION("retries=101", "from 0 to 100");
	REFUSED_OPTION("memory=31M", "memory=31M: must be a size from 32 MiB");
	REFUSED_OPTION("op_timeout=0", "op_timeout=0: must be a time from 1 s");
	REFUSED_OPTION("file_mode=1777", "file_mode=1777: must be an octal number from 0 to 0777");
	REFUSED_OPTION("uid=4294967295", "from 0 to 4294967294");
	REFUSED_OPTION("region=", "region=: must be a text");
}

static void test_names_that_are_not_ours(void **state)
{
	REFUSED_OPTION("alow_other", "unknown option alow_other; did you mean allow_other?");
	REFUSED_OPTION("regon=x", "did you mean region?");
	REFUSED_OPTION("zzzzzzzzzz", "unknown option zzzzzzzzzz; pailfs -h lists all");
	REFUSED_OPTION("use_cache=/tmp", "option use_cache is not supported: ");
	REFUSED_OPTION("multipart_size=10", "part_size=10M");
	REFUSED_OPTION("no-check-certificate", "certificates are always checked");
}

static void test_wrong_words(void **state)
{
	REFUSED("the bucket is missing", "pailfs");
	REFUSED("the directory DIR is missing", "pailfs", "b");
	REFUSED("one word too many", "pailfs", "b", "/d", "/e");
	REFUSED("no bucket's name", "pailfs", "", "/d");
	REFUSED("no bucket's name", "pailfs", "b/prefix", "/d");
	REFUSED("no bucket's name", "pailfs", "s3://", "/d");
	REFUSED("unknown flag -x", "pailfs", "-x", "b", "/d");
	REFUSED("-o needs a value", "pailfs", "b", "/d", "-o");
	REFUSED("unknown option --", "pailfs", "b", "/d", "----");
	REFUSED("-N", "mount.pailfs", "b", "/d", "-N", "1");
}

static void test_sources(void **state)
{
	static const struct {
		const char *source, *bucket, *prefix;
	} cases[] = {
	    {"b", "b", ""},
	    {"b:", "b", ""},
	    {"b:/", "b", ""},
	    {"b:/a", "b", "a/"},
	    {"b:a/b/", "b", "a/b/"},
	    {"b://a//", "b", "a/"},
	    {"b:/a:b", "b", "a:b/"},
	    {"s3://b", "b", ""},
	    {"s3://b/", "b", ""},
	    {"s3://b/a/b", "b", "a/b/"},
	    {"s3://b/a b,c/", "b", "a b,c/"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct options o;
		char error[OPTION_ERROR_BYTES];

		assert_int_equal(PARSE(&o, error, "pailfs", cases[i].source, "/d"), 0);
		assert_string_equal(o.bucket, cases[i].bucket);
		assert_string_equal(o.prefix, cases[i].prefix);
		assert_string_equal(o.dir, "/d");
		options_finish(&o);
	}
}

static void test_presets(void **state)
{
	struct options o;

	options_init(&o);
	assert_int_equal(o.parallel, 24);
	assert_int_equal(o.part_size_bytes, 64 * MIB);
	assert_int_equal(o.retries, 10);
	assert_int_equal(o.op_timeout_ns, 60 * NS_PER_S);
	assert_int_equal(o.metadata_ttl_ns, NS_PER_S);
	assert_int_equal(o.negative_ttl_ns, 0);
	assert_int_equal(o.file_mode, 0644);
	assert_int_equal(o.dir_mode, 0755);
	assert_int_equal(o.path_style, -1);
	assert_int_equal(o.log_level, LOG_LEVEL_INFO);
	assert_int_equal(o.download_limit.bytes_per_s, 0);
	options_finish(&o);
}

static void test_lists_and_escapes(void **state)
{
	struct options o;
	char error[OPTION_ERROR_BYTES];

	assert_int_equal(PARSE(&o, error, "pailfs", "-oro,profile=a\\,b\\\\c,,uid=7", "b", "-o",
			       "metadata_ttl=forever,download_limit=5M", "/d", "-fs"),
			 0);
	assert_true(o.read_only);
	assert_string_equal(o.profile, "a,b\\c");
	assert_int_equal(o.uid, 7);
	assert_int_equal(o.metadata_ttl_ns, UINT64_MAX);
	assert_int_equal(o.download_limit.bytes_per_s, 5000000);
	assert_int_equal(o.download_limit.burst_bytes, 500000);
	assert_true(o.foreground);
	assert_int_equal(o.parallel, 1);
	assert_false(o.from_mount);
	options_finish(&o);
	assert_int_equal(PARSE(&o, error, "pailfs", "b", "/d", "-o", "download_limit=10K:1M"), 0);
	assert_int_equal(o.download_limit.bytes_per_s, 10000);
	assert_int_equal(o.download_limit.burst_bytes, MIB);
	options_finish(&o);
	assert_int_equal(PARSE(&o, error, "pailfs", "b", "/d", "-o", "download_limit=10K"), 0);
	assert_int_equal(o.download_limit.burst_bytes, BUCKET_BURST_MIN_BYTES);
	options_finish(&o);
}

static void test_long_options(void **state)
{
	struct options o;
	char error[OPTION_ERROR_BYTES];

	assert_int_equal(PARSE(&o, error, "pailfs", "--region", "eu-west-1", "--read-only",
			       "--endpoint-url=http://h:1", "b", "--foreground", "--", "/d"),
			 0);
	assert_string_equal(o.region, "eu-west-1");
	assert_string_equal(o.endpoint, "http://h:1");
	assert_true(o.read_only);
	assert_true(o.foreground);
	assert_string_equal(o.dir, "/d");
	options_finish(&o);
}

static void test_later_words_win(void **state)
{
	struct options o;
	char error[OPTION_ERROR_BYTES];

	assert_int_equal(PARSE(&o, error, "pailfs", "b", "/d", "-o",
			       "ro,rw,region=a,region=b,path_style,path_style=0"),
			 0);
	assert_false(o.read_only);
	assert_string_equal(o.region, "b");
	assert_int_equal(o.path_style, 0);
	options_finish(&o);
}

static void test_debug(void **state)
{
	struct options o;
	char error[OPTION_ERROR_BYTES];

	assert_int_equal(PARSE(&o, error, "pailfs", "-d", "b", "/d"), 0);
	assert_int_equal(o.log_level, LOG_LEVEL_DEBUG);
	assert_true(o.foreground);
	options_finish(&o);
	assert_int_equal(PARSE(&o, error, "pailfs", "b", "/d", "-o", "debug"), 0);
	assert_int_equal(o.log_level, LOG_LEVEL_DEBUG);
	assert_false(o.foreground);
	options_finish(&o);
}

static void test_mount_form(void **state)
{
	struct options o;
	char error[OPTION_ERROR_BYTES];

	assert_int_equal(PARSE(&o, error, "/sbin/mount.pailfs", "b:/p", "/d", "-s", "-n", "-v",
			       "-o",
			       "rw,_netdev,nofail,user=joe,x-systemd.automount,allow-other,noexec"),
			 0);
	assert_true(o.from_mount);
	assert_true(o.allow_other);
	assert_true(o.no_exec);
	assert_int_equal(o.parallel, 24); /* -s is mount(8)'s here */
	assert_false(o.foreground);
	options_finish(&o);
	assert_int_equal(PARSE(&o, error, "mount.pailfs", "b", "/d", "-f", "-t", "pailfs"), 0);
	assert_true(o.pretend);
	assert_false(o.foreground);
	options_finish(&o);
	/* through mount.fuse3: `pailfs b /d -o rw,dev,suid` */
	assert_int_equal(PARSE(&o, error, "pailfs", "b", "/d", "-o", "rw,dev,suid"), 0);
	assert_true(o.from_mount);
	options_finish(&o);
}

static void test_help_and_version_need_no_words(void **state)
{
	struct options o;
	char error[OPTION_ERROR_BYTES];

	assert_int_equal(PARSE(&o, error, "pailfs", "-h"), 0);
	assert_int_equal(o.action, OPTION_SHOW_HELP);
	options_finish(&o);
	assert_int_equal(PARSE(&o, error, "pailfs", "--version"), 0);
	assert_int_equal(o.action, OPTION_SHOW_VERSION);
	options_finish(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_row_takes_its_range_by_every_name),
	    cmocka_unit_test(test_names_are_told_apart),
	    cmocka_unit_test(test_numbers_just_out_of_range),
	    cmocka_unit_test(test_names_that_are_not_ours),
	    cmocka_unit_test(test_wrong_words),
	    cmocka_unit_test(test_sources),
	    cmocka_unit_test(test_presets),
	    cmocka_unit_test(test_lists_and_escapes),
	    cmocka_unit_test(test_long_options),
	    cmocka_unit_test(test_later_words_win),
	    cmocka_unit_test(test_debug),
	    cmocka_unit_test(test_mount_form),
	    cmocka_unit_test(test_help_and_version_need_no_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
