/* SPDX-License-Identifier: Apache-2.0 */
#ifndef S3D_BLOB_H
#define S3D_BLOB_H

#include <stdatomic.h>
#include <stdint.h>

#define BLOB_ID_SIZE 33

/* A directory of immutable files with counted references; the last one gone removes the file. */
struct blobs;

struct blob {
	/* set at creation */
	struct blobs *blobs;
	char id[BLOB_ID_SIZE];
	/* under the lock of blobs */
	unsigned refs;
};

/* Opens (and makes) the directory `path`. NULL with errno set. */
struct blobs *blobs_create(const char *path);
/* From now on a last reference leaves the file alone: the server is ending. */
void blobs_keep(struct blobs *blobs);
/* Forgets all blobs but leaves their files. Every request must have ended. Takes NULL. */
void blobs_destroy(struct blobs *blobs);

/* A new empty file, open for writing in *ret_fd, which the caller closes; NULL with errno set. */
struct blob *blob_create(struct blobs *blobs, int *ret_fd);
/* The blob of this id, for metadata read at start; adds a reference. NULL for a malformed id. */
struct blob *blob_find(struct blobs *blobs, const char *id);
/* Adds a reference and answers the same blob. */
struct blob *blob_ref(struct blob *blob);
/* Takes NULL. Unlinks the file with the last reference (who has it open reads on). */
void blob_unref(struct blob *blob);
/* The file open for reading, or -errno. The caller closes it. */
int blob_open(const struct blob *blob);
/* Removes files that nobody refers to: what an earlier run did not finish. At start only. */
void blobs_sweep(struct blobs *blobs);

#endif
