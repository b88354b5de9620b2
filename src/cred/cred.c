/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The current keys, and the chain of sources that they come from. The sources are read by whoever
 * asks for it (the start, a refresh, SIGHUP), never under the lock; meanwhile cred_get answers
 * -EAGAIN during a refresh, since the keys of the moment are known to be refused.
 *
 * Keys that a server refused are asked for again at most every REREAD_NS, however many transfers
 * report them: so a renewed file is found without a signal, and a wrong key costs no load.
 */
#include "cred_private.h"

#include <errno.h>

#include <pailfs/clock.h>
#include <pailfs/lock.h>
#include <pailfs/log.h>

#define REREAD_NS (5 * NS_PER_S)
#define EXPLAIN_BYTES 1024

struct cred {
	/* set at creation */
	struct cred_places places;
	/* under the lock */
	struct lock lock; /* LOCK_CRED */
	struct cred_keys *current;
	unsigned generation; /* of current: a refresh that a reload overtook is dropped */
	bool refreshing;
	struct cred_keys *refused; /* the last that came back unchanged; NULL: none */
	uint64_t refused_ns;	   /* when */
};

/* What is said when no source has keys. detail: what the profile's files lack. */
static int explain_nothing(const struct cred_places *p, const char *detail, struct explain *e)
{
	if (p->profile_given)
		return cred_explain(e, ENOENT, "no keys for profile %s: %s", p->profile, detail);
	return cred_explain(e, ENOENT,
			    "no keys found: AWS_ACCESS_KEY_ID is not set; %s. Give keys in one of "
			    "these or in passwd_file=FILE; no_sign_request for a public bucket",
			    detail);
}

/* Reads the first source that has keys. 0 or -errno with a line. */
static int load(const struct cred_places *p, struct cred_keys **ret, struct explain *e)
{
	static const struct s3_keys unsigned_keys;
	char detail[EXPLAIN_BYTES] = "";
	struct explain inner = {detail, sizeof(detail)};
	int err = -ENOENT;

	if (p->none)
		return cred_keys_create(&unsigned_keys, "no_sign_request", ret, e);
	if (p->passwd_file != NULL)
		return cred_from_passwd_file(p, ret, e);
	if (!p->profile_given)
		err = cred_from_environment(ret, e);
	if (err != -ENOENT)
		return err;
	err = cred_from_profile(p, ret, &inner);
	if (err == -ENOENT)
		return explain_nothing(p, detail, e);
	return err < 0 ? cred_explain(e, -err, "%s", detail) : 0;
}

int cred_create(const struct cred_config *config, struct cred **ret, char *ret_error,
		size_t error_size)
{
	struct explain e = {ret_error, error_size};
	struct cred *c = calloc(1, sizeof(*c));
	int err;

	if (c == NULL)
		return cred_explain(&e, ENOMEM, "out of memory");
	lock_init(&c->lock, LOCK_CRED);
	err = cred_places_init(&c->places, config);
	if (err < 0)
		cred_explain(&e, -err, "out of memory");
	else
		err = load(&c->places, &c->current, &e);
	if (err < 0) {
		cred_destroy(c);
		return err;
	}
	log_debug("keys from %s", c->current->source);
	*ret = c;
	return 0;
}

void cred_destroy(struct cred *c)
{
	if (c == NULL)
		return;
	cred_keys_unref(c->current);
	cred_keys_unref(c->refused);
	cred_places_finish(&c->places);
	lock_finish(&c->lock);
	free(c);
}

int cred_get(struct cred *c, struct cred_keys **ret)
{
	SCOPED_LOCK(&c->lock);

	if (c->refreshing)
		return -EAGAIN;
	*ret = cred_keys_ref(c->current);
	return 0;
}

/* Takes the reference of fresh. */
static void replace_locked(struct cred *c, struct cred_keys *fresh)
{
	lock_assert_held(&c->lock);
	cred_keys_unref(c->current);
	c->current = fresh;
	c->generation++;
}

/*
 * May this caller read the sources now? 1: yes, and then he ends it. 0: others are there or soon
 * will be. -EACCES: it was tried a moment ago.
 */
static int begin_refresh(struct cred *c, const struct cred_keys *k, unsigned *ret_generation)
{
	SCOPED_LOCK(&c->lock);

	if (c->refreshing || !cred_keys_same(c->current, k))
		return 0;
	if (c->refused != NULL && cred_keys_same(c->refused, k) &&
	    clock_now_ns() - c->refused_ns < REREAD_NS)
		return -EACCES;
	c->refreshing = true;
	*ret_generation = c->generation;
	return 1;
}

/* Takes the reference of fresh, which may be NULL. */
static int end_refresh(struct cred *c, struct cred_keys *fresh, unsigned generation)
{
	SCOPED_LOCK(&c->lock);

	c->refreshing = false;
	if (c->generation != generation) {
		cred_keys_unref(fresh);
		return 0;
	}
	if (fresh != NULL && !cred_keys_same(c->current, fresh)) {
		replace_locked(c, fresh);
		return 0;
	}
	cred_keys_unref(fresh);
	cred_keys_unref(c->refused);
	c->refused = cred_keys_ref(c->current);
	c->refused_ns = clock_now_ns();
	return -EACCES;
}

int cred_refresh(struct cred *c, const struct cred_keys *k)
{
	char text[EXPLAIN_BYTES] = "";
	struct explain e = {text, sizeof(text)};
	struct cred_keys *fresh = NULL;
	unsigned generation;
	int err = begin_refresh(c, k, &generation);

	if (err <= 0)
		return err;
	if (load(&c->places, &fresh, &e) < 0)
		log_error("the server refused the keys from %s, and reading them again failed: %s",
			  k->source, text);
	err = end_refresh(c, fresh, generation);
	if (err == 0)
		log_info("the server refused the keys from %s: using new ones", k->source);
	return err;
}

int cred_reload(struct cred *c)
{
	char text[EXPLAIN_BYTES] = "";
	struct explain e = {text, sizeof(text)};
	struct cred_keys *fresh = NULL;
	int err = load(&c->places, &fresh, &e);

	if (err < 0) {
		log_error("keys not read again, the old ones stay: %s", text);
		return err;
	}
	SCOPED_LOCK(&c->lock);
	replace_locked(c, fresh);
	return 0;
}
