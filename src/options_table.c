/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of options, and what can be read off it: --help and the words for a range. An option
 * enters the table together with the code that honours it.
 */
#include <pailfs/options.h>

#include <assert.h>

#include <pailfs/bucket.h>
#include <pailfs/cleanup.h>
#include <pailfs/text.h>

#define FIELD(member) offsetof(struct options, member)
#define HOUR_NS (3600 * NS_PER_S)
#define DAY_NS (24 * HOUR_NS)
#define YEAR_NS (365 * DAY_NS)
#define EIB (GIB << 30)
#define ID_MAX (UINT32_MAX - 1)
#define FD_MAX (1 << 20)
#define RATE_MIN 1000
#define RATE_MAX (UINT64_C(1000) * 1000 * 1000 * 1000)

/* A row is read as one thing. */
/* clang-format off */
static const struct option_row rows[] = {
	/* where */
	{"region", .type = OPTION_TEXT, .offset = FIELD(region), .value = "NAME",
	 .help = "region of the bucket",
	 .says = "AWS_REGION, AWS_DEFAULT_REGION, the profile's, or learnt from the bucket"},
	{"endpoint", {"endpoint_url", "url"}, OPTION_TEXT, .offset = FIELD(endpoint), .value = "URL",
	 .help = "server to talk to: https://HOST[:PORT] or http://HOST[:PORT]",
	 .says = "AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, the profile's, or Amazon's"},
	{"path_style", {"use_path_request_style", "force_path_style"}, OPTION_AUTO,
	 .offset = FIELD(path_style),
	 .help = "name the bucket in the path of the URL, not in the host",
	 .says = "yes for endpoints that are not Amazon's and for names with dots or capitals"},
	{"dualstack", {"dual_stack"}, OPTION_FLAG, .offset = FIELD(dualstack),
	 .help = "use Amazon's endpoints with IPv6", .says = "AWS_USE_DUALSTACK_ENDPOINT"},
	{"fips", .type = OPTION_FLAG, .offset = FIELD(fips),
	 .help = "use Amazon's FIPS endpoints", .says = "AWS_USE_FIPS_ENDPOINT"},
	{"ca_bundle", .type = OPTION_TEXT, .offset = FIELD(ca_bundle), .value = "FILE",
	 .help = "PEM file of the certificate authorities to trust",
	 .says = "AWS_CA_BUNDLE, the profile's, or the system's"},

	/* who */
	{"profile", .type = OPTION_TEXT, .offset = FIELD(profile), .value = "NAME",
	 .help = "profile of ~/.aws/credentials and ~/.aws/config",
	 .says = "AWS_PROFILE, or default"},
	{"passwd_file", .type = OPTION_TEXT, .offset = FIELD(passwd_file), .value = "FILE",
	 .help = "keys as s3fs keeps them: KEY:SECRET or BUCKET:KEY:SECRET, mode 0600",
	 .says = "not used"},
	{"no_sign_request", {"public_bucket"}, OPTION_FLAG, .offset = FIELD(no_sign_request),
	 .help = "public bucket: look for no keys and sign nothing"},
	{"requester_pays", .type = OPTION_FLAG, .offset = FIELD(requester_pays),
	 .help = "agree to pay for the requests"},
	{"expected_bucket_owner", .type = OPTION_TEXT, .offset = FIELD(expected_bucket_owner),
	 .value = "ACCOUNT", .help = "refuse a bucket of another account", .says = "not checked"},

	/* what users see */
	{"ro", {"read_only"}, OPTION_FLAG, .offset = FIELD(read_only), .help = "mount read-only"},
	{"rw", .type = OPTION_FLAG_OFF, .offset = FIELD(read_only), .help = "the opposite of ro"},
	{"allow_other", .type = OPTION_FLAG, .offset = FIELD(allow_other),
	 .help = "other users may use the mount, as file modes allow"},
	{"noexec", .type = OPTION_FLAG, .offset = FIELD(no_exec),
	 .help = "no program may be run from the mount"},
	{"uid", .type = OPTION_COUNT, .max = ID_MAX, .offset = FIELD(uid), .value = "N",
	 .help = "owner of all files", .says = "the user who mounts"},
	{"gid", .type = OPTION_COUNT, .max = ID_MAX, .offset = FIELD(gid), .value = "N",
	 .help = "group of all files", .says = "the group of the user who mounts"},
	{"file_mode", .type = OPTION_OCTAL, .max = 0777, .preset = "0644",
	 .offset = FIELD(file_mode), .value = "MODE", .help = "permissions of files"},
	{"dir_mode", .type = OPTION_OCTAL, .max = 0777, .preset = "0755",
	 .offset = FIELD(dir_mode), .value = "MODE", .help = "permissions of directories"},
	{"umask", .type = OPTION_OCTAL, .max = 0777, .preset = "0", .offset = FIELD(umask),
	 .value = "MODE", .help = "permissions that file_mode and dir_mode lose"},
	{"quota", .type = OPTION_SIZE, .min = MIB, .max = EIB, .offset = FIELD(quota_bytes),
	 .value = "SIZE", .help = "size of the file system that df(1) shows",
	 .says = "a large constant"},

	/* attributes */
	{"posix", .type = OPTION_CHOICE, .preset = "off", .bare = "s3fs", .offset = FIELD(posix),
	 .value = "s3fs|aws|off",
	 .help = "owners, modes, times, links in metadata, written as s3fs or AWS do"},
	{"allow_suid", .type = OPTION_FLAG, .offset = FIELD(allow_suid),
	 .help = "with posix: show and store set-id bits (the mount stays nosuid)"},
	{"xattr", {"use_xattr"}, OPTION_FLAG, .offset = FIELD(xattr),
	 .help = "answer user.s3.* attributes without posix, too"},

	/* freshness */
	{"metadata_ttl", {"stat_cache_expire", "stat_cache_ttl"}, OPTION_TIME, 0, YEAR_NS, "1s",
	 .offset = FIELD(metadata_ttl_ns), .value = "TIME",
	 .help = "how long names and attributes are believed"},
	{"negative_ttl", {"negative_metadata_ttl"}, OPTION_TIME, 0, YEAR_NS, "0",
	 .offset = FIELD(negative_ttl_ns), .value = "TIME",
	 .help = "how long a missing name is believed to be missing"},

	/* speed and size */
	{"parallel", {"max_thread_count"}, OPTION_COUNT, 1, 1024, "24", .offset = FIELD(parallel),
	 .value = "N", .help = "requests for data at the same time"},
	{"part_size", {"read_part_size"}, OPTION_SIZE, MIB, 5 * GIB, "64M",
	 .offset = FIELD(part_size_bytes), .value = "SIZE",
	 .help = "most bytes that one request asks for"},
	{"memory", .type = OPTION_SIZE, .min = 32 * MIB, .max = 1024 * GIB,
	 .offset = FIELD(memory_bytes), .value = "SIZE", .help = "most memory for data",
	 .says = "a quarter of RAM or of the cgroup's limit, from 128M to 2G"},
	{"download_limit", .type = OPTION_RATE, .min = RATE_MIN, .max = RATE_MAX,
	 .offset = FIELD(download_limit), .value = "RATE[:BURST]",
	 .help = "most bytes a second from the server, and how many of them at once",
	 .says = "no limit; without BURST: a tenth of a second's worth"},

	/* writing */
	{"upload_limit", .type = OPTION_RATE, .min = RATE_MIN, .max = RATE_MAX,
	 .offset = FIELD(upload_limit), .value = "RATE[:BURST]",
	 .help = "most bytes a second to the server, and how many of them at once",
	 .says = "no limit; without BURST: a tenth of a second's worth"},
	{"upload_part_size", {"write_part_size"}, OPTION_SIZE, 5 * MIB, 5 * GIB,
	 .offset = FIELD(upload_part_bytes), .value = "SIZE",
	 .help = "size of the parts of an upload", .says = "from 8M on, growing with the file"},
	{"spool_dir", {"tmpdir"}, OPTION_TEXT, .preset = "/var/tmp", .offset = FIELD(spool_dir),
	 .value = "DIR", .help = "where written bytes wait that memory has no room for"},
	{"spool_limit", .type = OPTION_SIZE, .max = EIB, .preset = "1G",
	 .offset = FIELD(spool_limit_bytes), .value = "SIZE",
	 .help = "most bytes of a file that are kept there after they were sent"},
	{"unlink_keep", .type = OPTION_SIZE, .max = EIB, .preset = "64M",
	 .offset = FIELD(unlink_keep_bytes), .value = "SIZE",
	 .help = "most bytes of an open file that are fetched when its name is removed"},
	{"excl", .type = OPTION_CHOICE, .preset = "close", .offset = FIELD(excl),
	 .value = "close|claim", .help = "when O_EXCL takes a name: at close, or at open"},
	{"on_kill", .type = OPTION_CHOICE, .preset = "abort", .offset = FIELD(on_kill),
	 .value = "abort|publish", .help = "what becomes of a file whose writer was killed"},
	{"safe", .type = OPTION_FLAG, .offset = FIELD(safe),
	 .help = "files may be made, but not removed, overwritten or replaced"},
	{"allow_delete", .type = OPTION_FLAG, .offset = FIELD(allow_delete),
	 .help = "with safe: files may be removed all the same"},
	{"allow_overwrite", .type = OPTION_FLAG, .offset = FIELD(allow_overwrite),
	 .help = "with safe: files may be overwritten all the same"},
	{"nosilent", .type = OPTION_FLAG, .offset = FIELD(nosilent),
	 .help = "chmod and chown that have no effect fail"},
	{"content_type", .type = OPTION_TEXT, .offset = FIELD(content_type), .value = "TYPE",
	 .help = "Content-Type of names whose ending tells none", .says = "the server's default"},
	{"storage_class", .type = OPTION_TEXT, .offset = FIELD(storage_class), .value = "CLASS",
	 .help = "storage class of what is written", .says = "STANDARD"},
	{"sse", {"server_side_encryption"}, OPTION_TEXT, .offset = FIELD(sse), .value = "TYPE",
	 .help = "encryption at the server: AES256, aws:kms or aws:kms:dsse",
	 .says = "the bucket's"},
	{"sse_kms_key_id", .type = OPTION_TEXT, .offset = FIELD(sse_kms_key_id), .value = "KEY",
	 .help = "key of KMS for that", .says = "the bucket's"},
	{"acl", {"default_acl"}, OPTION_TEXT, .offset = FIELD(acl), .value = "NAME",
	 .help = "canned ACL of what is written", .says = "the bucket's"},
	{"checksum", .type = OPTION_CHOICE, .preset = "crc32c", .offset = FIELD(checksum),
	 .value = "crc32c|off", .help = "what the server checks uploads with"},
	{"payload", .type = OPTION_CHOICE, .offset = FIELD(payload), .value = "signed|unsigned",
	 .help = "whether signatures cover the bytes that are sent",
	 .says = "unsigned with https, signed with http"},

	/* trouble */
	{"retries", .type = OPTION_COUNT, .max = 100, .preset = "10", .offset = FIELD(retries),
	 .value = "N", .help = "tries after the first, for a request that fails"},
	{"op_timeout", .type = OPTION_TIME, .min = NS_PER_S, .max = DAY_NS, .preset = "60s",
	 .offset = FIELD(op_timeout_ns), .value = "TIME",
	 .help = "without progress for that long, an operation fails with EIO"},
	{"server_timeout", .type = OPTION_TIME, .min = NS_PER_S, .max = DAY_NS, .preset = "10m",
	 .offset = FIELD(server_timeout_ns), .value = "TIME",
	 .help = "the same for what the server may work on for long: ends of uploads, copies"},
	{"mount_timeout", .type = OPTION_TIME, .max = DAY_NS, .offset = FIELD(mount_timeout_ns),
	 .value = "TIME", .help = "how long to try at start until the server can be reached",
	 .says = "30s when mount(8) starts it, else a single try"},
	{"log_level", .type = OPTION_LEVEL, .preset = "info", .offset = FIELD(log_level),
	 .value = "LEVEL", .help = "error, warning, info or debug"},
	{"log_file", {"logfile"}, OPTION_TEXT, .offset = FIELD(log_file), .value = "FILE",
	 .help = "append the log to a file; SIGHUP opens it again",
	 .says = "syslog, or stderr with -f"},
	{"debug", .type = OPTION_FLAG, .offset = FIELD(debug), .help = "the same as log_level=debug"},
	{"ready_fd", .type = OPTION_COUNT, .max = FD_MAX, .offset = FIELD(ready_fd), .value = "N",
	 .help = "descriptor that gets READY=1 when the mount answers", .says = "none"},
};
/* clang-format on */

const struct option_row *options_table(size_t *ret_count)
{
	static_assert(ARRAY_SIZE(rows) <= OPTION_ROWS_MAX, "raise OPTION_ROWS_MAX");
	*ret_count = ARRAY_SIZE(rows);
	return rows;
}

static const char *format_time(uint64_t ns, char *dst, size_t size)
{
	if (ns % (DAY_NS) == 0 && ns > DAY_NS)
		snprintf(dst, size, "%llu days", (unsigned long long)(ns / (DAY_NS)));
	else if (ns % HOUR_NS == 0 && ns > 0)
		snprintf(dst, size, "%llu h", (unsigned long long)(ns / HOUR_NS));
	else
		snprintf(dst, size, "%llu s", (unsigned long long)(ns / NS_PER_S));
	return dst;
}

const char *option_range(const struct option_row *row, char *dst, size_t size)
{
	char a[32], b[32], c[32];

	switch (row->type) {
	case OPTION_FLAG:
	case OPTION_FLAG_OFF:
	case OPTION_AUTO:
		snprintf(dst, size, "yes or no");
		break;
	case OPTION_TEXT:
		snprintf(dst, size, "a text (%s)", row->value);
		break;
	case OPTION_COUNT:
		snprintf(dst, size, "a whole number from %llu to %llu",
			 (unsigned long long)row->min, (unsigned long long)row->max);
		break;
	case OPTION_OCTAL:
		snprintf(dst, size, "an octal number from 0 to 0%llo",
			 (unsigned long long)row->max);
		break;
	case OPTION_SIZE:
		snprintf(dst, size, "a size from %s to %s",
			 text_format_size(row->min, a, sizeof(a)),
			 text_format_size(row->max, b, sizeof(b)));
		break;
	case OPTION_TIME:
		snprintf(dst, size, "a time from %s to %s, or forever",
			 format_time(row->min, a, sizeof(a)), format_time(row->max, b, sizeof(b)));
		break;
	case OPTION_RATE:
		snprintf(dst, size, "a rate from %s to %s, and after a colon a burst from %s up",
			 text_format_rate(row->min, a, sizeof(a)),
			 text_format_rate(row->max, b, sizeof(b)),
			 text_format_size(BUCKET_BURST_MIN_BYTES, c, sizeof(c)));
		break;
	case OPTION_LEVEL:
		snprintf(dst, size, "one of error, warning, info, debug");
		break;
	case OPTION_CHOICE:
		snprintf(dst, size, "one of %s", row->value);
		break;
	}
	return dst;
}

static void print_row(FILE *to, const struct option_row *row)
{
	char left[64];

	snprintf(left, sizeof(left), "%s%s%s", row->name, row->value != NULL ? "=" : "",
		 row->value != NULL ? row->value : "");
	fprintf(to, "  %-29s %s", left, row->help);
	if (row->preset != NULL)
		fprintf(to, " [%s]", row->preset);
	if (row->says != NULL)
		fprintf(to, "\n  %-29s [%s]", "", row->says);
	for (size_t i = 0; i < OPTION_ALIASES_MAX && row->aliases[i] != NULL; i++)
		fprintf(to, "%s%s", i == 0 ? "\n                                also: " : ", ",
			row->aliases[i]);
	fputc('\n', to);
}

void options_print_help(FILE *to)
{
	fprintf(
	    to,
	    "Usage: pailfs [-f] [-d] [-s] [-o OPTION[,OPTION]...] BUCKET[:/PREFIX] DIR\n"
	    "       pailfs [...] s3://BUCKET[/PREFIX/] DIR\n"
	    "       pailfs --unmount DIR\n"
	    "       pailfs --uploads [--abort] [--older-than TIME] [-o ...] BUCKET[:/PREFIX]\n"
	    "       pailfs -h | -V\n\n"
	    "Mounts an S3 bucket, or what begins with PREFIX in it, at the directory DIR.\n"
	    "`umount DIR` or `fusermount3 -u DIR` ends it; `pailfs --unmount DIR` also waits\n"
	    "until all that was closed is stored. `pailfs --uploads` lists unfinished uploads,\n"
	    "or aborts those that are older than TIME.\n\n"
	    "  -f                            stay in front and log to stderr\n"
	    "  -d                            -f with log_level=debug\n"
	    "  -s                            one request for data at a time (parallel=1)\n"
	    "  -o OPTION[,OPTION]...         see below; --OPTION works as well\n"
	    "  -h, -V                        this text; the version\n\n"
	    "Options [default]:\n");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		print_row(to, &rows[i]);
	fprintf(to,
		"\nSIZE is in bytes or with K, M, G, T (powers of 1024); RATE in bytes a second "
		"or with\nK, M, G (powers of 1000); TIME in seconds or with ms, s, m, h, d. "
		"See pailfs(1).\n");
}
