/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended attributes as s3fs stores them: metadata `xattr`, the url-encoded JSON of an object of
 * {name: base64 of the value}. Pure functions. Private to fs/.
 */
#ifndef PAILFS_FS_XATTR_H
#define PAILFS_FS_XATTR_H

#include <stdbool.h>
#include <stddef.h>

#include <pailfs/buf.h>

#define XATTRS_MAX 64

struct xattr {
	char *name;
	char *value; /* length bytes, and a NUL */
	size_t length;
};

struct xattrs {
	struct xattr all[XATTRS_MAX];
	unsigned count;
};

/* Reads the text (NULL: none are stored). -EBADMSG: it is something else; -ENOMEM, -E2BIG. */
int xattrs_parse(const char *text, struct xattrs *ret);
/* Frees them. */
void xattrs_finish(struct xattrs *x);
/* The one of that name; NULL. */
const struct xattr *xattrs_find(const struct xattrs *x, const char *name);
/* Sets one (value NULL: removes it). -ENODATA, -ENOSPC: too many, -ENOMEM. */
int xattrs_set(struct xattrs *x, const char *name, const void *value, size_t length);
/* Writes them; "" for none. -ENOMEM. */
int xattrs_format(const struct xattrs *x, struct buf *ret_text);

#endif
