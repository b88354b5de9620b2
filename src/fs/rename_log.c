/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file of a rename: written by its thread and its copiers, a line a write(2), read back by
 * whoever takes it back or finishes it. Reading stops at the last whole line. What stands in a file
 * that a dead daemon has left is looked at in the bucket before anything is deleted for it.
 */
#include "rename_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <pailfs/cleanup.h>
#include <pailfs/text.h>

#include "journal_private.h"

#define MAGIC "pailfs-rename 1"
#define PIECE_BYTES (64 << 10)

struct rename_log {
	/* set at creation */
	int fd, dir_fd; /* dir_fd -1: path is whole */
	char *path;	/* NULL: unlinked */
};

static void log_free(struct rename_log *l)
{
	close(l->fd);
	if (l->dir_fd >= 0)
		close(l->dir_fd);
	free(l->path);
	free(l);
}

static int add_field(struct buf *line, const char *bytes, size_t n)
{
	int rc = buf_append_str(line, line->length > 0 ? " " : "");

	return rc < 0 ? rc : journal_encode(line, bytes, n);
}

static int write_head(struct rename_log *l, const char *place, const struct rename_intent *intent)
{
	CLEANUP(buf_finish) struct buf line = BUF_INIT;
	int rc = buf_append_str(&line, MAGIC);

	if (rc == 0)
		rc = add_field(&line, place, strlen(place));
	if (rc == 0)
		rc = buf_append_str(&line, "\nR");
	if (rc == 0)
		rc = add_field(&line, intent->from.data, intent->from.length);
	if (rc == 0)
		rc = add_field(&line, intent->to.data, intent->to.length);
	if (rc == 0)
		rc = buf_printf(&line, " %llu %s%s.\n", (unsigned long long)intent->wall_s,
				intent->is_dir ? "d" : "f", intent->replaces ? "r" : "");
	return rc < 0 ? rc : journal_write_line(l->fd, &line);
}

int rename_log_create(struct fs *fs, const struct rename_intent *intent, struct rename_log **ret)
{
	struct rename_log *l = calloc(1, sizeof(*l));
	int rc;

	if (l == NULL)
		return -ENOMEM;
	l->dir_fd = -1;
	if (fs->journal != NULL) {
		l->fd = journal_new_file(fs->config.journal_dir, RENAME_PREFIX, &l->path);
	} else {
		l->fd = open(fs->config.spool_dir, O_TMPFILE | O_RDWR | O_APPEND | O_CLOEXEC, 0600);
		if (l->fd < 0)
			l->fd = -errno;
	}
	if (l->fd < 0) {
		rc = l->fd;
		free(l);
		return rc;
	}
	rc = write_head(l, fs->place != NULL ? fs->place : "", intent);
	if (rc < 0)
		rename_log_end(l);
	else
		*ret = l;
	return rc;
}

int rename_log_copied(struct rename_log *l, const struct rename_copied *c)
{
	CLEANUP(buf_finish) struct buf line = BUF_INIT;
	int rc = buf_append_str(&line, "C +");

	if (rc == 0)
		rc = journal_encode(&line, c->suffix, c->length);
	if (rc == 0)
		rc = add_field(&line, c->source_etag, strlen(c->source_etag));
	if (rc == 0)
		rc = add_field(&line, c->etag, strlen(c->etag));
	if (rc == 0)
		rc = buf_append_str(&line, "\n");
	return rc < 0 ? rc : journal_write_line(l->fd, &line);
}

int rename_log_deleting(struct rename_log *l)
{
	if (write(l->fd, "D\n", 2) != 2 || fdatasync(l->fd) < 0)
		return errno != 0 ? -errno : -ENOSPC;
	return 0;
}

bool rename_log_lasts(const struct rename_log *l)
{
	return l->path != NULL;
}

void rename_log_end(struct rename_log *l)
{
	if (l == NULL)
		return;
	if (l->path != NULL)
		unlinkat(l->dir_fd >= 0 ? l->dir_fd : AT_FDCWD, l->path, 0);
	log_free(l);
}

void rename_log_keep(struct rename_log *l)
{
	if (l != NULL)
		log_free(l);
}

/* Decodes a field in place; NULL if it is none. */
static char *decode(char *field, size_t *ret_length)
{
	long n = text_url_decode(field, strlen(field), false, field);

	if (n < 0)
		return NULL;
	field[n] = '\0';
	*ret_length = (size_t)n;
	return field;
}

/* Splits a line at blanks: the number of fields, at most `most`. */
static unsigned split(char *line, char *fields[], unsigned most)
{
	unsigned n = 0;

	for (char *at = line; at != NULL && n < most;) {
		fields[n++] = at;
		at = strchr(at, ' ');
		if (at != NULL)
			*at++ = '\0';
	}
	return n;
}

/* A C line, without its newline; false if it is none. */
static bool parse_copied(char *line, struct rename_copied *ret)
{
	char *fields[4];
	size_t unused;

	if (line[0] != 'C' || split(line, fields, 4) != 4 || fields[1][0] != '+')
		return false;
	ret->suffix = decode(fields[1] + 1, &ret->length);
	ret->source_etag = decode(fields[2], &unused);
	ret->etag = decode(fields[3], &unused);
	return ret->suffix != NULL && ret->source_etag != NULL && ret->etag != NULL &&
	       strlen(ret->source_etag) < S3_ETAG_MAX && strlen(ret->etag) < S3_ETAG_MAX;
}

/* Calls fn for each whole line, which it may change. */
static int each_line(int fd, int (*fn)(void *ctx, char *line), void *ctx)
{
	CLEANUP(free) char *piece = malloc(PIECE_BYTES + 1);
	off_t at = 0;
	ssize_t n = 0;
	int rc = 0;

	if (piece == NULL)
		return -ENOMEM;
	while (rc == 0 && (n = pread(fd, piece, PIECE_BYTES, at)) > 0) {
		char *line = piece, *end;

		while (rc == 0 && (end = memchr(line, '\n', (size_t)(piece + n - line))) != NULL) {
			*end = '\0';
			rc = fn(ctx, line);
			line = end + 1;
		}
		if (line == piece)
			break; /* the last one is not whole, or it is no such file */
		at += line - piece;
	}
	return n < 0 ? -errno : rc;
}

struct copied_reader {
	int (*fn)(void *ctx, const struct rename_copied *c);
	void *ctx;
};

static int take_copied(void *ctx, char *line)
{
	const struct copied_reader *r = ctx;
	struct rename_copied c;

	return parse_copied(line, &c) ? r->fn(r->ctx, &c) : 0;
}

int rename_log_each(struct rename_log *l, int (*fn)(void *ctx, const struct rename_copied *c),
		    void *ctx)
{
	struct copied_reader r = {fn, ctx};

	return each_line(l->fd, take_copied, &r);
}

struct head_reader {
	const char *place;
	struct rename_intent *intent;
	unsigned lines;
	bool deleting;
};

static int take_key(char *field, struct buf *ret)
{
	size_t length;
	char *key = decode(field, &length);

	return key == NULL || length > S3_KEY_MAX ? -EINVAL : buf_append(ret, key, length);
}

static int take_intent(struct head_reader *h, char *line)
{
	char *fields[5];
	int rc;

	if (split(line, fields, 5) != 5 || strcmp(fields[0], "R") != 0 ||
	    text_parse_u64(fields[3], &h->intent->wall_s) < 0)
		return -EINVAL;
	h->intent->is_dir = fields[4][0] == 'd';
	h->intent->replaces = strchr(fields[4], 'r') != NULL;
	rc = take_key(fields[1], &h->intent->from);
	return rc < 0 ? rc : take_key(fields[2], &h->intent->to);
}

static int take_head(void *ctx, char *line)
{
	struct head_reader *h = ctx;
	size_t length;
	char *place;

	if (h->lines++ > 1) {
		h->deleting = h->deleting || strcmp(line, "D") == 0;
		return 0;
	}
	if (h->lines == 2)
		return take_intent(h, line);
	if (!text_starts_with(line, MAGIC " "))
		return -EINVAL;
	place = decode(line + strlen(MAGIC " "), &length);
	return place != NULL && strcmp(place, h->place) == 0 ? 0 : -EINVAL;
}

bool rename_log_is_of(int fd, const char *place)
{
	struct rename_intent unused = {.from = BUF_INIT, .to = BUF_INIT};
	struct head_reader h = {.place = place, .intent = &unused};
	int rc = each_line(fd, take_head, &h);

	buf_finish(&unused.from);
	buf_finish(&unused.to);
	return rc == 0;
}

int rename_log_take(int dir_fd, const char *name, int fd, const char *place,
		    struct rename_intent *ret_intent, bool *ret_deleting, struct rename_log **ret)
{
	struct head_reader h = {.place = place, .intent = ret_intent};
	struct rename_log *l = calloc(1, sizeof(*l));
	int rc = l != NULL ? each_line(fd, take_head, &h) : -ENOMEM;

	if (rc == 0 && h.lines < 2)
		rc = -ENODATA; /* the daemon died before it did anything */
	if (rc < 0) {
		free(l);
		close(fd);
		return rc;
	}
	*l = (struct rename_log){.fd = fd, .dir_fd = dup(dir_fd), .path = strdup(name)};
	if (l->dir_fd < 0 || l->path == NULL) {
		log_free(l);
		return -ENOMEM;
	}
	*ret_deleting = h.deleting;
	*ret = l;
	return 0;
}
