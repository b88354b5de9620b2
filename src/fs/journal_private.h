/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the journal share. */
#ifndef PAILFS_FS_JOURNAL_PRIVATE_H
#define PAILFS_FS_JOURNAL_PRIVATE_H

#include <pailfs/buf.h>

#include "journal.h"
#include "upload.h"

#define JOURNAL_MAGIC "pailfs-journal 1"
#define JOURNAL_PREFIX "uploads-"
#define RENAME_PREFIX "rename-" /* of rename_log.c, beside it */
#define JOURNAL_HOST_BYTES 65
#define JOURNAL_BYTES_MAX (16 << 20) /* a larger one is not ours */

/* This machine's name as it stands in a file's name. Returns dst. */
char *journal_host(char dst[JOURNAL_HOST_BYTES]);
/* 0 if only we can have written into dir; -EACCES, -ENOTDIR, -ENOENT... */
int journal_check_dir(const char *dir);
/* A new file of ours in dir, locked, open for appending; *ret_path is the caller's. -errno. */
int journal_new_file(const char *dir, const char *prefix, char **ret_path);
/* Appends a whole line. -ENOSPC... */
int journal_write_line(int fd, const struct buf *line);
/* Appends the URL encoding of n bytes. -ENOMEM. */
int journal_encode(struct buf *line, const char *bytes, size_t n);
/* journal_settle over any source. */
int journal_settle_over(const char *dir, const char *place, const struct upload_source *source);

#endif
