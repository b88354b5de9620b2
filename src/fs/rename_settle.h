/* SPDX-License-Identifier: Apache-2.0 */
/* Renames of daemons that were killed, at the next mount. Private to fs/. */
#ifndef PAILFS_FS_RENAME_SETTLE_H
#define PAILFS_FS_RENAME_SETTLE_H

struct fs;

/*
 * Settles the logs of renames whose daemons are gone: a rename that had not begun to delete is
 * taken back, another one is finished; both are reported. Nothing is deleted that is not, on both
 * sides, what the log or a look says. Waits for the server; ends early when the file system does.
 */
void rename_settle(struct fs *fs);

#endif
