/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pailfs: what is started, in which order, and how it is undone. Each step below is one module;
 * the first that fails leaves one line and an exit status, and app_stop undoes what there is.
 *
 * Exit status: 0 mounted (or, in front, unmounted again; --uploads: done), 1 could not, 2 wrong
 * usage.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <pailfs/budget.h>
#include <pailfs/cache.h>
#include <pailfs/cleanup.h>
#include <pailfs/cred.h>
#include <pailfs/daemon.h>
#include <pailfs/fs.h>
#include <pailfs/http.h>
#include <pailfs/log.h>
#include <pailfs/mount.h>
#include <pailfs/options.h>
#include <pailfs/s3.h>
#include <pailfs/xfer.h>

#include "machine.h"
#include "probe.h"
#include "settings.h"
#include "uploads.h"

#define EXIT_USAGE 2
#define ERROR_BYTES 768
#define START_LIMIT_NS (10 * NS_PER_S) /* the parent's patience, beyond mount_timeout */

struct app {
	struct options options;
	struct settings settings;
	struct daemon daemon;
	int usage_error; /* the failure is the command line's */
	char error[ERROR_BYTES];
	/* in the order in which they are started */
	char *dir;
	struct cred *cred;
	struct http *http;
	struct xfer *xfer;
	struct budget *budget;
	struct cache *cache;
	struct mount *mount;
	struct fs *fs;
};

static int failed(struct app *a, int rc, const char *what)
{
	if (rc < 0)
		snprintf(a->error, sizeof(a->error), "%s: %s", what, strerror(-rc));
	return rc;
}

static int resolve_settings(struct app *a)
{
	int rc = settings_resolve(&a->settings, &a->options, a->error, sizeof(a->error));

	a->usage_error = rc < 0;
	return rc;
}

/* Errors of the mount point come first: they are the commonest, and need no network. */
static int check_mount_point(struct app *a)
{
	struct settings *s = &a->settings;
	size_t size = sizeof(a->error);
	int rc = mount_check_dir(a->options.dir, &a->dir, a->error, size);

	if (rc < 0)
		return rc;
	s->mount.dir = a->dir;
	rc = mount_check_permitted(&s->mount, a->error, size);
	if (rc == 0)
		rc = mount_check_outside(a->dir, "log_file", s->log_file, a->error, size);
	if (rc == 0)
		rc = mount_check_outside(a->dir, "passwd_file", s->passwd_file, a->error, size);
	if (rc == 0)
		rc = mount_check_outside(a->dir, "ca_bundle", s->ca_bundle, a->error, size);
	if (rc == 0)
		rc = mount_check_outside(a->dir, "spool_dir", s->spool_dir, a->error, size);
	return rc;
}

/*
 * A daemon logs to the terminal until it is ready. The threshold has no lock: it is set here,
 * before there are threads.
 */
static int start_log(struct app *a)
{
	char what[ERROR_BYTES / 2];

	log_threshold = a->options.log_level;
	if (a->settings.log_file == NULL)
		return 0;
	snprintf(what, sizeof(what), "log_file=%s", a->settings.log_file);
	return failed(a, log_open(LOG_SINK_FILE, a->settings.log_file), what);
}

static int start_cred(struct app *a)
{
	return cred_create(&a->settings.cred, &a->cred, a->error, sizeof(a->error));
}

static int start_http(struct app *a)
{
	const char *ca = a->settings.ca_bundle;

	s3_library_init();
	if (ca != NULL && access(ca, R_OK) < 0)
		return failed(a, -errno, ca);
	return failed(a, http_create(&a->settings.http, &a->http), "cannot start the HTTP engine");
}

/* A person may lose patience here: the signals that end a program do so. */
static int reach_bucket(struct app *a)
{
	struct probe_config config = {
	    .http = a->http,
	    .cred = a->cred,
	    .prefix = a->options.prefix,
	    .patience_ns = a->settings.mount_timeout_ns,
	    .ca_bundle = a->settings.ca_bundle,
	};
	int rc;

	mount_signals_deadly(true);
	rc = probe_bucket(&config, &a->settings.target, a->error, sizeof(a->error));
	mount_signals_deadly(false);
	return rc;
}

static int start_transfers(struct app *a)
{
	return failed(
	    a, xfer_create(&a->settings.xfer, a->http, a->cred, &a->settings.target, &a->xfer),
	    "cannot start the scheduler");
}

static int start_cache(struct app *a)
{
	int rc = budget_create(a->settings.memory_bytes, &a->budget);

	if (rc == 0)
		rc = cache_create(a->budget, a->xfer, &a->cache);
	return failed(a, rc, "cannot start the cache");
}

static int start_mount(struct app *a)
{
	struct fs_notify notify;
	int rc = mount_create(&a->settings.mount, &a->mount);

	if (rc == 0) {
		notify = mount_notify(a->mount);
		rc = fs_create(&a->settings.fs, a->budget, a->xfer, a->cache, &notify, &a->fs);
	}
	if (rc < 0)
		return failed(a, rc, "cannot start the file system");
	return mount_attach(a->mount, a->fs, a->error, sizeof(a->error));
}

static int app_start(struct app *a)
{
	int (*const steps[])(struct app *) = {
	    resolve_settings, check_mount_point, start_log,   start_cred,  start_http,
	    reach_bucket,     start_transfers,	 start_cache, start_mount,
	};
	int rc = 0;

	for (size_t i = 0; i < ARRAY_SIZE(steps) && rc == 0; i++)
		rc = steps[i](a);
	return rc;
}

static void app_stop(struct app *a)
{
	fs_destroy(a->fs);
	mount_destroy(a->mount);
	cache_destroy(a->cache);
	budget_destroy(a->budget);
	xfer_destroy(a->xfer);
	http_destroy(a->http);
	s3_library_finish();
	cred_destroy(a->cred);
	machine_hold_secrets(false);
	free(a->dir);
	settings_finish(&a->settings);
	options_finish(&a->options);
	log_close();
}

static void reload(void *ctx)
{
	struct app *a = ctx;
	int rc = log_reopen();

	if (rc < 0)
		log_warn("SIGHUP: %s: %s", a->settings.log_file, strerror(-rc));
	rc = cred_reload(a->cred);
	if (rc < 0)
		log_warn("SIGHUP: the old keys stay: %s", strerror(-rc));
}

static void log_progress(void *ctx)
{
	struct app *a = ctx;

	fs_log_progress(a->fs);
}

/* From here on nobody reads stderr, unless in front. */
static void app_ready(struct app *a)
{
	if (a->settings.log_file == NULL && !a->options.foreground)
		log_open(LOG_SINK_SYSLOG, NULL);
	daemon_report_ready(&a->daemon, a->settings.ready_fd);
	log_info("mounted %s at %s", a->options.source, a->dir);
}

static int app_run(struct app *a)
{
	struct mount_hooks hooks = {.ctx = a, .reload = reload, .progress = log_progress};
	int rc;

	machine_raise_limits();
	machine_hold_secrets(true);
	mount_process_init();
	rc = app_start(a);
	if (rc < 0) {
		int status = a->usage_error ? EXIT_USAGE : EXIT_FAILURE;

		daemon_report_failure(&a->daemon, status, a->error);
		return status;
	}
	app_ready(a);
	rc = mount_serve(a->mount, &hooks);
	log_info("unmounted %s", a->dir);
	return rc == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* 0 to go on (in the child, if there is one), else DAEMON_IN_PARENT or -errno. */
static int become_daemon(struct app *a, int *ret_exit_status)
{
	uint64_t limit_ns = START_LIMIT_NS;

	if (a->options.foreground) {
		daemon_in_front(&a->daemon);
		return 0;
	}
	if (options_given(&a->options, "mount_timeout"))
		limit_ns += MIN(a->options.mount_timeout_ns, UINT64_MAX - limit_ns);
	else if (a->options.from_mount)
		limit_ns += SETTINGS_MOUNT_TIMEOUT_NS;
	return daemon_fork(&a->daemon, a->options.dir, limit_ns, ret_exit_status);
}

/* pailfs --unmount DIR. */
static int unmount(struct app *a)
{
	int rc = mount_end(a->options.dir, a->error, sizeof(a->error));

	if (rc < 0)
		fprintf(stderr, "pailfs: %s\n", a->error);
	return rc == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* pailfs --uploads BUCKET: what a mount starts, as far as it is needed to ask. */
static int uploads(struct app *a)
{
	int (*const steps[])(struct app *) = {resolve_settings, start_cred, start_http,
					      reach_bucket, start_transfers};
	struct uploads_ask ask = {.bucket = a->options.bucket,
				  .prefix = a->options.prefix,
				  .older_than_ns = a->options.older_than_ns,
				  .abort = a->options.abort_uploads};
	int rc = 0;

	log_threshold = a->options.debug ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR;
	mount_process_init();
	mount_signals_deadly(true);
	machine_hold_secrets(true);
	for (size_t i = 0; i < ARRAY_SIZE(steps) && rc == 0; i++)
		rc = steps[i](a);
	if (rc < 0) {
		fprintf(stderr, "pailfs: %s\n", a->error);
		return a->usage_error ? EXIT_USAGE : EXIT_FAILURE;
	}
	mount_signals_deadly(true);
	return uploads_command(a->xfer, &ask) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	struct app app = {0};
	int status = EXIT_FAILURE, rc;

	daemon_fill_standard_fds();
	if (options_parse(&app.options, argc, argv, app.error, sizeof(app.error)) < 0) {
		fprintf(stderr, "pailfs: %s\n", app.error);
		options_finish(&app.options);
		return EXIT_USAGE;
	}
	if (app.options.action == OPTION_SHOW_HELP)
		options_print_help(stdout);
	else if (app.options.action == OPTION_SHOW_VERSION)
		printf("pailfs %s\n", PAILFS_VERSION);
	else if (app.options.action == OPTION_UNMOUNT)
		status = unmount(&app);
	if (app.options.action == OPTION_UPLOADS) {
		status = uploads(&app);
		app_stop(&app);
		return status;
	}
	if (app.options.action == OPTION_UNMOUNT) {
		options_finish(&app.options);
		return status;
	}
	if (app.options.action != OPTION_RUN || app.options.pretend) {
		options_finish(&app.options);
		return EXIT_SUCCESS;
	}
	rc = become_daemon(&app, &status);
	if (rc != 0) {
		if (rc < 0)
			fprintf(stderr, "pailfs: cannot fork: %s\n", strerror(-rc));
		options_finish(&app.options);
		return status;
	}
	status = app_run(&app);
	app_stop(&app);
	return status;
}
