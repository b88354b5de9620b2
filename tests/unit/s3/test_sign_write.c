/* SPDX-License-Identifier: Apache-2.0 */
/* Requests with bodies, metadata and copy sources are signed as botocore signs them. */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <pailfs/cleanup.h>

struct botocore_case {
	enum s3_verb verb;
	const char *key;
	size_t key_length;
	const char *meta;   /* value of odd.name_ */
	const char *type;   /* Content-Type */
	const char *source; /* of a copy */
	size_t source_length;
	const char *upload;
	const char *if_match;
	const char *body;
	size_t body_length;
	bool amazon;
	const char *session_token;
	const char *url, *authorization;
};

static const struct botocore_case cases[] = {
#include "botocore_write_cases.inc"
};

/* As botocore was told: the payload is signed over http, and nothing else is added. */
static struct s3_target target_of(const struct botocore_case *c)
{
	struct s3_target t = local_target();
	char error[160];

	if (c->amazon)
		assert_int_equal(
		    s3_target_init(&t, NULL, "bucket", "eu-west-1", -1, error, sizeof(error)), 0);
	t.checksum_crc32c = t.mp_object_size = false;
	return t;
}

static void check_case(const struct botocore_case *c)
{
	const struct iovec body = {(char *)(uintptr_t)c->body, c->body_length};
	const struct s3_meta meta = {"odd.name_", c->meta};
	const struct s3_keys keys = {"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
				     c->session_token};
	struct s3_target t = target_of(c);
	struct http_message m;
	struct s3_op op;

	s3_op_init(&op, c->verb);
	op.key = c->key;
	op.key_length = c->key_length;
	op.copy.key = c->source;
	op.copy.key_length = c->source_length;
	op.upload_id = c->upload;
	op.part_number = 17;
	op.attributes.content_type = c->type;
	op.attributes.meta = &meta;
	op.attributes.meta_count = c->meta != NULL;
	if (c->if_match)
		snprintf(op.if_match, sizeof(op.if_match), "%s", c->if_match);
	if (c->body) {
		op.body = (struct s3_body){.iov = &body, .iov_count = 1, .length = c->body_length};
		assert_int_equal(s3_body_seal(&op.body, true, false), 0);
	}
	assert_int_equal(s3_build(&op, &t, &keys, FIXTURE_NOW_S, &m), 0);
	assert_string_equal(m.url, c->url);
	assert_string_equal(message_header(&m, "Authorization"), c->authorization);
	http_message_finish(&m);
	s3_op_finish(&op);
}

static void test_signatures_are_botocores(void **state)
{
	assert_true(ARRAY_SIZE(cases) > 90);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check_case(&cases[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_signatures_are_botocores),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
