/* SPDX-License-Identifier: Apache-2.0 */
/* IAM documents: one table of document, question and answer. */
#include "../../s3d/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <json-c/json.h>

#define ONE(body) "{\"Version\":\"2012-10-17\",\"Statement\":[{" body "}]}"
#define ALLOW "\"Effect\":\"Allow\","
#define ALL ALLOW "\"Action\":\"s3:*\",\"Resource\":\"*\""
#define DENY ",{\"Effect\":\"Deny\","
#define BUCKET "arn:aws:s3:::b"
#define OBJECT "arn:aws:s3:::b/dir/key"

/* What the README proposes for one prefix. */
#define PREFIX_POLICY                                                                              \
	"{\"Statement\":[{" ALLOW "\"Action\":\"s3:ListBucket\",\"Resource\":\"" BUCKET            \
	"\",\"Condition\":{\"StringLike\":{\"s3:prefix\":[\"\",\"dir/*\"]}}},{" ALLOW              \
	"\"Action\":[\"s3:GetObject\",\"s3:PutObject\"],\"Resource\":\"" BUCKET "/dir/*\"}]}"

static const struct {
	const char *document, *action, *resource, *prefix;
	bool allowed;
} questions[] = {
    {ONE(ALL), "s3:GetObject", OBJECT, NULL, true},
    {"{\"Statement\":{" ALL "}}", "s3:GetObject", OBJECT, NULL, true},
    {"{\"Statement\":[]}", "s3:GetObject", OBJECT, NULL, false},
    {"{}", "s3:GetObject", OBJECT, NULL, false},
    {"[]", "s3:GetObject", OBJECT, NULL, false},
    {"{\"Statement\":[1]}", "s3:GetObject", OBJECT, NULL, false},
    {ONE("\"Effect\":\"Maybe\",\"Action\":\"*\",\"Resource\":\"*\""), "s3:GetObject", OBJECT, NULL,
     false},
    /* Actions do not care about case; resources do. */
    {ONE(ALLOW "\"Action\":\"S3:getobject\",\"Resource\":\"*\""), "s3:GetObject", OBJECT, NULL,
     true},
    {ONE(ALLOW "\"Action\":\"s3:Get*\",\"Resource\":\"*\""), "s3:GetObject", OBJECT, NULL, true},
    {ONE(ALLOW "\"Action\":\"s3:Get*\",\"Resource\":\"*\""), "s3:PutObject", OBJECT, NULL, false},
    {ONE(ALLOW "\"Action\":\"s3:GetObjec\",\"Resource\":\"*\""), "s3:GetObject", OBJECT, NULL,
     false},
    {ONE(ALLOW "\"Action\":\"*\",\"Resource\":\"arn:aws:s3:::B/*\""), "s3:GetObject", OBJECT, NULL,
     false},
    {ONE(ALLOW "\"Action\":\"*\",\"Resource\":\"arn:aws:s3:::b/*\""), "s3:GetObject", OBJECT, NULL,
     true},
    {ONE(ALLOW "\"Action\":\"*\",\"Resource\":\"arn:aws:s3:::b/*\""), "s3:ListBucket", BUCKET, "",
     false},
    {ONE(ALLOW "\"Action\":\"*\",\"Resource\":\"arn:aws:s3:::b/dir/ke?\""), "s3:GetObject", OBJECT,
     NULL, true},
    {ONE(ALLOW "\"Action\":\"*\",\"Resource\":\"arn:aws:s3:::b/*/k*y\""), "s3:GetObject", OBJECT,
     NULL, true},
    {ONE(ALLOW "\"Action\":\"*\",\"Resource\":\"arn:aws:s3:::b/*/k*z\""), "s3:GetObject", OBJECT,
     NULL, false},
    {ONE(ALLOW "\"NotAction\":\"s3:Delete*\",\"Resource\":\"*\""), "s3:GetObject", OBJECT, NULL,
     true},
    {ONE(ALLOW "\"NotAction\":\"s3:Delete*\",\"Resource\":\"*\""), "s3:DeleteObject", OBJECT, NULL,
     false},
    {ONE(ALLOW "\"Action\":\"*\",\"NotResource\":\"arn:aws:s3:::b/dir/*\""), "s3:GetObject", OBJECT,
     NULL, false},
    {ONE(ALLOW "\"Action\":\"*\""), "s3:GetObject", OBJECT, NULL, false},
    /* An explicit Deny wins, whatever the order. */
    {ONE(ALL "}" DENY "\"Action\":\"s3:GetObject\",\"Resource\":\"" OBJECT "\""), "s3:GetObject",
     OBJECT, NULL, false},
    {ONE(ALL "}" DENY "\"Action\":\"s3:GetObject\",\"Resource\":\"" OBJECT "2\""), "s3:GetObject",
     OBJECT, NULL, true},
    {"{\"Statement\":[{\"Effect\":\"Deny\",\"Action\":\"s3:Put*\",\"Resource\":\"*\"},{" ALL "}]}",
     "s3:PutObject", OBJECT, NULL, false},
    /* Conditions on s3:prefix. */
    {PREFIX_POLICY, "s3:ListBucket", BUCKET, "dir/", true},
    {PREFIX_POLICY, "s3:ListBucket", BUCKET, "dir/sub/", true},
    {PREFIX_POLICY, "s3:ListBucket", BUCKET, "", true},
    {PREFIX_POLICY, "s3:ListBucket", BUCKET, "dir", false},
    {PREFIX_POLICY, "s3:ListBucket", BUCKET, "other/", false},
    {PREFIX_POLICY, "s3:ListBucket", BUCKET, NULL, false},
    {PREFIX_POLICY, "s3:GetObject", OBJECT, NULL, true},
    {PREFIX_POLICY, "s3:GetObject", "arn:aws:s3:::b/other", NULL, false},
    {PREFIX_POLICY, "s3:DeleteObject", OBJECT, NULL, false},
    {ONE(ALL ",\"Condition\":{\"StringEquals\":{\"s3:prefix\":\"dir/\"}}"), "s3:ListBucket", BUCKET,
     "dir/", true},
    {ONE(ALL ",\"Condition\":{\"StringEquals\":{\"s3:prefix\":\"dir/*\"}}"), "s3:ListBucket",
     BUCKET, "dir/x", false},
    {ONE(ALL "}" DENY "\"Action\":\"*\",\"Resource\":\"*\",\"Condition\":{\"StringNotLike\":"
	     "{\"s3:prefix\":\"dir/*\"}}"),
     "s3:ListBucket", BUCKET, "x", false},
    {ONE(ALL "}" DENY "\"Action\":\"*\",\"Resource\":\"*\",\"Condition\":{\"StringNotLike\":"
	     "{\"s3:prefix\":\"dir/*\"}}"),
     "s3:ListBucket", BUCKET, "dir/x", true},
    /* What is not understood never grants. */
    {ONE(ALL ",\"Condition\":{\"StringEquals\":{\"s3:delimiter\":\"/\"}}"), "s3:ListBucket", BUCKET,
     "", false},
    {ONE(ALL ",\"Condition\":{\"Bool\":{\"aws:SecureTransport\":\"true\"}}"), "s3:GetObject",
     OBJECT, NULL, false},
    {ONE(ALL "}" DENY "\"Action\":\"*\",\"Resource\":\"*\",\"Condition\":{\"Bool\":"
	     "{\"aws:SecureTransport\":\"false\"}}"),
     "s3:GetObject", OBJECT, NULL, false},
    {ONE(ALL ",\"Actoin\":\"s3:GetObject\""), "s3:GetObject", OBJECT, NULL, false},
    {ONE(ALL ",\"Sid\":\"x\",\"Principal\":\"*\""), "s3:GetObject", OBJECT, NULL, true},
    {ONE(ALL ",\"Principal\":{\"AWS\":\"arn:aws:iam::1:root\"}"), "s3:GetObject", OBJECT, NULL,
     false},
};

static void answers_each_question(void **state)
{
	for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++) {
		struct json_object *policy = json_tokener_parse(questions[i].document);

		assert_non_null(policy);
		if (policy_allows(policy, questions[i].action, questions[i].resource,
				  questions[i].prefix) != questions[i].allowed)
			fail_msg("question %zu: %s on %s, prefix %s\n%s", i, questions[i].action,
				 questions[i].resource,
				 questions[i].prefix ? questions[i].prefix : "(none)",
				 questions[i].document);
		json_object_put(policy);
	}
}

static void no_document_allows_nothing(void **state)
{
	assert_false(policy_allows(NULL, "s3:GetObject", OBJECT, NULL));
}

static void a_pattern_of_many_stars_is_not_slow(void **state)
{
	struct json_object *policy = json_tokener_parse(
	    ONE(ALLOW "\"Action\":\"*\",\"Resource\":\"*a*a*a*a*a*a*a*a*a*a*a*a*a*b\""));
	char resource[1025];

	memset(resource, 'a', 1024);
	resource[1024] = '\0';
	assert_false(policy_allows(policy, "s3:GetObject", resource, NULL));
	json_object_put(policy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(answers_each_question),
	    cmocka_unit_test(no_document_allows_nothing),
	    cmocka_unit_test(a_pattern_of_many_stars_is_not_slow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
