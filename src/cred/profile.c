/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys and settings of a profile in AWS's files. The credentials file names its sections `[x]`, the
 * config file `[profile x]` (and `[default]`). Symbolic links are fine here, since people keep
 * ~/.aws in other places; a file that holds secret keys must be closed to others all the same.
 */
#include "cred_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <pailfs/buf.h>
#include <pailfs/text.h>

struct profile_file {
	const char *path;
	bool is_config; /* sections are `[profile x]` */
	struct ini ini;
};

/* Ways to keys that a profile may name and that need more than a file. */
static const char *const remote_ways[] = {
    "role_arn",	      "credential_process",	 "sso_session",	      "sso_start_url",
    "sso_account_id", "web_identity_token_file", "credential_source",
};

/* Reads and parses it. -ENOENT without a word. secrets: refuse a file that others can read. */
static int file_load(struct profile_file *f, bool secrets, struct explain *e)
{
	CLEANUP(secret_text_finish) struct secret_text t = {0};
	const char *what = NULL;
	unsigned line = 0;
	char *text;
	int err = secret_text_read(f->path, true, &t, e);

	if (err < 0)
		return err;
	text = TAKE(t.bytes);
	err = ini_parse(text, t.length, &f->ini, &line, &what);
	if (err == -EINVAL)
		return cred_explain(e, EINVAL, "%s, line %u %s", f->path, line, what);
	if (err < 0)
		return cred_explain(e, -err, "out of memory");
	if (secrets && (ini_mentions(&f->ini, "aws_secret_access_key") ||
			ini_mentions(&f->ini, "aws_session_token")))
		return secret_text_check(&t, f->path, e);
	return 0;
}

/* The value of a profile's setting, in either form of `default`. */
static const char *file_get(const struct profile_file *f, const char *profile, const char *block,
			    const char *name)
{
	const char *value;

	if (!f->is_config)
		return ini_get(&f->ini, "", profile, block, name);
	value = ini_get(&f->ini, "profile", profile, block, name);
	if (value == NULL && strcmp(profile, "default") == 0)
		value = ini_get(&f->ini, "", profile, block, name);
	return value;
}

static bool file_has_profile(const struct profile_file *f, const char *profile)
{
	if (!f->is_config)
		return ini_has_section(&f->ini, "", profile);
	return ini_has_section(&f->ini, "profile", profile) ||
	       (strcmp(profile, "default") == 0 && ini_has_section(&f->ini, "", profile));
}

/* ---- keys ---- */

static const char *not_empty(const char *value)
{
	return value != NULL && *value != '\0' ? value : NULL;
}

/* Says why f has no keys, in words that follow each other: "A does not exist; B has no ...". */
static int note_missing(const struct profile_file *f, const char *profile, bool exists,
			struct buf *notes)
{
	const char *joint = notes->length > 0 ? "; " : "";

	if (!exists)
		return buf_printf(notes, "%s%s does not exist", joint, f->path);
	if (file_has_profile(f, profile))
		return buf_printf(notes, "%s%s has no keys in profile %s", joint, f->path, profile);
	if (f->is_config && ini_has_section(&f->ini, "", profile))
		return buf_printf(notes, "%s%s has [%s], which must be [profile %s] there", joint,
				  f->path, profile, profile);
	if (!f->is_config && ini_has_section(&f->ini, "profile", profile))
		return buf_printf(notes, "%s%s has [profile %s], which must be [%s] there", joint,
				  f->path, profile, profile);
	return buf_printf(notes, "%s%s has no profile %s", joint, f->path, profile);
}

/* If the profile has that way to keys: the line that refuses it. Else -ENOENT. */
static int refuse_way(const struct profile_file *f, const char *profile, const char *way,
		      struct explain *e)
{
	if (not_empty(file_get(f, profile, NULL, way)) == NULL)
		return -ENOENT;
	return cred_explain(
	    e, ENOTSUP,
	    "profile %s in %s gets its keys by %s, which pailfs cannot do; run: "
	    "eval \"$(aws configure export-credentials --profile %s --format env)\"",
	    profile, f->path, way, profile);
}

static int refuse_remote(const struct profile_file *f, const char *profile, struct explain *e)
{
	int err = -ENOENT;

	for (size_t i = 0; i < ARRAY_SIZE(remote_ways) && err == -ENOENT; i++)
		err = refuse_way(f, profile, remote_ways[i], e);
	return err;
}

/*
 * AWS's tools assume the role of a profile even if it has keys, too: using those would be using
 * another identity in silence. -ENOENT if it has no role.
 */
static int refuse_role(const struct cred_places *p, struct explain *e)
{
	struct profile_file f = {.path = p->config_file, .is_config = true};
	int err = -ENOENT;

	if (f.path != NULL && file_load(&f, false, NULL) == 0)
		err = refuse_way(&f, p->profile, "role_arn", e);
	ini_finish(&f.ini);
	return err;
}

/* The keys of the profile in a file that was loaded. */
static int file_keys(const struct profile_file *f, const char *profile, struct cred_keys **ret,
		     struct explain *e)
{
	CLEANUP(free) char *source = NULL;
	struct s3_keys keys = {
	    .access_key = not_empty(file_get(f, profile, NULL, "aws_access_key_id")),
	    .secret_key = not_empty(file_get(f, profile, NULL, "aws_secret_access_key")),
	    .session_token = not_empty(file_get(f, profile, NULL, "aws_session_token")),
	};

	if (refuse_way(f, profile, "role_arn", e) == -ENOTSUP)
		return -ENOTSUP;
	if (keys.access_key == NULL && keys.secret_key == NULL)
		return refuse_remote(f, profile, e);
	if (keys.access_key == NULL || keys.secret_key == NULL)
		return cred_explain(
		    e, EINVAL, "profile %s in %s has %s but no %s", profile, f->path,
		    keys.access_key != NULL ? "aws_access_key_id" : "aws_secret_access_key",
		    keys.access_key != NULL ? "aws_secret_access_key" : "aws_access_key_id");
	source = text_format("profile %s in %s", profile, f->path);
	if (source == NULL)
		return cred_explain(e, ENOMEM, "out of memory");
	return cred_keys_create(&keys, source, ret, e);
}

static int try_file(const char *path, bool is_config, const char *profile, struct cred_keys **ret,
		    struct buf *notes, struct explain *e)
{
	struct profile_file f = {.path = path, .is_config = is_config};
	int err;

	if (path == NULL)
		return -ENOENT;
	err = file_load(&f, true, e);
	if (err == 0)
		err = file_keys(&f, profile, ret, e);
	if (err == -ENOENT && note_missing(&f, profile, f.ini.text != NULL, notes) < 0)
		err = cred_explain(e, ENOMEM, "out of memory");
	ini_finish(&f.ini);
	return err;
}

int cred_from_profile(const struct cred_places *p, struct cred_keys **ret, struct explain *e)
{
	CLEANUP(buf_finish) struct buf notes = BUF_INIT;
	int err = refuse_role(p, e);

	if (err == -ENOENT)
		err = try_file(p->credentials_file, false, p->profile, ret, &notes, e);
	if (err == -ENOENT)
		err = try_file(p->config_file, true, p->profile, ret, &notes, e);
	if (err == -ENOENT)
		cred_explain(e, ENOENT, "%s",
			     notes.length > 0 ? notes.data : "there is no home directory");
	return err;
}

/* ---- settings ---- */

/* AWS's order: the profile's service section, its nested block, the profile itself. */
static const char *file_setting(const struct profile_file *f, const char *profile, const char *name)
{
	const char *services = not_empty(file_get(f, profile, NULL, "services"));
	const char *value = NULL;

	if (services != NULL)
		value = not_empty(ini_get(&f->ini, "services", services, "s3", name));
	if (value == NULL)
		value = not_empty(file_get(f, profile, "s3", name));
	if (value == NULL)
		value = not_empty(file_get(f, profile, NULL, name));
	return value;
}

static char *setting_of(const char *path, bool is_config, const char *profile, const char *name)
{
	struct profile_file f = {.path = path, .is_config = is_config};
	const char *value = NULL;
	char *copy = NULL;

	if (path == NULL)
		return NULL;
	if (file_load(&f, false, NULL) == 0)
		value = file_setting(&f, profile, name);
	if (value != NULL)
		copy = strdup(value);
	ini_finish(&f.ini);
	return copy;
}

char *cred_profile_setting(const struct cred_config *config, const char *name)
{
	CLEANUP(cred_places_finish) struct cred_places p = {0};
	char *value;

	if (cred_places_init(&p, config) < 0)
		return NULL;
	value = setting_of(p.credentials_file, false, p.profile, name);
	return value != NULL ? value : setting_of(p.config_file, true, p.profile, name);
}
