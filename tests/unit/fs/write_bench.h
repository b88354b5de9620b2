/* SPDX-License-Identifier: Apache-2.0 */
/* What the writer's tests share: a writer over the played server, and the bytes that it must make.
 */
#ifndef PAILFS_TESTS_FS_WRITE_BENCH_H
#define PAILFS_TESTS_FS_WRITE_BENCH_H

#include "played.h"

#include "../../../src/fs/writer_private.h"

#define PART (5 * MIB)

struct bench {
	struct played server;
	struct writers *writers;
	struct writer *w;
	bool owes; /* what is full is not sent by bench_write, but said here: a rest */
	bool rest;
	bool in_pieces;	     /* what is written lies in pieces that may be taken over */
	unsigned taken_over; /* of them */
	/* what the file must hold */
	unsigned char *bytes;
	uint64_t size, capacity;
};

struct bench_config {
	uint64_t memory_bytes;	    /* 0: 64 MiB */
	uint64_t stream_keep_bytes; /* 0: 64 MiB */
	uint64_t spool_limit_bytes; /* 0: 1 GiB; 1: none */
	uint64_t held_bytes_max;    /* 0: sent parts stay while there is room */
	uint64_t pair_wait_ns;	    /* 0: no part waits for the next */
	uint64_t part_bytes;	    /* 0: PART; 1: the plan */
	const char *spool_dir;
	struct journal *journal;
	uint64_t seed;
	bool readable, no_writer;
};

/* A bench with a new file "key". */
void bench_init(struct bench *b, const struct bench_config *config);
/* Destroys the writer, waits for aborts: no upload may be left. */
void bench_finish(struct bench *b);
/* Bytes that follow from their offset in the file and the seed. */
void bench_fill(unsigned char *data, uint64_t length, uint64_t offset, unsigned seed);
/* A file that was filled so from its beginning. */
void bench_check_filled(const unsigned char *data, uint64_t length, unsigned seed);
/* Writes such bytes, to the file and to what it must hold. */
int bench_write(struct bench *b, uint64_t offset, uint64_t length, unsigned seed);
/* Cuts or extends both. */
int bench_truncate(struct bench *b, uint64_t size);
/* Publishes, checks what the server holds, and waits until no upload is left there. */
void bench_publish(struct bench *b, enum publish_condition condition);
/* Publishes: what writer_publish answered. */
int bench_try_publish(struct bench *b, enum publish_condition condition, bool *ret_final);
/* The object must hold what the file does. */
void bench_check_object(struct bench *b);
/* Reads [offset, offset + length) and compares. */
void bench_check_read(struct bench *b, uint64_t offset, uint64_t length);

#endif
