/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads <Error> documents: of error answers, and (through error_body_element) of answers with
 * status 200 that turn out to be one. Thread of the loop. An error's body is a hint, never a
 * reason to fail: what is no XML, or breaks off, leaves fields empty and the status decides.
 */
#include "error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <pailfs/text.h>

#include "xml.h"

struct error_reader {
	struct error_body *body;
	struct xml *xml;
	size_t bytes_left;
};

/* The first element of a name counts. */
static void take(char *dst, size_t size, const char *text, size_t len)
{
	if (!dst[0])
		text_printable(text, len, dst, size);
}

void error_body_element(struct error_body *e, const char *name, const char *text, size_t len)
{
	if (!strcmp(name, "Code"))
		take(e->code, sizeof(e->code), text, len);
	else if (!strcmp(name, "Message"))
		take(e->message, sizeof(e->message), text, len);
	else if (!strcmp(name, "Region"))
		take(e->region, sizeof(e->region), text, len);
	else if (!strcmp(name, "ServerTime"))
		take(e->server_time, sizeof(e->server_time), text, len);
	else if (!strcmp(name, "Condition"))
		take(e->condition, sizeof(e->condition), text, len);
	else if (!strcmp(name, "Header"))
		take(e->header, sizeof(e->header), text, len);
}

static int on_start(void *ctx, unsigned depth, const char *name)
{
	struct error_reader *r = ctx;

	if (depth == 1)
		r->body->found = !strcmp(name, "Error");
	return 0;
}

static int on_end(void *ctx, unsigned depth, const char *name, const char *text, size_t len)
{
	struct error_reader *r = ctx;

	if (depth == 2 && r->body->found)
		error_body_element(r->body, name, text, len);
	return 0;
}

static void on_bad(void *ctx)
{
}

/* SignatureDoesNotMatch repeats the whole request. */
static int on_too_long(void *ctx)
{
	return 0;
}

struct error_reader *error_reader_create(struct error_body *e)
{
	static const struct xml_events events = {on_start, on_end, on_bad, on_too_long};
	struct error_reader *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->body = e;
	r->bytes_left = S3_ERROR_BYTES_MAX;
	r->xml = xml_create(&events, r, S3_ERROR_BYTES_MAX);
	if (!r->xml) {
		free(r);
		return NULL;
	}
	return r;
}

void error_reader_destroy(struct error_reader *r)
{
	if (!r)
		return;
	xml_destroy(r->xml);
	free(r);
}

int error_reader_push(struct error_reader *r, const void *bytes, size_t n)
{
	if (n > r->bytes_left)
		return -EMSGSIZE;
	r->bytes_left -= n;
	xml_push(r->xml, bytes, n);
	return 0;
}
