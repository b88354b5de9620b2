/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal: lines that are only appended, so that a daemon that dies at any instant leaves a
 * journal that can be read up to its last whole line.
 *
 *	pailfs-journal 1 PLACE		place and keys are URL-encoded
 *	I ENTRY SECONDS KEY		an upload of KEY is about to be made
 *	U ENTRY ID			it has that id
 *	E ENTRY				it is over
 *
 * It guards against a killed daemon, not against a machine that loses power within the seconds
 * that the kernel takes to write; so nothing waits for the disk. When nothing is open the file is
 * cut to its first line. The lock is held over one write(2) of a line to a local file, as the log
 * holds its own.
 */
#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <pailfs/buf.h>
#include <pailfs/cleanup.h>
#include <pailfs/lock.h>
#include <pailfs/log.h>
#include <pailfs/text.h>

#include "journal_private.h"

#define OPEN_TRIES 8

struct journal {
	/* set at creation */
	int fd;
	char *path;
	size_t header_length;
	struct lock lock;
	/* under the lock */
	uint64_t last_entry;
	unsigned open;
	bool broken; /* a line could not be written: the file stays */
};

int journal_encode(struct buf *line, const char *bytes, size_t n)
{
	CLEANUP(free) char *text = malloc(text_url_encoded_length(bytes, n, false) + 1);

	if (text == NULL)
		return -ENOMEM;
	text_url_encode(bytes, n, false, text);
	return buf_append_str(line, text);
}

char *journal_host(char dst[JOURNAL_HOST_BYTES])
{
	struct utsname system;
	char *at;

	snprintf(dst, JOURNAL_HOST_BYTES, "%s",
		 uname(&system) == 0 ? system.nodename : "localhost");
	for (at = dst; *at != '\0'; at++)
		if (*at == '/' || *at == ' ')
			*at = '_';
	return dst;
}

/* The kernel's id of this boot, without its newline. */
static void boot_id(char dst[40])
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, dst, 36);

	if (fd >= 0)
		close(fd);
	if (n == 36)
		dst[36] = '\0';
	else
		strcpy(dst, "unknown");
}

static char *new_path(const char *dir, const char *prefix)
{
	char host[JOURNAL_HOST_BYTES], boot[40];
	uint32_t random = 0;

	boot_id(boot);
	if (getrandom(&random, sizeof(random), 0) < 0)
		random = (uint32_t)getpid();
	return text_format("%s/%s%s-%s-%d-%08x", dir, prefix, journal_host(host), boot,
			   (int)getpid(), random);
}

int journal_check_dir(const char *dir)
{
	struct stat st;

	if (lstat(dir, &st) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode))
		return -ENOTDIR;
	if (st.st_uid != geteuid() || (st.st_mode & 022) != 0)
		return -EACCES; /* anybody could have us abort anything */
	return 0;
}

/* A file of ours, locked. Another daemon that settles may have taken and removed it before:
 * -EAGAIN.
 */
static int open_locked(const char *path)
{
	struct stat st;
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return errno == EEXIST ? -EAGAIN : -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &st) == 0 && st.st_nlink > 0)
		return fd;
	close(fd);
	return -EAGAIN;
}

int journal_new_file(const char *dir, const char *prefix, char **ret_path)
{
	int fd = -EAGAIN;

	for (int tries = 0; fd == -EAGAIN && tries < OPEN_TRIES; tries++) {
		CLEANUP(free) char *path = new_path(dir, prefix);

		fd = path != NULL ? open_locked(path) : -ENOMEM;
		if (fd >= 0)
			*ret_path = TAKE(path);
	}
	return fd;
}

int journal_write_line(int fd, const struct buf *line)
{
	ssize_t n = write(fd, line->data, line->length);

	if (n < 0)
		return -errno;
	return (size_t)n == line->length ? 0 : -ENOSPC;
}

static int write_header(struct journal *j, const char *place)
{
	CLEANUP(buf_finish) struct buf line = BUF_INIT;
	int rc = buf_append_str(&line, JOURNAL_MAGIC " ");

	if (rc == 0)
		rc = journal_encode(&line, place, strlen(place));
	if (rc == 0)
		rc = buf_append_str(&line, "\n");
	if (rc == 0)
		rc = journal_write_line(j->fd, &line);
	j->header_length = line.length;
	return rc;
}

int journal_open(const char *dir, const char *place, struct journal **ret)
{
	struct journal *j = calloc(1, sizeof(*j));
	int rc = 0;

	if (j == NULL)
		return -ENOMEM;
	lock_init(&j->lock, LOCK_LEAF);
	j->fd = -1;
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		rc = -errno;
	if (rc == 0)
		rc = journal_check_dir(dir);
	if (rc == 0)
		rc = j->fd = journal_new_file(dir, JOURNAL_PREFIX, &j->path);
	if (rc >= 0)
		rc = write_header(j, place);
	if (rc < 0) {
		journal_close(j);
		return rc;
	}
	*ret = j;
	return 0;
}

void journal_close(struct journal *j)
{
	if (j == NULL)
		return;
	if (j->fd >= 0 && j->open == 0 && !j->broken)
		unlink(j->path);
	if (j->fd >= 0)
		close(j->fd);
	lock_finish(&j->lock);
	free(j->path);
	free(j);
}

static int append_locked(struct journal *j, const struct buf *line)
{
	int rc = journal_write_line(j->fd, line);

	lock_assert_held(&j->lock);
	if (rc < 0 && !j->broken) {
		j->broken = true;
		log_warn("the journal %s cannot be written (%s): uploads that a killed daemon "
			 "leaves will not be aborted",
			 j->path, strerror(-rc));
	}
	return rc;
}

uint64_t journal_intend(struct journal *j, const char *key, size_t key_length, uint64_t wall_s)
{
	CLEANUP(buf_finish) struct buf line = BUF_INIT;
	uint64_t entry;

	if (j == NULL)
		return 0;
	SCOPED_LOCK(&j->lock);
	entry = ++j->last_entry;
	if (buf_printf(&line, "I %llu %llu ", (unsigned long long)entry,
		       (unsigned long long)wall_s) < 0 ||
	    journal_encode(&line, key, key_length) < 0 || buf_append_str(&line, "\n") < 0)
		return 0;
	if (append_locked(j, &line) < 0)
		return 0;
	j->open++;
	return entry;
}

void journal_created(struct journal *j, uint64_t entry, const char *id)
{
	CLEANUP(buf_finish) struct buf line = BUF_INIT;

	if (j == NULL || entry == 0)
		return;
	SCOPED_LOCK(&j->lock);
	if (buf_printf(&line, "U %llu ", (unsigned long long)entry) < 0 ||
	    journal_encode(&line, id, strlen(id)) < 0 || buf_append_str(&line, "\n") < 0)
		return;
	append_locked(j, &line);
}

void journal_end(struct journal *j, uint64_t entry)
{
	CLEANUP(buf_finish) struct buf line = BUF_INIT;

	if (j == NULL || entry == 0)
		return;
	SCOPED_LOCK(&j->lock);
	if (buf_printf(&line, "E %llu\n", (unsigned long long)entry) < 0)
		return;
	append_locked(j, &line);
	if (--j->open == 0 && ftruncate(j->fd, (off_t)j->header_length) < 0)
		j->broken = true;
}
