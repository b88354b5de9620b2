/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mime.types(5), as Debian's media-types has it at /etc/mime.types: read once, then only looked
 * into, by any thread without a lock. An ending is first looked for as it is written (".C"), then
 * in lower case (".JPG").
 */
#include "mime.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <uthash.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>

#define ENDING_MAX 32
#define BLANKS " \t\r\n"

struct ending {
	UT_hash_handle hh;
	char *type; /* in the same memory */
	char text[];
};

struct mime {
	struct ending *endings;
};

static void fclosep(FILE **f)
{
	if (*f != NULL)
		fclose(*f);
}

static int add(struct mime *m, const char *type, const char *text)
{
	size_t length = strlen(text), type_length = strlen(type);
	struct ending *e;

	HASH_FIND(hh, m->endings, text, length, e);
	if (e != NULL || length > ENDING_MAX)
		return 0;
	e = malloc(sizeof(*e) + length + 1 + type_length + 1);
	if (e == NULL)
		return -ENOMEM;
	memcpy(e->text, text, length + 1);
	e->type = e->text + length + 1;
	memcpy(e->type, type, type_length + 1);
	HASH_ADD_KEYPTR(hh, m->endings, e->text, length, e);
	return 0;
}

static int add_line(struct mime *m, char *line)
{
	char *save, *type, *ending;
	int rc = 0;

	line[strcspn(line, "#")] = '\0';
	type = strtok_r(line, BLANKS, &save);
	while (type != NULL && rc == 0 && (ending = strtok_r(NULL, BLANKS, &save)) != NULL)
		rc = add(m, type, ending);
	return rc;
}

int mime_create(const char *path, struct mime **ret)
{
	CLEANUP(fclose) FILE *f = fopen(path, "re");
	CLEANUP(free) char *line = NULL;
	struct mime *m = calloc(1, sizeof(*m));
	size_t size = 0;
	int rc = 0;

	if (m == NULL)
		return -ENOMEM;
	if (f == NULL)
		log_info("%s: %s: objects get no Content-Type by their names", path,
			 strerror(errno));
	while (f != NULL && rc == 0 && getline(&line, &size, f) > 0)
		rc = add_line(m, line);
	if (rc < 0) {
		mime_destroy(m);
		return rc;
	}
	*ret = m;
	return 0;
}

void mime_destroy(struct mime *m)
{
	struct ending *e, *next;

	if (m == NULL)
		return;
	HASH_ITER (hh, m->endings, e, next) {
		HASH_DEL(m->endings, e);
		free(e);
	}
	free(m);
}

const char *mime_type(const struct mime *m, const char *name, size_t length)
{
	const char *dot = memrchr(name, '.', length);
	const struct ending *e = NULL;
	char lower[ENDING_MAX];
	size_t n;

	if (m == NULL || dot == NULL || dot == name)
		return NULL;
	n = length - (size_t)(dot + 1 - name);
	if (n == 0 || n > ENDING_MAX)
		return NULL;
	HASH_FIND(hh, m->endings, dot + 1, n, e);
	if (e == NULL) {
		for (size_t k = 0; k < n; k++)
			lower[k] = (char)tolower((unsigned char)dot[1 + k]);
		HASH_FIND(hh, m->endings, lower, n, e);
	}
	return e != NULL ? e->type : NULL;
}
