/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dirty state of one file: what was written and is not published yet, as one map of extents
 * (memory, spool, part N of the running upload, base object), and its publication. Private to fs/.
 *
 * It belongs to the inode, not to a handle. Many threads may call; calls on one writer are ordered
 * by its own lock. Never called under fs->lock. Knows keys and versions, no names and no processes.
 */
#ifndef PAILFS_FS_WRITER_H
#define PAILFS_FS_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <pailfs/budget.h>
#include <pailfs/buf.h>
#include <pailfs/cache.h>
#include <pailfs/fs.h>
#include <pailfs/lock.h>
#include <pailfs/s3.h>
#include <pailfs/view.h>
#include <pailfs/xfer.h>

#include "etag.h"

/* What all writers of a mount share. Made once by fs.c. */
struct writers;
struct journal;
struct kept;

struct writers_config {
	uint64_t upload_part_bytes; /* 0: the part plan of pailfs-semantics(7) */
	uint64_t memory_bytes;	    /* of the budget */
	uint64_t stream_keep_bytes; /* an O_WRONLY stream keeps its first bytes: 64 MiB */
	uint64_t spool_limit_bytes; /* a file's sent parts in the spool: spool_limit, 1 GiB */
	/* while writers hold more, sent parts of streams go into the spool: 128 MiB; 0: never */
	uint64_t held_bytes_max;
	/* a full part waits at most so long for the next, to be hashed with it; 0: never */
	uint64_t pair_wait_ns;
	const char *spool_dir; /* /var/tmp */
	/* of every object: storage class, encryption and ACL; strings outlive the writers */
	struct s3_attributes stored;
	const struct clock *clock;
};

/* -ENOMEM, or why the spool directory cannot be used. journal may be NULL. */
int writers_create(const struct writers_config *config, struct budget *budget, struct xfer *xfer,
		   struct cache *cache, struct journal *journal, struct writers **ret);
/*
 * Waits for aborts that run in the background (each bounded by op_timeout), then ends it; every
 * writer was destroyed. The scheduler still runs. NULL is fine.
 */
void writers_destroy(struct writers *w);
/*
 * What the probe found: whether the server honours conditions of PutObject and of
 * CompleteMultipartUpload. Both true until told; without, a HEAD right before stands in for them.
 */
void writers_set_conditions(struct writers *w, bool put, bool complete);

/* Memory for a writer_write to take over, as fs_piece_get and fs_piece_put. */
void *writers_piece_get(struct writers *w);
/* w NULL: piece is NULL. */
void writers_piece_put(struct writers *w, void *piece);

/* How the object must stand for a publication to happen. */
enum publish_condition {
	PUBLISH_ALWAYS,	   /* O_TRUNC: the last writer wins */
	PUBLISH_NEW,	   /* If-None-Match: *; refused: -EEXIST */
	PUBLISH_UNCHANGED, /* If-Match: the base's ETag; refused: -ESTALE */
};

/* What goes along with the bytes; strings are borrowed for the call. */
struct publish_attr {
	const char *content_type; /* NULL: none */
	const struct s3_meta *meta;
	unsigned meta_count;
	/* what the object had that is changed in place, for all else; NULL: what the mount gives */
	struct kept *kept;
};

/* What a publication made. */
struct published {
	uint64_t size;
	struct timespec modified; /* our clock: no HEAD is asked */
	struct etag etag;	  /* the caller finishes it */
	/* The upload had begun with other attributes (writer_set_attr) than those asked for at
	 * last: what is stored with the object is the older ones. */
	bool attr_stale;
};

struct writer;

/*
 * The dirty state of a file of that key. base NULL: new or truncated, size 0; else what the object
 * holds now (a reference is taken; unchanged ranges are fetched only when touched and copied
 * server-side at publication). readable: O_RDWR: all bytes are kept. -ENOMEM.
 */
int writer_create(struct writers *shared, const void *key, size_t key_length,
		  struct cache_version *base, const char *base_etag, bool readable,
		  struct writer **ret);
/*
 * Drops what is not published, aborting an upload in the background (repeated until nothing is
 * left). Waits for each writer_send_rest that is owed, not for S3. NULL is fine.
 */
void writer_destroy(struct writer *w);
/*
 * What an upload that begins before writer_publish is made with (copied; the last call counts).
 * Without it such an upload carries none. -ENOMEM.
 */
int writer_set_attr(struct writer *w, const struct publish_attr *attr);
/*
 * Writes at any offset; waits for memory. -EFBIG (beyond the part plan), -EINTR; and, the writer
 * being failed from then on: -ENOSPC (spool full), -EOPNOTSUPP (a dropped range is needed), an
 * earlier upload's error. On an error nothing or a beginning of data was taken over.
 *
 * *ret_rest, written in any case: parts are full, and the caller owes a writer_send_rest of the
 * range, which waits for nothing but processors and, for pair_wait_ns, the next part; whoever fills
 * that owes nothing then. NULL: they are hashed and sent at once.
 */
int writer_write(struct writer *w, uint64_t offset, const struct fs_bytes *bytes,
		 struct cancel *cancel, bool *ret_rest);
/* Hashes and sends the full parts around [start, end): after a reply. Once for each *ret_rest. May
 * first wait, as writer_write says. What fails fails the writer. */
void writer_send_rest(struct writer *w, uint64_t start, uint64_t end);
/*
 * The bytes that the file holds now, dirty or not; short at its end (an empty view beyond it). At
 * most 2 MiB. *ret is released by the caller. -EOPNOTSUPP (dropped; see writer_keep_all), else as
 * cache_read.
 */
int writer_read(struct writer *w, uint64_t offset, size_t length, struct cancel *cancel,
		struct view *ret);
/* Cuts or extends (a hole reads as zeros). Errors as writer_write. */
int writer_truncate(struct writer *w, uint64_t size, struct cancel *cancel);
/* [start, end), cut at the end of the file, becomes a hole. Errors as writer_write. */
int writer_zero(struct writer *w, uint64_t start, uint64_t end, struct cancel *cancel);
/* lseek(2)'s SEEK_HOLE or SEEK_DATA; no_holes: all is data. -ENXIO: there is none. */
int writer_seek(struct writer *w, uint64_t offset, bool hole, bool no_holes, uint64_t *ret);

/* What is taken from another object: borrowed, but for the version, which is referenced. */
struct graft {
	uint64_t offset; /* of the file */
	uint64_t source_offset, length;
	struct cache_version *version;
	const void *key;
	size_t key_length;
	const char *etag;
};

/*
 * The range is what the other object has there; S3 copies it at publication. -EXDEV: the file has
 * bytes of another object already (copy it by reading and writing), else errors as writer_write.
 */
int writer_graft(struct writer *w, const struct graft *g, struct cancel *cancel);
/*
 * This mount is about to change or remove that object: what writers have taken from it is fetched
 * now. Waits. -EINTR; other errors are those writers'.
 */
int writers_detach_source(struct writers *s, const void *key, size_t key_length,
			  struct cancel *cancel);
/* Size now. */
uint64_t writer_size(struct writer *w);
/*
 * True if all the bytes of [*offset, *offset + *length), cut at the end of the file (*length is
 * what is left of it, not 0), are unchanged and best read from the base: *ret_base, referenced, at
 * the offset that *offset becomes.
 */
bool writer_in_base(struct writer *w, uint64_t *offset, uint64_t *length,
		    struct cache_version **ret_base);
/* What unchanged bytes are of now, referenced; NULL: nothing. */
struct cache_version *writer_base(struct writer *w);
/* True if some of [offset, offset + length) is still to be read from that base. */
bool writer_needs_base(struct writer *w, uint64_t offset, uint64_t length,
		       const struct cache_version *base);
/* The base has become another version of the same bytes (a copy in place). Nobody publishes.
 * -EINVAL: its base has another size. */
int writer_rebase(struct writer *w, struct cache_version *base, const char *etag);
/* True if there is something unpublished (a new file counts, even empty). Takes no lock. */
bool writer_is_dirty(struct writer *w);
/* 0, or why the writer is failed for good: nothing of it will be published. */
int writer_error(struct writer *w);
/*
 * From now on all bytes are kept (somebody opened it for reading, too): -EOPNOTSUPP if some were
 * dropped; nothing has changed then.
 */
int writer_keep_all(struct writer *w);
/*
 * It is published under this key from now on (rename). A running upload of the old key is aborted
 * and its parts are sent again. -EOPNOTSUPP if bytes of them were dropped, -EBUSY while it has a
 * base object (publish it, then rename the object); nothing has changed then. -ENOMEM.
 */
int writer_rename(struct writer *w, const void *key, size_t key_length);
/*
 * The same of a writer whose file has an object, which was copied to that key: base is the copy,
 * with the same bytes (a reference is taken; NULL will do if writer_base_size is UINT64_MAX), and
 * what the next PUBLISH_UNCHANGED asks for. -EOPNOTSUPP as writer_rename, -EINVAL (there is none),
 * -ENOMEM.
 */
int writer_move(struct writer *w, const void *key, size_t key_length, struct cache_version *base,
		const char *base_etag);
/* The ETag of the file's own object, for PUBLISH_UNCHANGED, "" if there is none, into dst
 * (S3_ETAG_MAX bytes), which is returned. */
const char *writer_base_etag(struct writer *w, char *dst);
/* True if it is published under that key. */
bool writer_has_key(struct writer *w, const void *key, size_t key_length);
/* The size of its base object; UINT64_MAX if that is not the file's own. */
uint64_t writer_base_size(struct writer *w);
/*
 * Its name is gone (unlink): aborts a running upload and sends nothing any more; reading and
 * writing go on. writer_publish answers -ENOENT, final.
 */
void writer_detach(struct writer *w);
/* Somebody will write that much (ftruncate, fallocate first): parts of equal size. A hint. */
void writer_expect(struct writer *w, uint64_t size);

/*
 * Publishes: blocks until the object is there, whole. 0 with *ret (the published object is the base
 * from then on and the writer clean; the next condition is PUBLISH_UNCHANGED), or why nothing was:
 * -EEXIST, -ESTALE, -EIO, -EACCES, -EFBIG, -EINTR (killed: nothing published, may be tried again).
 * *ret_final is set when another try cannot succeed. Writes that come meanwhile wait. A clean
 * writer is published again all the same: do not call it then. attr NULL: none.
 */
int writer_publish(struct writer *w, enum publish_condition condition,
		   const struct publish_attr *attr, struct cancel *cancel, struct published *ret,
		   bool *ret_final);
/* Bytes that were sent and bytes that are known, for SIGUSR1; does not wait for S3. */
void writer_progress(struct writer *w, uint64_t *ret_sent, uint64_t *ret_total);

#endif
