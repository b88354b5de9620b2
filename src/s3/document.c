/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers that say in XML what became of a request; thread of the loop. A status of 200 promises
 * nothing for them: S3 sends it before Complete or a copy has ended, then blanks, then the outcome,
 * which may be an <Error>. Success is the expected root element, whole; what must stand in it, the
 * verb's kind->end knows.
 */
#include "document.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parse.h"
#include "xml.h"

struct document {
	struct s3_op *op;
	const struct document_kind *kind;
	struct xml *xml;
	bool is_kind; /* the root is the expected one */
	bool bad_text;
	char why[64];
};

static int on_start(void *ctx, unsigned depth, const char *name)
{
	struct document *d = ctx;

	d->bad_text = false;
	if (depth == 1) {
		d->is_kind = !strcmp(name, d->kind->root);
		d->op->parse->error.found = !strcmp(name, "Error");
	}
	return depth > 1 && d->is_kind && d->kind->start ? d->kind->start(d->op, depth, name) : 0;
}

static int on_end(void *ctx, unsigned depth, const char *name, const char *text, size_t len)
{
	struct document *d = ctx;
	const struct document_element element = {depth, name, text, len, d->bad_text};

	if (d->op->parse->error.found && depth == 2)
		error_body_element(&d->op->parse->error, name, text, len);
	return depth > 1 && d->is_kind ? d->kind->element(d->op, &element) : 0;
}

static void on_bad(void *ctx)
{
	struct document *d = ctx;

	d->bad_text = true;
}

/* Whatever is that long is refused by its length, or is not looked at. */
static int on_too_long(void *ctx)
{
	return 0;
}

struct document *document_create(struct s3_op *op, const struct document_kind *kind)
{
	static const struct xml_events events = {on_start, on_end, on_bad, on_too_long};
	struct document *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->op = op;
	d->kind = kind;
	d->xml = xml_create(&events, d, s3_body_cap(op));
	if (!d->xml) {
		free(d);
		return NULL;
	}
	return d;
}

void document_destroy(struct document *d)
{
	if (!d)
		return;
	xml_destroy(d->xml);
	free(d);
}

int document_push(struct document *d, const void *bytes, size_t n)
{
	int r = xml_push(d->xml, bytes, n);

	return d->op->parse->error.found ? 0 : r; /* of an <Error>, what could be read counts */
}

int document_end(struct document *d)
{
	const struct error_body *error = &d->op->parse->error;
	int r = xml_end(d->xml);

	if (error->found && error->code[0])
		return -EBADMSG;
	if (r < 0 || d->is_kind)
		return r;
	snprintf(d->why, sizeof(d->why), "the answer is no %s", d->kind->root);
	return -EILSEQ;
}

const char *document_error(const struct document *d)
{
	return d->why[0] ? d->why : xml_error(d->xml);
}
