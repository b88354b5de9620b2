/* SPDX-License-Identifier: Apache-2.0 */
#ifndef S3D_PADDING_H
#define S3D_PADDING_H

#include "request.h"

#include <microhttpd.h>

/*
 * Plays the fault header_bytes: so many bytes of padding headers, then the answer's own headers
 * and its body (its first PADDED_BODY_MAX bytes), written past MHD, whose headers are limited by
 * its memory; the connection ends then. Plain http only. Called again after each park. MHD_YES
 * while there is more to send, MHD_NO when the connection is to be closed.
 */
enum MHD_Result padded_answer(struct request *request, uint64_t header_bytes);

#define PADDED_BODY_MAX (4u << 20)

#endif
