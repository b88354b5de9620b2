/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A set of keys: immutable, counted, in one allocation that is cleansed when the last reference
 * dies. Any thread.
 */
#include "cred_private.h"

#include <errno.h>
#include <string.h>

struct keys {
	struct cred_keys public;
	unsigned references; /* atomic */
	size_t text_bytes;
	char text[]; /* all strings */
};

/* Keys go into header lines, and a stray blank or line break in them is a mistake in copying. */
static bool is_clean(const char *text)
{
	for (; text != NULL && *text != '\0'; text++)
		if (*text <= ' ' || *text > '~')
			return false;
	return true;
}

static int check(const struct s3_keys *keys, const char *source, struct explain *e)
{
	const char *bad = NULL;

	if (!is_clean(keys->access_key))
		bad = "access key";
	else if (!is_clean(keys->secret_key))
		bad = "secret key";
	else if (!is_clean(keys->session_token))
		bad = "session token";
	if (bad == NULL)
		return 0;
	return cred_explain(e, EINVAL,
			    "the %s from %s holds a blank, a line break or another character that "
			    "no key has; copy it again",
			    bad, source);
}

static size_t room_for(const char *text)
{
	return text == NULL ? 0 : strlen(text) + 1;
}

static const char *put(char **at, const char *text)
{
	char *copy = *at;

	if (text == NULL)
		return NULL;
	*at = stpcpy(copy, text) + 1;
	return copy;
}

int cred_keys_create(const struct s3_keys *keys, const char *source, struct cred_keys **ret,
		     struct explain *e)
{
	size_t bytes = room_for(keys->access_key) + room_for(keys->secret_key) +
		       room_for(keys->session_token) + room_for(source);
	struct keys *k;
	char *at;

	if (check(keys, source, e) < 0)
		return -EINVAL;
	k = calloc(1, sizeof(*k) + bytes);
	if (k == NULL)
		return cred_explain(e, ENOMEM, "out of memory");
	k->references = 1;
	k->text_bytes = bytes;
	at = k->text;
	k->public.s3.access_key = put(&at, keys->access_key);
	k->public.s3.secret_key = put(&at, keys->secret_key);
	k->public.s3.session_token = put(&at, keys->session_token);
	k->public.source = put(&at, source);
	*ret = &k->public;
	return 0;
}

struct cred_keys *cred_keys_ref(struct cred_keys *k)
{
	__atomic_add_fetch(&CONTAINER_OF(k, struct keys, public)->references, 1, __ATOMIC_RELAXED);
	return k;
}

void cred_keys_unref(struct cred_keys *k)
{
	struct keys *whole;

	if (k == NULL)
		return;
	whole = CONTAINER_OF(k, struct keys, public);
	if (__atomic_sub_fetch(&whole->references, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	explicit_bzero(whole->text, whole->text_bytes);
	free(whole);
}

static bool same(const char *a, const char *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return strcmp(a, b) == 0;
}

bool cred_keys_same(const struct cred_keys *a, const struct cred_keys *b)
{
	return same(a->s3.access_key, b->s3.access_key) &&
	       same(a->s3.secret_key, b->s3.secret_key) &&
	       same(a->s3.session_token, b->s3.session_token);
}
