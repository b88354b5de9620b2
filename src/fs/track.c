/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directories of a track. The next one is found among those of the same parent, in the order
 * that the series follows; its names are known when somebody has listed it, or from a walk's pages.
 * Nothing is asked for here.
 */
#include "track.h"

#include <string.h>

#include <pailfs/cleanup.h>

#include "walk.h"

#define BESIDE_MAX 2 /* directories further on: those between have no files, perhaps */

static void segment_finish_locked(struct fs *fs, struct segment *s)
{
	inode_unref_locked(fs, s->dir);
	buf_finish(&s->prefix);
	roster_unref(s->roster);
}

struct segment *track_last(struct track *t)
{
	return &t->segments[t->segment_count - 1];
}

uint32_t segment_end(const struct segment *s)
{
	return s->base + roster_count(s->roster);
}

bool segment_is_of(const struct segment *s, const struct inode *dir)
{
	return s->dir != NULL ? s->dir == dir : roster_dir(s->roster) == inode_ino(dir);
}

bool track_find(const struct track *t, const struct inode *dir, const char *name, size_t length,
		struct series_position *ret)
{
	for (unsigned k = t->segment_count; k > 0; k--) {
		const struct segment *s = &t->segments[k - 1];

		if (!segment_is_of(s, dir) || !roster_find(s->roster, name, length, ret))
			continue;
		for (int o = 0; o < SERIES_ORDERS; o++)
			if (ret->at[o] != SERIES_NOWHERE)
				ret->at[o] += s->base;
		return true;
	}
	return false;
}

/* Room for one segment more: the one that lies furthest behind goes. */
static struct segment *segment_add_locked(struct fs *fs, struct track *t)
{
	if (t->segment_count == SEGMENTS_MAX) {
		segment_finish_locked(fs, &t->segments[0]);
		t->segment_count--;
		memmove(&t->segments[0], &t->segments[1],
			t->segment_count * sizeof(t->segments[0]));
	}
	return &t->segments[t->segment_count++];
}

/* The name of a segment's directory in its parent; "" of the root. */
static const char *segment_name(const struct segment *s, size_t *ret_length)
{
	const char *end, *slash;

	if (s->dir != NULL) {
		*ret_length = s->dir->name_length;
		return inode_name(s->dir);
	}
	end = s->prefix.data + s->prefix.length - 1; /* at its slash */
	slash = memrchr(s->prefix.data, '/', s->prefix.length - 1);
	slash = slash != NULL ? slash + 1 : s->prefix.data;
	*ret_length = (size_t)(end - slash);
	return slash;
}

/* The directories beside the track's last one: another track's roster, or a new one. */
static struct roster *roster_beside_locked(const struct fs *fs, const struct track *t,
					   const char *name, size_t length)
{
	struct series_position at;
	const struct track *other;

	TAILQ_FOREACH (other, neighbours_tracks(fs), link)
		if (other != t && other->parent == t->parent && other->beside != NULL &&
		    roster_find(other->beside, name, length, &at))
			return roster_ref(other->beside);
	return roster_create_locked(t->parent, NAME_DIR, name, length);
}

/* Where the track's last directory stands among those of its parent. */
static bool find_place_locked(const struct fs *fs, struct track *t, struct series_position *ret)
{
	size_t length;
	const char *name = segment_name(track_last(t), &length);

	if (t->parent == NULL || t->no_place)
		return false;
	if (t->beside != NULL && roster_find(t->beside, name, length, ret))
		return true;
	roster_unref(t->beside);
	t->beside = roster_beside_locked(fs, t, name, length);
	t->no_place = t->beside == NULL || !roster_find(t->beside, name, length, ret);
	return !t->no_place;
}

/*
 * True if the directory is one of the next after the track's last one, in the order that is
 * followed, or in some order (then *orders says which) while the series watches.
 */
static bool is_beside_locked(const struct fs *fs, struct track *t, const struct inode *dir,
			     bool *orders)
{
	struct series_position here, there;
	bool any = false;

	if (dir->parent != t->parent || !find_place_locked(fs, t, &here) ||
	    !roster_find(t->beside, inode_name(dir), dir->name_length, &there))
		return false;
	for (int o = 0; o < SERIES_ORDERS; o++) {
		orders[o] = here.at[o] != SERIES_NOWHERE && there.at[o] > here.at[o] &&
			    there.at[o] - here.at[o] <= BESIDE_MAX;
		any = any || orders[o];
	}
	return t->series.following ? orders[t->series.order] : any;
}

void track_append_locked(struct fs *fs, struct track *t, struct inode *dir, struct roster *r)
{
	uint32_t base = t->segment_count > 0 ? segment_end(track_last(t)) : 0;
	struct segment s = {.roster = r, .base = base};

	if (dir != NULL)
		s.dir = inode_ref_locked(dir);
	*segment_add_locked(fs, t) = s;
}

/* The rest of a directory that has too many names for one roster. */
static bool track_go_on_locked(struct fs *fs, struct track *t)
{
	struct segment *last = track_last(t);
	uint32_t count = roster_count(last->roster);
	struct series_position at;
	struct roster_entry end;
	struct roster *r;

	if (last->dir == NULL || count == 0)
		return false;
	end = roster_at(last->roster, SERIES_LISTED, count - 1);
	r = roster_create_locked(last->dir, NAME_FILE, name_text(end.page, end.name),
				 end.name->length);
	if (r == NULL)
		return false;
	if (!roster_find(r, name_text(end.page, end.name), end.name->length, &at) ||
	    at.at[SERIES_LISTED] + 1 == roster_count(r)) {
		roster_unref(r);
		return false;
	}
	track_append_locked(fs, t, last->dir, r);
	track_last(t)->base -= at.at[SERIES_LISTED] + 1; /* names that the last one has, too */
	return true;
}

/* The names of a directory that nobody has read yet, if they are known. */
static struct roster *roster_ahead_locked(struct fs *fs, struct inode *parent, const char *name,
					  size_t length, struct inode **ret_dir, struct buf *prefix)
{
	struct inode *dir = inode_find_locked(fs, parent, name, length);
	struct names_page *page = NULL;
	struct roster *r = NULL;

	*ret_dir = dir;
	if (dir != NULL && dir->is_dir)
		r = roster_create_locked(dir, NAME_FILE, NULL, 0);
	if (r != NULL && roster_is_whole(r))
		return r;
	roster_unref(r);
	*ret_dir = NULL;
	if (inode_key_locked(fs, parent, name, length, prefix) < 0 ||
	    buf_append(prefix, "/", 1) < 0 ||
	    walk_look_ahead_locked(fs, parent, name, length, prefix, &page) <= 0)
		return NULL;
	r = page->sorted ? roster_of_page(inode_child_hash(parent, name, length), page) : NULL;
	names_page_unref(page);
	return r;
}

/* The next directory in the order that is followed. False: there is none whose names are known. */
static bool track_go_beside_locked(struct fs *fs, struct track *t)
{
	CLEANUP(buf_finish) struct buf prefix = BUF_INIT;
	enum series_order o = t->series.order;
	struct series_position here;
	struct roster_entry next;
	struct inode *dir;
	struct roster *r;

	if (!find_place_locked(fs, t, &here) || here.at[o] == SERIES_NOWHERE ||
	    here.at[o] + 1 >= roster_count(t->beside))
		return false;
	next = roster_at(t->beside, o, here.at[o] + 1);
	r = roster_ahead_locked(fs, t->parent, name_text(next.page, next.name), next.name->length,
				&dir, &prefix);
	if (r == NULL)
		return false;
	track_append_locked(fs, t, dir, r);
	if (dir == NULL)
		SWAP(track_last(t)->prefix, prefix);
	return true;
}

bool track_reach_locked(struct fs *fs, struct track *t, uint32_t at)
{
	for (unsigned looks = 0; looks < SEGMENTS_MAX; looks++) {
		if (at < segment_end(track_last(t)))
			return true;
		if (!(roster_is_whole(track_last(t)->roster) ? track_go_beside_locked(fs, t)
							     : track_go_on_locked(fs, t)))
			return false;
	}
	return false;
}

const struct segment *track_segment(const struct track *t, uint32_t at)
{
	unsigned k = t->segment_count - 1;

	while (k > 0 && at < t->segments[k].base)
		k--;
	return &t->segments[k];
}

bool track_enter_locked(struct fs *fs, struct track *t, struct inode *dir, bool *orders)
{
	struct roster *r;

	for (unsigned k = 0; k < t->segment_count; k++)
		if (segment_is_of(&t->segments[k], dir))
			return false;
	if (!roster_is_whole(track_last(t)->roster) || !is_beside_locked(fs, t, dir, orders))
		return false;
	r = roster_create_locked(dir, NAME_FILE, NULL, 0);
	if (r == NULL)
		return false;
	track_append_locked(fs, t, dir, r);
	return true;
}

void track_drop_last_locked(struct fs *fs, struct track *t)
{
	segment_finish_locked(fs, &t->segments[--t->segment_count]);
}

void track_finish_locked(struct fs *fs, struct track *t)
{
	for (unsigned k = 0; k < t->segment_count; k++)
		segment_finish_locked(fs, &t->segments[k]);
	roster_unref(t->beside);
	inode_unref_locked(fs, t->parent);
}
