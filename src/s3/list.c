/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages of ListObjectsV2, parsed as they arrive on the thread of the loop.
 *
 * All strings go into one buffer (the page's arena) as they come; entries hold their places in it
 * until the page is complete, because the buffer moves as it grows, and because some servers say
 * only at the end whether names are url-encoded. Memory is bounded by the caps of xml.c and
 * S3_LIST_ENTRIES_MAX.
 *
 * An entry that cannot be right is left out and counted, and never hides its siblings. A page that
 * is not whole, or that does not tell how to go on, is an error: a listing is never silently short.
 *
 * Left out: ListObjects version 1, versions, owners. Sorting: entries stay in the server's order
 * (objects, then common prefixes, each sorted, as S3 sends them).
 */
#include "list.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pailfs/text.h>

#include "object.h"
#include "xml.h"

#define FIRST_ENTRIES 64
#define YEAR_10000_S INT64_C(253402300800)
#define NOWHERE SIZE_MAX

/* Where we are: the root's children, or those of an entry. */
enum place { AT_PAGE, IN_OBJECT, IN_PREFIX };

struct entry {
	size_t key; /* places in names; NOWHERE: did not come */
	size_t key_length;
	size_t etag;
	uint64_t size;
	struct timespec modified;
	bool is_prefix, archived;
	bool has_size;
	bool bad; /* some of it cannot be right */
};

struct list {
	const struct s3_op *op;
	struct error_body *error;
	struct xml *xml;
	struct buf names;
	struct entry *entries;
	size_t entry_count, entry_capacity;
	struct entry now; /* the one being read, if place is not AT_PAGE */
	enum place place;
	size_t token; /* NextContinuationToken, a place in names */
	unsigned refused;
	bool is_page; /* the root was ListBucketResult */
	bool truncated, url_encoded, version_1;
	bool bad_text; /* the element being read has characters that had to be left out */
	bool bad_token;
	bool undelimited; /* a key goes on behind the delimiter */
	char why[96];
};

int list_build(struct s3_op *op, struct request *r)
{
	char max_keys[8];

	if (op->max_keys < 1 || op->max_keys > S3_LIST_ENTRIES_MAX)
		return -EINVAL;
	snprintf(max_keys, sizeof(max_keys), "%u", op->max_keys);
	if (op->token)
		request_query(r, "continuation-token", op->token, strlen(op->token));
	if (op->delimiter)
		request_query(r, "delimiter", "/", 1);
	request_query(r, "encoding-type", "url", 3);
	request_query(r, "list-type", "2", 1);
	request_query(r, "max-keys", max_keys, strlen(max_keys));
	if (op->prefix_length > 0)
		request_query(r, "prefix", op->prefix, op->prefix_length);
	if (op->start_after && !op->token)
		request_query(r, "start-after", op->start_after, op->start_after_length);
	return 0;
}

static int fail(struct list *l, int err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static int fail(struct list *l, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(l->why, sizeof(l->why), fmt, ap);
	va_end(ap);
	return err;
}

/* Keeps a text, NUL-terminated; *ret_place is where in names it stands. */
static int keep(struct list *l, const char *text, size_t len, size_t *ret_place)
{
	size_t place = l->names.length;
	int r = buf_append(&l->names, text, len + 1);

	if (r == 0)
		*ret_place = place;
	return r;
}

static int open_entry(struct list *l, enum place place)
{
	l->place = place;
	l->now = (struct entry){.key = NOWHERE, .etag = NOWHERE, .is_prefix = place == IN_PREFIX};
	if (l->entry_count + l->refused >= S3_LIST_ENTRIES_MAX)
		return fail(l, -EMSGSIZE, "more than %d entries on a page", S3_LIST_ENTRIES_MAX);
	return 0;
}

static int close_entry(struct list *l)
{
	l->place = AT_PAGE;
	if (l->now.bad || l->now.key == NOWHERE || (!l->now.is_prefix && !l->now.has_size)) {
		l->refused++;
		return 0;
	}
	if (l->entry_count == l->entry_capacity) {
		size_t capacity = l->entry_capacity ? 2 * l->entry_capacity : FIRST_ENTRIES;
		struct entry *bigger = realloc(l->entries, capacity * sizeof(*bigger));

		if (!bigger)
			return -ENOMEM;
		l->entries = bigger;
		l->entry_capacity = capacity;
	}
	l->entries[l->entry_count++] = l->now;
	return 0;
}

static int on_start(void *ctx, unsigned depth, const char *name)
{
	struct list *l = ctx;

	l->bad_text = false;
	if (depth == 1) {
		l->is_page = !strcmp(name, "ListBucketResult");
		l->error->found = !strcmp(name, "Error");
	} else if (depth == 2 && l->is_page) {
		if (!strcmp(name, "Contents"))
			return open_entry(l, IN_OBJECT);
		if (!strcmp(name, "CommonPrefixes"))
			return open_entry(l, IN_PREFIX);
	}
	return 0;
}

static void read_modified(struct entry *e, const char *text)
{
	if (text_parse_iso8601(text, &e->modified) < 0 || e->modified.tv_sec < 0 ||
	    e->modified.tv_sec >= YEAR_10000_S)
		e->modified = (struct timespec){0};
}

static void read_size(struct entry *e, const char *text, size_t len)
{
	e->has_size = text_parse_u64n(text, len, &e->size) == 0 && e->size <= INT64_MAX;
}

static int read_etag(struct list *l, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		l->now.bad = l->now.bad || (unsigned char)text[i] < 0x20 || text[i] == 0x7f;
	l->now.bad = l->now.bad || len >= S3_ETAG_MAX;
	return keep(l, text, len, &l->now.etag);
}

static int read_key(struct list *l, const char *text, size_t len)
{
	l->now.key_length = len;
	return keep(l, text, len, &l->now.key);
}

static int object_element(struct list *l, const char *name, const char *text, size_t len)
{
	if (!strcmp(name, "Key"))
		return read_key(l, text, len);
	if (!strcmp(name, "LastModified"))
		read_modified(&l->now, text);
	else if (!strcmp(name, "ETag"))
		return read_etag(l, text, len);
	else if (!strcmp(name, "Size"))
		read_size(&l->now, text, len);
	else if (!strcmp(name, "StorageClass"))
		l->now.archived = object_is_archive_class(text);
	return 0;
}

static int page_element(struct list *l, const char *name, const char *text, size_t len)
{
	if (!strcmp(name, "IsTruncated"))
		l->truncated = !strcmp(text, "true");
	else if (!strcmp(name, "EncodingType"))
		l->url_encoded = !strcmp(text, "url");
	else if (!strcmp(name, "Marker") || !strcmp(name, "NextMarker"))
		l->version_1 = true;
	else if (!strcmp(name, "NextContinuationToken") && len > 0) {
		l->bad_token = l->bad_text;
		return keep(l, text, len, &l->token);
	}
	return 0;
}

static int on_end(void *ctx, unsigned depth, const char *name, const char *text, size_t len)
{
	struct list *l = ctx;

	if (l->error->found && depth == 2)
		error_body_element(l->error, name, text, len);
	if (!l->is_page || depth < 2 || depth > 3)
		return 0;
	if (depth == 2)
		return l->place == AT_PAGE ? page_element(l, name, text, len) : close_entry(l);
	if (l->place == IN_OBJECT)
		return object_element(l, name, text, len);
	if (l->place == IN_PREFIX && !strcmp(name, "Prefix"))
		return read_key(l, text, len);
	return 0;
}

static void on_bad(void *ctx)
{
	struct list *l = ctx;

	l->bad_text = true;
	l->now.bad = true; /* harmless between entries: the next one begins afresh */
}

static int on_too_long(void *ctx)
{
	struct list *l = ctx;

	return l->error->found ? 0 : fail(l, -EMSGSIZE, "a name is too long");
}

struct list *list_create(const struct s3_op *op, struct error_body *error)
{
	static const struct xml_events events = {on_start, on_end, on_bad, on_too_long};
	struct list *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->op = op;
	l->error = error;
	l->token = NOWHERE;
	l->xml = xml_create(&events, l, S3_XML_BYTES_MAX);
	if (!l->xml) {
		free(l);
		return NULL;
	}
	return l;
}

void list_destroy(struct list *l)
{
	if (!l)
		return;
	xml_destroy(l->xml);
	buf_finish(&l->names);
	free(l->entries);
	free(l);
}

int list_push(struct list *l, const void *bytes, size_t n)
{
	int r = xml_push(l->xml, bytes, n);

	return l->error->found ? 0 : r; /* of an <Error>, what could be read counts */
}

const char *list_error(const struct list *l)
{
	return l->why[0] ? l->why : xml_error(l->xml);
}

/*
 * True if the key ends where the delimiter cuts it: an object's has none behind what was asked for,
 * a prefix only one, at its end.
 */
static bool is_cut(const struct s3_op *op, const struct entry *e, const char *key)
{
	size_t rest = e->key_length - op->prefix_length - (e->is_prefix ? 1 : 0);

	return memchr(key + op->prefix_length, '/', rest) == NULL;
}

/* Decodes the entry's key in its place and holds it against what was asked for. */
static bool settle_key(struct list *l, struct entry *e)
{
	const struct s3_op *op = l->op;
	char *key = l->names.data + e->key;

	if (l->url_encoded) {
		long n = text_url_decode(key, e->key_length, true, key);

		if (n < 0)
			return false;
		e->key_length = (size_t)n;
		key[n] = '\0';
	}
	if (e->key_length == 0 || e->key_length > S3_KEY_MAX || e->key_length < op->prefix_length ||
	    memcmp(key, op->prefix, op->prefix_length) != 0)
		return false;
	if (e->is_prefix &&
	    (!op->delimiter || e->key_length == op->prefix_length || key[e->key_length - 1] != '/'))
		return false;
	l->undelimited = l->undelimited || (op->delimiter && !is_cut(op, e, key));
	return true;
}

static int check_next(struct list *l)
{
	if (!l->truncated)
		return 0;
	if (l->token == NOWHERE && l->version_1)
		return fail(l, -EPROTO,
			    "the server speaks only version 1 of ListObjects "
			    "(no NextContinuationToken)");
	if (l->token == NOWHERE || l->bad_token)
		return fail(l, -EPROTO, "a truncated page without a usable token for the next");
	if (l->op->token && !strcmp(l->op->token, l->names.data + l->token))
		return fail(l, -EPROTO, "the page's token leads to the same page again");
	return 0;
}

static void fill_page(struct list *l, struct s3_entry *entries, struct s3_page *page)
{
	char *names = l->names.data;

	*page = (struct s3_page){
	    .entries = entries,
	    .truncated = l->truncated,
	    .next_token = l->truncated ? names + l->token : NULL,
	    .refused = l->refused,
	};
	for (size_t i = 0; i < l->entry_count; i++) {
		struct entry *e = &l->entries[i];

		if (!settle_key(l, e)) {
			page->refused++;
			continue;
		}
		entries[page->entry_count++] = (struct s3_entry){
		    .key = names + e->key,
		    .key_length = e->key_length,
		    .is_prefix = e->is_prefix,
		    .size = e->size,
		    .modified = e->modified,
		    .etag = e->etag == NOWHERE ? "" : names + e->etag,
		    .archived = e->archived,
		};
	}
	page->arena = names;
	l->names = (struct buf)BUF_INIT;
}

int list_end(struct list *l, struct s3_page *ret_page)
{
	struct s3_entry *entries;
	int r = xml_end(l->xml);

	if (l->error->found && l->error->code[0])
		return -EBADMSG;
	if (r < 0)
		return r;
	if (!l->is_page)
		return fail(l, -EILSEQ, "the answer is no ListBucketResult");
	r = check_next(l);
	if (r < 0)
		return r;
	entries = calloc(MAX(l->entry_count, (size_t)1), sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	fill_page(l, entries, ret_page);
	if (!l->undelimited)
		return 0;
	s3_page_finish(ret_page);
	return fail(l, -EPROTO, "the server ignores the delimiter");
}
