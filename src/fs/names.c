/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages of names.
 *
 * Order is the server's: bytes of the key, a common prefix with its slash. So the directory `a`
 * stands behind `a-1` and the object `a` before it, perhaps on different pages: a name is looked
 * for as both. Pages are immutable; sets of pages belong to a directory and are used under fs's
 * lock.
 */
#include "names.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

#include <pailfs/cleanup.h>

const char *name_text(const struct names_page *p, const struct name *n)
{
	return p->blob + n->offset;
}

/* Compares two keys, each a text and, for directories, a slash behind it. */
static int key_compare(const char *a, size_t a_len, enum name_kind a_kind, const char *b,
		       size_t b_len, enum name_kind b_kind)
{
	size_t common = MIN(a_len, b_len);
	int rc = memcmp(a, b, common);
	int next_a, next_b;

	if (rc != 0)
		return rc;
	next_a = a_len > common ? (unsigned char)a[common] : a_kind == NAME_DIR ? '/' : -1;
	next_b = b_len > common ? (unsigned char)b[common] : b_kind == NAME_DIR ? '/' : -1;
	if (next_a != next_b)
		return next_a < next_b ? -1 : 1;
	if (next_a == -1 || a_len == b_len)
		return 0;
	/* one key's slash against the other's text: no name holds a slash, so it cannot be */
	return a_len < b_len ? -1 : 1;
}

int name_compare(const struct names_page *p, const struct name *n, const char *text, size_t length,
		 enum name_kind kind)
{
	return key_compare(name_text(p, n), n->length, n->kind, text, length, kind);
}

/* Names that no directory can show. */
static bool is_unshowable(const char *text, size_t len)
{
	return len == 0 || len > NAME_MAX || (len == 1 && text[0] == '.') ||
	       (len == 2 && text[0] == '.' && text[1] == '.') || memchr(text, '\0', len) != NULL;
}

/* The part of an entry's key below the directory, without a prefix's slash. */
static const char *entry_name(const struct s3_entry *e, size_t prefix_length, size_t *ret_length)
{
	*ret_length = e->key_length - prefix_length - (e->is_prefix ? 1 : 0);
	return e->key + prefix_length;
}

/* The directory's own key; as a common prefix only from a server that is wrong. */
static bool is_own_marker(const struct s3_entry *e, size_t prefix_length)
{
	return e->key_length == prefix_length;
}

static bool ends_in_folder_suffix(const char *text, size_t len)
{
	size_t n = strlen(FOLDER_SUFFIX);

	return len > n && memcmp(text + len - n, FOLDER_SUFFIX, n) == 0;
}

/* A page on its way: S3 gives all objects first, then all common prefixes, each run in order. */
struct page_build {
	struct names_page *page;
	size_t blob_used;
	const struct name *last[2]; /* of each kind */
	bool two_runs;		    /* they are not in order with each other */
};

/* Checks the newest name against those before it; false if it is there already. */
static bool page_order(struct page_build *b, const struct name *n)
{
	struct names_page *p = b->page;
	const struct name *last = b->last[n->kind];
	int order;

	if (p->count > 0 && name_compare(p, n - 1, name_text(p, n), n->length, n->kind) > 0)
		b->two_runs = true;
	order = last == NULL ? -1 : name_compare(p, last, name_text(p, n), n->length, n->kind);
	if (order > 0)
		p->sorted = false;
	if (order == 0)
		return false;
	b->last[n->kind] = n;
	return true;
}

static int page_append(struct page_build *b, const struct s3_entry *e, size_t prefix_length)
{
	struct names_page *p = b->page;
	struct name *n = &p->names[p->count];
	size_t length;
	const char *text = entry_name(e, prefix_length, &length);
	int rc;

	if (is_unshowable(text, length)) {
		p->hidden++;
		return 0;
	}
	*n = (struct name){.offset = (uint32_t)b->blob_used,
			   .length = (uint16_t)length,
			   .kind = e->is_prefix ? NAME_DIR : NAME_FILE};
	memcpy(p->blob + b->blob_used, text, length);
	if (!page_order(b, n))
		return 0;
	rc = object_init(&n->object, e->size, e->modified, e->etag != NULL ? e->etag : "",
			 e->archived);
	if (rc < 0)
		return rc;
	b->blob_used += length;
	if (!e->is_prefix && ends_in_folder_suffix(text, length))
		p->has_folder_markers = true;
	p->count++;
	return 0;
}

static int compare_names(const void *a, const void *b, void *page)
{
	const struct names_page *p = page;
	const struct name *n = b;

	return name_compare(p, a, name_text(p, n), n->length, n->kind);
}

static size_t blob_length(const struct s3_page *from, size_t prefix_length)
{
	size_t sum = 0, length, i;

	for (i = 0; i < from->entry_count; i++) {
		if (is_own_marker(&from->entries[i], prefix_length))
			continue;
		entry_name(&from->entries[i], prefix_length, &length);
		sum += length;
	}
	return sum;
}

int names_page_create(const struct s3_page *from, size_t prefix_length, const char *after,
		      size_t after_length, uint64_t fetched_ns, struct names_page **ret)
{
	size_t head = sizeof(struct names_page) + from->entry_count * sizeof(struct name);
	size_t blob = blob_length(from, prefix_length), i;
	struct names_page *p = calloc(1, head + blob + after_length + 1);
	struct page_build build = {.page = p};
	int rc;

	if (p == NULL)
		return -ENOMEM;
	p->refs = 1;
	p->fetched_ns = fetched_ns;
	p->asked_ns = fetched_ns;
	p->last = !from->truncated;
	p->sorted = true;
	p->bytes = head + blob + after_length + 1;
	p->blob = (char *)p + head;
	p->after = p->blob + blob;
	p->after_length = after_length;
	if (after_length > 0)
		memcpy(p->after, after, after_length);
	for (i = 0; i < from->entry_count; i++) {
		if (is_own_marker(&from->entries[i], prefix_length))
			continue;
		rc = page_append(&build, &from->entries[i], prefix_length);
		if (rc < 0) {
			names_page_unref(p);
			return rc;
		}
	}
	if (build.two_runs && p->sorted)
		qsort_r(p->names, p->count, sizeof(p->names[0]), compare_names, p);
	*ret = p;
	return 0;
}

struct names_page *names_page_ref(struct names_page *p)
{
	__atomic_fetch_add(&p->refs, 1, __ATOMIC_RELAXED);
	return p;
}

void names_page_unref(struct names_page *p)
{
	uint32_t i;

	if (p == NULL || __atomic_sub_fetch(&p->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	for (i = 0; i < p->count; i++)
		etag_finish(&p->names[i].object.etag);
	free(p);
}

bool names_page_covers(const struct names_page *p, const char *text, size_t length,
		       enum name_kind kind)
{
	if (!p->sorted)
		return false;
	if (p->after_length > 0 &&
	    key_compare(text, length, kind, p->after, p->after_length, NAME_FILE) <= 0)
		return false;
	if (p->last)
		return true;
	return p->count > 0 && name_compare(p, &p->names[p->count - 1], text, length, kind) >= 0;
}

const struct name *names_page_find(const struct names_page *p, const char *text, size_t length,
				   enum name_kind kind)
{
	size_t low = 0, high = p->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int rc = name_compare(p, &p->names[mid], text, length, kind);

		if (rc == 0)
			return &p->names[mid];
		if (rc < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

static void set_remove(struct names_set *s, size_t i)
{
	s->bytes -= s->pages[i]->bytes;
	names_page_unref(s->pages[i]);
	memmove(&s->pages[i], &s->pages[i + 1], (s->count - i - 1) * sizeof(s->pages[0]));
	s->count--;
}

/* True if the page begins at or behind the end of `before`. */
static bool begins_behind(const struct names_page *page, const struct names_page *before)
{
	const struct name *end;

	if (before->last)
		return false;
	if (before->count == 0)
		return true;
	end = &before->names[before->count - 1];
	return page->after_length > 0 &&
	       name_compare(before, end, page->after, page->after_length, NAME_FILE) <= 0;
}

/* How many pages lie wholly before `page`. */
static size_t pages_before(const struct names_set *s, const struct names_page *page)
{
	size_t low = 0, high = s->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (begins_behind(page, s->pages[mid]))
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

void names_set_add(struct names_set *s, struct names_page *page)
{
	size_t at;

	if (!page->sorted || (page->count == 0 && !page->last))
		return;
	at = pages_before(s, page);
	while (at < s->count && !begins_behind(s->pages[at], page))
		set_remove(s, at);
	if (s->count == s->capacity) {
		size_t capacity = MAX((size_t)8, s->capacity * 2);
		struct names_page **pages = realloc(s->pages, capacity * sizeof(*pages));

		if (pages == NULL)
			return; /* it is only a cache */
		s->pages = pages;
		s->capacity = capacity;
	}
	memmove(&s->pages[at + 1], &s->pages[at], (s->count - at) * sizeof(s->pages[0]));
	s->pages[at] = names_page_ref(page);
	s->bytes += page->bytes;
	s->count++;
}

void names_set_drop(struct names_set *s, uint64_t before_ns)
{
	size_t i = 0;

	while (i < s->count) {
		if (s->pages[i]->fetched_ns < before_ns)
			set_remove(s, i);
		else
			i++;
	}
	if (s->count == 0) {
		free(s->pages);
		*s = (struct names_set){0};
	}
}

void names_set_forget(struct names_set *s, const char *text, size_t length)
{
	size_t i = 0;

	while (i < s->count) {
		if (names_page_covers(s->pages[i], text, length, NAME_FILE) ||
		    names_page_covers(s->pages[i], text, length, NAME_DIR))
			set_remove(s, i);
		else
			i++;
	}
}

/* The page that covers a key; NULL if none does. */
static const struct names_page *page_of(const struct names_set *s, const char *text, size_t length,
					enum name_kind kind)
{
	size_t low = 0, high = s->count;

	while (low < high) { /* the last page that begins before the key */
		size_t mid = low + (high - low) / 2;
		const struct names_page *p = s->pages[mid];

		if (p->after_length == 0 ||
		    key_compare(p->after, p->after_length, NAME_FILE, text, length, kind) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == 0 || !names_page_covers(s->pages[low - 1], text, length, kind))
		return NULL;
	return s->pages[low - 1];
}

struct names_page *names_set_page(const struct names_set *s, const char *text, size_t length,
				  enum name_kind kind)
{
	return (struct names_page *)(uintptr_t)page_of(s, text, length, kind);
}

struct names_page *names_set_whole(const struct names_set *s)
{
	struct names_page *p = s->count == 1 ? s->pages[0] : NULL;

	return p != NULL && p->last && p->after_length == 0 ? p : NULL;
}

uint64_t names_set_asked_ns(const struct names_set *s, const char *text, size_t length)
{
	const struct names_page *as_dir = page_of(s, text, length, NAME_DIR);
	const struct names_page *as_file = page_of(s, text, length, NAME_FILE);

	return MIN(as_dir != NULL ? as_dir->asked_ns : UINT64_MAX,
		   as_file != NULL ? as_file->asked_ns : UINT64_MAX);
}

enum names_verdict names_set_find(const struct names_set *s, const char *text, size_t length,
				  const struct name **ret_name, uint64_t *ret_fetched_ns)
{
	const struct names_page *as_dir = page_of(s, text, length, NAME_DIR), *as_file;
	const struct name *n;

	if (as_dir != NULL && names_page_find(as_dir, text, length, NAME_DIR) != NULL) {
		*ret_fetched_ns = as_dir->fetched_ns;
		return NAMES_IS_DIR;
	}
	as_file = page_of(s, text, length, NAME_FILE);
	if (as_dir == NULL || as_file == NULL)
		return NAMES_UNKNOWN;
	*ret_fetched_ns = MIN(as_dir->fetched_ns, as_file->fetched_ns);
	n = names_page_find(as_file, text, length, NAME_FILE);
	if (n == NULL)
		return NAMES_ABSENT;
	*ret_name = n;
	return NAMES_IS_FILE;
}
