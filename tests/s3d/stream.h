/* SPDX-License-Identifier: Apache-2.0 */
#ifndef S3D_STREAM_H
#define S3D_STREAM_H

#include "request.h"

#include <microhttpd.h>

/*
 * The MHD response for the answer of a request: an fd response (sendfile) where the body is one
 * run of a file and nothing shapes it, else one that is read through a callback and cut, reset,
 * stalled, flipped, preceded by blanks as the request's fault says. Borrows the request, which
 * lives until MHD's completion callback. NULL without memory.
 */
struct MHD_Response *stream_response(struct request *request);

#endif
