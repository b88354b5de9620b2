/* SPDX-License-Identifier: Apache-2.0 */
#ifndef S3D_OBJECT_H
#define S3D_OBJECT_H

#include "blob.h"
#include "util.h"

#include <stdatomic.h>

struct json_object;

#define KEY_MAX_BYTES 1024
#define ETAG_SIZE 48 /* 32 hex digits, "-10000", NUL, and room for planted ones */

/* A run of bytes: of a file, of the generator, or zeros. */
struct slice {
	enum slice_kind { SLICE_BLOB, SLICE_WORDS, SLICE_ZERO } kind;
	struct blob *blob; /* a reference, SLICE_BLOB only */
	uint64_t seed;	   /* SLICE_WORDS only */
	uint64_t offset, length;
};

/*
 * One version of an object, or one uploaded part. Immutable once it can be seen by others, counted
 * references. A tombstone hides a synthetic key that was deleted.
 */
struct object {
	atomic_uint refs;
	char *key; /* any bytes, NUL behind */
	size_t key_len;
	bool tombstone;
	uint64_t size;
	int64_t mtime_ms;
	char etag[ETAG_SIZE];	 /* without quotes */
	struct fields headers;	 /* Content-Type, x-amz-meta-*, ... as given */
	struct fields checksums; /* x-amz-checksum-*: base64 */
	struct slice *slices;
	size_t slice_count;
	uint64_t *part_bytes; /* sizes of the parts of a multipart object */
	size_t part_count;
};

/* An empty object of this key (copied), mtime now, one reference. Never NULL. */
struct object *object_create(const char *key, size_t key_len);
/* Adds a reference and answers the same object. */
struct object *object_ref(struct object *object);
/* Takes NULL. */
void object_unref(struct object *object);

/* Appends a slice (its blob reference is taken over) and adds to the size. Before publication. */
void object_add_slice(struct object *object, struct slice slice);
/* Appends what lies at [first, first + length) of `from`, sharing its files. */
void object_share(struct object *object, const struct object *from, uint64_t first,
		  uint64_t length);

/* Where a read goes on; zero is a valid start. */
struct object_reader {
	int fd; /* of slice `at`, valid only when open */
	bool open;
	size_t at;	 /* slice */
	uint64_t before; /* bytes in the slices before it */
};

/* Reads up to len bytes at offset; their number (0 only at the end) or -errno. */
int64_t object_read(const struct object *object, struct object_reader *reader, uint64_t offset,
		    void *to, size_t len);
/* Closes what is open; the reader may start again. */
void object_reader_finish(struct object_reader *reader);

/* Metadata as JSON and back. The file is replaced atomically. 0 or -errno. */
int object_save(const struct object *object, const char *path);
/* NULL when the file is missing or not readable as an object. The caller has the reference. */
struct object *object_load(struct blobs *blobs, const char *path);

/* The bytes of the generator: 8-byte little-endian words splitmix64(seed + offset / 8). */
void words_fill(uint64_t seed, uint64_t offset, void *to, size_t len);

#endif
