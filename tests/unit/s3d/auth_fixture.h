/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TEST_AUTH_FIXTURE_H
#define TEST_AUTH_FIXTURE_H

#include "../../s3d/auth.h"

#define MAX_HEADERS 16

/* The keys of botocore's requests and of AWS's documentation; they differ in one character. */
#define BOTO_SECRET "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
#define DOC_SECRET "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
#define BOTO_NOW 1788093360 /* 2026-08-30T12:36:00Z */
#define DOC_NOW 1369353600  /* 2013-05-24T00:00:00Z */

/* One request as it came off the wire, and the code that it must be refused with (NULL: none). */
struct wire_case {
	const char *name, *method, *path, *query;
	bool tls;
	struct auth_header headers[MAX_HEADERS];
	const char *code;
	const char *body;
	size_t body_len;
};

/* The same as an auth_request; borrows from the case. */
static inline struct auth_request request_of(const struct wire_case *wire)
{
	struct auth_request request = {wire->method,  wire->path, wire->query,
				       wire->headers, 0,	  wire->tls};

	while (request.header_count < MAX_HEADERS && wire->headers[request.header_count].name)
		request.header_count++;
	return request;
}

#endif
