/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rosters hold references to pages of names, so that they cost a few bytes a name. They are made
 * once a directory that is read file after file, not once an open: sorting 8,192 names takes a few
 * milliseconds.
 */
#include "roster.h"

#include <pailfs/cleanup.h>

struct numbered {
	uint64_t ino;
	uint32_t listed; /* its place in the listing */
};

struct roster {
	unsigned refs;
	uint64_t dir_ino;
	enum name_kind kind;
	bool is_whole;
	struct names_page **pages; /* referenced */
	size_t page_count;
	struct roster_entry *entries; /* as listed */
	uint32_t count;
	struct numbered *numbered; /* by st_ino; NULL: names are missing */
	uint32_t *ranks;	   /* of the entries, in numbered */
};

void roster_unref(struct roster *r)
{
	if (r == NULL || --r->refs > 0)
		return;
	for (size_t k = 0; k < r->page_count; k++)
		names_page_unref(r->pages[k]);
	free(r->pages);
	free(r->entries);
	free(r->numbered);
	free(r->ranks);
	free(r);
}

struct roster *roster_ref(struct roster *r)
{
	r->refs++;
	return r;
}

static void take_page(struct roster *r, struct names_page *page)
{
	r->pages[r->page_count++] = names_page_ref(page);
	r->is_whole = page->last;
	for (uint32_t k = 0; k < page->count; k++)
		if (page->names[k].kind == r->kind)
			r->entries[r->count++] =
			    (struct roster_entry){.page = page, .name = &page->names[k]};
}

static int compare_numbered(const void *a, const void *b)
{
	const struct numbered *x = a, *y = b;

	return (x->ino > y->ino) - (x->ino < y->ino);
}

/* Out of memory: that order is not known. */
static void sort_by_number(struct roster *r)
{
	struct numbered *by = calloc(MAX(r->count, 1U), sizeof(*by));
	uint32_t *ranks = calloc(MAX(r->count, 1U), sizeof(*ranks));

	if (by == NULL || ranks == NULL) {
		free(by);
		free(ranks);
		return;
	}
	for (uint32_t k = 0; k < r->count; k++) {
		const struct roster_entry *e = &r->entries[k];

		by[k] =
		    (struct numbered){.ino = inode_hash_below(
					  r->dir_ino, name_text(e->page, e->name), e->name->length),
				      .listed = k};
	}
	qsort(by, r->count, sizeof(*by), compare_numbered);
	for (uint32_t k = 0; k < r->count; k++)
		ranks[by[k].listed] = k;
	r->numbered = by;
	r->ranks = ranks;
}

static struct roster *create_of(uint64_t dir_ino, enum name_kind kind, struct names_page **pages,
				size_t page_count)
{
	struct roster *r = calloc(1, sizeof(*r));
	size_t names = 0;

	if (r == NULL)
		return NULL;
	r->refs = 1;
	r->dir_ino = dir_ino;
	r->kind = kind;
	for (size_t k = 0; k < page_count; k++)
		names += pages[k]->count;
	r->pages = calloc(page_count, sizeof(struct names_page *));
	r->entries = calloc(MAX(names, (size_t)1), sizeof(*r->entries));
	if (r->pages == NULL || r->entries == NULL) {
		roster_unref(r);
		return NULL;
	}
	for (size_t k = 0; k < page_count; k++)
		take_page(r, pages[k]);
	if (r->is_whole && pages[0]->after_length == 0)
		sort_by_number(r);
	return r;
}

/* The first page to take, and *ret_count, how many. */
static size_t choose_pages(const struct names_set *s, const char *name, size_t length,
			   enum name_kind kind, size_t *ret_count)
{
	size_t first = 0, n, names = 0, total = 0;

	for (n = 0; n < s->count; n++)
		total += s->pages[n]->count;
	if (total > ROSTER_NAMES_MAX && name != NULL)
		while (first < s->count && !names_page_covers(s->pages[first], name, length, kind))
			first++;
	for (n = first; n < s->count && names + s->pages[n]->count <= ROSTER_NAMES_MAX; n++)
		names += s->pages[n]->count;
	*ret_count = n - first;
	return first;
}

struct roster *roster_create_locked(const struct inode *dir, enum name_kind kind, const char *name,
				    size_t length)
{
	const struct dir_state *d = dir->dir;
	size_t first, count;

	if (d == NULL || d->names.count == 0)
		return NULL;
	first = choose_pages(&d->names, name, length, kind, &count);
	return count == 0 ? NULL : create_of(inode_ino(dir), kind, &d->names.pages[first], count);
}

struct roster *roster_of_page(uint64_t dir_ino, struct names_page *page)
{
	return create_of(dir_ino, NAME_FILE, &page, 1);
}

uint64_t roster_dir(const struct roster *r)
{
	return r->dir_ino;
}

uint32_t roster_count(const struct roster *r)
{
	return r->count;
}

bool roster_is_whole(const struct roster *r)
{
	return r->is_whole;
}

bool roster_find(const struct roster *r, const char *name, size_t length,
		 struct series_position *ret)
{
	uint32_t low = 0, high = r->count;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		const struct roster_entry *e = &r->entries[mid];
		int rc = name_compare(e->page, e->name, name, length, r->kind);

		if (rc == 0) {
			ret->at[SERIES_LISTED] = mid;
			ret->at[SERIES_NUMBERED] =
			    r->ranks != NULL ? r->ranks[mid] : SERIES_NOWHERE;
			return true;
		}
		if (rc < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return false;
}

struct roster_entry roster_at(const struct roster *r, enum series_order order, uint32_t at)
{
	bool numbered = order == SERIES_NUMBERED && r->numbered != NULL;

	return r->entries[numbered ? r->numbered[at].listed : at];
}
