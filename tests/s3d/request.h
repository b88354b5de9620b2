/* SPDX-License-Identifier: Apache-2.0 */
#ifndef S3D_REQUEST_H
#define S3D_REQUEST_H

#include "auth.h"
#include "s3d.h"
#include "store.h"

struct conn;
struct fault;
struct intake;
struct log_record;

enum op {
	OP_UNKNOWN,
	OP_LIST_BUCKETS,
	OP_CREATE_BUCKET,
	OP_HEAD_BUCKET,
	OP_DELETE_BUCKET,
	OP_GET_BUCKET_LOCATION,
	OP_GET_BUCKET_VERSIONING,
	OP_LIST_OBJECTS,
	OP_LIST_OBJECTS_V2,
	OP_DELETE_OBJECTS,
	OP_LIST_UPLOADS,
	OP_GET_OBJECT,
	OP_HEAD_OBJECT,
	OP_PUT_OBJECT,
	OP_COPY_OBJECT,
	OP_DELETE_OBJECT,
	OP_GET_OBJECT_TAGGING,
	OP_CREATE_UPLOAD,
	OP_UPLOAD_PART,
	OP_UPLOAD_PART_COPY,
	OP_COMPLETE_UPLOAD,
	OP_ABORT_UPLOAD,
	OP_LIST_PARTS,
	OP_ADMIN,
	OP_COUNT,
};

/* Where the body goes. */
enum body_kind {
	BODY_NONE, /* thrown away */
	BODY_TEXT, /* into memory, up to a cap */
	BODY_BLOB, /* into a new blob */
};

struct request;

struct op_row {
	const char *name;   /* as in AWS's API model, and in the log */
	const char *action; /* IAM, NULL where the operation checks by itself */
	enum body_kind body;
	/* Carries the operation out and fills the answer; the body has been read and verified. */
	void (*run)(struct request *request);
};

extern const struct op_row op_table[OP_COUNT];

/* An answer before it is shaped and sent. Zero is "none yet". */
struct answer {
	int status; /* 0: none yet */
	struct fields headers;
	struct buf bytes;      /* the body, when object is NULL */
	struct object *object; /* a reference: the body is [first, first + length) of it */
	uint64_t first, length;
};

/* One request from its first byte to its log line; one thread at a time (MHD's, or the parker's
 * through MHD). */
struct request {
	struct s3d *s3d;
	struct conn *conn;
	struct MHD_Connection *mhd;
	/* as received */
	char *method, *raw_path, *raw_query;
	struct auth_header *headers; /* strings belong to MHD */
	size_t header_count;
	uint64_t content_length;
	bool has_length, chunked;
	/* as understood */
	enum op op;
	const struct op_row *row;
	const struct dialect *dialect;
	struct fields query;	 /* decoded */
	char *bucket_name, *key; /* "" when there is none */
	size_t key_len;
	struct bucket *bucket; /* or NULL */
	struct auth_result auth;
	bool existed; /* the key existed when the request began */
	char id[17];
	/* on its way */
	struct fault *fault; /* a reference or NULL */
	struct intake *intake;
	struct answer answer;
	struct log_record *record;
	uint64_t body_received;
	/* server.c only */
	enum phase { PHASE_NEW, PHASE_BODY, PHASE_ANSWERED, PHASE_DEAD } phase;
	uint64_t begun_ns; /* when its first line was there */
	uint64_t due_ns;   /* earliest time of the next step */
	struct padded {	   /* padding.c only */
		struct buf pending;
		size_t at;
		uint64_t padding;
		bool begun, ended;
	} padded;
	uint64_t acked_before; /* on this connection when the answer began */
};

/* Header of the request, or NULL. Repeated ones: the first. */
const char *request_header(const struct request *request, const char *name);
/* Query parameter, decoded ("" when it has no value), or NULL. */
const char *request_query(const struct request *request, const char *name);

/*
 * Understands target and headers: bucket, key, query, operation. Fills the answer with an error
 * when they break a rule.
 */
void request_parse(struct request *request);
/* Decides which operation the method and the sub-resources name. */
enum op route(const struct request *request);
/* Region, signature, rights. Fills the answer with an error when something is wrong. */
void request_authorise(struct request *request);
/* Whether the caller may do this, by its own and the bucket's policy. resource: "bucket/key". */
bool request_may(const struct request *request, const struct bucket *bucket, const char *action,
		 const char *resource, const char *list_prefix);
/* "bucket/key" of the request; the caller frees it. */
char *request_resource(const struct request *request);

/* Replaces the answer by an error of S3; status and message come from the table in error.c. */
void answer_error(struct request *request, const char *code);
/* The same with further elements ("<Region>eu</Region>", XML already) and another message. */
void answer_error_detail(struct request *request, const char *code, const char *message,
			 const char *elements);
/* Begins an answer without a body. */
void answer_status(struct request *request, int status);
/* Begins an XML answer of status 200: the declaration is written, the caller adds the rest. */
struct buf *answer_xml(struct request *request);
/* Frees what the answer holds and makes it empty. */
void answer_finish(struct answer *answer);
/* The HTTP status that goes with an error code; 400 for an unknown one. */
int error_status(const char *code);
/* The code for what the store said; 500 for what nobody expects. */
const char *error_code_of(int err);

/* XML text: escaped element. */
void xml_element(struct buf *b, const char *name, const char *text);
/* The same for bytes that may hold anything. */
void xml_element_bytes(struct buf *b, const char *name, const char *bytes, size_t len);
/* <name>123</name> */
void xml_number(struct buf *b, const char *name, uint64_t value);
/* <ETag>"..."</ETag> */
void xml_etag(struct buf *b, const char *etag);
/* <LastModified> of milliseconds since the epoch. */
void xml_date(struct buf *b, int64_t ms);

/* The operations, one file a family. */
void op_list_buckets(struct request *request);
void op_create_bucket(struct request *request);
void op_head_bucket(struct request *request);
void op_delete_bucket(struct request *request);
void op_get_bucket_location(struct request *request);
void op_get_bucket_versioning(struct request *request);
void op_list_objects(struct request *request);
void op_list_uploads(struct request *request);
void op_delete_objects(struct request *request);
void op_get_object(struct request *request);
void op_get_object_tagging(struct request *request);
void op_put_object(struct request *request);
void op_copy_object(struct request *request);
void op_delete_object(struct request *request);
void op_create_upload(struct request *request);
void op_upload_part(struct request *request);
void op_upload_part_copy(struct request *request);
void op_complete_upload(struct request *request);
void op_abort_upload(struct request *request);
void op_list_parts(struct request *request);
void op_admin(struct request *request);

#endif
