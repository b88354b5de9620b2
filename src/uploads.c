/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unfinished uploads of a bucket, of whoever began them: parts that are billed and that no listing
 * of objects shows. A mount aborts its own; here somebody asks for all below a prefix. First
 * thread; each page is dealt with before the next one is asked for.
 */
#include "uploads.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <pailfs/buf.h>
#include <pailfs/cleanup.h>
#include <pailfs/text.h>

#define SHOWN_BYTES (4 * S3_KEY_MAX + 1) /* each byte may need four */
#define MINUTE_S 60
#define HOUR_S (60 * MINUTE_S)
#define DAY_S (24 * HOUR_S)

/* One run. */
struct listing {
	struct xfer *xfer;
	const struct uploads_ask *ask;
	int64_t now_s; /* the server's */
	uint64_t shown, aborted, failed;
	struct buf key_marker, upload_marker;
};

static const char *format_age(int64_t age_s, char *dst, size_t size)
{
	int64_t s = age_s > 0 ? age_s : 0;

	if (s >= DAY_S)
		snprintf(dst, size, "%lldd %lldh", (long long)(s / DAY_S),
			 (long long)(s % DAY_S / HOUR_S));
	else if (s >= HOUR_S)
		snprintf(dst, size, "%lldh %lldm", (long long)(s / HOUR_S),
			 (long long)(s % HOUR_S / MINUTE_S));
	else
		snprintf(dst, size, "%lldm %llds", (long long)(s / MINUTE_S),
			 (long long)(s % MINUTE_S));
	return dst;
}

static const char *format_time(const struct timespec *t, char *dst, size_t size)
{
	struct tm utc;

	if (t->tv_sec == 0 || gmtime_r(&t->tv_sec, &utc) == NULL ||
	    strftime(dst, size, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
		snprintf(dst, size, "unknown");
	return dst;
}

static int abort_upload(struct listing *l, const struct s3_upload *u)
{
	struct xfer_op op;
	int rc;

	xfer_op_init(&op, S3_ABORT_MULTIPART, XFER_META);
	op.s3.key = u->key;
	op.s3.key_length = u->key_length;
	op.s3.upload_id = u->id;
	op.quiet = true;
	rc = xfer_run(l->xfer, &op, NULL);
	xfer_op_finish(&op);
	return rc;
}

/* One of unknown age counts as young. */
static bool is_asked_for(const struct listing *l, const struct s3_upload *u)
{
	int64_t age_s = u->initiated.tv_sec != 0 ? l->now_s - u->initiated.tv_sec : 0;

	return age_s >= (int64_t)(l->ask->older_than_ns / NS_PER_S);
}

static void deal_with(struct listing *l, const struct s3_upload *u)
{
	char key[SHOWN_BYTES], age[32], when[32];
	int rc;

	if (!is_asked_for(l, u))
		return;
	l->shown++;
	printf("%s\t%s\t%s\t%s\n", format_time(&u->initiated, when, sizeof(when)),
	       format_age(l->now_s - u->initiated.tv_sec, age, sizeof(age)), u->id,
	       text_printable(u->key, u->key_length, key, sizeof(key)));
	if (!l->ask->abort)
		return;
	rc = abort_upload(l, u);
	if (rc == 0)
		l->aborted++;
	else
		fprintf(stderr, "pailfs: the upload %s of %s cannot be aborted: %s\n", u->id, key,
			rc == -ENXIO ? "the server does not know it (any more)" : strerror(-rc));
	l->failed += rc < 0;
}

/* Where the next page begins. */
static int note_markers(struct listing *l, const struct s3_upload_page *page)
{
	int rc;

	buf_clear(&l->key_marker);
	buf_clear(&l->upload_marker);
	if (page->next_key == NULL)
		return -EIO;
	rc = buf_append(&l->key_marker, page->next_key, page->next_key_length);
	if (rc == 0 && page->next_upload != NULL)
		rc = buf_append_str(&l->upload_marker, page->next_upload);
	return rc;
}

/* 1 if there are more. */
static int one_page(struct listing *l)
{
	struct xfer_op op;
	bool more;
	int rc;

	xfer_op_init(&op, S3_LIST_UPLOADS, XFER_META);
	op.s3.prefix = l->ask->prefix;
	op.s3.prefix_length = strlen(l->ask->prefix);
	op.s3.max_keys = S3_LIST_ENTRIES_MAX;
	op.quiet = true;
	if (l->key_marker.length > 0) {
		op.s3.key_marker = l->key_marker.data;
		op.s3.key_marker_length = l->key_marker.length;
		op.s3.upload_marker = l->upload_marker.length > 0 ? l->upload_marker.data : NULL;
	}
	rc = xfer_run(l->xfer, &op, NULL);
	if (rc < 0)
		fprintf(stderr, "pailfs: %s: its uploads cannot be listed: %s%s%s\n",
			l->ask->bucket, strerror(-rc), op.s3.result.message[0] != '\0' ? ": " : "",
			op.s3.result.message);
	for (size_t k = 0; rc == 0 && k < op.s3.upload_page.upload_count; k++)
		deal_with(l, &op.s3.upload_page.uploads[k]);
	more = rc == 0 && op.s3.upload_page.truncated;
	if (more)
		rc = note_markers(l, &op.s3.upload_page);
	xfer_op_finish(&op);
	return rc < 0 ? rc : more;
}

int uploads_command(struct xfer *xfer, const struct uploads_ask *ask)
{
	struct listing l = {.xfer = xfer, .ask = ask};
	struct s3_target target;
	int rc;

	xfer_target(xfer, &target);
	l.now_s = time(NULL) + target.clock_offset_s;
	do
		rc = one_page(&l);
	while (rc > 0);
	buf_finish(&l.key_marker);
	buf_finish(&l.upload_marker);
	if (rc == 0)
		fprintf(stderr, "%llu unfinished upload%s in %s%s%s", (unsigned long long)l.shown,
			l.shown == 1 ? "" : "s", ask->bucket, ask->prefix[0] != '\0' ? ":/" : "",
			ask->prefix);
	if (rc == 0 && ask->abort)
		fprintf(stderr, ", %llu aborted", (unsigned long long)l.aborted);
	if (rc == 0)
		fputc('\n', stderr);
	if (fflush(stdout) != 0)
		rc = -errno;
	return rc == 0 && l.failed > 0 ? -EIO : rc;
}
