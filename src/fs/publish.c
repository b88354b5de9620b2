/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a file under write is published, and what follows.
 *
 * Which FLUSH publishes: one comes with every descriptor that is closed, also with those that dup
 * and fork have made. So one after which a descriptor of the file, with the handle's access mode,
 * is still held by the closing process, its parent, one of its children, or the opener while it
 * lives, publishes nothing. What is still unpublished at RELEASE is published then.
 *
 * A FLUSH from a process that dies of a signal publishes nothing, and RELEASE gives a new or
 * truncated file up: see should_give_up.
 *
 * FUSE threads. No lock is held while the writer works.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>
#include <pailfs/text.h>

#include "conditions.h"
#include "copy.h"
#include "file.h"
#include "gate.h"
#include "node.h"

#define ENTRIES_MAX 4096 /* of /proc that one FLUSH looks at */
#define SHOWN_BYTES 256
/* Posix mode: a stream began with the time of its first byte; a copy in place makes that right. */
#define EXACT_TIME_BYTES (64 * MIB)

/* The object that was published is the inode's from now on; its pages and node stay. */
static void take_over(struct dirty *d, struct published *pub)
{
	struct fs *fs = d->fs;
	uint64_t now_ns = fs->clock->now_ns(fs->clock);
	CLEANUP(buf_finish) struct buf key = BUF_INIT;
	struct file_meta meta;
	struct inode *i;

	lock_acquire(&fs->lock);
	lock_acquire(&d->lock);
	i = d->inode;
	if (i != NULL && fs->attrs != NULL) {
		dirty_posix_meta_locked(d, &meta);
		inode_own_attr_locked(fs, i, &meta);
		if (inode_key_locked(fs, i->parent, inode_name(i), i->name_length, &key) == 0)
			attrs_forget(fs->attrs, &key);
	}
	if (i != NULL) {
		etag_finish(&i->object.etag);
		i->object = (struct object){.size = pub->size, .etag = pub->etag};
		object_set_modified(&i->object, d->modified);
		pub->etag = (struct etag){0};
		inode_moved_on_locked(i);
		i->fresh_until_ns = time_after(now_ns, fs->config.metadata_ttl_ns);
		if (!d->unlinked) {
			local_set_locked(fs, i->parent, inode_name(i), i->name_length, LOCAL_FILE);
			inode_proven_locked(fs, i->parent, now_ns);
		}
	}
	d->condition = PUBLISH_UNCHANGED;
	d->on_server = d->published = true;
	d->killed = false;
	d->epoch++;
	d->wrote_handles = 0;
	lock_release(&d->lock);
	lock_release(&fs->lock);
	etag_finish(&pub->etag);
}

/* Nobody finds the node by its name any more; what S3 has of that name shows again. */
static void retire(struct dirty *d)
{
	struct fs *fs = d->fs;
	struct inode *i;

	SCOPED_LOCK(&fs->lock);
	i = d->inode;
	if (i == NULL || i->retired)
		return;
	inode_retire_locked(fs, i);
	/* readers must not go on with what the pages of the node are not */
	inode_moved_on_locked(i);
	local_unset_locked(i->parent, inode_name(i), i->name_length);
	SCOPED_LOCK(&d->lock);
	d->gone_unsaid = true;
}

/*
 * Tells the kernel of a name that has gone, so that it looks it up again. The kernel locks the
 * directory for that: only where it holds no lock for us, and nobody waits for us who has one.
 */
static void say_gone(struct fs_file *f)
{
	struct fs *fs = f->fs;
	const struct inode *i = f->inode;
	char name[NAME_MAX + 1];
	uint64_t parent_id;
	size_t length;
	bool unsaid;

	if (f->mute)
		return;
	lock_acquire(&fs->lock);
	lock_acquire(&f->dirty->lock);
	unsaid = f->dirty->gone_unsaid;
	f->dirty->gone_unsaid = false;
	lock_release(&f->dirty->lock);
	parent_id = inode_id(fs, i->parent);
	length = i->name_length;
	memcpy(name, inode_name(i), length);
	lock_release(&fs->lock);
	if (unsaid && fs->notify.entry_gone != NULL)
		fs->notify.entry_gone(fs->notify.ctx, parent_id, name, length);
}

/* Nothing of it will be published any more. */
static void fail(struct dirty *d, int err)
{
	lock_acquire(&d->lock);
	d->failed = err;
	lock_release(&d->lock);
	retire(d);
}

void dirty_abort(struct dirty *d, int err)
{
	fail(d, err);
	writer_detach(dirty_writer(d));
}

/* Metadata that was given after the upload had begun: stored by a copy in place. */
static int store_late_meta(struct dirty *d, struct published *pub, const struct dirty_meta *meta,
			   struct cancel *cancel)
{
	CLEANUP(buf_finish) struct buf key = BUF_INIT;
	struct copy_ask ask = {.meta = meta->attr.meta, .meta_count = meta->attr.meta_count};
	char etag[S3_ETAG_MAX];
	struct object object;
	int rc = dirty_key(d, &key);

	if (rc <= 0)
		return rc;
	ask.from = ask.to = &key;
	ask.if_match = etag_text(&pub->etag, etag);
	rc = copy_object(d->fs, &ask, cancel, &object);
	if (rc < 0)
		return rc;
	etag_finish(&pub->etag);
	pub->etag = object.etag;
	return dirty_rebase(d, &object);
}

/* A name that was only opened, without O_EXCL, and that somebody else has made meanwhile: so it
 * exists, which is all that was wanted. */
static bool is_satisfied(struct dirty *d, int rc)
{
	SCOPED_LOCK(&d->lock);
	return rc == -EEXIST && !d->exclusive && !d->written && d->size == 0;
}

static int publication_failed(struct dirty *d, struct caller *caller, int rc, bool final)
{
	bool unlinked;

	lock_acquire(&d->lock);
	unlinked = d->unlinked;
	if (rc == -EINTR && caller != NULL && caller->killed)
		d->killed = true;
	lock_release(&d->lock);
	if (unlinked)
		return 0;
	if (is_satisfied(d, rc)) {
		dirty_abort(d, -ESTALE);
		return 0;
	}
	if (rc == -EEXIST && !d->exclusive)
		rc = -ESTALE;
	if (final || rc != -EINTR)
		fail(d, rc);
	return rc;
}

/* While it is set, what S3 says of the name does not count. */
static void set_settling(struct dirty *d, bool settling)
{
	SCOPED_LOCK(&d->lock);
	d->settling = settling;
}

/* Its object is about to be another one: others may have taken bytes of it (copy_file_range). */
static int detach_takers(struct dirty *d, struct cancel *cancel)
{
	CLEANUP(buf_finish) struct buf key = BUF_INIT;
	int rc = dirty_key(d, &key);

	return rc <= 0 ? rc : writers_detach_source(d->fs->writers, key.data, key.length, cancel);
}

int dirty_publish_entered(struct dirty *d, struct caller *caller)
{
	struct cancel *cancel = caller != NULL ? &caller->cancel : NULL;
	enum publish_condition condition;
	struct honoured unused;
	struct dirty_meta meta = {0};
	struct published pub = {0};
	struct writer *w;
	bool final = false, asked;
	int rc;

	lock_acquire(&d->lock);
	rc = d->failed;
	if (rc == 0 && d->unlinked)
		rc = 1;
	w = d->writer;
	condition = d->condition;
	asked = d->times_given || d->mode_given || d->owner_given ||
		(d->fs->attrs != NULL && d->size <= EXACT_TIME_BYTES);
	lock_release(&d->lock);
	if (rc != 0 || !writer_is_dirty(w))
		return MIN(rc, 0);
	if (condition != PUBLISH_ALWAYS)
		rc = conditions_learn(d->fs, cancel, &unused);
	if (rc == 0)
		rc = dirty_learn(d, cancel);
	if (rc == 0)
		rc = detach_takers(d, cancel);
	if (rc == 0)
		rc = dirty_meta_fill(d, &meta);
	if (rc < 0) {
		dirty_meta_finish(&meta);
		return publication_failed(d, caller, rc, final);
	}
	set_settling(d, true);
	rc = writer_publish(w, condition, &meta.attr, cancel, &pub, &final);
	if (rc == -ENOENT && condition == PUBLISH_UNCHANGED)
		rc = -ESTALE; /* somebody has removed it */
	if (rc < 0) {
		rc = publication_failed(d, caller, rc, final);
	} else {
		if (pub.attr_stale && asked)
			rc = store_late_meta(d, &pub, &meta, cancel);
		take_over(d, &pub);
	}
	set_settling(d, false);
	dirty_meta_finish(&meta);
	return rc;
}

/* The directory of its inode is not moved meanwhile. */
static int dirty_change_begin(struct dirty *d, struct key_change *change, struct cancel *cancel)
{
	struct inode *i;
	int rc;

	lock_acquire(&d->fs->lock);
	i = inode_ref_locked(d->inode != NULL ? d->inode : d->fs->root);
	lock_release(&d->fs->lock);
	rc = change_begin_at(d->fs, change, i, cancel);
	inode_unref(d->fs, i);
	return rc;
}

int dirty_publish(struct dirty *d, struct caller *caller)
{
	struct cancel *cancel = caller != NULL ? &caller->cancel : NULL;
	struct key_change change;
	int rc = dirty_change_begin(d, &change, cancel);

	if (rc == 0) {
		rc = dirty_enter(d, cancel);
		if (rc < 0)
			change_end(d->fs, &change);
	}
	if (rc < 0) {
		lock_acquire(&d->lock);
		d->killed = d->killed || caller->killed;
		lock_release(&d->lock);
		return rc;
	}
	rc = dirty_publish_entered(d, caller);
	dirty_leave(d);
	change_end(d->fs, &change);
	return rc;
}

/* True if somebody who matters still holds a descriptor like the handle's. */
static bool is_still_held(struct fs_file *f, struct process closer,
			  const struct process_state *closing)
{
	struct process_file file = {.access_mode = f->flags & O_ACCMODE};
	unsigned budget = ENTRIES_MAX;

	lock_acquire(&f->fs->lock);
	file.ino = inode_ino(f->inode);
	lock_release(&f->fs->lock);
	file.device = __atomic_load_n(&f->fs->device, __ATOMIC_RELAXED);
	if (closer.pid != 0) {
		if (process_holds(closer.pid, &file, &budget) ||
		    process_holds(closing->parent, &file, &budget) ||
		    process_children_hold(closer.pid, &file, &budget))
			return true;
	}
	return f->opener.pid != closer.pid && process_lives(&f->opener) &&
	       process_holds(f->opener.pid, &file, &budget);
}

/* A failure for good is told to each handle once. */
static int failure_of(struct fs_file *f)
{
	struct dirty *d = f->dirty;

	SCOPED_LOCK(&d->lock);
	if (d->failed == 0 || f->told)
		return 0;
	f->told = true;
	return d->failed;
}

static int told(struct fs_file *f, int rc)
{
	SCOPED_LOCK(&f->dirty->lock);
	f->told = f->told || rc == f->dirty->failed;
	return rc;
}

/* A process dies and leaves this behind. */
static void note_killed(struct dirty *d)
{
	SCOPED_LOCK(&d->lock);
	d->killed = true;
}

/* fs_flush of a handle that may write. */
static int flush(struct fs_file *f, struct caller *caller)
{
	struct process_state closing = {0};
	struct process closer;
	int rc = failure_of(f);

	if (rc < 0 || !writer_is_dirty(dirty_writer(f->dirty)))
		return rc;
	closer = process_of_thread(caller->tid);
	if (closer.pid != 0 && process_state(caller->tid, &closing) < 0)
		closer.pid = 0;
	if (is_still_held(f, closer, &closing))
		return 0;
	if (closer.pid != 0 && process_was_killed(&closing) && !f->fs->config.publish_killed) {
		note_killed(f->dirty); /* RELEASE decides */
		return 0;
	}
	return told(f, dirty_publish(f->dirty, caller));
}

int fs_flush(struct fs_file *f, struct caller *caller)
{
	int rc;

	if (f->dirty == NULL)
		return 0;
	rc = flush(f, caller);
	say_gone(f);
	return rc;
}

int fs_fsync(struct fs_file *f, struct caller *caller)
{
	struct dirty *d;
	int rc;

	if (f->dirty != NULL) {
		rc = failure_of(f);
		return rc < 0 ? rc : told(f, dirty_publish(f->dirty, caller));
	}
	d = dirty_of(f->fs, f->inode);
	rc = d != NULL ? dirty_publish(d, caller) : 0;
	dirty_unref(d);
	return rc;
}

/*
 * A new file, or one that was truncated at open, whose writer was killed: nothing of it is
 * published, unless it is a log (O_APPEND), changes what we published before, or holds what another
 * handle has written, too.
 */
static bool should_give_up(const struct fs_file *f, bool publish)
{
	struct dirty *d = f->dirty;
	unsigned mine;

	SCOPED_LOCK(&d->lock);
	if (d->failed < 0 || d->unlinked)
		return false;
	if (!publish)
		return true;
	mine = f->wrote_epoch == d->epoch;
	return d->killed && !d->appended && !d->published && d->wrote_handles <= mine &&
	       !f->fs->config.publish_killed;
}

static void give_up(struct dirty *d, bool killed)
{
	char shown[SHOWN_BYTES];

	log_warn("%s: %s: %llu bytes are not published", dirty_shown(d, shown, sizeof(shown)),
		 killed ? "its writer was killed" : "still open at the end of the mount",
		 (unsigned long long)writer_size(dirty_writer(d)));
	dirty_abort(d, -ECANCELED);
}

/* Nobody can be told any more. */
static void publish_at_release(struct dirty *d)
{
	char shown[SHOWN_BYTES];
	int failed_before, rc;

	lock_acquire(&d->lock);
	failed_before = d->failed;
	lock_release(&d->lock);
	if (failed_before < 0)
		return;
	rc = dirty_publish(d, NULL);
	if (rc == 0)
		return;
	log_error("%s: closed, but could not be published: %s",
		  dirty_shown(d, shown, sizeof(shown)), strerror(-rc));
	SCOPED_LOCK(&d->fs->lock);
	d->fs->lost_publications++;
}

void file_close_dirty(struct fs_file *f, bool publish)
{
	struct dirty *d = f->dirty;
	struct fs *fs = f->fs;
	bool last;

	lock_acquire(&fs->lock);
	last = d->handles == 1;
	lock_release(&fs->lock);
	if (last && writer_is_dirty(dirty_writer(d))) {
		if (should_give_up(f, publish))
			give_up(d, publish);
		else
			publish_at_release(d);
	}
	say_gone(f);
	lock_acquire(&fs->lock);
	lock_acquire(&d->lock);
	if (f->wrote_epoch == d->epoch)
		d->wrote_handles--;
	lock_release(&d->lock);
	if (--d->handles == 0 && d->inode != NULL)
		dirty_detach_locked(d);
	lock_release(&fs->lock);
	dirty_unref(d);
	f->dirty = NULL;
}
