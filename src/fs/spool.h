/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local file that takes what memory does not: sparse, unlinked, one a writer, made when first
 * needed; a byte of the file lies at its own offset. No lock: the writer orders who writes where.
 * Functions block on the local disk. Private to fs/.
 */
#ifndef PAILFS_FS_SPOOL_H
#define PAILFS_FS_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define SPOOL_PIECES_MAX 64
#define SPOOL_ALIGN_BYTES 4096u

/* fd is -1 while there is no file. */
struct spool {
	int fd;
	int direct_fd; /* the same without the page cache; -1: there is no such way */
};

/* No file. */
void spool_init(struct spool *s);
/* Checks that files can be made in dir: 0 or -errno. */
int spool_check_dir(const char *dir);
/* True if files of dir are on a disk, and can be written past the page cache. */
bool spool_is_direct(const char *dir);
/* Makes the file if there is none. -errno: the directory is full, not there... */
int spool_open(struct spool *s, const char *dir);
/* Closes the file: its bytes are gone. */
void spool_finish(struct spool *s);
/* Takes room on the disk, so that writing there cannot fail for want of it. -ENOSPC, -EDQUOT,
 * -EIO... A file system that cannot do that is not asked for it. */
int spool_reserve(struct spool *s, uint64_t offset, uint64_t length);
/* Writes all of it. -ENOSPC, -EDQUOT, -EIO... */
int spool_write(struct spool *s, uint64_t offset, const void *data, size_t length);
/*
 * Writes pieces that follow each other in the file, SPOOL_PIECES_MAX at most; past the page cache
 * if all of them are aligned to SPOOL_ALIGN_BYTES. iov is used up. Errors as spool_write.
 */
int spool_write_pieces(struct spool *s, uint64_t offset, struct iovec *iov, int count);
/* Reads all of it; zeros beyond the end. -errno. */
int spool_read(struct spool *s, uint64_t offset, void *data, size_t length);
/* Makes the file at least that long: holes at its end can be sent from it then. -errno. */
int spool_extend(struct spool *s, uint64_t size);
/* Nothing beyond size is needed: reads as zeros from now on. -errno. */
int spool_truncate(struct spool *s, uint64_t size);
/* The range reads as zeros from now on. There is a file. -errno. */
int spool_zero(struct spool *s, uint64_t offset, uint64_t length);

#endif
