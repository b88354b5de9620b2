/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DeleteObjects. The builder on the sender's thread, the reader on the loop's.
 *
 * It is asked quietly: the answer names only the keys that were not deleted. Those whose error may
 * pass stay pending, and the next try has them alone. An error for a key that nobody asked about
 * fails the whole request: some key was not deleted, and nobody knows which.
 *
 * The body must come with a digest: Content-MD5, which every server knows, and the CRC32C header,
 * which directory buckets want.
 */
#include "deletes.h"

#include <errno.h>
#include <string.h>

#include "checksum.h"
#include "error.h"
#include "hash.h"
#include "parse.h"
#include "xml_text.h"

static int add_key(struct buf *xml, const struct s3_delete *d)
{
	int r = d->key && d->key_length > 0 ? 0 : -EINVAL;

	if (d->key_length > S3_KEY_MAX)
		r = -ENAMETOOLONG;
	r = r ?: buf_append_str(xml, "<Object><Key>");
	r = r ?: xml_text_append(xml, d->key, d->key_length);
	r = r ?: buf_append_str(xml, "</Key>");
	if (d->etag) {
		r = r ?: buf_append_str(xml, "<ETag>");
		r = r ?: xml_text_append(xml, d->etag, strlen(d->etag));
		r = r ?: buf_append_str(xml, "</ETag>");
	}
	return r ?: buf_append_str(xml, "</Object>");
}

static int add_keys(struct s3_op *op, struct buf *xml)
{
	int r;

	buf_clear(xml);
	r = buf_append_str(xml, "<Delete xmlns=\"" S3_NAMESPACE "\">");
	for (unsigned i = 0; i < op->delete_count && r == 0; i++)
		if (op->deletes[i].state == S3_DELETE_PENDING)
			r = add_key(xml, &op->deletes[i]);
	return r ?: buf_append_str(xml, "<Quiet>true</Quiet></Delete>");
}

/* Those that were named as not deleted in the last try are asked for again. */
static void begin_keys(struct s3_op *op, bool first)
{
	for (unsigned i = 0; i < op->delete_count; i++) {
		struct s3_delete *d = &op->deletes[i];

		if (first)
			d->err = -EIO;
		if (first || d->state == S3_DELETE_AGAIN)
			d->state = S3_DELETE_PENDING;
	}
}

int deletes_build(struct s3_op *op, struct request *r)
{
	struct buf *xml = &op->parse->text;
	char md5[HASH_MD5_TEXT_BYTES], crc[CHECKSUM_TEXT_BYTES];
	int err;

	if (op->delete_count < 1 || op->delete_count > S3_DELETES_MAX)
		return -EINVAL;
	begin_keys(op, xml->length == 0);
	err = add_keys(op, xml);
	if (err < 0)
		return err;
	request_query(r, "delete", NULL, 0);
	request_header(r, "Content-Type", "application/xml");
	if (hash_md5_base64(xml->data, xml->length, md5) == 0)
		request_header(r, "Content-MD5", "%s", md5);
	if (request_uses(r, r->target->checksum_crc32c, S3_FEATURE_CHECKSUM))
		request_header(r, "x-amz-checksum-crc32c", "%s",
			       checksum_text(s3_crc32c(0, xml->data, xml->length), crc));
	return 0;
}

/* ---- the answer ---- */

/* The <Error> being read, and what the ones before it said. */
struct key_error {
	struct error_body error;
	char key[S3_KEY_MAX];
	size_t key_length;
	unsigned next;	     /* where the search for the next key begins */
	enum s3_retry retry; /* of the keys that may pass */
};

static int on_start(struct s3_op *op, unsigned depth, const char *name)
{
	struct key_error **k = &op->parse->key_error;

	if (depth != 2 || strcmp(name, "Error") != 0)
		return 0;
	if (!*k)
		*k = arena_alloc(&op->parse->arena, sizeof(**k));
	if (!*k)
		return -ENOMEM;
	(*k)->error = (struct error_body){0};
	(*k)->key_length = 0;
	return 0;
}

static void read_field(struct key_error *k, const struct document_element *e)
{
	error_body_element(&k->error, e->name, e->text, e->length);
	if (strcmp(e->name, "Key") != 0 || e->bad || e->length > sizeof(k->key))
		return;
	memcpy(k->key, e->text, e->length);
	k->key_length = e->length;
}

/* Errors come in the order of the request, mostly: the search goes on where the last one ended. */
static struct s3_delete *find(struct s3_op *op, struct key_error *k)
{
	for (unsigned i = 0; i < op->delete_count; i++) {
		unsigned at = (k->next + i) % op->delete_count;
		struct s3_delete *d = &op->deletes[at];

		if (d->key_length != k->key_length || memcmp(d->key, k->key, k->key_length) != 0)
			continue;
		k->next = at + 1;
		return d;
	}
	return NULL;
}

/* A key that is not there was deleted by an earlier try, or is somebody else's matter. */
static void settle(struct s3_op *op, struct s3_delete *d, const struct error_class *class)
{
	struct key_error *k = op->parse->key_error;

	d->err = class->err;
	d->state = class->retry == S3_RETRY_NO ? S3_DELETE_FAILED : S3_DELETE_AGAIN;
	if (d->err == -ENOENT && (!d->etag || op->ambiguous)) {
		d->err = 0;
		d->state = S3_DELETE_DONE;
	}
	if (d->state == S3_DELETE_AGAIN && k->retry != S3_RETRY_THROTTLE)
		k->retry = class->retry == S3_RETRY_THROTTLE ? S3_RETRY_THROTTLE : S3_RETRY_BACKOFF;
}

static int on_element(struct s3_op *op, const struct document_element *e)
{
	struct key_error *k = op->parse->key_error;
	struct error_class class;
	struct s3_delete *d;

	if (e->depth == 3 && k)
		read_field(k, e);
	if (e->depth != 2 || strcmp(e->name, "Error") != 0)
		return 0;
	class = error_classify(&(struct error_input){
	    .verb = op->verb, .http = HTTP_OK, .status = 200, .code = k->error.code});
	d = find(op, k);
	if (!d) {
		op_fail(op, class.err, S3_RETRY_NO, k->error.code,
			"an error for a key that was not asked for: %s", k->error.message);
		return -EBADMSG;
	}
	settle(op, d, &class);
	return 0;
}

static int on_end(struct s3_op *op)
{
	struct key_error *k = op->parse->key_error;
	int err = 0;

	for (unsigned i = 0; i < op->delete_count; i++) {
		struct s3_delete *d = &op->deletes[i];

		if (d->state == S3_DELETE_AGAIN)
			err = d->err;
		if (d->state != S3_DELETE_PENDING)
			continue;
		d->state = S3_DELETE_DONE;
		d->err = 0;
	}
	if (err == 0)
		return 0;
	return op_fail(op, err, k->retry, k->error.code, "some keys were not deleted: %s",
		       k->error.message);
}

const struct document_kind deletes_document = {
    .root = "DeleteResult",
    .start = on_start,
    .element = on_element,
    .end = on_end,
};
