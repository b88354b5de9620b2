/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decoder of aws-chunked bodies ("STREAMING-..." in x-amz-content-sha256), as S3 takes them:
 *
 *     hex-size[;chunk-signature=64 hex] CRLF  data CRLF  ...  0[;chunk-signature=...] CRLF
 *     [trailer-name:value CRLF  [x-amz-trailer-signature:64 hex CRLF]]  CRLF
 *
 * Each signature covers its chunk's hash and the signature before it; the first link of the chain
 * is the signature in the Authorization header. Only the last chunk with data may be smaller than
 * 8 KiB. One thread uses a decoder at a time.
 *
 *     state       eats                                       goes to
 *     SIZE        the line that opens a chunk                DATA; TRAILER after size 0
 *     DATA        the bytes of the chunk                     AFTER_DATA
 *     AFTER_DATA  the empty line behind them                 SIZE
 *     TRAILER     lines "name:value", then an empty one      DONE
 *     DONE        nothing more: any byte is an error
 *
 * Source: AWS, "Transferring Payload in Multiple Chunks" and "... with Trailing Headers".
 */
#include "auth.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "auth_internal.h"

#define CHUNK_MIN_BYTES 8192
#define EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

enum state {
	STATE_SIZE,
	STATE_DATA,
	STATE_AFTER_DATA,
	STATE_TRAILER,
	STATE_DONE,
};

struct auth_stream {
	/* Set at creation. */
	bool is_signed, has_trailer;
	uint64_t decoded_length;
	unsigned char signing_key[32];
	char amz_date[17], scope[128];
	/* The decoder's own. */
	enum state state;
	uint64_t seen;	     /* data bytes handed out */
	uint64_t chunk_left; /* bytes to come of this chunk */
	bool small_seen;     /* a chunk that must be the last with data has begun */
	EVP_MD_CTX *hash;    /* of this chunk's data, when signed */
	char previous[AUTH_HEX_SIZE], chunk_signature[AUTH_HEX_SIZE];
	char line[512];
	size_t line_len;
	char trailer_name[64], trailer_value[128];
	bool trailer_signed;
};

struct auth_stream *auth_stream_create(const struct auth_result *result, uint64_t decoded_length)
{
	bool is_signed = result->payload == AUTH_PAYLOAD_STREAM_SIGNED ||
			 result->payload == AUTH_PAYLOAD_STREAM_SIGNED_TRAILER;
	bool has_trailer = result->payload == AUTH_PAYLOAD_STREAM_UNSIGNED_TRAILER ||
			   result->payload == AUTH_PAYLOAD_STREAM_SIGNED_TRAILER;
	struct auth_stream *stream = is_signed || has_trailer ? calloc(1, sizeof(*stream)) : NULL;

	if (!stream)
		return NULL;
	stream->hash = EVP_MD_CTX_new();
	if (!stream->hash) {
		free(stream);
		return NULL;
	}
	stream->is_signed = is_signed;
	stream->has_trailer = has_trailer;
	stream->decoded_length = decoded_length;
	memcpy(stream->signing_key, result->signing_key, sizeof(stream->signing_key));
	memcpy(stream->amz_date, result->amz_date, sizeof(stream->amz_date));
	memcpy(stream->scope, result->scope, sizeof(stream->scope));
	memcpy(stream->previous, result->seed_signature, sizeof(stream->previous));
	return stream;
}

void auth_stream_destroy(struct auth_stream *stream)
{
	if (!stream)
		return;
	EVP_MD_CTX_free(stream->hash);
	OPENSSL_cleanse(stream->signing_key, sizeof(stream->signing_key));
	free(stream);
}

/* Compares a link of the chain and makes it the one that the next link builds on. */
static int check_link(struct auth_stream *stream, const char *kind, const char *empty_hash,
		      const unsigned char digest[32], const char *signature)
{
	char text[512], hash[AUTH_HEX_SIZE], expected[AUTH_HEX_SIZE];
	unsigned char mac[32];

	auth_hex(digest, hash);
	snprintf(text, sizeof(text), "AWS4-HMAC-SHA256-%s\n%s\n%s\n%s\n%s%s", kind,
		 stream->amz_date, stream->scope, stream->previous, empty_hash, hash);
	if (auth_hmac(stream->signing_key, 32, text, mac))
		return -ENOMEM;
	auth_hex(mac, expected);
	if (strlen(signature) != 64 || CRYPTO_memcmp(expected, signature, 64))
		return -EBADMSG;
	memcpy(stream->previous, expected, sizeof(stream->previous));
	return 0;
}

static int end_chunk(struct auth_stream *stream)
{
	unsigned char digest[32];

	if (!stream->is_signed)
		return 0;
	if (!EVP_DigestFinal_ex(stream->hash, digest, NULL))
		return -ENOMEM;
	return check_link(stream, "PAYLOAD", EMPTY_SHA256 "\n", digest, stream->chunk_signature);
}

/* "hex-size" or "hex-size;chunk-signature=64 hex", as the payload's form demands. */
static int begin_chunk(struct auth_stream *stream, const char *line)
{
	static const char extension[] = ";chunk-signature=";
	size_t digits = strspn(line, "0123456789abcdefABCDEF");
	const char *rest = line + digits;

	if (!digits || digits > 16)
		return -EBADMSG;
	uint64_t size = strtoull(line, NULL, 16);

	if (size > stream->decoded_length - stream->seen || (size && stream->small_seen))
		return -EBADMSG;
	if (stream->is_signed) {
		if (strncmp(rest, extension, strlen(extension)) ||
		    strlen(rest + strlen(extension)) != 64)
			return -EBADMSG;
		memcpy(stream->chunk_signature, rest + strlen(extension), AUTH_HEX_SIZE);
		if (!EVP_DigestInit_ex(stream->hash, EVP_sha256(), NULL))
			return -ENOMEM;
	} else if (*rest) {
		return -EBADMSG;
	}
	stream->chunk_left = size;
	stream->small_seen = size < CHUNK_MIN_BYTES;
	stream->state = size ? STATE_DATA : STATE_TRAILER;
	return size ? 0 : end_chunk(stream);
}

static int check_trailer_signature(struct auth_stream *stream, const char *signature)
{
	char text[256];
	unsigned char digest[32];
	int len =
	    snprintf(text, sizeof(text), "%s:%s\n", stream->trailer_name, stream->trailer_value);

	stream->trailer_signed = true;
	if (!EVP_Digest(text, (size_t)len, digest, NULL, EVP_sha256(), NULL))
		return -ENOMEM;
	return check_link(stream, "TRAILER", "", digest, signature);
}

static int take_trailer(struct auth_stream *stream, char *line)
{
	char *value = strchr(line, ':');

	if (!stream->has_trailer || !value || value == line || stream->trailer_signed)
		return -EBADMSG;
	*value++ = '\0';
	value += strspn(value, " \t");
	for (char *end = value + strlen(value); end > value && isblank((unsigned char)end[-1]);)
		*--end = '\0';
	for (char *at = line; *at; at++)
		*at = (char)tolower((unsigned char)*at);
	if (!strcmp(line, "x-amz-trailer-signature"))
		return stream->is_signed ? check_trailer_signature(stream, value) : -EBADMSG;
	if (stream->trailer_name[0] || strlen(line) >= sizeof(stream->trailer_name) ||
	    strlen(value) >= sizeof(stream->trailer_value))
		return -EBADMSG;
	strcpy(stream->trailer_name, line);
	strcpy(stream->trailer_value, value);
	return 0;
}

static int take_line(struct auth_stream *stream, char *line)
{
	switch (stream->state) {
	case STATE_SIZE:
		return begin_chunk(stream, line);
	case STATE_AFTER_DATA:
		stream->state = STATE_SIZE;
		return *line ? -EBADMSG : end_chunk(stream);
	case STATE_TRAILER:
		if (*line)
			return take_trailer(stream, line);
		stream->state = STATE_DONE;
		return 0;
	case STATE_DATA:
	case STATE_DONE:
		break;
	}
	return -EBADMSG;
}

/* Eats bytes of a line that ends in CRLF. Gives how many, or an error. */
static ssize_t feed_line(struct auth_stream *stream, const char *bytes, size_t len)
{
	const char *newline = memchr(bytes, '\n', len);
	size_t take = newline ? (size_t)(newline - bytes) + 1 : len;

	if (stream->state == STATE_DONE || stream->line_len + take >= sizeof(stream->line))
		return -EBADMSG;
	memcpy(stream->line + stream->line_len, bytes, take);
	stream->line_len += take;
	if (!newline)
		return (ssize_t)take;
	if (stream->line_len < 2 || stream->line[stream->line_len - 2] != '\r')
		return -EBADMSG;
	stream->line[stream->line_len - 2] = '\0';
	if (strlen(stream->line) != stream->line_len - 2)
		return -EBADMSG;
	stream->line_len = 0;
	int err = take_line(stream, stream->line);

	return err ? err : (ssize_t)take;
}

/* Eats and hands out data of the chunk. Gives how many bytes, or an error. */
static ssize_t feed_data(struct auth_stream *stream, const char *bytes, size_t len,
			 int (*out)(void *ctx, const void *bytes, size_t len), void *ctx)
{
	size_t take = len < stream->chunk_left ? len : (size_t)stream->chunk_left;

	if (stream->is_signed && !EVP_DigestUpdate(stream->hash, bytes, take))
		return -ENOMEM;
	int err = out(ctx, bytes, take);

	if (err < 0)
		return err;
	stream->seen += take;
	stream->chunk_left -= take;
	if (!stream->chunk_left)
		stream->state = STATE_AFTER_DATA;
	return (ssize_t)take;
}

int auth_stream_feed(struct auth_stream *stream, const void *bytes, size_t len,
		     int (*out)(void *ctx, const void *bytes, size_t len), void *ctx)
{
	const char *at = bytes;

	while (len) {
		ssize_t eaten = stream->state == STATE_DATA ? feed_data(stream, at, len, out, ctx)
							    : feed_line(stream, at, len);

		if (eaten < 0)
			return (int)eaten;
		at += eaten;
		len -= (size_t)eaten;
	}
	return 0;
}

int auth_stream_end(struct auth_stream *stream, char trailer_name[64], char trailer_value[128])
{
	if (stream->state != STATE_DONE || stream->seen != stream->decoded_length)
		return -EBADMSG;
	if (stream->is_signed && stream->has_trailer && !stream->trailer_signed)
		return -EBADMSG;
	strcpy(trailer_name, stream->trailer_name);
	strcpy(trailer_value, stream->trailer_value);
	return 0;
}
