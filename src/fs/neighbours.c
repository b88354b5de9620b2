/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tracks: directories that somebody reads file by file. A track has the names of the directory in
 * both orders (its segments' rosters) and a series, which says whether the opens follow one of them
 * and how far to go ahead. Positions of the series go on from segment to segment: a directory
 * beside the last one is a further segment, when a program goes there, lists it, or before that
 * when a walk's listing (walk.c) has its names.
 *
 * A file that belongs to no track begins one, in a directory that is small or was opened in before:
 * who reads one file in each of many directories pays nothing. The least promising track makes
 * room.
 *
 * Planned under fs->lock, in the thread that opens (FUSE); the GETs are asked for without it.
 * Everything remembered here is a hint: what is asked for is checked against the listing as a
 * lookup would (candidate_locked).
 */
#include "neighbours.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include <pailfs/cleanup.h>

#include "node.h"
#include "track.h"

#define FILE_BYTES_MAX MIB	   /* larger ones have windows of their own */
#define AHEAD_BYTES_MAX (64 * MIB) /* of one track, or an eighth of the memory */
#define TRACKS_MAX 16
#define PLAN_MAX 16    /* GETs that one open starts */
#define LOOKS_MAX 64   /* names that one open looks at */
#define RECENT_MAX 8   /* opens */
#define SMALL_NAMES 64 /* a directory that is sorted at the first open in it */
#define PROVED 8       /* files that make up for a series that failed */
#define IDLE_NS (10 * NS_PER_S)

/* Everything under fs->lock but what never changes. */
struct neighbours {
	/* set at creation */
	struct series_limits limits;
	uint64_t file_bytes_max;
	/* under fs->lock */
	struct track_list tracks;
	unsigned track_count;
	unsigned need;		     /* of a new series: see SERIES_NEED_MIN */
	uint64_t recent[RECENT_MAX]; /* directories that files were opened in */
	unsigned recent_next;
};

/* What is to be asked for, once the lock is released. */
struct plan {
	uint64_t flow;
	unsigned count;
	struct cache_version *versions[PLAN_MAX]; /* referenced */
};

enum candidate { ASK, LEAVE_OUT, NOT_NOW };

int neighbours_create(struct fs *fs, struct neighbours **ret)
{
	const struct fs_config *c = &fs->config;
	struct neighbours *n = calloc(1, sizeof(*n));

	if (n == NULL)
		return -ENOMEM;
	n->limits = (struct series_limits){
	    .files_max = MIN(c->parallel, (unsigned)SERIES_AHEAD_MAX),
	    .bytes_max = MIN(c->memory_bytes / 8, (uint64_t)AHEAD_BYTES_MAX)};
	n->file_bytes_max = MIN(MIN(c->part_bytes, reader_part_share(c->memory_bytes, c->parallel)),
				(uint64_t)FILE_BYTES_MAX);
	n->need = SERIES_NEED_MIN;
	TAILQ_INIT(&n->tracks);
	*ret = n;
	return 0;
}

const struct track_list *neighbours_tracks(const struct fs *fs)
{
	return &fs->neighbours->tracks;
}

/* What it has asked for and nobody has read is not wanted any more. */
static void track_stop_locked(struct fs *fs, struct track *t)
{
	if (t->version == NULL)
		return;
	cache_flow_end(t->version, t->flow, 0);
	cache_version_unref(TAKE(t->version));
	t->flow = xfer_flow_new(fs->xfer);
}

static void track_destroy_locked(struct fs *fs, struct track *t)
{
	struct neighbours *n = fs->neighbours;

	lock_assert_held(&fs->lock);
	if (series_failed(&t->series))
		n->need = MIN(2 * n->need, (unsigned)SERIES_NEED_MAX);
	track_stop_locked(fs, t);
	track_finish_locked(fs, t);
	TAILQ_REMOVE(&n->tracks, t, link);
	n->track_count--;
	free(t);
}

void neighbours_destroy(struct fs *fs)
{
	struct track *t;

	if (fs->neighbours == NULL)
		return;
	lock_acquire(&fs->lock);
	while ((t = TAILQ_FIRST(&fs->neighbours->tracks)) != NULL)
		track_destroy_locked(fs, t);
	lock_release(&fs->lock);
	free(fs->neighbours);
}

/* A name of a directory that has an inode: what a lookup would find. */
static enum candidate look_up_locked(struct fs *fs, const struct inode *dir, const char *text,
				     size_t length, uint64_t now_ns, struct object *ret)
{
	const struct dir_state *d = dir->dir;
	const struct name *n = NULL;
	const struct inode *i;
	uint64_t since_ns = 0;
	enum names_verdict verdict;

	if (d == NULL || dir->retired)
		return NOT_NOW;
	verdict = names_set_find(&d->names, text, length, &n, &since_ns);
	if (verdict == NAMES_UNKNOWN ||
	    now_ns >= time_after(MAX(since_ns, d->last_read_ns), fs->config.metadata_ttl_ns))
		return NOT_NOW;
	if (verdict != NAMES_IS_FILE ||
	    local_find_locked(dir, text, length, names_set_asked_ns(&d->names, text, length)) !=
		LOCAL_NONE)
		return LEAVE_OUT;
	i = inode_find_locked(fs, dir, text, length);
	*ret = n->object;
	if (i != NULL &&
	    (i->delivered || inode_is_written_locked(i) || !inode_agrees_locked(i, ret)))
		return LEAVE_OUT;
	return fs->attrs == NULL || node_type_locked(fs, dir, n, text, false) == S_IFREG
		   ? ASK
		   : LEAVE_OUT;
}

/* What is to be done about the file at a position: with ASK *ret is its version, referenced. */
static enum candidate candidate_locked(struct fs *fs, const struct segment *s,
				       const struct roster_entry *e, uint64_t now_ns,
				       struct cache_version **ret)
{
	CLEANUP(buf_finish) struct buf key = BUF_INIT;
	const char *text = name_text(e->page, e->name);
	enum candidate c = ASK;
	struct object object;
	char etag[S3_ETAG_MAX];
	int rc;

	if (s->dir != NULL) {
		c = look_up_locked(fs, s->dir, text, e->name->length, now_ns, &object);
		rc = inode_key_locked(fs, s->dir, text, e->name->length, &key);
	} else {
		object = e->name->object;
		if (now_ns >= time_after(e->page->fetched_ns, fs->config.metadata_ttl_ns))
			c = NOT_NOW;
		else if (fs->attrs != NULL && object.size <= PATH_MAX)
			c = LEAVE_OUT; /* it may be a link */
		rc = buf_append(&key, s->prefix.data, s->prefix.length);
		if (rc == 0)
			rc = buf_append(&key, text, e->name->length);
	}
	if (c != ASK)
		return c;
	if (rc < 0 || object.size == 0 || object.size > fs->neighbours->file_bytes_max ||
	    object.archived || object.etag.form == ETAG_NONE ||
	    cache_version_get(fs->cache, key.data, key.length, etag_text(&object.etag, etag),
			      object.size, ret) < 0)
		return LEAVE_OUT;
	if (cache_covered(*ret, 0, object.size) < object.size)
		return ASK;
	cache_version_unref(*ret);
	return LEAVE_OUT;
}

/* True if what is asked for now would wait: who opens files faster than they come, or only opens
 * them, would pile up requests and memory. */
static bool is_busy(const struct fs *fs)
{
	return xfer_is_waiting(fs->xfer, XFER_READ) || xfer_is_waiting(fs->xfer, XFER_AHEAD);
}

/* Takes what the series wants next into the plan. */
static void track_plan_locked(struct fs *fs, struct track *t, uint64_t now_ns, struct plan *plan)
{
	const struct neighbours *n = fs->neighbours;
	struct cache_version *v;
	uint32_t at;

	if (!t->series.following || is_busy(fs))
		return;
	for (unsigned looks = 0; looks < LOOKS_MAX && plan->count < PLAN_MAX; looks++) {
		const struct segment *s;
		struct roster_entry e;
		enum candidate c;

		if (!series_next(&t->series, &n->limits, &at) || !track_reach_locked(fs, t, at))
			break;
		s = track_segment(t, at);
		e = roster_at(s->roster, t->series.order, at - s->base);
		c = candidate_locked(fs, s, &e, now_ns, &v);
		if (c == NOT_NOW)
			break;
		if (c == LEAVE_OUT) {
			series_skip(&t->series);
			continue;
		}
		if (!series_ask(&t->series, &n->limits, cache_version_size(v))) {
			cache_version_unref(v);
			break;
		}
		plan->versions[plan->count++] = v;
	}
	plan->flow = t->flow;
	if (plan->count > 0 && t->version == NULL) {
		t->version = plan->versions[0];
		cache_version_ref(t->version);
	}
}

static void plan_carry_out(struct plan *plan)
{
	for (unsigned k = 0; k < plan->count; k++) {
		const struct cache_want want = {.length = cache_version_size(plan->versions[k]),
						.class = XFER_AHEAD,
						.flow = plan->flow};

		cache_want(plan->versions[k], &want);
		cache_version_unref(plan->versions[k]);
	}
}

/* True if a file of the directory was opened lately; notes that one is. */
static bool note_recent_locked(struct neighbours *n, uint64_t dir_ino)
{
	bool found = false;

	for (unsigned k = 0; k < RECENT_MAX; k++)
		found = found || n->recent[k] == dir_ino;
	n->recent[n->recent_next++ % RECENT_MAX] = dir_ino;
	return found;
}

/* A roster of the directory: another track's, or a new one if that is worth while. */
static struct roster *roster_for_locked(struct fs *fs, const struct inode *dir,
					const struct inode *i, bool recent)
{
	const struct dir_state *d = dir->dir;
	struct series_position at;
	struct track *t;

	TAILQ_FOREACH (t, &fs->neighbours->tracks, link)
		for (unsigned k = 0; k < t->segment_count; k++)
			if (segment_is_of(&t->segments[k], dir) &&
			    roster_find(t->segments[k].roster, inode_name(i), i->name_length, &at))
				return roster_ref(t->segments[k].roster);
	if (d == NULL || d->names.count == 0)
		return NULL;
	if (!recent && (d->names.count > 1 || d->names.pages[0]->count > SMALL_NAMES))
		return NULL;
	return roster_create_locked(dir, NAME_FILE, inode_name(i), i->name_length);
}

/* Makes room: a track that watches, the one used longest ago, before those that follow. */
static void drop_one_locked(struct fs *fs)
{
	struct neighbours *n = fs->neighbours;
	struct track *t, *worst = TAILQ_LAST(&n->tracks, track_list);

	if (n->track_count < TRACKS_MAX)
		return;
	TAILQ_FOREACH_REVERSE(t, &n->tracks, track_list, link)
	{
		if (!t->series.following) {
			worst = t;
			break;
		}
	}
	track_destroy_locked(fs, worst);
}

static struct track *track_begin_locked(struct fs *fs, struct inode *dir, const struct inode *i,
					bool recent)
{
	struct neighbours *n = fs->neighbours;
	struct roster *r = roster_for_locked(fs, dir, i, recent);
	struct series_position at;
	struct track *t;

	if (r == NULL || !roster_find(r, inode_name(i), i->name_length, &at) ||
	    (t = calloc(1, sizeof(*t))) == NULL) {
		roster_unref(r);
		return NULL;
	}
	drop_one_locked(fs);
	t->flow = xfer_flow_new(fs->xfer);
	track_append_locked(fs, t, dir, r);
	if (dir->parent != NULL)
		t->parent = inode_ref_locked(dir->parent);
	series_init(&t->series, &at, n->need);
	TAILQ_INSERT_HEAD(&n->tracks, t, link);
	n->track_count++;
	return t;
}

/* An open in a directory that the track has, or that is beside its last one. */
static enum series_open track_open_locked(struct fs *fs, struct track *t, struct inode *dir,
					  const struct inode *i)
{
	const struct series_limits *limits = &fs->neighbours->limits;
	bool orders[SERIES_ORDERS], entered = false, followed = t->series.following;
	struct series_position at;
	enum series_open found = SERIES_ELSEWHERE;

	if (!track_find(t, dir, inode_name(i), i->name_length, &at)) {
		entered = track_enter_locked(fs, t, dir, orders);
		if (!entered)
			return SERIES_ELSEWHERE;
		if (track_find(t, dir, inode_name(i), i->name_length, &at)) {
			for (int o = 0; o < SERIES_ORDERS; o++)
				if (!orders[o])
					at.at[o] = SERIES_NOWHERE;
			found = series_open(&t->series, &at, limits);
		}
		if (found == SERIES_ELSEWHERE)
			track_drop_last_locked(fs, t);
	} else {
		found = series_open(&t->series, &at, limits);
	}
	if (followed && !t->series.following)
		track_stop_locked(fs, t);
	return found;
}

/* Ends what was not used for long, and tells the other tracks of the directory. */
static void disturb_locked(struct fs *fs, const struct inode *dir, uint64_t now_ns)
{
	struct track *t, *next;

	for (t = TAILQ_FIRST(&fs->neighbours->tracks); t != NULL; t = next) {
		next = TAILQ_NEXT(t, link);
		if (now_ns >= t->used_ns + IDLE_NS)
			track_destroy_locked(fs, t);
		else if (segment_is_of(track_last(t), dir))
			series_disturb(&t->series);
	}
}

/* The track that the open belongs to, which has been told; NULL: none. */
static struct track *track_of_locked(struct fs *fs, const struct inode *i, uint64_t now_ns)
{
	struct neighbours *n = fs->neighbours;
	struct inode *dir = i->parent;
	bool recent = note_recent_locked(n, inode_ino(dir));
	enum series_open found = SERIES_ELSEWHERE;
	struct track *t;

	TAILQ_FOREACH (t, &n->tracks, link) {
		found = track_open_locked(fs, t, dir, i);
		if (found != SERIES_ELSEWHERE)
			break;
	}
	if (t == NULL) {
		disturb_locked(fs, dir, now_ns);
		t = track_begin_locked(fs, dir, i, recent);
	}
	if (t == NULL)
		return NULL;
	if (t->series.used == PROVED)
		n->need = SERIES_NEED_MIN;
	t->used_ns = now_ns;
	TAILQ_REMOVE(&n->tracks, t, link);
	TAILQ_INSERT_HEAD(&n->tracks, t, link);
	return t;
}

void neighbours_opened(struct fs *fs, const struct inode *i)
{
	uint64_t now_ns = fs->clock->now_ns(fs->clock);
	struct plan plan = {0};
	struct track *t;

	lock_acquire(&fs->lock);
	if (!i->retired && i->parent != NULL) {
		t = track_of_locked(fs, i, now_ns);
		if (t != NULL)
			track_plan_locked(fs, t, now_ns, &plan);
	}
	lock_release(&fs->lock);
	plan_carry_out(&plan);
}

void neighbours_listed(struct fs *fs, struct inode *dir)
{
	uint64_t now_ns = fs->clock->now_ns(fs->clock);
	bool orders[SERIES_ORDERS];
	struct plan plan = {0};
	struct track *t;

	lock_acquire(&fs->lock);
	TAILQ_FOREACH (t, &fs->neighbours->tracks, link) {
		if (!t->series.following || t->series.next < segment_end(track_last(t)) ||
		    !track_enter_locked(fs, t, dir, orders))
			continue;
		track_plan_locked(fs, t, now_ns, &plan);
		break;
	}
	lock_release(&fs->lock);
	plan_carry_out(&plan);
}
