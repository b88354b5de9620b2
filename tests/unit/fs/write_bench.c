/* SPDX-License-Identifier: Apache-2.0 */
#include "write_bench.h"

#include <unistd.h>

#include <pailfs/cleanup.h>

#define WAIT_MS 30000

void bench_init(struct bench *b, const struct bench_config *config)
{
	uint64_t memory = config->memory_bytes ? config->memory_bytes : 64 * MIB;
	struct writers_config writers = {
	    .upload_part_bytes = config->part_bytes ? config->part_bytes : PART,
	    .memory_bytes = memory,
	    .stream_keep_bytes = config->stream_keep_bytes ? config->stream_keep_bytes : 64 * MIB,
	    .spool_limit_bytes = config->spool_limit_bytes ? config->spool_limit_bytes : GIB,
	    .held_bytes_max = config->held_bytes_max,
	    .pair_wait_ns = config->pair_wait_ns,
	    .spool_dir = config->spool_dir ? config->spool_dir : "/tmp",
	};

	if (writers.upload_part_bytes == 1)
		writers.upload_part_bytes = 0;
	memset(b, 0, sizeof(*b));
	played_init(&b->server, memory, config->seed);
	assert_int_equal(writers_create_over(&writers, b->server.budget, &b->server.source,
					     b->server.cache, config->journal, &b->writers),
			 0);
	if (!config->no_writer)
		assert_int_equal(
		    writer_create(b->writers, "key", 3, NULL, NULL, config->readable, &b->w), 0);
}

void bench_finish(struct bench *b)
{
	writer_destroy(b->w);
	writers_destroy(b->writers);
	assert_int_equal(played_uploads(&b->server), 0);
	played_finish(&b->server);
	free(b->bytes);
}

static void grow(struct bench *b, uint64_t size)
{
	if (size > b->capacity) {
		b->capacity = MAX(size, b->capacity * 2);
		b->bytes = realloc(b->bytes, b->capacity);
	}
	if (size > b->size)
		memset(b->bytes + b->size, 0, size - b->size);
	b->size = MAX(b->size, size);
}

/* The bytes in pieces of the writers. */
static void **make_pieces(struct bench *b, const unsigned char *data, uint64_t length,
			  size_t *ret_count)
{
	size_t i, count = (length + FS_PIECE_BYTES - 1) / FS_PIECE_BYTES;
	void **pieces = calloc(count, sizeof(*pieces));

	for (i = 0; i < count; i++) {
		pieces[i] = writers_piece_get(b->writers);
		memcpy(pieces[i], data + i * FS_PIECE_BYTES,
		       MIN(length - i * FS_PIECE_BYTES, FS_PIECE_BYTES));
	}
	*ret_count = count;
	return pieces;
}

static void give_back(struct bench *b, void **pieces, void **before, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++) {
		b->taken_over += pieces[i] != before[i];
		writers_piece_put(b->writers, pieces[i]);
	}
}

static int write_plain(struct bench *b, uint64_t offset, struct fs_bytes *bytes, bool *ret_rest)
{
	return writer_write(b->w, offset, bytes, NULL, ret_rest);
}

/* As writer_write of bytes in pieces. */
static int write_pieces(struct bench *b, uint64_t offset, struct fs_bytes *bytes, bool *ret_rest)
{
	size_t count;
	CLEANUP(free) void **pieces = make_pieces(b, bytes->data, bytes->length, &count);
	CLEANUP(free) void **before = calloc(count, sizeof(*before));
	int rc;

	memcpy(before, pieces, count * sizeof(*before));
	bytes->data = NULL;
	bytes->pieces = pieces;
	rc = writer_write(b->w, offset, bytes, NULL, ret_rest);
	give_back(b, pieces, before, count);
	return rc;
}

/* Out of TSan's sight, which would be called for each byte of what no other thread knows. */
__attribute__((no_sanitize_thread)) static void fill_block(unsigned char *block, size_t n,
							   uint64_t offset, unsigned seed)
{
	size_t i;

	for (i = 0; i < n; i++)
		block[i] = (unsigned char)((offset + i) * 31 + (offset + i) / 4093 + seed);
}

void bench_fill(unsigned char *data, uint64_t length, uint64_t offset, unsigned seed)
{
	unsigned char block[4096];
	uint64_t at, n;

	for (at = 0; at < length; at += n) {
		n = MIN(sizeof(block), length - at);
		fill_block(block, n, offset + at, seed);
		memcpy(data + at, block, n);
	}
}

void bench_check_filled(const unsigned char *data, uint64_t length, unsigned seed)
{
	unsigned char block[4096];
	uint64_t at, n;

	for (at = 0; at < length; at += n) {
		n = MIN(sizeof(block), length - at);
		fill_block(block, n, at, seed);
		assert_memory_equal(data + at, block, n);
	}
}

int bench_write(struct bench *b, uint64_t offset, uint64_t length, unsigned seed)
{
	unsigned char *data = malloc(length);
	struct fs_bytes bytes = {.data = data, .length = length};
	int rc;

	bench_fill(data, length, offset, seed);
	rc = (b->in_pieces ? write_pieces : write_plain)(b, offset, &bytes,
							 b->owes ? &b->rest : NULL);
	if (rc == 0) {
		grow(b, offset + length);
		memcpy(b->bytes + offset, data, length);
	}
	free(data);
	return rc;
}

int bench_truncate(struct bench *b, uint64_t size)
{
	int rc = writer_truncate(b->w, size, NULL);

	if (rc == 0) {
		grow(b, size);
		b->size = size;
	}
	return rc;
}

void bench_check_object(struct bench *b)
{
	const struct played_object *o = played_find(&b->server, "key");
	uint64_t i;

	assert_non_null(o);
	assert_int_equal(o->size, b->size);
	for (i = 0; i < b->size; i += MIN((uint64_t)4096, b->size - i))
		if (memcmp(o->bytes + i, b->bytes + i, MIN((uint64_t)4096, b->size - i)) != 0)
			fail_msg("object differs in the 4 KiB at %llu", (unsigned long long)i);
}

int bench_try_publish(struct bench *b, enum publish_condition condition, bool *ret_final)
{
	struct s3_meta meta = {"mtime", "1"};
	struct publish_attr attr = {"text/plain", &meta, 1};
	struct published published = {0};
	const struct played_object *o;
	char etag[S3_ETAG_MAX];
	int rc = writer_publish(b->w, condition, &attr, NULL, &published, ret_final);

	if (rc < 0)
		return rc;
	o = played_find(&b->server, "key");
	assert_non_null(o);
	assert_int_equal(published.size, b->size);
	assert_string_equal(etag_text(&published.etag, etag), o->etag);
	etag_finish(&published.etag);
	return 0;
}

/* One that was let go of is aborted in the background. */
static void wait_for_no_upload(struct bench *b)
{
	for (int ms = 0; ms < WAIT_MS && played_uploads(&b->server) > 0; ms++)
		usleep(1000);
	assert_int_equal(played_uploads(&b->server), 0);
}

void bench_publish(struct bench *b, enum publish_condition condition)
{
	bool final;

	assert_int_equal(bench_try_publish(b, condition, &final), 0);
	bench_check_object(b);
	assert_false(writer_is_dirty(b->w));
	wait_for_no_upload(b);
}

void bench_check_read(struct bench *b, uint64_t offset, uint64_t length)
{
	struct view view;
	uint64_t expected = offset < b->size ? MIN(length, b->size - offset) : 0, at = 0;
	int i;

	assert_int_equal(writer_read(b->w, offset, length, NULL, &view), 0);
	assert_int_equal(view.length, expected);
	for (i = 0; i < view.iov_count; i++) {
		assert_memory_equal(view.iov[i].iov_base, b->bytes + offset + at,
				    view.iov[i].iov_len);
		at += view.iov[i].iov_len;
	}
	assert_int_equal(at, expected);
	view_release(&view);
}
