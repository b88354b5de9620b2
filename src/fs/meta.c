/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of metadata dialects. A row says which name holds which attribute in which form; rows
 * that come first win. rclone and geesefs use s3fs's names with forms of their own, which the
 * readers tell apart by the text: see parse_mode.
 */
#include "meta.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <pailfs/cleanup.h>
#include <pailfs/text.h>

#define MODE_MAX 0177777
#define AWS_SECONDS_MAX ((time_t)(INT64_MAX / (int64_t)NS_PER_S))

typedef int parse_fn(const char *text, struct file_meta *m);

static bool is_mode_type(uint64_t mode)
{
	uint64_t type = mode & S_IFMT;

	return type == S_IFREG || type == S_IFDIR || type == S_IFLNK || type == S_IFIFO ||
	       type == S_IFSOCK || type == S_IFCHR || type == S_IFBLK;
}

/* A whole st_mode as one is stored: a symlink's permissions are always all. */
static bool is_whole_mode(uint64_t mode)
{
	return mode <= MODE_MAX && is_mode_type(mode) && (!S_ISLNK(mode) || mode == 0120777);
}

static int parse_octal(const char *text, uint64_t *ret)
{
	uint64_t value = 0;

	if (text[0] == '\0')
		return -EINVAL;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '7' || value > MODE_MAX)
			return -EINVAL;
		value = value * 8 + (uint64_t)(*text - '0');
	}
	*ret = value;
	return value <= MODE_MAX ? 0 : -EINVAL;
}

static int set_mode(struct file_meta *m, uint64_t mode)
{
	if (mode > MODE_MAX)
		return -EINVAL;
	if (!is_mode_type(mode))
		mode &= 07777;
	else if (S_ISLNK(mode)) /* nobody checks others, and this alone is told from octal */
		mode = S_IFLNK | 0777;
	m->mode = (uint32_t)mode;
	return 0;
}

/*
 * s3fs writes st_mode in decimal (33188), rclone in octal without a leading 0 (100644). Hardly a
 * text is a plausible mode in both; decimal counts then.
 */
static int parse_mode(const char *text, struct file_meta *m)
{
	uint64_t octal = 0, decimal = 0;
	bool is_octal = parse_octal(text, &octal) == 0;
	bool is_decimal = text_parse_u64(text, &decimal) == 0;

	if (text[0] == '0' && is_octal)
		return set_mode(m, octal);
	if (!is_decimal)
		return -EINVAL;
	if (!is_whole_mode(decimal) && is_octal && is_mode_type(octal))
		return set_mode(m, octal);
	return set_mode(m, decimal);
}

static int parse_mode_octal(const char *text, struct file_meta *m)
{
	uint64_t octal;
	int rc = parse_octal(text, &octal);

	return rc < 0 ? rc : set_mode(m, octal);
}

static int parse_id(const char *text, uint32_t *ret)
{
	uint64_t value;
	int rc = text_parse_u64(text, &value);

	if (rc < 0 || value >= UINT32_MAX)
		return -EINVAL;
	*ret = (uint32_t)value;
	return 0;
}

static int parse_uid(const char *text, struct file_meta *m)
{
	return parse_id(text, &m->uid);
}

static int parse_gid(const char *text, struct file_meta *m)
{
	return parse_id(text, &m->gid);
}

static int parse_rdev(const char *text, struct file_meta *m)
{
	return text_parse_u64(text, &m->rdev);
}

/* `[-]seconds[.fraction]`: s3fs's has nine digits, rclone's as many as it needs. */
static int parse_time(const char *text, struct timespec *ret)
{
	bool negative = text[0] == '-';
	const char *dot;
	uint64_t seconds;
	long ns = 0, unit = 100000000;
	int rc;

	text += negative;
	dot = strchr(text, '.');
	rc = text_parse_u64n(text, dot != NULL ? (size_t)(dot - text) : strlen(text), &seconds);
	if (rc < 0 || seconds > INT64_MAX)
		return -EINVAL;
	for (const char *c = dot != NULL ? dot + 1 : ""; *c != '\0'; c++, unit /= 10) {
		if (*c < '0' || *c > '9')
			return -EINVAL;
		ns += (*c - '0') * unit;
	}
	*ret = (struct timespec){negative ? -(time_t)seconds : (time_t)seconds, ns};
	return 0;
}

/* AWS: nanoseconds with `ns` behind, else milliseconds. */
static int parse_time_aws(const char *text, struct timespec *ret)
{
	bool is_ns = text_ends_with(text, "ns");
	size_t length = strlen(text) - (is_ns ? 2 : 0);
	uint64_t unit = is_ns ? NS_PER_S : 1000, value;

	if (text_parse_u64n(text, length, &value) < 0)
		return -EINVAL;
	ret->tv_sec = (time_t)(value / unit);
	ret->tv_nsec = (long)(value % unit * (NS_PER_S / unit));
	return 0;
}

static int parse_mtime(const char *text, struct file_meta *m)
{
	return parse_time(text, &m->mtime);
}

static int parse_atime(const char *text, struct file_meta *m)
{
	return parse_time(text, &m->atime);
}

static int parse_ctime(const char *text, struct file_meta *m)
{
	return parse_time(text, &m->ctime);
}

static int parse_mtime_aws(const char *text, struct file_meta *m)
{
	return parse_time_aws(text, &m->mtime);
}

static int parse_atime_aws(const char *text, struct file_meta *m)
{
	return parse_time_aws(text, &m->atime);
}

static int parse_xattr(const char *text, struct file_meta *m)
{
	m->xattr = text;
	return 0;
}

static int parse_target(const char *text, struct file_meta *m)
{
	m->target = text;
	return text[0] != '\0' ? 0 : -EINVAL;
}

static const struct row {
	const char *name;
	enum meta_has what;
	parse_fn *parse;
} rows[] = {
    /* s3fs; rclone; geesefs */
    {"mode", META_HAS_MODE, parse_mode},
    {"uid", META_HAS_UID, parse_uid},
    {"gid", META_HAS_GID, parse_gid},
    {"mtime", META_HAS_MTIME, parse_mtime},
    {"atime", META_HAS_ATIME, parse_atime},
    {"ctime", META_HAS_CTIME, parse_ctime},
    {"xattr", META_HAS_XATTR, parse_xattr},
    {"rdev", META_HAS_RDEV, parse_rdev},
    {"--symlink-target", META_HAS_TARGET, parse_target},
    /* AWS: FSx, DataSync, S3 Files */
    {"file-permissions", META_HAS_MODE, parse_mode_octal},
    {"file-owner", META_HAS_UID, parse_uid},
    {"file-group", META_HAS_GID, parse_gid},
    {"file-mtime", META_HAS_MTIME, parse_mtime_aws},
    {"file-atime", META_HAS_ATIME, parse_atime_aws},
    /* GCS */
    {"goog-reserved-posix-mode", META_HAS_MODE, parse_mode_octal},
    {"goog-reserved-posix-uid", META_HAS_UID, parse_uid},
    {"goog-reserved-posix-gid", META_HAS_GID, parse_gid},
    {"goog-reserved-file-mtime", META_HAS_MTIME, parse_mtime},
    {"goog-reserved-file-atime", META_HAS_ATIME, parse_atime},
};

static const char *value_of(const struct s3_meta *meta, unsigned count, const char *name)
{
	for (unsigned k = 0; k < count; k++)
		if (strcmp(meta[k].name, name) == 0)
			return meta[k].value;
	return NULL;
}

void file_meta_parse(const struct s3_meta *meta, unsigned count, struct file_meta *ret)
{
	*ret = (struct file_meta){0};
	for (size_t k = 0; k < ARRAY_SIZE(rows); k++) {
		const char *value = value_of(meta, count, rows[k].name);

		if (value != NULL && (ret->has & rows[k].what) == 0 &&
		    rows[k].parse(value, ret) == 0)
			ret->has |= rows[k].what;
	}
}

bool file_meta_knows(const char *name)
{
	for (size_t k = 0; k < ARRAY_SIZE(rows); k++)
		if (strcmp(rows[k].name, name) == 0)
			return true;
	return false;
}

const char *meta_format_time(const struct timespec *t, char *dst, size_t size)
{
	snprintf(dst, size, "%lld.%09ld", (long long)t->tv_sec, t->tv_nsec);
	return dst;
}

/* A field on its way out: its name in each dialect; NULL: that one does not have it. */
static char *add(struct meta_text *t, const char *name)
{
	unsigned n = t->count++;

	t->meta[n] = (struct s3_meta){.name = name, .value = t->texts[n]};
	return t->texts[n];
}

static void add_number(struct meta_text *t, const char *name, uint64_t value)
{
	snprintf(add(t, name), META_FIELD_BYTES, "%" PRIu64, value);
}

static void add_borrowed(struct meta_text *t, const char *name, const char *value)
{
	t->meta[t->count++] = (struct s3_meta){.name = name, .value = value};
}

static void add_time(struct meta_text *t, enum meta_dialect dialect, const char *s3fs,
		     const char *aws, const struct timespec *value)
{
	/* nanoseconds of 64 bits, since 1970: else s3fs's form does for both */
	if (dialect == META_S3FS || aws == NULL || value->tv_sec < 0 ||
	    value->tv_sec > AWS_SECONDS_MAX)
		meta_format_time(value, add(t, s3fs), META_FIELD_BYTES);
	else
		snprintf(add(t, aws), META_FIELD_BYTES, "%lld%09ldns", (long long)value->tv_sec,
			 value->tv_nsec);
}

void file_meta_format(const struct file_meta *m, enum meta_dialect dialect, struct meta_text *ret)
{
	bool aws = dialect == META_AWS;

	ret->count = 0;
	if ((m->has & META_HAS_MODE) != 0)
		snprintf(add(ret, aws ? "file-permissions" : "mode"), META_FIELD_BYTES,
			 aws ? "%07o" : "%u", m->mode);
	if ((m->has & META_HAS_UID) != 0)
		add_number(ret, aws ? "file-owner" : "uid", m->uid);
	if ((m->has & META_HAS_GID) != 0)
		add_number(ret, aws ? "file-group" : "gid", m->gid);
	if ((m->has & META_HAS_MTIME) != 0)
		add_time(ret, dialect, "mtime", "file-mtime", &m->mtime);
	if ((m->has & META_HAS_ATIME) != 0)
		add_time(ret, dialect, "atime", "file-atime", &m->atime);
	if ((m->has & META_HAS_CTIME) != 0)
		add_time(ret, dialect, "ctime", NULL, &m->ctime);
	if ((m->has & META_HAS_RDEV) != 0)
		add_number(ret, "rdev", m->rdev);
	if ((m->has & META_HAS_XATTR) != 0)
		add_borrowed(ret, "xattr", m->xattr);
	if ((m->has & META_HAS_TARGET) != 0)
		add_borrowed(ret, "--symlink-target", m->target);
}

size_t meta_bytes(const struct s3_meta *meta, unsigned count)
{
	size_t sum = 0;

	for (unsigned k = 0; k < count; k++)
		sum += strlen(meta[k].name) + strlen(meta[k].value);
	return sum;
}
