/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files (or the directories) in a directory in two orders, made from pages of its listing: see
 * series.h. Only to foresee what is read next: names may be gone by now, and new ones missing.
 * Private to fs/; under fs->lock.
 */
#ifndef PAILFS_FS_ROSTER_H
#define PAILFS_FS_ROSTER_H

#include "inode.h"
#include "series.h"

/* Names beyond it are not looked at; so many are sorted in a moment. */
#define ROSTER_NAMES_MAX 8192

struct roster;

struct roster_entry {
	const struct names_page *page;
	const struct name *name;
};

/*
 * Of what is known of the directory's listing: all of it, or if it has too many names, from the
 * page that covers that name on (NULL: of the first). NULL: nothing is known of that, or no memory.
 */
struct roster *roster_create_locked(const struct inode *dir, enum name_kind kind, const char *name,
				    size_t length);
/* Of one page, which is the whole listing of the directory with that st_ino. NULL: no memory. */
struct roster *roster_of_page(uint64_t dir_ino, struct names_page *page);
/* One more reference; returns r. */
struct roster *roster_ref(struct roster *r);
/* One less. NULL is fine. */
void roster_unref(struct roster *r);
/* st_ino of the directory. */
uint64_t roster_dir(const struct roster *r);
/* How many names there are. */
uint32_t roster_count(const struct roster *r);
/* True if the roster has the listing's end. */
bool roster_is_whole(const struct roster *r);
/* Where a name stands: true with *ret. */
bool roster_find(const struct roster *r, const char *name, size_t length,
		 struct series_position *ret);
/* The name at a position, less than roster_count. */
struct roster_entry roster_at(const struct roster *r, enum series_order order, uint32_t at);

#endif
