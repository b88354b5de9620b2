/* SPDX-License-Identifier: Apache-2.0 */
/* pailfs(1), --help and the table of options say the same. */
#include "../test.h"

#include <stdbool.h>
#include <stdio.h>

#include <pailfs/buf.h>
#include <pailfs/options.h>

#define MAN_BYTES_MAX (256 * 1024)

static char *read_file(const char *path)
{
	char *text = calloc(1, MAN_BYTES_MAX);
	FILE *f = fopen(path, "re");
	size_t n;

	assert_non_null(text);
	assert_non_null(f);
	n = fread(text, 1, MAN_BYTES_MAX - 1, f);
	fclose(f);
	assert_true(n > 0 && n < MAN_BYTES_MAX - 1);
	return text;
}

/* The section OPTIONS of the manual page. */
static char *options_section(void)
{
	CLEANUP(free) char *text = read_file(PAILFS_MAN);
	char *begin = strstr(text, "\n.Sh OPTIONS\n");
	char *end;

	assert_non_null(begin);
	end = strstr(begin + 1, "\n.Sh ");
	assert_non_null(end);
	end[1] = '\0';
	return strdup(begin);
}

static char *help(void)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	assert_non_null(f);
	options_print_help(f);
	fclose(f);
	return text;
}

/* The item of an option, head and text; the caller frees it. NULL if there is none. */
static char *item_of(const char *section, const struct option_row *row)
{
	char head[128];
	const char *begin, *end, *list_end;

	snprintf(head, sizeof(head), "\n.It Cm %s%s%s", row->name,
		 row->value != NULL ? " Ns = Ns Ar " : "\n",
		 row->type == OPTION_RATE ? "RATE Ns Op : Ns Ar BURST\n"
		 : row->value != NULL	  ? row->value
					  : "");
	begin = strstr(section, head);
	if (begin == NULL)
		return NULL;
	end = strstr(begin + 1, "\n.It ");
	list_end = strstr(begin + 1, "\n.El\n");
	if (end == NULL || list_end < end)
		end = list_end;
	return strndup(begin, (size_t)(end - begin));
}

static bool names_alias(const char *item, const char *alias)
{
	const char *found = strstr(item, "\nAlso:\n.Cm ");

	while (found != NULL && (found = strstr(found + 1, alias)) != NULL) {
		if (found[-1] == ' ' && strchr(" .\n", found[strlen(alias)]) != NULL)
			return true;
	}
	return false;
}

static void test_the_page_has_every_option(void **state)
{
	CLEANUP(free) char *section = options_section();
	size_t count;
	const struct option_row *rows = options_table(&count);

	for (size_t i = 0; i < count; i++) {
		CLEANUP(free) char *item = item_of(section, &rows[i]);
		char preset[64];

		if (item == NULL)
			fail_msg("pailfs(1) has no item for %s=%s", rows[i].name, rows[i].value);
		snprintf(preset, sizeof(preset), "The default is %s", rows[i].preset);
		if (rows[i].preset != NULL && strstr(item, preset) == NULL)
			fail_msg("%s: no \"%s\"", rows[i].name, preset);
		for (size_t k = 0; k < OPTION_ALIASES_MAX && rows[i].aliases[k] != NULL; k++) {
			if (!names_alias(item, rows[i].aliases[k]))
				fail_msg("%s: no alias %s", rows[i].name, rows[i].aliases[k]);
		}
	}
}

static void test_the_page_has_no_other_option(void **state)
{
	CLEANUP(free) char *section = options_section();
	size_t count, items = 0;

	options_table(&count);
	for (const char *p = section; (p = strstr(p, "\n.It Cm ")) != NULL; p++)
		items++;
	assert_int_equal(items, count);
}

static void test_help_has_every_option(void **state)
{
	CLEANUP(free) char *text = help();
	size_t count;
	const struct option_row *rows = options_table(&count);

	for (size_t i = 0; i < count; i++) {
		char line[256];

		snprintf(line, sizeof(line), "\n  %s%s%s ", rows[i].name,
			 rows[i].value != NULL ? "=" : "",
			 rows[i].value != NULL ? rows[i].value : "");
		if (strstr(text, line) == NULL || strstr(text, rows[i].help) == NULL)
			fail_msg("--help has no line for %s", rows[i].name);
		if (rows[i].preset != NULL) {
			snprintf(line, sizeof(line), "%s [%s]\n", rows[i].help, rows[i].preset);
			assert_non_null(strstr(text, line));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_the_page_has_every_option),
	    cmocka_unit_test(test_the_page_has_no_other_option),
	    cmocka_unit_test(test_help_has_every_option),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
