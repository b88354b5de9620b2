/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of cred/ share: INI files, files with secrets, and the sources of keys. */
#ifndef PAILFS_CRED_PRIVATE_H
#define PAILFS_CRED_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include <pailfs/cleanup.h>
#include <pailfs/cred.h>

/* Where the one line for the user goes. */
struct explain {
	char *text;
	size_t size;
};

/* explain.c: writes the line (over an earlier one) and returns -err. e may be NULL. */
int cred_explain(struct explain *e, int err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- ini.c ---- */

/*
 * `name = value` at `line` of `[kind section]`, or of `[section]` (kind ""). block: the name of the
 * setting under which it is indented (`s3 =`), or NULL. A section's header itself is an item with
 * name NULL. Names are in lower case; all strings point into ini.text.
 */
struct ini_item {
	const char *kind, *section, *block, *name, *value;
	unsigned line;
};

struct ini {
	char *text;
	size_t length;
	struct ini_item *items;
	size_t count, room;
};

/*
 * Parses text (length bytes and a NUL behind them, from malloc), which the result owns, also after
 * an error. 0; -ENOMEM; -EINVAL with the line and what is wrong with it.
 */
int ini_parse(char *text, size_t length, struct ini *ret, unsigned *ret_line,
	      const char **ret_what);
/* Cleanses and frees it. NULL is fine. */
void ini_finish(struct ini *ini);
/* The value, of the last if there are several; NULL if there is none. block NULL: not nested. */
const char *ini_get(const struct ini *ini, const char *kind, const char *section, const char *block,
		    const char *name);
/* True if there is such a section, empty or not. */
bool ini_has_section(const struct ini *ini, const char *kind, const char *section);
/* True if a setting of that name stands anywhere in it. */
bool ini_mentions(const struct ini *ini, const char *name);

static inline void ini_finishp(struct ini *ini)
{
	ini_finish(ini);
}

/* ---- secretfile.c ---- */

struct secret_text {
	char *bytes; /* with a NUL behind them; NULL if nothing was read */
	size_t length;
	struct stat stat; /* of the file that was read */
};

/*
 * Reads a regular file of at most a MiB. follow: symbolic links are fine. 0; -ENOENT without a
 * word; another -errno with its line in e.
 */
int secret_text_read(const char *path, bool follow, struct secret_text *ret, struct explain *e);
/* Cleanses and frees it. NULL is fine. */
void secret_text_finish(struct secret_text *t);
/* A file with secrets: the caller's or root's, and no bits for others. 0 or -EACCES with a line. */
int secret_text_check(const struct secret_text *t, const char *path, struct explain *e);

static inline void secret_text_finishp(struct secret_text *t)
{
	secret_text_finish(t);
}

/* ---- keys.c ---- */

/*
 * A copy of the keys with one reference; NULL strings stay NULL. 0; -ENOMEM; -EINVAL with a line
 * if a key holds a blank or a control character.
 */
int cred_keys_create(const struct s3_keys *keys, const char *source, struct cred_keys **ret,
		     struct explain *e);
/* One more reference; returns k. */
struct cred_keys *cred_keys_ref(struct cred_keys *k);
/* True if both are the same keys, wherever they come from. */
bool cred_keys_same(const struct cred_keys *a, const struct cred_keys *b);

/* ---- places.c ---- */

/* Where to look: the configuration with environment, home and working directory worked in. */
struct cred_places {
	bool none;
	bool profile_given; /* in the configuration: comes before keys in the environment */
	char *profile;
	char *passwd_file;	/* NULL: not used */
	char *bucket;		/* NULL: none */
	char *credentials_file; /* NULL: no home directory */
	char *config_file;
};

/* 0 or -ENOMEM. To be finished however it went. */
int cred_places_init(struct cred_places *p, const struct cred_config *config);
/* Frees what it holds. NULL is fine. */
void cred_places_finish(struct cred_places *p);

static inline void cred_places_finishp(struct cred_places *p)
{
	cred_places_finish(p);
}

/* ---- sources: 0 with keys; -ENOENT if this source has none; another -errno with its line ---- */

/* passwd.c: passwd_file. Never -ENOENT: who names a file means it. */
int cred_from_passwd_file(const struct cred_places *p, struct cred_keys **ret, struct explain *e);
/* environment.c */
int cred_from_environment(struct cred_keys **ret, struct explain *e);
/*
 * profile.c: the credentials file, then the config file. -ENOENT comes with a line that says what
 * was looked at.
 */
int cred_from_profile(const struct cred_places *p, struct cred_keys **ret, struct explain *e);

#endif
