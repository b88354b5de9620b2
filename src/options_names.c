/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What people write who know other tools: words that are for mount(8), options of s3fs, goofys,
 * rclone and mountpoint-s3 that pailfs does not have, and plain misspellings. Names that mean the
 * same are aliases in options_table.c instead.
 */
#include <pailfs/options.h>

#include <string.h>

#include <pailfs/cleanup.h>

#define NEAR_EDITS_MAX 3
#define NAME_MAX_BYTES 48

/* Words that mount(8), systemd and mount.fuse3 hand through. */
/* clang-format off */
static const char *const ignored[] = {
	"defaults", "auto", "noauto", "user", "nouser", "users", "owner", "group", "nogroup",
	"nofail", "_netdev", "nobootwait", "bootwait", "comment", "exec", "suid", "nosuid",
	"dev", "nodev", "async", "atime", "noatime", "relatime", "norelatime", "strictatime",
	"nostrictatime", "lazytime", "nolazytime", "diratime", "nodiratime", "silent",
	"loud",
};
/* clang-format on */

static const struct {
	const char *name, *advice;
} foreign[] = {
    {"use_cache", "there is no disk cache yet; memory=SIZE sets the cache in memory"},
    {"cache", "there is no disk cache yet; memory=SIZE sets the cache in memory"},
    {"max_cache_size", "there is no disk cache yet"},
    {"ensure_diskfree", "there is no disk cache yet"},
    {"del_cache", "there is no disk cache yet"},
    {"max_stat_cache_size", "names are kept as long as the kernel needs them"},
    {"multipart_size", "say part_size=SIZE; multipart_size=10 is part_size=10M"},
    {"parallel_count", "say parallel=N"},
    {"multireq_max", "say parallel=N"},
    {"max_threads", "say parallel=N"},
    {"max_dirty_data", "memory=SIZE bounds it"},
    {"use_sse", "say sse=AES256, or sse=aws:kms,sse_kms_key_id=KEY"},
    {"maximum_throughput_gbps", "say download_limit=RATE"},
    {"connect_timeout", "say op_timeout=TIME"},
    {"readwrite_timeout", "say op_timeout=TIME"},
    {"http_timeout", "say op_timeout=TIME"},
    {"dbglevel", "say log_level=error|warning|info|debug"},
    {"curldbg", "say log_level=debug"},
    {"debug_s3", "say log_level=debug"},
    {"prefix", "say BUCKET:/PREFIX"},
    {"bucket", "say pailfs BUCKET DIR"},
    {"servicepath", "say endpoint=URL"},
    {"host", "say endpoint=URL"},
    {"sigv2", "only signature version 4 is spoken"},
    {"sigv4", "signature version 4 is always spoken"},
    {"no_check_certificate", "certificates are always checked; ca_bundle=FILE trusts your own"},
    {"ssl_verify_hostname", "certificates are always checked; ca_bundle=FILE trusts your own"},
    {"iam_role", "keys from the instance's role are not read yet"},
    {"ecs", "keys from the container's role are not read yet"},
    {"allow_root", "say allow_other"},
    {"mp_umask", "say umask=MODE, or dir_mode=MODE"},
    {"stat_cache_interval_expire", "say metadata_ttl=TIME"},
    {"type_cache_ttl", "say metadata_ttl=TIME"},
    {"entry_timeout", "say metadata_ttl=TIME"},
    {"attr_timeout", "say metadata_ttl=TIME"},
    {"negative_timeout", "say negative_ttl=TIME"},
    {"enable_noobj_cache", "say negative_ttl=TIME"},
    {"kernel_cache", "pages are kept as long as the object is the same"},
    {"auto_cache", "pages are kept as long as the object is the same"},
    {"direct_io", "open files with O_DIRECT instead"},
    {"max_read", "the kernel's largest is used"},
    {"max_readahead", "the read-ahead of the mount is raised by itself where that is permitted"},
    {"max_background", "a fixed number is used"},
    {"default_permissions", "permissions are always checked; leave it out"},
    {"fsname", "the name of the bucket is used"},
    {"subtype", "the subtype is always pailfs"},
    {"nonempty", "DIR need not be empty; leave it out"},
    {"big_writes", "requests are always large; leave it out"},
    {"context", "SELinux contexts are not supported"},
};

static char folded(char c)
{
	return c == '-' ? '_' : c;
}

bool option_name_equal(const char *a, const char *b)
{
	while (*a != '\0' && folded(*a) == folded(*b)) {
		a++;
		b++;
	}
	return folded(*a) == folded(*b);
}

bool option_is_ignored(const char *name)
{
	if ((name[0] == 'x' || name[0] == 'X') && folded(name[1]) == '_')
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++) {
		if (option_name_equal(ignored[i], name))
			return true;
	}
	return false;
}

const char *option_foreign_advice(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(foreign); i++) {
		if (option_name_equal(foreign[i].name, name))
			return foreign[i].advice;
	}
	return NULL;
}

/* Levenshtein's distance; names longer than NAME_MAX_BYTES are far from everything. */
static unsigned edits_between(const char *a, const char *b)
{
	unsigned row[NAME_MAX_BYTES + 1];
	size_t length = strlen(b);

	if (length > NAME_MAX_BYTES || strlen(a) > NAME_MAX_BYTES)
		return NAME_MAX_BYTES;
	for (size_t j = 0; j <= length; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; a[i - 1] != '\0'; i++) {
		unsigned diagonal = row[0];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= length; j++) {
			unsigned replaced = diagonal + (folded(a[i - 1]) != folded(b[j - 1]));

			diagonal = row[j];
			row[j] = MIN(replaced, MIN(row[j], row[j - 1]) + 1);
		}
	}
	return row[length];
}

const char *option_nearest(const char *name)
{
	unsigned best = MIN(NEAR_EDITS_MAX + 1, (unsigned)strlen(name) / 2 + 1);
	const char *nearest = NULL;
	size_t count;
	const struct option_row *rows = options_table(&count);

	for (size_t i = 0; i < count; i++) {
		const char *names[OPTION_ALIASES_MAX + 1] = {rows[i].name};

		memcpy(&names[1], rows[i].aliases, sizeof(rows[i].aliases));
		for (size_t k = 0; k < ARRAY_SIZE(names) && names[k] != NULL; k++) {
			unsigned edits = edits_between(name, names[k]);

			if (edits < best) {
				best = edits;
				nearest = names[k];
			}
		}
	}
	return nearest;
}
