/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What HeadObject said of keys' metadata, for posix mode: a bounded cache and the requests that
 * fill it, many at a time. Private to fs/.
 *
 * A copy in place changes metadata and Last-Modified, but not always the ETag: so both tell whether
 * an answer still holds.
 */
#ifndef PAILFS_FS_ATTRS_H
#define PAILFS_FS_ATTRS_H

#include <pailfs/buf.h>
#include <pailfs/clock.h>
#include <pailfs/lock.h>
#include <pailfs/xfer.h>

#include "etag.h"
#include "meta.h"

#define ATTRS_IN_FLIGHT_MAX 64

/* What one object's metadata says. Immutable but where it says so; counted (any thread). */
struct node_attr {
	uint32_t refs;	 /* atomic */
	bool absent;	 /* there is no such object */
	bool dir_marker; /* an empty object of type application/x-directory */
	bool racy;	 /* asked in the second that it was stored in: that may not be the end */
	/* of what this mount has published, under fs->lock until a server's answer is seen */
	bool own;
	int64_t stored_s; /* Last-Modified; own: our clock's */
	uint64_t asked_ns;
	struct etag etag;
	struct file_meta meta; /* its strings are in text */
	char text[];
};

/* A copy of *meta; zeroed but for that, one reference. NULL when out of memory. */
struct node_attr *node_attr_create(const struct file_meta *meta);
/* One more reference; returns a. NULL is fine. */
struct node_attr *node_attr_ref(struct node_attr *a);
/* One less; the last one frees. NULL is fine. */
void node_attr_unref(struct node_attr *a);

struct attrs;

/* -ENOMEM. */
int attrs_create(struct xfer *xfer, const struct clock *clock, struct attrs **ret);
/* Cancels what runs and waits for its end. NULL is fine. */
void attrs_destroy(struct attrs *a);
/* Takes in an ended HEAD (with want_attributes) of that key: an object, or that there is none. */
void attrs_note(struct attrs *a, const struct buf *key, const struct s3_op *head,
		uint64_t asked_ns);
/* What is known of the key, referenced; NULL: nothing. */
struct node_attr *attrs_find(struct attrs *a, const struct buf *key);
/* This mount has changed the key: what is known of it, or being asked, does not hold. */
void attrs_forget(struct attrs *a, const struct buf *key);
/* Asks for a key unless it is being asked for, or known as of since_ns or later. False: as many as
 * may be are on their way. */
bool attrs_ahead(struct attrs *a, const struct buf *key, uint64_t since_ns);
/* Which answers count: of a HEAD that was sent at ns or later, and not the one that was seen in the
 * cache (borrowed; NULL: none was). */
struct attrs_since {
	uint64_t ns;
	const struct node_attr *seen;
};
/*
 * Such an answer, that has come meanwhile, is on its way, or is asked for now; *ret is referenced
 * and may say that there is no such object. Waits. -EACCES, -EIO, -EINTR, -ENOMEM.
 */
int attrs_ask(struct attrs *a, const struct buf *key, const struct attrs_since *since,
	      struct cancel *cancel, struct node_attr **ret);

#endif
