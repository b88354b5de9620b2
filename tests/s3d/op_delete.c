/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DeleteObjects: up to 1,000 keys in one XML body that a digest must vouch for; rights are checked
 * and errors answered key by key, inside a 200.
 */
#include "op.h"
#include "xml_read.h"

#include <stdlib.h>
#include <string.h>

#define DELETE_MAX_KEYS 1000

static void delete_one(struct request *request, struct buf *b, const char *key, const char *etag,
		       bool quiet)
{
	struct buf resource = {0};
	const char *code = NULL;
	int err;

	buf_printf(&resource, "%s/%s", request->bucket_name, key);
	if (!request_may(request, request->bucket, "s3:DeleteObject", resource.data, NULL)) {
		code = "AccessDenied";
	} else {
		err = store_delete(request->s3d->store, request->bucket, key, strlen(key), etag);
		if (err != 0)
			code = error_code_of(err);
	}
	buf_finish(&resource);
	if (code != NULL) {
		buf_puts(b, "<Error>");
		xml_element(b, "Key", key);
		xml_element(b, "Code", code);
		xml_element(b, "Message", code);
		buf_puts(b, "</Error>");
	} else if (!quiet) {
		buf_puts(b, "<Deleted>");
		xml_element(b, "Key", key);
		buf_puts(b, "</Deleted>");
	}
}

/* The number of keys, or -1 when an object has no key or an element is unknown. */
static int count_keys(struct xml_doc *doc)
{
	int count = 0;

	for (struct xml_node *node = xml_child(doc, NULL, "Object"); node != NULL;
	     node = xml_next(node, "Object")) {
		if (xml_child(doc, node, "Key") == NULL)
			return -1;
		count++;
	}
	return count;
}

void op_delete_objects(struct request *request)
{
	struct xml_doc *doc;
	char *quiet;
	struct buf *b;
	int count;

	if (!intake_has_digest(request->intake) &&
	    !(request->dialect->no_checksums &&
	      request_header(request, "x-amz-sdk-checksum-algorithm") != NULL)) {
		answer_error_detail(request, "InvalidRequest",
				    "Missing required header for this request: Content-MD5", "");
		return;
	}
	doc = xml_parse(intake_text(request->intake), "Delete");
	count = doc != NULL ? count_keys(doc) : -1;
	if (count < 1 || count > DELETE_MAX_KEYS) {
		answer_error(request, "MalformedXML");
		xml_destroy(doc);
		return;
	}
	quiet = xml_child_text(doc, NULL, "Quiet");
	b = answer_xml(request);
	buf_puts(b, "<DeleteResult xmlns=\"" S3_NAMESPACE "\">");
	for (struct xml_node *node = xml_child(doc, NULL, "Object"); node != NULL;
	     node = xml_next(node, "Object")) {
		char *key = xml_child_text(doc, node, "Key");
		char *etag = xml_child_text(doc, node, "ETag");

		delete_one(request, b, key, etag, quiet != NULL && strcmp(quiet, "true") == 0);
		free(key);
		free(etag);
	}
	buf_puts(b, "</DeleteResult>");
	free(quiet);
	xml_destroy(doc);
}
