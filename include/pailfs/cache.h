/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block cache: immutable, counted blocks of 128 KiB, keyed by version (key, ETag, size) and
 * index, shared by all readers of a version. A block is EMPTY -> FETCHING (with a fill mark) ->
 * READY; a failed fetch goes back to EMPTY after its waiters got the errno.
 *
 * Memory is reserved in the budget block by block before a range is asked for. Blocks that were
 * fetched ahead and not read yet are kept in preference to blocks that were.
 */
#ifndef PAILFS_CACHE_H
#define PAILFS_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include <pailfs/budget.h>
#include <pailfs/lock.h>
#include <pailfs/view.h>
#include <pailfs/xfer.h>

#define CACHE_BLOCK_BYTES (128 * 1024)

struct cache;
struct cache_version;

/* A cache over that budget (whose reclaimer it becomes). All outlive it. -ENOMEM. */
int cache_create(struct budget *budget, struct xfer *xfer, struct cache **ret);
/* Cancels fetches, waits for them, frees all blocks. No version is referenced any more. NULL is
 * fine. */
void cache_destroy(struct cache *c);

/*
 * A reference to the version of an object (key without terminator rules, ETag with quotes). The
 * same version asked for twice is the same one; its blocks outlive the last reference while memory
 * has room (they are found again at the next open). etag "" (a server without ETags): never shared.
 * -ENOMEM.
 */
int cache_version_get(struct cache *c, const char *key, size_t key_length, const char *etag,
		      uint64_t size, struct cache_version **ret);
/* Another reference to it. */
void cache_version_ref(struct cache_version *v);
/* Gives the reference back; views of it stay valid. NULL is fine. */
void cache_version_unref(struct cache_version *v);
/* Size in bytes of that version. */
uint64_t cache_version_size(const struct cache_version *v);
/* 0 while the object on the server is this version as far as known; -ESTALE once an answer said
 * otherwise. */
int cache_version_error(struct cache_version *v);

/* What a reader asks for ahead of need. */
struct cache_want {
	uint64_t offset, length; /* cut at the end of the object; rounded out to blocks */
	uint64_t part_bytes;	 /* most bytes a ranged GET, a multiple of a block; 0: no bound */
	enum xfer_class class;	 /* XFER_READ or XFER_AHEAD */
	uint64_t passed; /* the flow will not read below that offset any more: let go of it */
	uint64_t flow;	 /* the stream, from xfer_flow_new; what comes belongs to it until read */
};

/*
 * Asks for the missing blocks of a range, a GET per run of them and part. Never blocks: AHEAD asks
 * for no more than memory allows now, READ (what somebody is about to wait for) neither. Returns up
 * to which offset (exclusive) all blocks are now READY or FETCHING: less than asked when memory ran
 * out.
 */
uint64_t cache_want(struct cache_version *v, const struct cache_want *want);

/*
 * The bytes [offset, offset + length) (length > 0, cut at the end of the object, at most 2 MiB),
 * waiting until all of them are there: blocks that are missing are fetched exactly, waiting for
 * memory if need be, and fetches ahead that hold some are promoted. A block counts as read then.
 * *ret_view must be released. 0, -ESTALE, -EIO, -EACCES..., or what cancel answered; a byte that is
 * missing for good makes the whole read the errno.
 */
int cache_read(struct cache_version *v, uint64_t offset, size_t length, uint64_t flow,
	       struct cancel *cancel, struct view *ret_view);

/* Up to which offset (exclusive) all blocks of the range are READY or FETCHING now. */
uint64_t cache_covered(struct cache_version *v, uint64_t offset, uint64_t length);

/* True if all the bytes of the range are READY now. */
bool cache_has(struct cache_version *v, uint64_t offset, uint64_t length);

/*
 * The stream is over or has jumped: its fetches ahead that nobody waits for are cancelled (queued
 * or running), and what it fetched and did not read is the first to be evicted. from: only at and
 * beyond that offset (0: all).
 */
void cache_flow_end(struct cache_version *v, uint64_t flow, uint64_t from);

struct cache_stats {
	uint64_t blocks, ahead_blocks, hits, misses, evicted, fetched_bytes;
};
/* Counters since start, and blocks now. */
void cache_stats(struct cache *c, struct cache_stats *ret);

#endif
