/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this mount did to the names of a directory lately: an answer to a request that was sent
 * before a name's last local change says nothing about that name. Private to fs/; under fs->lock.
 *
 * A change is kept while a request that was sent before it may still be answered (asking), while a
 * page of names from before it is kept, and while S3 cannot know of it: a file that is under write,
 * a directory that has emptied.
 */
#ifndef PAILFS_FS_LOCAL_H
#define PAILFS_FS_LOCAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fs;
struct inode;
struct local_name;

enum local_kind {
	LOCAL_NONE, /* not changed here: S3's answer counts */
	LOCAL_GONE, /* removed */
	LOCAL_FILE, /* made or published */
	LOCAL_DIR,
};

#define ABSENT_NAMES 4

/* The changes of one directory; zeroed: none. */
struct local_names {
	struct local_name *table;
	unsigned asking;       /* requests on their way and directories open */
	size_t count, trim_at; /* names; beyond how many trimming is worth while */
	uint64_t all_until_ns; /* all names changed until then (out of memory for one) */
	struct {
		uint64_t ino, at_ns; /* S3 said that there is no such name */
		uint64_t asked_ns;   /* as of then */
	} absent[ABSENT_NAMES];
	unsigned absent_next;
};

/* Frees them. */
void local_names_finish(struct local_names *l);
/* The name was changed now. */
void local_set_locked(struct fs *fs, struct inode *dir, const char *name, size_t length,
		      enum local_kind kind);
/* The name is no longer known to be anything: what was under write there was given up. */
void local_unset_locked(struct inode *dir, const char *name, size_t length);
/* What was done to the name at or after that time; LOCAL_NONE: nothing. */
enum local_kind local_find_locked(const struct inode *dir, const char *name, size_t length,
				  uint64_t since_ns);
/* A request about names of the directory is about to be sent. -ENOMEM. */
int local_ask_locked(struct fs *fs, struct inode *dir);
/* It was answered, and the answer taken in. */
void local_answered_locked(struct fs *fs, struct inode *dir);
/* Forgets what no request can contradict any more. */
void local_trim_locked(struct fs *fs, struct inode *dir);
/* S3 just said that there is no such name, nor anything below it, when it was asked. */
void local_note_absent_locked(struct fs *fs, struct inode *dir, const char *name, size_t length,
			      uint64_t asked_ns);
/* When S3 was asked, if it has just said so, and it is not to be asked again: each is given once.
 * 0: it has not. */
uint64_t local_was_absent_locked(struct fs *fs, struct inode *dir, const char *name, size_t length);

/* Copies of the names that are there by what was done here, in order, for readdir to merge. */
struct local_copy {
	struct local_copied {
		char *name;
		bool taken;
	} * names;
	size_t count;
};

/* -ENOMEM. */
int local_copy_locked(const struct fs *fs, struct inode *dir, struct local_copy *ret);
/* Frees it and makes it empty. */
void local_copy_finish(struct local_copy *c);
/* Takes a name out if it is there. */
void local_copy_take(struct local_copy *c, const char *name);

#endif
