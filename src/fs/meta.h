/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POSIX attributes as user metadata of objects, in the dialects of other tools. Pure functions over
 * one table. Private to fs/.
 *
 * Read: s3fs, rclone and geesefs (mode, uid, gid, mtime, atime, ctime, rdev, xattr,
 * --symlink-target), AWS (file-permissions, file-owner, ...) and GCS (goog-reserved-...). Written:
 * s3fs or AWS.
 */
#ifndef PAILFS_FS_META_H
#define PAILFS_FS_META_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <pailfs/s3.h>

#define META_USER_BYTES_MAX 2048 /* S3: names and values of one object's metadata */

enum meta_has {
	META_HAS_MODE = 1,
	META_HAS_UID = 2,
	META_HAS_GID = 4,
	META_HAS_MTIME = 8,
	META_HAS_ATIME = 16,
	META_HAS_CTIME = 32,
	META_HAS_RDEV = 64,
	META_HAS_XATTR = 128,
	META_HAS_TARGET = 256,
};

enum meta_dialect { META_S3FS, META_AWS, META_DIALECTS };

/* What an object's metadata says. has tells which fields do. */
struct file_meta {
	unsigned has;
	uint32_t mode; /* with the type, if one was stored: (mode & S_IFMT) may be 0 */
	uint32_t uid, gid;
	uint64_t rdev;
	struct timespec mtime, atime, ctime;
	const char *xattr;  /* as stored: see xattr.h; borrowed */
	const char *target; /* of a symlink that geesefs made, as stored (url-encoded); borrowed */
};

/* Reads what all dialects know; what cannot be read is as if it were not there. Where two tell of
 * one thing, s3fs's counts. Strings are borrowed from meta. */
void file_meta_parse(const struct s3_meta *meta, unsigned count, struct file_meta *ret);
/* True if a name of metadata is part of a dialect. */
bool file_meta_knows(const char *name);

#define META_FIELDS_MAX 9
#define META_FIELD_BYTES 48

/* A file_meta as metadata; the strings live as long as it and what it was made of. */
struct meta_text {
	struct s3_meta meta[META_FIELDS_MAX];
	unsigned count;
	char texts[META_FIELDS_MAX][META_FIELD_BYTES];
};

/* Writes all that *m has. */
void file_meta_format(const struct file_meta *m, enum meta_dialect dialect, struct meta_text *ret);
/* What S3 counts against META_USER_BYTES_MAX. */
size_t meta_bytes(const struct s3_meta *meta, unsigned count);
/* `seconds.nnnnnnnnn`, decimal; returns dst. */
const char *meta_format_time(const struct timespec *t, char *dst, size_t size);

#endif
