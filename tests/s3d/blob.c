/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of objects and parts: files that are written once and never changed, named by random
 * ids in one directory, shared by reference between objects, so that a server-side copy and a
 * CompleteMultipartUpload move no data. Any thread may call; one lock guards the tree of ids and
 * the counts and is never held during I/O but the unlink.
 */
#include "blob.h"
#include "util.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct blobs {
	int dir_fd;
	pthread_mutex_t lock;
	bool keep_files; /* under the lock */
	void *tree;	 /* of struct blob, by id */
};

static int blob_compare(const void *a, const void *b)
{
	const struct blob *x = a, *y = b;

	return strcmp(x->id, y->id);
}

struct blobs *blobs_create(const char *path)
{
	struct blobs *blobs = xcalloc(1, sizeof(*blobs));

	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		goto failed;
	blobs->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (blobs->dir_fd < 0)
		goto failed;
	pthread_mutex_init(&blobs->lock, NULL);
	return blobs;
failed:
	free(blobs);
	return NULL;
}

void blobs_keep(struct blobs *blobs)
{
	pthread_mutex_lock(&blobs->lock);
	blobs->keep_files = true;
	pthread_mutex_unlock(&blobs->lock);
}

void blobs_destroy(struct blobs *blobs)
{
	if (blobs == NULL)
		return;
	tdestroy(blobs->tree, free);
	close(blobs->dir_fd);
	pthread_mutex_destroy(&blobs->lock);
	free(blobs);
}

struct blob *blob_create(struct blobs *blobs, int *ret_fd)
{
	struct blob *blob = xcalloc(1, sizeof(*blob));
	int fd;

	random_hex(blob->id, 16);
	fd = openat(blobs->dir_fd, blob->id, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0) {
		free(blob);
		return NULL;
	}
	blob->blobs = blobs;
	blob->refs = 1;
	pthread_mutex_lock(&blobs->lock);
	if (tsearch(blob, &blobs->tree, blob_compare) == NULL)
		abort();
	pthread_mutex_unlock(&blobs->lock);
	*ret_fd = fd;
	return blob;
}

struct blob *blob_find(struct blobs *blobs, const char *id)
{
	struct blob *blob, **at;
	unsigned char raw[16];

	if (strlen(id) != BLOB_ID_SIZE - 1 || hex_decode(id, raw, sizeof(raw)) < 0)
		return NULL;
	blob = xcalloc(1, sizeof(*blob));
	blob->blobs = blobs;
	memcpy(blob->id, id, BLOB_ID_SIZE);
	pthread_mutex_lock(&blobs->lock);
	at = (struct blob **)tsearch(blob, &blobs->tree, blob_compare);
	if (at == NULL)
		abort();
	if (*at != blob)
		free(blob);
	blob = *at;
	blob->refs++;
	pthread_mutex_unlock(&blobs->lock);
	return blob;
}

struct blob *blob_ref(struct blob *blob)
{
	pthread_mutex_lock(&blob->blobs->lock);
	blob->refs++;
	pthread_mutex_unlock(&blob->blobs->lock);
	return blob;
}

void blob_unref(struct blob *blob)
{
	struct blobs *blobs;

	if (blob == NULL)
		return;
	blobs = blob->blobs;
	pthread_mutex_lock(&blobs->lock);
	if (--blob->refs == 0) {
		tdelete(blob, &blobs->tree, blob_compare);
		if (!blobs->keep_files)
			unlinkat(blobs->dir_fd, blob->id, 0);
		free(blob);
	}
	pthread_mutex_unlock(&blobs->lock);
}

int blob_open(const struct blob *blob)
{
	int fd = openat(blob->blobs->dir_fd, blob->id, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

void blobs_sweep(struct blobs *blobs)
{
	DIR *dir = fdopendir(dup(blobs->dir_fd));
	struct dirent *file;

	if (dir == NULL)
		return;
	while ((file = readdir(dir)) != NULL) {
		struct blob wanted = {0};

		if (strlen(file->d_name) != BLOB_ID_SIZE - 1)
			continue;
		memcpy(wanted.id, file->d_name, BLOB_ID_SIZE);
		if (tfind(&wanted, &blobs->tree, blob_compare) == NULL)
			unlinkat(blobs->dir_fd, file->d_name, 0);
	}
	closedir(dir);
}
