/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One multipart upload: made when its first part is ready, parts sent as they come, completed or
 * aborted. Knows S3's protocol and no extents: a part is a body that somebody sealed. Private to
 * fs/.
 *
 * An upload lives under its owner's lock, by which functions ending in _locked are called. The
 * others are called without it and may wait.
 */
#ifndef PAILFS_FS_UPLOAD_H
#define PAILFS_FS_UPLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include <pailfs/clock.h>
#include <pailfs/lock.h>
#include <pailfs/s3.h>
#include <pailfs/xfer.h>

#include "etag.h"
#include "journal.h"
#include "kept.h"
#include "writer.h"

#define NONCE_META "pailfs-nonce"
#define NONCE_BYTES 33 /* 128 random bits in hex, and NUL */

/* Where requests go: xfer/, or the server that a unit test plays. As the functions of xfer.h. */
struct upload_source {
	void *ctx;
	void (*submit)(void *ctx, struct xfer_op *op);
	void (*cancel)(void *ctx, struct xfer_op *op);
	void (*target)(void *ctx, struct s3_target *ret);
	uint64_t (*flow_new)(void *ctx);
};

/* That of a scheduler. */
struct upload_source upload_source_of(struct xfer *xfer);

/* What all uploads of a mount share. */
struct uploads {
	/* set at creation */
	struct upload_source source;
	struct journal *journal;     /* may be NULL */
	struct s3_attributes stored; /* storage class, encryption, ACL of all that is made */
	struct lock lock;
	struct cond idle; /* jobs became 0 */
	/* under the lock */
	unsigned jobs; /* aborts that run in the background */
};

/* Makes it ready. */
void uploads_init(struct uploads *u, const struct upload_source *source, struct journal *journal);
/* Waits until no abort runs in the background. */
void uploads_finish(struct uploads *u);

/* A copy of what goes along with an object, the nonce among its metadata. */
struct upload_attr {
	char *content_type;
	struct s3_meta *meta; /* names and values owned */
	unsigned meta_count;
	struct kept *kept; /* referenced; may be NULL */
};

/* nonce NULL: none; attr NULL: nothing. -ENOMEM. */
int upload_attr_init(struct upload_attr *a, const struct publish_attr *attr, const char *nonce);
/* Frees it; it is empty then. */
void upload_attr_finish(struct upload_attr *a);
/* What a request is to carry: these over what the mount stores with all objects. Borrowed. */
void upload_attr_fill(const struct upload_attr *a, const struct s3_attributes *stored,
		      struct s3_attributes *ret);
/* The same content type and metadata, whatever the nonces. */
bool upload_attr_equal(const struct upload_attr *a, const struct upload_attr *b);

/* Whose uploads they are: he gives the lock, and lives while one of them does. */
struct upload_owner {
	struct lock lock;
	struct cond changed; /* an upload of his moved, or a part ended */
	/* under the lock */
	unsigned refs;
	/* set at creation; called without the lock, when refs became 0 */
	void (*free)(struct upload_owner *o);
};

/* Gives a reference back; the last one frees the owner. Without the lock. */
void upload_owner_unref(struct upload_owner *o);

struct upload;

enum upload_part_state { UPLOAD_PART_NONE, UPLOAD_PART_SENDING, UPLOAD_PART_SENT };

/*
 * A part on its way: the owner fills op (verb UPLOAD_PART with a sealed body, or UPLOAD_PART_COPY
 * with its source), number and length. ended is called under the lock, once, and takes it back.
 */
struct upload_part {
	struct xfer_op op;
	unsigned number; /* 1... */
	uint64_t length;
	void (*ended)(struct upload_part *p);
	/* upload.c only */
	struct upload *upload;
	bool submitted; /* else it waits for the id */
	TAILQ_ENTRY(upload_part) link;
};

/*
 * A new upload of that key; nothing is sent yet. Takes a reference of the owner, and *attr over.
 * Any lock may be held. -ENOMEM.
 */
int upload_create(struct uploads *shared, struct upload_owner *owner, const char *key,
		  size_t key_length, struct upload_attr *attr, const char *nonce, uint64_t flow,
		  struct upload **ret);
/* Writes the intent into the journal: before the first part is sent, without the lock. */
void upload_intend(struct upload *u, uint64_t wall_s);
/*
 * The owner lets go of it: parts are cancelled; what the server holds of it is aborted in the
 * background, again and again until nothing is left. A completed one is only freed. The owner holds
 * a reference of himself. NULL is fine.
 */
void upload_abandon_locked(struct upload *u);

/* The bytes of a part, which is not busy, are about to be sealed: it is SENDING until it is sent or
 * given up. -ENOMEM. */
int upload_claim_locked(struct upload *u, unsigned number);
/* A claimed part cannot be sent. */
void upload_unclaim_locked(struct upload *u, unsigned number);
/* Sends a claimed part; the upload is created first if need be. It may end at once. */
void upload_send_locked(struct upload *u, struct upload_part *p);
/* Its bytes have changed (or are gone): what was or is being sent of it does not count. */
void upload_forget_locked(struct upload *u, unsigned number);
/* How far that part is. NONE, too, while bytes of it are on the wire that do not count. */
enum upload_part_state upload_part_state_locked(const struct upload *u, unsigned number);
/* True from a claim until its end: it cannot be claimed. */
bool upload_part_busy_locked(const struct upload *u, unsigned number);
/* 0, or why it cannot succeed any more. -ENXIO: the server does not know it any more. */
int upload_error_locked(const struct upload *u);
/* What it was created with. */
const struct upload_attr *upload_attributes(const struct upload *u);
/* Bytes of parts that the server has and that count. */
uint64_t upload_sent_bytes_locked(const struct upload *u);

/* How an upload or a PUT shall end. */
struct upload_end {
	enum publish_condition condition;
	const char *if_match; /* PUBLISH_UNCHANGED */
	bool honoured;	      /* the server keeps conditions; else a HEAD right before */
	unsigned part_count;  /* Complete: 1..part_count are all there are */
	uint64_t object_size;
	struct cancel *cancel;
};

/*
 * Completes it: waits until none of its parts runs, counts and sums them. Without the lock. 0 and
 * the object's ETag; -EEXIST, -ESTALE (the condition), -EAGAIN (409: all parts again, in a new
 * upload), -ENXIO (the upload is gone, and the object is not ours), -EINTR (may be called again),
 * or an error. Lost answers are settled by the nonce.
 */
int upload_complete(struct upload *u, const struct upload_end *end, char ret_etag[S3_ETAG_MAX]);

/*
 * A single PUT. op: verb, key, body are filled; attributes, conditions and what follows from them
 * are filled here. Waits; errors as upload_complete.
 */
int upload_put(struct uploads *shared, struct xfer_op *op, const struct upload_attr *attr,
	       const char *nonce, const struct upload_end *end, char ret_etag[S3_ETAG_MAX]);

/* After -EAGAIN of Complete, when the parts cannot be sent again: what stands in the way. -EEXIST,
 * -ESTALE or -EIO. Waits. */
int upload_conflict(struct upload *u, const struct upload_end *end);
/* Submits an op and waits for its end: its result.err, or what cancel answered (after its end). */
int upload_run_op(struct uploads *shared, struct xfer_op *op, struct cancel *cancel);
/* A fresh nonce. -errno of getrandom. */
int upload_nonce(char ret_nonce[NONCE_BYTES]);

/* Aborts an upload until nothing is left of it. Waits. 0 or -errno. */
int upload_abort_run(struct uploads *shared, const char *key, size_t key_length, const char *id);
/* upload_abort.c: aborts an upload in the background; takes entry over. */
void upload_abort_start(struct uploads *shared, const char *key, size_t key_length, const char *id,
			uint64_t entry);

#endif
