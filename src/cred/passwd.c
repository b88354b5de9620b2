/* SPDX-License-Identifier: Apache-2.0 */
/*
 * passwd_file in s3fs's form: a line `ACCESS:SECRET` for all buckets, `BUCKET:ACCESS:SECRET` for
 * one, which wins; empty lines and those that begin with # are skipped. As with s3fs the file must
 * not be open to others. A line that is none of these is an error, not skipped: a key that is
 * looked for in vain costs more time than a message.
 */
#include "cred_private.h"

#include <errno.h>
#include <string.h>

#include <pailfs/text.h>

struct passwd_search {
	const char *path;
	const char *bucket; /* NULL: only lines for all */
	struct s3_keys for_all, for_bucket;
	unsigned for_all_line, for_bucket_line;
};

static int broken(const struct passwd_search *s, unsigned line, const char *what, struct explain *e)
{
	return cred_explain(e, EINVAL,
			    "%s, line %u %s; a line is ACCESS_KEY:SECRET_KEY or "
			    "BUCKET:ACCESS_KEY:SECRET_KEY",
			    s->path, line, what);
}

static int keep(struct passwd_search *s, struct s3_keys *keys, unsigned *line_of, unsigned line,
		const char *access, const char *secret, struct explain *e)
{
	if (*access == '\0' || *secret == '\0')
		return broken(s, line, "has an empty key", e);
	if (*line_of != 0)
		return cred_explain(
		    e, EINVAL, "%s, lines %u and %u both have keys for %s; remove one", s->path,
		    *line_of, line, keys == &s->for_all ? "all buckets" : s->bucket);
	*keys = (struct s3_keys){.access_key = access, .secret_key = secret};
	*line_of = line;
	return 0;
}

/* One line, NUL-terminated, cut up in place. */
static int read_line(struct passwd_search *s, char *text, unsigned line, struct explain *e)
{
	char *first, *last;

	text += strspn(text, " \t");
	text[strcspn(text, "\r")] = '\0';
	for (size_t n = strlen(text); n > 0 && (text[n - 1] == ' ' || text[n - 1] == '\t'); n--)
		text[n - 1] = '\0';
	if (*text == '\0' || *text == '#')
		return 0;
	if (*text == '[')
		return broken(s, line,
			      "is a [section] of an AWS credentials file (for those: profile=)", e);
	if (strpbrk(text, " \t") != NULL)
		return broken(s, line, "holds a blank", e);
	first = strchr(text, ':');
	if (first == NULL)
		return broken(s, line, "has no colon", e);
	last = strrchr(text, ':');
	*first = '\0';
	*last = '\0';
	if (first == last)
		return keep(s, &s->for_all, &s->for_all_line, line, text, first + 1, e);
	if (strchr(first + 1, ':') != NULL)
		return broken(s, line, "has more than two colons", e);
	if (s->bucket == NULL || strcmp(text, s->bucket) != 0)
		return 0;
	return keep(s, &s->for_bucket, &s->for_bucket_line, line, first + 1, last + 1, e);
}

static int read_lines(struct passwd_search *s, struct secret_text *t, struct explain *e)
{
	char *line = t->bytes, *end = t->bytes + t->length;

	for (unsigned number = 1; line < end; number++) {
		char *stop = memchr(line, '\n', (size_t)(end - line));
		int err;

		if (stop == NULL)
			stop = end;
		if (memchr(line, '\0', (size_t)(stop - line)) != NULL)
			return broken(s, number, "holds a NUL byte", e);
		*stop = '\0';
		err = read_line(s, line, number, e);
		if (err < 0)
			return err;
		line = stop + 1;
	}
	return 0;
}

int cred_from_passwd_file(const struct cred_places *p, struct cred_keys **ret, struct explain *e)
{
	struct passwd_search s = {.path = p->passwd_file, .bucket = p->bucket};
	CLEANUP(secret_text_finish) struct secret_text t = {0};
	CLEANUP(free) char *source = NULL;
	int err = secret_text_read(p->passwd_file, false, &t, e);

	if (err == -ENOENT)
		return cred_explain(e, ENXIO, "passwd_file %s does not exist", p->passwd_file);
	if (err < 0)
		return err;
	err = secret_text_check(&t, p->passwd_file, e);
	if (err == 0)
		err = read_lines(&s, &t, e);
	if (err < 0)
		return err;
	if (s.for_all_line == 0 && s.for_bucket_line == 0)
		return cred_explain(e, ENXIO, "passwd_file %s has no keys for %s%s", p->passwd_file,
				    p->bucket != NULL ? "bucket " : "all buckets",
				    p->bucket != NULL ? p->bucket : "");
	source = text_format("%s, line %u", p->passwd_file,
			     s.for_bucket_line != 0 ? s.for_bucket_line : s.for_all_line);
	if (source == NULL)
		return cred_explain(e, ENOMEM, "out of memory");
	return cred_keys_create(s.for_bucket_line != 0 ? &s.for_bucket : &s.for_all, source, ret,
				e);
}
