/* SPDX-License-Identifier: Apache-2.0 */
#ifndef S3D_AUTH_H
#define S3D_AUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct json_object;

/* One request header as received. */
struct auth_header {
	const char *name, *value;
};

/* What of a request is signed. All strings are borrowed for the call. */
struct auth_request {
	const char *method;
	const char *raw_path;		   /* as on the wire, undecoded, no query */
	const char *raw_query;		   /* the bytes behind '?', or "" */
	const struct auth_header *headers; /* all of them, order kept */
	size_t header_count;
	bool tls; /* for completeness: whether an unsigned payload may pass is the server's rule */
};

/* The credentials that the server knows; may be used by any number of threads at once. */
struct auth_db;

/* What x-amz-content-sha256 promises about the body. */
enum auth_payload {
	AUTH_PAYLOAD_HASH,		      /* payload_sha256 is the body's hash */
	AUTH_PAYLOAD_UNSIGNED,		      /* UNSIGNED-PAYLOAD */
	AUTH_PAYLOAD_STREAM_SIGNED,	      /* aws-chunked, each chunk signed */
	AUTH_PAYLOAD_STREAM_UNSIGNED_TRAILER, /* aws-chunked, plain chunks, then a trailer */
	AUTH_PAYLOAD_STREAM_SIGNED_TRAILER,   /* aws-chunked, signed chunks, signed trailer */
};

/* The verdict on one request. Strings in arrays are "" when not known. */
struct auth_result {
	const char *code;    /* S3 error code, static; NULL = accepted */
	int status;	     /* HTTP status that goes with code; 0 when accepted */
	const char *message; /* static; NULL when accepted */
	bool wrong_token;    /* the signature is right, the session token is not (InvalidToken);
			      * expiry and region were not looked at */
	bool wrong_region;   /* the only fault is that the scope names another region than the db
			      * (code is AuthorizationHeaderMalformed): a server that has a bucket
			      * in `region` may accept the request all the same */
	char region[33];     /* the region in the request's scope */
	char access_key[129];
	enum auth_payload payload;
	char payload_sha256[65]; /* lower-case hex, only with AUTH_PAYLOAD_HASH */
	bool anonymous; /* no signature at all: accepted here, the server asks if it is public */
	struct json_object *policy;    /* borrowed until auth_db_destroy(); NULL = unrestricted */
	unsigned char signing_key[32]; /* these four are the seed of a signed aws-chunked body */
	char seed_signature[65];
	char amz_date[17];
	char scope[128];
};

/*
 * Creates an empty list of credentials for a server of this region (at most 32 characters, copied).
 * NULL without memory or with a region that is too long. The caller destroys it.
 */
struct auth_db *auth_db_create(const char *region);

/* Frees the list and every policy that a result borrowed. Takes NULL. */
void auth_db_destroy(struct auth_db *db);

/*
 * Replaces all credentials by those of a JSON array: [{"access_key":..,"secret_key":..,
 * "session_token":optional,"expires":optional epoch seconds,"policy":optional IAM document}].
 * 0; -EINVAL on anything else than that, -ENOMEM: then the list is unchanged.
 */
int auth_db_load_json(struct auth_db *db, const char *json, size_t len);

/*
 * Verifies the SigV4 header signature of a request at the server's time `now` and always fills
 * ret. Does not block on anything but the list's lock. Source: AWS "Authenticating Requests:
 * Using the Authorization Header (AWS Signature Version 4)".
 */
void auth_verify(struct auth_db *db, const struct auth_request *request, time_t now,
		 struct auth_result *ret);

/* Decoder of one aws-chunked body; used by one thread at a time. */
struct auth_stream;

/*
 * Creates the decoder for an accepted result whose payload is one of AUTH_PAYLOAD_STREAM_*;
 * decoded_length is x-amz-decoded-content-length in bytes. NULL without memory or for another kind
 * of payload. The result is copied from, not kept.
 */
struct auth_stream *auth_stream_create(const struct auth_result *result, uint64_t decoded_length);

/*
 * Decodes len bytes as they came off the wire (any split) and hands the data to out() (not NULL;
 * ctx is passed through). Data of a chunk is handed out before its signature is known: the caller
 * must throw it away on an error. 0, -EBADMSG on bad framing or a wrong signature or more than
 * decoded_length bytes, or what out() answered when that was negative. After an error: destroy.
 */
int auth_stream_feed(struct auth_stream *stream, const void *bytes, size_t len,
		     int (*out)(void *ctx, const void *bytes, size_t len), void *ctx);

/*
 * Ends the body. 0 with the trailer's lower-case name and its value ("" without one), -EBADMSG
 * when it was cut off, is shorter than decoded_length, or its trailer's signature is wrong.
 */
int auth_stream_end(struct auth_stream *stream, char trailer_name[64], char trailer_value[128]);

/* Takes NULL. */
void auth_stream_destroy(struct auth_stream *stream);

#endif
