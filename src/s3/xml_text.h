/* SPDX-License-Identifier: Apache-2.0 */
/* Text of documents that s3/ sends. */
#ifndef PAILFS_S3_XML_TEXT_H
#define PAILFS_S3_XML_TEXT_H

#include <stddef.h>

#include <pailfs/buf.h>

#define S3_NAMESPACE "http://s3.amazonaws.com/doc/2006-03-01/"

/* Appends text as an element's content. -EILSEQ: XML cannot carry it; -ENOMEM. */
int xml_text_append(struct buf *out, const char *text, size_t len);

#endif
