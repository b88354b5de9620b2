/* SPDX-License-Identifier: Apache-2.0 */
/* The INI parser: a table of texts, and random bytes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cred_private.h"

static int parse(const char *text, size_t n, struct ini *ret, unsigned *ret_line)
{
	const char *what = "";
	char *copy = malloc(n + 1);
	int err;

	assert_non_null(copy);
	memcpy(copy, text, n);
	copy[n] = '\0';
	err = ini_parse(copy, n, ret, ret_line, &what);
	if (err < 0)
		assert_true(what != NULL && what[0] != '\0');
	return err;
}

static const struct {
	const char *text;
	const char *kind, *section, *block, *name;
	const char *value; /* NULL: none */
} gets[] = {
    {"[default]\nregion = eu-west-1\n", "", "default", NULL, "region", "eu-west-1"},
    {"[default]\nregion=eu-west-1", "", "default", NULL, "region", "eu-west-1"},
    {"[default]\r\nregion = eu-west-1\r\n", "", "default", NULL, "region", "eu-west-1"},
    {"\xef\xbb\xbf[default]\nregion = a\n", "", "default", NULL, "region", "a"},
    {"[profile x]\nregion = a\n", "profile", "x", NULL, "region", "a"},
    {"[profile x]\nregion = a\n", "", "x", NULL, "region", NULL},
    {"[ profile\t x ]  # mine\nregion = a\n", "profile", "x", NULL, "region", "a"},
    {"[profile \"two words\"]\nregion = a\n", "profile", "two words", NULL, "region", "a"},
    {"[profile 'x']\nregion = a\n", "profile", "x", NULL, "region", "a"},
    {"[\"two words\"]\nregion = a\n", "", "two words", NULL, "region", "a"},
    {"[PROFILE X]\nRegion = A\n", "profile", "X", NULL, "region", "A"},
    {"# c\n; c\n\n[a]\n# c\nk = v\n", "", "a", NULL, "k", "v"},
    {"[a]\nk = v # comment\n", "", "a", NULL, "k", "v"},
    {"[a]\nk = v ; comment\n", "", "a", NULL, "k", "v"},
    {"[a]\nk = v#w;x\n", "", "a", NULL, "k", "v#w;x"},
    {"[a]\nk = # nothing\n", "", "a", NULL, "k", ""},
    {"[a]\nk =\n", "", "a", NULL, "k", ""},
    {"[a]\nk = a=b==\n", "", "a", NULL, "k", "a=b=="},
    {"[a]\nk = http://h:1/\n", "", "a", NULL, "k", "http://h:1/"},
    {"[a]\nk: v\n", "", "a", NULL, "k", "v"},
    {"[a]\nk = 1\nk = 2\n", "", "a", NULL, "k", "2"},
    {"[a]\nk = 1\n[b]\nk = 2\n[a]\nj = 3\n", "", "a", NULL, "k", "1"},
    {"[a]\n  k = v\n  l = w\n", "", "a", NULL, "l", "w"},
    {"[a]\ns3 =\n  endpoint_url = http://e\n  b = c\nk = v\n", "", "a", "s3", "endpoint_url",
     "http://e"},
    {"[a]\ns3 =\n  endpoint_url = http://e\n\n  b = c\nk = v\n", "", "a", "s3", "b", "c"},
    {"[a]\ns3 =\n  endpoint_url = http://e\nk = v\n", "", "a", NULL, "k", "v"},
    {"[a]\ns3 =\n  endpoint_url = http://e\n", "", "a", NULL, "endpoint_url", NULL},
    {"[a]\n  s3 =\n    k = in\n  k = out\n", "", "a", "s3", "k", "in"},
    {"[a]\n  s3 =\n    k = in\n  k = out\n", "", "a", NULL, "k", "out"},
    {"[a]\nk = v\n  and more\nl = w\n", "", "a", NULL, "k", "v"},
    {"[a]\nk = v\n  and more\nl = w\n", "", "a", NULL, "l", "w"},
    {"[services x]\ns3 =\n  endpoint_url = http://s\nec2 =\n  endpoint_url = http://t\n",
     "services", "x", "s3", "endpoint_url", "http://s"},
    {"[a]\n\xc3\xa9 = \xff\n", "", "a", NULL, "\xc3\xa9", "\xff"},
    {"", "", "a", NULL, "k", NULL},
    {"[a]", "", "a", NULL, "k", NULL},
};

static void test_gets(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(gets); i++) {
		CLEANUP(ini_finish) struct ini ini = {0};
		unsigned line = 0;
		const char *value;

		if (parse(gets[i].text, strlen(gets[i].text), &ini, &line) != 0)
			fail_msg("%s: line %u is broken", gets[i].text, line);
		value = ini_get(&ini, gets[i].kind, gets[i].section, gets[i].block, gets[i].name);
		if ((value == NULL) != (gets[i].value == NULL) ||
		    (value != NULL && strcmp(value, gets[i].value) != 0))
			fail_msg("%s: got %s", gets[i].text, value != NULL ? value : "nothing");
		if (value != NULL)
			assert_true(ini_has_section(&ini, gets[i].kind, gets[i].section));
	}
}

static const struct {
	const char *text;
	size_t length; /* 0: strlen */
	unsigned line;
} broken[] = {
    {"k = v\n", 0, 1},
    {"\n\n  k = v\n[a]\n", 0, 3},
    {"[a\nk = v\n", 0, 1},
    {"[a]\nnonsense\n", 0, 2},
    {"[a]\ns3 =\n  nonsense\n", 0, 3},
    {"[a]\n= v\n", 0, 2},
    {"[a]\nk = \0v\n", 11, 2},
    {"\0", 1, 1},
};

static void test_broken(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
		CLEANUP(ini_finish) struct ini ini = {0};
		size_t n = broken[i].length > 0 ? broken[i].length : strlen(broken[i].text);
		unsigned line = 0;

		assert_int_equal(parse(broken[i].text, n, &ini, &line), -EINVAL);
		assert_int_equal(line, broken[i].line);
	}
}

static void test_long_line(void **state)
{
	enum { BYTES = 500 * 1000 };
	CLEANUP(free) char *text = malloc(BYTES);
	CLEANUP(ini_finish) struct ini ini = {0};
	unsigned line;
	int n;

	assert_non_null(text);
	n = snprintf(text, BYTES, "[a]\naws_session_token = ");
	memset(text + n, 'x', (size_t)(BYTES - n));
	assert_int_equal(parse(text, BYTES, &ini, &line), 0);
	assert_int_equal(strlen(ini_get(&ini, "", "a", NULL, "aws_session_token")), BYTES - n);
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Whatever the bytes: an answer, and items that lie inside the text and are trimmed. */
static void test_random_bytes(void **state)
{
	static const char alphabet[] = "[]=:#; \t\r\n\n\nab\"'\0\xff[profile s3]";
	uint64_t seed = 0x9e3779b97f4a7c15;

	for (int round = 0; round < 20000; round++) {
		CLEANUP(ini_finish) struct ini ini = {0};
		char text[120];
		size_t n = next_random(&seed) % sizeof(text);
		unsigned line = 0;
		int err;

		for (size_t i = 0; i < n; i++)
			text[i] = round % 4 == 0
				      ? (char)next_random(&seed)
				      : alphabet[next_random(&seed) % (sizeof(alphabet) - 1)];
		err = parse(text, n, &ini, &line);
		assert_true(err == 0 || (err == -EINVAL && line >= 1 && line <= n + 1));
		for (size_t i = 0; i < ini.count; i++) {
			const struct ini_item *item = &ini.items[i];

			assert_non_null(item->section);
			if (item->name == NULL)
				continue;
			assert_true(item->name > ini.text && item->name < ini.text + n);
			assert_true(item->name[0] != '\0' && item->name[0] != ' ');
			assert_true(item->value > ini.text && item->value <= ini.text + n);
			assert_true(item->value[0] != ' ' && item->value[0] != '#');
			assert_non_null(
			    ini_get(&ini, item->kind, item->section, item->block, item->name));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_gets),
	    cmocka_unit_test(test_broken),
	    cmocka_unit_test(test_long_line),
	    cmocka_unit_test(test_random_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
