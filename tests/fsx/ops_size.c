/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on size and holes: truncation, fallocate, lseek, copy_file_range. */
#include "fsx.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static unsigned long long ull(uint64_t n)
{
	return n;
}

/* Mostly a bit smaller or larger than now, sometimes anything, rather large than small. */
static uint64_t pick_size(struct fsx *f)
{
	uint64_t kind = chance_below(&f->chance, 100), size = f->model.size;
	uint64_t near = chance_below(&f->chance, 2ul * f->set.block), one, other;

	if (kind < 45)
		return size > near ? size - near : size;
	if (kind < 90)
		return size + near < f->cap ? size + near : size;
	if (kind < 92)
		return 0;
	one = pick_offset(f, f->cap);
	other = pick_offset(f, f->cap);
	return one > other ? one : other;
}

bool op_truncate(struct fsx *f)
{
	struct handle *h = handle_for(f, false, true);
	uint64_t size = pick_size(f);

	if (h == NULL)
		return false;
	trail_note(&f->trail, size, UINT64_MAX - size, "%llu truncate to %llu, size %llu",
		   ull(f->step), ull(size), ull(f->model.size));
	if (ftruncate(h->fd, (off_t)size) < 0)
		fail_at(f, size, "ftruncate: %s", strerror(errno));
	model_resize(&f->model, size);
	f->changed = true;
	return true;
}

bool op_truncname(struct fsx *f)
{
	uint64_t size = pick_size(f);

	if (f->set.fresh && !any_open(f, true))
		return false;
	trail_note(&f->trail, size, UINT64_MAX - size, "%llu truncate by name to %llu, size %llu",
		   ull(f->step), ull(size), ull(f->model.size));
	if (truncate(f->path, (off_t)size) < 0)
		fail_at(f, size, "truncate: %s", strerror(errno));
	model_resize(&f->model, size);
	f->changed = true;
	return true;
}

/* grows: the range may lie beyond the end, and the size follows unless FALLOC_FL_KEEP_SIZE. */
static bool allocate(struct fsx *f, const char *what, int mode, bool grows, bool zeroes)
{
	struct handle *h = handle_for(f, false, true);
	uint64_t limit = grows ? f->cap : f->model.size, size = f->model.size, offset, length;

	if (h == NULL || limit == 0)
		return false;
	offset = size == 0 ? 0 : pick_offset(f, (size < limit ? size : limit) - 1);
	length = pick_length(f, (grows ? limit : f->set.max_size) - offset);
	trail_note(&f->trail, offset, length, "%llu %s %llu at %llu, mode %d, size %llu",
		   ull(f->step), what, ull(length), ull(offset), mode, ull(f->model.size));
	if (fallocate(h->fd, mode, (off_t)offset, (off_t)length) < 0)
		fail_at(f, offset, "fallocate, mode %d: %s", mode, strerror(errno));
	if (zeroes)
		model_zero(&f->model, offset, length);
	if ((mode & FALLOC_FL_KEEP_SIZE) == 0 && offset + length > f->model.size)
		model_resize(&f->model, offset + length);
	f->changed = true;
	return true;
}

bool op_allocate(struct fsx *f)
{
	return allocate(f, "allocate", 0, true, false);
}

bool op_keep(struct fsx *f)
{
	return allocate(f, "allocate", FALLOC_FL_KEEP_SIZE, true, false);
}

bool op_punch(struct fsx *f)
{
	return allocate(f, "punch", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, false, true);
}

bool op_zero(struct fsx *f)
{
	int keep = chance_percent(&f->chance, 50) ? FALLOC_FL_KEEP_SIZE : 0;

	return allocate(f, "zero", FALLOC_FL_ZERO_RANGE | keep, true, true);
}

static void expect_zeros(struct fsx *f, uint64_t from, uint64_t to, const char *what)
{
	for (uint64_t at = from; at < to; at++)
		if (f->model.bytes[at] != 0)
			fail_at(f, at, "%s: a hole from %llu to %llu, but there are bytes at %llu",
				what, ull(from), ull(to), ull(at));
}

/* lseek that may find nothing: the size then. */
static uint64_t seek(struct fsx *f, struct handle *h, uint64_t from, int whence, const char *what)
{
	off_t found = lseek(h->fd, (off_t)from, whence);

	if (found < 0 && errno == ENXIO && (whence == SEEK_DATA || from >= f->model.size))
		return f->model.size;
	if (found < 0)
		fail_at(f, from, "%s from %llu: %s", what, ull(from), strerror(errno));
	if ((uint64_t)found < from || (uint64_t)found > f->model.size)
		fail_at(f, from, "%s from %llu gives %llu, the size is %llu", what, ull(from),
			ull((uint64_t)found), ull(f->model.size));
	return (uint64_t)found;
}

/* Where a file system sees holes is its own affair, as long as they hold zeros and end. */
bool op_seek(struct fsx *f)
{
	struct handle *h = handle_for(f, false, false);
	uint64_t from, data, hole, end;

	if (h == NULL)
		return false;
	/* Linux asks FUSE without having sent it what was written by mappings. */
	if (f->unflushed && sync_file_range(h->fd, 0, 0,
					    SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
						SYNC_FILE_RANGE_WAIT_AFTER) < 0)
		fail_at(f, UINT64_MAX, "sync_file_range: %s", strerror(errno));
	from = pick_offset(f, f->model.size);
	trail_note(&f->trail, from, 1, "%llu seek from %llu, size %llu", ull(f->step), ull(from),
		   ull(f->model.size));
	data = seek(f, h, from, SEEK_DATA, "SEEK_DATA");
	expect_zeros(f, from, data, "SEEK_DATA");
	hole = seek(f, h, from, SEEK_HOLE, "SEEK_HOLE");
	end = hole < f->model.size ? seek(f, h, hole, SEEK_DATA, "SEEK_DATA") : hole;
	expect_zeros(f, hole, end, "SEEK_HOLE");
	if (from < f->model.size && data == from && hole == from)
		fail_at(f, from, "%llu is hole and data", ull(from));
	end = seek(f, h, f->model.size + chance_below(&f->chance, 3), SEEK_HOLE, "SEEK_HOLE");
	if (end != f->model.size)
		fail_at(f, UINT64_MAX, "SEEK_HOLE beyond the end gives %llu", ull(end));
	return true;
}

static void copy_range(struct fsx *f, int from_fd, uint64_t from, int to_fd, uint64_t to,
		       uint64_t length)
{
	off_t in = (off_t)from, out = (off_t)to;

	while (length > 0) {
		ssize_t n = copy_file_range(from_fd, &in, to_fd, &out, length, 0);

		if (n <= 0)
			fail_at(f, (uint64_t)out, "copy_file_range: %s",
				n < 0 ? strerror(errno) : "nothing copied");
		length -= (uint64_t)n;
	}
	f->changed = true;
}

/* A handle that copy_file_range takes for its target. */
static struct handle *copy_target(struct fsx *f)
{
	struct handle *h = handle_for(f, false, true);

	return h != NULL && (h->flags & O_APPEND) == 0 ? h : NULL;
}

/* How much to copy: now and then a part and more. */
static uint64_t copy_length(struct fsx *f, uint64_t limit)
{
	uint64_t part = f->set.part + chance_below(&f->chance, f->set.part);

	return chance_percent(&f->chance, 30) ? (part < limit ? part : limit)
					      : pick_length(f, limit);
}

bool op_copy(struct fsx *f)
{
	struct handle *source = handle_for(f, true, false), *target = copy_target(f);
	uint64_t from, to, length;

	if (source == NULL || target == NULL || f->model.size < 2)
		return false;
	from = pick_offset(f, f->model.size - 1);
	to = pick_offset(f, f->model.size);
	if (from == to || to >= f->cap)
		return false;
	length = copy_length(f, f->model.size - from);
	length = length < f->cap - to ? length : f->cap - to;
	if (from < to && from + length > to)
		length = to - from; /* the two may not overlap */
	if (to < from && to + length > from)
		length = from - to;
	trail_note(&f->trail, to, length, "%llu copy %llu from %llu to %llu, size %llu",
		   ull(f->step), ull(length), ull(from), ull(to), ull(f->model.size));
	copy_range(f, source->fd, from, target->fd, to, length);
	model_put(&f->model, to, f->model.bytes + from, length);
	return true;
}

bool op_copyfrom(struct fsx *f)
{
	struct handle *target = copy_target(f);
	uint64_t from, to, length;
	int fd;

	if (target == NULL)
		return false;
	from = pick_offset(f, f->model.source_size - 1);
	to = pick_offset(f, f->model.size);
	if (to >= f->cap)
		return false;
	length = copy_length(f, f->model.source_size - from);
	length = length < f->cap - to ? length : f->cap - to;
	trail_note(&f->trail, to, length, "%llu copy %llu from %llu of the other file to %llu",
		   ull(f->step), ull(length), ull(from), ull(to));
	fd = open(f->source_path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fail_at(f, to, "open the other file: %s", strerror(errno));
	copy_range(f, fd, from, target->fd, to, length);
	model_put(&f->model, to, f->model.source + from, length);
	close(fd);
	return true;
}
