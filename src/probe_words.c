/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mistakes that people make with buckets, keys and endpoints, in words: what is wrong, then
 * what to try. S3's own words are added where they say more than we know.
 */
#include "probe_words.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/clock.h>

#define SCHEME_PROBE_NS (2 * NS_PER_S)

struct words {
	const struct trial *trial;
	const struct probe_config *config;
	const struct s3_target *target;
	const char *source; /* where the keys come from */
	char host[S3_HOST_BYTES];
	char *dst;
	size_t size;
};

__attribute__((format(printf, 2, 3))) static void say(struct words *w, const char *fmt, ...)
{
	int n = snprintf(w->dst, w->size, "%s: ", w->target->bucket);
	va_list args;

	va_start(args, fmt);
	vsnprintf(w->dst + n, w->size - (size_t)n, fmt, args);
	va_end(args);
}

static const char *scheme(const struct words *w)
{
	return w->target->https ? "https" : "http";
}

static void say_access_denied(struct words *w)
{
	const char *prefix = w->config->prefix;

	if (strcmp(w->source, "") == 0)
		say(w,
		    "the bucket is not public: %s is denied without keys; leave no_sign_request "
		    "out and give keys",
		    s3_verb_action(S3_LIST));
	else
		say(w,
		    "access denied: the keys from %s lack %s on the bucket%s%s%s; ask for a "
		    "policy that allows it, or mount a prefix that you may list",
		    w->source, s3_verb_action(S3_LIST),
		    prefix[0] != '\0' ? " with the prefix " : "", prefix,
		    prefix[0] != '\0' ? "" : " (no prefix)");
}

static void say_other_code(struct words *w)
{
	const struct s3_result *r = &w->trial->op.result;

	say(w, "%s://%s answers %d %s: %s", scheme(w), w->host, r->status, r->code, r->message);
}

/* S3's codes. False: none of the common ones. */
static bool explain_code(struct words *w)
{
	const struct s3_result *r = &w->trial->op.result;
	const char *code = r->code;

	if (strcmp(code, "NoSuchBucket") == 0)
		say(w, "there is no such bucket at %s://%s; check its name, and the endpoint",
		    scheme(w), w->host);
	else if (strcmp(code, "InvalidAccessKeyId") == 0)
		say(w,
		    "the server does not know the access key from %s; check it, or try another "
		    "profile",
		    w->source);
	else if (strcmp(code, "SignatureDoesNotMatch") == 0)
		say(w, "the secret key from %s does not belong to its access key; copy it again",
		    w->source);
	else if (strcmp(code, "ExpiredToken") == 0 || strcmp(code, "TokenRefreshRequired") == 0)
		say(w,
		    "the session token from %s has expired; get new keys (aws sso login, for "
		    "example)",
		    w->source);
	else if (strcmp(code, "InvalidToken") == 0)
		say(w, "the session token from %s is not valid; get new keys", w->source);
	else if (strcmp(code, "AccessDenied") == 0)
		say_access_denied(w);
	else if (strcmp(code, "RequestTimeTooSkewed") == 0)
		say(w,
		    "the clock of this machine is off, and the server does not tell its own; set "
		    "the clock (timedatectl set-ntp true)");
	else if (strcmp(code, "PermanentRedirect") == 0 ||
		 strcmp(code, "AuthorizationHeaderMalformed") == 0)
		say(w,
		    "the bucket lives in another region than %s, and the server does not say in "
		    "which; try region=NAME, or the endpoint of its region",
		    w->target->region[0] != '\0' ? w->target->region : "us-east-1");
	else
		return false;
	return true;
}

static void explain_certificate(struct words *w)
{
	const char *detail = w->trial->http.answer.detail;

	if (strstr(detail, "expired") != NULL)
		say(w, "the certificate of %s has expired; it must be renewed at the server (%s)",
		    w->host, detail);
	else if (strstr(detail, "subject name") != NULL || strstr(detail, "match") != NULL)
		say(w,
		    "the certificate is for another host than %s; check the endpoint, or try "
		    "path_style (%s)",
		    w->host, detail);
	else
		say(w,
		    "the certificate of %s is not trusted%s%s; try ca_bundle=FILE with its "
		    "authority (%s)",
		    w->host, w->config->ca_bundle != NULL ? " by " : "",
		    w->config->ca_bundle != NULL ? w->config->ca_bundle : "", detail);
}

/* Asks the same host by TLS, without keys: whatever comes of it, it speaks TLS or not. */
static bool speaks_tls(const struct words *w)
{
	__attribute__((cleanup(trial_finish))) struct trial t;
	struct s3_target target = *w->target;
	struct s3_keys none = {0};

	target.https = true;
	trial_init(&t, w->config->prefix);
	trial_run(&t, w->config->http, &target, &none, clock_now_ns() + SCHEME_PROBE_NS);
	return t.http.answer.error == HTTP_OK || t.http.answer.error == HTTP_CERTIFICATE;
}

/* How the transfer ended, when no answer of S3 says it. */
static void explain_transfer(struct words *w)
{
	const struct http_answer *a = &w->trial->http.answer;

	switch (a->error) {
	case HTTP_RESOLVE_FAILED:
		say(w, "%s: the name has no address; check the endpoint and the DNS", w->host);
		break;
	case HTTP_CONNECT_FAILED:
		if (strstr(a->detail, "SSL") != NULL)
			say(w,
			    "%s breaks the TLS handshake off: it may speak http there, not https; "
			    "try endpoint=http://... (%s)",
			    w->host, a->detail);
		else
			say(w,
			    "cannot connect to %s; is the server running there? check the endpoint "
			    "(%s)",
			    w->host, a->detail);
		break;
	case HTTP_CONNECT_TIMEOUT:
		say(w,
		    "%s cannot be reached; check the endpoint, the network and its firewalls (%s)",
		    w->host, a->detail);
		break;
	case HTTP_TLS_FAILED:
		say(w,
		    "%s does not speak https there; if it is meant to be without TLS try "
		    "endpoint=http://... (%s)",
		    w->host, a->detail);
		break;
	case HTTP_CERTIFICATE:
		explain_certificate(w);
		break;
	case HTTP_FIRST_BYTE_TIMEOUT:
	case HTTP_STALLED:
		say(w, "%s takes the request and does not answer it; is it an S3 server?", w->host);
		break;
	default:
		say(w, "%s gives no answer that can be used: %s (%s); check the endpoint", w->host,
		    http_error_name(a->error), a->detail);
		break;
	}
}

static void explain_answer(struct words *w)
{
	const struct s3_result *r = &w->trial->op.result;

	if (explain_code(w))
		return;
	if (r->code[0] != '\0')
		say_other_code(w);
	else
		say(w,
		    "%s://%s answers with status %d, but not as an S3 server would; check the "
		    "endpoint (%s)",
		    scheme(w), w->host, r->status, r->message);
}

/* http where https is meant: the connection breaks, or a web server says 400 in its own words. */
static bool may_be_mixed_up(const struct words *w)
{
	const struct http_answer *a = &w->trial->http.answer;

	if (w->target->https)
		return false;
	if (a->error == HTTP_OK)
		return a->status == 400 && w->trial->op.result.code[0] == '\0';
	return a->error == HTTP_RESET || a->error == HTTP_CUT || a->error == HTTP_PROTOCOL;
}

void probe_explain(const struct trial *t, const struct probe_config *config,
		   const struct s3_target *target, const struct cred_keys *keys, char *dst,
		   size_t size)
{
	struct words w = {
	    .trial = t,
	    .config = config,
	    .target = target,
	    .source = keys != NULL && keys->s3.access_key != NULL ? keys->source : "",
	    .dst = dst,
	    .size = size,
	};

	s3_target_host(target, w.host);
	if (keys == NULL)
		say(&w,
		    "there are no keys; try aws configure, or no_sign_request for a public bucket");
	else if (may_be_mixed_up(&w) && speaks_tls(&w))
		say(&w, "%s speaks https, not http; try endpoint=https://...", w.host);
	else if (t->http.answer.status != 0)
		explain_answer(&w);
	else
		explain_transfer(&w);
}
