/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where each setting comes from, and in what order. First thread, before any other: it may write
 * the environment.
 */
#include "settings.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <pailfs/cleanup.h>
#include <pailfs/text.h>

#include "machine.h"

#define CONNECT_NS (5 * NS_PER_S)
#define MEMORY_SHARE 4 /* a quarter of what there is */
#define MEMORY_LEAST_BYTES (128 * MIB)
#define MEMORY_MOST_BYTES (2 * GIB)
#define ATTEMPTS_MAX 101
#define META_CONNECTIONS_MIN 64 /* slots that xfer/ has for names at least */
#define LOOPS_MAX 4		/* what they share is copying what comes, and AES */
#define PLAIN_UPLOAD_LOOPS 1	/* a second one takes the writers' core (measured) */

#define USER_AGENT "pailfs/" PAILFS_VERSION

/* A variable that is set to something, NULL otherwise. */
static const char *env(const char *name)
{
	const char *value = getenv(name);

	return value != NULL && value[0] != '\0' ? value : NULL;
}

static bool env_true(const char *name)
{
	const char *value = env(name);

	return value != NULL && (strcasecmp(value, "true") == 0 || strcmp(value, "1") == 0);
}

/* NULL stays NULL. */
static char *absolute(const char *path)
{
	CLEANUP(free) char *here = NULL;

	if (path == NULL)
		return NULL;
	if (path[0] == '/')
		return strdup(path);
	here = getcwd(NULL, 0);
	return text_format("%s/%s", here != NULL ? here : "", path);
}

/* The credentials are read again at SIGHUP, when the working directory is another one. */
static void make_env_absolute(const char *name)
{
	CLEANUP(free) char *path = absolute(env(name));

	if (path != NULL)
		setenv(name, path, 1);
}

static void resolve_cred(struct settings *s, const struct options *o)
{
	make_env_absolute("AWS_SHARED_CREDENTIALS_FILE");
	make_env_absolute("AWS_CONFIG_FILE");
	s->passwd_file = absolute(o->passwd_file);
	s->cred = (struct cred_config){
	    .none = o->no_sign_request,
	    .profile = o->profile,
	    .passwd_file = s->passwd_file,
	    .bucket = o->bucket,
	};
}

/* The option, else the first of two variables that is set, else the profile's; the caller's. */
static char *choose(const struct settings *s, const char *option, const char *variable,
		    const char *variable2, const char *profile_setting)
{
	const char *found = option != NULL ? option : env(variable);

	if (found == NULL)
		found = env(variable2);
	return found != NULL ? strdup(found) : cred_profile_setting(&s->cred, profile_setting);
}

static int resolve_target(struct settings *s, const struct options *o, char *error, size_t size)
{
	CLEANUP(free)
	char *region = choose(s, o->region, "AWS_REGION", "AWS_DEFAULT_REGION", "region");
	CLEANUP(free)
	char *endpoint =
	    choose(s, o->endpoint, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "endpoint_url");
	struct s3_target *t = &s->target;
	int rc;

	rc = s3_target_init(t, endpoint, o->bucket, region, o->path_style, error, size);
	if (rc < 0)
		return rc;
	t->dualstack = o->dualstack ||
		       (!options_given(o, "dualstack") && env_true("AWS_USE_DUALSTACK_ENDPOINT"));
	t->fips = o->fips || (!options_given(o, "fips") && env_true("AWS_USE_FIPS_ENDPOINT"));
	t->requester_pays = o->requester_pays;
	if (o->checksum == OPTION_CHECKSUM_OFF)
		t->checksum_crc32c = false;
	if (options_given(o, "payload"))
		t->unsigned_payload = o->payload == OPTION_PAYLOAD_UNSIGNED;
	if (o->expected_bucket_owner != NULL &&
	    strlen(o->expected_bucket_owner) >= sizeof(t->expected_bucket_owner))
		return options_fail(error, size,
				    "option expected_bucket_owner=%s: must be an account's number",
				    o->expected_bucket_owner);
	snprintf(t->expected_bucket_owner, sizeof(t->expected_bucket_owner), "%s",
		 o->expected_bucket_owner != NULL ? o->expected_bucket_owner : "");
	return 0;
}

static int resolve_retries(const struct options *o, unsigned *ret, char *error, size_t size)
{
	const char *text = env("AWS_MAX_ATTEMPTS");
	uint64_t attempts;

	*ret = o->retries;
	if (text == NULL || options_given(o, "retries"))
		return 0;
	if (text_parse_u64(text, &attempts) < 0 || attempts < 1 || attempts > ATTEMPTS_MAX)
		return options_fail(error, size,
				    "AWS_MAX_ATTEMPTS=%s: must be a whole number from 1 to %d",
				    text, ATTEMPTS_MAX);
	*ret = (unsigned)attempts - 1;
	return 0;
}

static int resolve_xfer(struct settings *s, const struct options *o, char *error, size_t size)
{
	s->xfer = (struct xfer_config){
	    .parallel = o->parallel,
	    .op_timeout_ns = o->op_timeout_ns,
	    .server_timeout_ns = MAX(o->server_timeout_ns, o->op_timeout_ns),
	    .download = {o->download_limit.bytes_per_s, o->download_limit.burst_bytes},
	    .upload = {o->upload_limit.bytes_per_s, o->upload_limit.burst_bytes},
	};
	return resolve_retries(o, &s->xfer.retries, error, size);
}

static void resolve_http(struct settings *s, const struct options *o)
{
	CLEANUP(free)
	char *ca = choose(s, o->ca_bundle, "AWS_CA_BUNDLE", "AWS_CA_BUNDLE", "ca_bundle");

	s->ca_bundle = absolute(ca);
	s->http = (struct http_config){
	    .loops = MIN(machine_cores(), (unsigned)LOOPS_MAX),
	    .upload_loops = s->target.https ? LOOPS_MAX : PLAIN_UPLOAD_LOOPS,
	    .connections = o->parallel + MAX(o->parallel, (unsigned)META_CONNECTIONS_MIN),
	    .connect_ns = CONNECT_NS,
	    .ca_bundle = s->ca_bundle,
	    .user_agent = USER_AGENT,
	    .receive_buffer_bytes = xfer_socket_buffer_bytes(&s->xfer.download, o->parallel),
	    .send_buffer_bytes = xfer_socket_buffer_bytes(&s->xfer.upload, o->parallel),
	};
}

static void resolve_memory(struct settings *s, const struct options *o)
{
	uint64_t share = machine_memory_bytes() / MEMORY_SHARE;

	s->memory_bytes = options_given(o, "memory")
			      ? o->memory_bytes
			      : MIN(MAX(share, MEMORY_LEAST_BYTES), MEMORY_MOST_BYTES);
}

static void resolve_fs(struct settings *s, const struct options *o)
{
	s->fs = (struct fs_config){
	    .prefix = o->prefix,
	    .uid = options_given(o, "uid") ? o->uid : getuid(),
	    .gid = options_given(o, "gid") ? o->gid : getgid(),
	    .file_mode = o->file_mode & ~o->umask,
	    .dir_mode = o->dir_mode & ~o->umask,
	    .metadata_ttl_ns = o->metadata_ttl_ns,
	    .negative_ttl_ns = o->negative_ttl_ns,
	    .quota_bytes = o->quota_bytes,
	    .part_bytes = MIN(o->part_size_bytes, xfer_part_bytes(&s->xfer.download, o->parallel)),
	    .parallel = o->parallel,
	    .memory_bytes = s->memory_bytes,
	    .read_only = o->read_only,
	    .upload_part_bytes = o->upload_part_bytes,
	    .spool_limit_bytes = o->spool_limit_bytes,
	    .unlink_keep_bytes = o->unlink_keep_bytes,
	    .spool_dir = s->spool_dir,
	    .journal_dir = s->journal_dir,
	    .excl_claim = o->excl == OPTION_EXCL_CLAIM,
	    .publish_killed = o->on_kill == OPTION_ON_KILL_PUBLISH,
	    .safe_delete = o->safe && !o->allow_delete,
	    .safe_overwrite = o->safe && !o->allow_overwrite,
	    .nosilent = o->nosilent,
	    .posix = o->posix != OPTION_POSIX_OFF,
	    .posix_aws = o->posix == OPTION_POSIX_AWS,
	    .allow_suid = o->allow_suid,
	    .xattr = o->xattr || o->posix != OPTION_POSIX_OFF,
	    .content_type = o->content_type,
	    .storage_class = o->storage_class,
	    .sse = o->sse,
	    .sse_kms_key_id = o->sse_kms_key_id,
	    .acl = o->acl,
	};
}

/* Where root's daemons keep what outlives them, and where a user's do. NULL: nowhere. */
static char *state_dir(void)
{
	const char *home = env("HOME"), *state = env("XDG_STATE_HOME");
	struct passwd *me;

	if (geteuid() == 0)
		return strdup("/var/lib/pailfs");
	if (state != NULL && state[0] == '/')
		return text_format("%s/pailfs", state);
	if (home == NULL) {
		me = getpwuid(geteuid());
		home = me != NULL ? me->pw_dir : NULL;
	}
	return home != NULL && home[0] == '/' ? text_format("%s/.local/state/pailfs", home) : NULL;
}

static int resolve_spool(struct settings *s, const struct options *o, char *error, size_t size)
{
	s->journal_dir = o->read_only ? NULL : state_dir();
	s->spool_dir = absolute(o->spool_dir);
	if (s->spool_dir == NULL)
		return options_fail(error, size, "out of memory");
	if (!o->read_only && access(s->spool_dir, W_OK | X_OK) < 0)
		return options_fail(error, size, "option spool_dir=%s: %s", s->spool_dir,
				    strerror(errno));
	return 0;
}

static int resolve_mount(struct settings *s, const struct options *o, char *error, size_t size)
{
	s->ready_fd = options_given(o, "ready_fd") ? (int)o->ready_fd : -1;
	if (s->ready_fd >= 0 && fcntl(s->ready_fd, F_GETFD) < 0)
		return options_fail(error, size, "option ready_fd=%d: must be an open descriptor",
				    s->ready_fd);
	s->log_file = absolute(o->log_file);
	s->mount_timeout_ns = options_given(o, "mount_timeout") ? o->mount_timeout_ns
			      : o->from_mount			? SETTINGS_MOUNT_TIMEOUT_NS
								: 0;
	s->mount = (struct mount_config){
	    .source = o->source,
	    .allow_other = o->allow_other,
	    .read_only = o->read_only,
	    .no_exec = o->no_exec,
	    .op_timeout_ns = o->op_timeout_ns,
	};
	return 0;
}

int settings_resolve(struct settings *s, const struct options *o, char *ret_error,
		     size_t error_size)
{
	int rc;

	memset(s, 0, sizeof(*s));
	resolve_cred(s, o);
	rc = resolve_target(s, o, ret_error, error_size);
	if (rc == 0)
		rc = resolve_xfer(s, o, ret_error, error_size);
	if (rc == 0)
		rc = resolve_mount(s, o, ret_error, error_size);
	if (rc == 0)
		rc = resolve_spool(s, o, ret_error, error_size);
	if (rc < 0)
		return rc;
	resolve_http(s, o);
	resolve_memory(s, o);
	resolve_fs(s, o);
	return 0;
}

void settings_finish(struct settings *s)
{
	free(s->log_file);
	free(s->passwd_file);
	free(s->ca_bundle);
	free(s->spool_dir);
	free(s->journal_dir);
	memset(s, 0, sizeof(*s));
}
