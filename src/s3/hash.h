/* SPDX-License-Identifier: Apache-2.0 */
/* Hashes of documents that s3/ sends; those of bodies are in s3.h. */
#ifndef PAILFS_S3_HASH_H
#define PAILFS_S3_HASH_H

#include <stddef.h>

#define HASH_MD5_TEXT_BYTES 25 /* base64 of 16 bytes */

/* As Content-MD5 has it. -EOPNOTSUPP where OpenSSL has no MD5 (FIPS). */
int hash_md5_base64(const void *bytes, size_t n, char ret_text[HASH_MD5_TEXT_BYTES]);

#endif
