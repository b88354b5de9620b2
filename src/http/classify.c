/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What curl's code means. The code alone does not say it: a broken connection is something else
 * before the request went out, before the answer's headers and in its body. Pure, but for one look
 * at whether this process is out of descriptors.
 */
#include "http_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include <pailfs/text.h>

/* curl and the resolver report a missing descriptor as a failed connection or name. */
static bool out_of_descriptors(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	if (copy < 0)
		return errno == EMFILE || errno == ENFILE;
	close(copy);
	return false;
}

static enum http_error classify_connect(const struct http_transfer *t)
{
	long os_errno = 0;

	if (out_of_descriptors(t->loop->epoll_fd))
		return HTTP_NO_RESOURCES;
	curl_easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &os_errno);
	if (os_errno == EMFILE || os_errno == ENFILE || os_errno == ENOMEM || os_errno == ENOBUFS)
		return HTTP_NO_RESOURCES;
	return os_errno == ETIMEDOUT ? HTTP_CONNECT_TIMEOUT : HTTP_CONNECT_FAILED;
}

/* The connection broke. */
static enum http_error classify_broken(const struct http_transfer *t)
{
	if (t->answered)
		return HTTP_CUT;
	return t->requested ? HTTP_RESET : classify_connect(t);
}

/* A connection that breaks in the middle of the handshake says nothing about TLS. */
static enum http_error classify_handshake(const struct http_transfer *t)
{
	if (strstr(t->detail, "SSL_ERROR_SYSCALL") != NULL ||
	    strstr(t->detail, "Connection reset") != NULL)
		return classify_broken(t);
	return HTTP_TLS_FAILED;
}

enum http_error http_classify(const struct http_transfer *t, CURLcode code)
{
	switch (code) {
	case CURLE_OK:
		return t->answered ? HTTP_OK
				   : HTTP_RESET; /* curl takes cut headers for an answer */
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
		return out_of_descriptors(t->loop->epoll_fd) ? HTTP_NO_RESOURCES
							     : HTTP_RESOLVE_FAILED;
	case CURLE_COULDNT_CONNECT:
	case CURLE_PROXY:
		return classify_connect(t);
	case CURLE_OPERATION_TIMEDOUT:
		return HTTP_CONNECT_TIMEOUT; /* the one timer that curl itself keeps */
	case CURLE_SSL_CONNECT_ERROR:
		return classify_handshake(t);
	case CURLE_SSL_CIPHER:
	case CURLE_SSL_CERTPROBLEM:
		return HTTP_TLS_FAILED;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_INVALIDCERTSTATUS:
		return HTTP_CERTIFICATE;
	case CURLE_GOT_NOTHING:
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
	case CURLE_SEND_FAIL_REWIND:
		return classify_broken(t);
	case CURLE_PARTIAL_FILE:
		return HTTP_CUT;
	case CURLE_OUT_OF_MEMORY:
		/* curl's own answer to a header line of over 100 KiB, too */
		return t->requested && !t->answered ? HTTP_TOO_LARGE : HTTP_NO_RESOURCES;
	case CURLE_FAILED_INIT:
		return HTTP_NO_RESOURCES;
	default: /* not HTTP, a nonsensical header, an encoding that nobody asked for */
		return HTTP_PROTOCOL;
	}
}

/* What to add to curl's words, NULL for nothing: schemes mixed up are a common mistake. */
static const char *hint(const struct http_transfer *t, CURLcode code)
{
	const struct http_request *r = t->request;
	enum http_error error = r->answer.error;
	bool https = strncmp(r->message.url, "https:", 6) == 0;

	if (error == HTTP_TLS_FAILED && (strstr(t->detail, "wrong version number") != NULL ||
					 strstr(t->detail, "packet length too long") != NULL ||
					 strstr(t->detail, "http request") != NULL))
		return "the server does not speak https on this port";
	if (error == HTTP_PROTOCOL && !https && !t->answered && strstr(t->detail, "HTTP/0.9"))
		return "the answer is not HTTP; does the server expect https on this port?";
	if (code == CURLE_GOT_NOTHING && !https && !r->answer.connection_reused)
		return "closed without an answer; does the server expect https on this port?";
	return NULL;
}

void http_describe(const struct http_transfer *t, CURLcode code, char *dst, size_t size)
{
	const struct http_request *r = t->request;
	const char *extra = hint(t, code);
	char text[2 * CURL_ERROR_SIZE];

	if (extra != NULL)
		snprintf(text, sizeof(text), "%s (%s)", extra, t->detail);
	else if (t->why != NULL)
		snprintf(text, sizeof(text), "%s", t->why);
	else if (r->answer.error == HTTP_REFUSED)
		snprintf(text, sizeof(text), "%s", strerrordesc_np(t->refused));
	else if (t->verdict != HTTP_OK || code == CURLE_OK)
		snprintf(text, sizeof(text), "%s", http_error_name(r->answer.error));
	else
		snprintf(text, sizeof(text), "%s",
			 t->detail[0] != '\0' ? t->detail : curl_easy_strerror(code));
	text_printable(text, strlen(text), dst, size);
}

const char *http_error_name(enum http_error e)
{
	switch (e) {
	case HTTP_OK:
		return "ok";
	case HTTP_RESOLVE_FAILED:
		return "name has no address";
	case HTTP_CONNECT_FAILED:
		return "connection failed";
	case HTTP_CONNECT_TIMEOUT:
		return "connection timed out";
	case HTTP_TLS_FAILED:
		return "TLS failed";
	case HTTP_CERTIFICATE:
		return "certificate refused";
	case HTTP_FIRST_BYTE_TIMEOUT:
		return "no answer in time";
	case HTTP_STALLED:
		return "stalled";
	case HTTP_RESET:
		return "connection reset";
	case HTTP_CUT:
		return "answer cut";
	case HTTP_TOO_LARGE:
		return "answer too large";
	case HTTP_PROTOCOL:
		return "not HTTP";
	case HTTP_REFUSED:
		return "stopped";
	case HTTP_CANCELLED:
		return "cancelled";
	case HTTP_NO_RESOURCES:
		return "out of descriptors or memory";
	}
	return "unknown";
}
