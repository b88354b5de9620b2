/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a mount does about journals that dead daemons have left: reading them (untrusted text, as
 * any file is) and aborting what they name. Called once, by the thread that mounts or one of its
 * own, with the scheduler running; it waits for the server.
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

/* --- reading --- */

void journal_entries_free(struct journal_entry *entries, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++) {
		free(entries[i].key);
		free(entries[i].id);
	}
	free(entries);
}

/* The bytes of an encoded field, followed by a NUL. */
static char *decode(const char *text, size_t *ret_length)
{
	size_t length = strlen(text);
	char *bytes = malloc(length + 1);
	long n = bytes == NULL ? -1 : text_url_decode(text, length, false, bytes);

	if (n <= 0) {
		free(bytes);
		return NULL;
	}
	bytes[n] = '\0';
	*ret_length = (size_t)n;
	return bytes;
}

struct entries {
	struct journal_entry *items;
	size_t count;
};

static struct journal_entry *find(const struct entries *e, uint64_t number)
{
	size_t i;

	for (i = 0; i < e->count; i++)
		if (e->items[i].entry == number)
			return &e->items[i];
	return NULL;
}

static int add_intent(struct entries *e, uint64_t number, char *fields)
{
	char *key = strchr(fields, ' ');
	struct journal_entry *items, entry = {.entry = number};

	if (key == NULL || find(e, number) != NULL)
		return 0;
	*key++ = '\0';
	if (text_parse_u64(fields, &entry.wall_s) < 0)
		return 0;
	entry.key = decode(key, &entry.key_length);
	if (entry.key == NULL)
		return 0;
	items = reallocarray(e->items, e->count + 1, sizeof(*items));
	if (items == NULL) {
		free(entry.key);
		return -ENOMEM;
	}
	e->items = items;
	e->items[e->count++] = entry;
	return 0;
}

static void set_id(struct entries *e, uint64_t number, const char *text)
{
	struct journal_entry *entry = find(e, number);
	size_t length;

	if (entry == NULL || entry->id != NULL)
		return;
	entry->id = decode(text, &length);
	if (entry->id != NULL && strlen(entry->id) != length)
		free(TAKE(entry->id));
}

static void remove_entry(struct entries *e, uint64_t number)
{
	struct journal_entry *entry = find(e, number);

	if (entry == NULL)
		return;
	free(entry->key);
	free(entry->id);
	*entry = e->items[--e->count];
}

/* One line, without its newline. What cannot be read is skipped. */
static int take_line(struct entries *e, char *line)
{
	char *fields = line[0] != '\0' && line[1] == ' ' ? strchr(line + 2, ' ') : NULL;
	uint64_t number;

	if (fields != NULL)
		*fields++ = '\0';
	if (line[0] == '\0' || line[1] != ' ' || text_parse_u64(line + 2, &number) < 0)
		return 0;
	if (line[0] == 'I' && fields != NULL)
		return add_intent(e, number, fields);
	if (line[0] == 'U' && fields != NULL)
		set_id(e, number, fields);
	if (line[0] == 'E')
		remove_entry(e, number);
	return 0;
}

static bool header_matches(const char *line, const char *place)
{
	CLEANUP(buf_finish) struct buf expected = BUF_INIT;

	if (buf_append_str(&expected, JOURNAL_MAGIC " ") < 0 ||
	    journal_encode(&expected, place, strlen(place)) < 0)
		return false;
	return strcmp(line, expected.data) == 0;
}

int journal_parse(const char *text, size_t length, const char *place, struct journal_entry **ret,
		  size_t *ret_count)
{
	CLEANUP(free) char *copy = malloc(length + 1);
	struct entries e = {0};
	char *line, *end, *limit;
	int rc = 0;

	if (copy == NULL)
		return -ENOMEM;
	memcpy(copy, text, length);
	copy[length] = '\0';
	limit = copy + length;
	end = memchr(copy, '\n', length);
	if (end == NULL)
		return -EINVAL;
	*end = '\0';
	if (!header_matches(copy, place))
		return -EINVAL;
	for (line = end + 1; rc == 0 && line < limit; line = end + 1) {
		end = memchr(line, '\n', (size_t)(limit - line));
		if (end == NULL)
			break; /* the daemon died writing it */
		*end = '\0';
		rc = take_line(&e, line);
	}
	if (rc < 0) {
		journal_entries_free(e.items, e.count);
		return rc;
	}
	*ret = e.items;
	*ret_count = e.count;
	return 0;
}

/* --- settling --- */

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

/* 0 for a file that is in use, or not a journal of ours. */
static int settle_name(int dir_fd, const char *name, const char *place, struct uploads *shared)
{
	CLEANUP(close) int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid())
		return 0;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
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
