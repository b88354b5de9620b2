/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of an S3 URL: host, path, query; as they are sent and as they are signed. */
#ifndef PAILFS_S3_URL_H
#define PAILFS_S3_URL_H

#include <stddef.h>

#include <pailfs/buf.h>
#include <pailfs/s3.h>

/* The region that requests are signed for: the target's, us-east-1 while that is unknown. */
const char *url_region(const struct s3_target *t);

/* Appends the path of a key (NULL: of the bucket). Encoded once, `/` kept. -ENOMEM. */
int url_append_path(struct buf *out, const struct s3_target *t, const char *key, size_t len);

/*
 * Appends "name=value" (value NULL: "name=") and the `&` before it. The caller appends names in
 * ascending order, which is the order they are signed in. -ENOMEM.
 */
int url_append_query(struct buf *out, const char *name, const char *value, size_t len);

#endif
