/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes that somebody else owns and that stay valid until released: a read's answer. */
#ifndef PAILFS_VIEW_H
#define PAILFS_VIEW_H

#include <stddef.h>
#include <sys/uio.h>

#define VIEW_IOVS_MAX 18 /* 2 MiB of 128 KiB blocks at any alignment */

struct view {
	struct iovec iov[VIEW_IOVS_MAX];
	int iov_count;
	size_t length; /* sum of the iovecs */
	void *owner[VIEW_IOVS_MAX];
	void (*release)(struct view *v); /* NULL: nothing to release */
};

/* Gives the bytes back; the view is empty afterwards. An empty one is fine. */
static inline void view_release(struct view *v)
{
	if (v->release != NULL)
		v->release(v);
	v->release = NULL;
	v->iov_count = 0;
	v->length = 0;
}

#endif
