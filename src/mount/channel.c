/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands between libfuse and /dev/fuse: one flag, and where the bytes of a WRITE go.
 *
 * A request is read into libfuse's buffer as far as the head of a WRITE, and behind that into
 * pieces of fs/, page by page as the kernel has them. fs_write takes over what it need not copy,
 * and the next read has other pieces in their place. Of all other requests the rest is copied
 * behind their beginning: few are that long.
 *
 * Each piece may keep a whole mapping of their slab in memory, beside the budget. So a thread holds
 * pieces only while it reads WRITEs that can fill one: from the first of them on, which comes into
 * libfuse's buffer, until QUIET_READS requests came without one. INTAKES_MAX threads at a time.
 *
 * libfuse 3.14 takes FUSE_CAP_PARALLEL_DIROPS from us and does not tell the kernel (its issue 861,
 * mended later), which then holds a lock of the directory over each lookup: one at a time, whatever
 * the round trip to S3. So the flag is set in the reply to INIT, if the kernel has offered it. It
 * is the first reply there is, and the kernel sends nothing else before it came. Every other reply
 * is handed on as it is: no copy, and splicing, which this mount does not use, would go past it.
 *
 * libfuse's worker threads. The state is written before INIT is answered, by the one worker that
 * answers it; the others wait in read(2) until then.
 */
#include "mount_private.h"

#include <errno.h>
#include <linux/fuse.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include <pailfs/cleanup.h>

#define WRITE_HEAD_BYTES (sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in))
#define INTAKE_PIECES (REQUEST_DATA_BYTES / FS_PIECE_BYTES)
#define INTAKES_MAX 8
#define QUIET_READS 16

/* What a thread reads writes into, while there are large ones. */
struct intake {
	struct mount *mount;
	void *pieces[INTAKE_PIECES];
	bool holds_write; /* the bytes of the WRITE that was read last */
	unsigned quiet;	  /* reads since the last large WRITE */
};

static bool count_intake(struct mount *m)
{
	SCOPED_LOCK(&m->intake_lock);
	if (m->intakes == INTAKES_MAX)
		return false;
	m->intakes++;
	return true;
}

static void uncount_intake(struct mount *m)
{
	SCOPED_LOCK(&m->intake_lock);
	m->intakes--;
	cond_broadcast(&m->intake_gone);
}

/* Gives all back; also when a thread ends. */
static void intake_destroy(void *ctx)
{
	struct intake *i = ctx;
	struct mount *m = i->mount;

	for (size_t k = 0; k < INTAKE_PIECES; k++)
		fs_piece_put(m->fs, i->pieces[k]);
	free(i);
	uncount_intake(m);
}

/* Makes one for this thread, unless there are enough, or no memory. */
static void intake_create(struct mount *m)
{
	struct intake *i;

	if (!count_intake(m))
		return;
	i = calloc(1, sizeof(*i));
	if (i != NULL && pthread_setspecific(m->intake_key, i) == 0) {
		i->mount = m;
		return;
	}
	free(i);
	uncount_intake(m);
}

/* This thread's for its next read; NULL: it has none, or had it for too long without need. */
static struct intake *intake_of_thread(struct mount *m)
{
	struct intake *i = pthread_getspecific(m->intake_key);

	if (i == NULL)
		return NULL;
	i->holds_write = false;
	if (i->quiet < QUIET_READS)
		return i;
	pthread_setspecific(m->intake_key, NULL);
	intake_destroy(i);
	return NULL;
}

/* Gets pieces for those that a write has taken over. False: there is no memory. */
static bool intake_fill(struct intake *i)
{
	for (size_t k = 0; k < INTAKE_PIECES; k++) {
		if (i->pieces[k] == NULL)
			i->pieces[k] = fs_piece_get(i->mount->fs);
		if (i->pieces[k] == NULL)
			return false;
	}
	return true;
}

/* Copies what of a request lies in the pieces to where libfuse looks for it. */
static void gather(const struct intake *i, char *dst, size_t n)
{
	for (size_t k = 0; n > 0; k++) {
		size_t step = MIN(n, FS_PIECE_BYTES);

		memcpy(dst, i->pieces[k], step);
		dst += step;
		n -= step;
	}
}

static ssize_t intake_read(struct intake *i, int fd, char *bytes)
{
	struct iovec iov[1 + INTAKE_PIECES] = {{bytes, WRITE_HEAD_BYTES}};
	struct fuse_in_header head;
	ssize_t n;

	for (size_t k = 0; k < INTAKE_PIECES; k++)
		iov[1 + k] = (struct iovec){i->pieces[k], FS_PIECE_BYTES};
	n = readv(fd, iov, ARRAY_SIZE(iov));
	if (n < (ssize_t)WRITE_HEAD_BYTES)
		return n;
	memcpy(&head, bytes, sizeof(head));
	i->holds_write = head.opcode == FUSE_WRITE;
	if (!i->holds_write)
		gather(i, bytes + WRITE_HEAD_BYTES, (size_t)n - WRITE_HEAD_BYTES);
	return n;
}

/* A WRITE that can fill a piece. */
static bool is_large_write(const char *bytes, ssize_t n)
{
	struct fuse_in_header head;

	if (n < (ssize_t)(WRITE_HEAD_BYTES + FS_PIECE_BYTES))
		return false;
	memcpy(&head, bytes, sizeof(head));
	return head.opcode == FUSE_WRITE;
}

/* As read(2). */
static ssize_t read_request(struct mount *m, int fd, char *bytes, size_t size)
{
	struct intake *i = intake_of_thread(m);
	bool large, in_pieces = i != NULL && size >= WRITE_HEAD_BYTES + REQUEST_DATA_BYTES;
	ssize_t n;

	if (in_pieces && intake_fill(i))
		n = intake_read(i, fd, bytes);
	else
		n = read(fd, bytes, size);
	large = is_large_write(bytes, n);
	if (i != NULL)
		i->quiet = large ? 0 : i->quiet + 1;
	else if (large)
		intake_create(m);
	return n;
}

void **channel_pieces(struct mount *m)
{
	struct intake *i = m->has_channel ? pthread_getspecific(m->intake_key) : NULL;

	return i != NULL && i->holds_write ? i->pieces : NULL;
}

enum init_state { INIT_AWAITED, INIT_OFFERED, INIT_SETTLED };

static ssize_t channel_read(int fd, void *bytes, size_t size, void *userdata)
{
	struct mount *m = userdata;
	ssize_t n = read_request(m, fd, bytes, size);
	struct fuse_in_header head;
	struct fuse_init_in init;
	const size_t known = offsetof(struct fuse_init_in, flags) + sizeof(init.flags);

	if (__atomic_load_n(&m->init_state, __ATOMIC_ACQUIRE) != INIT_AWAITED ||
	    n < (ssize_t)(sizeof(head) + known))
		return n;
	memcpy(&head, bytes, sizeof(head));
	memcpy(&init, (const char *)bytes + sizeof(head), known);
	if (head.opcode == FUSE_INIT && (init.flags & FUSE_PARALLEL_DIROPS) != 0)
		__atomic_store_n(&m->init_state, INIT_OFFERED, __ATOMIC_RELEASE);
	return n;
}

/* The reply to INIT with the flag; as writev(2). */
static ssize_t write_init(int fd, const struct iovec *iov)
{
	struct fuse_init_out out = {0};
	struct iovec both[] = {iov[0], {.iov_base = &out, .iov_len = iov[1].iov_len}};

	memcpy(&out, iov[1].iov_base, iov[1].iov_len);
	out.flags |= FUSE_PARALLEL_DIROPS;
	return writev(fd, both, ARRAY_SIZE(both));
}

static ssize_t channel_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	struct mount *m = userdata;
	bool settled = __atomic_load_n(&m->init_state, __ATOMIC_ACQUIRE) == INIT_SETTLED;
	const struct fuse_out_header *head = iov[0].iov_base;

	if (settled || count != 2 || iov[0].iov_len != sizeof(*head) || head->error != 0 ||
	    iov[1].iov_len < offsetof(struct fuse_init_out, max_background) ||
	    iov[1].iov_len > sizeof(struct fuse_init_out))
		return writev(fd, iov, count);
	if (__atomic_exchange_n(&m->init_state, INIT_SETTLED, __ATOMIC_ACQ_REL) != INIT_OFFERED)
		return writev(fd, iov, count);
	return write_init(fd, iov);
}

int channel_install(struct mount *m)
{
	const struct fuse_custom_io io = {.read = channel_read, .writev = channel_writev};
	int rc = pthread_key_create(&m->intake_key, intake_destroy);

	if (rc != 0)
		return -rc;
	m->has_channel = true;
	lock_init(&m->intake_lock, LOCK_LEAF);
	cond_init(&m->intake_gone);
	rc = fuse_session_custom_io(m->session, &io, fuse_session_fd(m->session));
	return rc == 0 ? 0 : rc == -1 ? -EINVAL : rc;
}

void channel_drain(struct mount *m)
{
	if (!m->has_channel)
		return;
	SCOPED_LOCK(&m->intake_lock);
	while (m->intakes > 0)
		cond_wait(&m->intake_gone, &m->intake_lock);
}

void channel_finish(struct mount *m)
{
	if (!m->has_channel)
		return;
	pthread_key_delete(m->intake_key);
	cond_finish(&m->intake_gone);
	lock_finish(&m->intake_lock);
}
