/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory in pieces of one size, outside malloc: carved from anonymous mappings of a few MiB (huge
 * pages asked for), reused last-in first-out so that warm memory comes first, given back to the
 * system when a whole mapping is free. Thread-safe; lock rank LOCK_SLAB.
 */
#ifndef PAILFS_SLAB_H
#define PAILFS_SLAB_H

#include <stddef.h>
#include <stdint.h>

struct slab;

/* A slab of pieces of piece_bytes (a power of two, 4 KiB to 1 MiB). -ENOMEM. */
int slab_create(size_t piece_bytes, struct slab **ret);
/* Unmaps everything; every piece must have been given back (asserted). NULL is fine. */
void slab_destroy(struct slab *s);
/* A piece, page-aligned, contents undefined; NULL when the system refuses memory. */
void *slab_get(struct slab *s);
/* Gives a piece back. NULL is fine. */
void slab_put(struct slab *s, void *piece);
/* Bytes of pieces that are out, and bytes mapped. */
void slab_usage(struct slab *s, size_t *ret_used_bytes, size_t *ret_mapped_bytes);

#endif
