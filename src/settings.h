/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration of every module, resolved from the command line, the environment, the AWS
 * profile and the machine, in this order of precedence.
 */
#ifndef PAILFS_SETTINGS_H
#define PAILFS_SETTINGS_H

#include <stddef.h>
#include <stdint.h>

#include <pailfs/cleanup.h>
#include <pailfs/cred.h>
#include <pailfs/fs.h>
#include <pailfs/http.h>
#include <pailfs/mount.h>
#include <pailfs/options.h>
#include <pailfs/s3.h>
#include <pailfs/xfer.h>

#define SETTINGS_MOUNT_TIMEOUT_NS                                                                  \
	(30 * NS_PER_S) /* started by mount(8): the network may come late */

struct settings {
	struct cred_config cred;
	struct s3_target target;
	struct http_config http;
	struct xfer_config xfer;
	struct fs_config fs;
	struct mount_config mount; /* its dir is still to be set */
	uint64_t memory_bytes;
	uint64_t mount_timeout_ns; /* 0: a single try */
	int ready_fd;		   /* -1: none */
	/* owned; absolute, NULL if there is none */
	char *log_file, *passwd_file, *ca_bundle, *spool_dir, *journal_dir;
};

/*
 * Fills *s, which settings_finish empties, also after an error; it borrows from o. Relative names
 * of files become absolute, those in the environment too. 0, or -EINVAL with one line (at least
 * OPTION_ERROR_BYTES) that names the option or variable.
 */
int settings_resolve(struct settings *s, const struct options *o, char *ret_error,
		     size_t error_size);

/* Frees what *s owns. */
void settings_finish(struct settings *s);

#endif
