/* SPDX-License-Identifier: Apache-2.0 */
#ifndef S3D_PARKER_H
#define S3D_PARKER_H

#include "request.h"

#define PARK_FOREVER UINT64_MAX

/* Connections that wait for a time without holding a thread. */
struct parker;

/* Starts a thread. */
struct parker *parker_create(void);
/* Wakes everything with PHASE_DEAD and refuses further parking. Before the HTTP server stops. */
void parker_stop(struct parker *parker);
/* Takes NULL. After the HTTP server has stopped. */
void parker_destroy(struct parker *parker);

/*
 * Suspends the request's connection until due_ns (monotonic), or until the peer has gone or the
 * server ends: then its phase is PHASE_DEAD when it wakes. Only from one of MHD's callbacks for
 * this connection, which must return at once. False when the server is ending: nothing suspended.
 */
bool park(struct parker *parker, struct request *request, uint64_t due_ns);

#endif
