/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended attributes: user.* are stored in the object's metadata (posix mode), as s3fs does;
 * user.s3.* tell what S3 knows of the object, asked anew each time, and are not listed, because
 * cp -a would copy them. FUSE threads.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/xattr.h>

#include <pailfs/cleanup.h>
#include <pailfs/text.h>

#include "dirty.h"
#include "edit.h"
#include "xattr.h"

#define USER_PREFIX "user."
#define S3_PREFIX "user.s3."

static void xattrs_finishp(struct xattrs *x)
{
	xattrs_finish(x);
}

static const struct {
	const char *name;
	size_t offset;
} headers[] = {
#define FIELD(field) offsetof(struct s3_attributes, field)
    {"content_type", FIELD(content_type)},
    {"cache_control", FIELD(cache_control)},
    {"content_disposition", FIELD(content_disposition)},
    {"content_encoding", FIELD(content_encoding)},
    {"content_language", FIELD(content_language)},
    {"expires", FIELD(expires)},
    {"storage_class", FIELD(storage_class)},
    {"sse", FIELD(sse)},
    {"sse_kms_key_id", FIELD(sse_kms_key_id)},
#undef FIELD
};

/* What a HEAD says of an attribute; NULL: nothing. */
static const char *header_value(const struct s3_op *head, const char *name)
{
	if (strcmp(name, "etag") == 0)
		return head->object.etag;
	if (strcmp(name, "version_id") == 0)
		return head->version_id;
	for (size_t k = 0; k < ARRAY_SIZE(headers); k++)
		if (strcmp(name, headers[k].name) == 0)
			return *(const char *const *)((uintptr_t)&head->found + headers[k].offset);
	return NULL;
}

static int get_tags(struct fs *fs, const struct buf *key, struct cancel *cancel, struct buf *ret)
{
	CLEANUP(free) char *tags = NULL;
	int rc = ask_tags(fs, key, cancel, &tags);

	if (rc < 0)
		return rc;
	return tags != NULL ? buf_append_str(ret, tags) : -ENODATA;
}

static int get_header(struct fs *fs, const struct buf *key, const char *name, struct cancel *cancel,
		      struct buf *ret)
{
	const char *value;
	struct xfer_op op;
	int rc = ask_attributes(fs, key, cancel, &op);

	if (rc == 0) {
		value = header_value(&op.s3, name);
		if (value == NULL && strcmp(name, "storage_class") == 0)
			value = "STANDARD"; /* S3 leaves it out */
		rc = value != NULL && value[0] != '\0' ? buf_append_str(ret, value) : -ENODATA;
	}
	xfer_op_finish(&op);
	return rc;
}

static int get_s3(struct fs *fs, struct inode *i, const char *name, struct caller *caller,
		  struct buf *ret)
{
	CLEANUP(buf_finish) struct buf key = BUF_INIT;
	int rc = inode_own_key(fs, i, &key);

	if (rc == 0 && key.length == 0)
		return -ENODATA;
	if (rc == 0 && strcmp(name, "tags") == 0)
		rc = get_tags(fs, &key, &caller->cancel, ret);
	else if (rc == 0)
		rc = get_header(fs, &key, name, &caller->cancel, ret);
	return rc == -ENOENT ? -ENODATA : rc; /* not published, or a directory without a marker */
}

/* The inode's attributes of the user, as they show. */
static int stored_xattrs(struct fs *fs, struct inode *i, struct caller *caller, struct xattrs *ret)
{
	struct file_meta m;
	int rc = inode_validate(fs, i, caller);

	if (rc == 0)
		rc = inode_know(fs, i, fs->clock->now_ns(fs->clock), caller);
	if (rc < 0)
		return rc;
	SCOPED_LOCK(&fs->lock);
	if (!i->is_dir && i->dirty != NULL)
		return xattrs_of_dirty_locked(i->dirty, ret);
	m = (struct file_meta){0};
	if (inode_attr(i) != NULL)
		m = inode_attr(i)->meta;
	rc = xattrs_parse(m.xattr, ret);
	return rc == -EBADMSG ? 0 : rc; /* something else: not shown, and kept until one is set */
}

/* 0 if it may be there in this mode. */
static int check_name(const struct fs *fs, const char *name)
{
	if (!fs->config.xattr)
		return -ENOSYS; /* the kernel does not ask again */
	if (!text_starts_with(name, USER_PREFIX))
		return -EOPNOTSUPP;
	return 0;
}

int fs_getxattr(struct fs *fs, uint64_t id, const char *name, struct caller *caller,
		struct buf *ret)
{
	struct inode *i = inode_from_id(fs, id);
	__attribute__((cleanup(xattrs_finishp))) struct xattrs all = {0};
	const struct xattr *one;
	int rc = check_name(fs, name);

	if (rc < 0)
		return rc;
	if (text_starts_with(name, S3_PREFIX))
		return get_s3(fs, i, name + strlen(S3_PREFIX), caller, ret);
	if (fs->attrs == NULL)
		return -ENODATA;
	rc = stored_xattrs(fs, i, caller, &all);
	if (rc < 0)
		return rc;
	one = xattrs_find(&all, name);
	return one != NULL ? buf_append(ret, one->value, one->length) : -ENODATA;
}

int fs_listxattr(struct fs *fs, uint64_t id, struct caller *caller, struct buf *ret)
{
	__attribute__((cleanup(xattrs_finishp))) struct xattrs all = {0};
	int rc = check_name(fs, USER_PREFIX);

	if (rc < 0 || fs->attrs == NULL)
		return rc;
	rc = stored_xattrs(fs, inode_from_id(fs, id), caller, &all);
	for (unsigned k = 0; rc == 0 && k < all.count; k++)
		if (text_starts_with(all.all[k].name, USER_PREFIX))
			rc = buf_append(ret, all.all[k].name, strlen(all.all[k].name) + 1);
	return rc;
}

/* setxattr as an edit. */
struct xattr_edit {
	struct meta_edit edit; /* first */
	const struct fs_setxattr *ask;
	struct buf text; /* what m->xattr becomes */
};

static int apply_xattr(struct meta_edit *edit, struct file_meta *m)
{
	struct xattr_edit *e = CONTAINER_OF(edit, struct xattr_edit, edit);
	__attribute__((cleanup(xattrs_finishp))) struct xattrs all = {0};
	const struct fs_setxattr *ask = e->ask;
	struct timespec now;
	int rc = xattrs_parse(m->xattr, &all);

	if (rc < 0 && rc != -EBADMSG)
		return rc;
	if ((ask->flags & XATTR_CREATE) != 0 && xattrs_find(&all, ask->name) != NULL)
		return -EEXIST;
	if ((ask->flags & XATTR_REPLACE) != 0 && xattrs_find(&all, ask->name) == NULL)
		return -ENODATA;
	rc = xattrs_set(&all, ask->name, ask->value, ask->length);
	if (rc == 0)
		rc = xattrs_format(&all, &e->text);
	if (rc < 0)
		return rc;
	m->has = all.count > 0 ? m->has | META_HAS_XATTR : m->has & ~(unsigned)META_HAS_XATTR;
	m->xattr = all.count > 0 ? e->text.data : NULL;
	clock_gettime(CLOCK_REALTIME, &now);
	m->ctime = now;
	m->has |= META_HAS_CTIME;
	return 0;
}

int fs_setxattr(struct fs *fs, uint64_t id, const struct fs_setxattr *ask, struct caller *caller)
{
	struct xattr_edit e = {.edit.apply = apply_xattr, .ask = ask};
	struct inode *i = inode_from_id(fs, id);
	int rc = check_name(fs, ask->name);

	if (rc == 0 && fs->config.read_only)
		rc = -EROFS;
	if (rc == 0 && text_starts_with(ask->name, S3_PREFIX))
		rc = -EPERM;
	if (rc == 0 && fs->attrs == NULL)
		rc = -EOPNOTSUPP;
	if (rc == 0)
		rc = inode_validate(fs, i, caller);
	if (rc == 0)
		rc = inode_know(fs, i, fs->clock->now_ns(fs->clock), caller);
	if (rc == 0)
		rc = inode_edit(fs, i, &e.edit, caller);
	buf_finish(&e.text);
	return rc;
}
