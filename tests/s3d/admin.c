/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin interface: /_s3d/... on the same port, unsigned, JSON in and out. Not S3: not logged,
 * not delayed, no faults. Every call answers at once; what it changes holds for requests that
 * come later. A member that is not known is an error, so that a misspelt test fails.
 */
#include "admin.h"
#include "auth.h"
#include "conn.h"
#include "op.h"
#include "reqlog.h"

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct json_object *get(struct json_object *json, const char *name)
{
	return json_object_object_get(json, name);
}

static const char *get_text(struct json_object *json, const char *name)
{
	return json_object_get_string(get(json, name));
}

static void answer_json(struct request *request, int status, const char *text)
{
	answer_status(request, status);
	fields_add(&request->answer.headers, "Content-Type", "application/json");
	buf_puts(&request->answer.bytes, text);
}

static void answer_wrong(struct request *request, const char *why)
{
	struct buf b = {0};

	buf_puts(&b, "{\"error\":");
	buf_json(&b, why, strlen(why));
	buf_puts(&b, "}\n");
	answer_json(request, 400, b.data);
	buf_finish(&b);
}

static void answer_done(struct request *request, const char *why)
{
	if (why != NULL)
		answer_wrong(request, why);
	else
		answer_json(request, 200, "{}\n");
}

static bool has_only(struct json_object *json, const char *const *known)
{
	if (!json_object_is_type(json, json_type_object))
		return false;
	json_object_object_foreach(json, name, value)
	{
		size_t i = 0;

		(void)value;
		while (known[i] != NULL && strcmp(known[i], name) != 0)
			i++;
		if (known[i] == NULL)
			return false;
	}
	return true;
}

static void set_number(_Atomic int64_t *to, struct json_object *value)
{
	if (value != NULL)
		*to = json_object_get_int64(value);
}

const char *admin_config(struct s3d *s3d, struct json_object *json)
{
	static const char *const known[] = {"first_byte_ms", "list_ms", "pace",		"nic",
					    "body_hash",     "as",	"clock_offset", NULL};
	struct settings *settings = &s3d->settings;
	const char *as = get_text(json, "as");
	const struct dialect *dialect = as != NULL ? dialect_find(as) : NULL;

	if (!has_only(json, known))
		return "config knows first_byte_ms, list_ms, pace, nic, body_hash, as, "
		       "clock_offset";
	if (as != NULL && dialect == NULL)
		return "as is one of aws, minio, r2, gcs, rgw";
	if (dialect != NULL)
		settings->dialect = dialect;
	set_number(&settings->first_byte_ms, get(json, "first_byte_ms"));
	set_number(&settings->list_ms, get(json, "list_ms"));
	set_number(&settings->pace_bytes_per_s, get(json, "pace"));
	set_number(&settings->nic_bytes_per_s, get(json, "nic"));
	set_number(&settings->clock_offset_s, get(json, "clock_offset"));
	if (get(json, "body_hash") != NULL)
		settings->body_hash = json_object_get_boolean(get(json, "body_hash"));
	conns_settings_changed(s3d->conns);
	return NULL;
}

static void do_config(struct request *request, struct json_object *json)
{
	answer_done(request, admin_config(request->s3d, json));
}

static void do_log(struct request *request, struct json_object *json)
{
	if (strcmp(request->method, "DELETE") == 0) {
		reqlog_clear(request->s3d->log);
		answer_json(request, 200, "{}\n");
		return;
	}
	answer_json(request, 200, "");
	reqlog_write(request->s3d->log, &request->answer.bytes);
}

static void do_traffic(struct request *request, struct json_object *json)
{
	struct s3d *s3d = request->s3d;

	if (strcmp(request->method, "POST") == 0) {
		traffic_switch(s3d->conns, json_object_get_boolean(get(json, "on")));
		answer_json(request, 200, "{}\n");
		return;
	}
	answer_json(request, 200, "");
	traffic_write(s3d->conns, s3d->start_ns, &request->answer.bytes);
}

static void do_credentials(struct request *request, struct json_object *json)
{
	const struct buf *body = intake_text(request->intake);

	answer_done(request, auth_db_load_json(request->s3d->auth,
					       body->data != NULL ? body->data : "", body->len) != 0
				 ? "not a list of credentials"
				 : NULL);
}

static const char *configure_bucket(struct s3d *s3d, struct json_object *json)
{
	static const char *const known[] = {"name", "public", "region", "policy", NULL};
	const char *name = get_text(json, "name"), *region = get_text(json, "region");
	struct json_object *is_public = get(json, "public");
	struct bucket *bucket;
	int err;

	if (!has_only(json, known) || name == NULL)
		return "bucket needs name and knows public, region, policy";
	err = store_bucket_make(s3d->store, name, region != NULL ? region : s3d->region, &bucket);
	if (err != 0 && err != -EEXIST)
		return "no such name for a bucket";
	err = bucket_configure(s3d->store, bucket, region,
			       is_public != NULL ? json_object_get_boolean(is_public) : -1,
			       json_object_object_get_ex(json, "policy", NULL)
				   ? json_object_to_json_string(get(json, "policy"))
				   : NULL);
	return err != 0 ? "policy cannot be read" : NULL;
}

static void do_bucket(struct request *request, struct json_object *json)
{
	answer_done(request, configure_bucket(request->s3d, json));
}

static const char *add_synth_range(struct s3d *s3d, struct bucket *bucket, struct json_object *json)
{
	const char *prefix = get_text(json, "prefix"), *format = get_text(json, "format");
	struct synth range;

	if (format == NULL || synth_init(&range, prefix != NULL ? prefix : "", format,
					 json_object_get_uint64(get(json, "count"))) != 0)
		return "format needs one %0Nd with room for count - 1";
	range.size = json_object_get_uint64(get(json, "size"));
	range.seed = json_object_get_uint64(get(json, "seed"));
	range.sparse = json_object_get_boolean(get(json, "sparse"));
	return store_add_synth(s3d->store, bucket, &range) != 0 ? "not stored" : NULL;
}

static const char *add_synth(struct s3d *s3d, struct json_object *json)
{
	static const char *const known[] = {"bucket", "prefix", "format", "count", "size",
					    "seed",   "key",	"sparse", NULL};
	const char *name = get_text(json, "bucket"), *key = get_text(json, "key");
	struct bucket *bucket = name != NULL ? store_bucket(s3d->store, name) : NULL;
	struct object *object;

	if (!has_only(json, known) || bucket == NULL)
		return "synth needs an existing bucket and knows prefix, format, count, size, "
		       "seed, key, sparse";
	if (key == NULL)
		return add_synth_range(s3d, bucket, json);
	object = synth_object(key, strlen(key), json_object_get_uint64(get(json, "seed")),
			      json_object_get_uint64(get(json, "size")),
			      json_object_get_boolean(get(json, "sparse")));
	return store_put(s3d->store, bucket, object, NULL) != 0 ? "not stored" : NULL;
}

static void do_synth(struct request *request, struct json_object *json)
{
	answer_done(request, add_synth(request->s3d, json));
}

static void do_faults(struct request *request, struct json_object *json)
{
	struct faults *faults = request->s3d->faults;
	const char *why = NULL;

	if (strcmp(request->method, "DELETE") == 0)
		faults_clear(faults);
	if (strcmp(request->method, "POST") == 0 && faults_add(faults, json, &why) != 0) {
		answer_wrong(request, why);
		return;
	}
	answer_json(request, 200, "");
	faults_write(faults, &request->answer.bytes);
}

/* A string member, or the bytes of its _hex twin. The caller frees it; NULL without either. */
static char *get_bytes(struct json_object *json, const char *name, const char *hex_name,
		       size_t *ret_len)
{
	struct json_object *text = get(json, name);
	const char *hex = get_text(json, hex_name);
	unsigned char *bytes;
	int len;

	if (text != NULL) {
		*ret_len = (size_t)json_object_get_string_len(text);
		return xmemdup(json_object_get_string(text), *ret_len);
	}
	if (hex == NULL)
		return NULL;
	bytes = xcalloc(1, strlen(hex) / 2 + 1);
	len = hex_decode(hex, bytes, strlen(hex) / 2);
	if (len < 0) {
		free(bytes);
		return NULL;
	}
	*ret_len = (size_t)len;
	return (char *)bytes;
}

static void plant_headers(struct object *object, struct json_object *headers)
{
	fields_add(&object->headers, "Content-Type", "binary/octet-stream");
	if (!json_object_is_type(headers, json_type_object))
		return;
	json_object_object_foreach(headers, name, value)
	    fields_set(&object->headers, name, json_object_get_string(value));
}

/* Content of the given bytes, or `size` zeros. False when it cannot be stored. */
static bool plant_content(struct s3d *s3d, struct object *object, struct json_object *json)
{
	struct slice slice = {.kind = SLICE_ZERO,
			      .length = json_object_get_uint64(get(json, "size"))};
	size_t len = 0;
	CLEANUP(cleanup_free) char *bytes = get_bytes(json, "content", "content_hex", &len);
	int fd;
	bool good;

	if (bytes == NULL) {
		synth_etag(0, slice.length, true, object->etag);
		object_add_slice(object, slice);
		return true;
	}
	slice.kind = SLICE_BLOB;
	slice.length = len;
	slice.blob = blob_create(store_blobs(s3d->store), &fd);
	if (slice.blob == NULL)
		return false;
	good = write(fd, bytes, len) == (ssize_t)len;
	close(fd);
	md5_hex(bytes, len, object->etag);
	object_add_slice(object, slice);
	return good;
}

static const char *plant(struct s3d *s3d, struct json_object *json)
{
	static const char *const known[] = {"bucket", "key",   "key_hex", "content", "content_hex",
					    "size",   "mtime", "etag",	  "headers", NULL};
	const char *name = get_text(json, "bucket"), *etag = get_text(json, "etag");
	struct bucket *bucket = name != NULL ? store_bucket(s3d->store, name) : NULL;
	size_t key_len = 0;
	CLEANUP(cleanup_free) char *key = get_bytes(json, "key", "key_hex", &key_len);
	struct object *object;

	if (!has_only(json, known) || bucket == NULL || key == NULL)
		return "put needs an existing bucket and key or key_hex and knows content, "
		       "content_hex, size, mtime, etag, headers";
	object = object_create(key, key_len);
	plant_headers(object, get(json, "headers"));
	if (!plant_content(s3d, object, json)) {
		object_unref(object);
		return "not stored";
	}
	if (get(json, "mtime") != NULL)
		object->mtime_ms = (int64_t)(json_object_get_double(get(json, "mtime")) * 1000);
	if (etag != NULL)
		snprintf(object->etag, sizeof(object->etag), "%s", etag);
	return store_put(s3d->store, bucket, object, NULL) != 0 ? "not stored" : NULL;
}

static void do_put(struct request *request, struct json_object *json)
{
	answer_done(request, plant(request->s3d, json));
}

static void do_stats(struct request *request, struct json_object *json)
{
	struct s3d *s3d = request->s3d;
	struct timespec cpu;
	struct buf b = {0};

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
	buf_printf(&b,
		   "{\"cpu_s\":%.6f,\"requests\":%llu,\"in_flight\":%llu,\"connections\":%zu}\n",
		   (double)cpu.tv_sec + (double)cpu.tv_nsec / (double)NS_PER_S,
		   (unsigned long long)s3d->requests, (unsigned long long)s3d->in_flight,
		   conns_count(s3d->conns));
	answer_json(request, 200, b.data);
	buf_finish(&b);
}

static const struct call {
	const char *name, *methods;
	void (*run)(struct request *request, struct json_object *json);
} calls[] = {
    {"log", "GET DELETE", do_log},
    {"traffic", "GET POST", do_traffic},
    {"config", "POST", do_config},
    {"credentials", "POST", do_credentials},
    {"bucket", "POST", do_bucket},
    {"synth", "POST", do_synth},
    {"faults", "GET POST DELETE", do_faults},
    {"put", "POST", do_put},
    {"stats", "GET", do_stats},
};

void op_admin(struct request *request)
{
	const char *name = request->raw_path + strlen("/_s3d/");
	const struct buf *body = intake_text(request->intake);
	struct json_object *json = NULL;

	for (size_t i = 0; i < COUNT_OF(calls); i++) {
		if (strcmp(calls[i].name, name) != 0 ||
		    strstr(calls[i].methods, request->method) == NULL)
			continue;
		if (strcmp(request->method, "POST") == 0) {
			json = json_tokener_parse(body->data != NULL ? body->data : "");
			if (json == NULL) {
				answer_wrong(request, "the body is not JSON");
				return;
			}
		}
		calls[i].run(request, json);
		json_object_put(json);
		return;
	}
	answer_json(request, 404, "{\"error\":\"no such call\"}\n");
}
