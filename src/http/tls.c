/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The certificates that are trusted. curl keeps those of a file that it has read, a loop's for all
 * of its connections and for a day, but only where no directory of certificates is set; Debian's
 * build sets one besides the file, and each new connection read 144 certificates: 50 ms of the
 * loop's CPU, a handshake 2 ms. So curl gets the file, and the directory, in which OpenSSL looks
 * for one issuer at a time, is added to what curl keeps, in its callback for a new connection.
 */
#include "http_private.h"

#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#define LIBRARY "OpenSSL/"

/* Does curl call the libssl that this file calls? */
static bool same_library(const curl_version_info_data *curl)
{
	return curl->ssl_version != NULL &&
	       strncmp(curl->ssl_version, LIBRARY, strlen(LIBRARY)) == 0 &&
	       strcmp(curl->ssl_version + strlen(LIBRARY),
		      OpenSSL_version(OPENSSL_VERSION_STRING)) == 0;
}

/* curl's callback for a new connection, before its handshake. Adding it again changes nothing. */
static CURLcode add_directory(CURL *easy, void *context, void *directory)
{
	(void)easy;
	X509_STORE_load_path(SSL_CTX_get_cert_store(context), directory);
	ERR_clear_error();
	return CURLE_OK;
}

static CURLcode trust_file(CURL *easy, const char *file)
{
	CURLcode code = curl_easy_setopt(easy, CURLOPT_CAINFO, file);

	return code == CURLE_OK ? curl_easy_setopt(easy, CURLOPT_CAPATH, NULL) : code;
}

CURLcode http_trust(CURL *easy, const char *ca_bundle)
{
	const curl_version_info_data *curl = curl_version_info(CURLVERSION_NOW);
	CURLcode code;

	if (ca_bundle != NULL)
		return trust_file(easy, ca_bundle); /* these and no others */
	if (curl->cainfo == NULL || curl->capath == NULL || access(curl->cainfo, R_OK) != 0 ||
	    !same_library(curl))
		return CURLE_OK; /* curl knows what to do */
	code = trust_file(easy, curl->cainfo);
	if (code == CURLE_OK)
		code = curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, add_directory);
	if (code == CURLE_OK)
		code = curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, (void *)curl->capath);
	return code;
}
