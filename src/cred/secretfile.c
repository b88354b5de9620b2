/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads files that may hold secrets. The checks are made on the descriptor that is then read, so
 * that nobody can swap the file in between. O_NONBLOCK: a FIFO must not hang the mount.
 */
#include "cred_private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define FILE_BYTES_MAX MIB

static int explain_open(const char *path, bool follow, int err, struct explain *e)
{
	if (err == ENOENT || err == ENOTDIR)
		return -ENOENT;
	if (err == ELOOP && !follow)
		return cred_explain(
		    e, ELOOP, "%s is a symbolic link; give the path of the file itself", path);
	return cred_explain(e, err, "%s cannot be opened: %s", path, strerrordesc_np(err));
}

/* Reads to the end; the file may have changed its size since fstat. */
static int read_all(int fd, struct secret_text *t)
{
	size_t room = (size_t)t->stat.st_size + 1;

	t->bytes = malloc(room + 1);
	if (t->bytes == NULL)
		return -ENOMEM;
	while (t->length < room) {
		ssize_t n = read(fd, t->bytes + t->length, room - t->length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		t->length += (size_t)n;
	}
	t->bytes[t->length] = '\0';
	return t->length < room ? 0 : -EBUSY;
}

int secret_text_read(const char *path, bool follow, struct secret_text *ret, struct explain *e)
{
	int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (follow ? 0 : O_NOFOLLOW);
	CLEANUP(close) int fd = open(path, flags);
	CLEANUP(secret_text_finish) struct secret_text t = {0};
	int err;

	if (fd < 0)
		return explain_open(path, follow, errno, e);
	if (fstat(fd, &t.stat) != 0)
		return cred_explain(e, errno, "%s: %s", path, strerrordesc_np(errno));
	if (!S_ISREG(t.stat.st_mode))
		return cred_explain(e, EINVAL, "%s is not a regular file", path);
	if ((uint64_t)t.stat.st_size > FILE_BYTES_MAX)
		return cred_explain(e, EFBIG, "%s is larger than 1 MiB: not a file with keys",
				    path);
	err = read_all(fd, &t);
	if (err == -EBUSY)
		return cred_explain(e, EBUSY, "%s changed while it was read; try again", path);
	if (err < 0)
		return cred_explain(e, -err, "%s cannot be read: %s", path, strerrordesc_np(-err));
	*ret = t;
	t = (struct secret_text){0};
	return 0;
}

void secret_text_finish(struct secret_text *t)
{
	if (t == NULL)
		return;
	if (t->bytes != NULL)
		explicit_bzero(t->bytes, t->length);
	free(t->bytes);
	*t = (struct secret_text){0};
}

int secret_text_check(const struct secret_text *t, const char *path, struct explain *e)
{
	uid_t me = geteuid();

	if (t->stat.st_uid != me && t->stat.st_uid != 0)
		return cred_explain(
		    e, EACCES,
		    "%s holds secret keys and belongs to uid %u, neither to you (uid "
		    "%u) nor to root; use a file of your own",
		    path, (unsigned)t->stat.st_uid, (unsigned)me);
	if ((t->stat.st_mode & (S_IRWXG | S_IRWXO)) != 0)
		return cred_explain(e, EACCES,
				    "%s holds secret keys and is open to others (mode %04o); run: "
				    "chmod 600 %s",
				    path, (unsigned)t->stat.st_mode & 07777, path);
	return 0;
}
