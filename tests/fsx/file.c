/* SPDX-License-Identifier: Apache-2.0 */
/* The file's handles, what is compared with the model, and the driver's question. */
#include "fsx.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_STEP (1u << 20)
#define WORD sizeof(uint64_t)

bool handle_reads(const struct handle *h)
{
	return h->fd >= 0 && (h->flags & O_ACCMODE) != O_WRONLY;
}

bool handle_writes(const struct handle *h)
{
	return h->fd >= 0 && (h->flags & O_ACCMODE) != O_RDONLY;
}

bool any_open(const struct fsx *f, bool writing)
{
	for (unsigned i = 0; i < f->set.handles; i++)
		if (f->handles[i].fd >= 0 && (!writing || handle_writes(&f->handles[i])))
			return true;
	return false;
}

struct handle *handle_for(struct fsx *f, bool reading, bool writing)
{
	unsigned first = (unsigned)chance_below(&f->chance, f->set.handles);

	for (unsigned i = 0; i < f->set.handles; i++) {
		struct handle *h = &f->handles[(first + i) % f->set.handles];

		if (h->fd >= 0 && (!reading || handle_reads(h)) && (!writing || handle_writes(h)))
			return h;
	}
	return NULL;
}

void handle_open(struct fsx *f, struct handle *h, int flags)
{
	h->fd = open(f->path, flags | O_CLOEXEC, 0644);
	h->flags = flags;
	if (h->fd < 0)
		fail_at(f, UINT64_MAX, "open with flags %o: %s", (unsigned)flags, strerror(errno));
}

void handle_close(struct fsx *f, struct handle *h)
{
	int rc = close(h->fd);

	h->fd = -1;
	if (rc < 0)
		fail_at(f, UINT64_MAX, "close: %s", strerror(errno));
}

void close_all(struct fsx *f)
{
	for (unsigned i = 0; i < f->set.handles; i++)
		if (f->handles[i].fd >= 0)
			handle_close(f, &f->handles[i]);
}

/* Who wrote the 8 bytes around a place, if some step did. */
static void tell_origin(const char *whose, const uint8_t *bytes, uint64_t at, uint64_t length)
{
	uint64_t step, offset;

	for (uint64_t back = 0; back < WORD && back <= at; back++)
		if (at - back + WORD <= length &&
		    pattern_origin(bytes + at - back, &step, &offset)) {
			fprintf(stderr, "  %s are of step %llu, meant for offset %llu\n", whose,
				(unsigned long long)step, (unsigned long long)(offset + back));
			return;
		}
}

void compare(struct fsx *f, const char *what, uint64_t offset, const uint8_t *got, uint64_t length)
{
	const uint8_t *good = f->model.bytes + offset;
	uint64_t first = 0, last = length, count = 0;

	if (memcmp(good, got, length) == 0)
		return;
	while (good[first] == got[first])
		first++;
	while (good[last - 1] == got[last - 1])
		last--;
	for (uint64_t i = first; i < last; i++)
		count += good[i] != got[i];
	fprintf(stderr, "%s of %llu bytes at %llu: %llu bytes differ, from %llu to %llu\n", what,
		(unsigned long long)length, (unsigned long long)offset, (unsigned long long)count,
		(unsigned long long)(offset + first), (unsigned long long)(offset + last - 1));
	fprintf(stderr, "  at %llu: expected %02x, got %02x\n",
		(unsigned long long)(offset + first), good[first], got[first]);
	tell_origin("the expected bytes", good, first, length);
	tell_origin("the bytes that came", got, first, length);
	fail_at(f, offset + first, "wrong bytes");
}

static void expect_size(struct fsx *f, const char *what, int rc, const struct stat *st)
{
	if (rc < 0)
		fail_at(f, UINT64_MAX, "%s: %s", what, strerror(errno));
	if ((uint64_t)st->st_size != f->model.size)
		fail_at(f, UINT64_MAX, "%s tells the size %llu, it should be %llu", what,
			(unsigned long long)st->st_size, (unsigned long long)f->model.size);
}

void compare_size(struct fsx *f)
{
	struct stat st;
	int rc;

	for (unsigned i = 0; i < f->set.handles; i++)
		if (f->handles[i].fd >= 0) {
			rc = fstat(f->handles[i].fd, &st);
			expect_size(f, "fstat", rc, &st);
		}
	rc = stat(f->path, &st);
	expect_size(f, "stat", rc, &st);
}

void compare_whole(struct fsx *f)
{
	int fd = open(f->path, O_RDONLY | O_CLOEXEC);
	uint64_t at = 0;
	ssize_t n;

	if (fd < 0)
		fail_at(f, UINT64_MAX, "open to read it all: %s", strerror(errno));
	while ((n = pread(fd, f->scratch, READ_STEP, (off_t)at)) > 0) {
		if (at + (uint64_t)n > f->model.size)
			fail_at(f, f->model.size, "read to %llu, the size is %llu",
				(unsigned long long)(at + (uint64_t)n),
				(unsigned long long)f->model.size);
		compare(f, "read by name", at, f->scratch, (uint64_t)n);
		at += (uint64_t)n;
	}
	if (n < 0)
		fail_at(f, at, "read by name at %llu: %s", (unsigned long long)at, strerror(errno));
	if (at != f->model.size)
		fail_at(f, at, "reading by name ends at %llu, the size is %llu",
			(unsigned long long)at, (unsigned long long)f->model.size);
	close(fd);
}

void published(struct fsx *f, const char *why)
{
	char answer[512];

	if (!f->changed)
		return;
	f->changed = false;
	f->unflushed = false;
	f->checks++;
	if (!f->set.ask) {
		compare_whole(f);
		return;
	}
	printf("check %llu %s %llu %s\n", (unsigned long long)f->step,
	       strrchr(f->path, '/') != NULL ? strrchr(f->path, '/') + 1 : f->path,
	       (unsigned long long)f->model.size, why);
	fflush(stdout);
	if (fgets(answer, sizeof(answer), stdin) == NULL)
		fail_at(f, UINT64_MAX, "the driver is gone");
	if (strcmp(answer, "ok\n") != 0)
		fail_at(f, UINT64_MAX, "after %s the driver says: %s", why, answer);
}

/* Through a descriptor of its own, as some other program or a fault would. */
void plant(struct fsx *f)
{
	int fd = open(f->path, O_RDWR | O_CLOEXEC);
	uint64_t at = chance_below(&f->chance, f->model.size + 1);
	uint8_t byte = 0;

	if (f->model.size == 0)
		f->set.plant_step++; /* there is nothing to spoil yet */
	else if (fd < 0)
		fail_at(f, UINT64_MAX, "open to spoil it: %s", strerror(errno));
	else if (strcmp(f->set.plant, "flip") == 0) {
		at -= at == f->model.size;
		if (pread(fd, &byte, 1, (off_t)at) == 1) {
			byte ^= 1;
			if (pwrite(fd, &byte, 1, (off_t)at) != 1)
				fail_at(f, at, "spoiling it: %s", strerror(errno));
		}
	} else if (strcmp(f->set.plant, "cut") == 0)
		at = (uint64_t)ftruncate(fd, (off_t)(f->model.size - 1));
	else
		at = (uint64_t)ftruncate(fd, (off_t)(f->model.size + 1));
	if (fd >= 0)
		close(fd);
}
