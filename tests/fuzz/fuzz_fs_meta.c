/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer: metadata of objects as POSIX attributes and extended attributes. Input: lines of
 * `name=value`. What was read is written in both dialects and read again as the same; the text of
 * extended attributes likewise.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <pailfs/cleanup.h>

#include "meta.h"
#include "xattr.h"

#define FIELDS_MAX 32

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_dialect(const struct file_meta *m, enum meta_dialect dialect)
{
	struct meta_text text;
	struct file_meta back;

	file_meta_format(m, dialect, &text);
	assert(text.count <= META_FIELDS_MAX);
	file_meta_parse(text.meta, text.count, &back);
	assert(back.has == m->has && back.mode == m->mode);
	assert(back.uid == m->uid && back.gid == m->gid && back.rdev == m->rdev);
	if (m->mtime.tv_sec > 0 && m->mtime.tv_sec < INT32_MAX)
		assert(back.mtime.tv_sec == m->mtime.tv_sec &&
		       back.mtime.tv_nsec == m->mtime.tv_nsec);
}

static void check_xattrs(const char *value)
{
	struct xattrs x, back;
	struct buf text = BUF_INIT;

	if (xattrs_parse(value, &x) < 0)
		return;
	assert(xattrs_format(&x, &text) == 0);
	assert(xattrs_parse(text.data, &back) == 0);
	assert(back.count == x.count);
	for (unsigned k = 0; k < x.count; k++) {
		const struct xattr *one = xattrs_find(&back, x.all[k].name);

		assert(one != NULL && one->length == x.all[k].length);
		assert(memcmp(one->value, x.all[k].value, one->length) == 0);
	}
	xattrs_finish(&x);
	xattrs_finish(&back);
	buf_finish(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(free) char *text = malloc(size + 1);
	struct s3_meta meta[FIELDS_MAX];
	struct file_meta m;
	unsigned count = 0;

	memcpy(text, data, size);
	text[size] = '\0';
	for (char *line = strtok(text, "\n"); line != NULL && count < FIELDS_MAX;
	     line = strtok(NULL, "\n")) {
		char *equals = strchr(line, '=');

		if (equals == NULL)
			continue;
		*equals = '\0';
		meta[count++] = (struct s3_meta){line, equals + 1};
	}
	file_meta_parse(meta, count, &m);
	check_dialect(&m, META_S3FS);
	check_dialect(&m, META_AWS);
	if ((m.has & META_HAS_XATTR) != 0)
		check_xattrs(m.xattr);
	return 0;
}
