/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a directory's listing said: pages of names as the server sent them, kept for as long as
 * they may be answered from. A page covers an interval of keys completely, as of one moment.
 */
#ifndef PAILFS_FS_NAMES_H
#define PAILFS_FS_NAMES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include <pailfs/s3.h>

#include "object.h"

#define FOLDER_SUFFIX "_$folder$" /* Hadoop's old directory marker: NAME_$folder$ */

/* A name below the directory; a common prefix has kind NAME_DIR and no slash in its name. */
enum name_kind { NAME_FILE, NAME_DIR };

struct name {
	struct object object; /* NAME_FILE */
	uint32_t offset;      /* of its text in the page's blob */
	uint16_t length;
	uint8_t kind;
};
_Static_assert(sizeof(struct name) <= 48, "there is a million of it");

/* An immutable page; counted by hand with names_page_ref/unref (any thread). */
struct names_page {
	uint32_t refs;	     /* atomic */
	uint64_t fetched_ns; /* it is as fresh as that */
	uint64_t asked_ns;   /* when the request for it was sent */
	char *after;	     /* names up to and with this one are not covered; "" from the start */
	size_t after_length;
	bool last;   /* covers all that follows */
	bool sorted; /* by listing order; else it may not be searched */
	bool has_folder_markers;
	uint32_t count;
	uint32_t hidden; /* names no file system can show: ".", "..", "", too long, NUL */
	size_t bytes;	 /* memory it takes */
	char *blob;
	struct name names[];
};

/* A page from an answer to LIST with delimiter; keys begin with prefix (prefix_length bytes).
 * asked_ns is fetched_ns until the caller says an earlier time. -ENOMEM. */
int names_page_create(const struct s3_page *from, size_t prefix_length, const char *after,
		      size_t after_length, uint64_t fetched_ns, struct names_page **ret);
/* One more reference; returns p. */
struct names_page *names_page_ref(struct names_page *p);
/* One less; the last one frees. NULL is fine. */
void names_page_unref(struct names_page *p);
/* The text of a name (not NUL-terminated). */
const char *name_text(const struct names_page *p, const struct name *n);
/* Listing order of a name against text: a directory sorts as "name/". */
int name_compare(const struct names_page *p, const struct name *n, const char *text, size_t length,
		 enum name_kind kind);
/* True if the page covers the key of that name. */
bool names_page_covers(const struct names_page *p, const char *text, size_t length,
		       enum name_kind kind);
/* The name of that kind; NULL if the page has none. */
const struct name *names_page_find(const struct names_page *p, const char *text, size_t length,
				   enum name_kind kind);

/* What pages said of a name. */
enum names_verdict { NAMES_UNKNOWN, NAMES_ABSENT, NAMES_IS_FILE, NAMES_IS_DIR };

/* The pages of one directory, by key, not overlapping. Under fs's lock. */
struct names_set {
	struct names_page **pages;
	size_t count, capacity;
	size_t bytes;
};

/* Adds a page (taking a reference) and drops those that it overlaps. Unsorted pages are not kept.
 */
void names_set_add(struct names_set *s, struct names_page *page);
/* Drops all pages, or those fetched before since_ns. */
void names_set_drop(struct names_set *s, uint64_t before_ns);
/* The page that covers the key of that name; NULL if none does. Borrowed. */
struct names_page *names_set_page(const struct names_set *s, const char *text, size_t length,
				  enum name_kind kind);
/* The only page, if it covers the whole directory; else NULL. Borrowed. */
struct names_page *names_set_whole(const struct names_set *s);
/* When the page that covers that name was asked for, the older of the two if it may be a file or a
 * directory; UINT64_MAX: none does. */
uint64_t names_set_asked_ns(const struct names_set *s, const char *text, size_t length);
/* Drops what covers that name: it was found to be wrong. */
void names_set_forget(struct names_set *s, const char *text, size_t length);
/*
 * What the set knows of a name, and since when (*ret_fetched_ns: of the older page asked).
 * *ret_name for NAMES_IS_FILE. A file is only known as one when `name/` is covered, too, and
 * absent.
 */
enum names_verdict names_set_find(const struct names_set *s, const char *text, size_t length,
				  const struct name **ret_name, uint64_t *ret_fetched_ns);

#endif
