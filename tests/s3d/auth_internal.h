/* SPDX-License-Identifier: Apache-2.0 */
#ifndef S3D_AUTH_INTERNAL_H
#define S3D_AUTH_INTERNAL_H

#include <stdint.h>

#include "auth.h"

struct json_object;

#define AUTH_HEX_SIZE 65 /* SHA-256 in lower-case hex and a NUL */

/* Writes 32 bytes as lower-case hex with a NUL. */
void auth_hex(const unsigned char digest[32], char ret_hex[AUTH_HEX_SIZE]);

/* HMAC-SHA256 of a string under a key. 0 or -ENOMEM. */
int auth_hmac(const void *key, size_t key_len, const char *text, unsigned char ret_mac[32]);

/*
 * Hashes the canonical request of S3's SigV4: method, path decoded and encoded once, sorted query,
 * the headers named in signed_headers ("a;b", lower case, sorted), payload_hash as it stands in
 * x-amz-content-sha256. 0, -EINVAL for a broken %-escape, -ENOMEM. Source: as auth_verify().
 */
int auth_canonical_hash(const struct auth_request *request, const char *signed_headers,
			const char *payload_hash, char ret_hex[AUTH_HEX_SIZE]);

/* One key that the server knows. Strings live as long as the db. */
struct credential {
	const char *access_key, *secret_key;
	const char *session_token;  /* NULL: a permanent key */
	int64_t expires;	    /* seconds since 1970; 0 = never */
	struct json_object *policy; /* NULL: unrestricted */
};

/* Looks a key up; NULL if it is not there. Borrowed until auth_db_destroy(). */
const struct credential *auth_db_find(struct auth_db *db, const char *access_key);

/* The region of the server, borrowed like the db. */
const char *auth_db_region(const struct auth_db *db);

#endif
