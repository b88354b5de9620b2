/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The front of http/: makes the loops, gives each request to the least busy of them, takes them
 * down. Nothing here is locked: what changes is in the loops (loop.c). Any thread calls submit and
 * cancel.
 */
#include <pailfs/http.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <pailfs/log.h>

#include "http_private.h"

#define CONNECT_NS_DEFAULT (30 * NS_PER_S)
/* Larger ones save little; very many transfers share what may be used for all of them. */
#define BUFFER_BYTES_MAX (512 * KIB)
#define BUFFER_BYTES_MIN (16 * KIB)
#define BUFFERS_BYTES (44 * MIB)

struct http {
	struct http_settings settings;
	unsigned loop_count;
	unsigned upload_loops; /* the first ones */
	unsigned loops_started;
	struct http_loop loops[];
};

/* True if the file holds at least one certificate in PEM form. */
static bool has_certificate(FILE *file)
{
	CLEANUP(free) char *line = NULL;
	size_t capacity = 0;

	while (getline(&line, &capacity, file) >= 0)
		if (strncmp(line, "-----BEGIN ", 11) == 0 && strstr(line, "CERTIFICATE-----"))
			return true;
	return false;
}

/* curl would fail each connection with a bad bundle: better to say it once, at the start. */
static int check_ca_bundle(const char *path)
{
	struct stat st;
	FILE *file = fopen(path, "re");
	bool good;

	if (file == NULL) {
		log_error("ca_bundle %s cannot be opened: %s", path, strerror(errno));
		return -EINVAL;
	}
	if (fstat(fileno(file), &st) != 0 || !S_ISREG(st.st_mode)) {
		log_error("ca_bundle %s is not a regular file; give one file with PEM certificates",
			  path);
		fclose(file);
		return -EINVAL;
	}
	good = has_certificate(file);
	fclose(file);
	if (!good) {
		log_error("ca_bundle %s holds no certificate in PEM form", path);
		return -EINVAL;
	}
	return 0;
}

static int copy_text(const char *text, char **ret)
{
	if (text == NULL)
		return 0;
	*ret = strdup(text);
	return *ret == NULL ? -ENOMEM : 0;
}

/* How many loops share what has a body. */
static unsigned upload_loops(const struct http_config *config)
{
	return MIN(config->upload_loops > 0 ? config->upload_loops : config->loops, config->loops);
}

static int copy_settings(const struct http_config *config, struct http_settings *ret)
{
	unsigned share = upload_loops(config); /* all that runs may be uploads */

	ret->connect_ns = config->connect_ns > 0 ? config->connect_ns : CONNECT_NS_DEFAULT;
	ret->connections_a_loop = (config->connections + share - 1) / share;
	ret->buffer_bytes =
	    (long)MIN(MAX(BUFFERS_BYTES / config->connections, BUFFER_BYTES_MIN), BUFFER_BYTES_MAX);
	ret->receive_buffer_bytes = (int)MIN(config->receive_buffer_bytes, (uint32_t)INT32_MAX);
	ret->send_buffer_bytes = (int)MIN(config->send_buffer_bytes, (uint32_t)INT32_MAX);
	if (copy_text(config->ca_bundle, &ret->ca_bundle) < 0 ||
	    copy_text(config->proxy, &ret->proxy) < 0 ||
	    copy_text(config->user_agent, &ret->user_agent) < 0)
		return -ENOMEM;
	return 0;
}

static int start_loops(struct http *h)
{
	for (unsigned i = 0; i < h->loop_count; i++) {
		int err = http_loop_init(&h->loops[i], &h->settings);

		if (err == 0)
			err = http_loop_start(&h->loops[i], i);
		if (err < 0) {
			http_loop_finish(&h->loops[i]);
			return err;
		}
		h->loops_started++;
	}
	return 0;
}

int http_create(const struct http_config *config, struct http **ret)
{
	struct http *h;
	int err;

	if (config->loops == 0 || config->connections == 0)
		return -EINVAL;
	if (config->ca_bundle != NULL && check_ca_bundle(config->ca_bundle) < 0)
		return -EINVAL;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return -ENOMEM;
	h = calloc(1, sizeof(*h) + config->loops * sizeof(h->loops[0]));
	if (h == NULL) {
		curl_global_cleanup();
		return -ENOMEM;
	}
	h->loop_count = config->loops;
	h->upload_loops = upload_loops(config);
	err = copy_settings(config, &h->settings);
	if (err == 0)
		err = start_loops(h);
	if (err < 0) {
		http_destroy(h);
		return err;
	}
	*ret = h;
	return 0;
}

/* A done() that ran on one loop may have submitted to another whose thread had ended already. */
static void drain_loops(struct http *h)
{
	unsigned ended;

	do {
		ended = 0;
		for (unsigned i = 0; i < h->loops_started; i++)
			ended += http_loop_drain(&h->loops[i]);
	} while (ended > 0);
}

void http_destroy(struct http *h)
{
	if (h == NULL)
		return;
	for (unsigned i = 0; i < h->loops_started; i++)
		http_loop_stop(&h->loops[i]);
	for (unsigned i = 0; i < h->loops_started; i++)
		http_loop_join(&h->loops[i]);
	drain_loops(h);
	for (unsigned i = 0; i < h->loops_started; i++)
		http_loop_finish(&h->loops[i]);
	free(h->settings.ca_bundle);
	free(h->settings.proxy);
	free(h->settings.user_agent);
	free(h);
	curl_global_cleanup();
}

void http_submit(struct http *h, struct http_request *r)
{
	unsigned loops = r->body_length > 0 ? h->upload_loops : h->loop_count;
	struct http_loop *best = &h->loops[0];
	unsigned fewest = __atomic_load_n(&best->running, __ATOMIC_RELAXED);

	for (unsigned i = 1; i < loops && fewest > 0; i++) {
		unsigned running = __atomic_load_n(&h->loops[i].running, __ATOMIC_RELAXED);

		if (running < fewest) {
			fewest = running;
			best = &h->loops[i];
		}
	}
	http_loop_submit(best, r);
}

void http_cancel(struct http *h, struct http_request *r)
{
	if (r->loop != NULL)
		http_loop_cancel(r->loop, r);
}
