/* SPDX-License-Identifier: Apache-2.0 */
/* Extended attributes in metadata: read as s3fs writes them, written as it reads them. */
#include "../../../src/fs/xattr.h"

#include <errno.h>

#include <stdio.h>

#include "../test.h"

static void reads(void **state)
{
	static const struct {
		const char *text;
		int rc;
		const char *value; /* of user.a; NULL: not there */
	} cases[] = {
	    {NULL, 0, NULL},
	    {"", 0, NULL},
	    {"%7B%7D", 0, NULL},
	    {"{}", 0, NULL},
	    {"%7B%22user.a%22%3A%22aGVsbG8%3D%22%7D", 0, "hello"}, /* as s3fs 1.90 */
	    {"{\"user.a\":\"aGVsbG8=\"}", 0, "hello"},
	    {"{ \"user.b\" : \"\" , \"user.a\" : \"aGVsbG8\" }", 0, "hello"},
	    {"{\"user.\\u0061\":\"\"}", 0, ""},
	    {"{\"user.a\":\"eA==\",\"user.a\":\"eQ==\"}", 0, "y"},
	    {"{", -EBADMSG, NULL},
	    {"{\"user.a\"}", -EBADMSG, NULL},
	    {"{\"user.a\":1}", -EBADMSG, NULL},
	    {"{\"user.a\":\"*\"}", -EBADMSG, NULL},
	    {"{\"user.a\":\"eA==\"}x", -EBADMSG, NULL},
	    {"{\"user.a\":\"eA==\" \"user.b\":\"\"}", -EBADMSG, NULL},
	    {"{\"\":\"\"}", -EBADMSG, NULL},
	    {"{\"\\u0000\":\"\"}", -EBADMSG, NULL},
	    {"{\"user.a", -EBADMSG, NULL},
	    {"%7", -EBADMSG, NULL},
	    {"%00", -EBADMSG, NULL},
	};

	for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
		struct xattrs x;
		const struct xattr *found;

		assert_int_equal(xattrs_parse(cases[k].text, &x), cases[k].rc);
		found = xattrs_find(&x, "user.a");
		assert_int_equal(found != NULL, cases[k].value != NULL);
		if (found != NULL)
			assert_string_equal(found->value, cases[k].value);
		xattrs_finish(&x);
	}
}

static void both_ways(void **state)
{
	static const char bytes[] = "\0\1\2\xff\xfe binary";
	struct xattrs x = {0}, back;
	struct buf text = BUF_INIT;

	assert_int_equal(xattrs_set(&x, "user.one", bytes, sizeof(bytes)), 0);
	assert_int_equal(xattrs_set(&x, "user.\"q\\\n\xc3\xa4", "v", 1), 0);
	assert_int_equal(xattrs_set(&x, "user.empty", "", 0), 0);
	for (size_t n = 0; n <= 4; n++) {
		assert_int_equal(xattrs_set(&x, "user.n", bytes, n), 0);
		assert_int_equal(xattrs_format(&x, &text), 0);
		assert_int_equal(xattrs_parse(text.data, &back), 0);
		assert_int_equal(back.count, 4);
		assert_int_equal(xattrs_find(&back, "user.n")->length, n);
		assert_memory_equal(xattrs_find(&back, "user.n")->value, bytes, n);
		assert_memory_equal(xattrs_find(&back, "user.one")->value, bytes, sizeof(bytes));
		assert_int_equal(xattrs_find(&back, "user.empty")->length, 0);
		assert_string_equal(xattrs_find(&back, "user.\"q\\\n\xc3\xa4")->value, "v");
		xattrs_finish(&back);
	}
	xattrs_finish(&x);
	buf_finish(&text);
}

static void sets_and_removes(void **state)
{
	struct xattrs x = {0};
	struct buf text = BUF_INIT;
	char name[32];

	assert_int_equal(xattrs_set(&x, "user.a", NULL, 0), -ENODATA);
	assert_int_equal(xattrs_set(&x, "user.a", "1", 1), 0);
	assert_int_equal(xattrs_set(&x, "user.a", "22", 2), 0);
	assert_int_equal(x.count, 1);
	assert_string_equal(xattrs_find(&x, "user.a")->value, "22");
	assert_int_equal(xattrs_set(&x, "user.a", NULL, 0), 0);
	assert_null(xattrs_find(&x, "user.a"));
	assert_int_equal(xattrs_format(&x, &text), 0);
	assert_string_equal(text.data, "");
	for (unsigned k = 0; k < XATTRS_MAX; k++) {
		snprintf(name, sizeof(name), "user.%u", k);
		assert_int_equal(xattrs_set(&x, name, "v", 1), 0);
	}
	assert_int_equal(xattrs_set(&x, "user.more", "v", 1), -ENOSPC);
	xattrs_finish(&x);
	buf_finish(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads),
	    cmocka_unit_test(both_ways),
	    cmocka_unit_test(sets_and_removes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
