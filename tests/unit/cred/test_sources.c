/* SPDX-License-Identifier: Apache-2.0 */
/* Where keys come from, in which order, and what is said when they do not. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <pailfs/cleanup.h>

#include "home.h"

#define CREDENTIALS ".aws/credentials"
#define CONFIG ".aws/config"

/* A world, and the access key (and token) that comes out of it, or the error. */
struct world {
	const char *name;
	const char *credentials, *config, *passwd; /* NULL: no such file */
	const char *variables[4];		   /* NAME=value */
	const char *profile;
	const char *bucket;
	const char *access_key; /* NULL: error */
	const char *secret_key, *session_token;
	int err;
	const char *says[3]; /* parts of the error or, without one, of the source */
};

#define KEYS(a, s) "aws_access_key_id = " a "\naws_secret_access_key = " s "\n"

static const struct world worlds[] = {
    {.name = "credentials file",
     .credentials = "[default]\n" KEYS("A", "S"),
     .access_key = "A",
     .secret_key = "S",
     .says = {"profile default in ", "/.aws/credentials"}},
    {.name = "session token",
     .credentials = "[default]\n" KEYS("A", "S") "aws_session_token = T==\n",
     .access_key = "A",
     .secret_key = "S",
     .session_token = "T=="},
    {.name = "config file",
     .config = "[default]\n" KEYS("A", "S"),
     .access_key = "A",
     .secret_key = "S",
     .says = {"/.aws/config"}},
    {.name = "credentials before config",
     .credentials = "[default]\n" KEYS("A", "S"),
     .config = "[default]\n" KEYS("B", "S"),
     .access_key = "A",
     .secret_key = "S"},
    {.name = "environment first",
     .credentials = "[default]\n" KEYS("A", "S"),
     .variables = {"AWS_ACCESS_KEY_ID=E", "AWS_SECRET_ACCESS_KEY=F", "AWS_SESSION_TOKEN=G"},
     .access_key = "E",
     .secret_key = "F",
     .session_token = "G",
     .says = {"AWS_ACCESS_KEY_ID"}},
    {.name = "environment before AWS_PROFILE",
     .credentials = "[x]\n" KEYS("A", "S"),
     .variables = {"AWS_ACCESS_KEY_ID=E", "AWS_SECRET_ACCESS_KEY=F", "AWS_PROFILE=x"},
     .access_key = "E",
     .secret_key = "F"},
    {.name = "profile option before environment",
     .credentials = "[x]\n" KEYS("A", "S"),
     .variables = {"AWS_ACCESS_KEY_ID=E", "AWS_SECRET_ACCESS_KEY=F"},
     .profile = "x",
     .access_key = "A",
     .secret_key = "S"},
    {.name = "passwd_file before environment",
     .passwd = "P:Q\n",
     .variables = {"AWS_ACCESS_KEY_ID=E", "AWS_SECRET_ACCESS_KEY=F"},
     .access_key = "P",
     .secret_key = "Q",
     .says = {"line 1"}},
    {.name = "half of the environment",
     .variables = {"AWS_ACCESS_KEY_ID=E", "AWS_SECRET_ACCESS_KEY="},
     .err = EINVAL,
     .says = {"AWS_ACCESS_KEY_ID is set", "AWS_SECRET_ACCESS_KEY is not"}},
    {.name = "line break in the environment",
     .variables = {"AWS_ACCESS_KEY_ID=E", "AWS_SECRET_ACCESS_KEY=hidden\n"},
     .err = EINVAL,
     .says = {"secret key from AWS_ACCESS_KEY_ID", "line break"}},
    {.name = "AWS_PROFILE",
     .credentials = "[default]\n" KEYS("A", "S") "[x]\n" KEYS("B", "T"),
     .variables = {"AWS_PROFILE=x"},
     .access_key = "B",
     .secret_key = "T"},
    {.name = "profile in config",
     .credentials = "[default]\n" KEYS("A", "S"),
     .config = "[profile x]\n" KEYS("B", "T"),
     .profile = "x",
     .access_key = "B",
     .secret_key = "T"},
    {.name = "nothing",
     .err = ENOENT,
     .says = {"AWS_ACCESS_KEY_ID is not set", "/.aws/credentials does not exist",
	      "/.aws/config does not exist. Give"}},
    {.name = "no such profile",
     .credentials = "[default]\n" KEYS("A", "S"),
     .config = "[default]\nregion = x\n",
     .profile = "nope",
     .err = ENOENT,
     .says = {"no keys for profile nope", "credentials has no profile nope",
	      "config has no profile nope"}},
    {.name = "profile without keys",
     .config = "[profile x]\nregion = x\n",
     .profile = "x",
     .err = ENOENT,
     .says = {"credentials does not exist", "config has no keys in profile x"}},
    {.name = "config's form in credentials",
     .credentials = "[profile x]\n" KEYS("A", "S"),
     .profile = "x",
     .err = ENOENT,
     .says = {"[profile x], which must be [x] there"}},
    {.name = "credentials' form in config",
     .config = "[x]\n" KEYS("A", "S"),
     .profile = "x",
     .err = ENOENT,
     .says = {"[x], which must be [profile x] there"}},
    {.name = "half a profile",
     .credentials = "[default]\naws_access_key_id = A\n",
     .err = EINVAL,
     .says = {"has aws_access_key_id but no aws_secret_access_key"}},
    {.name = "broken line",
     .credentials = "[default]\naws_access_key_id A\n",
     .err = EINVAL,
     .says = {"credentials, line 2 has no ="}},
    {.name = "sso",
     .config = "[default]\nsso_session = corp\n",
     .err = ENOTSUP,
     .says = {"sso_session", "aws configure export-credentials --profile default"}},
    {.name = "a role is not its base keys",
     .credentials = "[x]\n" KEYS("A", "S"),
     .config = "[profile x]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = x\n",
     .profile = "x",
     .err = ENOTSUP,
     .says = {"role_arn"}},
    {.name = "a role in the credentials file",
     .credentials = "[x]\n" KEYS("A", "S") "role_arn = arn:aws:iam::1:role/r\n",
     .profile = "x",
     .err = ENOTSUP,
     .says = {"role_arn"}},
    {.name = "passwd for all", .passwd = "# c\n\nA:S\r\n", .access_key = "A", .secret_key = "S"},
    {.name = "passwd without line end", .passwd = "A:S", .access_key = "A", .secret_key = "S"},
    {.name = "passwd for the bucket",
     .passwd = "A:S\nmine:B:T\nother:C:U\n",
     .bucket = "mine",
     .access_key = "B",
     .secret_key = "T",
     .says = {"line 2"}},
    {.name = "passwd for another bucket",
     .passwd = "A:S\nother:C:U\n",
     .bucket = "mine",
     .access_key = "A",
     .secret_key = "S"},
    {.name = "passwd without the bucket",
     .passwd = "other:C:U\n",
     .bucket = "mine",
     .err = ENXIO,
     .says = {"no keys for bucket mine"}},
    {.name = "passwd empty", .passwd = "", .err = ENXIO, .says = {"no keys for all buckets"}},
    {.name = "passwd no colon",
     .passwd = "\nhidden\n",
     .err = EINVAL,
     .says = {"line 2 has no colon"}},
    {.name = "passwd blank",
     .passwd = "A: hidden\n",
     .err = EINVAL,
     .says = {"line 1 holds a blank"}},
    {.name = "passwd half", .passwd = "hidden:\n", .err = EINVAL, .says = {"empty key"}},
    {.name = "passwd colons", .passwd = "a:b:c:hidden\n", .err = EINVAL, .says = {"two colons"}},
    {.name = "passwd twice", .passwd = "A:S\nB:hidden\n", .err = EINVAL, .says = {"lines 1 and 2"}},
    {.name = "passwd is an AWS file",
     .passwd = "[default]\n" KEYS("A", "hidden"),
     .err = EINVAL,
     .says = {"line 1", "[section]", "profile="}},
};

static void enter(const char *home, const struct world *w, struct cred_config *ret, char *passwd)
{
	if (w->credentials != NULL)
		home_write(home, CREDENTIALS, w->credentials, 0600);
	if (w->config != NULL)
		home_write(home, CONFIG, w->config, 0600);
	if (w->passwd != NULL)
		home_write(home, "passwd", w->passwd, 0600);
	for (size_t i = 0; i < ARRAY_SIZE(w->variables) && w->variables[i] != NULL; i++) {
		CLEANUP(free) char *pair = strdup(w->variables[i]);
		char *equals = strchr(pair, '=');

		*equals = '\0';
		setenv(pair, equals + 1, 1);
	}
	sprintf(passwd, "%s/passwd", home);
	*ret = (struct cred_config){.profile = w->profile,
				    .bucket = w->bucket,
				    .passwd_file = w->passwd != NULL ? passwd : NULL};
}

static void assert_says(const struct world *w, const char *text)
{
	for (size_t i = 0; i < ARRAY_SIZE(w->says) && w->says[i] != NULL; i++)
		if (strstr(text, w->says[i]) == NULL)
			fail_msg("%s: \"%s\" does not say \"%s\"", w->name, text, w->says[i]);
	assert_null(strchr(text, '\n'));
	assert_null(strstr(text, "hidden"));
}

static void same_or_null(const char *got, const char *expected)
{
	if (expected == NULL)
		assert_null(got);
	else
		assert_string_equal(got, expected);
}

static void check(const struct world *w)
{
	void *home;
	struct cred_config config;
	struct cred *c = NULL;
	struct cred_keys *k = NULL;
	char passwd[256], text[512] = "";
	int err;

	assert_int_equal(home_create(&home), 0);
	enter(home, w, &config, passwd);
	err = cred_create(&config, &c, text, sizeof(text));
	if (err != -w->err)
		fail_msg("%s: %d, %s", w->name, err, text);
	if (err < 0) {
		assert_says(w, text);
	} else {
		assert_int_equal(cred_get(c, &k), 0);
		assert_string_equal(k->s3.access_key, w->access_key);
		assert_string_equal(k->s3.secret_key, w->secret_key);
		same_or_null(k->s3.session_token, w->session_token);
		assert_says(w, k->source);
		cred_destroy(c);
		assert_string_equal(k->s3.access_key, w->access_key); /* outlive it */
		cred_keys_unref(k);
	}
	assert_int_equal(home_remove(&home), 0);
}

static void test_worlds(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(worlds); i++)
		check(&worlds[i]);
}

static void test_none(void **state)
{
	struct cred_config config = {.none = true};
	struct cred *c = NULL;
	struct cred_keys *k = NULL;
	char text[512];

	setenv("AWS_ACCESS_KEY_ID", "E", 1);
	assert_int_equal(cred_create(&config, &c, text, sizeof(text)), 0);
	assert_int_equal(cred_get(c, &k), 0);
	assert_null(k->s3.access_key);
	assert_null(k->s3.secret_key);
	assert_null(k->s3.session_token);
	cred_keys_unref(k);
	cred_destroy(c);
}

static int create(const struct cred_config *config, char *text)
{
	struct cred *c = NULL;
	int err = cred_create(config, &c, text, 512);

	cred_destroy(c);
	return err;
}

static void test_permissions(void **state)
{
	const char *home = *state;
	struct cred_config config = {0};
	char text[512], path[256], link[256];

	home_write(home, CREDENTIALS, "[default]\n" KEYS("A", "S"), 0640);
	assert_int_equal(create(&config, text), -EACCES);
	assert_non_null(strstr(text, "mode 0640"));
	assert_non_null(strstr(text, "run: chmod 600 /tmp/"));
	sprintf(path, "%s/" CREDENTIALS, home);
	assert_int_equal(chmod(path, 0600), 0);
	assert_int_equal(create(&config, text), 0);

	/* a config without secrets may be open to all; with one it may not */
	home_write(home, CREDENTIALS, "", 0644);
	home_write(home, CONFIG, "[default]\nregion = x\n[profile y]\n" KEYS("A", "S"), 0644);
	assert_int_equal(create(&config, text), -EACCES);
	home_write(home, CONFIG, "[default]\nregion = x\n", 0644);
	assert_int_equal(create(&config, text), -ENOENT);

	/* ~/.aws may hold symbolic links; what they point to counts */
	home_write(home, "elsewhere", "[default]\n" KEYS("A", "S"), 0600);
	sprintf(link, "%s/elsewhere", home);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink(link, path), 0);
	assert_int_equal(create(&config, text), 0);
	assert_int_equal(chmod(link, 0604), 0);
	assert_int_equal(create(&config, text), -EACCES);
}

static void test_passwd_file_permissions(void **state)
{
	const char *home = *state;
	char text[512], path[256], link[256];
	struct cred_config config = {.passwd_file = path};

	sprintf(path, "%s/passwd", home);
	assert_int_equal(create(&config, text), -ENXIO);
	assert_non_null(strstr(text, "does not exist"));
	home_write(home, "passwd", "A:S\n", 0644);
	assert_int_equal(create(&config, text), -EACCES);
	assert_non_null(strstr(text, "chmod 600"));
	home_write(home, "passwd", "A:S\n", 0600);
	assert_int_equal(create(&config, text), 0);
	sprintf(link, "%s/link", home);
	assert_int_equal(symlink(path, link), 0);
	config.passwd_file = link;
	assert_int_equal(create(&config, text), -ELOOP);
	assert_non_null(strstr(text, "symbolic link"));
	config.passwd_file = home;
	assert_int_equal(create(&config, text), -EINVAL);
	assert_non_null(strstr(text, "not a regular file"));
	sprintf(link, "%s/fifo", home);
	assert_int_equal(mkfifo(link, 0600), 0);
	config.passwd_file = link;
	assert_int_equal(create(&config, text), -EINVAL); /* and does not hang */
	if (geteuid() == 0) {
		assert_int_equal(chown(path, 4711, (gid_t)-1), 0);
		config.passwd_file = path;
		assert_int_equal(create(&config, text), -EACCES);
		assert_non_null(strstr(text, "uid 4711"));
	}
}

static void test_paths(void **state)
{
	const char *home = *state;
	struct cred_config config = {0};
	struct cred *c = NULL;
	char text[512];

	home_write(home, "mine", "[default]\n" KEYS("A", "S"), 0600);
	setenv("AWS_SHARED_CREDENTIALS_FILE", "~/mine", 1);
	assert_int_equal(create(&config, text), 0);
	setenv("AWS_SHARED_CREDENTIALS_FILE", "mine", 1);
	assert_int_equal(create(&config, text), -ENOENT);

	/* relative to where it started, also when the daemon has gone to / */
	assert_int_equal(chdir(home), 0);
	assert_int_equal(cred_create(&config, &c, text, sizeof(text)), 0);
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(cred_reload(c), 0);
	cred_destroy(c);

	unsetenv("AWS_SHARED_CREDENTIALS_FILE");
	unsetenv("HOME"); /* then the user's own, which may have keys: only no crash */
	(void)create(&config, text);
	config.home = "/nonexistent";
	assert_int_equal(create(&config, text), -ENOENT);
	assert_non_null(strstr(text, "/nonexistent/.aws/credentials does not exist"));
}

static const struct {
	const char *credentials, *config, *profile, *name, *value;
} settings[] = {
    {NULL, "[default]\nregion = a\n", NULL, "region", "a"},
    {NULL, "[profile default]\nregion = b\n[default]\nregion = a\n", NULL, "region", "b"},
    {NULL, "[profile x]\nregion = a\n", "x", "region", "a"},
    {NULL, "[default]\nregion = a\n", "x", "region", NULL},
    {NULL, "[default]\nregion =\n", NULL, "region", NULL},
    {"[default]\nregion = c\n", "[default]\nregion = a\n", NULL, "region", "c"},
    {NULL, "[default]\nendpoint_url = http://e\n", NULL, "endpoint_url", "http://e"},
    {NULL, "[default]\ns3 =\n  endpoint_url = http://n\nendpoint_url = http://e\n", NULL,
     "endpoint_url", "http://n"},
    {NULL,
     "[default]\nservices = mine\nendpoint_url = http://e\n[services mine]\ns3 = \n"
     "  endpoint_url = http://s\n",
     NULL, "endpoint_url", "http://s"},
    {NULL, "[default]\nservices = gone\nendpoint_url = http://e\n", NULL, "endpoint_url",
     "http://e"},
    {NULL, "[default\n", NULL, "region", NULL},
    {NULL, NULL, NULL, "region", NULL},
};

static void test_settings(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		struct cred_config config = {.profile = settings[i].profile};
		CLEANUP(free) char *value = NULL;
		void *home;

		assert_int_equal(home_create(&home), 0);
		if (settings[i].credentials != NULL)
			home_write(home, CREDENTIALS, settings[i].credentials, 0644);
		if (settings[i].config != NULL)
			home_write(home, CONFIG, settings[i].config, 0644);
		value = cred_profile_setting(&config, settings[i].name);
		same_or_null(value, settings[i].value);
		assert_int_equal(home_remove(&home), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_worlds),
	    cmocka_unit_test_setup_teardown(test_none, home_create, home_remove),
	    cmocka_unit_test_setup_teardown(test_permissions, home_create, home_remove),
	    cmocka_unit_test_setup_teardown(test_passwd_file_permissions, home_create, home_remove),
	    cmocka_unit_test_setup_teardown(test_paths, home_create, home_remove),
	    cmocka_unit_test(test_settings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
