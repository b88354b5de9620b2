/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where keys and settings are looked for. Worked out once, at the start: the daemon leaves its
 * working directory, and its environment does not change. Runs on the thread that starts the mount.
 */
#include "cred_private.h"

#include <errno.h>
#include <pwd.h>
#include <string.h>

#include <pailfs/text.h>

#define PASSWD_ENTRY_BYTES 16384

/* A variable that is set and not empty. */
static const char *variable(const char *name)
{
	const char *value = getenv(name);

	return value != NULL && *value != '\0' ? value : NULL;
}

static char *home_of_user(void)
{
	CLEANUP(free) char *buffer = malloc(PASSWD_ENTRY_BYTES);
	struct passwd entry, *found = NULL;

	if (buffer == NULL ||
	    getpwuid_r(geteuid(), &entry, buffer, PASSWD_ENTRY_BYTES, &found) != 0 || found == NULL)
		return NULL;
	return strdup(found->pw_dir);
}

static char *find_home(const struct cred_config *config)
{
	const char *home = config->home != NULL ? config->home : variable("HOME");

	return home != NULL ? strdup(home) : home_of_user();
}

/* An absolute copy of path; `~/` is the home directory, as in AWS's tools. NULL: out of memory. */
static char *absolute(const char *path, const char *home)
{
	CLEANUP(free) char *here = NULL;

	if (path[0] == '~' && path[1] == '/' && home != NULL)
		return text_format("%s%s", home, path + 1);
	if (path[0] == '/')
		return strdup(path);
	here = getcwd(NULL, 0);
	return here != NULL ? text_format("%s/%s", here, path) : strdup(path);
}

/* The file that a variable names, else the one under the home directory; NULL without a home. */
static int find_file(const char *name, const char *home, const char *under_home, char **ret)
{
	const char *path = variable(name);

	if (path == NULL && home == NULL)
		return 0;
	*ret = path != NULL ? absolute(path, home) : text_format("%s/%s", home, under_home);
	return *ret == NULL ? -ENOMEM : 0;
}

static int copy(const char *text, char **ret)
{
	if (text == NULL)
		return 0;
	*ret = strdup(text);
	return *ret == NULL ? -ENOMEM : 0;
}

int cred_places_init(struct cred_places *p, const struct cred_config *config)
{
	CLEANUP(free) char *home = find_home(config);
	const char *profile = config->profile;

	*p = (struct cred_places){.none = config->none, .profile_given = profile != NULL};
	if (profile == NULL)
		profile = variable("AWS_PROFILE");
	if (profile == NULL)
		profile = variable("AWS_DEFAULT_PROFILE"); /* of older tools */
	if (copy(profile != NULL ? profile : "default", &p->profile) < 0 ||
	    copy(config->bucket, &p->bucket) < 0)
		return -ENOMEM;
	if (config->passwd_file != NULL) {
		p->passwd_file = absolute(config->passwd_file, home);
		if (p->passwd_file == NULL)
			return -ENOMEM;
	}
	if (find_file("AWS_SHARED_CREDENTIALS_FILE", home, ".aws/credentials",
		      &p->credentials_file) < 0)
		return -ENOMEM;
	return find_file("AWS_CONFIG_FILE", home, ".aws/config", &p->config_file);
}

void cred_places_finish(struct cred_places *p)
{
	if (p == NULL)
		return;
	free(p->profile);
	free(p->passwd_file);
	free(p->bucket);
	free(p->credentials_file);
	free(p->config_file);
	*p = (struct cred_places){0};
}
