/* SPDX-License-Identifier: Apache-2.0 */
/* Keys that change while they are used: refresh, reload, many threads at once. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <pailfs/cleanup.h>

#include "home.h"

#define FIRST "[default]\naws_access_key_id = A\naws_secret_access_key = S\naws_session_token = 1\n"
#define SECOND                                                                                     \
	"[default]\naws_access_key_id = A\naws_secret_access_key = S\naws_session_token = 2\n"

static struct cred *create(const char *home, const char *text)
{
	struct cred_config config = {.home = home};
	struct cred *c = NULL;
	char error[512];

	home_write(home, ".aws/credentials", text, 0600);
	assert_int_equal(cred_create(&config, &c, error, sizeof(error)), 0);
	return c;
}

static void assert_token(struct cred *c, const char *token)
{
	struct cred_keys *k = NULL;

	assert_int_equal(cred_get(c, &k), 0);
	assert_string_equal(k->s3.session_token, token);
	cred_keys_unref(k);
}

static void test_refresh(void **state)
{
	const char *home = *state;
	struct cred *c = create(home, FIRST);
	struct cred_keys *old = NULL, *other = NULL;

	assert_int_equal(cred_get(c, &old), 0);
	home_write(home, ".aws/credentials", SECOND, 0600);
	assert_token(c, "1"); /* nothing is read before it is asked for */
	assert_int_equal(cred_refresh(c, old), 0);
	assert_token(c, "2");
	assert_int_equal(cred_refresh(c, old), 0); /* others are there already */
	assert_string_equal(old->s3.session_token, "1");

	assert_int_equal(cred_get(c, &other), 0);
	assert_int_equal(cred_refresh(c, other), -EACCES); /* the same came back */
	home_write(home, ".aws/credentials", FIRST, 0600);
	assert_int_equal(cred_refresh(c, other), -EACCES); /* and is not read again at once */
	assert_token(c, "2");
	assert_int_equal(cred_reload(c), 0); /* but when the user says so */
	assert_token(c, "1");
	assert_int_equal(cred_refresh(c, other), 0);
	cred_keys_unref(old);
	cred_keys_unref(other);
	cred_keys_unref(NULL);
	cred_destroy(c);
	cred_destroy(NULL);
}

static void test_reload_fails(void **state)
{
	const char *home = *state;
	struct cred *c = create(home, FIRST);
	struct cred_keys *k = NULL;

	home_write(home, ".aws/credentials", "[default\n", 0600);
	assert_int_equal(cred_reload(c), -EINVAL);
	assert_token(c, "1");
	assert_int_equal(cred_get(c, &k), 0);
	assert_int_equal(cred_refresh(c, k), -EACCES);
	assert_token(c, "1");
	home_write(home, ".aws/credentials", SECOND, 0644);
	assert_int_equal(cred_reload(c), -EACCES);
	assert_token(c, "1");
	cred_keys_unref(k);
	cred_destroy(c);
}

struct user {
	struct cred *cred;
	int rounds;
};

/* Gets, uses, reports and gives back, as transfers do. */
static void *use(void *arg)
{
	struct user *u = arg;

	for (int i = 0; i < u->rounds; i++) {
		struct cred_keys *k = NULL;
		int err = cred_get(u->cred, &k);

		if (err == -EAGAIN)
			continue;
		if (err != 0 || strlen(k->s3.session_token) != 1)
			return u;
		err = cred_refresh(u->cred, k);
		if (err != 0 && err != -EACCES)
			return u;
		cred_keys_unref(k);
	}
	return NULL;
}

static void test_many_threads(void **state)
{
	enum { THREADS = 6 };
	const char *home = *state;
	struct cred *c = create(home, FIRST);
	struct user user = {c, 300};
	pthread_t threads[THREADS];
	char here[256], next[256];

	sprintf(here, "%s/.aws/credentials", home);
	sprintf(next, "%s/next", home);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, use, &user), 0);
	for (int i = 0; i < 20; i++) {
		home_write(home, "next", i % 2 == 0 ? SECOND : FIRST, 0600);
		assert_int_equal(rename(next, here), 0);
		assert_int_equal(cred_reload(c), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		void *failed = NULL;

		pthread_join(threads[i], &failed);
		assert_null(failed);
	}
	assert_token(c, "1");
	cred_destroy(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_refresh, home_create, home_remove),
	    cmocka_unit_test_setup_teardown(test_reload_fails, home_create, home_remove),
	    cmocka_unit_test_setup_teardown(test_many_threads, home_create, home_remove),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
