/* SPDX-License-Identifier: Apache-2.0 */
#ifndef S3D_CONN_H
#define S3D_CONN_H

#include "s3d.h"

/* One accepted connection, and all of them. Any thread. */
struct conn;
struct conns;

/* settings is borrowed. Starts a thread. */
struct conns *conns_create(struct settings *settings);
/* Every connection must be closed. Takes NULL. */
void conns_destroy(struct conns *conns);
/* Tells that pace or nic changed: applies them to open connections. */
void conns_settings_changed(struct conns *conns);
/* Open connections. */
size_t conns_count(struct conns *conns);

/* An accepted socket; it stays the caller's and must be open until conn_close(). */
struct conn *conn_open(struct conns *conns, int fd);
/* Ends it: called before the socket is closed; conn is gone then. */
void conn_close(struct conns *conns, struct conn *conn);
/* Counts up from 1. */
uint64_t conn_id(const struct conn *conn);
/* The socket, borrowed. */
int conn_fd(const struct conn *conn);
/* Bytes acknowledged by the peer on this connection so far. */
uint64_t conn_acked(const struct conn *conn);
/* Whether the peer has closed or reset its side. */
bool conn_peer_gone(const struct conn *conn);
/* Bytes that were sent but not yet acknowledged. */
int conn_unsent(const struct conn *conn);
/* Sends a RST at once; what is still to be sent is thrown away. */
void conn_reset(const struct conn *conn);

/* A body is being sent, or no longer: such connections share the NIC. */
void conn_sending(struct conns *conns, struct conn *conn, bool sending);
/* Accounts received body bytes; the monotonic time before which no more should be read. */
uint64_t conn_received(struct conns *conns, struct conn *conn, size_t bytes);

/* Begins (and clears) or ends the sampling of what is delivered and received. */
void traffic_switch(struct conns *conns, bool on);
/* Appends [[t, delivered, received], ...] as JSON; t in seconds since start_ns. */
void traffic_write(struct conns *conns, uint64_t start_ns, struct buf *to);

#endif
