/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a journal: untrusted text, as any file is. Lines that make no sense are skipped, since
 * the daemon may have died while it wrote one. Pure functions.
 */
#include "journal_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/text.h>

void journal_entries_free(struct journal_entry *entries, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++) {
		free(entries[i].key);
		free(entries[i].id);
	}
	free(entries);
}

/* The bytes of an encoded field, followed by a NUL. */
static char *decode(const char *text, size_t *ret_length)
{
	size_t length = strlen(text);
	char *bytes = malloc(length + 1);
	long n = bytes == NULL ? -1 : text_url_decode(text, length, false, bytes);

	if (n <= 0) {
		free(bytes);
		return NULL;
	}
	bytes[n] = '\0';
	*ret_length = (size_t)n;
	return bytes;
}

struct entries {
	struct journal_entry *items;
	size_t count;
};

static struct journal_entry *find(const struct entries *e, uint64_t number)
{
	size_t i;

	for (i = 0; i < e->count; i++)
		if (e->items[i].entry == number)
			return &e->items[i];
	return NULL;
}

static int add_intent(struct entries *e, uint64_t number, char *fields)
{
	char *key = strchr(fields, ' ');
	struct journal_entry *items, entry = {.entry = number};

	if (key == NULL || find(e, number) != NULL)
		return 0;
	*key++ = '\0';
	if (text_parse_u64(fields, &entry.wall_s) < 0)
		return 0;
	entry.key = decode(key, &entry.key_length);
	if (entry.key == NULL)
		return 0;
	items = reallocarray(e->items, e->count + 1, sizeof(*items));
	if (items == NULL) {
		free(entry.key);
		return -ENOMEM;
	}
	e->items = items;
	e->items[e->count++] = entry;
	return 0;
}

static void set_id(struct entries *e, uint64_t number, const char *text)
{
	struct journal_entry *entry = find(e, number);
	size_t length;

	if (entry == NULL || entry->id != NULL)
		return;
	entry->id = decode(text, &length);
	if (entry->id != NULL && strlen(entry->id) != length)
		free(TAKE(entry->id));
}

static void remove_entry(struct entries *e, uint64_t number)
{
	struct journal_entry *entry = find(e, number);

	if (entry == NULL)
		return;
	free(entry->key);
	free(entry->id);
	*entry = e->items[--e->count];
}

/* One line, without its newline. What cannot be read is skipped. */
static int take_line(struct entries *e, char *line)
{
	char *fields = line[0] != '\0' && line[1] == ' ' ? strchr(line + 2, ' ') : NULL;
	uint64_t number;

	if (fields != NULL)
		*fields++ = '\0';
	if (line[0] == '\0' || line[1] != ' ' || text_parse_u64(line + 2, &number) < 0)
		return 0;
	if (line[0] == 'I' && fields != NULL)
		return add_intent(e, number, fields);
	if (line[0] == 'U' && fields != NULL)
		set_id(e, number, fields);
	if (line[0] == 'E')
		remove_entry(e, number);
	return 0;
}

static bool header_matches(const char *line, const char *place)
{
	CLEANUP(buf_finish) struct buf expected = BUF_INIT;

	if (buf_append_str(&expected, JOURNAL_MAGIC " ") < 0 ||
	    journal_encode(&expected, place, strlen(place)) < 0)
		return false;
	return strcmp(line, expected.data) == 0;
}

int journal_parse(const char *text, size_t length, const char *place, struct journal_entry **ret,
		  size_t *ret_count)
{
	CLEANUP(free) char *copy = malloc(length + 1);
	struct entries e = {0};
	char *line, *end, *limit;
	int rc = 0;

	if (copy == NULL)
		return -ENOMEM;
	memcpy(copy, text, length);
	copy[length] = '\0';
	limit = copy + length;
	end = memchr(copy, '\n', length);
	if (end == NULL)
		return -EINVAL;
	*end = '\0';
	if (!header_matches(copy, place))
		return -EINVAL;
	for (line = end + 1; rc == 0 && line < limit; line = end + 1) {
		end = memchr(line, '\n', (size_t)(limit - line));
		if (end == NULL)
			break; /* the daemon died writing it */
		*end = '\0';
		rc = take_line(&e, line);
	}
	if (rc < 0) {
		journal_entries_free(e.items, e.count);
		return rc;
	}
	*ret = e.items;
	*ret_count = e.count;
	return 0;
}
