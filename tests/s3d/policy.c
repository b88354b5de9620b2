/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of IAM that the README's policies use: Effect, Action/NotAction, Resource/NotResource
 * with * and ?, and Condition on s3:prefix, so that tests can show that pailfs works with exactly
 * the rights that it documents and no others.
 *
 * A document is only read, from any number of threads at once. Each statement is matched with
 * three possible answers: an element that this code does not know (another operator, another
 * condition key) gives UNKNOWN, and UNKNOWN never grants: an Allow needs YES, a Deny fires on YES
 * and on UNKNOWN. Left out: policy variables (${aws:username}), ...IfExists, ForAnyValue.
 */
#include "policy.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#include <json-c/json.h>

enum match {
	MATCH_NO,
	MATCH_UNKNOWN,
	MATCH_YES,
};

/* What is asked about. */
struct question {
	const char *action, *resource, *list_prefix;
};

typedef bool (*matches_fn)(const char *pattern, const char *text);

/* * is any run of characters ('/' too), ? is one. */
static bool glob(const char *pattern, const char *text, bool fold_case)
{
	const char *star = NULL, *resume = NULL;

	while (*text) {
		int p = (unsigned char)*pattern, t = (unsigned char)*text;

		if (p == '*') {
			star = pattern++;
			resume = text;
		} else if (p && (p == '?' || p == t || (fold_case && tolower(p) == tolower(t)))) {
			pattern++;
			text++;
		} else if (star) {
			pattern = star + 1;
			text = ++resume;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return !*pattern;
}

static bool matches_action(const char *pattern, const char *text)
{
	return glob(pattern, text, true);
}

static bool matches_like(const char *pattern, const char *text)
{
	return glob(pattern, text, false);
}

static bool matches_exactly(const char *pattern, const char *text)
{
	return !strcmp(pattern, text);
}

/* Matches text against a JSON string or an array of them. */
static enum match match_any(struct json_object *patterns, const char *text, matches_fn matches)
{
	enum match answer = MATCH_NO;

	if (json_object_is_type(patterns, json_type_string))
		return matches(json_object_get_string(patterns), text) ? MATCH_YES : MATCH_NO;
	if (!json_object_is_type(patterns, json_type_array))
		return MATCH_UNKNOWN;
	for (size_t i = 0; i < json_object_array_length(patterns); i++) {
		struct json_object *pattern = json_object_array_get_idx(patterns, i);

		if (!json_object_is_type(pattern, json_type_string))
			answer = MATCH_UNKNOWN;
		else if (matches(json_object_get_string(pattern), text))
			return MATCH_YES;
	}
	return answer;
}

static enum match invert(enum match match)
{
	return match == MATCH_UNKNOWN ? match : match == MATCH_YES ? MATCH_NO : MATCH_YES;
}

static enum match weaker(enum match a, enum match b)
{
	return a < b ? a : b;
}

static enum match match_operator(const char *operator, struct json_object * keys,
				 const struct question *question)
{
	static const struct {
		const char *name;
		matches_fn matches;
		bool negated;
	} operators[] = {
	    {"StringEquals", matches_exactly, false},
	    {"StringLike", matches_like, false},
	    {"StringNotEquals", matches_exactly, true},
	    {"StringNotLike", matches_like, true},
	};
	size_t which = 0, count = sizeof(operators) / sizeof(operators[0]);

	while (which < count && strcmp(operators[which].name, operator))
		which++;
	if (which == count || !json_object_is_type(keys, json_type_object))
		return MATCH_UNKNOWN;

	enum match answer = MATCH_YES;

	json_object_object_foreach(keys, key, values)
	{
		enum match match = MATCH_NO; /* an absent key equals nothing */

		if (strcasecmp(key, "s3:prefix"))
			match = MATCH_UNKNOWN;
		else if (question->list_prefix)
			match = match_any(values, question->list_prefix, operators[which].matches);
		answer = weaker(answer, operators[which].negated ? invert(match) : match);
	}
	return answer;
}

static enum match match_condition(struct json_object *condition, const struct question *question)
{
	enum match answer = MATCH_YES;

	if (!json_object_is_type(condition, json_type_object))
		return MATCH_UNKNOWN;
	json_object_object_foreach(condition, operator, keys)
	{
		answer = weaker(answer, match_operator(operator, keys, question));
	}
	return answer;
}

/* A policy that is attached to a user has no principal; a bucket's public one names everybody. */
static enum match match_principal(struct json_object *principal)
{
	struct json_object *aws = NULL;

	if (json_object_is_type(principal, json_type_object) &&
	    json_object_object_get_ex(principal, "AWS", &aws))
		principal = aws;
	return match_any(principal, "*", matches_exactly) == MATCH_YES ? MATCH_YES : MATCH_UNKNOWN;
}

static enum match match_element(const char *name, struct json_object *value,
				const struct question *question)
{
	if (!strcmp(name, "Action"))
		return match_any(value, question->action, matches_action);
	if (!strcmp(name, "NotAction"))
		return invert(match_any(value, question->action, matches_action));
	if (!strcmp(name, "Resource"))
		return match_any(value, question->resource, matches_like);
	if (!strcmp(name, "NotResource"))
		return invert(match_any(value, question->resource, matches_like));
	if (!strcmp(name, "Condition"))
		return match_condition(value, question);
	if (!strcmp(name, "Principal"))
		return match_principal(value);
	if (!strcmp(name, "Sid") || !strcmp(name, "Effect"))
		return MATCH_YES;
	return MATCH_UNKNOWN;
}

static enum match match_statement(struct json_object *statement, const struct question *question)
{
	enum match answer = MATCH_YES;
	bool has_action = false, has_resource = false;

	json_object_object_foreach(statement, name, value)
	{
		answer = weaker(answer, match_element(name, value, question));
		has_action |= !strcmp(name, "Action") || !strcmp(name, "NotAction");
		has_resource |= !strcmp(name, "Resource") || !strcmp(name, "NotResource");
	}
	return has_action && has_resource ? answer : weaker(answer, MATCH_UNKNOWN);
}

/* Adds one statement's say: *allowed becomes true by an Allow. Gives false for a Deny. */
static bool apply_statement(struct json_object *statement, const struct question *question,
			    bool *allowed)
{
	struct json_object *effect = NULL;

	if (!json_object_is_type(statement, json_type_object) ||
	    !json_object_object_get_ex(statement, "Effect", &effect) ||
	    !json_object_is_type(effect, json_type_string))
		return false;

	enum match match = match_statement(statement, question);

	if (!strcmp(json_object_get_string(effect), "Allow")) {
		*allowed |= match == MATCH_YES;
		return true;
	}
	return match == MATCH_NO;
}

bool policy_allows(struct json_object *policy, const char *action, const char *resource,
		   const char *list_prefix)
{
	struct question question = {action, resource, list_prefix};
	struct json_object *statements = NULL;
	bool allowed = false;

	if (!json_object_is_type(policy, json_type_object) ||
	    !json_object_object_get_ex(policy, "Statement", &statements))
		return false;
	if (!json_object_is_type(statements, json_type_array))
		return apply_statement(statements, &question, &allowed) && allowed;
	for (size_t i = 0; i < json_object_array_length(statements); i++) {
		if (!apply_statement(json_object_array_get_idx(statements, i), &question, &allowed))
			return false;
	}
	return allowed;
}
