/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The INI files of AWS (~/.aws/config, ~/.aws/credentials), as its tools read them: `[default]`,
 * `[profile name]`, `name = value` (or `name: value`), lines that begin with # or ; and the rest of
 * a line after a blank and # or ; are comments, and lines that are indented under `s3 =` belong to
 * it. Indented lines under a setting with a value go on with the value in AWS's tools; no setting
 * that is read here has such a value, so they are skipped.
 *
 * The text is cut up in place: items point into it, nothing is copied, and one explicit_bzero of it
 * removes all secrets. Pure: bytes in, items out; any bytes may come.
 *
 * Source: AWS SDKs and Tools Reference Guide, "Shared config and credentials files".
 */
#include "cred_private.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#define ITEMS_AT_FIRST 32

struct parser {
	struct ini *ini;
	unsigned line;
	const char *what;    /* is wrong */
	const char *kind;    /* of the current section; NULL before the first */
	const char *section; /* its name */
	const char *block;   /* the current setting, under which lines may be indented */
	bool block_open;     /* it has no value, so they are settings */
	size_t block_indent_bytes;
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

/* Cuts blanks off both ends, in place. */
static char *trim(char *text)
{
	size_t n;

	while (is_blank(*text))
		text++;
	n = strlen(text);
	while (n > 0 && is_blank(text[n - 1]))
		n--;
	text[n] = '\0';
	return text;
}

static void lower(char *text)
{
	for (; *text != '\0'; text++)
		*text = (char)tolower((unsigned char)*text);
}

/* Cuts a comment off: # or ; at the start or after a blank. */
static void cut_comment(char *text)
{
	for (size_t i = 0; text[i] != '\0'; i++) {
		if ((text[i] == '#' || text[i] == ';') && (i == 0 || is_blank(text[i - 1]))) {
			text[i] = '\0';
			return;
		}
	}
}

static int broken(struct parser *p, const char *what)
{
	p->what = what;
	return -EINVAL;
}

static int add(struct parser *p, const char *block, const char *name, const char *value)
{
	struct ini *ini = p->ini;

	if (ini->count == ini->room) {
		size_t room = ini->room == 0 ? ITEMS_AT_FIRST : 2 * ini->room;
		struct ini_item *items = reallocarray(ini->items, room, sizeof(*items));

		if (items == NULL)
			return -ENOMEM;
		ini->items = items;
		ini->room = room;
	}
	ini->items[ini->count++] = (struct ini_item){
	    .kind = p->kind,
	    .section = p->section,
	    .block = block,
	    .name = name,
	    .value = value,
	    .line = p->line,
	};
	return 0;
}

/* `"my name"` or `'my name'` without the quotes. */
static char *unquote(char *text)
{
	size_t n = strlen(text);

	if (n < 2 || (text[0] != '"' && text[0] != '\'') || text[n - 1] != text[0])
		return text;
	text[n - 1] = '\0';
	return text + 1;
}

/* text: behind the `[`. */
static int parse_section(struct parser *p, char *text)
{
	char *end = strchr(text, ']');
	char *name;

	if (end == NULL)
		return broken(p, "has no ] after its [");
	*end = '\0';
	text = trim(text);
	name = text + strcspn(text, " \t");
	if (*name != '\0') {
		*name++ = '\0';
		name = trim(name);
	}
	p->block = NULL;
	if (*name == '\0' || text[0] == '"' || text[0] == '\'') {
		if (*name != '\0') /* ["two words"]: put it together again */
			name[-1] = ' ';
		p->kind = "";
		p->section = unquote(text);
	} else {
		lower(text);
		p->kind = text;
		p->section = unquote(name);
	}
	return add(p, NULL, NULL, NULL);
}

static int parse_setting(struct parser *p, char *text, size_t indent_bytes)
{
	bool nested = p->block != NULL && indent_bytes > p->block_indent_bytes;
	char *delimiter, *name, *value;

	if (nested && !p->block_open)
		return 0; /* goes on with a value that nobody reads here */
	delimiter = strpbrk(text, "=:");
	if (delimiter == NULL)
		return broken(p, "has no =");
	if (p->kind == NULL)
		return broken(p, "stands before the first [section]");
	*delimiter = '\0';
	name = trim(text);
	if (*name == '\0')
		return broken(p, "has no name before its =");
	lower(name);
	value = delimiter + 1;
	cut_comment(value);
	value = trim(value);
	if (nested)
		return add(p, p->block, name, value);
	p->block = name;
	p->block_open = *value == '\0';
	p->block_indent_bytes = indent_bytes;
	return add(p, NULL, name, value);
}

static int parse_line(struct parser *p, char *line, size_t length)
{
	char *text = line;

	if (memchr(line, '\0', length) != NULL)
		return broken(p, "holds a NUL byte: this is not a text file");
	while (is_blank(*text))
		text++;
	if (*text == '\0' || *text == '#' || *text == ';')
		return 0;
	if (*text == '[')
		return parse_section(p, text + 1);
	return parse_setting(p, text, (size_t)(text - line));
}

int ini_parse(char *text, size_t length, struct ini *ret, unsigned *ret_line, const char **ret_what)
{
	struct parser p = {.ini = ret};
	char *line = text, *end = text + length;
	int err = 0;

	*ret = (struct ini){.text = text, .length = length};
	if (length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		line += 3;
	while (err == 0 && line < end) {
		char *stop = memchr(line, '\n', (size_t)(end - line));

		if (stop == NULL)
			stop = end;
		*stop = '\0';
		p.line++;
		err = parse_line(&p, line, (size_t)(stop - line));
		line = stop + 1;
	}
	if (err < 0) {
		*ret_line = p.line;
		*ret_what = p.what;
	}
	return err;
}

void ini_finish(struct ini *ini)
{
	if (ini == NULL)
		return;
	if (ini->text != NULL)
		explicit_bzero(ini->text, ini->length);
	free(ini->text);
	free(ini->items);
	*ini = (struct ini){0};
}

static bool same(const char *a, const char *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return strcmp(a, b) == 0;
}

const char *ini_get(const struct ini *ini, const char *kind, const char *section, const char *block,
		    const char *name)
{
	for (size_t i = ini->count; i > 0; i--) {
		const struct ini_item *item = &ini->items[i - 1];

		if (item->name != NULL && same(item->kind, kind) && same(item->section, section) &&
		    same(item->block, block) && same(item->name, name))
			return item->value;
	}
	return NULL;
}

bool ini_has_section(const struct ini *ini, const char *kind, const char *section)
{
	for (size_t i = 0; i < ini->count; i++)
		if (ini->items[i].name == NULL && same(ini->items[i].kind, kind) &&
		    same(ini->items[i].section, section))
			return true;
	return false;
}

bool ini_mentions(const struct ini *ini, const char *name)
{
	for (size_t i = 0; i < ini->count; i++)
		if (same(ini->items[i].name, name))
			return true;
	return false;
}
