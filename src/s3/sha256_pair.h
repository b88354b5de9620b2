/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 of two messages at once. */
#ifndef PAILFS_S3_SHA256_PAIR_H
#define PAILFS_S3_SHA256_PAIR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#define SHA256_BYTES 32

/* True if this processor can: SHA-NI and AVX512VL. */
bool sha256_pair_is_here(void);
/*
 * The hashes of two messages of length bytes each, which lie in iovecs that hold at least as many;
 * where they are cut does not matter. Only if sha256_pair_is_here.
 */
void sha256_pair(const struct iovec *first, const struct iovec *second, uint64_t length,
		 unsigned char ret_hashes[2][SHA256_BYTES]);

#endif
