/* SPDX-License-Identifier: Apache-2.0 */
/* What is a character of UTF-8. */
#ifndef PAILFS_S3_UTF8_H
#define PAILFS_S3_UTF8_H

#include <stddef.h>

/*
 * Length of the UTF-8 character at s: 1 to 4; 0 if the n (>= 1) bytes there are none; -1 if they
 * may be the beginning of one. Overlong forms and surrogates are none (RFC 3629).
 */
int utf8_length(const unsigned char *s, size_t n);

#endif
