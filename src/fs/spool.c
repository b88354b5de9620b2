/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The spool file. O_TMPFILE where the file system has it, else a file that is unlinked as soon as
 * it is made: the name is never needed, and a daemon that dies leaves nothing.
 */
#include "spool.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <pailfs/cleanup.h>
#include <pailfs/text.h>

static int open_and_unlink(const char *dir)
{
	CLEANUP(free) char *path = text_format("%s/pailfs-spool-XXXXXX", dir);
	int fd;

	if (path == NULL)
		return -ENOMEM;
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	unlink(path);
	return fd;
}

static int open_file(const char *dir)
{
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, 0600);

	if (fd >= 0)
		return fd;
	if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)
		return -errno;
	return open_and_unlink(dir);
}

int spool_check_dir(const char *dir)
{
	int fd = open_file(dir);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

/* Another descriptor of the file, which has no name; -1: the file system has no such way. */
static int open_direct(int fd)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
}

bool spool_is_direct(const char *dir)
{
	CLEANUP(close) int fd = open_file(dir);
	CLEANUP(close) int direct = fd >= 0 ? open_direct(fd) : -1;
	struct statfs st;

	return direct >= 0 && fstatfs(fd, &st) == 0 && st.f_type != TMPFS_MAGIC &&
	       st.f_type != RAMFS_MAGIC;
}

void spool_init(struct spool *s)
{
	s->fd = s->direct_fd = -1;
}

int spool_open(struct spool *s, const char *dir)
{
	int fd;

	if (s->fd >= 0)
		return 0;
	fd = open_file(dir);
	if (fd < 0)
		return fd;
	s->fd = fd;
	s->direct_fd = open_direct(fd);
	return 0;
}

void spool_finish(struct spool *s)
{
	if (s->fd >= 0)
		close(s->fd);
	if (s->direct_fd >= 0)
		close(s->direct_fd);
	spool_init(s);
}

int spool_reserve(struct spool *s, uint64_t offset, uint64_t length)
{
	while (fallocate(s->fd, FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length) < 0) {
		if (errno == EOPNOTSUPP || errno == ENOSYS)
			return 0;
		if (errno != EINTR)
			return -errno;
	}
	return 0;
}

int spool_write(struct spool *s, uint64_t offset, const void *data, size_t length)
{
	const char *at = data;

	while (length > 0) {
		ssize_t n = pwrite(s->fd, at, length, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		at += n;
		offset += (uint64_t)n;
		length -= (size_t)n;
	}
	return 0;
}

static bool are_aligned(uint64_t offset, const struct iovec *iov, int count)
{
	uint64_t bits = offset;
	int i;

	for (i = 0; i < count; i++)
		bits |= (uintptr_t)iov[i].iov_base | iov[i].iov_len;
	return bits % SPOOL_ALIGN_BYTES == 0;
}

int spool_write_pieces(struct spool *s, uint64_t offset, struct iovec *iov, int count)
{
	while (count > 0) {
		bool direct = s->direct_fd >= 0 && are_aligned(offset, iov, count);
		ssize_t n = pwritev(direct ? s->direct_fd : s->fd, iov, count, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EINVAL && direct) { /* it wants more than our alignment */
			close(s->direct_fd);
			s->direct_fd = -1;
			continue;
		}
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		offset += (uint64_t)n;
		for (; count > 0 && (size_t)n >= iov->iov_len; iov++, count--)
			n -= (ssize_t)iov->iov_len;
		if (count > 0) {
			iov->iov_base = (char *)iov->iov_base + n;
			iov->iov_len -= (size_t)n;
		}
	}
	return 0;
}

int spool_read(struct spool *s, uint64_t offset, void *data, size_t length)
{
	char *at = data;

	while (length > 0) {
		ssize_t n = pread(s->fd, at, length, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0) {
			memset(at, 0, length);
			return 0;
		}
		at += n;
		offset += (uint64_t)n;
		length -= (size_t)n;
	}
	return 0;
}

int spool_extend(struct spool *s, uint64_t size)
{
	struct stat st;

	if (fstat(s->fd, &st) < 0)
		return -errno;
	if ((uint64_t)st.st_size >= size)
		return 0;
	return ftruncate(s->fd, (off_t)size) < 0 ? -errno : 0;
}

int spool_truncate(struct spool *s, uint64_t size)
{
	if (s->fd < 0)
		return 0;
	return ftruncate(s->fd, (off_t)size) < 0 ? -errno : 0;
}

/* For file systems that cannot punch holes. */
static int write_zeros(struct spool *s, uint64_t offset, uint64_t length)
{
	static const char zeros[64 * 1024];
	struct stat st;
	int rc = fstat(s->fd, &st) < 0 ? -errno : 0;

	while (rc == 0 && length > 0 && offset < (uint64_t)st.st_size) {
		size_t n = MIN(length, sizeof(zeros));

		rc = spool_write(s, offset, zeros, n);
		offset += n;
		length -= n;
	}
	return rc;
}

int spool_zero(struct spool *s, uint64_t offset, uint64_t length)
{
	while (fallocate(s->fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, (off_t)offset,
			 (off_t)length) < 0) {
		if (errno == EOPNOTSUPP || errno == ENOSYS)
			return write_zeros(s, offset, length);
		if (errno != EINTR)
			return -errno;
	}
	return 0;
}
