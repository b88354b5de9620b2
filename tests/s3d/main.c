/* SPDX-License-Identifier: Apache-2.0 */
/*
 * s3d: a strict S3 server for tests and benchmarks. Reads the options, builds the server from its
 * parts, says where it listens, waits for SIGTERM or SIGINT, takes everything down in reverse.
 * tests/s3d/README.md says what it does.
 */
#include "auth.h"
#include "conn.h"
#include "fault.h"
#include "parker.h"
#include "reqlog.h"
#include "s3d.h"
#include "server.h"
#include "store.h"

#include <errno.h>
#include <getopt.h>
#include <libxml/parser.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define ZERO_BYTES (1ull << 56)
#define BUCKETS_MAX 64
#define DEFAULT_CREDENTIALS "[{\"access_key\":\"AKIDS3D\",\"secret_key\":\"s3d-secret-key\"}]"

struct options {
	const char *dir, *credentials, *log, *cert, *key, *as, *region, *vhost_suffix, *listen;
	unsigned port;
	int ready_fd;
	const char *buckets[BUCKETS_MAX];
	size_t bucket_count;
	int64_t first_byte_ms, list_ms, pace, nic, clock_offset;
	bool no_body_hash;
};

enum { OPT_TEXT, OPT_NUMBER, OPT_PORT, OPT_FD, OPT_FLAG, OPT_BUCKET };

static const struct option_row {
	const char *name, *argument, *help;
	int kind;
	size_t field;
} rows[] = {
    {"dir", "DIR", "where everything is kept; made when missing", OPT_TEXT,
     offsetof(struct options, dir)},
    {"listen", "ADDRESS", "numeric address (127.0.0.1)", OPT_TEXT,
     offsetof(struct options, listen)},
    {"port", "N", "port; 0: any free one (0)", OPT_PORT, offsetof(struct options, port)},
    {"tls-cert", "PEM", "serve https with this certificate", OPT_TEXT,
     offsetof(struct options, cert)},
    {"tls-key", "PEM", "and this key", OPT_TEXT, offsetof(struct options, key)},
    {"as", "SERVER", "play aws, minio, r2, gcs or rgw (aws)", OPT_TEXT,
     offsetof(struct options, as)},
    {"region", "NAME", "region of the server and of new buckets (us-east-1)", OPT_TEXT,
     offsetof(struct options, region)},
    {"credentials", "FILE", "JSON list of credentials (AKIDS3D, s3d-secret-key)", OPT_TEXT,
     offsetof(struct options, credentials)},
    {"log", "FILE", "append the request log as JSON lines", OPT_TEXT,
     offsetof(struct options, log)},
    {"ready-fd", "N", "write the port to this descriptor when ready", OPT_FD,
     offsetof(struct options, ready_fd)},
    {"no-body-hash", NULL, "do not verify payload hashes, random ETags (benchmarks)", OPT_FLAG,
     offsetof(struct options, no_body_hash)},
    {"first-byte-ms", "N", "delay of each answer's first byte", OPT_NUMBER,
     offsetof(struct options, first_byte_ms)},
    {"list-ms", "N", "the same for listings (as first-byte-ms)", OPT_NUMBER,
     offsetof(struct options, list_ms)},
    {"pace", "BYTES", "bytes a second of a connection, each way", OPT_NUMBER,
     offsetof(struct options, pace)},
    {"nic", "BYTES", "bytes a second of all connections, each way", OPT_NUMBER,
     offsetof(struct options, nic)},
    {"vhost-suffix", "NAME", "BUCKET.NAME is virtual-host style (localhost)", OPT_TEXT,
     offsetof(struct options, vhost_suffix)},
    {"make-bucket", "NAME", "make a bucket at start; may be repeated", OPT_BUCKET, 0},
    {"clock-offset", "SECONDS", "how far the server's clock is ahead", OPT_NUMBER,
     offsetof(struct options, clock_offset)},
};

static void usage(FILE *to)
{
	fputs("usage: s3d --dir DIR [option]...\n", to);
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		char left[40];

		snprintf(left, sizeof(left), "--%s %s", rows[i].name,
			 rows[i].argument != NULL ? rows[i].argument : "");
		fprintf(to, "  %-26s %s\n", left, rows[i].help);
	}
}

static bool set_option(struct options *options, const struct option_row *row, const char *value)
{
	void *field = (char *)options + row->field;
	char *end = NULL;
	long long number = 0;

	if (row->kind == OPT_NUMBER || row->kind == OPT_PORT || row->kind == OPT_FD) {
		errno = 0;
		number = strtoll(value, &end, 10);
		if (errno != 0 || end == value || *end != '\0' ||
		    (row->kind != OPT_NUMBER && (number < 0 || number > 65535)))
			return false;
	}
	if (row->kind == OPT_TEXT)
		*(const char **)field = value;
	else if (row->kind == OPT_NUMBER)
		*(int64_t *)field = number;
	else if (row->kind == OPT_PORT)
		*(unsigned *)field = (unsigned)number;
	else if (row->kind == OPT_FD)
		*(int *)field = (int)number;
	else if (row->kind == OPT_FLAG)
		*(bool *)field = true;
	else if (options->bucket_count < BUCKETS_MAX)
		options->buckets[options->bucket_count++] = value;
	else
		return false;
	return true;
}

/* 0, or the exit status (help is one). */
static int read_options(struct options *options, int argc, char **argv)
{
	struct option table[COUNT_OF(rows) + 2] = {{0}};
	int at, c;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		table[i] = (struct option){
		    rows[i].name, rows[i].argument != NULL ? required_argument : no_argument, NULL,
		    0};
	table[COUNT_OF(rows)] = (struct option){"help", no_argument, NULL, 'h'};
	while ((c = getopt_long(argc, argv, "h", table, &at)) != -1) {
		if (c == 'h') {
			usage(stdout);
			exit(0);
		}
		if (c != 0)
			return 2;
		if (!set_option(options, &rows[at], optarg)) {
			fprintf(stderr, "s3d: --%s %s: not a value for it\n", rows[at].name,
				optarg);
			return 2;
		}
	}
	if (options->dir == NULL || optind != argc ||
	    (options->cert == NULL) != (options->key == NULL) ||
	    dialect_find(options->as) == NULL) {
		usage(stderr);
		return 2;
	}
	return 0;
}

static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* A file of zeros without pages: sendfile from it reads the zero page. */
static int make_zero_fd(void)
{
	int fd = memfd_create("s3d-zero", MFD_CLOEXEC);

	if (fd >= 0 && ftruncate(fd, (off_t)ZERO_BYTES) != 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static void set_settings(struct settings *settings, const struct options *options)
{
	settings->first_byte_ms = options->first_byte_ms;
	settings->list_ms = options->list_ms;
	settings->pace_bytes_per_s = options->pace;
	settings->nic_bytes_per_s = options->nic;
	settings->clock_offset_s = options->clock_offset;
	settings->body_hash = !options->no_body_hash;
	settings->dialect = dialect_find(options->as);
}

/* 0 or -errno with a message. */
static int load_credentials(struct s3d *s3d, const char *path)
{
	struct buf text = {0};
	int err = 0;

	if (path == NULL)
		buf_puts(&text, DEFAULT_CREDENTIALS);
	else
		err = file_read(path, &text);
	if (err == 0)
		err = auth_db_load_json(s3d->auth, text.data != NULL ? text.data : "", text.len);
	if (err != 0)
		fprintf(stderr, "s3d: credentials %s: %s\n", path, strerror(-err));
	buf_finish(&text);
	return err;
}

static int make_buckets(struct s3d *s3d, const struct options *options)
{
	for (size_t i = 0; i < options->bucket_count; i++) {
		int err = store_bucket_make(s3d->store, options->buckets[i], s3d->region, NULL);

		if (err != 0 && err != -EEXIST) {
			fprintf(stderr, "s3d: bucket %s: %s\n", options->buckets[i],
				strerror(-err));
			return err;
		}
	}
	return 0;
}

static void s3d_finish(struct s3d *s3d)
{
	conns_destroy(s3d->conns);
	parker_destroy(s3d->parker);
	faults_destroy(s3d->faults);
	reqlog_destroy(s3d->log);
	auth_db_destroy(s3d->auth);
	store_destroy(s3d->store);
	if (s3d->zero_fd >= 0)
		close(s3d->zero_fd);
}

/* 0, or -1 with a message; finish in either case. */
static int s3d_init(struct s3d *s3d, const struct options *options)
{
	*s3d = (struct s3d){.region = options->region,
			    .vhost_suffix = options->vhost_suffix,
			    .tls = options->cert != NULL,
			    .start_ns = monotonic_ns(),
			    .zero_fd = make_zero_fd()};
	set_settings(&s3d->settings, options);
	s3d->faults = faults_create();
	s3d->parker = parker_create();
	s3d->conns = conns_create(&s3d->settings);
	s3d->auth = auth_db_create(options->region);
	s3d->log = reqlog_create(options->log, s3d->start_ns);
	if (s3d->log == NULL)
		fprintf(stderr, "s3d: --log %s: %s\n", options->log, strerror(errno));
	if (s3d->log == NULL || s3d->auth == NULL || s3d->zero_fd < 0)
		return -1;
	s3d->store = store_create(options->dir);
	if (s3d->store == NULL || load_credentials(s3d, options->credentials) != 0)
		return -1;
	return make_buckets(s3d, options) != 0 ? -1 : 0;
}

static struct server *listen_as(struct s3d *s3d, const struct options *options)
{
	struct server_options server_options = {.listen = options->listen, .port = options->port};
	struct buf cert = {0}, key = {0};
	struct server *server = NULL;
	int err = 0;

	if (options->cert != NULL) {
		err = file_read(options->cert, &cert);
		if (err == 0)
			err = file_read(options->key, &key);
		server_options.cert = cert.data;
		server_options.key = key.data;
	}
	if (err != 0 || (options->cert != NULL && (cert.data == NULL || key.data == NULL)))
		fprintf(stderr, "s3d: certificate or key cannot be read\n");
	else
		server = server_create(s3d, &server_options);
	buf_finish(&cert);
	buf_finish(&key);
	return server;
}

static void announce(const struct options *options, unsigned port)
{
	bool v6 = strchr(options->listen, ':') != NULL;

	printf("s3d: listening on %s://%s%s%s:%u\n", options->cert != NULL ? "https" : "http",
	       v6 ? "[" : "", options->listen, v6 ? "]" : "", port);
	fflush(stdout);
	if (options->ready_fd >= 0) {
		dprintf(options->ready_fd, "%u\n", port);
		close(options->ready_fd);
	}
}

int main(int argc, char **argv)
{
	struct options options = {.listen = "127.0.0.1",
				  .region = "us-east-1",
				  .vhost_suffix = "localhost",
				  .as = "aws",
				  .ready_fd = -1,
				  .list_ms = -1};
	int status = read_options(&options, argc, argv), got;
	struct server *server = NULL;
	struct s3d s3d;
	sigset_t signals;

	if (status != 0)
		return status;
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigprocmask(SIG_BLOCK, &signals, NULL); /* before any thread, which inherit it */
	signal(SIGPIPE, SIG_IGN);
	raise_descriptor_limit();
	xmlInitParser();
	if (s3d_init(&s3d, &options) == 0)
		server = listen_as(&s3d, &options);
	if (server != NULL) {
		announce(&options, server_port(server));
		sigwait(&signals, &got);
	}
	server_destroy(server);
	s3d_finish(&s3d);
	xmlCleanupParser();
	return server != NULL ? 0 : 1;
}
