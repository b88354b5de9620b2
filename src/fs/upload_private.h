/* SPDX-License-Identifier: Apache-2.0 */
/* What upload.c and upload_end.c share. */
#ifndef PAILFS_FS_UPLOAD_PRIVATE_H
#define PAILFS_FS_UPLOAD_PRIVATE_H

#include "upload.h"

/*
 * state      | holds
 * IDLE       | nothing was asked of the server
 * CREATING   | CreateMultipartUpload is on the wire; parts wait for the id
 * SENDING    | id is known; parts are sent as they come
 * DRAINING   | no more parts come; those that run end
 * COMPLETING | all parts are there; CompleteMultipartUpload is on the wire, or its end is settled
 * DONE       | the object is there
 * FAILED     | err says why; no part counts any more
 */
enum upload_state {
	UPLOAD_IDLE,
	UPLOAD_CREATING,
	UPLOAD_SENDING,
	UPLOAD_DRAINING,
	UPLOAD_COMPLETING,
	UPLOAD_DONE,
	UPLOAD_FAILED,
	UPLOAD_STATES,
};

/* One number of the upload. */
struct part_record {
	struct etag etag; /* of what the server has and counts; ETAG_NONE: nothing */
	uint64_t size;
	uint32_t crc32c;
	bool has_crc32c;
	bool sent;
	bool busy;  /* claimed or on the wire */
	bool stale; /* busy with bytes that do not count */
};

TAILQ_HEAD(upload_parts, upload_part);

struct upload {
	/* set at creation */
	struct uploads *shared;
	struct upload_owner *owner; /* referenced */
	char *key;
	size_t key_length;
	char nonce[NONCE_BYTES];
	struct upload_attr attr;
	uint64_t flow;
	/* before the first part */
	uint64_t entry; /* of the journal */
	uint64_t created_wall_s;
	/* under the owner's lock */
	enum upload_state state;
	unsigned requests; /* CreateMultipartUpload while it runs, and parts that are busy */
	bool abandoned;	   /* freed when requests are 0 */
	bool doubted;	   /* a Complete of ours may have been carried out */
	int err;
	char *id;		   /* owned; set once, then never changed */
	struct part_record *parts; /* [number - 1] */
	unsigned part_capacity;
	unsigned busy;
	uint64_t sent_bytes;
	struct upload_parts running;
	struct xfer_op create;
};

/* Moves it to another state, as the table of upload.c allows. */
void upload_move_locked(struct upload *u, enum upload_state to);
/* It cannot succeed any more: parts are cancelled. */
void upload_fail_locked(struct upload *u, int err);

#endif
