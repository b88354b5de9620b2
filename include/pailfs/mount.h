/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mount: FUSE's low-level operations over fs/, from mount(2) to the last reply, and the signals
 * meanwhile. The life of a mount, on the first thread of the process:
 *
 *	mount_process_init	before any other thread
 *	mount_check_dir, mount_check_permitted, mount_check_outside
 *	mount_create; fs_create with mount_notify
 *	mount_attach		DIR answers when it returns
 *	mount_serve		until DIR is unmounted
 *	fs_destroy; mount_destroy
 */
#ifndef PAILFS_MOUNT_H
#define PAILFS_MOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <pailfs/fs.h>

#define MOUNT_ERROR_BYTES 512 /* for every ret_error here */

struct mount;

struct mount_config {
	const char *dir;    /* absolute and resolved: from mount_check_dir */
	const char *source; /* what mount(8)'s list calls it */
	bool allow_other, read_only, no_exec;
	uint64_t op_timeout_ns;
};

/* What signals ask for; called on the thread of mount_serve. Members may be NULL. */
struct mount_hooks {
	void *ctx;
	void (*reload)(void *ctx);   /* SIGHUP */
	void (*progress)(void *ctx); /* SIGUSR1 */
};

/*
 * What must be so before any thread starts: SIGPIPE ignored, the signals of mount_serve blocked,
 * libfuse's stacks and log set.
 */
void mount_process_init(void);

/*
 * Lets the signals that end a program do so while nothing is mounted yet, or (false) holds them
 * back again. Only this thread sees them.
 */
void mount_signals_deadly(bool deadly);

/*
 * Resolves DIR into *ret_path, which the caller frees. A dead mount of pailfs there (its daemon is
 * gone) is detached, with a warning. 0, or -errno with one line for the user: DIR is missing, no
 * directory, already mounted by pailfs, the dead mount of another program, or cannot be entered.
 */
int mount_check_dir(const char *dir, char **ret_path, char *ret_error, size_t error_size);

/*
 * Asks what this user needs to mount: /dev/fuse, fusermount3, user_allow_other in /etc/fuse.conf,
 * a DIR that is his. Warns of fs.fuse.max_request_timeout below op_timeout. 0, or -errno with a
 * line.
 */
int mount_check_permitted(const struct mount_config *config, char *ret_error, size_t error_size);

/*
 * Refuses a file inside DIR, which would vanish under the mount; `what` names it ("log_file").
 * path NULL is fine. 0, or -EINVAL with a line.
 */
int mount_check_outside(const char *dir, const char *what, const char *path, char *ret_error,
			size_t error_size);

/* A mount that is not attached yet; config's strings are borrowed. -ENOMEM, -EINVAL. */
int mount_create(const struct mount_config *config, struct mount **ret);

/* What fs_create wants to know of the mount; valid as long as m. */
struct fs_notify mount_notify(struct mount *m);

/*
 * Mounts DIR over fs, starts to serve, waits until DIR answers and raises its read-ahead where that
 * is permitted. 0, or -errno with one line for the user; DIR is not mounted then.
 */
int mount_attach(struct mount *m, struct fs *fs, char *ret_error, size_t error_size);

/*
 * Handles signals until the mount has ended and every request was answered: umount(8) and
 * fusermount3 -u end it, SIGTERM and SIGINT too (DIR is detached when it is busy); a second one of
 * these leaves the process at once. 0, or -errno of the FUSE loop.
 */
int mount_serve(struct mount *m, const struct mount_hooks *hooks);

/*
 * Unmounts DIR, a mount of pailfs, and waits until its daemon has ended: all that was closed is
 * stored then. 0, or -errno with one line for the user (busy, no mount of pailfs...).
 */
int mount_end(const char *dir, char *ret_error, size_t error_size);

/* Frees it; not attached, or mount_serve has returned. NULL is fine. */
void mount_destroy(struct mount *m);

#endif
