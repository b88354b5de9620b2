/* SPDX-License-Identifier: Apache-2.0 */
/* Operations that move bytes: read(2), write(2) and mappings. */
#include "fsx.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FILL_STEP (1u << 20)

/* Lets the kernel forget the pages, so that the file system is asked. */
static void forget_pages(struct fsx *f, const struct handle *h)
{
	if (chance_percent(&f->chance, 50))
		posix_fadvise(h->fd, 0, 0, POSIX_FADV_DONTNEED);
}

bool op_read(struct fsx *f)
{
	struct handle *h = handle_for(f, true, false);
	uint64_t offset, length, expected;
	ssize_t n;

	if (h == NULL)
		return false;
	offset = pick_offset(f, f->model.size);
	length = pick_length(f, f->set.max_size - offset);
	expected = length < f->model.size - offset ? length : f->model.size - offset;
	trail_note(&f->trail, offset, expected, "%llu read %llu at %llu",
		   (unsigned long long)f->step, (unsigned long long)length,
		   (unsigned long long)offset);
	forget_pages(f, h);
	n = pread(h->fd, f->scratch, length, (off_t)offset);
	if (n < 0)
		fail_at(f, offset, "read: %s", strerror(errno));
	if ((uint64_t)n != expected)
		fail_at(f, offset, "read %zd bytes, there are %llu", n,
			(unsigned long long)expected);
	compare(f, "read", offset, f->scratch, expected);
	return true;
}

static void write_all(struct fsx *f, struct handle *h, uint64_t offset, uint64_t length)
{
	uint64_t done = 0;

	pattern_fill(f->step, offset, f->scratch, length);
	while (done < length) {
		ssize_t n = pwrite(h->fd, f->scratch + done, length - done, (off_t)(offset + done));

		if (n <= 0)
			fail_at(f, offset + done, "write: %s",
				n < 0 ? strerror(errno) : "nothing written");
		done += (uint64_t)n;
	}
	model_put(&f->model, offset, f->scratch, length);
	f->changed = true;
}

static bool write_at(struct fsx *f, const char *what, struct handle *h, uint64_t offset)
{
	uint64_t length;

	if ((h->flags & O_APPEND) != 0)
		offset = f->model.size;
	if (offset >= f->set.max_size)
		return false;
	length = pick_length(f, (offset < f->cap ? f->cap : f->set.max_size) - offset);
	trail_note(&f->trail, offset, length, "%llu %s %llu at %llu, size %llu",
		   (unsigned long long)f->step, what, (unsigned long long)length,
		   (unsigned long long)offset, (unsigned long long)f->model.size);
	write_all(f, h, offset, length);
	return true;
}

bool op_write(struct fsx *f)
{
	struct handle *h = handle_for(f, false, true);
	uint64_t limit = chance_percent(&f->chance, 8) ? f->cap : f->model.size;

	return h != NULL &&
	       write_at(f, "write", h, pick_offset(f, limit < f->cap ? limit : f->cap));
}

bool op_append(struct fsx *f)
{
	struct handle *h = handle_for(f, false, true);

	return h != NULL && f->model.size < f->cap && write_at(f, "append", h, f->model.size);
}

/* One long sequential write from the end: what copying a file in is. */
bool op_fill(struct fsx *f)
{
	struct handle *h = handle_for(f, false, true);
	uint64_t size = f->model.size, length;

	if (h == NULL || size >= f->cap)
		return false;
	length = 1 + chance_below(&f->chance, f->cap - size);
	trail_note(&f->trail, size, length, "%llu fill %llu at %llu", (unsigned long long)f->step,
		   (unsigned long long)length, (unsigned long long)size);
	for (uint64_t done = 0; done < length; done += FILL_STEP)
		write_all(f, h, size + done, length - done < FILL_STEP ? length - done : FILL_STEP);
	return true;
}

struct mapping {
	uint8_t *bytes;
	uint64_t offset, length; /* within the file; the pages begin skip bytes earlier */
	uint64_t skip, mapped;
};

/* Maps a range within the file, whole pages. */
static bool map_range(struct fsx *f, struct handle *h, int protection, const char *what,
		      struct mapping *ret)
{
	if (h == NULL || f->model.size == 0)
		return false;
	ret->offset = pick_offset(f, f->model.size - 1);
	ret->length = pick_length(f, f->model.size - ret->offset);
	ret->skip = ret->offset % PAGE;
	ret->mapped = (ret->skip + ret->length + PAGE - 1) / PAGE * PAGE;
	trail_note(&f->trail, ret->offset, ret->length, "%llu %s %llu at %llu, size %llu",
		   (unsigned long long)f->step, what, (unsigned long long)ret->length,
		   (unsigned long long)ret->offset, (unsigned long long)f->model.size);
	ret->bytes = mmap(NULL, ret->mapped, protection, MAP_SHARED, h->fd,
			  (off_t)(ret->offset - ret->skip));
	if (ret->bytes == MAP_FAILED)
		fail_at(f, ret->offset, "mmap: %s", strerror(errno));
	return true;
}

static void unmap(struct fsx *f, struct mapping *m)
{
	if (munmap(m->bytes, m->mapped) < 0)
		fail_at(f, m->offset, "munmap: %s", strerror(errno));
}

/* What lies between the end of the file and the end of its last page is zero. */
static void check_tail(struct fsx *f, const struct mapping *m)
{
	uint64_t first = m->offset - m->skip, end = first + m->mapped;

	for (uint64_t at = f->model.size; at < end; at++)
		if (m->bytes[at - first] != 0)
			fail_at(f, at, "a mapping shows %02x beyond the end, at %llu",
				m->bytes[at - first], (unsigned long long)at);
}

bool op_mapread(struct fsx *f)
{
	struct handle *h = handle_for(f, true, false);
	struct mapping m;

	if (h == NULL)
		return false;
	forget_pages(f, h);
	if (!map_range(f, h, PROT_READ, "mapread", &m))
		return false;
	compare(f, "a mapping", m.offset, m.bytes + m.skip, m.length);
	check_tail(f, &m);
	unmap(f, &m);
	return true;
}

static bool map_and_write(struct fsx *f, const char *what, bool sync)
{
	struct handle *h = NULL;
	struct mapping m;

	for (unsigned i = 0; i < f->set.handles && h == NULL; i++)
		if (handle_reads(&f->handles[i]) && handle_writes(&f->handles[i]))
			h = &f->handles[i];
	if (!map_range(f, h, PROT_READ | PROT_WRITE, what, &m))
		return false;
	pattern_fill(f->step, m.offset, m.bytes + m.skip, m.length);
	model_put(&f->model, m.offset, m.bytes + m.skip, m.length);
	f->changed = f->unflushed = true;
	if (sync && msync(m.bytes, m.mapped, MS_SYNC) < 0)
		fail_at(f, m.offset, "msync: %s", strerror(errno));
	check_tail(f, &m);
	unmap(f, &m);
	if (sync)
		published(f, "msync");
	return true;
}

bool op_mapwrite(struct fsx *f)
{
	return map_and_write(f, "mapwrite", false);
}

bool op_mapsync(struct fsx *f)
{
	return map_and_write(f, "mapsync", true);
}
