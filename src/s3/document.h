/* SPDX-License-Identifier: Apache-2.0 */
/* A small result document: the answer to a verb that changes or lists uploads. */
#ifndef PAILFS_S3_DOCUMENT_H
#define PAILFS_S3_DOCUMENT_H

#include <stdbool.h>
#include <stddef.h>

#include <pailfs/s3.h>

struct document_element {
	unsigned depth; /* the root's children: 2 */
	const char *name;
	const char *text; /* NUL-terminated; cut at XML_TEXT_MAX */
	size_t length;
	bool bad; /* of text, characters that XML or UTF-8 does not allow were left out */
};

/* What a verb knows about its answer. */
struct document_kind {
	const char *root;
	/* An element begins, its text is not there yet; may be NULL. 0 or -errno to stop. */
	int (*start)(struct s3_op *op, unsigned depth, const char *name);
	/* An element has ended. 0 or -errno to stop. */
	int (*element)(struct s3_op *op, const struct document_element *e);
	/* All of it came. 0, or the err of op_fail. */
	int (*end)(struct s3_op *op);
};

struct document;

/* A reader that fills op as elements come, or op->parse->error if it is an <Error>. NULL when out
 * of memory. */
struct document *document_create(struct s3_op *op, const struct document_kind *kind);
/* NULL is fine. */
void document_destroy(struct document *d);
/* The next bytes. As xml_push. */
int document_push(struct document *d, const void *bytes, size_t n);
/* The answer has ended. 0; -EBADMSG: it was an <Error>; -EILSEQ: not whole, or another document;
 * else as document_push. kind->end is the caller's to call. */
int document_end(struct document *d);
/* Why it failed, in words. */
const char *document_error(const struct document *d);

#endif
