/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A track: directories that somebody reads file by file, one beside the other, their files numbered
 * throughout for a series. Private to fs/; used by neighbours.c, under fs->lock.
 */
#ifndef PAILFS_FS_TRACK_H
#define PAILFS_FS_TRACK_H

#include "roster.h"
#include "series.h"

#define SEGMENTS_MAX 24

/* A directory of a track. */
struct segment {
	struct inode *dir; /* referenced; NULL: nobody has looked it up yet */
	struct buf prefix; /* dir NULL: of its keys */
	struct roster *roster;
	uint32_t base; /* the series' position of its first file */
};

struct track {
	TAILQ_ENTRY(track) link; /* the one used last is the first */
	struct series series;
	struct segment segments[SEGMENTS_MAX];
	unsigned segment_count;
	struct inode *parent;	       /* of the last segment's directory; referenced */
	struct roster *beside;	       /* parent's directories; NULL: not looked at */
	bool no_place;		       /* it is not known where the last one stands among them */
	struct cache_version *version; /* one that was asked for; NULL: none was */
	uint64_t flow;
	uint64_t used_ns;
};

TAILQ_HEAD(track_list, track);

/* All tracks. */
const struct track_list *neighbours_tracks(const struct fs *fs);
/* Frees what its directories hold. */
void track_finish_locked(struct fs *fs, struct track *t);
/* A directory, the first or a further one; takes the roster over. */
void track_append_locked(struct fs *fs, struct track *t, struct inode *dir, struct roster *r);
/* Takes the last one away again. */
void track_drop_last_locked(struct fs *fs, struct track *t);
/* The last one. */
struct segment *track_last(struct track *t);
/* The position behind its last file. */
uint32_t segment_end(const struct segment *s);
/* True if it is that directory. */
bool segment_is_of(const struct segment *s, const struct inode *dir);
/* Where a file of the directory stands in the series: true with *ret. */
bool track_find(const struct track *t, const struct inode *dir, const char *name, size_t length,
		struct series_position *ret);
/*
 * Appends a directory that the track does not have yet, if it is one of the next after its last one
 * in the order that is followed, or while the series watches in some order: *orders says which.
 */
bool track_enter_locked(struct fs *fs, struct track *t, struct inode *dir, bool *orders);
/* Makes the position one of a segment, appending what comes next as far as its names are known:
 * false if they are not. */
bool track_reach_locked(struct fs *fs, struct track *t, uint32_t at);
/* The segment that has a position. */
const struct segment *track_segment(const struct track *t, uint32_t at);

#endif
