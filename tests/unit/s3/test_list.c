/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages of listings: what becomes an entry, what is left out and counted, what makes the page an
 * error. Every case runs with pieces of 1, 7 and 65536 bytes.
 */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define XML "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
#define PAGE(inside)                                                                               \
	XML "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">" inside          \
	    "</ListBucketResult>"
#define OBJECT(key)                                                                                \
	"<Contents><Key>" key "</Key><LastModified>2026-08-30T12:36:00.000Z</LastModified>"        \
	"<ETag>&quot;e&quot;</ETag><Size>5</Size><StorageClass>STANDARD</StorageClass></Contents>"
#define SIZED(key, size)                                                                           \
	"<Contents><Key>" key "</Key><ETag>\"e\"</ETag><Size>" size "</Size></Contents>"
#define PREFIX(key) "<CommonPrefixes><Prefix>" key "</Prefix></CommonPrefixes>"
#define URL "<EncodingType>url</EncodingType>"
#define NEXT(token)                                                                                \
	"<IsTruncated>true</IsTruncated><NextContinuationToken>" token "</NextContinuationToken>"

/* The listing asked for has the prefix "" and the delimiter, unless said otherwise. */
struct list_case {
	const char *name;
	const char *body;
	const char *keys; /* of the entries, joined by '|' */
	unsigned refused;
	int err;
	enum s3_retry retry;
	const char *next;   /* NULL: not truncated */
	const char *prefix; /* what was asked for */
	const char *token;
	bool flat; /* no delimiter */
	const char *message;
};

static const struct list_case cases[] = {
    {"empty", PAGE(""), ""},
    {"objects and prefixes, in order",
     PAGE("<Name>bucket</Name><Prefix/><KeyCount>3</KeyCount><MaxKeys>1000</MaxKeys>"
	  "<IsTruncated>false</IsTruncated>" OBJECT("b") OBJECT("a") PREFIX("c/")),
     "b|a|c/"},
    {"blanks before the document", " \r\n\t" PAGE(OBJECT("a")), "a"},
    {"no declaration, no namespace", "<ListBucketResult>" OBJECT("a") "</ListBucketResult>", "a"},
    {"entities", PAGE(OBJECT("&lt;&amp;&gt;&#38;&#x41;")), "<&>&A"},
    {"CDATA", PAGE(OBJECT("<![CDATA[a<b]]>")), "a<b"},
    {"comments", PAGE("<!-- x -->" OBJECT("a<!-- y -->b")), "ab"},
    {"unknown elements", PAGE("<X><Key>no</Key><Y><Z/></Y></X>" OBJECT("a") "<Key>no</Key>"), "a"},
    {"a key in the owner is none",
     PAGE("<Contents><Key>a</Key><Size>1</Size><Owner><ID>x</ID>"
	  "<Key>no</Key></Owner></Contents>"),
     "a"},

    {"url-encoded", PAGE(URL OBJECT("a+b%2Bc%25d%0A%C3%A9")), "a b+c%d\n\xc3\xa9"},
    {"url-encoded, said last", PAGE(OBJECT("a%20b") PREFIX("c%2F") URL), "a b|c/"},
    {"not url-encoded", PAGE(OBJECT("a+b%20c")), "a+b%20c"},
    {"url-encoded NUL", PAGE(URL OBJECT("a%00b")), "a"},
    {"url-encoded bad UTF-8", PAGE(URL OBJECT("%FF%fe")), "\xff\xfe"},
    {"broken escapes", PAGE(URL OBJECT("a%2") OBJECT("b%zz") OBJECT("c%") OBJECT("d")), "d", 3},

    {"a control character", PAGE(OBJECT("a") OBJECT("b\x01x") OBJECT("c")), "a|c", 1},
    {"a control character by reference", PAGE(OBJECT("a") OBJECT("b&#x1;") OBJECT("c")), "a|c", 1},
    {"bad UTF-8", PAGE(OBJECT("a") OBJECT("b\xff") OBJECT("\xc3\xa9")), "a|\xc3\xa9", 1},
    {"UTF-8 cut by a tag", PAGE(OBJECT("a\xe2\x82") OBJECT("c")), "c", 1},
    {"overlong UTF-8", PAGE(OBJECT("\xc0\xaf") OBJECT("\xe0\x80\xaf") OBJECT("c")), "c", 2},
    {"a surrogate", PAGE(OBJECT("\xed\xa0\x80") OBJECT("c")), "c", 1},
    {"beyond Unicode", PAGE(OBJECT("\xf4\x90\x80\x80") OBJECT("\xf5\x80\x80\x80") OBJECT("c")), "c",
     2},
    {"all lengths of UTF-8",
     PAGE(OBJECT("\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbd\xf0\x90\x80\x80"
		 "\xf4\x8f\xbf\xbf")),
     "\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbd\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"},
    {"a bad byte in the echoed prefix hides nothing",
     PAGE("<Prefix>\x01</Prefix>" OBJECT("a") "<X>\xff</X>" OBJECT("b")), "a|b"},
    {"a bad byte in a common prefix", PAGE(PREFIX("\x02/") PREFIX("b/")), "b/", 1},

    {"sizes", PAGE(SIZED("a", "0") SIZED("b", "9223372036854775807")), "a|b"},
    {"sizes that cannot be",
     PAGE(SIZED("a", "-1") SIZED("b", "9223372036854775808")
	      SIZED("c", "99999999999999999999999999") SIZED("d", "") SIZED("e", "1x")
		  SIZED("f", "0x10") SIZED("g", " 1") SIZED("h", "5")),
     "h", 7},
    {"no size", PAGE("<Contents><Key>a</Key></Contents>" OBJECT("b")), "b", 1},
    {"no key", PAGE("<Contents><Size>1</Size></Contents>" PREFIX("") OBJECT("b")), "b", 2},
    {"an ETag that cannot be",
     PAGE("<Contents><Key>a</Key><ETag>\"e\r\nX: y\"</ETag><Size>1</Size></Contents>" OBJECT("b")),
     "b", 1},
    {"a foreign prefix", PAGE(OBJECT("p/a") OBJECT("q/b") PREFIX("p/c/") PREFIX("x/")), "p/a|p/c/",
     2, .prefix = "p/"},
    {"the prefix itself", PAGE(OBJECT("p/") OBJECT("p")), "p/", 1, .prefix = "p/"},
    {"odd names are the caller's affair", PAGE(OBJECT(".") OBJECT("..") PREFIX("../") PREFIX("/")),
     ".|..|../|/"},
    {"slashes that nobody delimits", PAGE(OBJECT("/") OBJECT("a/b")), "/|a/b", .flat = true},
    {"the prefix itself as a common prefix", PAGE(PREFIX("p/") OBJECT("p/a")), "p/a", 1,
     .prefix = "p/"},
    {"an object behind the delimiter", PAGE(OBJECT("p/a") OBJECT("p/b/c")), .prefix = "p/",
     .err = -EIO, .message = "the server ignores the delimiter"},
    {"a common prefix behind the delimiter", PAGE(PREFIX("p/b/c/")), .prefix = "p/", .err = -EIO,
     .message = "the server ignores the delimiter"},
    {"a common prefix without its delimiter", PAGE(PREFIX("a") PREFIX("b/")), "b/", 1},
    {"common prefixes that nobody asked for", PAGE(OBJECT("a") PREFIX("b/")), "a", 1, .flat = true},

    {"truncated", PAGE(OBJECT("a") NEXT("tok&amp;en")), "a", .next = "tok&en"},
    {"truncated and empty", PAGE(NEXT("t")), "", .next = "t"},
    {"a token on the last page",
     PAGE("<IsTruncated>false</IsTruncated><NextContinuationToken>t"
	  "</NextContinuationToken>"),
     ""},
    {"truncated without a token", PAGE("<IsTruncated>true</IsTruncated>"), .err = -EIO},
    {"truncated with an empty token", PAGE(NEXT("")), .err = -EIO},
    {"truncated with a bad byte in its token", PAGE(NEXT("t\x01")), .err = -EIO},
    {"the same token again", PAGE(NEXT("t")), .err = -EIO, .token = "t"},
    {"another token", PAGE(NEXT("u")), "", .next = "u", .token = "t"},
    {"version 1",
     PAGE("<Marker/><NextMarker>a</NextMarker><IsTruncated>true</IsTruncated>" OBJECT("a")),
     .err = -EIO,
     .message = "the server speaks only version 1 of ListObjects (no NextContinuationToken)"},
    {"version 1, one page", PAGE("<Marker/><IsTruncated>false</IsTruncated>" OBJECT("a")), "a"},

    {"nothing", "", .err = -EIO, .retry = S3_RETRY_BACKOFF},
    {"blanks", "   ", .err = -EIO, .retry = S3_RETRY_BACKOFF},
    {"no XML", "OK", .err = -EIO, .retry = S3_RETRY_BACKOFF},
    {"HTML", "<html><body><br></body></html>", .err = -EIO, .retry = S3_RETRY_BACKOFF},
    {"another root", XML "<ListAllMyBucketsResult/>", .err = -EIO, .retry = S3_RETRY_BACKOFF},
    {"cut in a tag", XML "<ListBucketResult>" OBJECT("a") "</ListBucketRes", .err = -EIO,
     .retry = S3_RETRY_BACKOFF},
    {"cut between entries", XML "<ListBucketResult>" OBJECT("a"), .err = -EIO,
     .retry = S3_RETRY_BACKOFF},
    {"cut in a character", XML "<ListBucketResult/>\xc3", .err = -EIO, .retry = S3_RETRY_BACKOFF},
    {"tags crossed", PAGE("<Contents><Key>a</Contents></Key>"), .err = -EIO,
     .retry = S3_RETRY_BACKOFF},
    {"an unknown entity", PAGE(OBJECT("&nbsp;")), .err = -EIO, .retry = S3_RETRY_BACKOFF},
    {"something after the end", PAGE("") "x", .err = -EIO, .retry = S3_RETRY_BACKOFF},
    {"two documents", PAGE("") PAGE(""), .err = -EIO, .retry = S3_RETRY_BACKOFF},
    {"a DOCTYPE", "<!DOCTYPE x>" PAGE(OBJECT("a")), .err = -EIO},
    {"an entity bomb",
     "<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\">]>"
     "<ListBucketResult>" OBJECT("&b;&b;&b;&b;") "</ListBucketResult>",
     .err = -EIO},
    {"an external entity",
     "<!DOCTYPE x [<!ENTITY a SYSTEM \"file:///etc/passwd\">]>"
     "<ListBucketResult>" OBJECT("&a;") "</ListBucketResult>",
     .err = -EIO},
    {"too deep", PAGE("<a><a><a><a><a><a><a><a>x</a></a></a></a></a></a></a></a>"), .err = -EIO},
    {"too many attributes",
     PAGE("<a a='' b='' c='' d='' e='' f='' g='' h='' i='' j='' k='' l='' m='' n='' o='' p='' "
	  "q=''/>"),
     .err = -EIO},
    {"another encoding is not believed",
     "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><ListBucketResult>" OBJECT("\xe9")
	 OBJECT("\xc3\xa9") "</ListBucketResult>",
     "\xc3\xa9", 1},

    {"an error", XML "<Error><Code>InternalError</Code><Message>sorry</Message></Error>",
     .err = -EIO, .retry = S3_RETRY_BACKOFF, .message = "sorry"},
    {"an error that is final", XML "<Error><Code>AccessDenied</Code></Error>", .err = -EACCES},
    {"an error that is cut", XML "<Error><Code>NoSuchBucket</Code><Mess", .err = -ENOENT},
    {"an error that is garbled",
     XML "<Error><Code>AccessDenied</Code></Con><Code>SlowDown</Code><x", .err = -EACCES},
    {"an error without a code", XML "<Error/>", .err = -EIO, .retry = S3_RETRY_BACKOFF},
};

static void check_page(const struct list_case *c, const struct s3_page *page)
{
	char keys[1024] = "";

	for (size_t i = 0; i < page->entry_count; i++) {
		const struct s3_entry *e = &page->entries[i];

		assert_int_equal(e->key[e->key_length], '\0');
		snprintf(keys + strlen(keys), sizeof(keys) - strlen(keys), "%s%s", i ? "|" : "",
			 e->key);
	}
	if (strcmp(keys, c->keys) != 0 || page->refused != c->refused)
		fail_msg("%s: \"%s\", %u refused", c->name, keys, page->refused);
	assert_int_equal(page->truncated, c->next != NULL);
	if (c->next)
		assert_string_equal(page->next_token, c->next);
	else
		assert_null(page->next_token);
}

static void check_case(const struct list_case *c, size_t step)
{
	struct answer answer = {200, {{"content-type", "application/xml"}}, c->body};
	struct s3_op op;

	s3_op_init(&op, S3_LIST);
	op.delimiter = !c->flat;
	op.token = c->token;
	if (c->prefix) {
		op.prefix = c->prefix;
		op.prefix_length = strlen(c->prefix);
	}
	run(&op, &answer, step);
	if (op.result.err != c->err || op.result.retry != c->retry)
		fail_msg("%s (step %zu): %d, retry %d: %s", c->name, step, op.result.err,
			 op.result.retry, op.result.message);
	if (c->message)
		assert_string_equal(op.result.message, c->message);
	if (c->err == 0)
		check_page(c, &op.page);
	else
		assert_null(op.page.entries);
	s3_op_finish(&op);
}

static void test_pages(void **state)
{
	static const size_t steps[] = {1, 7, 65536};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (size_t s = 0; s < sizeof(steps) / sizeof(steps[0]); s++)
			check_case(&cases[i], steps[s]);
}

static void test_attributes(void **state)
{
	static const struct answer answer = {
	    200,
	    {{NULL}},
	    PAGE("<Contents><Key>a</Key><LastModified>2026-08-30T12:36:00.250Z</LastModified>"
		 "<ETag>&quot;abc-2&quot;</ETag><Size>1234567890123</Size>"
		 "<StorageClass>DEEP_ARCHIVE</StorageClass></Contents>"
		 "<Contents><Key>b</Key><LastModified>0001-01-01T00:00:00Z</LastModified>"
		 "<Size>1</Size><StorageClass>GLACIER_IR</StorageClass></Contents>"
		 "<Contents><Key>c</Key><LastModified>soon</LastModified>"
		 "<Size>1</Size></Contents>" PREFIX("d/"))};
	struct s3_page page;
	struct s3_op op;

	s3_op_init(&op, S3_LIST);
	op.delimiter = true;
	assert_int_equal(run(&op, &answer, 100), 0);
	page = s3_page_take(&op);
	s3_op_finish(&op);
	assert_int_equal(page.entry_count, 4);
	assert_int_equal(page.entries[0].modified.tv_sec, FIXTURE_NOW_S);
	assert_int_equal(page.entries[0].modified.tv_nsec, 250000000);
	assert_int_equal(page.entries[0].size, UINT64_C(1234567890123));
	assert_string_equal(page.entries[0].etag, "\"abc-2\"");
	assert_true(page.entries[0].archived);
	assert_false(page.entries[0].is_prefix);
	assert_int_equal(page.entries[1].modified.tv_sec, 0);
	assert_string_equal(page.entries[1].etag, "");
	assert_false(page.entries[1].archived);
	assert_int_equal(page.entries[2].modified.tv_sec, 0);
	assert_true(page.entries[3].is_prefix);
	s3_page_finish(&page);
	assert_null(page.entries);
}

/* A listing whose body is: head, then unit again and again up to n of them, then tail. */
static int run_repeated(struct s3_op *op, const char *head, const char *unit, size_t count,
			const char *tail)
{
	size_t unit_length = strlen(unit), n = strlen(head) + count * unit_length + strlen(tail);
	char *body = malloc(n + 1), *at = body;
	struct answer answer = {200, {{NULL}}, body, n};
	int r;

	assert_non_null(body);
	at = stpcpy(at, head);
	for (size_t i = 0; i < count; i++)
		at = stpcpy(at, unit);
	strcpy(at, tail);
	s3_op_init(op, S3_LIST);
	r = run(op, &answer, 16384);
	free(body);
	return r;
}

struct flood_case {
	const char *name, *head, *unit;
	size_t count;
	const char *tail;
	int err;
};

#define ROOT "<ListBucketResult>"
#define END "</ListBucketResult>"

/* Names and text of any size, and structure of any size, end at a cap and not in memory. */
static const struct flood_case flood_cases[] = {
    {"a full page", ROOT, OBJECT("a"), 1000, END, 0},
    {"one entry more", ROOT, OBJECT("a"), 1001, END, -EIO},
    {"one refused entry more", ROOT, SIZED("a", "-1"), 1001, END, -EIO},
    {"a long key", ROOT "<Contents><Key>", "%41", 1024, "</Key><Size>1</Size></Contents>" URL END,
     0},
    {"a key too long", ROOT "<Contents><Key>", "%41", 1025,
     "</Key><Size>1</Size></Contents>" URL END, 0},
    {"a key of 10 MB", ROOT "<Contents><Key>", "0123456789", 1000000,
     "</Key><Size>1</Size></Contents>" END, -EIO},
    {"a tag of 10 MB", ROOT "<Contents ", "a0123456=''", 1000000, "></Contents>" END, -EIO},
    {"an attribute of 10 MB", ROOT "<Contents a='", "0123456789", 1000000, "'></Contents>" END,
     -EIO},
    {"a name of 10 MB", ROOT "<", "0123456789", 1000000, "/>" END, -EIO},
    {"a comment of 10 MB", ROOT "<!--", "0123456789", 1000000, "-->" END, -EIO},
    {"deep nesting", "", "<a>", 5000000, "", -EIO},
    {"many elements", ROOT, "<a/>", 70000, END, -EIO},
    {"16 MiB and more of blanks and tags", ROOT, "<a>                    </a>", 700000, END, -EIO},
    {"many bad bytes", ROOT "<a>", "\xff</a><a>", 20000, "</a>" END, -EIO},
};

static void test_floods(void **state)
{
	for (size_t i = 0; i < sizeof(flood_cases) / sizeof(flood_cases[0]); i++) {
		const struct flood_case *c = &flood_cases[i];
		struct s3_op op;
		int r = run_repeated(&op, c->head, c->unit, c->count, c->tail);

		if (r != c->err || op.result.retry != S3_RETRY_NO)
			fail_msg("%s: %d, retry %d: %s", c->name, r, op.result.retry,
				 op.result.message);
		s3_op_finish(&op);
	}
}

/* Few elements, none of them large, but 16 MiB of them. */
static void test_bytes_end_at_the_cap(void **state)
{
	char unit[4096];
	struct s3_op op;

	memset(unit, ' ', sizeof(unit));
	memcpy(unit, "<a>", 3);
	memcpy(unit + sizeof(unit) - 5, "</a>", 5);
	assert_int_equal(run_repeated(&op, ROOT, unit, (S3_XML_BYTES_MAX - 100) / 4095, END), 0);
	s3_op_finish(&op);
	assert_int_equal(run_repeated(&op, ROOT, unit, S3_XML_BYTES_MAX / 4095, END), -EIO);
	assert_int_equal(op.result.retry, S3_RETRY_NO);
	assert_string_equal(op.result.message, "more bytes than an answer may have");
	s3_op_finish(&op);
}

static void test_etags_end_at_the_limit(void **state)
{
	struct s3_op op;

	assert_int_equal(run_repeated(&op, ROOT "<Contents><Key>a</Key><Size>1</Size><ETag>", "x",
				      S3_ETAG_MAX - 1, "</ETag></Contents>" END),
			 0);
	assert_int_equal(op.page.entry_count, 1);
	s3_op_finish(&op);
	assert_int_equal(run_repeated(&op, ROOT "<Contents><Key>a</Key><Size>1</Size><ETag>", "x",
				      S3_ETAG_MAX, "</ETag></Contents>" END),
			 0);
	assert_int_equal(op.page.refused, 1);
	s3_op_finish(&op);
}

static void test_keys_end_at_the_limit(void **state)
{
	struct s3_op op;

	assert_int_equal(run_repeated(&op, ROOT "<Contents><Key>", "%41", 1024,
				      "</Key><Size>1</Size></Contents>" URL END),
			 0);
	assert_int_equal(op.page.entry_count, 1);
	assert_int_equal(op.page.entries[0].key_length, S3_KEY_MAX);
	s3_op_finish(&op);
	assert_int_equal(run_repeated(&op, ROOT "<Contents><Key>", "%41", 1025,
				      "</Key><Size>1</Size></Contents>" URL END),
			 0);
	assert_int_equal(op.page.entry_count, 0);
	assert_int_equal(op.page.refused, 1);
	s3_op_finish(&op);
}

static void test_a_retry_begins_afresh(void **state)
{
	static const struct answer cut = {200, {{NULL}}, ROOT OBJECT("a"), .error = HTTP_CUT};
	static const struct answer whole = {200, {{NULL}}, ROOT OBJECT("a") OBJECT("b") END};
	struct s3_op op;

	s3_op_init(&op, S3_LIST);
	assert_int_equal(run(&op, &cut, 10), -EIO);
	assert_int_equal(op.result.retry, S3_RETRY_BACKOFF);
	assert_null(op.page.entries);
	assert_int_equal(run(&op, &whole, 10), 0);
	assert_int_equal(op.page.entry_count, 2);
	s3_op_finish(&op);
}

static void test_a_list_is_a_200(void **state)
{
	static const struct answer answer = {206, {{NULL}}, ROOT OBJECT("a") END};
	struct s3_op op;

	s3_op_init(&op, S3_LIST);
	assert_int_equal(run(&op, &answer, 10), -EIO);
	assert_int_equal(op.result.retry, S3_RETRY_BACKOFF);
	s3_op_finish(&op);
}

/* Where a character is cut must not matter: every way to cut a page in two. */
static void test_every_cut_in_two(void **state)
{
	static const char body[] = PAGE(OBJECT("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80")
					    OBJECT("b\xe2\x82x\xff\xc3") OBJECT("c"));
	static const struct list_case expected = {"cut in two", NULL,
						  "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80|c", 1};
	struct http_answer answer = {.status = 200, .content_length = -1};

	for (size_t at = 0; at <= strlen(body); at++) {
		struct s3_op op;

		s3_op_init(&op, S3_LIST);
		assert_int_equal(s3_op_headers(&op, &answer), 0);
		assert_int_equal(s3_op_data(&op, body, at), 0);
		assert_int_equal(s3_op_data(&op, body + at, strlen(body) - at), 0);
		assert_int_equal(s3_op_end(&op, &answer), 0);
		check_page(&expected, &op.page);
		s3_op_finish(&op);
	}
}

static int set_up(void **state)
{
	s3_library_init();
	return 0;
}

static int tear_down(void **state)
{
	s3_library_finish();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_pages),
	    cmocka_unit_test(test_attributes),
	    cmocka_unit_test(test_floods),
	    cmocka_unit_test(test_bytes_end_at_the_cap),
	    cmocka_unit_test(test_etags_end_at_the_limit),
	    cmocka_unit_test(test_keys_end_at_the_limit),
	    cmocka_unit_test(test_a_retry_begins_afresh),
	    cmocka_unit_test(test_a_list_is_a_200),
	    cmocka_unit_test(test_every_cut_in_two),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
