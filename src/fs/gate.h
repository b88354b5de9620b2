/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What changes keys, against the rename of a directory above them: for the moment in which the
 * rename is decided nothing below changes, and who comes waits. Private to fs/.
 *
 * A change registers the directory and name that it is about. A rename closes its directory, waits
 * for the changes below it to end, and opens it again. A rename whose caller was killed keeps its
 * own two names closed until it is over: the kernel does not guard them any more.
 */
#ifndef PAILFS_FS_GATE_H
#define PAILFS_FS_GATE_H

#include "inode.h"

/* A change of a name, or of what is kept with an inode; on the stack of who makes it. */
struct key_change {
	TAILQ_ENTRY(key_change) link;
	const struct inode *dir; /* borrowed: referenced by who makes it */
	const char *name;
	struct inode *owned;	    /* referenced by change_begin_at; else NULL */
	const struct inode *edited; /* borrowed; NULL: nobody need wait to open it */
};

/* A rename that others may have to wait for; all fields under fs->lock. */
struct gate {
	TAILQ_ENTRY(gate) link;
	struct inode *dir;		/* referenced; NULL: of a daemon before, or of a file */
	const struct buf *from, *to;	/* keys without a slash at the end; the rename's */
	const struct inode *parents[2]; /* of from and to; NULL with dir NULL */
	const char *names[2];
	bool entered;
	bool closed;	   /* nothing below dir changes */
	bool names_closed; /* its names do not, either */
};

/* Waits until the name may be changed (NULL: something below dir), and registers that. 0, or what
 * cancel answered. */
int change_begin(struct fs *fs, struct key_change *c, const struct inode *dir, const char *name,
		 struct cancel *cancel);
/* The same for two changes (dir and name filled) at once: a gate that closes between two calls
 * would wait for the first, and the second for the gate. */
int change_begin_both(struct fs *fs, struct key_change *a, struct key_change *b,
		      struct cancel *cancel);
/* The same of what is kept with an inode: its object, or a directory's marker. */
int change_begin_at(struct fs *fs, struct key_change *c, struct inode *i, struct cancel *cancel);
/* The inode's object is copied in place, or will be: from now on nobody makes it one that is open
 * for writing. */
void change_edits(struct fs *fs, struct key_change *c, const struct inode *i);
/* Waits until no such change of a file is on its way, or it is open for writing all the same. 0, or
 * what cancel answered. */
int change_wait_edits_locked(struct fs *fs, const struct inode *i, struct cancel *cancel);
/* It was. */
void change_end(struct fs *fs, struct key_change *c);

/* Waits for renames of keys above, below, or the same, and registers. 0, or what cancel said. */
int gate_enter(struct fs *fs, struct gate *g, struct cancel *cancel);
/* Closes the directory, and waits until nothing below it is being changed; what cancel said: it is
 * open again. */
int gate_close(struct fs *fs, struct gate *g, struct cancel *cancel);
/* Lets changes below go on. */
void gate_open_locked(struct fs *fs, struct gate *g);
/* Its names are closed from now on; of a file it is entered first. Not once it was left. */
void gate_close_names_locked(struct fs *fs, struct gate *g);
/* The rename is over. One that was not entered is fine. */
void gate_leave(struct fs *fs, struct gate *g);
/* True if the directory is top, or below it. */
bool is_below_locked(const struct inode *dir, const struct inode *top);

#endif
