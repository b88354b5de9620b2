/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory that threads hold to read WRITEs into. Requests come from a file, the pieces and
 * what libfuse is asked for are played here.
 */
#include "../test.h"

#include <linux/fuse.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <pailfs/fs.h>

#include "mount_private.h"

#define HEAD_BYTES (sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in))
#define PIECES (REQUEST_DATA_BYTES / FS_PIECE_BYTES)
#define HOLDERS_MAX 8
#define QUIET_ENOUGH 64 /* requests after which no thread holds pieces that it did not use */

static struct fuse_custom_io io;
static _Atomic int pieces_out;

int fuse_session_custom_io(struct fuse_session *session, const struct fuse_custom_io *given, int fd)
{
	io = *given;
	return 0;
}

int fuse_session_fd(struct fuse_session *session)
{
	return 0;
}

void *fs_piece_get(struct fs *fs)
{
	pieces_out++;
	return malloc(FS_PIECE_BYTES);
}

void fs_piece_put(struct fs *fs, void *piece)
{
	pieces_out -= piece != NULL;
	free(piece);
}

/* What a thread reads from. */
struct bench {
	struct mount *mount;
	int fd;
	char *sent, *received;
};

static size_t request_size(size_t data)
{
	return HEAD_BYTES + data;
}

static void bench_init(struct bench *b, struct mount *m)
{
	*b = (struct bench){.mount = m};
	b->fd = memfd_create("requests", MFD_CLOEXEC);
	assert_true(b->fd >= 0);
	b->sent = malloc(request_size(REQUEST_DATA_BYTES));
	b->received = malloc(request_size(REQUEST_DATA_BYTES));
}

static void bench_finish(struct bench *b)
{
	close(b->fd);
	free(b->sent);
	free(b->received);
}

static void end(struct mount *m)
{
	channel_drain(m);
	assert_int_equal(pieces_out, 0);
	channel_finish(m);
}

/* A thread reads a request, and sees the bytes that were sent. What it did not take over stays. */
static void pass(struct bench *b, uint32_t opcode, size_t data, unsigned seed)
{
	struct fuse_in_header head = {.len = (uint32_t)request_size(data), .opcode = opcode};
	size_t got, size = request_size(data);
	void **pieces;

	for (size_t k = 0; k < size; k++)
		b->sent[k] = (char)(k * 31 + k / 4093 + seed);
	memcpy(b->sent, &head, sizeof(head));
	assert_int_equal(pwrite(b->fd, b->sent, size, 0), size);
	assert_int_equal(ftruncate(b->fd, (off_t)size), 0);
	assert_int_equal(lseek(b->fd, 0, SEEK_SET), 0);
	got = (size_t)io.read(b->fd, b->received, request_size(REQUEST_DATA_BYTES), b->mount);
	assert_int_equal(got, size);
	pieces = channel_pieces(b->mount);
	if (pieces == NULL) {
		assert_memory_equal(b->received, b->sent, size);
		return;
	}
	assert_int_equal(opcode, FUSE_WRITE);
	assert_memory_equal(b->received, b->sent, HEAD_BYTES);
	for (size_t at = 0; at < data; at += FS_PIECE_BYTES)
		assert_memory_equal(pieces[at / FS_PIECE_BYTES], b->sent + HEAD_BYTES + at,
				    MIN(FS_PIECE_BYTES, data - at));
}

static void test_pieces_are_held_while_writes_are_large(void **state)
{
	struct mount m = {0};
	struct bench b;

	assert_int_equal(channel_install(&m), 0);
	bench_init(&b, &m);
	for (int k = 0; k < 3; k++)
		pass(&b, FUSE_WRITE, 4096, 1);
	pass(&b, FUSE_SETXATTR, REQUEST_DATA_BYTES, 2);
	assert_int_equal(pieces_out, 0);
	pass(&b, FUSE_WRITE, REQUEST_DATA_BYTES, 3); /* the first: in the request */
	assert_null(channel_pieces(&m));
	for (int k = 0; k < 3; k++) {
		pass(&b, FUSE_WRITE, REQUEST_DATA_BYTES, 4);
		assert_non_null(channel_pieces(&m));
		pass(&b, FUSE_WRITE, FS_PIECE_BYTES, 5);
		assert_non_null(channel_pieces(&m));
		pass(&b, FUSE_GETXATTR, 100, 6); /* the kernel asks before each write */
		pass(&b, FUSE_SETXATTR, 300000, 7);
		assert_null(channel_pieces(&m));
	}
	assert_int_equal(pieces_out, PIECES);
	pass(&b, FUSE_WRITE, REQUEST_DATA_BYTES, 8);
	fs_piece_put(NULL, channel_pieces(&m)[0]); /* taken over */
	channel_pieces(&m)[0] = NULL;
	pass(&b, FUSE_WRITE, REQUEST_DATA_BYTES, 9);
	assert_non_null(channel_pieces(&m)[0]);
	for (int k = 0; k < QUIET_ENOUGH; k++)
		pass(&b, k % 2 ? FUSE_WRITE : FUSE_GETATTR, 4096, 10);
	assert_int_equal(pieces_out, 0);
	assert_null(channel_pieces(&m));
	bench_finish(&b);
	end(&m);
}

#define THREADS (HOLDERS_MAX + 4)

struct reader {
	pthread_t thread;
	struct mount *mount;
	pthread_barrier_t *barrier;
};

static void *read_requests(void *ctx)
{
	struct reader *r = ctx;
	struct bench b;

	bench_init(&b, r->mount);
	for (int k = 0; k < 20; k++)
		pass(&b, FUSE_WRITE, REQUEST_DATA_BYTES, 1);
	pthread_barrier_wait(r->barrier); /* as many hold pieces as may */
	pthread_barrier_wait(r->barrier);
	for (int k = 0; k < QUIET_ENOUGH; k++)
		pass(&b, FUSE_GETATTR, 100, 2);
	pthread_barrier_wait(r->barrier); /* nobody does */
	pthread_barrier_wait(r->barrier);
	for (int k = 0; k < 20; k++)
		pass(&b, FUSE_WRITE, REQUEST_DATA_BYTES, 3);
	bench_finish(&b);
	return NULL;
}

static void test_a_few_threads_hold_pieces(void **state)
{
	struct reader readers[THREADS];
	pthread_barrier_t barrier;
	struct mount m = {0};

	assert_int_equal(channel_install(&m), 0);
	pthread_barrier_init(&barrier, NULL, THREADS + 1);
	for (int k = 0; k < THREADS; k++) {
		readers[k] = (struct reader){.mount = &m, .barrier = &barrier};
		assert_int_equal(
		    pthread_create(&readers[k].thread, NULL, read_requests, &readers[k]), 0);
	}
	pthread_barrier_wait(&barrier);
	assert_int_equal(pieces_out, HOLDERS_MAX * PIECES);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	assert_int_equal(pieces_out, 0);
	pthread_barrier_wait(&barrier);
	for (int k = 0; k < THREADS; k++)
		pthread_join(readers[k].thread, NULL);
	pthread_barrier_destroy(&barrier);
	end(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_pieces_are_held_while_writes_are_large),
	    cmocka_unit_test(test_a_few_threads_hold_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
