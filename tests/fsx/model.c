/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the file should hold, and what the steps write. A pattern's word is (step, place) made
 * unreadable by a multiplication that can be undone, so that a wrong byte tells who wrote it.
 */
#include "fsx.h"

#include <err.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SCRAMBLE UINT64_C(0x9e3779b97f4a7c15)
#define UNSCRAMBLE UINT64_C(0xf1de83e19937733d) /* SCRAMBLE * UNSCRAMBLE = 1 modulo 2^64 */
#define WHITE UINT64_C(0x5bd1e995c2b2ae35)
#define PLACE_BITS 24 /* words of 128 MiB */
#define STEPS_MAX (UINT64_C(1) << 32)

_Static_assert(SCRAMBLE *UNSCRAMBLE == 1, "each word has one origin");

static void *map(const char *path, uint64_t size)
{
	int fd = path != NULL ? open(path, O_RDWR | O_CREAT, 0600) : -1;
	void *mapped;

	if (path != NULL && (fd < 0 || ftruncate(fd, (off_t)size) < 0))
		err(2, "%s", path);
	mapped = mmap(NULL, size, PROT_READ | PROT_WRITE,
		      MAP_SHARED | (path == NULL ? MAP_ANONYMOUS : 0), fd, 0);
	if (mapped == MAP_FAILED)
		err(2, "the model's memory");
	if (fd >= 0)
		close(fd);
	return mapped;
}

void model_init(struct model *m, const char *path, uint64_t max_size, uint64_t source_size)
{
	*m = (struct model){.max_size = max_size, .source_size = source_size};
	m->bytes = map(path, max_size);
	m->source = map(NULL, source_size);
	pattern_fill(0, 0, m->source, source_size);
}

void model_resize(struct model *m, uint64_t size)
{
	if (size < m->size)
		memset(m->bytes + size, 0, m->size - size);
	m->size = size;
}

void model_put(struct model *m, uint64_t offset, const void *data, uint64_t length)
{
	memmove(m->bytes + offset, data, length);
	if (offset + length > m->size)
		m->size = offset + length;
}

void model_zero(struct model *m, uint64_t offset, uint64_t length)
{
	if (offset < m->size)
		memset(m->bytes + offset, 0, offset + length > m->size ? m->size - offset : length);
}

static uint64_t word_of(uint64_t step, uint64_t place)
{
	return ((step << PLACE_BITS | place) ^ WHITE) * SCRAMBLE;
}

void pattern_fill(uint64_t step, uint64_t offset, void *data, uint64_t length)
{
	uint8_t *to = data;
	uint64_t word;

	while (length > 0) {
		uint64_t skip = offset % sizeof(word), take = sizeof(word) - skip;

		word = word_of(step, offset / sizeof(word));
		if (take > length)
			take = length;
		memcpy(to, (const uint8_t *)&word + skip, take);
		to += take;
		offset += take;
		length -= take;
	}
}

bool pattern_origin(const uint8_t bytes[8], uint64_t *ret_step, uint64_t *ret_offset)
{
	uint64_t word;

	memcpy(&word, bytes, sizeof(word));
	word = (word * UNSCRAMBLE) ^ WHITE;
	if (word >> PLACE_BITS >= STEPS_MAX)
		return false;
	*ret_step = word >> PLACE_BITS;
	*ret_offset = (word & ((UINT64_C(1) << PLACE_BITS) - 1)) * sizeof(word);
	return true;
}
