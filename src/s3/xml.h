/* SPDX-License-Identifier: Apache-2.0 */
/* A push parser for the XML of S3's answers: elements and their text, nothing else. */
#ifndef PAILFS_S3_XML_H
#define PAILFS_S3_XML_H

#include <stdbool.h>
#include <stddef.h>

#define XML_TEXT_MAX 8192 /* of one element; longer text is cut and told so */

struct xml_events {
	/* An element begins. depth: 1 for the root. 0, or -errno to stop. */
	int (*start)(void *ctx, unsigned depth, const char *name);
	/* It ended. text: what stood in it since the last tag, NUL-terminated, entities decoded.
	 * 0, or -errno to stop. */
	int (*end)(void *ctx, unsigned depth, const char *name, const char *text, size_t len);
	/* The text that is being read holds a character that XML or UTF-8 does not allow; it was
	 * left out. */
	void (*bad)(void *ctx);
	/* The text that is being read is longer than XML_TEXT_MAX. 0, or -errno to stop. */
	int (*too_long)(void *ctx);
};

struct xml;

/* A parser that takes at most bytes_max. events and ctx are borrowed. NULL when out of memory. */
struct xml *xml_create(const struct xml_events *events, void *ctx, size_t bytes_max);
/* NULL is fine. */
void xml_destroy(struct xml *x);
/*
 * Parses the next bytes; blanks before the document are skipped. 0; -EMSGSIZE when a cap was
 * reached or a DOCTYPE came (see xml_error); -EILSEQ when it is no XML; -ENOMEM; or what an event
 * answered. Once it failed it answers the same for ever.
 */
int xml_push(struct xml *x, const void *bytes, size_t n);
/* Says that the document has ended. As xml_push; -EILSEQ when it is not complete. */
int xml_end(struct xml *x);
/* Why it failed, in words; "" if it did not. */
const char *xml_error(const struct xml *x);

/* Prepares libxml2 once, before threads; and the reverse. */
void xml_library_init(void);
/* Undoes xml_library_init. */
void xml_library_finish(void);

#endif
