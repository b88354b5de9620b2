/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scripted faults: what a test wants to go wrong, by request. The list is read from JSON by the
 * admin interface and matched once a request, when its headers are understood; what a fault does
 * is played by server.c, stream.c and op_list.c. One lock; a matched fault is held by reference,
 * so that clearing the list does not take it away from a request that plays it.
 */
#include "fault.h"
#include "request.h"

#include <inttypes.h>
#include <errno.h>
#include <json-c/json.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct match {
	char *op, *method, *bucket, *key, *key_prefix, *query_has;
	int64_t range_first; /* FAULT_OFF: any */
};

/* The fault is the first member: a reference to it is one to the entry. */
struct entry {
	struct fault fault;
	struct match match;
	uint64_t skip, count; /* count 0: for ever */
	uint64_t percent;     /* of the matching requests, by chance; the same ones each time */
	/* under the lock */
	struct entry *next;
	unsigned refs;
	uint64_t seen, hits;
	pthread_mutex_t *lock; /* of the list; set at creation */
};

struct faults {
	pthread_mutex_t lock;
	struct entry *head;
};

struct faults *faults_create(void)
{
	struct faults *faults = xcalloc(1, sizeof(*faults));

	pthread_mutex_init(&faults->lock, NULL);
	return faults;
}

static void entry_free(struct entry *entry)
{
	struct fault *f = &entry->fault;
	char *const strings[] = {f->name,
				 f->code,
				 f->message,
				 f->body,
				 f->content_range,
				 f->list.raw_entries,
				 entry->match.op,
				 entry->match.method,
				 entry->match.bucket,
				 entry->match.key,
				 entry->match.key_prefix,
				 entry->match.query_has};

	for (size_t i = 0; i < COUNT_OF(strings); i++)
		free(strings[i]);
	for (size_t i = 0; i < f->header_count; i++) {
		free(f->headers[i].name);
		free(f->headers[i].value);
	}
	free(f->headers);
	free(entry);
}

static void entry_unref_locked(struct entry *entry)
{
	if (--entry->refs == 0)
		entry_free(entry);
}

void fault_unref(struct fault *fault)
{
	struct entry *entry = (struct entry *)fault;
	pthread_mutex_t *lock;

	if (fault == NULL)
		return;
	lock = entry->lock;
	pthread_mutex_lock(lock);
	entry_unref_locked(entry);
	pthread_mutex_unlock(lock);
}

static void list_free(struct entry *head)
{
	while (head != NULL) {
		struct entry *next = head->next;

		entry_unref_locked(head);
		head = next;
	}
}

void faults_clear(struct faults *faults)
{
	pthread_mutex_lock(&faults->lock);
	list_free(faults->head);
	faults->head = NULL;
	pthread_mutex_unlock(&faults->lock);
}

void faults_destroy(struct faults *faults)
{
	if (faults == NULL)
		return;
	faults_clear(faults);
	pthread_mutex_destroy(&faults->lock);
	free(faults);
}

static char *get_string(struct json_object *json, const char *name)
{
	const char *text = json_object_get_string(json_object_object_get(json, name));

	return text != NULL ? xstrdup(text) : NULL;
}

static int64_t get_number(struct json_object *json, const char *name, int64_t absent)
{
	struct json_object *value = json_object_object_get(json, name);

	return value != NULL ? json_object_get_int64(value) : absent;
}

static bool get_bool(struct json_object *json, const char *name)
{
	return json_object_get_boolean(json_object_object_get(json, name));
}

static void read_match(struct match *match, struct json_object *json)
{
	match->op = get_string(json, "op");
	match->method = get_string(json, "method");
	match->bucket = get_string(json, "bucket");
	match->key = get_string(json, "key");
	match->key_prefix = get_string(json, "key_prefix");
	match->query_has = get_string(json, "query_has");
	match->range_first = get_number(json, "range_first", FAULT_OFF);
}

static void read_headers(struct fault *f, struct json_object *json)
{
	struct json_object *headers = json_object_object_get(json, "headers");

	if (!json_object_is_type(headers, json_type_object))
		return;
	json_object_object_foreach(headers, name, value)
	{
		f->headers = xrealloc(f->headers, (f->header_count + 1) * sizeof(*f->headers));
		f->headers[f->header_count++] = (struct fault_header){
		    xstrdup(name), value != NULL ? xstrdup(json_object_get_string(value)) : NULL};
	}
}

static void read_list_fault(struct list_fault *list, struct json_object *json)
{
	list->same_token = get_bool(json, "same_token");
	list->no_token = get_bool(json, "no_token");
	list->empty_page = get_bool(json, "empty_page");
	list->duplicate = get_bool(json, "duplicate");
	list->unsorted = get_bool(json, "unsorted");
	list->no_encoding = get_bool(json, "no_encoding");
	list->encoding_last = get_bool(json, "encoding_last");
	list->raw_entries = get_string(json, "raw_entries");
}

static void read_do(struct fault *f, struct json_object *json)
{
	struct json_object *body = json_object_object_get(json, "body");

	f->status = (int)get_number(json, "status", 0);
	f->code = get_string(json, "code");
	f->message = get_string(json, "message");
	f->retry_after_s = get_number(json, "retry_after", FAULT_OFF);
	read_headers(f, json);
	if (body != NULL) {
		f->body_len = (size_t)json_object_get_string_len(body);
		f->body = xmemdup(json_object_get_string(body), f->body_len);
	}
	f->body_repeat = (uint64_t)get_number(json, "body_repeat", 1);
	f->delay_ms = (uint64_t)get_number(json, "delay_ms", 0);
	f->blanks_ms = (uint64_t)get_number(json, "blanks_ms", 0);
	f->cut_after = get_number(json, "cut_after", FAULT_OFF);
	f->reset_after = get_number(json, "reset_after", FAULT_OFF);
	f->stall_after = get_number(json, "stall_after", FAULT_OFF);
	f->reset_request = get_number(json, "reset_request", FAULT_OFF);
	f->flip_at = get_number(json, "flip_at", FAULT_OFF);
	f->shorten = (uint64_t)get_number(json, "short", 0);
	f->header_bytes = (uint64_t)get_number(json, "header_bytes", 0);
	f->stall_request = get_bool(json, "stall_request");
	f->close = get_bool(json, "close");
	f->apply = get_bool(json, "apply");
	f->ignore_range = get_bool(json, "ignore_range");
	f->content_range = get_string(json, "content_range");
	read_list_fault(&f->list, json_object_object_get(json, "list"));
}

/* A misspelt name would be a fault that never happens and a test that cannot fail. */
static bool names_known(struct json_object *json, const char *const *known, size_t count)
{
	if (json == NULL)
		return true;
	if (!json_object_is_type(json, json_type_object))
		return false;
	json_object_object_foreach(json, name, value)
	{
		bool found = false;

		(void)value;
		for (size_t i = 0; i < count && !found; i++)
			found = strcmp(name, known[i]) == 0;
		if (!found)
			return false;
	}
	return true;
}

static bool op_known(const char *name)
{
	for (int op = 0; op < OP_COUNT; op++)
		if (strcmp(op_table[op].name, name) == 0)
			return true;
	return false;
}

static const char *check_names(struct json_object *json)
{
	static const char *const top[] = {"name", "match", "skip", "count", "percent", "do"};
	static const char *const match[] = {"op",	  "method",    "bucket",     "key",
					    "key_prefix", "query_has", "range_first"};
	static const char *const act[] = {
	    "status",	   "code",	    "message",	     "retry_after",   "headers",
	    "body",	   "body_repeat",   "delay_ms",	     "cut_after",     "reset_after",
	    "stall_after", "stall_request", "reset_request", "short",	      "flip_at",
	    "blanks_ms",   "close",	    "apply",	     "content_range", "ignore_range",
	    "list",	   "header_bytes"};
	static const char *const list[] = {"same_token",  "no_token",	  "empty_page",
					   "duplicate",	  "unsorted",	  "raw_entries",
					   "no_encoding", "encoding_last"};
	struct json_object *what = json_object_object_get(json, "do");
	struct json_object *when = json_object_object_get(json, "match");
	const char *op = json_object_get_string(json_object_object_get(when, "op"));

	if (!names_known(json, top, COUNT_OF(top)))
		return "unknown member of a fault";
	if (!names_known(when, match, COUNT_OF(match)))
		return "unknown member of match";
	if (op != NULL && !op_known(op))
		return "unknown op";
	if (what == NULL || !names_known(what, act, COUNT_OF(act)))
		return "no do, or an unknown member of it";
	if (!names_known(json_object_object_get(what, "list"), list, COUNT_OF(list)))
		return "unknown member of list";
	return NULL;
}

static struct entry *read_entry(struct json_object *json, pthread_mutex_t *lock)
{
	struct entry *entry = xcalloc(1, sizeof(*entry));

	entry->lock = lock;
	entry->refs = 1;
	entry->fault.name = get_string(json, "name");
	if (entry->fault.name == NULL)
		entry->fault.name = xstrdup("unnamed");
	read_match(&entry->match, json_object_object_get(json, "match"));
	read_do(&entry->fault, json_object_object_get(json, "do"));
	entry->skip = (uint64_t)get_number(json, "skip", 0);
	entry->count = (uint64_t)get_number(json, "count", 0);
	entry->percent = (uint64_t)get_number(json, "percent", 100);
	return entry;
}

int faults_add(struct faults *faults, struct json_object *list, const char **ret_why)
{
	struct entry **tail;

	*ret_why = "not an array";
	if (!json_object_is_type(list, json_type_array))
		return -EINVAL;
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		*ret_why = check_names(json_object_array_get_idx(list, i));
		if (*ret_why != NULL)
			return -EINVAL;
	}
	pthread_mutex_lock(&faults->lock);
	for (tail = &faults->head; *tail != NULL; tail = &(*tail)->next)
		;
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		*tail = read_entry(json_object_array_get_idx(list, i), &faults->lock);
		tail = &(*tail)->next;
	}
	pthread_mutex_unlock(&faults->lock);
	return 0;
}

void faults_write(struct faults *faults, struct buf *to)
{
	pthread_mutex_lock(&faults->lock);
	buf_puts(to, "[");
	for (const struct entry *entry = faults->head; entry != NULL; entry = entry->next) {
		buf_puts(to, "{\"name\":");
		buf_json(to, entry->fault.name, strlen(entry->fault.name));
		buf_printf(to,
			   ",\"skip\":%" PRIu64 ",\"count\":%" PRIu64 ",\"seen\":%" PRIu64
			   ",\"hits\":%" PRIu64 "}%s",
			   entry->skip, entry->count, entry->seen, entry->hits,
			   entry->next != NULL ? "," : "");
	}
	buf_puts(to, "]\n");
	pthread_mutex_unlock(&faults->lock);
}

static bool same(const char *wanted, const char *is)
{
	return wanted == NULL || strcmp(wanted, is) == 0;
}

static bool matches(const struct match *match, const struct request *request)
{
	const char *range = request_header(request, "Range");
	int64_t first;

	if (!same(match->op, request->row->name) || !same(match->method, request->method) ||
	    !same(match->bucket, request->bucket_name) || !same(match->key, request->key))
		return false;
	if (match->key_prefix != NULL &&
	    strncmp(request->key, match->key_prefix, strlen(match->key_prefix)) != 0)
		return false;
	if (match->query_has != NULL && strstr(request->raw_query, match->query_has) == NULL)
		return false;
	if (match->range_first == FAULT_OFF)
		return true;
	return range != NULL && sscanf(range, "bytes=%" SCNd64 "-", &first) == 1 &&
	       first == match->range_first;
}

/* Whether the n-th matching request is among the percent: by (name, n), thus alike in each run. */
static bool drawn(const struct entry *entry, uint64_t n)
{
	for (const char *c = entry->fault.name; *c != '\0'; c++)
		n = n * 31 + (unsigned char)*c;
	n = (n + 1) * UINT64_C(0x9e3779b97f4a7c15);
	n = (n ^ (n >> 31)) * UINT64_C(0xbf58476d1ce4e5b9);
	return (n >> 32) % 100 < entry->percent;
}

struct fault *faults_match(struct faults *faults, const struct request *request)
{
	struct fault *found = NULL;

	pthread_mutex_lock(&faults->lock);
	for (struct entry *entry = faults->head; entry != NULL; entry = entry->next) {
		if ((entry->count > 0 && entry->hits >= entry->count) ||
		    !matches(&entry->match, request))
			continue;
		if (entry->seen++ < entry->skip || !drawn(entry, entry->seen))
			continue;
		entry->hits++;
		entry->refs++;
		found = &entry->fault;
		break;
	}
	pthread_mutex_unlock(&faults->lock);
	return found;
}
