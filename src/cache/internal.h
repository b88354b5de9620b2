/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of cache/ share: the structs, and the functions of one file that another calls.
 * Nothing outside cache/ and its unit tests includes this.
 *
 * One lock (LOCK_CACHE) for all of it. It is taken per block and per READ, never per piece that
 * the network delivers. Under it: memory is given back to the budget, ops are submitted, cancelled
 * and promoted (none of these waits). Not under it: memory is reserved, since the budget may call
 * cache_reclaim, which takes it; bytes are copied; log lines are written.
 */
#ifndef PAILFS_CACHE_INTERNAL_H
#define PAILFS_CACHE_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include <pailfs/budget.h>
#include <pailfs/cache.h>
#include <pailfs/clock.h>
#include <pailfs/lock.h>
#include <pailfs/slab.h>
#include <pailfs/xfer.h>

/* Out of memory while hashing is an errno of ours, not exit(): the element's hh.tbl is NULL then.
 */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define BLOCK_BYTES CACHE_BLOCK_BYTES
#define READ_BLOCKS_MAX 17 /* 2 MiB at any alignment */
#define LEAF_BLOCKS 64	   /* 8 MiB: small, since a cache may hold many small objects */
#define NOT_WANTED UINT32_MAX

/* Where GETs go: xfer/, or the script of a unit test. As the functions of xfer.h. */
struct cache_source {
	void *ctx;
	void (*submit)(void *ctx, struct xfer_op *op);
	void (*cancel)(void *ctx, struct xfer_op *op);
	void (*promote)(void *ctx, struct xfer_op *op);
};

/*
 * state	| index	| list				| refs
 * FETCHING	| in	| none				| the fetch's and those of readers
 * READY	| in	| one of three			| readers' only
 * EMPTY	| out	| none				| whoever has not let go yet
 *
 * A READY block is on flow.unread until its stream has read it to the end, then on cache.streamed,
 * where few stay; on cache.used if it was read otherwise, or once more. A block that is neither in
 * the index nor referenced is freed.
 */
enum block_state { BLOCK_EMPTY, BLOCK_FETCHING, BLOCK_READY };

/* A reader that waits until a block's fill mark has reached `mark`. Lives on his stack. */
struct block_waiter {
	uint32_t mark;
	struct cond cond;
	LIST_ENTRY(block_waiter) link;
};

struct block {
	/* set at creation */
	struct cache_version *version;
	uint64_t index;
	uint32_t length; /* BLOCK_BYTES; less at the end of the object */
	enum budget_class budget_class;
	/* under the lock */
	enum block_state state;
	int err; /* EMPTY: why */
	unsigned refs;
	bool read_to_end;    /* somebody has read its last byte */
	bool streamed;	     /* READY: it is on cache.streamed */
	struct fetch *fetch; /* FETCHING: who fills it */
	struct flow *flow;   /* READY and not read yet: for whom */
	TAILQ_ENTRY(block) link;
	LIST_HEAD(, block_waiter) waiters;
	/* set under the lock before the first byte; the bytes below `fill` never change */
	unsigned char *data;
	/* atomic */
	_Atomic uint32_t fill;	  /* bytes that are there; only the sink writes it */
	_Atomic uint32_t wake_at; /* the lowest mark that somebody waits for, or NOT_WANTED */
};

TAILQ_HEAD(block_list, block);

/* One ranged GET over a run of blocks. Freed by its done callback, and nowhere else. */
struct fetch {
	/* set at creation */
	struct xfer_op op;
	struct cache *cache;
	struct cache_version *version;
	uint64_t first_index;
	unsigned count;
	/* under the lock */
	enum xfer_class class;
	struct flow *flow; /* NULL: for one READ only */
	unsigned cut;	   /* blocks from here on are not wanted any more */
	unsigned begun;	   /* blocks that the sink has taken memory for */
	bool cancelled;
	TAILQ_ENTRY(fetch) link;
	LIST_ENTRY(fetch) flow_link;
	/* the sink's thread only */
	unsigned at;	       /* the block that is filled next or now */
	struct block *filling; /* NULL between two blocks */
	uint32_t filled;       /* bytes of it; its own mark may be behind: see sink_shows */
	/* under the lock; an entry is referenced until it is NULL (READY, or cut off) */
	struct block *blocks[];
};

TAILQ_HEAD(fetch_list, fetch);

/*
 * A reader's stream, known by its number: what was fetched ahead for it and not read yet. It exists
 * while it has unread blocks or fetches, so that nobody has to say that a flow begins.
 */
struct flow {
	uint64_t id;
	uint64_t read_ns; /* when it last read or asked */
	struct block_list unread;
	LIST_HEAD(, fetch) fetches;
	TAILQ_ENTRY(flow) link;
	UT_hash_handle hh;
};

TAILQ_HEAD(flow_list, flow);

struct leaf_key {
	struct cache_version *version;
	uint64_t number;
};

/* LEAF_BLOCKS neighbours of one version. */
struct leaf {
	struct leaf_key key;
	unsigned count;
	LIST_ENTRY(leaf) link;
	UT_hash_handle hh;
	struct block *blocks[LEAF_BLOCKS];
};

struct cache_version {
	/* set at creation */
	struct cache *cache;
	uint64_t size;
	const char *etag, *key; /* in identity; both end in NUL */
	size_t key_length;
	size_t identity_length;
	/* under the lock */
	unsigned refs, fetches;
	uint64_t blocks; /* all that live, in the index or not */
	int err;
	bool shared; /* in cache.versions: found again by identity */
	LIST_HEAD(, leaf) leaves;
	struct leaf *recent_leaf; /* the last one looked at, or NULL */
	UT_hash_handle hh;
	/* set at creation */
	unsigned char identity[]; /* size, ETag with NUL, key (a NUL follows it) */
};

struct cache {
	/* set at creation */
	struct budget *budget;
	struct cache_source source;
	const struct clock *clock;
	struct slab *slab;
	unsigned streamed_max;
	struct lock lock;
	/* under the lock */
	struct cache_version *versions; /* by identity */
	struct leaf *leaves;		/* by version and number */
	struct flow *flows;		/* by id */
	struct flow_list flow_lru;	/* who has not read for longest first */
	struct block_list streamed;	/* next to be evicted first */
	unsigned streamed_count;
	struct block_list used;	   /* next to be evicted first */
	struct fetch_list fetches; /* as they were asked for */
	unsigned fetch_count;
	struct cond idle; /* fetch_count became 0 */
	struct cache_stats stats;
};

/* cache_create over any source and clock. */
int cache_create_over(struct budget *budget, const struct cache_source *source,
		      const struct clock *clock, struct cache **ret);

/* block.c */

/*
 * A FETCHING block in the index, with one reference, the fetch's. It takes the reservation of
 * BLOCK_BYTES in that class over. NULL: out of memory; the reservation stays the caller's.
 */
struct block *block_create_locked(struct cache_version *v, uint64_t index, enum budget_class class);
/* Gives a reference back; the last one of a block that is not in the index frees it, and with it
 * perhaps its version. */
void block_unref_locked(struct block *b);
/* Out of the index and EMPTY; who waits gets err. The caller holds a reference. */
void block_detach_locked(struct block *b, int err);
/* All bytes are there: FETCHING -> READY, to be read by flow (NULL: by nobody in particular). Takes
 * the fetch's reference. */
void block_ready_locked(struct block *b, struct flow *flow);
/* Somebody read from it; to_end: its last byte, too. */
void block_read_locked(struct block *b, bool to_end);
/* Frees what streams have read beyond cache.streamed_max, the first read first. */
void block_trim_locked(struct cache *c);
/* Wakes the waiters whose mark has been reached, or all if the block is EMPTY. */
void block_wake_locked(struct block *b);
/* Waits until `mark` bytes are there: 0, the block's errno, or what cancel answered. The caller
 * holds a reference. */
int block_wait_locked(struct block *b, uint32_t mark, struct cancel *cancel);
/* Frees a READY block that nobody references. */
void block_evict_locked(struct block *b);

/* version.c */

/* The block of that index, or NULL. */
struct block *version_find_locked(struct cache_version *v, uint64_t index);
/* Puts a block into the index, where none is. -ENOMEM. */
int version_insert_locked(struct cache_version *v, struct block *b);
/* Takes a block out of the index. */
void version_remove_locked(struct block *b);
/* The server has another version: missing bytes are -ESTALE from now on, nobody finds it again. */
void version_stale_locked(struct cache_version *v);
/* Frees it if nothing refers to it any more. */
void version_check_locked(struct cache_version *v);
/* Blocks of the whole object. */
uint64_t version_block_count(const struct cache_version *v);

/* flow.c */

/* The flow of that number; NULL if it has neither blocks nor fetches (or id is 0). */
struct flow *flow_find_locked(struct cache *c, uint64_t id);
/* The same, made when it does not exist. NULL: out of memory, or id 0. */
struct flow *flow_get_locked(struct cache *c, uint64_t id);
/* Notes that it reads now. */
void flow_touch_locked(struct cache *c, struct flow *flow);
/* Frees it if it has neither blocks nor fetches. NULL is fine. */
void flow_check_locked(struct cache *c, struct flow *flow);
/* Its unread blocks in [from, end) become the first to be evicted. It may be freed by that. */
void flow_orphan_locked(struct cache *c, struct flow *flow, uint64_t from_index,
			uint64_t end_index);
/* It will not read below that index any more: unread blocks become orphans, fetches end. It may be
 * freed by that. */
void flow_pass_locked(struct cache *c, struct flow *flow, uint64_t index);
/* A block that is there or on its way is wanted by flow, too: it belongs to flow now. */
void flow_adopt_locked(struct cache *c, struct flow *flow, struct block *b);

/* fetch.c */

/* What to fetch: `count` blocks from `first`, none of which is in the index. */
struct fetch_plan {
	struct cache_version *version;
	uint64_t first;
	unsigned count;
	enum xfer_class class;
	uint64_t flow_id;  /* for the scheduler */
	struct flow *flow; /* who owns what comes; NULL: a READ that waits for all of it */
};
/*
 * Submits a GET for as many blocks of the plan as there is memory for administration; each takes
 * its reservation of BLOCK_BYTES over. Returns how many: 0 when out of memory.
 */
unsigned fetch_start_locked(const struct fetch_plan *plan);
/* The budget's class for blocks that are fetched in that class. */
enum budget_class fetch_budget_class(enum xfer_class class);
/* Blocks up to the last one that a reader holds (0: none). */
unsigned fetch_held_locked(const struct fetch *f);
/*
 * Gives the blocks at `keep` and beyond up: those not begun are freed at once. The op ends when it
 * has filled the rest, at once if there is none. Returns how many blocks of memory came free.
 * keep must be >= fetch_held_locked(f).
 */
unsigned fetch_cut_locked(struct fetch *f, unsigned keep);
/* Somebody waits for it now. */
void fetch_promote_locked(struct fetch *f);

/* reclaim.c */

/* The budget's reclaimer; ctx is the cache. */
uint64_t cache_reclaim(void *ctx, uint64_t bytes, enum budget_class for_class);

#endif
