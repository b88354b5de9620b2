/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fsx: random operations on one file, held against a model in memory after each. A single thread;
 * what differs is told with the last operations, and the program ends with 1: no function here
 * returns an error. The order of operations follows from the seed and the options alone, so that a
 * seed plays again.
 *
 *	main.c	   options and the loop
 *	file.c	   handles, comparing, the driver's question
 *	ops_data.c, ops_size.c, ops_open.c  the operations
 *	model.c	   what the file should hold, and the bytes that a step writes
 *	chance.c   random numbers, sizes and places
 *	trail.c	   the last operations
 */
#ifndef PAILFS_FSX_H
#define PAILFS_FSX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HANDLES_MAX 2
#define PAGE 4096u
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* -- chance.c */

struct chance {
	uint64_t state;
};

/* The next number. */
uint64_t chance_next(struct chance *c);
/* 0 to below - 1; below is not 0. */
uint64_t chance_below(struct chance *c, uint64_t below);
/* True in so many of a hundred. */
bool chance_percent(struct chance *c, unsigned percent);

/* -- model.c */

struct model {
	uint8_t *bytes; /* what is beyond size is zero */
	uint64_t size, max_size;
	uint8_t *source; /* the other file, for copies */
	uint64_t source_size;
};

/* The memory of a model: of its own, or of a file that a driver reads (path not NULL). */
void model_init(struct model *m, const char *path, uint64_t max_size, uint64_t source_size);
/* Grows or shrinks it. */
void model_resize(struct model *m, uint64_t size);
/* Takes bytes over, growing as needed. */
void model_put(struct model *m, uint64_t offset, const void *data, uint64_t length);
/* Zeroes bytes within the size. */
void model_zero(struct model *m, uint64_t offset, uint64_t length);
/* The bytes that a step writes at an offset: no two steps and no two offsets have the same. */
void pattern_fill(uint64_t step, uint64_t offset, void *data, uint64_t length);
/* True if 8 bytes are of a step's pattern, and of which and where. */
bool pattern_origin(const uint8_t bytes[8], uint64_t *ret_step, uint64_t *ret_offset);

/* -- trail.c */

#define TRAIL_LINE 160

struct trail_entry {
	char text[TRAIL_LINE];
	uint64_t offset, length;
};

struct trail {
	struct trail_entry *entries;
	unsigned capacity;
	uint64_t count; /* of all that ever were */
};

/* Notes an operation that touches length bytes at offset, before it is carried out. */
void trail_note(struct trail *t, uint64_t offset, uint64_t length, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Prints what is remembered to stderr, marking what touched that byte (UINT64_MAX: none). */
void trail_print(const struct trail *t, uint64_t offset);

/* -- main.c */

enum operation {
	OP_READ,
	OP_WRITE,
	OP_APPEND,
	OP_FILL,
	OP_MAPREAD,
	OP_MAPWRITE,
	OP_MAPSYNC,
	OP_TRUNCATE,
	OP_TRUNCNAME,
	OP_ALLOCATE,
	OP_KEEP,
	OP_PUNCH,
	OP_ZERO,
	OP_SEEK,
	OP_COPY,
	OP_COPYFROM,
	OP_STAT,
	OP_FSYNC,
	OP_REOPEN,
	OP_RECREATE,
	OP_RENAME,
	OP_COUNT
};

struct settings {
	uint64_t seed, steps, max_size, part, block;
	unsigned handles;
	unsigned weights[OP_COUNT];
	bool fresh; /* an object is never opened for writing without O_TRUNC */
	bool ask;   /* a driver compares each published state */
	bool trace;
	uint64_t plant_step; /* 0: none; after that step the file is spoilt */
	const char *plant;   /* how */
	const char *model;   /* a file for the model */
	const char *path;
};

struct handle {
	int fd; /* -1: closed */
	int flags;
};

struct fsx {
	struct settings set;
	struct chance chance;
	struct model model;
	struct trail trail;
	struct handle handles[HANDLES_MAX];
	char *path, *other_path; /* its name, and the one that a rename gives it */
	char *source_path;
	uint8_t *scratch; /* max_size bytes */
	uint64_t step;	  /* the number of the running operation, from 1 */
	uint64_t cap;	  /* how large the file gets before it is made anew */
	bool changed;	  /* since the last time that it was compared as published */
	bool unflushed;	  /* a mapping was written to and nothing sent it off since */
	uint64_t checks;
	uint64_t done[OP_COUNT];
};

/* Tells what is wrong, with the trail, and ends the program. offset: where (UINT64_MAX: nowhere) */
_Noreturn void fail_at(struct fsx *f, uint64_t offset, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* -- file.c */

/* An open handle that can do that, or NULL: one at random. */
struct handle *handle_for(struct fsx *f, bool reading, bool writing);
bool handle_reads(const struct handle *h);
bool handle_writes(const struct handle *h);
/* Some handle is open, and for writing if so wanted. */
bool any_open(const struct fsx *f, bool writing);
/* Opens a slot. */
void handle_open(struct fsx *f, struct handle *h, int flags);
void handle_close(struct fsx *f, struct handle *h);
void close_all(struct fsx *f);
/* Ends the program if the bytes are not those of the model. */
void compare(struct fsx *f, const char *what, uint64_t offset, const uint8_t *got, uint64_t length);
/* The same for the size that fstat and stat give. */
void compare_size(struct fsx *f);
/* Reads it all by its name through a handle of its own, and compares. */
void compare_whole(struct fsx *f);
/* What is published now must be the model: asks the driver, or reads it all. */
void published(struct fsx *f, const char *why);
/* Spoils the file behind the model's back, as --plant says. */
void plant(struct fsx *f);

/* Where an operation works: biased to the edges of pages, blocks and parts. */
uint64_t pick_offset(struct fsx *f, uint64_t limit);
/* How much, at most limit; not 0 unless limit is. */
uint64_t pick_length(struct fsx *f, uint64_t limit);
/* A cap of the file until it is made anew. */
void pick_cap(struct fsx *f);

/* -- the operations: false, and nothing done, if they are not possible now */

bool op_read(struct fsx *f);
bool op_write(struct fsx *f);
bool op_append(struct fsx *f);
bool op_fill(struct fsx *f);
bool op_mapread(struct fsx *f);
bool op_mapwrite(struct fsx *f);
bool op_mapsync(struct fsx *f);
bool op_truncate(struct fsx *f);
bool op_truncname(struct fsx *f);
bool op_allocate(struct fsx *f);
bool op_keep(struct fsx *f);
bool op_punch(struct fsx *f);
bool op_zero(struct fsx *f);
bool op_seek(struct fsx *f);
bool op_copy(struct fsx *f);
bool op_copyfrom(struct fsx *f);
bool op_stat(struct fsx *f);
bool op_fsync(struct fsx *f);
bool op_reopen(struct fsx *f);
bool op_recreate(struct fsx *f);
bool op_rename(struct fsx *f);
/* Makes the other file, for op_copyfrom. */
void make_source(struct fsx *f);
/* Makes the file, which is not there, and opens all handles. */
void make_file(struct fsx *f);

#endif
