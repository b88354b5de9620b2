/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unfinished multipart uploads: DIR/b/BUCKET/u/ID/ holds head.json (the object to be) and N.json
 * (part N; both are objects to object.c). Parts keep their blobs, and Complete strings their
 * slices together: no byte is copied. Any thread calls; everything runs under the lock of the
 * store, so a Complete and its conditions are one instant.
 */
#include "upload.h"
#include "checksum.h"
#include "store_internal.h"

#include <dirent.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct part {
	unsigned number;
	struct object *object;
};

struct upload {
	char id[UPLOAD_ID_SIZE];
	struct object *model;
	struct part *parts; /* by number */
	size_t count;
};

static char *upload_path(const struct bucket *bucket, const char *id, const char *file)
{
	struct buf path = {0};

	buf_printf(&path, "%s/u/%s%s%s", bucket->dir, id, file[0] != '\0' ? "/" : "", file);
	return path.data;
}

static int upload_order(const void *a, const void *b)
{
	const struct upload *x = *(struct upload *const *)a, *y = *(struct upload *const *)b;
	int order =
	    bytes_compare(x->model->key, x->model->key_len, y->model->key, y->model->key_len);

	return order != 0 ? order : strcmp(x->id, y->id);
}

static void upload_add_locked(struct bucket *bucket, struct upload *upload)
{
	bucket->uploads =
	    xrealloc(bucket->uploads, (bucket->upload_count + 1) * sizeof(struct upload *));
	bucket->uploads[bucket->upload_count++] = upload;
	qsort(bucket->uploads, bucket->upload_count, sizeof(struct upload *), upload_order);
}

static struct upload *upload_find_locked(const struct bucket *bucket, const char *id)
{
	for (size_t i = 0; i < bucket->upload_count; i++)
		if (strcmp(bucket->uploads[i]->id, id) == 0)
			return bucket->uploads[i];
	return NULL;
}

static void upload_destroy(struct upload *upload)
{
	for (size_t i = 0; i < upload->count; i++)
		object_unref(upload->parts[i].object);
	object_unref(upload->model);
	free(upload->parts);
	free(upload);
}

/* Removes the upload from memory and disk. */
static void upload_remove_locked(struct bucket *bucket, struct upload *upload)
{
	CLEANUP(cleanup_free) char *head = upload_path(bucket, upload->id, "head.json");
	CLEANUP(cleanup_free) char *dir = upload_path(bucket, upload->id, "");
	size_t kept = 0;

	for (size_t i = 0; i < upload->count; i++) {
		char name[32];
		char *path;

		snprintf(name, sizeof(name), "%u.json", upload->parts[i].number);
		path = upload_path(bucket, upload->id, name);
		unlink(path);
		free(path);
	}
	unlink(head);
	rmdir(dir);
	for (size_t i = 0; i < bucket->upload_count; i++)
		if (bucket->uploads[i] != upload)
			bucket->uploads[kept++] = bucket->uploads[i];
	bucket->upload_count = kept;
	upload_destroy(upload);
}

int upload_create(struct store *store, struct bucket *bucket, struct object *model,
		  char ret_id[UPLOAD_ID_SIZE])
{
	struct upload *upload = xcalloc(1, sizeof(*upload));
	CLEANUP(cleanup_free) char *dir = NULL;
	CLEANUP(cleanup_free) char *head = NULL;
	int err = 0;

	random_hex(upload->id, 32);
	upload->model = model;
	dir = upload_path(bucket, upload->id, "");
	head = upload_path(bucket, upload->id, "head.json");
	if (mkdir(dir, 0700) != 0)
		err = -errno;
	if (err == 0)
		err = object_save(model, head);
	if (err != 0) {
		upload_destroy(upload);
		return err;
	}
	memcpy(ret_id, upload->id, UPLOAD_ID_SIZE);
	SCOPED_LOCK(store);
	upload_add_locked(bucket, upload);
	return 0;
}

struct object *upload_model(struct store *store, struct bucket *bucket, const char *key,
			    size_t key_len, const char *id)
{
	SCOPED_LOCK(store);
	struct upload *upload = upload_find_locked(bucket, id);

	if (upload == NULL ||
	    bytes_compare(upload->model->key, upload->model->key_len, key, key_len) != 0)
		return NULL;
	return object_ref(upload->model);
}

static void part_set(struct upload *upload, unsigned number, struct object *object)
{
	size_t at = 0;

	while (at < upload->count && upload->parts[at].number < number)
		at++;
	if (at < upload->count && upload->parts[at].number == number) {
		object_unref(upload->parts[at].object);
		upload->parts[at].object = object;
		return;
	}
	upload->parts = xrealloc(upload->parts, (upload->count + 1) * sizeof(*upload->parts));
	memmove(&upload->parts[at + 1], &upload->parts[at],
		(upload->count - at) * sizeof(*upload->parts));
	upload->parts[at] = (struct part){number, object};
	upload->count++;
}

int upload_put_part(struct store *store, struct bucket *bucket, const char *id, unsigned number,
		    struct object *part)
{
	SCOPED_LOCK(store);
	struct upload *upload = upload_find_locked(bucket, id);
	int err = -ENOENT;

	if (upload != NULL) {
		CLEANUP(cleanup_free) char *path = NULL;
		char name[32];

		snprintf(name, sizeof(name), "%u.json", number);
		path = upload_path(bucket, id, name);
		err = object_save(part, path);
	}
	if (err != 0) {
		object_unref(part);
		return err;
	}
	part_set(upload, number, part);
	return 0;
}

int upload_abort(struct store *store, struct bucket *bucket, const char *id)
{
	SCOPED_LOCK(store);
	struct upload *upload = upload_find_locked(bucket, id);

	if (upload == NULL)
		return -ENOENT;
	upload_remove_locked(bucket, upload);
	return 0;
}

static struct object *part_find(const struct upload *upload, unsigned number)
{
	for (size_t i = 0; i < upload->count; i++)
		if (upload->parts[i].number == number)
			return upload->parts[i].object;
	return NULL;
}

static int claim_order(const void *a, const void *b)
{
	const struct part_claim *x = a, *y = b;

	return x->number < y->number ? -1 : x->number > y->number;
}

static int claim_check(const struct upload *upload, struct part_claim *claim)
{
	struct object *part = part_find(upload, claim->number);

	if (part == NULL || claim->etag == NULL || strcmp(claim->etag, "*") == 0 ||
	    !etag_matches(claim->etag, part->etag))
		return -EINVAL;
	for (size_t i = 0; i < claim->checksums.count; i++) {
		const char *have = fields_get(&part->checksums, claim->checksums.v[i].name);

		if (have == NULL || strcmp(have, claim->checksums.v[i].value) != 0)
			return -EINVAL;
	}
	claim->part = part;
	return 0;
}

/* Every rule about the list of parts; finds the parts. */
static int claims_check(const struct upload *upload, struct part_claim *claims, size_t count,
			const struct complete_rules *rules)
{
	uint64_t total = 0, first = 0;

	if (rules->any_order)
		qsort(claims, count, sizeof(*claims), claim_order);
	for (size_t i = 1; i < count; i++)
		if (claims[i].number <= claims[i - 1].number)
			return -ERANGE;
	for (size_t i = 0; i < count; i++) {
		int err = claim_check(upload, &claims[i]);
		uint64_t size;

		if (err != 0)
			return err;
		size = claims[i].part->size;
		total += size;
		if (i == 0)
			first = size;
		if (i + 1 < count && size < PART_MIN_BYTES)
			return -EFBIG;
		if (rules->equal_parts && (i + 1 < count ? size != first : size > first))
			return -EPROTO;
	}
	return rules->has_size && rules->size != total ? -EMSGSIZE : 0;
}

/* The checksum of checksums "BASE64-N" when every part carries this one. */
static void add_composite(struct object *object, const struct part_claim *claims, size_t count,
			  enum checksum algorithm)
{
	const struct checksum_row *row = &checksum_table[algorithm];
	struct checksums *sums = checksums_create(CHECKSUM_BIT(algorithm));
	unsigned char value[CHECKSUM_MAX_BYTES];
	char text[64], full[80];
	bool whole = true;

	for (size_t i = 0; i < count && whole; i++) {
		const struct object *part = claims[i].part;
		const char *have = fields_get(&part->checksums, row->header);

		whole =
		    have != NULL && base64_decode(have, value, sizeof(value)) == (int)row->bytes;
		if (whole)
			checksums_update(sums, value, row->bytes);
	}
	if (whole) {
		checksums_get(sums, algorithm, value);
		base64_encode(value, row->bytes, text);
		snprintf(full, sizeof(full), "%s-%zu", text, count);
		fields_set(&object->checksums, row->header, full);
	}
	checksums_destroy(sums);
}

static struct object *assemble(const struct upload *upload, const struct part_claim *claims,
			       size_t count)
{
	struct object *object = object_create(upload->model->key, upload->model->key_len);
	EVP_MD_CTX *md5 = EVP_MD_CTX_new();
	unsigned char sum[16];
	char hex[33];

	fields_copy(&object->headers, &upload->model->headers);
	object->part_bytes = xcalloc(count, sizeof(*object->part_bytes));
	object->part_count = count;
	EVP_DigestInit_ex(md5, EVP_md5(), NULL);
	for (size_t i = 0; i < count; i++) {
		const struct object *part = claims[i].part;

		object_share(object, part, 0, part->size);
		object->part_bytes[i] = part->size;
		if (hex_decode(part->etag, sum, sizeof(sum)) == sizeof(sum))
			EVP_DigestUpdate(md5, sum, sizeof(sum));
	}
	EVP_DigestFinal_ex(md5, sum, NULL);
	EVP_MD_CTX_free(md5);
	hex_encode(sum, sizeof(sum), hex);
	snprintf(object->etag, sizeof(object->etag), "%s-%zu", hex, count);
	for (int algorithm = 0; algorithm < CHECKSUM_MD5; algorithm++)
		add_composite(object, claims, count, (enum checksum)algorithm);
	return object;
}

int upload_complete(struct store *store, struct bucket *bucket, const char *id,
		    struct part_claim *claims, size_t count, const struct complete_rules *rules,
		    const struct precondition *pre, int *ret_put, struct object **ret_object)
{
	SCOPED_LOCK(store);
	struct upload *upload = upload_find_locked(bucket, id);
	struct completed_upload *done;
	struct object *object;
	int err;

	*ret_put = 0;
	if (upload == NULL)
		return -ENOENT;
	err = claims_check(upload, claims, count, rules);
	if (err != 0)
		return err;
	object = assemble(upload, claims, count);
	*ret_put = store_put_locked(store, bucket, object_ref(object), pre);
	if (*ret_put == -EAGAIN)
		upload_remove_locked(bucket, upload); /* a 409 takes the upload with it */
	if (*ret_put != 0) {
		object_unref(object);
		return *ret_put;
	}
	done = &store->completed[store->completed_count++ % COUNT_OF(store->completed)];
	strcpy(done->id, upload->id);
	strcpy(done->etag, object->etag);
	upload_remove_locked(bucket, upload);
	*ret_object = object;
	return 0;
}

bool upload_completed(struct store *store, const char *id, char ret_etag[ETAG_SIZE])
{
	SCOPED_LOCK(store);
	for (size_t i = 0; i < COUNT_OF(store->completed); i++) {
		if (strcmp(store->completed[i].id, id) != 0 || id[0] == '\0')
			continue;
		strcpy(ret_etag, store->completed[i].etag);
		return true;
	}
	return false;
}

int upload_parts(struct store *store, struct bucket *bucket, const char *id, unsigned after,
		 size_t max, struct part_info **ret)
{
	SCOPED_LOCK(store);
	struct upload *upload = upload_find_locked(bucket, id);
	size_t count = 0;

	if (upload == NULL)
		return -ENOENT;
	*ret = xcalloc(upload->count, sizeof(**ret));
	for (size_t i = 0; i < upload->count && count < max; i++) {
		const struct object *part = upload->parts[i].object;

		if (upload->parts[i].number <= after)
			continue;
		(*ret)[count] = (struct part_info){.number = upload->parts[i].number,
						   .size = part->size,
						   .mtime_ms = part->mtime_ms};
		strcpy((*ret)[count++].etag, part->etag);
	}
	return (int)count;
}

size_t upload_list(struct store *store, struct bucket *bucket, const char *prefix,
		   size_t prefix_len, struct upload_info **ret)
{
	SCOPED_LOCK(store);
	size_t count = 0;

	*ret = xcalloc(bucket->upload_count, sizeof(**ret));
	for (size_t i = 0; i < bucket->upload_count; i++) {
		const struct upload *upload = bucket->uploads[i];
		struct upload_info *info = &(*ret)[count];

		if (upload->model->key_len < prefix_len ||
		    memcmp(upload->model->key, prefix, prefix_len) != 0)
			continue;
		info->key = xmemdup(upload->model->key, upload->model->key_len);
		info->key_len = upload->model->key_len;
		info->initiated_ms = upload->model->mtime_ms;
		strcpy(info->id, upload->id);
		count++;
	}
	return count;
}

static void upload_load(struct store *store, struct bucket *bucket, const char *id)
{
	CLEANUP(cleanup_free) char *head = upload_path(bucket, id, "head.json");
	CLEANUP(cleanup_free) char *path = upload_path(bucket, id, "");
	struct object *model = object_load(store->blobs, head);
	struct upload *upload;
	struct dirent *file;
	DIR *dir;

	if (model == NULL)
		return;
	upload = xcalloc(1, sizeof(*upload));
	memcpy(upload->id, id, UPLOAD_ID_SIZE);
	upload->model = model;
	dir = opendir(path);
	while (dir != NULL && (file = readdir(dir)) != NULL) {
		unsigned number = (unsigned)strtoul(file->d_name, NULL, 10);
		char *name = upload_path(bucket, id, file->d_name);
		struct object *part = number > 0 ? object_load(store->blobs, name) : NULL;

		if (part != NULL)
			part_set(upload, number, part);
		free(name);
	}
	if (dir != NULL)
		closedir(dir);
	upload_add_locked(bucket, upload);
}

void uploads_load(struct store *store, struct bucket *bucket)
{
	CLEANUP(cleanup_free) char *path = upload_path(bucket, "", "");
	struct dirent *entry;
	DIR *dir = opendir(path);

	while (dir != NULL && (entry = readdir(dir)) != NULL)
		if (strlen(entry->d_name) == UPLOAD_ID_SIZE - 1)
			upload_load(store, bucket, entry->d_name);
	if (dir != NULL)
		closedir(dir);
}

void uploads_free(struct bucket *bucket)
{
	for (size_t i = 0; i < bucket->upload_count; i++)
		upload_destroy(bucket->uploads[i]);
	free(bucket->uploads);
}
