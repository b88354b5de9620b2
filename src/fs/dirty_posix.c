/* SPDX-License-Identifier: Apache-2.0 */
/* What is stored with a file under write in posix mode. Under the dirty's lock; nothing waits. */
#include <errno.h>
#include <string.h>

#include "dirty.h"
#include "node.h"

static bool is_later(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

void dirty_posix_meta_locked(const struct dirty *d, struct file_meta *ret)
{
	lock_assert_held(&d->lock);
	*ret = d->meta;
	ret->has |= META_HAS_MTIME;
	ret->mtime = d->modified;
	/* writing moves both times; setting them only the one that says when it was done */
	if (!d->times_given && is_later(&d->modified, &ret->ctime)) {
		ret->has |= META_HAS_CTIME;
		ret->ctime = d->modified;
	}
}

int dirty_posix_set_locked(struct dirty *d, const struct file_meta *meta)
{
	char *xattr = meta->xattr != NULL ? strdup(meta->xattr) : NULL;

	lock_assert_held(&d->lock);
	if (meta->xattr != NULL && xattr == NULL)
		return -ENOMEM;
	free((char *)(uintptr_t)d->meta.xattr);
	d->meta = *meta;
	d->meta.xattr = xattr;
	d->meta.target = NULL;
	d->meta.has &= ~(unsigned)META_HAS_TARGET;
	return 0;
}

int dirty_posix_fill_locked(const struct dirty *d, struct dirty_meta *m)
{
	struct file_meta meta;

	dirty_posix_meta_locked(d, &meta);
	if (meta.xattr != NULL) {
		m->xattr = strdup(meta.xattr);
		if (m->xattr == NULL)
			return -ENOMEM;
		meta.xattr = m->xattr;
	}
	file_meta_format(&meta, fs_dialect(d->fs), &m->text);
	for (unsigned k = 0; k < m->text.count; k++)
		m->meta[m->own++] = m->text.meta[k];
	return 0;
}

int xattrs_of_dirty_locked(struct dirty *d, struct xattrs *ret)
{
	int rc;

	SCOPED_LOCK(&d->lock);
	rc = xattrs_parse(d->meta.xattr, ret);
	return rc == -EBADMSG ? 0 : rc;
}
