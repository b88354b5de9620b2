/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The certificates that are trusted: read once for all connections of all loops, and again after a
 * day, by the loop whose connection finds them that old. Left to curl each loop would read them,
 * and each new connection where curl was built with a directory of certificates besides the file
 * (as Debian's is): the 144 of Debian 12 cost 50 ms of the loop's CPU, a handshake 2 ms.
 *
 * The store is handed to OpenSSL in curl's callback for a new connection. Where curl stands on
 * another TLS library, or on another OpenSSL than we do, http_trust_create finds that out, and
 * curl reads the file itself.
 */
#include "http_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#define FRESH_NS (24 * 3600 * NS_PER_S)

struct http_trust {
	/* set at creation */
	char *file, *directory; /* NULL: none */
	/* under the lock */
	struct lock lock; /* LOCK_LEAF */
	X509_STORE *store;
	uint64_t read_ns; /* when it was read */
};

/* Does curl call the libssl that this file calls? */
static bool same_library(const curl_version_info_data *curl)
{
	char ours[32];

	snprintf(ours, sizeof(ours), "OpenSSL/%u.", OPENSSL_version_major());
	return curl->ssl_version != NULL && strncmp(curl->ssl_version, ours, strlen(ours)) == 0;
}

static int copy_path(const char *path, char **ret)
{
	if (path == NULL)
		return 0;
	*ret = strdup(path);
	return *ret == NULL ? -ENOMEM : 0;
}

int http_trust_create(const char *ca_bundle, struct http_trust **ret)
{
	const curl_version_info_data *curl = curl_version_info(CURLVERSION_NOW);
	const char *directory = ca_bundle == NULL ? curl->capath : NULL; /* these and no others */
	struct http_trust *t;

	if (!same_library(curl))
		return 0;
	t = calloc(1, sizeof(*t));
	if (t == NULL)
		return -ENOMEM;
	lock_init(&t->lock, LOCK_LEAF);
	if (copy_path(ca_bundle != NULL ? ca_bundle : curl->cainfo, &t->file) < 0 ||
	    copy_path(directory, &t->directory) < 0) {
		http_trust_destroy(t);
		return -ENOMEM;
	}
	*ret = t;
	return 0;
}

void http_trust_destroy(struct http_trust *t)
{
	if (t == NULL)
		return;
	X509_STORE_free(t->store);
	lock_finish(&t->lock);
	free(t->file);
	free(t->directory);
	free(t);
}

/* The files as they are now; NULL if there is nothing to trust in them. The flags are curl's. */
static X509_STORE *read_store(const struct http_trust *t)
{
	X509_STORE *store = X509_STORE_new();
	bool any;

	if (store == NULL)
		return NULL;
	any = t->file != NULL && X509_STORE_load_file(store, t->file) == 1;
	any |= t->directory != NULL && X509_STORE_load_path(store, t->directory) == 1;
	ERR_clear_error();
	if (!any) {
		X509_STORE_free(store);
		return NULL;
	}
	X509_STORE_set_flags(store, X509_V_FLAG_TRUSTED_FIRST | X509_V_FLAG_PARTIAL_CHAIN);
	return store;
}

/* A reference, or NULL if there is no store that is fresh (enough, if any age will do). */
static X509_STORE *known_store(struct http_trust *t, bool any_age)
{
	SCOPED_LOCK(&t->lock);

	if (t->store == NULL || (!any_age && clock_now_ns() - t->read_ns > FRESH_NS))
		return NULL;
	X509_STORE_up_ref(t->store);
	return t->store;
}

/* Keeps a reference of its own. */
static void keep_store(struct http_trust *t, X509_STORE *store)
{
	X509_STORE *old;

	lock_acquire(&t->lock);
	old = t->store;
	t->store = store;
	t->read_ns = clock_now_ns();
	X509_STORE_up_ref(store);
	lock_release(&t->lock);
	X509_STORE_free(old);
}

/* A reference to the store; NULL if it cannot be read and never could. */
static X509_STORE *trusted(struct http_trust *t)
{
	X509_STORE *store = known_store(t, false);

	if (store != NULL)
		return store;
	store = read_store(t);
	if (store == NULL)
		return known_store(t, true);
	keep_store(t, store);
	return store;
}

/*
 * curl's callback for a new connection, before its handshake. The handshake with a proxy is told
 * by what curl has read for it: the file of the proxy's own setting.
 */
static CURLcode on_new_connection(CURL *easy, void *context, void *trust)
{
	X509_STORE *store;

	(void)easy;
	if (sk_X509_OBJECT_num(X509_STORE_get0_objects(SSL_CTX_get_cert_store(context))) > 0)
		return CURLE_OK;
	store = trusted(trust);
	if (store == NULL)
		return CURLE_SSL_CACERT_BADFILE;
	SSL_CTX_set_cert_store(context, store); /* takes the reference */
	return CURLE_OK;
}

CURLcode http_trust_set(struct http_trust *t, const char *ca_bundle, CURL *easy)
{
	CURLcode code = CURLE_OK;

	if (t == NULL && ca_bundle == NULL)
		return CURLE_OK;
	code = curl_easy_setopt(easy, CURLOPT_CAINFO, t == NULL ? ca_bundle : NULL);
	if (code == CURLE_OK)
		code = curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
	if (code == CURLE_OK && t != NULL)
		code = curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, on_new_connection);
	if (code == CURLE_OK && t != NULL)
		code = curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, t);
	return code;
}
