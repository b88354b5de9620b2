/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only user of libxml2. An answer's bytes come in on the thread of its loop, in pieces of any
 * size; a parser belongs to one answer.
 *
 * What a server sends is untrusted. Refused: more bytes, depth, elements or attributes than S3's
 * answers have, markup or text of more than two slices without a `<` (libxml2 would buffer it, and
 * compares attributes pairwise), any DOCTYPE. Nothing is ever fetched, no entity is expanded but
 * XML's own five.
 *
 * Bytes that XML cannot carry (control characters; bytes that are no UTF-8) are not worth a page of
 * a listing. libxml2 in recovery mode steps over a control character with XML_ERR_INVALID_CHAR;
 * what it does at bad UTF-8 depends on where a piece ends (it may stop for good). So check_utf8
 * turns each such byte into a control character first, and bad() is the one way to hear of both.
 * Every other error ends the parse, recovery or not.
 */
#include "xml.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libxml/parser.h>

#include <pailfs/cleanup.h>

#include "utf8.h"

#define DEPTH_MAX 8
#define ELEMENTS_MAX 65536 /* 1,000 entries have about 20 each */
#define ATTRIBUTES_MAX 16
#define BAD_BYTES_MAX 16384 /* each costs a call; more is no listing */
#define SLICE_BYTES 8192
#define GAP_MAX SLICE_BYTES /* bytes at the end of slices without a `<` */

struct xml {
	const struct xml_events *events;
	void *ctx;
	xmlParserCtxt *parser;
	size_t bytes_left;
	size_t gap; /* bytes since the last `<` */
	unsigned depth, elements, bad_bytes;
	bool begun;  /* a byte that is no blank came */
	bool in_tag; /* no `>` since the last `<` */
	int err;
	char error[80];
	unsigned char partial[4]; /* a character that a piece cut */
	size_t partial_length;
	size_t text_length;
	bool text_cut;
	char text[XML_TEXT_MAX + 1];
};

static int fail(struct xml *x, int err, const char *why)
{
	if (x->err == 0) {
		x->err = err;
		snprintf(x->error, sizeof(x->error), "%s", why);
	}
	return x->err;
}

/* From inside a callback of libxml2: no more of them. */
static void stop(struct xml *x, int err, const char *why)
{
	fail(x, err, why);
	xmlStopParser(x->parser);
}

static void on_start(void *ctx, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri,
		     int namespaces, const xmlChar **namespace_list, int attributes, int defaulted,
		     const xmlChar **attribute_list)
{
	struct xml *x = ctx;
	int r;

	if (x->err < 0)
		return;
	if (++x->depth > DEPTH_MAX) {
		stop(x, -EMSGSIZE, "elements nested too deep");
		return;
	}
	if (++x->elements > ELEMENTS_MAX || attributes + namespaces > ATTRIBUTES_MAX) {
		stop(x, -EMSGSIZE, "too many elements or attributes");
		return;
	}
	x->text_length = 0;
	x->text_cut = false;
	r = x->events->start(x->ctx, x->depth, (const char *)name);
	if (r < 0)
		stop(x, r, "refused by its reader");
}

static void on_end(void *ctx, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri)
{
	struct xml *x = ctx;
	int r;

	if (x->err < 0)
		return;
	x->text[x->text_length] = '\0';
	r = x->events->end(x->ctx, x->depth--, (const char *)name, x->text, x->text_length);
	x->text_length = 0;
	x->text_cut = false;
	if (r < 0)
		stop(x, r, "refused by its reader");
}

static void on_text(void *ctx, const xmlChar *text, int len)
{
	struct xml *x = ctx;
	size_t n = MIN((size_t)len, XML_TEXT_MAX - x->text_length);
	int r;

	if (x->err < 0)
		return;
	memcpy(x->text + x->text_length, text, n);
	x->text_length += n;
	if (n == (size_t)len || x->text_cut)
		return;
	x->text_cut = true;
	r = x->events->too_long(x->ctx);
	if (r < 0)
		stop(x, r, "an element's text is too long");
}

static void on_doctype(void *ctx, const xmlChar *name, const xmlChar *id, const xmlChar *uri)
{
	stop(ctx, -EMSGSIZE, "a DOCTYPE is not accepted");
}

/* Called by libxml2 between the events around the error's place. */
static void on_error(void *ctx, xmlError *error)
{
	struct xml *x = ctx;

	if (error->level == XML_ERR_WARNING || x->err < 0)
		return;
	if (error->code == XML_ERR_INVALID_CHAR)
		x->events->bad(x->ctx);
	else if (error->code == XML_ERR_NO_MEMORY)
		fail(x, -ENOMEM, "out of memory");
	else if (error->code == XML_ERR_DOCUMENT_EMPTY || error->code == XML_ERR_DOCUMENT_END)
		fail(x, -EILSEQ, "the document is empty or cut");
	else
		fail(x, -EILSEQ, "not well-formed XML");
}

static const xmlSAXHandler sax = {
    .initialized = XML_SAX2_MAGIC,
    .startElementNs = on_start,
    .endElementNs = on_end,
    .characters = on_text,
    .cdataBlock = on_text,
    .internalSubset = on_doctype,
    .serror = (xmlStructuredErrorFunc)on_error,
};

struct xml *xml_create(const struct xml_events *events, void *ctx, size_t bytes_max)
{
	struct xml *x = calloc(1, sizeof(*x));
	xmlSAXHandler handler = sax;

	if (!x)
		return NULL;
	x->events = events;
	x->ctx = ctx;
	x->bytes_left = bytes_max;
	x->parser = xmlCreatePushParserCtxt(&handler, x, NULL, 0, NULL);
	if (!x->parser) {
		free(x);
		return NULL;
	}
	/* Never NOENT, DTDLOAD, HUGE. IGNORE_ENC: it is UTF-8, whatever the declaration says. */
	xmlCtxtUseOptions(x->parser, XML_PARSE_RECOVER | XML_PARSE_NONET | XML_PARSE_IGNORE_ENC);
	return x;
}

void xml_destroy(struct xml *x)
{
	if (!x)
		return;
	if (x->parser->myDoc)
		xmlFreeDoc(x->parser->myDoc);
	xmlFreeParserCtxt(x->parser);
	free(x);
}

static int feed(struct xml *x, const void *bytes, size_t n)
{
	if (n > 0 && x->err == 0)
		xmlParseChunk(x->parser, bytes, (int)n, 0);
	return x->err;
}

/* Length of the longest beginning of s that is ASCII, eight bytes at a time. */
static size_t ascii_length(const unsigned char *s, size_t n)
{
	size_t i = 0;
	uint64_t word;

	for (; n - i >= sizeof(word); i += sizeof(word)) {
		memcpy(&word, s + i, sizeof(word));
		if (word & UINT64_C(0x8080808080808080))
			break;
	}
	while (i < n && s[i] < 0x80)
		i++;
	return i;
}

static int feed_bad_byte(struct xml *x)
{
	if (++x->bad_bytes > BAD_BYTES_MAX)
		return fail(x, -EMSGSIZE, "too many bytes that are no UTF-8");
	return feed(x, "\x01", 1);
}

/* Feeds the character that the last piece cut, as far as these bytes end it. Returns how many of
 * them it took. */
static size_t feed_partial(struct xml *x, const unsigned char *bytes, size_t n)
{
	size_t used = 0;

	while (x->partial_length > 0 && used < n && x->err == 0) {
		int length;

		x->partial[x->partial_length++] = bytes[used++];
		length = utf8_length(x->partial, x->partial_length);
		if (length < 0)
			continue;
		if (length > 0)
			feed(x, x->partial, (size_t)length);
		else
			feed_bad_byte(x); /* stands for all that led here; the last byte is looked
					     at again */
		used -= length == 0;
		x->partial_length = 0;
	}
	return used;
}

/* Feeds bytes with each that is no UTF-8 replaced by a control character. */
static int feed_checked(struct xml *x, const unsigned char *bytes, size_t n)
{
	size_t from = feed_partial(x, bytes, n), at = from;

	while (at < n && x->err == 0) {
		int length;

		at += ascii_length(bytes + at, n - at);
		if (at == n)
			break;
		length = utf8_length(bytes + at, n - at);
		if (length > 0) {
			at += (size_t)length;
			continue;
		}
		feed(x, bytes + from, at - from);
		if (length < 0) {
			x->partial_length = n - at;
			memcpy(x->partial, bytes + at, n - at);
			return x->err;
		}
		feed_bad_byte(x);
		from = ++at;
	}
	return feed(x, bytes + from, n - from);
}

static size_t blanks(const unsigned char *bytes, size_t n)
{
	size_t i = 0;

	while (i < n && (bytes[i] == ' ' || (bytes[i] >= '\t' && bytes[i] <= '\r')))
		i++;
	return i;
}

/* Holds the caps that libxml2 would look at only when it has buffered everything. */
static int check_slice(struct xml *x, const unsigned char *bytes, size_t n)
{
	const unsigned char *first = memchr(bytes, '<', n);
	const unsigned char *last = memrchr(bytes, '<', n);

	if (n > x->bytes_left)
		return fail(x, -EMSGSIZE, "more bytes than an answer may have");
	x->bytes_left -= n;
	x->gap += first ? (size_t)(first - bytes) : n;
	if (x->elements == 0 && !x->in_tag) /* S3 waits for minutes behind the declaration */
		x->gap -= blanks(bytes, n);
	if (x->gap > GAP_MAX)
		return fail(x, -EMSGSIZE, "a tag or text is too long");
	if (last)
		x->in_tag = !memchr(last, '>', (size_t)(bytes + n - last));
	else
		x->in_tag = x->in_tag && !memchr(bytes, '>', n);
	if (last)
		x->gap = (size_t)(bytes + n - last);
	return 0;
}

int xml_push(struct xml *x, const void *bytes, size_t n)
{
	const unsigned char *at = bytes, *end = at + n;

	if (!x->begun)
		at += blanks(at, n);
	x->begun = x->begun || at < end;
	while (at < end && x->err == 0) {
		size_t slice = MIN((size_t)(end - at), SLICE_BYTES);

		if (check_slice(x, at, slice) == 0)
			feed_checked(x, at, slice);
		at += slice;
	}
	return x->err;
}

int xml_end(struct xml *x)
{
	if (x->err == 0)
		xmlParseChunk(x->parser, "", 0, 1);
	if (x->depth > 0 || x->elements == 0 || x->partial_length > 0)
		fail(x, -EILSEQ, "the document is empty or cut");
	return x->err;
}

const char *xml_error(const struct xml *x)
{
	return x->error;
}

void xml_library_init(void)
{
	xmlInitParser();
}

void xml_library_finish(void)
{
	xmlCleanupParser();
}
