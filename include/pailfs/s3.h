/* SPDX-License-Identifier: Apache-2.0 */
/*
 * S3 requests as values: built, signed, parsed and classified here; no thread, no clock, no sleep.
 *
 * A struct s3_op says what to ask and receives what came back. Sending consumes nothing of it: a
 * retry is building it again, a GET's range beginning where its sink stands. It is signed when it
 * is sent (s3_build), with the keys, region and time of that moment.
 *
 * Life of an op: s3_op_init; fill; then for each try: s3_build, [s3_op_headers, s3_op_data...],
 * s3_op_end, which fills op->result; at last s3_op_finish.
 */
#ifndef PAILFS_S3_H
#define PAILFS_S3_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include <time.h>

#include <pailfs/http.h>

#define S3_KEY_MAX 1024 /* bytes of UTF-8 (S3 user guide, "Naming objects") */
#define S3_BUCKET_MAX 63
#define S3_REGION_MAX 32
#define S3_ETAG_MAX 128		 /* with its quotes; longer ones are refused */
#define S3_LIST_ENTRIES_MAX 1000 /* a page; more is refused */
#define S3_XML_BYTES_MAX (16 << 20)
#define S3_ERROR_BYTES_MAX (64 << 10)
#define S3_UPLOAD_ID_MAX 1024

/* Where requests go. By value: xfer/ owns the current one and replaces it when it learns. */
struct s3_target {
	bool https;
	char host[256]; /* without the bucket; unused with amazon, see s3_target_host */
	uint16_t port;	/* 0: the scheme's */
	bool path_style;
	char bucket[S3_BUCKET_MAX + 1];
	char region[S3_REGION_MAX + 1]; /* "" until known; signed as us-east-1 then */
	bool amazon; /* a regional endpoint of Amazon: the host follows region, dualstack, fips */
	bool dualstack, fips;
	bool requester_pays;
	char expected_bucket_owner[32]; /* "" none */
	int64_t clock_offset_s;		/* server minus ours */
};

/* Borrowed strings; all NULL: not signed (no_sign_request). */
struct s3_keys {
	const char *access_key;
	const char *secret_key;
	const char *session_token; /* NULL: none */
};

enum s3_verb {
	S3_HEAD_BUCKET,
	S3_LIST,
	S3_HEAD_OBJECT,
	S3_GET_OBJECT,
	/* the writing half */
	S3_PUT_OBJECT,
	S3_COPY_OBJECT,
	S3_DELETE_OBJECT,
	S3_DELETE_OBJECTS,
	S3_CREATE_MULTIPART,
	S3_UPLOAD_PART,
	S3_UPLOAD_PART_COPY,
	S3_COMPLETE_MULTIPART,
	S3_ABORT_MULTIPART,
	S3_LIST_PARTS,
	S3_LIST_UPLOADS,
};

/* What to do with a failed try. */
enum s3_retry {
	S3_RETRY_NO,	   /* final: result.err says it */
	S3_RETRY_BACKOFF,  /* 5xx, reset, stall...: again after a pause */
	S3_RETRY_THROTTLE, /* 503 SlowDown, 429: again, slower */
	S3_RETRY_FRESH,	   /* at once, once, on a new connection (a kept one had been closed) */
	S3_RETRY_CLOCK,	   /* after taking result.clock_offset_s over */
	S3_RETRY_REGION,   /* after taking result.region over (it is another one), once */
	S3_RETRY_KEYS,	   /* after the keys were refreshed, once */
};

/* One object or common prefix of a listing, or the headers of one object. */
struct s3_object {
	uint64_t size;
	struct timespec modified; /* 0 if the server gave none or nonsense */
	char etag[S3_ETAG_MAX];	  /* with its quotes, as sent; "" if none */
	char storage_class[32];	  /* "" is STANDARD */
	char content_type[64];	  /* HEAD and GET only */
	bool archived;		  /* cannot be read: in Glacier without a restored copy */
};

struct s3_entry {
	const char *key; /* decoded, with length: may hold any byte but NUL ends it, too */
	size_t key_length;
	bool is_prefix; /* a common prefix: ends in the delimiter, no object */
	uint64_t size;
	struct timespec modified;
	const char *etag;
	bool archived; /* by storage class alone: a listing does not tell restored copies */
};

/* A page of a listing, in the order of the server; owned by the op until s3_page_take. */
struct s3_page {
	struct s3_entry *entries;
	size_t entry_count;
	bool truncated;
	char *next_token; /* for the next page; NULL if not truncated */
	unsigned refused; /* entries that were hidden: bad bytes, absurd sizes; logged by fs/ */
	void *arena;	  /* owns all strings */
};

struct s3_result {
	int err; /* 0, or -errno */
	enum s3_retry retry;
	int status;
	char code[64];	   /* S3's error code, "" if none; printable */
	char message[256]; /* S3's words, printable */
	uint64_t retry_after_ns;
	char region[S3_REGION_MAX + 1]; /* learnt from the answer, "" if none */
	int64_t clock_offset_s;		/* with S3_RETRY_CLOCK */
};

/* Takes the next bytes of a GET's range, in order, each once. 0, or -errno to stop for good. */
typedef int s3_sink(void *ctx, const void *bytes, size_t n);

struct s3_op {
	/* ask */
	enum s3_verb verb;
	const char *key;	    /* borrowed; NULL for the bucket's verbs */
	size_t key_length;	    /* keys may hold any byte */
	char if_match[S3_ETAG_MAX]; /* GET, HEAD, ...: "" none */
	uint64_t offset;	    /* GET: the range asked for; length 0 on GET is an error */
	uint64_t length;
	uint64_t object_size; /* GET: what the object's size must be (total of Content-Range);
				 UINT64_MAX unknown: then a range past the end is cut there, and
				 object.size says what it is */
	s3_sink *sink;
	void *sink_ctx;
	const char *prefix; /* LIST: borrowed, "" for all */
	size_t prefix_length;
	const char *start_after; /* LIST: NULL none */
	size_t start_after_length;
	const char *token; /* LIST: continuation token, NULL first page */
	bool delimiter;	   /* LIST: '/' */
	unsigned max_keys; /* LIST: 1..1000 */
	/* answer */
	struct s3_result result;
	struct s3_object object; /* HEAD and GET */
	struct s3_page page;	 /* LIST */
	uint64_t received;	 /* GET: bytes the sink has taken, over all tries */
	bool checked_at_end;	 /* GET: the answer carries a checksum of the whole object: the
				    sink's bytes are right only once the op has ended with 0 */
	/* s3/ only */
	struct s3_parse *parse;
	time_t sent_at_s;      /* our clock at the last s3_build */
	int64_t sent_offset_s; /* and the target's offset and region then */
	char sent_region[S3_REGION_MAX + 1];
};

/* An empty op of that verb; frees nothing. */
void s3_op_init(struct s3_op *op, enum s3_verb verb);
/* Frees what the answer holds (page, parser). NULL is fine. */
void s3_op_finish(struct s3_op *op);
/*
 * Builds and signs the request for one try into *ret_message (the caller finishes it). now_s: our
 * clock; the target's offset is added. Notes in op what it was signed with, for s3_op_end. 0,
 * -ENAMETOOLONG, -EINVAL (no key, no range, nothing left of the range, a line break in a header),
 * -ENOMEM, -EOPNOTSUPP (a verb that is not written yet).
 */
int s3_build(struct s3_op *op, const struct s3_target *target, const struct s3_keys *keys,
	     time_t now_s, struct http_message *ret_message);
/* Most bytes that the body of an answer to op may have, for http/'s body_cap. */
uint64_t s3_body_cap(const struct s3_op *op);
/*
 * The headers of the answer are there: checks status, Content-Range, length and ETag. 0 to go on,
 * or -errno to stop the transfer (s3_op_end then classifies).
 */
int s3_op_headers(struct s3_op *op, const struct http_answer *answer);
/* The next bytes of the body: to the sink, the XML parser or the error text. 0 or -errno. */
int s3_op_data(struct s3_op *op, const void *bytes, size_t n);
/* The transfer ended: fills op->result (and object, page). Returns result.err. */
int s3_op_end(struct s3_op *op, const struct http_answer *answer);

/*
 * Fills a target from an endpoint URL ("http://host:port", "https://..."; no path, query or user;
 * NULL: Amazon's of the region). path_style: -1 decides itself (virtual-host for Amazon, path for
 * other endpoints, IP addresses and buckets with dots or capitals). -EINVAL with a text for the
 * user in ret_error (at least 160 bytes).
 */
int s3_target_init(struct s3_target *t, const char *endpoint, const char *bucket,
		   const char *region, int path_style, char *ret_error, size_t error_size);
#define S3_HOST_BYTES (256 + S3_BUCKET_MAX + 8)
/*
 * The authority that requests go to, as in the Host header: the bucket in front unless path_style,
 * the port behind unless it is the scheme's. Returns dst.
 */
const char *s3_target_host(const struct s3_target *t, char dst[S3_HOST_BYTES]);
/* Takes over a learnt region ([a-z0-9-]{1,32}, else -EINVAL). */
int s3_target_set_region(struct s3_target *t, const char *region);
/* True if text may be a bucket's name in S3's rules (3-63, lower case...; older ones with capitals
 * and _ too). */
bool s3_bucket_name_valid(const char *text);

/* True if both are the same ETag; some servers leave the quotes out in some of their answers. */
bool s3_etags_equal(const char *a, const char *b);
/* Gives the page to the caller, who frees it with s3_page_finish; the op's becomes empty. */
struct s3_page s3_page_take(struct s3_op *op);
/* Frees a page and empties it. */
void s3_page_finish(struct s3_page *page);
/* Prepares libraries below (libxml2) once, before threads; and the reverse. */
void s3_library_init(void);
/* Undoes s3_library_init, after all threads. */
void s3_library_finish(void);

/* "GetObject", "ListObjectsV2": as in S3's documents and IAM's actions' log. */
const char *s3_verb_name(enum s3_verb verb);
/* The IAM action a verb needs: "s3:GetObject", "s3:ListBucket". */
const char *s3_verb_action(enum s3_verb verb);

#endif
