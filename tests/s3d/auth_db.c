/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The credentials that the server knows, from their JSON form.
 *
 * Any thread may look up and load at any time, without a lock: a list is immutable behind one
 * atomic pointer. Loading puts a new list in front and keeps the old ones until auth_db_destroy(),
 * so that a verdict may go on using a credential and a policy that were replaced meanwhile; a test
 * server lives too short for this to matter. The strings of a credential live in the parsed JSON
 * document that its list owns.
 */
#include "auth_internal.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

struct credential_list {
	struct credential_list *previous; /* what this one replaced */
	struct json_object *document;
	size_t count;
	struct credential items[];
};

struct auth_db {
	char region[33];
	_Atomic(struct credential_list *) current;
};

struct auth_db *auth_db_create(const char *region)
{
	struct auth_db *db = calloc(1, sizeof(*db));

	if (!db || strlen(region) >= sizeof(db->region)) {
		free(db);
		return NULL;
	}
	strcpy(db->region, region);
	return db;
}

static void credential_list_destroy(struct credential_list *list)
{
	if (list)
		json_object_put(list->document);
	free(list);
}

void auth_db_destroy(struct auth_db *db)
{
	if (!db)
		return;
	struct credential_list *list = atomic_load(&db->current);

	while (list) {
		struct credential_list *previous = list->previous;

		credential_list_destroy(list);
		list = previous;
	}
	free(db);
}

static bool take_string(struct json_object *value, const char **ret_string)
{
	if (!json_object_is_type(value, json_type_string))
		return false;
	*ret_string = json_object_get_string(value);
	return (size_t)json_object_get_string_len(value) == strlen(*ret_string);
}

static bool load_credential(struct json_object *entry, struct credential *credential)
{
	bool good = json_object_is_type(entry, json_type_object);

	if (!good)
		return false;
	json_object_object_foreach(entry, name, value)
	{
		if (!value && strcmp(name, "access_key") && strcmp(name, "secret_key"))
			continue; /* null is absent */
		if (!strcmp(name, "access_key"))
			good &= take_string(value, &credential->access_key);
		else if (!strcmp(name, "secret_key"))
			good &= take_string(value, &credential->secret_key);
		else if (!strcmp(name, "session_token"))
			good &= take_string(value, &credential->session_token);
		else if (!strcmp(name, "policy") && json_object_is_type(value, json_type_object))
			credential->policy = value;
		else if (!strcmp(name, "expires") && (json_object_is_type(value, json_type_int) ||
						      json_object_is_type(value, json_type_double)))
			credential->expires = json_object_get_int64(value);
		else
			good = false;
	}
	return good && credential->secret_key && credential->access_key &&
	       *credential->access_key && strlen(credential->access_key) < 129 &&
	       strlen(credential->secret_key) < 256;
}

/* Finds a key among the first `count` of a list; NULL if it is not there. */
static const struct credential *find_credential(const struct credential_list *list, size_t count,
						const char *access_key)
{
	for (size_t i = 0; i < count; i++) {
		if (!strcmp(list->items[i].access_key, access_key))
			return &list->items[i];
	}
	return NULL;
}

/* Takes the document over when it answers 0. */
static int build_list(struct json_object *document, struct credential_list **ret_list)
{
	if (!json_object_is_type(document, json_type_array))
		return -EINVAL;
	size_t count = json_object_array_length(document);
	struct credential_list *list = calloc(1, sizeof(*list) + count * sizeof(list->items[0]));

	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		if (!load_credential(json_object_array_get_idx(document, i), &list->items[i]) ||
		    find_credential(list, i, list->items[i].access_key)) {
			free(list);
			return -EINVAL;
		}
	}
	list->document = document;
	list->count = count;
	*ret_list = list;
	return 0;
}

int auth_db_load_json(struct auth_db *db, const char *json, size_t len)
{
	struct credential_list *list = NULL;
	struct json_tokener *tokener = json_tokener_new();

	if (!tokener)
		return -ENOMEM;
	struct json_object *document = json_tokener_parse_ex(tokener, json, (int)len);
	size_t end = json_tokener_get_parse_end(tokener);
	int err = -EINVAL;

	while (end < len && strchr(" \t\r\n", json[end]) && json[end])
		end++;
	if (document && end == len)
		err = build_list(document, &list);
	json_tokener_free(tokener);
	if (err) {
		json_object_put(document);
		return err;
	}
	/* `previous` is read by auth_db_destroy() only, so it may be set after publication. */
	list->previous = atomic_exchange(&db->current, list);
	return 0;
}

const struct credential *auth_db_find(struct auth_db *db, const char *access_key)
{
	const struct credential_list *list = atomic_load(&db->current);

	return list ? find_credential(list, list->count, access_key) : NULL;
}

const char *auth_db_region(const struct auth_db *db)
{
	return db->region;
}
