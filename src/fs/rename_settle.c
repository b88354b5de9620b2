/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread that settles, at the start of a mount. What happened between the death of the daemon
 * and now is not known, so both sides of each key are looked at before anything is deleted: a copy
 * goes only while its source is there, a source only while its copy is.
 */
#include "rename_settle.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>
#include <pailfs/text.h>

#include "copy.h"
#include "journal_private.h"
#include "rename_private.h"

#define SHOWN_BYTES 256

/* One log. */
struct settling {
	struct fs *fs;
	struct cancel cancel;
	struct rename_intent intent;
	bool deleting;
	struct rename_log *log;
	struct tree tree;
	char from[SHOWN_BYTES], to[SHOWN_BYTES];
};

static int poll_settling(struct cancel *c)
{
	struct settling *s = CONTAINER_OF(c, struct settling, cancel);

	SCOPED_LOCK(&s->fs->lock);
	return s->fs->stopping ? -EINTR : 0;
}

static int take_line(void *ctx, const struct rename_copied *c)
{
	return tree_note_copied(ctx, c);
}

static void tell(struct settling *s, int rc)
{
	if (rc == -EINTR)
		return;
	if (rc < 0)
		log_warn("a daemon was killed while it renamed %s to %s: %llu objects are on both "
			 "sides, or changed since, and stay: %s",
			 s->from, s->to, (unsigned long long)s->tree.left, strerror(-rc));
	else if (s->deleting)
		log_info("a daemon was killed while it renamed %s to %s: that is finished now, "
			 "%llu objects that were left at the source are removed",
			 s->from, s->to, (unsigned long long)s->tree.deleted);
	else
		log_info("a daemon was killed while it renamed %s to %s: that is taken back, "
			 "%llu copies are removed",
			 s->from, s->to, (unsigned long long)s->tree.deleted);
}

static int settle_dir(struct settling *s)
{
	struct tree *t = &s->tree;
	int rc = rename_log_each(s->log, take_line, t);

	t->look_back = t->in_doubt = true;
	t->replaces = s->intent.replaces;
	t->since_s = s->intent.wall_s;
	if (rc == 0)
		rc = s->deleting ? tree_delete_sources(t) : tree_take_back(t);
	return rc;
}

/* A file whose copy is there loses its source: the rename is done. */
static int settle_file(struct settling *s)
{
	struct tree *t = &s->tree;
	struct batch b = {0};
	char source[S3_ETAG_MAX], copy[S3_ETAG_MAX];
	int rc = rename_log_each(s->log, take_line, t);

	if (rc == 0)
		rc = copy_is_there(s->fs, t->from, t->to, t->lines > 0 ? 0 : s->intent.wall_s - 2,
				   &s->cancel, source, copy);
	if (rc == 1 && t->lines > 0 &&
	    !(keyset_has(&t->copied, "", 0, source) && keyset_has(&t->made, "", 0, copy)))
		rc = 0; /* one of them was changed since */
	if (rc == -ENOENT)
		rc = 0;
	s->deleting = rc == 1;
	if (rc == 1)
		rc = batch_add(&b, t->from, "", 0, source);
	if (rc == 0 && b.count > 0)
		rc = batch_delete(s->fs, &b, true, &s->cancel);
	if (rc == 0 && b.count > 0)
		rc = b.keys[0].err;
	t->deleted += rc == 0 && b.count > 0;
	batch_finish(&b);
	return rc;
}

/* Waits for renames of this mount, and they for it. */
static int settle_log(struct settling *s)
{
	struct gate gate = {.from = &s->intent.from, .to = &s->intent.to};
	int rc = tree_init(&s->tree, s->fs, &s->intent.from, &s->intent.to);

	s->tree.cancel = &s->cancel;
	text_printable(s->intent.from.data, s->intent.from.length, s->from, SHOWN_BYTES);
	text_printable(s->intent.to.data, s->intent.to.length, s->to, SHOWN_BYTES);
	if (rc == 0)
		rc = gate_enter(s->fs, &gate, &s->cancel);
	if (rc == 0)
		rc = s->intent.is_dir ? settle_dir(s) : settle_file(s);
	gate_leave(s->fs, &gate);
	tell(s, rc);
	tree_finish(&s->tree);
	return rc;
}

static void settle_name(struct fs *fs, int dir_fd, const char *name)
{
	struct settling s = {.fs = fs, .cancel = {.poll = poll_settling}};
	int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), rc;
	struct stat st;

	if (fd < 0)
		return;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
	    !rename_log_is_of(fd, fs->place) || flock(fd, LOCK_EX | LOCK_NB) < 0) {
		close(fd); /* its daemon lives, or it is not ours */
		return;
	}
	rc = rename_log_take(dir_fd, name, fd, fs->place, &s.intent, &s.deleting, &s.log);
	if (rc == -ENODATA)
		unlinkat(dir_fd, name, 0);
	if (rc == 0 && s.intent.from.length > 0 && s.intent.to.length > 0) {
		rc = settle_log(&s);
		/* what stays is on both sides: nobody but its owner can tell more */
		if (rc == 0 || (rc == -EIO && s.tree.left > 0))
			rename_log_end(s.log);
		else
			rename_log_keep(s.log);
	} else if (rc == 0) {
		rename_log_end(s.log);
	}
	buf_finish(&s.intent.from);
	buf_finish(&s.intent.to);
}

void rename_settle(struct fs *fs)
{
	char prefix[sizeof(RENAME_PREFIX) + JOURNAL_HOST_BYTES + 1], host[JOURNAL_HOST_BYTES];
	struct dirent *e;
	DIR *d;

	if (journal_check_dir(fs->config.journal_dir) < 0)
		return;
	d = opendir(fs->config.journal_dir);
	if (d == NULL)
		return;
	snprintf(prefix, sizeof(prefix), RENAME_PREFIX "%s-", journal_host(host));
	while ((e = readdir(d)) != NULL)
		if (text_starts_with(e->d_name, prefix))
			settle_name(fs, dirfd(d), e->d_name);
	closedir(d);
}
