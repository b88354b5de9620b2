/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands between libfuse and /dev/fuse: nothing but one flag.
 *
 * libfuse 3.14 takes FUSE_CAP_PARALLEL_DIROPS from us and does not tell the kernel (its issue 861,
 * mended later), which then holds a lock of the directory over each lookup: one at a time, whatever
 * the round trip to S3. So the flag is set in the reply to INIT, if the kernel has offered it. It
 * is the first reply there is, and the kernel sends nothing else before it came. Every other read
 * and write is handed on as it is: no copy, and splicing, which this mount does not use, would go
 * past it.
 *
 * libfuse's worker threads. The state is written before INIT is answered, by the one worker that
 * answers it; the others wait in read(2) until then.
 */
#include "mount_private.h"

#include <errno.h>
#include <linux/fuse.h>
#include <stddef.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include <pailfs/cleanup.h>

enum init_state { INIT_AWAITED, INIT_OFFERED, INIT_SETTLED };

static ssize_t channel_read(int fd, void *bytes, size_t size, void *userdata)
{
	struct mount *m = userdata;
	ssize_t n = read(fd, bytes, size);
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
	int rc = fuse_session_custom_io(m->session, &io, fuse_session_fd(m->session));

	return rc == 0 ? 0 : rc == -1 ? -EINVAL : rc;
}
