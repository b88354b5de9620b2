/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on the name and the handles: fsync, close and reopen, unlink and make anew, rename. */
#include "fsx.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool op_stat(struct fsx *f)
{
	compare_size(f);
	return true;
}

bool op_fsync(struct fsx *f)
{
	struct handle *h = handle_for(f, false, false);
	bool data = chance_percent(&f->chance, 30);

	if (h == NULL)
		return false;
	trail_note(&f->trail, UINT64_MAX, 0, "%llu %s, size %llu", (unsigned long long)f->step,
		   data ? "fdatasync" : "fsync", (unsigned long long)f->model.size);
	if ((data ? fdatasync(h->fd) : fsync(h->fd)) < 0)
		fail_at(f, UINT64_MAX, "fsync: %s", strerror(errno));
	published(f, "fsync");
	return true;
}

static int pick_flags(struct fsx *f)
{
	static const int flags[] = {
	    O_RDWR,  O_RDWR, O_RDWR, O_RDWR, O_WRONLY, O_WRONLY | O_APPEND, O_RDWR | O_APPEND,
	    O_RDONLY};
	int chosen = flags[chance_below(&f->chance, ARRAY_SIZE(flags))];

	if (chosen == O_RDONLY)
		return chosen;
	if (f->set.fresh ? !any_open(f, true) : chance_percent(&f->chance, 6))
		chosen |= O_TRUNC;
	return chosen;
}

/* Opens what is closed; at least one handle can read and write now and then, so let it be. */
static void open_closed(struct fsx *f)
{
	for (unsigned i = 0; i < f->set.handles; i++) {
		int flags = f->handles[i].fd < 0 ? pick_flags(f) : 0;

		if (f->handles[i].fd >= 0)
			continue;
		trail_note(&f->trail, 0, (flags & O_TRUNC) != 0 ? UINT64_MAX : 0,
			   "%llu open handle %u, flags %o, size %llu", (unsigned long long)f->step,
			   i, (unsigned)flags, (unsigned long long)f->model.size);
		handle_open(f, &f->handles[i], flags);
		if ((flags & O_TRUNC) != 0) {
			model_resize(&f->model, 0);
			f->changed = true;
			pick_cap(f);
		}
	}
}

static void note(struct fsx *f, const char *what)
{
	trail_note(&f->trail, UINT64_MAX, 0, "%llu %s, size %llu", (unsigned long long)f->step,
		   what, (unsigned long long)f->model.size);
}

bool op_reopen(struct fsx *f)
{
	bool all = f->set.handles == 1 || chance_percent(&f->chance, 40);
	unsigned one = (unsigned)chance_below(&f->chance, f->set.handles);

	note(f, all ? "close all" : "close one");
	if (all) {
		close_all(f);
		published(f, "close");
		if (chance_percent(&f->chance, 10) && f->set.weights[OP_TRUNCNAME] > 0 &&
		    op_truncname(f))
			published(f, "truncate");
	} else {
		handle_close(f, &f->handles[one]);
	}
	open_closed(f);
	return true;
}

void make_file(struct fsx *f)
{
	int flags = O_CREAT | (chance_percent(&f->chance, 50) ? O_EXCL : 0);

	flags |= chance_percent(&f->chance, 75) ? O_RDWR : O_WRONLY;
	note(f, "make it");
	handle_open(f, &f->handles[0], flags);
	model_resize(&f->model, 0);
	f->changed = true;
	f->unflushed = false;
	pick_cap(f);
	open_closed(f);
	if (chance_percent(&f->chance, 70))
		op_fill(f);
}

bool op_recreate(struct fsx *f)
{
	note(f, "close all and unlink");
	close_all(f);
	published(f, "close");
	if (unlink(f->path) < 0)
		fail_at(f, UINT64_MAX, "unlink: %s", strerror(errno));
	make_file(f);
	return true;
}

bool op_rename(struct fsx *f)
{
	char *old = f->path;

	note(f, "rename");
	if (rename(f->path, f->other_path) < 0)
		fail_at(f, UINT64_MAX, "rename: %s", strerror(errno));
	f->path = f->other_path;
	f->other_path = old;
	return true;
}

void make_source(struct fsx *f)
{
	FILE *file = fopen(f->source_path, "we");

	if (file == NULL || fwrite(f->model.source, f->model.source_size, 1, file) != 1 ||
	    fclose(file) != 0)
		fail_at(f, UINT64_MAX, "%s: %s", f->source_path, strerror(errno));
}
