/* SPDX-License-Identifier: Apache-2.0 */
#include "played.h"

#include <stdio.h>

#include <pailfs/text.h>

static uint64_t next_random(struct played *p)
{
	p->random ^= p->random << 13;
	p->random ^= p->random >> 7;
	p->random ^= p->random << 17;
	return p->random;
}

static void new_etag(struct played *p, char dst[S3_ETAG_MAX])
{
	snprintf(dst, S3_ETAG_MAX, "\"%016llx%016llx\"", (unsigned long long)next_random(p),
		 (unsigned long long)next_random(p));
}

static struct played_object *find(struct played *p, const char *key, size_t n)
{
	struct played_object *o;

	for (o = p->objects; o != NULL; o = o->next)
		if (strlen(o->key) == n && memcmp(o->key, key, n) == 0)
			return o;
	return NULL;
}

static struct played_upload *find_upload(struct played *p, const char *id)
{
	struct played_upload *u;

	for (u = p->uploads; u != NULL; u = u->next)
		if (strcmp(u->id, id) == 0)
			return u;
	return NULL;
}

static struct played_object *store(struct played *p, const char *key, size_t n, void *bytes,
				   uint64_t size)
{
	struct played_object *o = find(p, key, n);

	if (o == NULL) {
		o = calloc(1, sizeof(*o));
		o->key = strndup(key, n);
		o->next = p->objects;
		p->objects = o;
	}
	free(o->bytes);
	free(o->content_type);
	o->content_type = NULL;
	o->nonce[0] = '\0';
	o->bytes = bytes;
	o->size = size;
	new_etag(p, o->etag);
	return o;
}

static void take_attributes(const struct s3_attributes *a, char nonce[NONCE_BYTES],
			    char **content_type)
{
	unsigned i;

	for (i = 0; i < a->meta_count; i++)
		if (strcmp(a->meta[i].name, NONCE_META) == 0)
			snprintf(nonce, NONCE_BYTES, "%s", a->meta[i].value);
	*content_type = a->content_type != NULL ? strdup(a->content_type) : NULL;
}

/* The bytes of a body, with its hashes checked. */
static unsigned char *read_body(struct played *p, const struct s3_body *b)
{
	unsigned char *bytes = malloc(b->length + 1);
	struct s3_hash hash;
	char hex[S3_SHA256_HEX_BYTES];
	uint64_t at = 0;
	int i;

	if (b->iov_count == 0 && b->length > 0)
		assert_int_equal(pread(b->fd, bytes, b->length, (off_t)b->offset), b->length);
	for (i = 0; i < b->iov_count; i++) {
		assert_true(at + b->iov[i].iov_len <= b->length);
		memcpy(bytes + at, b->iov[i].iov_base, b->iov[i].iov_len);
		at += b->iov[i].iov_len;
	}
	assert_true(b->iov_count == 0 || at == b->length);
	if (p->https) {
		assert_true(b->length == 0 || b->has_crc32c);
		assert_true(b->length == 0 || s3_crc32c(0, bytes, b->length) == b->crc32c);
	} else if (b->length > 0) {
		assert_int_equal(s3_hash_init(&hash), 0);
		s3_hash_update(&hash, bytes, b->length);
		s3_hash_hex(&hash, hex);
		s3_hash_finish(&hash);
		assert_string_equal(hex, b->sha256);
	}
	return bytes;
}

static int check_condition(const struct s3_op *op, const struct played_object *o)
{
	if (op->if_none_match_any && o != NULL)
		return -EEXIST;
	if (op->if_match[0] != '\0' && (o == NULL || strcmp(o->etag, op->if_match) != 0))
		return -ESTALE;
	return 0;
}

static int serve_put(struct played *p, struct s3_op *op)
{
	struct played_object *o = find(p, op->key, op->key_length);
	unsigned char *bytes = read_body(p, &op->body);
	int rc = check_condition(op, o);

	if (rc < 0) {
		free(bytes);
		return rc;
	}
	o = store(p, op->key, op->key_length, bytes, op->body.length);
	take_attributes(&op->attributes, o->nonce, &o->content_type);
	memcpy(op->object.etag, o->etag, S3_ETAG_MAX);
	return 0;
}

static struct played_upload *begin_upload(struct played *p, const char *key, size_t n)
{
	struct played_upload *u = calloc(1, sizeof(*u));

	u->key = strndup(key, n);
	snprintf(u->id, sizeof(u->id), "id-%llx", (unsigned long long)next_random(p));
	u->parts = calloc(S3_PARTS_MAX, sizeof(*u->parts));
	u->initiated.tv_sec = time(NULL);
	u->next = p->uploads;
	p->uploads = u;
	return u;
}

static int serve_create(struct played *p, struct s3_op *op)
{
	struct played_upload *u = begin_upload(p, op->key, op->key_length);

	take_attributes(&op->attributes, u->nonce, &u->content_type);
	op->created_id = u->id;
	return 0;
}

static void set_part(struct played *p, struct s3_op *op, struct played_upload *u, void *bytes,
		     uint64_t size)
{
	struct played_part *part = &u->parts[op->part_number - 1];

	free(part->bytes);
	part->bytes = bytes;
	part->size = size;
	new_etag(p, part->etag);
	memcpy(op->object.etag, part->etag, S3_ETAG_MAX);
}

static int serve_part(struct played *p, struct s3_op *op)
{
	struct played_upload *u = find_upload(p, op->upload_id);

	assert_in_range(op->part_number, 1, S3_PARTS_MAX);
	if (u == NULL)
		return -ENXIO;
	assert_memory_equal(u->key, op->key, op->key_length);
	set_part(p, op, u, read_body(p, &op->body), op->body.length);
	return 0;
}

static int serve_part_copy(struct played *p, struct s3_op *op)
{
	struct played_upload *u = find_upload(p, op->upload_id);
	struct played_object *o = find(p, op->copy.key, op->copy.key_length);
	void *bytes;

	if (u == NULL)
		return -ENXIO;
	if (o == NULL)
		return -ENOENT;
	if (strcmp(o->etag, op->copy.if_match) != 0)
		return -ESTALE;
	assert_true(o->size > 5000000);
	assert_true(op->copy.length > 0 && op->copy.offset + op->copy.length <= o->size);
	bytes = malloc(op->copy.length);
	memcpy(bytes, o->bytes + op->copy.offset, op->copy.length);
	set_part(p, op, u, bytes, op->copy.length);
	return 0;
}

static void remove_upload(struct played *p, struct played_upload *u)
{
	struct played_upload **at = &p->uploads;
	unsigned i;

	while (*at != u)
		at = &(*at)->next;
	*at = u->next;
	for (i = 0; i < S3_PARTS_MAX; i++)
		free(u->parts[i].bytes);
	free(u->parts);
	free(u->content_type);
	free(u->key);
	free(u);
}

static int serve_complete(struct played *p, struct s3_op *op)
{
	struct played_upload *u = find_upload(p, op->upload_id);
	struct played_object *o = find(p, op->key, op->key_length);
	uint64_t size = 0;
	unsigned char *bytes;
	unsigned i;
	int rc;

	if (u == NULL)
		return -ENXIO;
	rc = check_condition(op, o);
	if (rc < 0)
		return rc;
	for (i = 0; i < op->part_count; i++) {
		const struct played_part *part = &u->parts[op->parts[i].number - 1];

		assert_int_equal(op->parts[i].number, i + 1);
		if (strcmp(part->etag, op->parts[i].etag) != 0)
			return -EIO; /* InvalidPart */
		assert_true(part->size == op->parts[i].size);
		assert_true(i + 1 == op->part_count || part->size >= 5 * MIB);
		size += part->size;
	}
	bytes = malloc(size + 1);
	size = 0;
	for (i = 0; i < op->part_count; i++) {
		memcpy(bytes + size, u->parts[i].bytes, u->parts[i].size);
		size += u->parts[i].size;
	}
	o = store(p, op->key, op->key_length, bytes, size);
	memcpy(o->nonce, u->nonce, NONCE_BYTES);
	o->content_type = u->content_type;
	u->content_type = NULL;
	memcpy(op->object.etag, o->etag, S3_ETAG_MAX);
	remove_upload(p, u);
	return 0;
}

static int serve_abort(struct played *p, struct s3_op *op)
{
	struct played_upload *u = find_upload(p, op->upload_id);

	if (u == NULL)
		return -ENXIO;
	if (p->leftovers > 0)
		p->leftovers--;
	else
		remove_upload(p, u);
	return 0;
}

static int serve_head(struct played *p, struct s3_op *op)
{
	struct played_object *o = find(p, op->key, op->key_length);
	struct s3_meta *meta;

	if (o == NULL)
		return -ENOENT;
	memcpy(op->object.etag, o->etag, S3_ETAG_MAX);
	op->object.size = o->size;
	if (o->nonce[0] != '\0') {
		static struct s3_meta kept[64];
		static unsigned next;

		meta = &kept[next++ % 64];
		*meta = (struct s3_meta){NONCE_META, o->nonce};
		op->found.meta = meta;
		op->found.meta_count = 1;
	}
	return 0;
}

static int serve_list_uploads(struct played *p, struct s3_op *op)
{
	static struct s3_upload entries[64];
	struct played_upload *u;

	op->upload_page.uploads = entries;
	op->upload_page.upload_count = 0;
	for (u = p->uploads; u != NULL; u = u->next)
		if (strncmp(u->key, op->prefix, op->prefix_length) == 0)
			entries[op->upload_page.upload_count++] =
			    (struct s3_upload){u->key, strlen(u->key), u->id, u->initiated};
	return 0;
}

/* Without the lock: the sink may take others. Objects that are read are not replaced meanwhile. */
static int serve_get(struct played *p, struct s3_op *op)
{
	struct played_object *o;
	int rc = 0;

	lock_acquire(&p->lock);
	o = find(p, op->key, op->key_length);
	if (o == NULL || strcmp(o->etag, op->if_match) != 0)
		rc = -ESTALE;
	lock_release(&p->lock);
	while (rc == 0 && op->received < op->length) {
		size_t n = MIN((size_t)16384, op->length - op->received);

		rc = op->sink(op->sink_ctx, o->bytes + op->offset + op->received, n);
		op->received += n;
	}
	return rc;
}

static int serve(struct played *p, struct s3_op *op)
{
	switch (op->verb) {
	case S3_PUT_OBJECT:
		return serve_put(p, op);
	case S3_CREATE_MULTIPART:
		return serve_create(p, op);
	case S3_UPLOAD_PART:
		return serve_part(p, op);
	case S3_UPLOAD_PART_COPY:
		return serve_part_copy(p, op);
	case S3_COMPLETE_MULTIPART:
		return serve_complete(p, op);
	case S3_ABORT_MULTIPART:
		return serve_abort(p, op);
	case S3_LIST_PARTS:
		return find_upload(p, op->upload_id) == NULL ? -ENXIO : 0;
	case S3_LIST_UPLOADS:
		return serve_list_uploads(p, op);
	case S3_HEAD_OBJECT:
		return serve_head(p, op);
	default:
		fail();
		return -EINVAL;
	}
}

/* Ends an op. What it points to stays until done has returned. */
static void answer(struct played *p, struct played_op o)
{
	struct s3_op *s3 = &o.op->s3;
	struct played_fault fault = {0};
	int rc = -ECANCELED;

	lock_acquire(&p->lock);
	if (!o.cancelled) {
		unsigned n = ++p->served[s3->verb];

		if (p->fault != NULL)
			fault = p->fault(p, o.op, n);
		if (s3->verb != S3_GET_OBJECT && (fault.err == 0 || fault.done))
			rc = serve(p, s3);
	}
	lock_release(&p->lock);
	if (s3->verb == S3_GET_OBJECT && !o.cancelled)
		rc = serve_get(p, s3);
	s3->result.err = fault.err != 0 ? fault.err : rc;
	s3->ambiguous = s3->ambiguous || fault.ambiguous;
	o.op->done(o.op);
}

static void *serve_all(void *ctx)
{
	struct played *p = ctx;

	lock_acquire(&p->lock);
	for (;;) {
		size_t i, first = SIZE_MAX;

		for (i = 0; i < p->queued && first == SIZE_MAX; i++)
			if (p->queue[i].cancelled)
				first = i;
		if (first == SIZE_MAX && p->queued > 0 && !p->held)
			first = next_random(p) % p->queued;
		if (first == SIZE_MAX && p->stopping)
			break;
		if (first == SIZE_MAX) {
			cond_wait(&p->changed, &p->lock);
			continue;
		}
		struct played_op o = p->queue[first];

		p->queue[first] = p->queue[--p->queued];
		lock_release(&p->lock);
		answer(p, o);
		lock_acquire(&p->lock);
		cond_broadcast(&p->changed);
	}
	lock_release(&p->lock);
	return NULL;
}

static void submit(void *ctx, struct xfer_op *op)
{
	struct played *p = ctx;

	SCOPED_LOCK(&p->lock);
	assert_true(p->queued < ARRAY_SIZE(p->queue));
	p->queue[p->queued++] = (struct played_op){op, false};
	p->submitted[op->s3.verb]++;
	cond_broadcast(&p->changed);
}

static void cancel(void *ctx, struct xfer_op *op)
{
	struct played *p = ctx;
	size_t i;

	SCOPED_LOCK(&p->lock);
	for (i = 0; i < p->queued; i++)
		if (p->queue[i].op == op)
			p->queue[i].cancelled = true;
	cond_broadcast(&p->changed);
}

static void promote(void *ctx, struct xfer_op *op)
{
}

static void target(void *ctx, struct s3_target *ret)
{
	struct played *p = ctx;

	memset(ret, 0, sizeof(*ret));
	ret->https = ret->unsigned_payload = ret->checksum_crc32c = p->https;
}

static uint64_t flow_new(void *ctx)
{
	struct played *p = ctx;

	SCOPED_LOCK(&p->lock);
	return ++p->next_flow;
}

void played_init(struct played *p, uint64_t memory_bytes, uint64_t seed)
{
	memset(p, 0, sizeof(*p));
	p->random = seed * 2654435761u + 88172645463325252u;
	p->source = (struct upload_source){p, submit, cancel, target, flow_new};
	p->cache_source = (struct cache_source){p, submit, cancel, promote};
	lock_init(&p->lock, LOCK_XFER);
	cond_init(&p->changed);
	assert_int_equal(budget_create(memory_bytes, &p->budget), 0);
	assert_int_equal(cache_create_over(p->budget, &p->cache_source, clock_system(), &p->cache),
			 0);
	assert_int_equal(pthread_create(&p->thread, NULL, serve_all, p), 0);
}

void played_finish(struct played *p)
{
	cache_destroy(p->cache);
	lock_acquire(&p->lock);
	p->stopping = true;
	p->held = false;
	cond_broadcast(&p->changed);
	lock_release(&p->lock);
	pthread_join(p->thread, NULL);
	budget_destroy(p->budget);
	while (p->uploads != NULL)
		remove_upload(p, p->uploads);
	while (p->objects != NULL) {
		struct played_object *o = p->objects;

		p->objects = o->next;
		free(o->key);
		free(o->bytes);
		free(o->content_type);
		free(o);
	}
	cond_finish(&p->changed);
	lock_finish(&p->lock);
}

void played_hold(struct played *p, bool held)
{
	SCOPED_LOCK(&p->lock);
	p->held = held;
	cond_broadcast(&p->changed);
}

void played_wait(struct played *p, enum s3_verb verb, unsigned n)
{
	SCOPED_LOCK(&p->lock);
	while (p->submitted[verb] < n)
		cond_wait(&p->changed, &p->lock);
}

unsigned played_served(struct played *p, enum s3_verb verb)
{
	SCOPED_LOCK(&p->lock);
	return p->served[verb];
}

const struct played_object *played_find(struct played *p, const char *key)
{
	SCOPED_LOCK(&p->lock);
	return find(p, key, strlen(key));
}

void played_put(struct played *p, const char *key, const void *bytes, uint64_t size)
{
	void *copy = malloc(size + 1);

	memcpy(copy, bytes, size);
	SCOPED_LOCK(&p->lock);
	store(p, key, strlen(key), copy, size);
}

unsigned played_uploads(struct played *p)
{
	struct played_upload *u;
	unsigned count = 0;

	SCOPED_LOCK(&p->lock);
	for (u = p->uploads; u != NULL; u = u->next)
		count++;
	return count;
}

const char *played_begin_upload(struct played *p, const char *key, time_t at_s)
{
	struct played_upload *u;

	SCOPED_LOCK(&p->lock);
	u = begin_upload(p, key, strlen(key));
	u->initiated.tv_sec = at_s;
	return u->id;
}
