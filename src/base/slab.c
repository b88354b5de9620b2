/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pieces of one size, carved from chunks: anonymous mappings of CHUNK_BYTES, aligned to it, so that
 * a piece's chunk is found by masking its address and huge pages fit.
 *
 * A chunk is on `partial` while it has both free and used pieces, on `full` without free ones. A
 * few empty chunks are kept, the others unmapped. Pieces are taken from the chunk that was touched
 * last. All under LOCK_SLAB; mmap and munmap run under it, too, since they are rare and the callers
 * are few.
 */
#include <pailfs/slab.h>

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/queue.h>

#include <pailfs/lock.h>

#define CHUNK_BYTES (4 * MIB)
#define SPARE_CHUNKS 4 /* empty chunks that are kept against map/unmap ping-pong, at least */
#define SPARE_SHARE 16 /* ... or this fraction of all */

struct chunk {
	char *memory;
	unsigned used;
	unsigned free_count;
	LIST_ENTRY(chunk) link;
	struct chunk *hash_next;
	uint16_t free[]; /* indexes of free pieces, a stack */
};

LIST_HEAD(chunk_list, chunk);

#define CHUNK_HASH 1024

struct slab {
	size_t piece_bytes;
	unsigned pieces; /* in a chunk */
	struct lock lock;
	/* under the lock */
	struct chunk_list partial; /* some free, some used */
	struct chunk_list full;
	struct chunk_list empty;
	unsigned empty_count;
	size_t used_bytes, mapped_bytes;
	struct chunk *by_address[CHUNK_HASH];
};

static unsigned address_hash(const void *memory)
{
	return (unsigned)(((uintptr_t)memory / CHUNK_BYTES) * UINT64_C(0x9e3779b97f4a7c15) >> 32) %
	       CHUNK_HASH;
}

int slab_create(size_t piece_bytes, struct slab **ret)
{
	struct slab *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return -ENOMEM;
	assert(piece_bytes >= 4096 && piece_bytes <= MIB && (piece_bytes & (piece_bytes - 1)) == 0);
	s->piece_bytes = piece_bytes;
	s->pieces = (unsigned)(CHUNK_BYTES / piece_bytes);
	lock_init(&s->lock, LOCK_SLAB);
	LIST_INIT(&s->partial);
	LIST_INIT(&s->full);
	LIST_INIT(&s->empty);
	*ret = s;
	return 0;
}

/* Maps CHUNK_BYTES at an address that is a multiple of it; NULL when refused. */
static char *map_aligned(void)
{
	size_t span = 2 * CHUNK_BYTES;
	char *raw = mmap(NULL, span, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *aligned;

	if (raw == MAP_FAILED)
		return NULL;
	aligned = (char *)(((uintptr_t)raw + CHUNK_BYTES - 1) & ~(uintptr_t)(CHUNK_BYTES - 1));
	if (aligned > raw)
		munmap(raw, (size_t)(aligned - raw));
	munmap(aligned + CHUNK_BYTES, (size_t)(raw + span - (aligned + CHUNK_BYTES)));
	madvise(aligned, CHUNK_BYTES, MADV_HUGEPAGE);
	madvise(aligned, CHUNK_BYTES, MADV_DONTDUMP);
	return aligned;
}

static struct chunk *chunk_map_locked(struct slab *s)
{
	struct chunk *c = malloc(sizeof(*c) + s->pieces * sizeof(c->free[0]));
	unsigned i, h;

	lock_assert_held(&s->lock);
	if (c == NULL)
		return NULL;
	c->memory = map_aligned();
	if (c->memory == NULL) {
		free(c);
		return NULL;
	}
	c->used = 0;
	c->free_count = s->pieces;
	for (i = 0; i < s->pieces; i++)
		c->free[i] = (uint16_t)(s->pieces - 1 - i);
	h = address_hash(c->memory);
	c->hash_next = s->by_address[h];
	s->by_address[h] = c;
	s->mapped_bytes += CHUNK_BYTES;
	return c;
}

static struct chunk *chunk_of_locked(struct slab *s, const void *piece)
{
	char *memory = (char *)((uintptr_t)piece & ~(uintptr_t)(CHUNK_BYTES - 1));
	struct chunk *c;

	for (c = s->by_address[address_hash(memory)]; c != NULL; c = c->hash_next)
		if (c->memory == memory)
			return c;
	assert(!"a piece of this slab");
	return NULL;
}

/* Takes an unlisted chunk out of the hash and unmaps it. */
static void chunk_unmap_locked(struct slab *s, struct chunk *c)
{
	struct chunk **p = &s->by_address[address_hash(c->memory)];

	while (*p != c)
		p = &(*p)->hash_next;
	*p = c->hash_next;
	munmap(c->memory, CHUNK_BYTES);
	s->mapped_bytes -= CHUNK_BYTES;
	free(c);
}

void slab_destroy(struct slab *s)
{
	struct chunk *c;

	if (s == NULL)
		return;
	assert(s->used_bytes == 0);
	lock_acquire(&s->lock);
	while ((c = LIST_FIRST(&s->empty)) != NULL) {
		LIST_REMOVE(c, link);
		chunk_unmap_locked(s, c);
	}
	lock_release(&s->lock);
	lock_finish(&s->lock);
	free(s);
}

/* A chunk with a free piece, off its list; NULL when the system refuses memory. */
static struct chunk *chunk_take_locked(struct slab *s)
{
	struct chunk *c = LIST_FIRST(&s->partial);

	if (c != NULL) {
		LIST_REMOVE(c, link);
		return c;
	}
	c = LIST_FIRST(&s->empty);
	if (c != NULL) {
		LIST_REMOVE(c, link);
		s->empty_count--;
		return c;
	}
	return chunk_map_locked(s);
}

void *slab_get(struct slab *s)
{
	struct chunk *c;
	unsigned piece;

	SCOPED_LOCK(&s->lock);
	c = chunk_take_locked(s);
	if (c == NULL)
		return NULL;
	piece = c->free[--c->free_count];
	c->used++;
	s->used_bytes += s->piece_bytes;
	LIST_INSERT_HEAD(c->free_count > 0 ? &s->partial : &s->full, c, link);
	return c->memory + piece * s->piece_bytes;
}

void slab_put(struct slab *s, void *piece)
{
	struct chunk *c;

	if (piece == NULL)
		return;
	SCOPED_LOCK(&s->lock);
	c = chunk_of_locked(s, piece);
	c->free[c->free_count++] = (uint16_t)((size_t)((char *)piece - c->memory) / s->piece_bytes);
	c->used--;
	s->used_bytes -= s->piece_bytes;
	LIST_REMOVE(c, link);
	if (c->used > 0) {
		LIST_INSERT_HEAD(&s->partial, c, link);
	} else if (s->empty_count <
		   MAX(SPARE_CHUNKS, s->mapped_bytes / CHUNK_BYTES / SPARE_SHARE)) {
		s->empty_count++;
		LIST_INSERT_HEAD(&s->empty, c, link);
	} else {
		chunk_unmap_locked(s, c);
	}
}

void slab_usage(struct slab *s, size_t *ret_used_bytes, size_t *ret_mapped_bytes)
{
	SCOPED_LOCK(&s->lock);
	*ret_used_bytes = s->used_bytes;
	*ret_mapped_bytes = s->mapped_bytes;
}
