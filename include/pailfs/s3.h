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
#define S3_PARTS_MAX 10000
#define S3_DELETES_MAX 1000	      /* keys of one DeleteObjects */
#define S3_SHA256_HEX_BYTES 65	      /* with its NUL */
#define S3_ANSWER_BYTES_MAX (1 << 20) /* of a small result; Complete's blanks count, too */

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
	/* of the writing half; s3_target_init sets them for what the endpoint is */
	bool unsigned_payload; /* bodies are not signed (TLS guards them): so with https */
	bool checksum_crc32c;  /* uploads carry a CRC32C; off once the server has refused it */
	bool mp_object_size;   /* Complete carries the object's size; likewise */
	bool bare_etags;       /* If-Match of what changes objects goes without its quotes: RGW */
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
	S3_GET_TAGGING,
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
	S3_RETRY_WITHOUT,  /* at once: s3_build leaves out what the server has refused */
};

/* What a server may refuse and a request can do without; bits. */
enum s3_feature {
	S3_FEATURE_CHECKSUM = 1,
	S3_FEATURE_OBJECT_SIZE = 2,
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

/* User metadata: name without x-amz-meta-, in lower case; value as in its header (printable, bytes
 * over 0x7f as they are): see s3_meta_encode. */
struct s3_meta {
	const char *name;
	const char *value;
};

/*
 * What is stored with an object besides its bytes. Strings in the form of their headers; NULL: not
 * there. Asked with PUT, Copy and CreateMultipart (borrowed); answered by HEAD and GET.
 */
struct s3_attributes {
	const char *content_type;
	const char *cache_control;
	const char *content_disposition;
	const char *content_encoding;
	const char *content_language;
	const char *expires;
	const char *website_redirect;
	const char *storage_class;
	const char *sse; /* AES256, aws:kms, aws:kms:dsse */
	const char *sse_kms_key_id;
	const char *sse_bucket_key; /* "true" */
	const char *acl;	    /* a canned one; ask only */
	const char *tagging;	    /* "a=b&c=d", url-encoded; ask only: see S3_GET_TAGGING */
	const struct s3_meta *meta;
	unsigned meta_count;
};

/* The bytes that PUT and UploadPart send. Borrowed until the op has ended, and unchanged: each try
 * sends them from the start. Zeroed: an empty body. */
struct s3_body {
	const struct iovec *iov;
	int iov_count;
	int fd; /* used when iov_count is 0 and length is not */
	uint64_t offset;
	uint64_t length;
	char sha256[S3_SHA256_HEX_BYTES]; /* needed unless target.unsigned_payload or empty */
	uint32_t crc32c;		  /* sent if the target says so */
	bool has_crc32c;
};

/* A copy within the bucket. */
struct s3_copy {
	const char *key; /* borrowed */
	size_t key_length;
	char if_match[S3_ETAG_MAX]; /* of the source; "" none */
	uint64_t offset;	    /* UploadPartCopy: the range; length 0: all of it. S3 takes a */
	uint64_t length;	    /* range only of sources over 5 MB */
	bool replace;		    /* CopyObject: op.attributes replace the source's (content
				       headers and metadata); else those are kept. Storage class,
				       encryption, acl and website redirect are never kept: always
				       op.attributes' */
	bool replace_tags; /* CopyObject: with attributes.tagging (NULL: none); else kept */
};

/* A part, for Complete (borrowed; ascending numbers; each with an ETag) and of ListParts. */
struct s3_part {
	unsigned number; /* 1..S3_PARTS_MAX */
	const char *etag;
	uint64_t size;
	uint32_t crc32c;
	bool has_crc32c; /* Complete: only if the answer to its UploadPart had it */
};

/* s3/ only: to be sent; named as not deleted, may pass; its end is known. */
enum s3_delete_state { S3_DELETE_PENDING, S3_DELETE_AGAIN, S3_DELETE_FAILED, S3_DELETE_DONE };

/* One key of DeleteObjects. */
struct s3_delete {
	const char *key; /* borrowed; s3_key_in_xml must say yes */
	size_t key_length;
	const char *etag; /* delete only this one; NULL: any, and none there is as good */
	/* answer: 0, or -errno; while result.err is not 0, -EIO means not known */
	int err;
	enum s3_delete_state state; /* s3/ only */
};

struct s3_upload {
	const char *key; /* decoded */
	size_t key_length;
	const char *id;
	struct timespec initiated;
};

/* A page of ListParts (parts) or ListMultipartUploads (uploads); the op's until s3_op_finish or the
 * next try. */
struct s3_upload_page {
	struct s3_part *parts;
	size_t part_count;
	struct s3_upload *uploads;
	size_t upload_count;
	bool truncated;
	unsigned next_part;   /* ListParts: part_marker of the next page */
	const char *next_key; /* ListMultipartUploads: key_marker and */
	size_t next_key_length;
	const char *next_upload; /* upload_marker of the next page */
	unsigned refused;	 /* entries that were left out: no key, no id */
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
	char if_match[S3_ETAG_MAX]; /* GET, HEAD, PUT, Complete, Copy, Delete: "" none */
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
	const char *token;    /* LIST: continuation token, NULL first page */
	bool delimiter;	      /* LIST: '/' */
	unsigned max_keys;    /* LIST, LIST_PARTS, LIST_UPLOADS: 1..1000 */
	bool want_attributes; /* HEAD, GET: fill found */
	/* ask: what changes objects */
	bool if_none_match_any;		 /* PUT, Complete, Copy: only if there is no such object */
	struct s3_body body;		 /* PUT, UploadPart */
	struct s3_attributes attributes; /* PUT, Copy, CreateMultipart */
	struct s3_copy copy;		 /* Copy, UploadPartCopy */
	const char *upload_id;		 /* borrowed: UploadPart, UploadPartCopy, Complete, Abort,
					    ListParts */
	unsigned part_number;		 /* UploadPart, UploadPartCopy */
	const struct s3_part *parts;	 /* Complete */
	unsigned part_count;
	struct s3_delete *deletes; /* DeleteObjects: borrowed, err is written. result.err 0: each
				      key has its own end */
	unsigned delete_count;
	unsigned part_marker;	/* ListParts: after this number; 0 from the first */
	const char *key_marker; /* ListMultipartUploads: after this key; NULL from the first */
	size_t key_marker_length;
	const char *upload_marker; /* ... and after this upload of it; NULL none */
	/* answer */
	struct s3_result result;
	struct s3_object object; /* HEAD and GET; etag: of what PUT, UploadPart, UploadPartCopy,
				    Complete, Copy made, never "" */
	struct s3_page page;	 /* LIST */
	/*
	 * A try that changes something ended without a clear answer (lost, cut, 5xx, cancelled,
	 * repeated by curl) and may have been carried out: with an error as the op's end, or
	 * (CreateMultipart) besides a good one. Never taken back. fs/ settles it by looking.
	 */
	bool ambiguous;
	/* until s3_op_finish or the next try; NULL if the answer had none */
	struct s3_attributes found; /* HEAD and GET with want_attributes */
	unsigned tag_count;	    /* likewise */
	const char *version_id;	    /* HEAD, GET, PUT, Copy, Complete, Delete */
	const char *created_id;	    /* CreateMultipart: the upload's id */
	const char *tagging;	    /* GET_TAGGING: as attributes.tagging wants it, "" none */
	/* PUT, UploadPart, UploadPartCopy: confirmed by the server, to be named in Complete;
	 * CreateMultipart: has_crc32c alone, parts are to carry one */
	uint32_t crc32c;
	bool has_crc32c;
	struct s3_upload_page upload_page; /* ListParts, ListMultipartUploads */
	uint64_t received;		   /* GET: bytes the sink has taken, over all tries */
	bool checked_at_end; /* GET: the answer carries a checksum of the whole object: the sink's
				bytes are right only once the op has ended with 0 */
	/* s3/ only */
	struct s3_parse *parse;
	time_t sent_at_s;      /* our clock at the last s3_build */
	int64_t sent_offset_s; /* and the target's offset and region then */
	char sent_region[S3_REGION_MAX + 1];
	unsigned sent_features; /* enum s3_feature: in the last request */
	unsigned left_out;	/* refused by the server in an earlier try */
};

/* An empty op of that verb; frees nothing. */
void s3_op_init(struct s3_op *op, enum s3_verb verb);
/* Frees what the answer holds (page, parser). NULL is fine. */
void s3_op_finish(struct s3_op *op);
/*
 * Builds and signs the request for one try into *ret_message (the caller finishes it). now_s: our
 * clock; the target's offset is added. Notes in op what it was signed with, for s3_op_end. 0,
 * -ENAMETOOLONG, -EINVAL (no key, no range, nothing left of the range, a control character in a
 * header, no upload id, a part number out of 1..S3_PARTS_MAX, a body without the hash that the
 * target wants, parts of Complete without ETag or not ascending), -E2BIG (too much metadata),
 * -EILSEQ (a key of DeleteObjects that XML cannot carry), -ENOMEM.
 */
int s3_build(struct s3_op *op, const struct s3_target *target, const struct s3_keys *keys,
	     time_t now_s, struct http_message *ret_message);
/* Lets r send the body of op: after s3_build, and unchanged until s3_op_end. */
void s3_op_body(const struct s3_op *op, struct http_request *r);
/* True for a verb that S3 may work on for minutes before it answers: Complete and copies. */
bool s3_verb_is_slow(enum s3_verb verb);
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
 * What result.err means for the verbs that change objects, besides semantics.md's list:
 *	-EEXIST	 412 with if_none_match_any (of a copy, too, unless the server names its source)
 *	-ESTALE	 412 otherwise: if_match, or the source of a copy, is another one by now
 *	-ENXIO	 there is no such upload (any more)
 *	-EAGAIN	 409 to Complete: the upload is gone; a new one with all parts may do
 *	-EFBIG	 larger than the server takes
 *	-ENOENT	 no such object (DELETE, source of a copy), or no bucket: code says which
 * A part without ETag, InvalidPart, EntityTooSmall and the like: -EIO.
 */

/*
 * Computes the body's SHA-256 and CRC32C, as asked, of memory or of the file; where the body was
 * filled, never on a thread of xfer/ or http/. 0, -EIO (the file is shorter), -ENOMEM, pread's.
 */
int s3_body_seal(struct s3_body *body, bool sha256, bool crc32c);
/* As s3_body_seal of both. Where s3_seals_pairs, it is cheaper for bodies in memory of one length.
 */
int s3_body_seal_pair(struct s3_body *first, struct s3_body *second, bool sha256, bool crc32c);
/* True if this processor computes the SHA-256 of two bodies at once in less time than it takes for
 * one after the other. */
bool s3_seals_pairs(void);
/* The CRC32C of what crc is the CRC32C of (0: nothing) and n more bytes. */
uint32_t s3_crc32c(uint32_t crc, const void *bytes, size_t n);

/* A SHA-256 of bytes that come in pieces. */
struct s3_hash {
	void *context;
};
/* Begins. -ENOMEM. */
int s3_hash_init(struct s3_hash *h);
/* The next bytes. -ENOMEM. */
int s3_hash_update(struct s3_hash *h, const void *bytes, size_t n);
/* Tells the hash of all bytes and begins anew. -ENOMEM. */
int s3_hash_hex(struct s3_hash *h, char ret_hex[S3_SHA256_HEX_BYTES]);
/* Frees it. NULL is fine. */
void s3_hash_finish(struct s3_hash *h);

/*
 * The header form of a metadata value that may hold anything but NUL, CR and LF (-EINVAL): itself
 * if it is plain, else one encoded word (RFC 2047, base64, UTF-8), as S3 documents it. *ret_value
 * is the caller's to free. -ENOMEM.
 */
int s3_meta_encode(const char *bytes, size_t n, char **ret_value);
/* The reverse: encoded words become their bytes, other text stays. NUL-terminated; the caller
 * frees it. -ENOMEM. */
int s3_meta_decode(const char *value, char **ret_bytes, size_t *ret_n);
/* True if a key can stand in XML, as DeleteObjects needs: UTF-8 without control characters. */
bool s3_key_in_xml(const char *key, size_t n);

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
