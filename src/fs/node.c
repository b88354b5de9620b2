/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What nodes show in posix mode, and where it comes from.
 *
 * A file's attributes belong to its version: they are known until another ETag or Last-Modified is
 * seen. A directory's are its marker's, which no listing tells of: they are believed as long as the
 * listing that it is found in, if they were asked for along with it. What this mount has made it
 * knows without asking (own): the first answer that tells the object's real Last-Modified is taken
 * for it, if it is near.
 *
 * Walks: programs that list a directory ask for the attributes of one name after the other. From
 * the third name on that had to be asked for, those behind it in the listing are asked for, too.
 *
 * FUSE threads. Attributes are under fs->lock; nothing is asked under it.
 */
#include "node.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/text.h>

#include "dirty.h"

/* The server's Last-Modified against our clock at the end of a publication. What is later may be
 * another client's change. */
#define OWN_EARLIER_S 2
#define OWN_LATER_S 1
#define WALK_BEGINS 3	   /* names that were asked for one by one */
#define WALK_AHEAD_MIN 16  /* names */
#define WALK_AHEAD_MAX 256 /* beyond what was asked for last */

uint32_t mode_bits(const struct fs *fs, uint32_t mode)
{
	return mode & (fs->config.allow_suid ? 07777u : 01777u);
}

static uint32_t type_of(const struct file_meta *m)
{
	uint32_t type = (m->has & META_HAS_MODE) != 0 ? m->mode & S_IFMT : 0;

	if ((m->has & META_HAS_TARGET) != 0)
		return S_IFLNK;
	return type == 0 || type == S_IFDIR ? S_IFREG : type;
}

enum meta_dialect fs_dialect(const struct fs *fs)
{
	return fs->config.posix_aws ? META_AWS : META_S3FS;
}

void new_meta_locked(const struct fs *fs, const struct inode *parent, mode_t mode,
		     const struct caller *caller, struct file_meta *ret)
{
	struct timespec now;
	struct stat dir;

	clock_gettime(CLOCK_REALTIME, &now);
	attr_of_inode_locked(fs, parent, &dir);
	*ret = (struct file_meta){.has = META_HAS_MODE | META_HAS_UID | META_HAS_GID |
					 META_HAS_MTIME | META_HAS_ATIME | META_HAS_CTIME,
				  .mode = mode_bits(fs, mode) |
					  ((mode & S_IFMT) != 0 ? mode & S_IFMT : S_IFREG),
				  .uid = caller->uid,
				  .gid = caller->gid,
				  .mtime = now,
				  .atime = now,
				  .ctime = now};
	if ((dir.st_mode & S_ISGID) == 0)
		return;
	ret->gid = dir.st_gid; /* the group of a set-group-id directory goes on to what is in it */
	if (S_ISDIR(mode))
		ret->mode |= S_ISGID;
}

/* The length of a target as geesefs stores it: url-encoded. */
static off_t target_length(const char *target)
{
	CLEANUP(free) char *text = malloc(strlen(target) + 1);
	long n = text != NULL ? text_url_decode(target, strlen(target), false, text) : -ENOMEM;

	return n < 0 ? (off_t)strlen(target) : n;
}

void attr_of_meta(const struct fs *fs, const struct file_meta *m, struct stat *st)
{
	bool is_dir = S_ISDIR(st->st_mode);

	if ((m->has & META_HAS_MODE) != 0)
		st->st_mode = mode_bits(fs, m->mode);
	st->st_mode = (st->st_mode & 07777) | (is_dir ? S_IFDIR : type_of(m));
	if ((m->has & META_HAS_UID) != 0)
		st->st_uid = m->uid;
	if ((m->has & META_HAS_GID) != 0)
		st->st_gid = m->gid;
	if ((m->has & META_HAS_MTIME) != 0)
		st->st_mtim = st->st_atim = m->mtime;
	if ((m->has & META_HAS_ATIME) != 0)
		st->st_atim = m->atime;
	if ((m->has & META_HAS_CTIME) != 0)
		st->st_ctim = m->ctime;
	if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode))
		st->st_rdev = (dev_t)m->rdev;
	if ((m->has & META_HAS_TARGET) != 0 && st->st_size == 0)
		st->st_size = target_length(m->target);
}

void inode_meta_locked(const struct fs *fs, const struct inode *i, struct file_meta *ret)
{
	const struct node_attr *a = inode_attr(i);
	struct stat st;

	attr_of_inode_locked(fs, i, &st);
	*ret = (struct file_meta){0};
	if (a != NULL)
		*ret = a->meta;
	ret->has |= META_HAS_MODE | META_HAS_UID | META_HAS_GID | META_HAS_MTIME | META_HAS_CTIME;
	ret->mode = st.st_mode;
	ret->uid = st.st_uid;
	ret->gid = st.st_gid;
	ret->mtime = st.st_mtim;
	ret->ctime = st.st_ctim;
}

void inode_names_changed_locked(struct fs *fs, struct inode *dir)
{
	if (fs->attrs != NULL && inode_dir_locked(fs, dir) != NULL)
		clock_gettime(CLOCK_REALTIME, &dir->dir->modified);
}

/* True if attributes of the version are those that were stored at that time. */
static bool is_of(const struct fs *fs, const struct node_attr *a, const struct object *o)
{
	int64_t between = o->modified_s - a->stored_s;
	uint64_t now_ns = fs->clock->now_ns(fs->clock);

	if (o->modified_s == 0)
		return true;
	if (a->own)
		return between >= -OWN_EARLIER_S && between <= OWN_LATER_S;
	return between == 0 &&
	       (!a->racy || now_ns < time_after(a->asked_ns, fs->config.metadata_ttl_ns));
}

void inode_seen_locked(struct fs *fs, struct inode *i, const struct object *object)
{
	struct node_attr *a = inode_attr(i);

	if (fs->attrs == NULL || i->is_dir || i->dirty != NULL)
		return;
	object_set_modified(&i->object, object_modified(object));
	if (a == NULL)
		return;
	if (!is_of(fs, a, object)) {
		inode_set_attr_locked(i, NULL);
	} else if (a->own && object->modified_s != 0) {
		a->own = false;
		a->stored_s = object->modified_s;
	}
}

int inode_own_attr_locked(struct fs *fs, struct inode *i, const struct file_meta *meta)
{
	struct node_attr *a = node_attr_create(meta);
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (a != NULL) {
		a->own = true;
		a->stored_s = now.tv_sec;
		a->asked_ns = fs->clock->now_ns(fs->clock);
	}
	inode_set_attr_locked(i, a);
	return inode_attr(i) != NULL ? 0 : -ENOMEM;
}

/* True if a directory's attributes were asked for after the listing that it is in. */
static bool is_of_listing_locked(const struct inode *i, const struct node_attr *a)
{
	const struct names_page *page;

	if (i->parent == NULL || i->parent->dir == NULL)
		return false;
	page = names_set_page(&i->parent->dir->names, inode_name(i), i->name_length, NAME_DIR);
	return page != NULL && a->asked_ns >= page->asked_ns;
}

/* A directory's attributes hold as long as the listing that they were asked for with. */
static bool dir_is_fresh_locked(struct fs *fs, const struct inode *i, const struct node_attr *a,
				uint64_t since_ns)
{
	uint64_t from_ns = a->asked_ns;
	uint64_t now_ns = fs->clock->now_ns(fs->clock);

	if (a->asked_ns >= since_ns)
		return true;
	if (is_of_listing_locked(i, a))
		from_ns = MAX(from_ns, i->parent->dir->last_read_ns);
	return now_ns < time_after(from_ns, fs->config.metadata_ttl_ns);
}

static bool is_known_locked(struct fs *fs, struct inode *i, uint64_t since_ns)
{
	const struct node_attr *a = inode_attr(i);

	if (i->is_dir)
		return i == fs->root && fs->prefix_length == 0
			   ? true
			   : a != NULL && dir_is_fresh_locked(fs, i, a, since_ns);
	return i->dirty != NULL || i->unlinked || a != NULL;
}

/* The inode's version and these attributes belong together. */
static bool fits_locked(struct fs *fs, const struct inode *i, const struct node_attr *a,
			uint64_t since_ns)
{
	if (i->is_dir)
		return dir_is_fresh_locked(fs, i, a, since_ns);
	return !a->absent && !a->dir_marker && etag_equal(&a->etag, &i->object.etag) &&
	       is_of(fs, a, &i->object);
}

/* Takes what HEAD said over: 0, or -ESTALE as inode_know. */
static int take_locked(struct fs *fs, struct inode *i, struct node_attr *a)
{
	const struct node_attr *known = inode_attr(i);
	uint32_t type;

	if (i->dirty != NULL || i->unlinked) {
		node_attr_unref(a);
		return 0;
	}
	if (i->is_dir) {
		if (known == NULL || a->asked_ns >= known->asked_ns)
			return inode_set_attr_locked(i, a);
		node_attr_unref(a); /* it was sent before our own change */
		return 0;
	}
	type = type_of(&a->meta);
	if (a->dir_marker) { /* the listing knows it by its size, and the cache by its type */
		inode_retire_locked(fs, i);
		node_attr_unref(a);
		return -ESTALE;
	}
	if (a->absent || !etag_equal(&a->etag, &i->object.etag) ||
	    (i->shown_type != 0 && i->shown_type != type >> 12)) {
		inode_contradict_locked(fs, i);
		node_attr_unref(a);
		return -ESTALE;
	}
	i->shown_type = (uint8_t)(type >> 12);
	if (a->stored_s != i->object.modified_s)
		object_set_modified(&i->object, (struct timespec){.tv_sec = a->stored_s});
	if (known == NULL)
		return inode_set_attr_locked(i, a);
	node_attr_unref(a);
	return 0;
}

/* A directory without `key/` may be one by the type of `key`. */
static int ask_old_marker(struct fs *fs, const struct buf *key, struct node_attr **attr)
{
	CLEANUP(buf_finish) struct buf bare = BUF_INIT;
	struct node_attr *old;
	int rc;

	if (!(*attr)->absent || key->length < 2)
		return 0;
	rc = buf_append(&bare, key->data, key->length - 1);
	if (rc < 0)
		return rc;
	old = attrs_find(fs->attrs, &bare);
	if (old != NULL && old->dir_marker)
		SWAP(*attr, old);
	node_attr_unref(old);
	return 0;
}

/* The key of a name of a page. */
static int key_of_name(struct fs *fs, const struct inode *dir, const struct names_page *p,
		       const struct name *n, struct buf *ret_key)
{
	int rc = inode_key(fs, dir, name_text(p, n), n->length, ret_key);

	return rc == 0 && n->kind == NAME_DIR ? buf_append(ret_key, "/", 1) : rc;
}

/* The page of the parent's listing that has the inode's name, referenced, and where it is there;
 * NULL if it is not known, or no walk goes there. */
static struct names_page *walk_locked(struct inode *i, bool missed, uint32_t *ret_from,
				      uint32_t *ret_to)
{
	struct dir_state *d = i->parent != NULL ? i->parent->dir : NULL;
	struct names_page *page;
	const struct name *n;
	uint32_t at, ahead;

	if (d == NULL)
		return NULL;
	page = names_set_page(&d->names, inode_name(i), i->name_length,
			      i->is_dir ? NAME_DIR : NAME_FILE);
	n = page != NULL ? names_page_find(page, inode_name(i), i->name_length,
					   i->is_dir ? NAME_DIR : NAME_FILE)
			 : NULL;
	if (n == NULL)
		return NULL;
	at = (uint32_t)(n - page->names);
	d->walk_misses = d->walk_page == page->asked_ns ? d->walk_misses + missed : missed;
	if (d->walk_page != page->asked_ns)
		d->walk_next = 0;
	d->walk_page = page->asked_ns;
	if (d->walk_misses < WALK_BEGINS)
		return NULL;
	ahead = MIN(WALK_AHEAD_MIN << MIN(d->walk_misses - WALK_BEGINS, 8u), WALK_AHEAD_MAX);
	*ret_from = d->walk_next > at && d->walk_next <= at + WALK_AHEAD_MAX ? d->walk_next : at;
	*ret_to = MIN(at + ahead, page->count);
	if (*ret_from >= *ret_to)
		return NULL;
	d->walk_next = *ret_to;
	return names_page_ref(page);
}

/* A directory's attributes that were asked for before that have expired, but for those of a
 * listing.
 */
static uint64_t expired_ns(const struct fs *fs)
{
	uint64_t now_ns = fs->clock->now_ns(fs->clock);

	return now_ns - MIN(now_ns, fs->config.metadata_ttl_ns);
}

/* Asks for what a walk through the directory will want next. */
static void walk_ahead(struct fs *fs, struct inode *i, bool missed)
{
	CLEANUP(buf_finish) struct buf key = BUF_INIT;
	struct names_page *page;
	struct inode *parent;
	uint32_t from = 0, to = 0;
	uint64_t dirs_ns;

	lock_acquire(&fs->lock);
	page = walk_locked(i, missed, &from, &to);
	parent = page != NULL ? inode_ref_locked(i->parent) : NULL;
	lock_release(&fs->lock);
	if (page == NULL)
		return;
	dirs_ns = MIN(page->asked_ns, expired_ns(fs));
	for (; from < to; from++)
		if (key_of_name(fs, parent, page, &page->names[from], &key) == 0 &&
		    !attrs_ahead(fs->attrs, &key, page->names[from].kind == NAME_DIR ? dirs_ns : 0))
			break;
	lock_acquire(&fs->lock);
	if (from < to && parent->dir != NULL && parent->dir->walk_page == page->asked_ns)
		parent->dir->walk_next = from;
	inode_unref_locked(fs, parent);
	lock_release(&fs->lock);
	names_page_unref(page);
}

/* The cache's attributes, if they are of this version; else NULL, and *ret_seen (referenced; NULL:
 * not asked for) is what there was. */
static struct node_attr *from_cache(struct fs *fs, struct inode *i, const struct buf *key,
				    uint64_t since_ns, struct node_attr **ret_seen)
{
	struct node_attr *a = attrs_find(fs->attrs, key);
	bool fits;

	if (a == NULL)
		return NULL;
	lock_acquire(&fs->lock);
	fits = fits_locked(fs, i, a, since_ns);
	lock_release(&fs->lock);
	if (fits)
		return a;
	if (ret_seen != NULL)
		*ret_seen = a;
	else
		node_attr_unref(a);
	return NULL;
}

int inode_know(struct fs *fs, struct inode *i, uint64_t since_ns, struct caller *caller)
{
	CLEANUP(buf_finish) struct buf key = BUF_INIT;
	struct node_attr *a, *seen = NULL;
	struct attrs_since since;
	bool known;
	int rc = 0;

	if (fs->attrs == NULL)
		return 0;
	lock_acquire(&fs->lock);
	known = is_known_locked(fs, i, since_ns);
	lock_release(&fs->lock);
	if (known)
		return 0;
	rc = inode_own_key(fs, i, &key);
	if (rc < 0)
		return rc;
	a = from_cache(fs, i, &key, since_ns, &seen);
	walk_ahead(fs, i, a == NULL);
	since = (struct attrs_since){i->is_dir ? MIN(since_ns, expired_ns(fs)) : 0, seen};
	if (a == NULL)
		rc = attrs_ask(fs->attrs, &key, &since, &caller->cancel, &a);
	node_attr_unref(seen);
	if (rc == 0 && i->is_dir)
		rc = ask_old_marker(fs, &key, &a);
	if (rc < 0) {
		node_attr_unref(a);
		return rc;
	}
	SCOPED_LOCK(&fs->lock);
	return take_locked(fs, i, a);
}

bool inode_known_entry(struct fs *fs, struct fs_entry *ret)
{
	CLEANUP(buf_finish) struct buf key = BUF_INIT;
	struct inode *i = inode_from_id(fs, ret->id);
	uint64_t now_ns = fs->clock->now_ns(fs->clock);
	struct node_attr *a = NULL;
	bool known;

	if (fs->attrs == NULL)
		return true;
	lock_acquire(&fs->lock);
	known = is_known_locked(fs, i, now_ns);
	lock_release(&fs->lock);
	if (!known && inode_own_key(fs, i, &key) == 0)
		a = from_cache(fs, i, &key, now_ns, NULL);
	if (!known && a == NULL)
		return false;
	SCOPED_LOCK(&fs->lock);
	if (a != NULL && take_locked(fs, i, a) < 0)
		return false;
	attr_of_inode_locked(fs, i, &ret->attr.st);
	return true;
}

int inode_know_entry(struct fs *fs, uint64_t since_ns, struct caller *caller, struct fs_entry *ret)
{
	struct inode *i;
	int rc;

	if (ret->id == 0 || fs->attrs == NULL)
		return 0;
	i = inode_from_id(fs, ret->id);
	rc = inode_know(fs, i, since_ns, caller);
	if (rc < 0) {
		fs_forget(fs, ret->id, 1);
		return rc == -ESTALE ? -EAGAIN : rc;
	}
	SCOPED_LOCK(&fs->lock);
	attr_of_inode_locked(fs, i, &ret->attr.st);
	return 0;
}

uint32_t node_type_locked(struct fs *fs, const struct inode *dir, const struct name *n,
			  const char *text, bool as_dir)
{
	CLEANUP(buf_finish) struct buf key = BUF_INIT;
	struct node_attr *a = NULL;
	uint32_t type = 0;

	if (as_dir)
		return S_IFDIR;
	if (n->object.size > PATH_MAX) /* no link, no special file */
		return S_IFREG;
	if (inode_key_locked(fs, dir, text, n->length, &key) == 0)
		a = attrs_find(fs->attrs, &key);
	if (a != NULL && !a->absent && etag_equal(&a->etag, &n->object.etag))
		type = a->dir_marker ? S_IFDIR : type_of(&a->meta);
	node_attr_unref(a);
	return type;
}

bool node_is_old_marker_locked(struct fs *fs, const struct inode *dir, const struct name *n,
			       const char *text)
{
	CLEANUP(buf_finish) struct buf key = BUF_INIT;
	struct node_attr *a;
	bool is_marker;

	if (fs->attrs == NULL || n->object.size > 0 ||
	    inode_key_locked(fs, dir, text, n->length, &key) < 0)
		return false;
	a = attrs_find(fs->attrs, &key);
	is_marker = a != NULL && a->dir_marker && etag_equal(&a->etag, &n->object.etag);
	node_attr_unref(a);
	return is_marker;
}
