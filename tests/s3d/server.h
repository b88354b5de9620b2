/* SPDX-License-Identifier: Apache-2.0 */
#ifndef S3D_SERVER_H
#define S3D_SERVER_H

#include "s3d.h"

/* The listening HTTP server: MHD's threads and what they call. */
struct server;

struct server_options {
	const char *listen;	/* numeric IPv4 or IPv6 address */
	unsigned port;		/* 0: any free one */
	const char *cert, *key; /* PEM texts, or NULL for plain http */
};

/* Starts to listen; s3d is borrowed and complete. NULL with a message on stderr. */
struct server *server_create(struct s3d *s3d, const struct server_options *options);
/* The port it listens on. */
unsigned server_port(const struct server *server);
/* Ends all connections and joins all threads. Takes NULL. */
void server_destroy(struct server *server);

#endif
