/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names to inodes, and how long an answer holds.
 *
 * A lookup is answered, in this order, from the inode while it is fresh; from the directory's
 * listing until metadata_ttl after the directory was last read; from a new list page, when there is
 * none that holds and many names are asked for; else by asking S3 for the name. A lookup that
 * comes while the kernel's entry is still valid was forced (O_EXCL, a rename's target) and goes to
 * S3.
 *
 * FUSE threads; fs->lock is held for the tables only, never while S3 is asked.
 */
#include "inode.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>

#include "node.h"

#define LATELY_NS (10 * NS_PER_S)
#define UNUSED_PAGES_MAX 2
#define TRY_A_PAGE_AGAIN 64 /* after so many lookups by name */

/* One lookup on its way. */
struct lookup {
	struct fs *fs;
	struct inode *parent; /* referenced */
	const char *name;
	size_t length;
	struct caller *caller;
	uint64_t now_ns; /* when it began */
};

static int fill_locked(struct lookup *l, const struct object *object, uint64_t until_ns,
		       struct fs_entry *ret)
{
	struct inode *i =
	    inode_refresh_locked(l->fs, l->parent, l->name, l->length, object, until_ns);

	if (i == NULL)
		return -ENOMEM;
	inode_fill_entry_locked(l->fs, i, l->now_ns, until_ns, ret);
	inode_unref_locked(l->fs, i);
	return 0;
}

/* A name that is not there: -ENOENT, or a negative entry if the kernel may keep it. */
static int fill_negative(const struct fs *fs, struct fs_entry *ret)
{
	if (fs->config.negative_ttl_ns == 0)
		return -ENOENT;
	*ret = (struct fs_entry){.entry_ttl_ns = fs->config.negative_ttl_ns};
	return 0;
}

/* The listing has no such name, as of since_ns: as from_listing_locked. */
static int absent_from_listing_locked(struct lookup *l, uint64_t since_ns, struct fs_entry *ret)
{
	struct fs *fs = l->fs;
	uint64_t until_ns = time_after(since_ns, fs->config.negative_ttl_ns);

	if (l->now_ns >= until_ns || __atomic_load_n(&fs->folder_markers, __ATOMIC_RELAXED))
		return 0;
	local_note_absent_locked(fs, l->parent, l->name, l->length, since_ns);
	*ret = (struct fs_entry){.entry_ttl_ns = time_left(until_ns, l->now_ns)};
	return 1;
}

/*
 * What the listing said at since_ns; it may be answered until until_ns. Where it contradicts an
 * answer that came later, S3 is asked: as from_listing_locked.
 */
static int fill_from_listing_locked(struct lookup *l, const struct object *object,
				    uint64_t since_ns, uint64_t until_ns, struct fs_entry *ret)
{
	const struct inode *i = inode_find_locked(l->fs, l->parent, l->name, l->length);
	int rc;

	if (i != NULL && !inode_agrees_locked(i, object) &&
	    i->fresh_until_ns > time_after(since_ns, l->fs->config.metadata_ttl_ns))
		return 0;
	rc = fill_locked(l, object, until_ns, ret);
	return rc < 0 ? rc : 1;
}

/* What the directory's listing knows: 1 with *ret, 0 if nothing that still holds, or -errno. */
static int from_listing_locked(struct lookup *l, struct fs_entry *ret)
{
	const struct dir_state *d = l->parent->dir;
	const struct name *n = NULL;
	enum names_verdict verdict;
	const struct inode *i;
	uint64_t since_ns = 0, until_ns;

	if (d == NULL ||
	    local_find_locked(l->parent, l->name, l->length,
			      names_set_asked_ns(&d->names, l->name, l->length)) != LOCAL_NONE)
		return 0;
	verdict = names_set_find(&d->names, l->name, l->length, &n, &since_ns);
	until_ns = time_after(MAX(since_ns, d->last_read_ns), l->fs->config.metadata_ttl_ns);
	if (verdict == NAMES_UNKNOWN || l->now_ns >= until_ns)
		return 0;
	if (verdict == NAMES_ABSENT) {
		i = inode_find_locked(l->fs, l->parent, l->name, l->length);
		if (i != NULL && i->is_dir && inode_is_kept_locked(i))
			return 0;
		return absent_from_listing_locked(l, since_ns, ret);
	}
	if (verdict == NAMES_IS_DIR || node_is_old_marker_locked(l->fs, l->parent, n, l->name))
		return fill_from_listing_locked(l, NULL, since_ns, until_ns, ret);
	return fill_from_listing_locked(l, &n->object, since_ns, until_ns, ret);
}

/* Notes a lookup that the inode did not answer: the time of the fourth last one. */
static uint64_t note_asked_locked(struct lookup *l, struct dir_state *d)
{
	uint64_t first_ns = d->asked_ns[d->asked_next];

	d->asked_ns[d->asked_next] = l->now_ns;
	d->asked_next = (d->asked_next + 1) % LOOKUPS_FOR_A_PAGE;
	return first_ns;
}

/* Memory's answer: 1 with *ret, 0 if S3 must be asked, or -errno. */
static int from_memory_locked(struct lookup *l, struct fs_entry *ret)
{
	struct inode *i = inode_find_locked(l->fs, l->parent, l->name, l->length);
	int rc;

	if (i != NULL && inode_is_written_locked(i)) {
		inode_fill_entry_locked(l->fs, i, l->now_ns,
					time_after(l->now_ns, l->fs->config.metadata_ttl_ns), ret);
		return 1;
	}
	if (i != NULL && l->now_ns < i->entry_until_ns && i->lookups > 0)
		return 0; /* forced */
	if (i != NULL && l->now_ns < i->fresh_until_ns) {
		inode_fill_entry_locked(l->fs, i, l->now_ns, i->fresh_until_ns, ret);
		return 1;
	}
	rc = from_listing_locked(l, ret);
	if (rc == 1) {
		l->parent->dir->unused_pages = 0;
		note_asked_locked(l, l->parent->dir);
	}
	return rc;
}

/*
 * True if one page can tell of the whole directory, which was listed (or made) a while ago, and
 * more than a HEAD would: rm -r, cp -r and the like ask for a name after the other. A name that was
 * not there is asked for by itself where the next such one would be, too.
 */
static bool is_renewed_by_a_page_locked(const struct lookup *l, const struct dir_state *d)
{
	const struct name *unused_name;
	uint64_t unused_ns;

	return names_set_whole(&d->names) != NULL &&
	       (l->fs->config.negative_ttl_ns > 0 ||
		names_set_find(&d->names, l->name, l->length, &unused_name, &unused_ns) !=
		    NAMES_ABSENT);
}

/*
 * Notes a lookup that goes to S3; true if a list page is worth more than a HEAD a name: many names
 * of the directory were asked for lately, or one page has them all; and pages have answered further
 * lookups (names at random in a huge directory would pay a thousand names for one). One at a time:
 * what it tells may be of use to the next lookup.
 */
static bool wants_page_locked(struct lookup *l)
{
	struct dir_state *d = inode_dir_locked(l->fs, l->parent);
	uint64_t first_ns, lately_ns = MAX(l->fs->config.metadata_ttl_ns, LATELY_NS);
	bool many;

	if (d == NULL || l->fs->config.metadata_ttl_ns == 0)
		return false;
	first_ns = note_asked_locked(l, d);
	many = first_ns != 0 && l->now_ns < time_after(first_ns, lately_ns);
	if (d->paging || (!many && !is_renewed_by_a_page_locked(l, d)))
		return false;
	if (d->unused_pages >= UNUSED_PAGES_MAX && ++d->skipped % TRY_A_PAGE_AGAIN != 0)
		return false;
	d->paging = true;
	d->unused_pages++;
	return true;
}

/*
 * A key that sorts just before the name's, so that a page behind it begins with the name: the last
 * character lowered by one, and a high one behind. False where that is no printable ASCII.
 */
static bool key_before(const struct buf *key, struct buf *ret)
{
	unsigned char last = (unsigned char)key->data[key->length - 1];

	if (last <= 0x21 || last >= 0x7f || key->length + 2 > S3_KEY_MAX || last - 1 == '/')
		return false;
	buf_clear(ret);
	if (buf_append(ret, key->data, key->length) < 0)
		return false;
	ret->data[ret->length - 1] = (char)(last - 1);
	return buf_append(ret, "~~", 2) == 0;
}

/* S3 has no such name. */
static int found_nothing_locked(struct lookup *l, uint64_t until_ns, struct fs_entry *ret)
{
	struct inode *i = inode_find_locked(l->fs, l->parent, l->name, l->length);

	if (i != NULL && i->is_dir && inode_is_kept_locked(i))
		return fill_locked(l, NULL, until_ns, ret);
	if (i != NULL)
		inode_retire_locked(l->fs, i);
	local_note_absent_locked(l->fs, l->parent, l->name, l->length, l->now_ns);
	return fill_negative(l->fs, ret);
}

/*
 * The listing that was just asked for has no such name: as an answer about the name itself, it need
 * not come from memory. As from_listing_locked.
 */
static int absent_by_now_locked(struct lookup *l, struct fs_entry *ret)
{
	const struct dir_state *d = l->parent->dir;
	const struct inode *i = inode_find_locked(l->fs, l->parent, l->name, l->length);
	const struct name *n = NULL;
	uint64_t since_ns = 0;
	uint64_t until_ns = time_after(l->now_ns, l->fs->config.metadata_ttl_ns);
	int rc;

	if (d == NULL || names_set_asked_ns(&d->names, l->name, l->length) == UINT64_MAX ||
	    names_set_asked_ns(&d->names, l->name, l->length) < l->now_ns ||
	    names_set_find(&d->names, l->name, l->length, &n, &since_ns) != NAMES_ABSENT ||
	    local_find_locked(l->parent, l->name, l->length, l->now_ns) != LOCAL_NONE ||
	    __atomic_load_n(&l->fs->folder_markers, __ATOMIC_RELAXED) ||
	    (i != NULL && inode_is_written_locked(i)))
		return 0;
	rc = found_nothing_locked(l, until_ns, ret);
	return rc < 0 ? rc : 1;
}

/* True if the directory's names were all on one page when they were listed last. */
static bool fits_one_page(struct lookup *l)
{
	SCOPED_LOCK(&l->fs->lock);
	return names_set_whole(&l->parent->dir->names) != NULL;
}

/* Renews the listing by one page, of the whole directory or from the name on, and takes the answer
 * from it: as from_listing. */
static int from_new_page(struct lookup *l, const struct buf *key, size_t dir_key_length,
			 struct fs_entry *ret)
{
	CLEANUP(buf_finish) struct buf before = BUF_INIT;
	const struct clock *clock = l->fs->clock;
	struct names_page *page = NULL;
	uint64_t asked_ns = clock->now_ns(clock);
	struct xfer_op op;
	int rc;

	if (fits_one_page(l))
		rc = buf_append(&before, key->data, dir_key_length); /* the marker, or nothing */
	else
		rc = key_before(key, &before) ? 0 : -EINVAL;
	if (rc < 0)
		return 0;
	xfer_op_init(&op, S3_LIST, XFER_META);
	op.s3.prefix = key->data;
	op.s3.prefix_length = dir_key_length;
	op.s3.delimiter = true;
	op.s3.max_keys = S3_LIST_ENTRIES_MAX;
	op.s3.start_after = before.length > 0 ? before.data : NULL;
	op.s3.start_after_length = before.length;
	rc = xfer_run(l->fs->xfer, &op, &l->caller->cancel);
	if (rc == 0)
		rc = names_page_create(&op.s3.page, dir_key_length, before.data + dir_key_length,
				       before.length - dir_key_length, clock->now_ns(clock), &page);
	xfer_op_finish(&op);
	if (rc < 0)
		return rc == -EINTR ? rc : 0; /* the name itself can still be asked for */
	page->asked_ns = asked_ns;
	lock_acquire(&l->fs->lock);
	if (inode_has_key_locked(l->fs, l->parent, l->name, l->length, key)) {
		inode_add_names_locked(l->fs, l->parent, page, false);
		rc = from_listing_locked(l, ret);
		if (rc == 0)
			rc = absent_by_now_locked(l, ret);
	} /* else it tells of the directory's old place */
	lock_release(&l->fs->lock);
	names_page_unref(page);
	return rc;
}

static int found_dir_locked(struct lookup *l, uint64_t until_ns, struct fs_entry *ret)
{
	struct inode *i = inode_find_locked(l->fs, l->parent, l->name, l->length);

	if (i != NULL && i->is_dir)
		inode_unkeep_locked(l->fs, i); /* S3 has it, and may take it away */
	return fill_locked(l, NULL, until_ns, ret);
}

/* Asks S3 for the one name. -EAGAIN: the name, or its key, was changed here meanwhile. */
static int from_s3(struct lookup *l, const struct buf *key, struct fs_entry *ret)
{
	uint64_t until_ns = time_after(l->now_ns, l->fs->config.metadata_ttl_ns);
	struct object object = {0};
	const struct inode *i;
	int rc = ask_name(l->fs, key, l->caller, &object);

	if (rc < 0)
		return rc;
	lock_acquire(&l->fs->lock);
	i = inode_find_locked(l->fs, l->parent, l->name, l->length);
	if (local_find_locked(l->parent, l->name, l->length, l->now_ns) != LOCAL_NONE ||
	    (i != NULL && inode_is_written_locked(i)) ||
	    !inode_has_key_locked(l->fs, l->parent, l->name, l->length, key))
		rc = -EAGAIN;
	else if (rc == FOUND_NOTHING)
		rc = found_nothing_locked(l, until_ns, ret);
	else if (rc == FOUND_DIR)
		rc = found_dir_locked(l, until_ns, ret);
	else
		rc = fill_locked(l, &object, until_ns, ret);
	lock_release(&l->fs->lock);
	etag_finish(&object.etag);
	return rc;
}

static int lookup_run(struct lookup *l, struct fs_entry *ret)
{
	CLEANUP(buf_finish) struct buf key = BUF_INIT;
	bool page;
	int rc;

	lock_acquire(&l->fs->lock);
	inode_trim_names_locked(l->fs, l->now_ns);
	rc = from_memory_locked(l, ret);
	if (rc == 0)
		rc = local_ask_locked(l->fs, l->parent);
	page = rc == 0 && wants_page_locked(l);
	lock_release(&l->fs->lock);
	if (rc != 0)
		return MIN(rc, 0);
	rc = inode_key(l->fs, l->parent, l->name, l->length, &key);
	if (rc == 0 && page)
		rc = from_new_page(l, &key, key.length - l->length, ret);
	if (rc == 0)
		rc = from_s3(l, &key, ret);
	lock_acquire(&l->fs->lock);
	if (page)
		l->parent->dir->paging = false;
	local_answered_locked(l->fs, l->parent);
	lock_release(&l->fs->lock);
	return MIN(rc, 0);
}

int fs_lookup(struct fs *fs, uint64_t parent_id, const char *name, struct caller *caller,
	      struct fs_entry *ret)
{
	struct lookup l = {.fs = fs, .name = name, .length = strlen(name), .caller = caller};
	int rc = -EAGAIN;

	if (l.length > NAME_MAX)
		return -ENAMETOOLONG;
	lock_acquire(&fs->lock);
	l.parent = inode_ref_locked(inode_from_id(fs, parent_id));
	lock_release(&fs->lock);
	if (!l.parent->is_dir)
		rc = -ENOTDIR;
	while (rc == -EAGAIN) {
		l.now_ns = fs->clock->now_ns(fs->clock);
		rc = lookup_run(&l, ret);
		if (rc == 0)
			rc = inode_know_entry(fs, l.now_ns, caller, ret);
	}
	inode_unref(fs, l.parent);
	inodes_give_back(fs);
	return rc;
}

/* Asks S3: as inode_revalidate, or -EAGAIN: it was changed here meanwhile. */
static int revalidate(struct fs *fs, struct inode *i, struct inode *parent, struct caller *caller)
{
	CLEANUP(buf_finish) struct buf key = BUF_INIT;
	uint64_t now_ns = fs->clock->now_ns(fs->clock);
	struct object object = {0};
	int rc = inode_own_key(fs, i, &key);

	if (rc == 0)
		rc = ask_object(fs, &key, caller, &object);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	lock_acquire(&fs->lock);
	if (inode_is_written_locked(i) || i->parent != parent ||
	    local_find_locked(parent, inode_name(i), i->name_length, now_ns) != LOCAL_NONE ||
	    !inode_has_key_locked(fs, parent, inode_name(i), i->name_length, &key)) {
		rc = -EAGAIN;
	} else if (rc == -ENOENT || !object_same(&i->object, &object)) {
		inode_contradict_locked(fs, i);
		rc = -ESTALE;
	} else {
		i->fresh_until_ns = time_after(now_ns, fs->config.metadata_ttl_ns);
		i->object.archived = object.archived;
		inode_seen_locked(fs, i, &object);
	}
	lock_release(&fs->lock);
	etag_finish(&object.etag);
	return rc;
}

/* True if the directory was read so lately that its listing still holds, and it has this version.
 */
static bool listing_renews_locked(struct fs *fs, struct inode *i, uint64_t now_ns)
{
	const struct dir_state *d = i->parent->dir;
	const struct name *n = NULL;
	uint64_t since_ns = 0, until_ns;

	if (d == NULL || names_set_find(&d->names, inode_name(i), i->name_length, &n, &since_ns) !=
			     NAMES_IS_FILE)
		return false;
	until_ns = time_after(MAX(since_ns, d->last_read_ns), fs->config.metadata_ttl_ns);
	if (now_ns >= until_ns || !object_same(&i->object, &n->object) ||
	    local_find_locked(i->parent, inode_name(i), i->name_length,
			      names_set_asked_ns(&d->names, inode_name(i), i->name_length)) !=
		LOCAL_NONE)
		return false;
	i->fresh_until_ns = MAX(i->fresh_until_ns, until_ns);
	inode_seen_locked(fs, i, &n->object);
	return true;
}

/* Once: as inode_validate (in any case: as inode_revalidate), or -EAGAIN. */
static int validate_once(struct fs *fs, struct inode *i, bool in_any_case, struct caller *caller)
{
	uint64_t now_ns = fs->clock->now_ns(fs->clock);
	struct inode *parent;
	int rc;

	lock_acquire(&fs->lock);
	if (i->retired || i->is_dir || inode_is_written_locked(i) ||
	    (!in_any_case &&
	     (now_ns < i->fresh_until_ns || listing_renews_locked(fs, i, now_ns)))) {
		rc = i->retired && !i->unlinked ? -ESTALE : 0;
		lock_release(&fs->lock);
		return rc;
	}
	parent = inode_ref_locked(i->parent);
	rc = local_ask_locked(fs, parent);
	lock_release(&fs->lock);
	if (rc == 0) {
		rc = revalidate(fs, i, parent, caller);
		lock_acquire(&fs->lock);
		local_answered_locked(fs, parent);
		lock_release(&fs->lock);
	}
	inode_unref(fs, parent);
	return rc;
}

int inode_validate(struct fs *fs, struct inode *i, struct caller *caller)
{
	int rc;

	do
		rc = validate_once(fs, i, false, caller);
	while (rc == -EAGAIN);
	return rc;
}

int inode_revalidate(struct fs *fs, struct inode *i, struct caller *caller)
{
	int rc;

	do
		rc = validate_once(fs, i, true, caller);
	while (rc == -EAGAIN);
	return rc;
}

int fs_getattr(struct fs *fs, uint64_t id, struct fs_file *file, struct caller *caller,
	       struct fs_attr *ret)
{
	struct inode *i = inode_from_id(fs, id);
	int rc = file != NULL ? 0 : inode_validate(fs, i, caller);
	uint64_t now_ns = fs->clock->now_ns(fs->clock);

	if (rc == 0)
		rc = inode_know(fs, i, now_ns, caller);
	if (rc < 0)
		return rc;
	SCOPED_LOCK(&fs->lock);
	attr_of_inode_locked(fs, i, &ret->st);
	ret->ttl_ns = i->is_dir || inode_is_written_locked(i)
			  ? fs->config.metadata_ttl_ns
			  : time_left(i->fresh_until_ns, now_ns);
	if (i->retired)
		ret->ttl_ns = 0; /* who asks by name is to ask again */
	return 0;
}

int fs_access(struct fs *fs, uint64_t id, int mask, struct caller *caller)
{
	struct fs_attr attr;
	unsigned allowed;
	int rc = fs_getattr(fs, id, NULL, caller, &attr);

	if (rc < 0)
		return rc;
	if ((mask & W_OK) != 0 && fs->config.read_only)
		return -EROFS;
	if (caller->uid == 0)
		return 0;
	allowed = attr.st.st_mode;
	if (caller->uid == attr.st.st_uid)
		allowed >>= 6;
	else if (caller->gid == attr.st.st_gid)
		allowed >>= 3;
	return ((unsigned)mask & 7u & ~allowed) == 0 ? 0 : -EACCES;
}
