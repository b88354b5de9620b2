/* SPDX-License-Identifier: Apache-2.0 */
#ifndef S3D_POLICY_H
#define S3D_POLICY_H

#include <stdbool.h>

struct json_object;

/*
 * Says whether an IAM document (borrowed; NULL allows nothing) allows action ("s3:GetObject") on
 * resource ("arn:aws:s3:::bucket/key"). list_prefix is the value of the condition key s3:prefix:
 * what a list request asked for, or NULL when the request has none. An explicit Deny wins, no
 * Allow means no. Anything in a statement that is not understood makes an Allow not match and a
 * Deny match: a document that this code cannot read never grants. Does not block, changes nothing.
 */
bool policy_allows(struct json_object *policy, const char *action, const char *resource,
		   const char *list_prefix);

#endif
