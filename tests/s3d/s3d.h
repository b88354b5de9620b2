/* SPDX-License-Identifier: Apache-2.0 */
#ifndef S3D_S3D_H
#define S3D_S3D_H

#include "dialect.h"
#include "util.h"

#include <stdatomic.h>

struct auth_db;
struct conns;
struct faults;
struct parker;
struct reqlog;
struct store;

/* What may change while the server runs; each is read where it is used. */
struct settings {
	_Atomic int64_t first_byte_ms;
	_Atomic int64_t list_ms;	  /* negative: as first_byte_ms */
	_Atomic int64_t pace_bytes_per_s; /* a connection, each direction; 0 = off */
	_Atomic int64_t nic_bytes_per_s;  /* all connections, each direction; 0 = off */
	_Atomic int64_t clock_offset_s;
	atomic_bool body_hash;
	_Atomic(const struct dialect *) dialect;
};

/* The server: everything that a request may need. */
struct s3d {
	/* set before the first request */
	const char *region, *vhost_suffix;
	bool tls;
	uint64_t start_ns;
	int zero_fd; /* a hole larger than any object: sendfile of sparse content */
	struct store *store;
	struct auth_db *auth;
	struct faults *faults;
	struct reqlog *log;
	struct conns *conns;
	struct parker *parker;
	/* atomic */
	struct settings settings;
	atomic_ullong requests, in_flight;
};

/* The server's idea of now (its clock may be set wrong on purpose), in milliseconds. */
static inline int64_t s3d_now_ms(struct s3d *s3d)
{
	return wall_ms() + s3d->settings.clock_offset_s * 1000;
}

#endif
