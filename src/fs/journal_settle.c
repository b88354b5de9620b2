/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a mount does about journals that dead daemons have left: aborting what they name. Called
 * once, by the thread that mounts or one of its own, with the scheduler running; it waits for the
 * server.
 */
#include "journal_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>
#include <pailfs/text.h>

/* Uploads of a key that were initiated since. */
struct found_uploads {
	unsigned count;
	char *id; /* of the last one; owned */
};

static int note_uploads(const struct s3_upload_page *page, const struct journal_entry *entry,
			int64_t since_s, struct found_uploads *found)
{
	size_t i;

	for (i = 0; i < page->upload_count; i++) {
		const struct s3_upload *u = &page->uploads[i];

		if (u->key_length != entry->key_length ||
		    memcmp(u->key, entry->key, u->key_length) != 0 || u->initiated.tv_sec < since_s)
			continue;
		found->count++;
		free(found->id);
		found->id = strdup(u->id);
		if (found->id == NULL)
			return -ENOMEM;
	}
	return 0;
}

static int list_page(struct uploads *shared, const struct journal_entry *entry,
		     struct buf *key_marker, struct buf *upload_marker, int64_t since_s,
		     struct found_uploads *found)
{
	struct xfer_op op;
	bool more;
	int rc;

	xfer_op_init(&op, S3_LIST_UPLOADS, XFER_META);
	op.s3.prefix = entry->key;
	op.s3.prefix_length = entry->key_length;
	op.s3.max_keys = 1000;
	if (key_marker->length > 0) {
		op.s3.key_marker = key_marker->data;
		op.s3.key_marker_length = key_marker->length;
		op.s3.upload_marker = upload_marker->length > 0 ? upload_marker->data : NULL;
	}
	rc = upload_run_op(shared, &op, NULL);
	if (rc == 0)
		rc = note_uploads(&op.s3.upload_page, entry, since_s, found);
	more = rc == 0 && op.s3.upload_page.truncated;
	if (more && op.s3.upload_page.next_key == NULL)
		rc = -EIO;
	else if (more) {
		buf_clear(key_marker);
		buf_clear(upload_marker);
		rc = buf_append(key_marker, op.s3.upload_page.next_key,
				op.s3.upload_page.next_key_length);
		if (rc == 0 && op.s3.upload_page.next_upload != NULL)
			rc = buf_append_str(upload_marker, op.s3.upload_page.next_upload);
	}
	xfer_op_finish(&op);
	return rc < 0 ? rc : more;
}

/* An intent without id: the upload is ours if it is the only one that was begun since. */
static int settle_intent(struct uploads *shared, const struct journal_entry *entry)
{
	CLEANUP(buf_finish) struct buf key_marker = BUF_INIT, upload_marker = BUF_INIT;
	struct found_uploads found = {0};
	struct s3_target target;
	char shown[256];
	int rc;

	shared->source.target(shared->source.ctx, &target);
	do {
		rc = list_page(shared, entry, &key_marker, &upload_marker,
			       (int64_t)entry->wall_s + target.clock_offset_s, &found);
	} while (rc > 0);
	if (rc == 0 && found.count == 1)
		rc = upload_abort_run(shared, entry->key, entry->key_length, found.id) < 0 ? -EIO
											   : 1;
	else if (rc == 0 && found.count > 1)
		log_warn("%u unfinished uploads of %s: one may be of a daemon that was killed, "
			 "none is aborted; aws s3api list-multipart-uploads shows them",
			 found.count,
			 text_printable(entry->key, entry->key_length, shown, sizeof(shown)));
	free(found.id);
	return rc;
}

/* 1 if an upload was aborted, 0 if there was nothing to abort, -errno. */
static int settle_entry(struct uploads *shared, const struct journal_entry *entry)
{
	char shown[256];
	int rc;

	if (entry->id == NULL)
		return settle_intent(shared, entry);
	rc = upload_abort_run(shared, entry->key, entry->key_length, entry->id);
	if (rc == 0)
		log_info("aborted an unfinished upload of %s",
			 text_printable(entry->key, entry->key_length, shown, sizeof(shown)));
	return rc < 0 ? rc : 1;
}

static int read_file(int fd, struct buf *ret)
{
	char piece[4096];
	ssize_t n;
	int rc = 0;

	ret->cap = JOURNAL_BYTES_MAX;
	while (rc == 0 && (n = read(fd, piece, sizeof(piece))) != 0)
		rc = n < 0 ? -errno : buf_append(ret, piece, (size_t)n);
	return rc;
}

/* A journal whose lock we hold. The file goes when all of it was settled. */
static int settle_file(int dir_fd, const char *name, int fd, const char *place,
		       struct uploads *shared)
{
	CLEANUP(buf_finish) struct buf text = BUF_INIT;
	struct journal_entry *entries = NULL;
	size_t i, count = 0;
	int aborted = 0, failed = 0, rc = read_file(fd, &text);

	if (rc < 0)
		return rc;
	if (text.length > 0)
		rc = journal_parse(text.data, text.length, place, &entries, &count);
	if (rc < 0)
		return rc == -EINVAL ? 0 : rc; /* another bucket's: for its own mount */
	for (i = 0; i < count; i++) {
		rc = settle_entry(shared, &entries[i]);
		aborted += rc > 0;
		if (rc < 0)
			failed = rc;
	}
	journal_entries_free(entries, count);
	if (failed == 0)
		unlinkat(dir_fd, name, 0);
	else
		log_warn("unfinished uploads of a daemon that was killed could not all be aborted "
			 "(%s): the next mount tries again",
			 strerror(-failed));
	return aborted;
}

/* True for a journal of another place. Looked at before it is locked: a mount of that place must
 * not find it locked by us and take its daemon for alive. */
static bool is_of_another_place(int fd, const char *place)
{
	CLEANUP(buf_finish) struct buf text = BUF_INIT;
	struct journal_entry *entries = NULL;
	size_t count = 0;
	int rc = read_file(fd, &text);

	if (rc == 0 && text.length > 0) {
		rc = journal_parse(text.data, text.length, place, &entries, &count);
		journal_entries_free(entries, count);
	}
	return rc == -EINVAL || lseek(fd, 0, SEEK_SET) < 0;
}

/* 0 for a file that is in use, or not a journal of ours. */
static int settle_name(int dir_fd, const char *name, const char *place, struct uploads *shared)
{
	CLEANUP(close) int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid())
		return 0;
	if (is_of_another_place(fd, place) || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return 0; /* its daemon lives */
	return settle_file(dir_fd, name, fd, place, shared);
}

int journal_settle_over(const char *dir, const char *place, const struct upload_source *source)
{
	char prefix[sizeof(JOURNAL_PREFIX) + JOURNAL_HOST_BYTES + 1], host[JOURNAL_HOST_BYTES];
	struct uploads shared;
	int aborted = 0, rc = journal_check_dir(dir);
	struct dirent *e;
	DIR *d;

	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	d = opendir(dir);
	if (d == NULL)
		return -errno;
	snprintf(prefix, sizeof(prefix), JOURNAL_PREFIX "%s-", journal_host(host));
	uploads_init(&shared, source, NULL);
	while ((e = readdir(d)) != NULL) {
		if (!text_starts_with(e->d_name, prefix))
			continue; /* of another machine: its locks are not seen here */
		rc = settle_name(dirfd(d), e->d_name, place, &shared);
		if (rc > 0)
			aborted += rc;
	}
	uploads_finish(&shared);
	closedir(d);
	return aborted;
}

int journal_settle(const char *dir, const char *place, struct xfer *xfer)
{
	struct upload_source source = upload_source_of(xfer);

	return journal_settle_over(dir, place, &source);
}
