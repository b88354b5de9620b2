/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal of a daemon's own unfinished uploads, so that the next mount aborts what a daemon
 * that was killed left behind, and nothing else. One 0600 file a daemon, locked for its life.
 * Private to fs/.
 */
#ifndef PAILFS_FS_JOURNAL_H
#define PAILFS_FS_JOURNAL_H

#include <stddef.h>
#include <stdint.h>

#include <pailfs/xfer.h>

struct journal;

/*
 * Makes this daemon's file in dir (made 0700 if it is not there; a directory of somebody else is
 * refused). place names the bucket as the daemon reaches it ("https://host/bucket"): only journals
 * of the same place are settled. -EACCES, -ENOSPC...; the caller goes on without one then.
 */
int journal_open(const char *dir, const char *place, struct journal **ret);
/* Closes it; the file goes when it holds nothing open. NULL is fine. */
void journal_close(struct journal *j);

/*
 * An upload of that key is about to be made. Returns its entry, 0 when the disk or j says no: the
 * upload goes on unrecorded. Writes a line; never waits for the disk's surface.
 */
uint64_t journal_intend(struct journal *j, const char *key, size_t key_length, uint64_t wall_s);
/* The upload has that id. Entry 0 is fine. */
void journal_created(struct journal *j, uint64_t entry, const char *id);
/* It is over: completed, aborted, or never made. Entry 0 is fine. */
void journal_end(struct journal *j, uint64_t entry);

/*
 * Settles the journals of daemons that are gone (their lock can be taken): known ids are aborted;
 * an intent without id only if exactly one upload of that key was initiated since, else it is
 * logged. Waits for the server. The number of uploads that were aborted, or -errno.
 */
int journal_settle(const char *dir, const char *place, struct xfer *xfer);

/* One unfinished upload of a journal's text. */
struct journal_entry {
	uint64_t entry, wall_s;
	char *key; /* owned; a NUL follows it */
	size_t key_length;
	char *id; /* owned; NULL: only intended */
};

/*
 * Reads a journal: what is open at its end. A line that cannot be read is skipped (the daemon died
 * writing it). *ret is freed by journal_entries_free. -EINVAL: no journal, or of another place.
 */
int journal_parse(const char *text, size_t length, const char *place, struct journal_entry **ret,
		  size_t *ret_count);
/* Frees them. NULL is fine. */
void journal_entries_free(struct journal_entry *entries, size_t count);

#endif
