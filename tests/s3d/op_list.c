/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ListObjects and ListObjectsV2: parameters, continuation tokens, the XML of a page, and the
 * faults of listings. A token is opaque to clients: a signed (keyed hash) name of the last item,
 * bound to the bucket, so that a made-up one is refused.
 */
#include "op.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_MAX_KEYS 1000
#define TOKEN_MAC_DIGITS 16

static const struct list_fault no_fault;

/* The parameters of one list request, as strings that live as long as the request. */
struct list_request {
	struct list_query query;
	bool v2, url;
	const char *token, *marker, *start_after; /* as given, or NULL */
	char *after;				  /* decoded token, owned */
	uint64_t max_keys;
	const struct list_fault *fault;
	const char *next_name; /* of the last item; NULL when nothing was listed */
	size_t next_len;
};

static void token_mac(const struct request *request, const char *name, size_t len,
		      char out[TOKEN_MAC_DIGITS + 1])
{
	struct buf b = {0};
	char full[65];

	buf_printf(&b, "s3d-token %s ", request->bucket_name);
	buf_add(&b, name, len);
	sha256_hex(b.data, b.len, full);
	snprintf(out, TOKEN_MAC_DIGITS + 1, "%.*s", TOKEN_MAC_DIGITS, full);
	buf_finish(&b);
}

static char *token_make(const struct request *request, const char *name, size_t len)
{
	char *token = xcalloc(1, TOKEN_MAC_DIGITS + 2 * len + 1);

	token_mac(request, name, len, token);
	hex_encode(name, len, token + TOKEN_MAC_DIGITS);
	return token;
}

/* The name in a token, or NULL for one that this server did not make. */
static char *token_read(const struct request *request, const char *token, size_t *ret_len)
{
	char mac[TOKEN_MAC_DIGITS + 1];
	unsigned char *name;
	size_t room = strlen(token);
	int len;

	if (room < TOKEN_MAC_DIGITS)
		return NULL;
	name = xcalloc(1, room);
	len = hex_decode(token + TOKEN_MAC_DIGITS, name, room);
	if (len >= 0)
		token_mac(request, (char *)name, (size_t)len, mac);
	if (len < 0 || memcmp(mac, token, TOKEN_MAC_DIGITS) != 0) {
		free(name);
		return NULL;
	}
	*ret_len = (size_t)len;
	return (char *)name;
}

static const char *or_empty(const char *text)
{
	return text != NULL ? text : "";
}

/* False with the answer filled. */
static bool read_position(struct request *request, struct list_request *list)
{
	const char *after = list->v2 ? list->start_after : list->marker;

	list->query.after = or_empty(after);
	list->query.after_len = strlen(list->query.after);
	if (list->token == NULL)
		return true;
	list->after = token_read(request, list->token, &list->query.after_len);
	list->query.after = list->after;
	if (list->after != NULL)
		return true;
	answer_error_detail(request, "InvalidArgument",
			    "The continuation token provided is incorrect", "");
	return false;
}

static bool read_parameters(struct request *request, struct list_request *list)
{
	const char *max = request_query(request, "max-keys");
	const char *encoding = request_query(request, "encoding-type");
	const char *type = request_query(request, "list-type");

	list->v2 = type != NULL;
	list->query.prefix = or_empty(request_query(request, "prefix"));
	list->query.prefix_len = strlen(list->query.prefix);
	list->query.delimiter = or_empty(request_query(request, "delimiter"));
	list->query.delimiter_len = strlen(list->query.delimiter);
	list->marker = request_query(request, "marker");
	list->start_after = request_query(request, "start-after");
	list->token = list->v2 ? request_query(request, "continuation-token") : NULL;
	list->max_keys = LIST_MAX_KEYS;
	list->fault = request->fault != NULL ? &request->fault->list : &no_fault;
	list->url = encoding != NULL && !list->fault->no_encoding;
	if ((encoding != NULL && strcmp(encoding, "url") != 0) ||
	    (type != NULL && strcmp(type, "2") != 0) ||
	    (max != NULL && !parse_u64(max, &list->max_keys))) {
		answer_error(request, "InvalidArgument");
		return false;
	}
	if (list->max_keys > LIST_MAX_KEYS)
		list->max_keys = LIST_MAX_KEYS;
	list->query.max = (size_t)list->max_keys;
	return read_position(request, list);
}

/* A name in the page's encoding. */
static void add_name(const struct request *request, const struct list_request *list,
		     const char *element, const char *name, size_t len)
{
	struct buf *b = (struct buf *)&request->answer.bytes, encoded = {0};

	if (!list->url) {
		xml_element_bytes(b, element, name, len);
		return;
	}
	for (size_t i = 0; i < len; i++) {
		if (name[i] == ' ' && !request->dialect->blank_is_percent20)
			buf_puts(&encoded, "+");
		else
			url_encode(&encoded, &name[i], 1, true);
	}
	buf_printf(b, "<%s>%s</%s>", element, encoded.data != NULL ? encoded.data : "", element);
	buf_finish(&encoded);
}

static void add_item(struct request *request, const struct list_request *list,
		     const struct list_item *item)
{
	struct buf *b = &request->answer.bytes;

	if (item->is_prefix) {
		buf_puts(b, "<CommonPrefixes>");
		add_name(request, list, "Prefix", item->name, item->len);
		buf_puts(b, "</CommonPrefixes>");
		return;
	}
	buf_puts(b, "<Contents>");
	add_name(request, list, "Key", item->name, item->len);
	xml_date(b, item->mtime_ms);
	xml_etag(b, item->etag);
	xml_number(b, "Size", item->size);
	if (!list->v2)
		buf_puts(b, "<Owner><ID>s3d</ID><DisplayName>s3d</DisplayName></Owner>");
	xml_element(b, "StorageClass", item->storage_class);
	buf_puts(b, "</Contents>");
}

static void add_items(struct request *request, const struct list_request *list,
		      const struct list_page *page)
{
	/* as S3 does: all keys, then all prefixes */
	for (int prefixes = 0; prefixes < 2; prefixes++) {
		for (size_t i = 0; i < page->count; i++) {
			size_t at = list->fault->unsorted ? page->count - 1 - i : i;
			const struct list_item *item = &page->items[at];

			if (item->is_prefix != (prefixes != 0))
				continue;
			add_item(request, list, item);
			if (list->fault->duplicate)
				add_item(request, list, item);
		}
	}
	if (list->fault->raw_entries != NULL)
		buf_puts(&request->answer.bytes, list->fault->raw_entries);
}

/* Where the next page begins, in the form of the version asked. */
static void add_next(struct request *request, const struct list_request *list)
{
	struct buf *b = &request->answer.bytes;
	CLEANUP(cleanup_free) char *token = NULL;

	if (!list->v2) {
		if (list->fault->same_token && list->marker != NULL)
			add_name(request, list, "NextMarker", list->marker, strlen(list->marker));
		else if (list->query.delimiter_len > 0 || list->fault->same_token)
			add_name(request, list, "NextMarker", list->next_name, list->next_len);
		return;
	}
	if (list->fault->same_token && list->token != NULL) {
		xml_element(b, "NextContinuationToken", list->token);
		return;
	}
	token = token_make(request, list->next_name, list->next_len);
	xml_element(b, "NextContinuationToken", token);
}

static void add_head(struct request *request, const struct list_request *list)
{
	struct buf *b = &request->answer.bytes;

	xml_element(b, "Name", request->bucket_name);
	add_name(request, list, "Prefix", list->query.prefix, list->query.prefix_len);
	if (list->v2 && list->token != NULL)
		xml_element(b, "ContinuationToken", list->token);
	if (list->v2 && list->start_after != NULL)
		add_name(request, list, "StartAfter", list->start_after, strlen(list->start_after));
	if (!list->v2)
		add_name(request, list, "Marker", or_empty(list->marker),
			 strlen(or_empty(list->marker)));
	xml_number(b, "MaxKeys", list->max_keys);
	if (list->query.delimiter_len > 0)
		add_name(request, list, "Delimiter", list->query.delimiter,
			 list->query.delimiter_len);
	if (list->url && !list->fault->encoding_last)
		xml_element(b, "EncodingType", "url");
}

static void add_page(struct request *request, struct list_request *list, struct list_page *page)
{
	const struct list_fault *fault = list->fault;
	struct buf *b = answer_xml(request);
	bool truncated =
	    page->truncated || fault->same_token || fault->no_token || fault->empty_page;

	list->next_name = list->query.after;
	list->next_len = list->query.after_len;
	if (page->count > 0 && !fault->empty_page) {
		list->next_name = page->items[page->count - 1].name;
		list->next_len = page->items[page->count - 1].len;
	}
	if (fault->empty_page)
		list_page_finish(page);
	buf_puts(b, "<ListBucketResult xmlns=\"" S3_NAMESPACE "\">");
	add_head(request, list);
	if (list->v2)
		xml_number(b, "KeyCount", page->count);
	xml_element(b, "IsTruncated", truncated ? "true" : "false");
	if (truncated && !fault->no_token)
		add_next(request, list);
	add_items(request, list, page);
	if (list->url && fault->encoding_last)
		xml_element(b, "EncodingType", "url");
	buf_puts(b, "</ListBucketResult>");
}

void op_list_objects(struct request *request)
{
	struct list_request list = {0};
	struct list_page page = {0};

	if (read_parameters(request, &list)) {
		store_list(request->s3d->store, request->bucket, &list.query, &page);
		add_page(request, &list, &page);
	}
	list_page_finish(&page);
	free(list.after);
}
