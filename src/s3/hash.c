/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hashes of what is sent: SHA-256 of a payload (in pieces), the sums of a body when it is sealed,
 * and the MD5 that DeleteObjects wants. Called by whoever fills a body, and by s3_build for the
 * documents that s3/ writes itself; a struct s3_hash belongs to one thread at a time.
 *
 * A body is hashed once and may be sent many times; what is sent must be what was hashed, so it may
 * not change any more.
 */
#include "hash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>

#include <pailfs/cleanup.h>
#include <pailfs/s3.h>
#include <pailfs/text.h>

#include "sha256_pair.h"

#define MD5_BYTES 16
#define READ_BYTES (256 * 1024) /* of a file at a time */

int s3_hash_init(struct s3_hash *h)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();

	if (!context || EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1) {
		EVP_MD_CTX_free(context);
		h->context = NULL;
		return -ENOMEM;
	}
	h->context = context;
	return 0;
}

int s3_hash_update(struct s3_hash *h, const void *bytes, size_t n)
{
	return EVP_DigestUpdate(h->context, bytes, n) == 1 ? 0 : -ENOMEM;
}

int s3_hash_hex(struct s3_hash *h, char ret_hex[S3_SHA256_HEX_BYTES])
{
	unsigned char hash[SHA256_BYTES];

	if (EVP_DigestFinal_ex(h->context, hash, NULL) != 1 ||
	    EVP_DigestInit_ex(h->context, EVP_sha256(), NULL) != 1)
		return -ENOMEM;
	text_hex(hash, sizeof(hash), ret_hex);
	return 0;
}

void s3_hash_finish(struct s3_hash *h)
{
	if (!h)
		return;
	EVP_MD_CTX_free(h->context);
	h->context = NULL;
}

int hash_md5_base64(const void *bytes, size_t n, char ret_text[HASH_MD5_TEXT_BYTES])
{
	unsigned char hash[MD5_BYTES];

	if (EVP_Digest(bytes, n, hash, NULL, EVP_md5(), NULL) != 1)
		return -EOPNOTSUPP;
	EVP_EncodeBlock((unsigned char *)ret_text, hash, sizeof(hash));
	return 0;
}

/* Both sums of a body, as far as they are wanted. */
struct sums {
	struct s3_hash hash; /* context NULL: not wanted */
	bool has_crc;
	uint32_t crc;
};

static int sums_add(struct sums *s, const void *bytes, size_t n)
{
	if (s->has_crc)
		s->crc = s3_crc32c(s->crc, bytes, n);
	return s->hash.context ? s3_hash_update(&s->hash, bytes, n) : 0;
}

static int sums_add_iovecs(struct sums *s, const struct s3_body *body)
{
	int r = 0;

	for (int i = 0; i < body->iov_count && r == 0; i++)
		r = sums_add(s, body->iov[i].iov_base, body->iov[i].iov_len);
	return r;
}

static int sums_add_file(struct sums *s, const struct s3_body *body)
{
	CLEANUP(free) char *bytes = malloc(READ_BYTES);
	uint64_t done = 0;
	int r = bytes ? 0 : -ENOMEM;

	while (r == 0 && done < body->length) {
		size_t n = (size_t)MIN(body->length - done, (uint64_t)READ_BYTES);
		ssize_t got = pread(body->fd, bytes, n, (off_t)(body->offset + done));

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : -EIO;
		r = sums_add(s, bytes, (size_t)got);
		done += (uint64_t)got;
	}
	return r;
}

int s3_body_seal(struct s3_body *body, bool sha256, bool crc32c)
{
	struct sums sums = {.has_crc = crc32c};
	char hex[S3_SHA256_HEX_BYTES];
	int r = sha256 ? s3_hash_init(&sums.hash) : 0;

	if (r < 0)
		return r;
	r = body->iov_count > 0 ? sums_add_iovecs(&sums, body) : sums_add_file(&sums, body);
	if (r == 0 && sha256)
		r = s3_hash_hex(&sums.hash, hex);
	s3_hash_finish(&sums.hash);
	if (r < 0)
		return r;
	if (sha256)
		memcpy(body->sha256, hex, sizeof(hex));
	if (crc32c) {
		body->crc32c = sums.crc;
		body->has_crc32c = true;
	}
	return 0;
}

bool s3_seals_pairs(void)
{
	return sha256_pair_is_here();
}

int s3_body_seal_pair(struct s3_body *first, struct s3_body *second, bool sha256, bool crc32c)
{
	bool pair = sha256 && sha256_pair_is_here() && first->iov_count > 0 &&
		    second->iov_count > 0 && first->length == second->length;
	unsigned char hashes[2][SHA256_BYTES];
	int r = s3_body_seal(first, sha256 && !pair, crc32c);

	if (r == 0)
		r = s3_body_seal(second, sha256 && !pair, crc32c);
	if (r < 0 || !pair)
		return r;
	sha256_pair(first->iov, second->iov, first->length, hashes);
	text_hex(hashes[0], SHA256_BYTES, first->sha256);
	text_hex(hashes[1], SHA256_BYTES, second->sha256);
	return 0;
}
