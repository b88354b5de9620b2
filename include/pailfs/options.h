/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line. Every option is one row of one table: the parser, --help, the test of the
 * manual page and the defaults all walk it. Nothing here looks at the environment, a profile or
 * the machine: that is added in src/settings.c.
 */
#ifndef PAILFS_OPTIONS_H
#define PAILFS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <pailfs/log.h>

#define OPTION_ALIASES_MAX 4
#define OPTION_ROWS_MAX 96
#define OPTION_ERROR_BYTES 512 /* for every ret_error here */

enum option_type {
	OPTION_FLAG,	 /* bool; alone, or =yes|no|true|false|1|0 */
	OPTION_FLAG_OFF, /* the same, reversed: it clears its field */
	OPTION_AUTO,	 /* int: -1 not said, else as a flag */
	OPTION_TEXT,	 /* char *, not empty */
	OPTION_COUNT,	 /* uint32_t, decimal */
	OPTION_OCTAL,	 /* uint32_t */
	OPTION_SIZE,	 /* uint64_t, bytes */
	OPTION_TIME,	 /* uint64_t, nanoseconds; UINT64_MAX is `forever` */
	OPTION_RATE,	 /* struct option_rate; min and max are of the rate */
	OPTION_LEVEL,	 /* enum log_level */
	OPTION_CHOICE,	 /* uint32_t: the number of the word among those of value, from 0 */
};

struct option_row {
	const char *name;
	const char *aliases[OPTION_ALIASES_MAX];
	enum option_type type;
	uint64_t min, max;  /* of numbers, in the field's unit */
	const char *preset; /* the default, as one would write it; NULL: the field stays 0 */
	const char *says;  /* what happens without the option, when preset is NULL; NULL: nothing */
	const char *value; /* what stands behind the = in the documents; NULL for flags */
	const char *bare;  /* what the name alone means; NULL: it needs its value */
	const char *help;  /* one line */
	size_t offset;	   /* of the field in struct options */
};

struct option_rate {
	uint64_t bytes_per_s; /* 0: no limit */
	uint64_t burst_bytes;
};

enum option_action {
	OPTION_RUN,
	OPTION_SHOW_HELP,
	OPTION_SHOW_VERSION,
	OPTION_UNMOUNT,
	OPTION_UPLOADS
};

/* The words of the choices, in their order. */
enum option_excl { OPTION_EXCL_CLOSE, OPTION_EXCL_CLAIM };
enum option_on_kill { OPTION_ON_KILL_ABORT, OPTION_ON_KILL_PUBLISH };
enum option_checksum { OPTION_CHECKSUM_CRC32C, OPTION_CHECKSUM_OFF };
enum option_payload { OPTION_PAYLOAD_SIGNED, OPTION_PAYLOAD_UNSIGNED };

enum option_posix { OPTION_POSIX_S3FS, OPTION_POSIX_AWS, OPTION_POSIX_OFF };

struct options {
	enum option_action action;
	bool foreground;       /* -f */
	bool pretend;	       /* mount.pailfs -f: check the words and mount nothing */
	bool abort_uploads;    /* --abort */
	bool older_than_given; /* --older-than */
	uint64_t older_than_ns;
	bool from_mount;	     /* mount(8) started us: wait for the network */
	bool given[OPTION_ROWS_MAX]; /* by row: the command line says it */
	/* the words */
	char *source; /* as given, for mount(8)'s list: `mount -a` looks for it there */
	char *bucket;
	char *prefix; /* "" or "a/b/" */
	char *dir;    /* as given */
	/* rows of the table */
	char *region, *endpoint, *profile, *passwd_file, *ca_bundle, *expected_bucket_owner;
	char *log_file;
	bool no_sign_request, requester_pays, dualstack, fips;
	bool allow_other, read_only, no_exec, debug;
	int path_style;
	uint32_t uid, gid, file_mode, dir_mode, umask;
	uint32_t parallel, retries, ready_fd;
	uint64_t metadata_ttl_ns, negative_ttl_ns, op_timeout_ns, mount_timeout_ns;
	uint64_t part_size_bytes, memory_bytes, quota_bytes;
	struct option_rate download_limit, upload_limit;
	uint32_t excl, on_kill, checksum, payload, posix;
	bool allow_suid, xattr;
	bool safe, allow_delete, allow_overwrite, nosilent;
	char *spool_dir, *storage_class, *sse, *sse_kms_key_id, *acl, *content_type;
	uint64_t upload_part_bytes, spool_limit_bytes, unlink_keep_bytes;
	uint64_t server_timeout_ns;
	enum log_level log_level;
};

/* The rows, *ret_count of them. Static. */
const struct option_row *options_table(size_t *ret_count);

/*
 * Reads a command line into *o (which options_finish empties, also after an error). Called as
 * mount.pailfs (the last component of argv[0]) it takes mount(8)'s flags. 0, or -EINVAL with one
 * line in ret_error that names the word, its value and what is allowed.
 */
int options_parse(struct options *o, int argc, char **argv, char *ret_error, size_t error_size);

/*
 * Sets one option as if `-o word` had been given; word is NAME or NAME=VALUE. 0, or -EINVAL as
 * options_parse.
 */
int options_set(struct options *o, const char *word, char *ret_error, size_t error_size);

/* The defaults of every row, and no words. */
void options_init(struct options *o);

/* Frees what *o owns. Never NULL. */
void options_finish(struct options *o);

/* True if the command line says the row of that name (which must exist, asserted). */
bool options_given(const struct options *o, const char *name);

/* Writes one line for the user, of a mistake in the command line or the environment: -EINVAL. */
int options_fail(char *ret_error, size_t error_size, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Writes the text of --help. */
void options_print_help(FILE *to);

/* What a row takes, in words: "a whole number from 1 to 1024". Returns dst (at least 160 bytes). */
const char *option_range(const struct option_row *row, char *dst, size_t size);

/*
 * True for a word of fstab that is for mount(8) or says what always holds: it has no effect.
 * Without its value; `-` and `_` are alike.
 */
bool option_is_ignored(const char *name);

/* What to say of another tool's option that pailfs does not have; NULL if the name is unknown. */
const char *option_foreign_advice(const char *name);

/* The option whose name or alias is nearest to name; NULL if none is near. */
const char *option_nearest(const char *name);

/* Compares names of options: `-` and `_` are alike. */
bool option_name_equal(const char *a, const char *b);

#endif
