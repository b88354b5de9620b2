/* SPDX-License-Identifier: Apache-2.0 */
/* ListObjectsV2: its query and the page that answers it. */
#ifndef PAILFS_S3_LIST_H
#define PAILFS_S3_LIST_H

#include <stddef.h>

#include <pailfs/s3.h>

#include "error.h"
#include "request.h"

/* Adds the query of op. -EINVAL for max_keys outside 1..S3_LIST_ENTRIES_MAX. */
int list_build(struct s3_op *op, struct request *r);

/* A page that is being read. */
struct list;
/* The strings of op and *error are borrowed; *error is filled when the answer is an <Error>. NULL
 * when out of memory. */
struct list *list_create(const struct s3_op *op, struct error_body *error);
/* NULL is fine. */
void list_destroy(struct list *l);
/* The next bytes. As xml_push; list_error says why. */
int list_push(struct list *l, const void *bytes, size_t n);
/*
 * The answer has ended: fills *ret_page, which owns its memory. 0; -EILSEQ: no page, or not all of
 * it; -EMSGSIZE: a cap; -EPROTO: a page that cannot be followed by a next one; -EBADMSG: *error was
 * filled instead; -ENOMEM.
 */
int list_end(struct list *l, struct s3_page *ret_page);
/* Why it failed, in words. */
const char *list_error(const struct list *l);

#endif
