/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where keys come from: environment, AWS profiles (~/.aws/credentials and config), passwd_file in
 * s3fs's form, or none. Keys are immutable, counted, and cleansed when the last reference dies.
 */
#ifndef PAILFS_CRED_H
#define PAILFS_CRED_H

#include <stdbool.h>
#include <stddef.h>

#include <pailfs/s3.h>

struct cred;

/* A set of keys at one time; strings stay valid while referenced. */
struct cred_keys {
	struct s3_keys s3;
	const char *source; /* for messages: "AWS_ACCESS_KEY_ID", "profile x in /home/..." */
};

struct cred_config {
	bool none;		 /* no_sign_request */
	const char *profile;	 /* comes before keys in the environment. NULL: AWS_PROFILE,
				    else "default", and after them */
	const char *passwd_file; /* NULL: not used */
	const char *bucket;	 /* for bucket-specific lines of passwd_file */
	const char *home;	 /* NULL: HOME, else from passwd */
};

/*
 * Reads the first source that has keys, in this order: none, passwd_file (if given), environment
 * (not if a profile is given), AWS_SHARED_CREDENTIALS_FILE, AWS_CONFIG_FILE. -errno with one line
 * for the user in ret_error (at least 512 bytes): nothing found (says where it looked),
 * permissions, broken line with number.
 */
int cred_create(const struct cred_config *config, struct cred **ret, char *ret_error,
		size_t error_size);
/* Ends it; keys that are still referenced live on. NULL is fine. */
void cred_destroy(struct cred *c);
/*
 * A reference to the current keys. 0; -EAGAIN while they are being refreshed (ask again in a
 * moment); -EACCES when there are none. Any thread; never blocks on I/O.
 */
int cred_get(struct cred *c, struct cred_keys **ret);
/* Gives a reference back. NULL is fine. */
void cred_keys_unref(struct cred_keys *k);
/*
 * A server refused k as expired or invalid: reads the sources again, once however many report the
 * same keys, and again every 5 s at most. 0 if there are other keys now or soon (cred_get tells),
 * -EACCES if the same came back. Any thread; the first caller blocks on reading files.
 */
int cred_refresh(struct cred *c, const struct cred_keys *k);
/* Reads the sources again (SIGHUP). -errno if that fails: logged, the old keys stay. */
int cred_reload(struct cred *c);

/*
 * A setting of the chosen profile ("region", "endpoint_url"; `s3 =` nested `endpoint_url` and
 * services sections too): a copy for the caller, NULL if unset or unreadable.
 */
char *cred_profile_setting(const struct cred_config *config, const char *name);

#endif
