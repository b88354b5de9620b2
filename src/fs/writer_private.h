/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the writer share. Nothing else but unit tests includes this.
 *
 * Locks: writers.lock (LOCK_INODE) for the list of writers, then one writer's owner.lock
 * (LOCK_HANDLE) for all of his fields and uploads. Under it: bytes are copied between a caller and
 * chunks, memory is given back, ops are submitted. Not under it: memory is waited for, the spool is
 * read and written, bodies are hashed, S3 is waited for.
 *
 * The grid: the parts of `plan`. It is the unit in which memory is spilled and dropped, and, unless
 * a publication copies from the base, in which bytes are sent.
 */
#ifndef PAILFS_FS_WRITER_PRIVATE_H
#define PAILFS_FS_WRITER_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include <pailfs/slab.h>

#include "extents.h"
#include "plan.h"
#include "spool.h"
#include "upload.h"

/* Out of memory while hashing is an errno of ours, not exit(): hh.tbl is NULL then. */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define CHUNK_BYTES ((uint64_t)CACHE_BLOCK_BYTES)
#define LOCAL_KINDS                                                                                \
	(EXTENT_BIT(EXTENT_CACHED) | EXTENT_BIT(EXTENT_MEMORY) | EXTENT_BIT(EXTENT_SPOOL))
#define MEMORY_KINDS (EXTENT_BIT(EXTENT_CACHED) | EXTENT_BIT(EXTENT_MEMORY))
#define UNCHANGED_KINDS (EXTENT_BIT(EXTENT_CACHED) | EXTENT_BIT(EXTENT_BASE))

/* 128 KiB of a file. Its bytes change only while the map alone refers to it; else it is copied
 * before it is written. */
struct writer_chunk {
	uint64_t index;
	unsigned refs; /* the map's, and those of bodies and spills */
	unsigned char *data;
	UT_hash_handle hh;
};

/* Bytes of a file that are being sent. */
struct body {
	struct upload_part part; /* first; its op is used for a single PUT, too */
	struct writer *writer;
	uint64_t start, end;
	uint64_t memory_bytes; /* of chunks that it refers to */
	bool in_spool;	       /* read from the file while it is sent */
	LIST_ENTRY(body) link; /* in writer.spool_bodies */
	struct iovec *iov;
	struct writer_chunk **chunks;
	unsigned chunk_count;
	int iov_count;
};

#define BODIES_MAX 2 /* that are hashed at once */
#define MOVER_CLOSING_MAX 16

/* The thread of writer_mover.c. */
struct mover {
	/* set at creation */
	pthread_t thread;
	bool runs;
	struct lock lock;
	struct cond wake;
	/* under the lock */
	bool wanted, stopping;
	struct spool closing[MOVER_CLOSING_MAX];
	unsigned closing_count;
};

TAILQ_HEAD(writer_list, writer);

struct writers {
	/* set at creation */
	struct writers_config config; /* its spool_dir is owned */
	struct budget *budget;
	struct cache *cache;
	struct slab *slab;
	struct uploads uploads;
	struct mover mover;
	struct lock lock;
	struct cond idle; /* live became 0 */
	/* under the lock */
	struct writer_list list; /* those that were not destroyed */
	unsigned live;		 /* those, and those whose parts have not ended */
	bool put_conditions, complete_conditions;
	/* atomic */
	_Atomic uint64_t held_bytes;	/* of chunks */
	_Atomic uint64_t flying_bytes;	/* of memory that comes free when a body was sent */
	_Atomic unsigned waiting_parts; /* that will be on the wire at once (stream_hurry) */
	_Atomic unsigned grafts;	/* writers whose base is another object */
	_Atomic bool no_copies;		/* the server has no UploadPartCopy: all bytes are sent */
};

struct writer {
	struct upload_owner owner; /* first */
	/* set at creation */
	struct writers *shared;
	uint64_t flow;
	/* under shared->lock */
	TAILQ_ENTRY(writer) link;
	/* under owner.lock */
	char *key;
	size_t key_length;
	struct extents map;
	struct writer_chunk *chunks; /* what CACHED and MEMORY extents lie in */
	struct plan plan;
	struct upload *upload;	    /* NULL: none begun */
	bool upload_copies;	    /* its parts are not those of the grid */
	bool starting;		    /* somebody makes the upload */
	char nonce[NONCE_BYTES];    /* of the next object; "" not chosen yet */
	struct upload_attr attr;    /* of writer_set_attr */
	struct cache_version *base; /* referenced; NULL: none */
	char base_etag[S3_ETAG_MAX];
	char *base_key; /* a graft: the base is another object; NULL: it is the file's own */
	size_t base_key_length;
	uint64_t base_shift;	    /* added to an offset of the file: that of the base */
	char own_etag[S3_ETAG_MAX]; /* of the file's own object, for PUBLISH_UNCHANGED */
	struct spool spool;
	LIST_HEAD(, body) spool_bodies; /* the spool must not change below them */
	unsigned sealing;		/* threads that read chunks or the spool for a body */
	unsigned claiming;		/* threads that make bodies of claimed parts of a stream */
	bool spilling;			/* a thread writes, cuts or punches the spool */
	unsigned rests;			/* writer_send_rest that are owed or at it */
	unsigned partner;		/* the part that a full one waits for; 0: none does */
	uint64_t patient_until_ns;	/* it waits no longer */
	uint64_t filled_ns, filling_ns; /* when a part became full, how long it took */
	bool publishing;
	_Atomic bool dirty;
	bool keep_all, detached;
	int err;				      /* failed for good */
	uint64_t patched[(PLAN_PARTS_MAX + 64) / 64]; /* changed after they were sent: not sent
							 again before publication */
};

/* writers_create over any source. */
int writers_create_over(const struct writers_config *config, struct budget *budget,
			const struct upload_source *source, struct cache *cache,
			struct journal *journal, struct writers **ret);

/* The writer of an owner. */
struct writer *writer_of(struct upload_owner *o);
/* Lock, unlock, wake. */
void writer_lock(struct writer *w);
void writer_unlock(struct writer *w);
/* Waits for a change: as cond_wait_cancel. */
int writer_wait_locked(struct writer *w, struct cancel *cancel);
/* Waits until nobody publishes: 0, -EINTR, or why the writer is failed. */
int writer_enter_locked(struct writer *w, struct cancel *cancel);
/* Its key is a copy of that one from now on. Under its lock, or before anybody knows it. -ENOMEM.
 */
int writer_set_key(struct writer *w, const void *key, size_t key_length);
/* The writer is failed for good: nothing of it will be published, but by who publishes now, who
 * keeps the upload until then. Returns err. */
int writer_fail_locked(struct writer *w, int err);
/* Nobody publishes any more. */
void writer_published_locked(struct writer *w);
/* What became of the running upload: 0, or why the writer is failed. An upload that is gone from
 * the server is let go of when all bytes are here. */
int writer_check_upload_locked(struct writer *w);
/* Lets go of the running upload: what was sent will be sent again. */
void writer_drop_upload_locked(struct writer *w);
/* True if no byte was dropped. */
bool writer_holds_all_locked(const struct writer *w);
/* A new grid, for the size that the file has now. No upload was begun. */
void writer_plan_again(struct writer *w);
/* The part of the grid at offset, cut at the file's end. */
struct plan_part writer_part_at(const struct writer *w, uint64_t offset);

/* writer_chunk.c */

/* The chunk of that index, or NULL. */
struct writer_chunk *chunk_find_locked(struct writer *w, uint64_t index);
/* How many chunks of memory a write to [start, end) needs: those that are missing or shared. */
unsigned chunk_need_locked(struct writer *w, uint64_t start, uint64_t end);
/*
 * The chunk of that index, to be written: made from, or replaced with a copy in, memory of
 * *reserved chunks if need be. A new one's zeros are filled in where the file has holes outside of
 * [start, end). NULL: out of memory.
 */
struct writer_chunk *chunk_writable_locked(struct writer *w, uint64_t index, uint64_t start,
					   uint64_t end, unsigned *reserved);
/*
 * The chunk of that index has the bytes of *piece from now on, which it takes over: *piece is
 * another one, or NULL if memory of a reserved chunk was used. -ENOMEM.
 */
int chunk_adopt_locked(struct writer *w, uint64_t index, void **piece, unsigned *reserved);
/* Gives a reference back; the last one frees it. */
void chunk_unref_locked(struct writer *w, struct writer_chunk *b);
/* Frees the chunks of a range in which the map has no memory (any more). */
void chunk_trim_locked(struct writer *w, uint64_t start, uint64_t end);
/* Frees all. */
void chunk_free_all_locked(struct writer *w);

/* writer_memory.c */

/*
 * Reserves that many chunks: lets go of what can be let go of, waits for what is on the wire,
 * spills what was not sent yet. No lock is held. 0, -ENOSPC..., or what cancel answered.
 */
int memory_reserve(struct writers *shared, unsigned chunks, struct cancel *cancel);
/* Gives reserved chunks back that were not used. */
void memory_release(struct writers *shared, unsigned chunks);
/* Moves a part that was sent out of memory: 1, 0 if there is none, -errno of the spool. */
int memory_move_sent(struct writers *shared);

/* writer_mover.c */

/* Starts the thread if it is of use here. -errno. */
int mover_start(struct writers *s);
/* Ends it, if there is one. Waits for the disk. */
void mover_stop(struct writers *s);
/* A part was sent: perhaps there is too much in memory. Any lock of ours may be held. */
void mover_part_sent(struct writers *s);
/* Closes a spool that nobody needs any more, soon: *spool is without a file at once. Any lock of
 * ours may be held. */
void mover_close_spool(struct writers *s, struct spool *spool);

/* writer_spill.c */

/* True if [start, end) may be spilled now: nobody else spills, nothing of it is sent from there. */
bool spill_allowed_locked(const struct writer *w, uint64_t start, uint64_t end);
/*
 * Moves what is in memory of [start, end) (whole chunks) into the spool; what is changed meanwhile
 * stays. Gives the lock back while it writes. spill_allowed_locked. -ENOSPC, -EIO...
 */
int spill_locked(struct writer *w, uint64_t start, uint64_t end);

/* writer_body.c */

/*
 * Makes the body of [start, end): fetches what is unchanged in the base, puts what is partly in the
 * spool there as a whole. Then hashes it. Gives the lock back meanwhile. -EOPNOTSUPP (dropped),
 * -ENOMEM, -ENOSPC, what the base or cancel answered.
 */
int body_create_locked(struct writer *w, uint64_t start, uint64_t end, struct cancel *cancel,
		       struct body **ret);
/* Gives back what it refers to and frees it. NULL is fine. */
void body_destroy_locked(struct body *b);
/* Sends a part of the grid or of a copy plan, which is not busy: body or copy. Gives the lock back
 * meanwhile. 0: on its way. */
int body_send_locked(struct writer *w, unsigned number, const struct plan_segment *segment,
		     struct cancel *cancel);
/* Makes the upload if there is none; asked NULL: with what writer_set_attr said. Gives the lock
 * back meanwhile. -ENOMEM. */
int writer_start_upload_locked(struct writer *w, const struct publish_attr *asked);

/* Sends one or two parts of the grid, which are not busy, as body_send_locked: hashed at once. */
int body_send_parts_locked(struct writer *w, const struct plan_part *parts, unsigned count);

/* writer_stream.c */

/* Sends the parts around [start, end) that are full. An error has failed the writer. */
int stream_send_locked(struct writer *w, uint64_t start, uint64_t end);
/* True if parts around [start, end), which was written, are full: a writer_send_rest is owed. */
bool stream_owe_locked(struct writer *w, uint64_t start, uint64_t end);
/* Memory is short: no part waits for the next any longer. True if one did. No lock is held. */
bool stream_hurry(struct writers *s);

/* writer_write.c */

/* True if that part has changed after it was sent. */
bool writer_is_patched_locked(const struct writer *w, unsigned number);

/* -EFBIG beyond the plan. */
int writer_check_end(struct writer *w, uint64_t offset, uint64_t length);
/* As writer_enter_locked, and nobody reads the spool or spills. */
int writer_enter_alone_locked(struct writer *w, struct cancel *cancel);
/* The parts that hold [start, end) are about to change: what was sent of them does not count. */
int writer_touch_locked(struct writer *w, uint64_t start, uint64_t end);

/* writer_range.c */

/* Lets go of the base. Nothing of the map is of it. */
void writer_drop_base_locked(struct writer *w);

/* writer_read.c */

/* Fetches the unchanged bytes of [start, end) that are not here: into memory if there is some, else
 * into the spool. Gives the lock back meanwhile. */
int fetch_locked(struct writer *w, uint64_t start, uint64_t end, struct cancel *cancel);

#endif
