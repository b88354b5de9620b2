/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the command line by the table of options_table.c. Three tongues are understood: `-o a,b=c`
 * as every FUSE file system has it, `--a --b=c --b c` as the AWS tools write, and mount(8)'s
 * calling of mount.pailfs. Runs once, on the first thread, before anything is started.
 */
#include <pailfs/options.h>

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <pailfs/bucket.h>
#include <pailfs/cleanup.h>
#include <pailfs/text.h>

#define BURST_PARTS 10 /* the default burst: a tenth of a second's worth */

struct parser {
	struct options *o;
	int argc;
	char **argv;
	int next;	    /* argument to read next */
	bool only_words;    /* after -- */
	bool mount_form;    /* called as mount.pailfs */
	const char *source; /* first word, NULL until seen */
	const char *dir;
	char *error;
	size_t error_size;
};

int options_fail(char *error, size_t size, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(error, size, fmt, args);
	va_end(args);
	return -EINVAL;
}

static const struct option_row *row_find(const char *name, size_t *ret_index)
{
	size_t count;
	const struct option_row *rows = options_table(&count);

	for (size_t i = 0; i < count; i++) {
		bool same = option_name_equal(rows[i].name, name);

		for (size_t k = 0; k < OPTION_ALIASES_MAX && rows[i].aliases[k] != NULL; k++)
			same = same || option_name_equal(rows[i].aliases[k], name);
		if (same) {
			*ret_index = i;
			return &rows[i];
		}
	}
	return NULL;
}

static int parse_flag(const char *text, bool *ret)
{
	static const char *const yes[] = {"", "1", "yes", "true", "on"};
	static const char *const no[] = {"0", "no", "false", "off"};

	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		if (strcmp(text, yes[i]) == 0) {
			*ret = true;
			return 0;
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(no); i++) {
		if (strcmp(text, no[i]) == 0) {
			*ret = false;
			return 0;
		}
	}
	return -EINVAL;
}

/* RATE or RATE:BURST. */
static int parse_rate(const struct option_row *row, const char *text, struct option_rate *ret)
{
	CLEANUP(free) char *copy = strdup(text);
	char *burst = copy != NULL ? strchr(copy, ':') : NULL;
	struct option_rate rate = {0};

	if (copy == NULL)
		return -ENOMEM;
	if (burst != NULL)
		*burst++ = '\0';
	if (text_parse_rate(copy, &rate.bytes_per_s) < 0 || rate.bytes_per_s < row->min ||
	    rate.bytes_per_s > row->max)
		return -EINVAL;
	rate.burst_bytes = MAX(rate.bytes_per_s / BURST_PARTS, (uint64_t)BUCKET_BURST_MIN_BYTES);
	if (burst != NULL && (text_parse_size(burst, &rate.burst_bytes) < 0 ||
			      rate.burst_bytes < BUCKET_BURST_MIN_BYTES))
		return -EINVAL;
	*ret = rate;
	return 0;
}

static int in_range(const struct option_row *row, int rc, uint64_t value)
{
	return rc < 0 || value < row->min || value > row->max ? -EINVAL : 0;
}

static int set_number(const struct option_row *row, const char *text, void *field)
{
	uint64_t value = 0;
	unsigned mode = 0;
	int rc;

	switch (row->type) {
	case OPTION_COUNT:
		rc = text_parse_u64(text, &value);
		rc = in_range(row, rc, value);
		if (rc == 0)
			*(uint32_t *)field = (uint32_t)value;
		return rc;
	case OPTION_OCTAL:
		rc = text_parse_octal(text, &mode);
		rc = in_range(row, rc, mode);
		if (rc == 0)
			*(uint32_t *)field = mode;
		return rc;
	case OPTION_SIZE:
		rc = text_parse_size(text, &value);
		rc = in_range(row, rc, value);
		break;
	default:
		rc = text_parse_duration(text, &value);
		if (rc == 0 && value != UINT64_MAX)
			rc = in_range(row, rc, value);
		break;
	}
	if (rc == 0)
		*(uint64_t *)field = value;
	return rc;
}

static int set_text(const char *text, char **field)
{
	char *copy;

	if (text[0] == '\0')
		return -EINVAL;
	copy = strdup(text);
	if (copy == NULL)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}

/* The number of a word of "a|b|c". */
static int set_choice(const char *words, const char *text, uint32_t *field)
{
	size_t length = strlen(text);
	uint32_t number = 0;

	for (const char *w = words; w != NULL; w = strchr(w, '|'), number++) {
		w += *w == '|';
		if (strcspn(w, "|") == length && strncmp(w, text, length) == 0) {
			*field = number;
			return 0;
		}
	}
	return -EINVAL;
}

/* Writes text into the row's field. 0, -EINVAL (not in the range), -ENOMEM. */
static int row_set(const struct option_row *row, const char *text, struct options *o)
{
	void *field = (char *)o + row->offset;
	bool flag;
	int rc;

	switch (row->type) {
	case OPTION_FLAG:
		return parse_flag(text, field);
	case OPTION_FLAG_OFF:
	case OPTION_AUTO:
		rc = parse_flag(text, &flag);
		if (rc == 0 && row->type == OPTION_AUTO)
			*(int *)field = flag;
		else if (rc == 0)
			*(bool *)field = !flag;
		return rc;
	case OPTION_TEXT:
		return set_text(text, field);
	case OPTION_RATE:
		return parse_rate(row, text, field);
	case OPTION_LEVEL:
		return log_level_parse(text, field);
	case OPTION_CHOICE:
		return set_choice(row->value, text, field);
	default:
		return set_number(row, text, field);
	}
}

static int refuse_name(const char *name, char *error, size_t size)
{
	const char *advice = option_foreign_advice(name);
	const char *nearest = option_nearest(name);

	if (advice != NULL)
		return options_fail(error, size, "option %s is not supported: %s", name, advice);
	if (nearest != NULL)
		return options_fail(error, size, "unknown option %s; did you mean %s?", name,
				    nearest);
	return options_fail(error, size, "unknown option %s; pailfs -h lists all", name);
}

int options_set(struct options *o, const char *word, char *ret_error, size_t error_size)
{
	CLEANUP(free) char *name = strdup(word);
	char *equals = name != NULL ? strchr(name, '=') : NULL;
	const char *value = equals != NULL ? equals + 1 : "";
	const struct option_row *row;
	char range[160];
	size_t index;

	if (name == NULL)
		return options_fail(ret_error, error_size, "out of memory");
	if (equals != NULL)
		*equals = '\0';
	if (option_is_ignored(name)) {
		o->from_mount = true;
		return 0;
	}
	row = row_find(name, &index);
	if (row == NULL)
		return refuse_name(name, ret_error, error_size);
	if (equals == NULL && row->bare != NULL)
		value = row->bare;
	else if (equals == NULL && row->value != NULL)
		return options_fail(ret_error, error_size, "option %s needs a value: %s=%s, %s",
				    name, name, row->value,
				    option_range(row, range, sizeof(range)));
	if ((equals != NULL && value[0] == '\0') || row_set(row, value, o) < 0)
		return options_fail(ret_error, error_size, "option %s=%s: must be %s", name, value,
				    option_range(row, range, sizeof(range)));
	o->given[index] = true;
	return 0;
}

/* `a,b=c\,d`: a comma behind a backslash belongs to the value, as in libfuse and mount(8). */
static int parse_list(struct parser *p, const char *list)
{
	CLEANUP(free) char *word = malloc(strlen(list) + 1);
	size_t length = 0;
	int rc = 0;

	if (word == NULL)
		return options_fail(p->error, p->error_size, "out of memory");
	for (const char *c = list; rc == 0; c++) {
		bool escaped = c[0] == '\\' && (c[1] == ',' || c[1] == '\\');

		if (escaped)
			c++;
		if (!escaped && (*c == ',' || *c == '\0')) {
			word[length] = '\0';
			if (length > 0)
				rc = options_set(p->o, word, p->error, p->error_size);
			length = 0;
			if (*c == '\0')
				break;
		} else {
			word[length++] = *c;
		}
	}
	return rc;
}

/* The value of a flag -X: the rest of its argument, or the next one. */
static int flag_value(struct parser *p, const char *rest, char flag, const char **ret)
{
	if (rest[0] == '\0' && p->next >= p->argc)
		return options_fail(p->error, p->error_size, "-%c needs a value", flag);
	*ret = rest[0] != '\0' ? rest : p->argv[p->next++];
	return 0;
}

/* --older-than TIME, --older-than=TIME. */
static int parse_older_than(struct parser *p, const char *rest)
{
	const char *value = rest[0] == '=' ? rest + 1 : p->next < p->argc ? p->argv[p->next++] : "";

	p->o->older_than_given = true;
	if ((rest[0] != '\0' && rest[0] != '=') ||
	    text_parse_duration(value, &p->o->older_than_ns) < 0 ||
	    p->o->older_than_ns == UINT64_MAX)
		return options_fail(p->error, p->error_size,
				    "--older-than %s: must be a time, as 12h or 7d", value);
	return 0;
}

/* --name, --name=value, --name value. */
static int parse_long(struct parser *p, const char *text)
{
	const struct option_row *row;
	CLEANUP(free) char *joined = NULL;
	size_t index;

	if (strcmp(text, "help") == 0 || strcmp(text, "version") == 0) {
		p->o->action = text[0] == 'h' ? OPTION_SHOW_HELP : OPTION_SHOW_VERSION;
		return 0;
	}
	if (strcmp(text, "unmount") == 0) {
		p->o->action = OPTION_UNMOUNT;
		return 0;
	}
	if (strcmp(text, "uploads") == 0) {
		p->o->action = OPTION_UPLOADS;
		return 0;
	}
	if (strcmp(text, "abort") == 0) {
		p->o->abort_uploads = true;
		return 0;
	}
	if (strncmp(text, "older-than", strlen("older-than")) == 0)
		return parse_older_than(p, text + strlen("older-than"));
	if (option_name_equal(text, "foreground")) {
		p->o->foreground = true;
		return 0;
	}
	row = row_find(text, &index); /* NULL too when it holds a = */
	if (row == NULL || row->value == NULL || p->next >= p->argc)
		return options_set(p->o, text, p->error, p->error_size);
	joined = text_format("%s=%s", text, p->argv[p->next++]);
	if (joined == NULL)
		return options_fail(p->error, p->error_size, "out of memory");
	return options_set(p->o, joined, p->error, p->error_size);
}

/* The flags of mount(8) for its helpers: -f pretends, -s tolerates, -n and -v say nothing to us. */
static int mount_flag(struct parser *p, char flag, const char *rest, bool *ret_took_rest)
{
	const char *value = "";

	switch (flag) {
	case 'f':
		p->o->pretend = true;
		return 0;
	case 's':
	case 'n':
	case 'v':
		return 0;
	case 't':
		*ret_took_rest = true;
		return flag_value(p, rest, flag, &value);
	case 'N':
		return options_fail(p->error, p->error_size,
				    "-N: mounting in another namespace is not "
				    "supported; use nsenter(1)");
	default:
		return options_fail(p->error, p->error_size, "unknown flag -%c", flag);
	}
}

static int parse_flag_letter(struct parser *p, char flag, const char *rest, bool *ret_took_rest)
{
	const char *value = "";
	int rc;

	switch (flag) {
	case 'o':
		*ret_took_rest = true;
		rc = flag_value(p, rest, flag, &value);
		return rc < 0 ? rc : parse_list(p, value);
	case 'h':
		p->o->action = OPTION_SHOW_HELP;
		return 0;
	case 'V':
		p->o->action = OPTION_SHOW_VERSION;
		return 0;
	default:
		break;
	}
	if (p->mount_form)
		return mount_flag(p, flag, rest, ret_took_rest);
	switch (flag) {
	case 'd':
		p->o->debug = true;
		p->o->foreground = true;
		return 0;
	case 'f':
		p->o->foreground = true;
		return 0;
	case 's':
		return options_set(p->o, "parallel=1", p->error, p->error_size);
	default:
		return options_fail(p->error, p->error_size,
				    "unknown flag -%c; pailfs -h lists all", flag);
	}
}

static int parse_word(struct parser *p, const char *word)
{
	if (p->source == NULL)
		p->source = word;
	else if (p->dir == NULL)
		p->dir = word;
	else
		return options_fail(p->error, p->error_size,
				    "%s: one word too many; usage: pailfs BUCKET[:/PREFIX] DIR",
				    word);
	return 0;
}

static int parse_argument(struct parser *p, const char *arg)
{
	bool took_rest = false;
	int rc = 0;

	if (p->only_words || arg[0] != '-' || arg[1] == '\0')
		return parse_word(p, arg);
	if (strcmp(arg, "--") == 0) {
		p->only_words = true;
		return 0;
	}
	if (arg[1] == '-')
		return parse_long(p, arg + 2);
	for (const char *c = arg + 1; *c != '\0' && rc == 0 && !took_rest; c++)
		rc = parse_flag_letter(p, *c, c + 1, &took_rest);
	return rc;
}

/* "" or "a/b/" of whatever stood behind the bucket. NULL when out of memory. */
static char *prefix_of(const char *text)
{
	size_t length;

	while (*text == '/')
		text++;
	length = strlen(text);
	while (length > 0 && text[length - 1] == '/')
		length--;
	return text_format("%.*s%s", (int)length, text, length > 0 ? "/" : "");
}

/* BUCKET, BUCKET:/PREFIX, s3://BUCKET/PREFIX/. */
static int parse_source(struct options *o, const char *source)
{
	bool is_url = text_starts_with(source, "s3://");
	const char *bucket = is_url ? source + strlen("s3://") : source;
	size_t length = strcspn(bucket, is_url ? "/" : ":");
	const char *rest = bucket + length;

	o->source = strdup(source);
	o->bucket = strndup(bucket, length);
	o->prefix = prefix_of(rest[0] == ':' ? rest + 1 : rest);
	return o->source == NULL || o->bucket == NULL || o->prefix == NULL ? -ENOMEM : 0;
}

/* The bucket, taken apart. */
static int parse_bucket(struct parser *p)
{
	if (parse_source(p->o, p->source) < 0)
		return options_fail(p->error, p->error_size, "out of memory");
	if (p->o->bucket[0] == '\0' || strchr(p->o->bucket, '/') != NULL)
		return options_fail(
		    p->error, p->error_size,
		    "%s: no bucket's name; write BUCKET:/PREFIX or s3://BUCKET/PREFIX/", p->source);
	return 0;
}

static int parse_words(struct parser *p)
{
	if (p->source == NULL || p->dir == NULL)
		return options_fail(p->error, p->error_size,
				    "%s is missing; usage: pailfs "
				    "BUCKET[:/PREFIX] DIR [-o OPTIONS]",
				    p->source == NULL ? "the bucket" : "the directory DIR");
	p->o->dir = strdup(p->dir);
	if (p->o->dir == NULL)
		return options_fail(p->error, p->error_size, "out of memory");
	return parse_bucket(p);
}

/* --uploads BUCKET: one word. What is aborted must be named by its age. */
static int parse_uploads(struct parser *p)
{
	if (p->source == NULL || p->dir != NULL)
		return options_fail(p->error, p->error_size, "--uploads takes one bucket");
	if (p->o->abort_uploads && !p->o->older_than_given)
		return options_fail(p->error, p->error_size,
				    "--abort needs --older-than TIME: younger uploads may be "
				    "running (0s: all)");
	return parse_bucket(p);
}

/* --unmount DIR: one word. */
static int parse_unmount(struct parser *p)
{
	if (p->source == NULL || p->dir != NULL)
		return options_fail(p->error, p->error_size, "--unmount takes one directory");
	p->o->dir = strdup(p->source);
	return p->o->dir != NULL ? 0 : options_fail(p->error, p->error_size, "out of memory");
}

int options_parse(struct options *o, int argc, char **argv, char *ret_error, size_t error_size)
{
	const char *name = argc > 0 ? argv[0] : "pailfs";
	const char *slash = strrchr(name, '/');
	struct parser p = {.o = o, .argc = argc, .argv = argv, .next = 1};
	int rc = 0;

	p.error = ret_error;
	p.error_size = error_size;
	p.mount_form = strcmp(slash != NULL ? slash + 1 : name, "mount.pailfs") == 0;
	options_init(o);
	o->from_mount = p.mount_form;
	while (rc == 0 && p.next < argc)
		rc = parse_argument(&p, argv[p.next++]);
	if (rc == 0 && o->action == OPTION_RUN)
		rc = parse_words(&p);
	if (rc == 0 && o->action == OPTION_UNMOUNT)
		rc = parse_unmount(&p);
	if (rc == 0 && o->action == OPTION_UPLOADS)
		rc = parse_uploads(&p);
	else if (rc == 0 && (o->abort_uploads || o->older_than_given))
		rc = options_fail(ret_error, error_size,
				  "--abort and --older-than go with --uploads");
	if (rc == 0 && o->debug)
		o->log_level = LOG_LEVEL_DEBUG;
	return rc;
}

void options_init(struct options *o)
{
	size_t count;
	const struct option_row *rows = options_table(&count);

	memset(o, 0, sizeof(*o));
	o->path_style = -1;
	for (size_t i = 0; i < count; i++) {
		if (rows[i].preset != NULL) {
			int rc = row_set(&rows[i], rows[i].preset, o);

			assert(rc == 0);
			(void)rc;
		}
	}
}

void options_finish(struct options *o)
{
	size_t count;
	const struct option_row *rows = options_table(&count);

	for (size_t i = 0; i < count; i++) {
		void *field = (char *)o + rows[i].offset;

		if (rows[i].type == OPTION_TEXT)
			free(*(char **)field);
	}
	free(o->source);
	free(o->bucket);
	free(o->prefix);
	free(o->dir);
	memset(o, 0, sizeof(*o));
}

bool options_given(const struct options *o, const char *name)
{
	size_t index;
	const struct option_row *row = row_find(name, &index);

	assert(row != NULL);
	return o->given[index];
}
