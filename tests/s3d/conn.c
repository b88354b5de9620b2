/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The accepted sockets: pacing, the share of the NIC, and what really arrived. Sending is paced
 * inside TCP (SO_MAX_PACING_RATE), so that bodies still go by sendfile; with a NIC limit each
 * connection that has a body to send gets an equal share of it, renewed every TICK_NS by the
 * thread of this file. Receiving is paced by the caller, who stops reading until the time that
 * conn_received() answers. Traffic is sampled from TCP_INFO: bytes that the peer acknowledged.
 *
 * A connection that is closed with bytes still in its send buffer stays in the list, on a
 * descriptor of our own, until they have arrived: else a sample would miss them.
 *
 * One lock for the list, the samples and the two clocks; MHD's threads and the ticker take it.
 */
#include "conn.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define TICK_NS (5 * NS_PER_MS)
#define SAMPLE_TICKS 4
#define PACED_RCVBUF_BYTES (256 * 1024)
#define UPLOAD_BURST_NS (2 * NS_PER_MS)
#define STATE_ESTABLISHED 1 /* TCP_ESTABLISHED of netinet/tcp.h, which clashes with linux/tcp.h */
#define STATE_CLOSE 7	    /* TCP_CLOSE: reset by the peer, or done */

struct conn {
	/* set at creation */
	uint64_t id;
	int fd;
	/* under the lock */
	struct conn *next, *prev;
	bool sending;
	bool lingering;	 /* closed, but its last bytes are still under way; fd is ours */
	uint64_t pacing; /* as last set, bytes a second; 0 = none */
	uint64_t upload_due_ns;
	uint64_t acked, received; /* at the last sample */
};

struct sample {
	uint64_t ns, delivered, received;
};

struct conns {
	/* set at creation */
	struct settings *settings;
	pthread_t thread;
	/* under the lock */
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stopping, sampling;
	struct conn *head;
	size_t count;
	size_t senders; /* that have something to send; counted anew each tick */
	uint64_t next_id;
	uint64_t nic_due_ns; /* uploads */
	uint64_t delivered, received;
	struct sample *samples;
	size_t sample_count, sample_cap;
};

static void tcp_info(const struct conn *conn, struct tcp_info *ret)
{
	socklen_t len = sizeof(*ret);

	memset(ret, 0, sizeof(*ret));
	getsockopt(conn->fd, IPPROTO_TCP, TCP_INFO, ret, &len);
}

static void set_pacing_locked(const struct conns *conns, struct conn *conn)
{
	int64_t pace = conns->settings->pace_bytes_per_s, nic = conns->settings->nic_bytes_per_s;
	uint64_t rate = pace > 0 ? (uint64_t)pace : 0;
	unsigned value;

	if (nic > 0) {
		uint64_t share = (uint64_t)nic / (conns->senders > 0 ? conns->senders : 1);

		if (rate == 0 || share < rate)
			rate = share;
	}
	if (rate == conn->pacing)
		return;
	conn->pacing = rate;
	value = rate == 0 || rate > UINT32_MAX ? UINT32_MAX : (unsigned)rate;
	setsockopt(conn->fd, SOL_SOCKET, SO_MAX_PACING_RATE, &value, sizeof(value));
}

/* A small receive buffer, so that a paced reader is felt by the sender. */
static void limit_rcvbuf(const struct conns *conns, const struct conn *conn)
{
	int bytes = PACED_RCVBUF_BYTES;

	if (conns->settings->pace_bytes_per_s > 0 || conns->settings->nic_bytes_per_s > 0)
		setsockopt(conn->fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
}

/* Adds what came since the last look; asked for each open connection and at its end. */
static void account_locked(struct conns *conns, struct conn *conn)
{
	struct tcp_info info;

	tcp_info(conn, &info);
	conns->delivered += info.tcpi_bytes_acked - conn->acked;
	conns->received += info.tcpi_bytes_received - conn->received;
	conn->acked = info.tcpi_bytes_acked;
	conn->received = info.tcpi_bytes_received;
}

static void unlink_locked(struct conns *conns, struct conn *conn)
{
	if (conn->prev != NULL)
		conn->prev->next = conn->next;
	else
		conns->head = conn->next;
	if (conn->next != NULL)
		conn->next->prev = conn->prev;
}

/* True if bytes in the send buffer may still arrive; a reset socket keeps counting them. */
static bool is_delivering(const struct conn *conn)
{
	struct tcp_info info;

	tcp_info(conn, &info);
	return info.tcpi_state != STATE_CLOSE && conn_unsent(conn) > 0;
}

/* Forgets lingering connections: those that have delivered what they could, or all. */
static void drop_lingering_locked(struct conns *conns, bool all)
{
	struct conn *next;

	for (struct conn *conn = conns->head; conn != NULL; conn = next) {
		next = conn->next;
		if (!conn->lingering || (!all && is_delivering(conn)))
			continue;
		account_locked(conns, conn);
		unlink_locked(conns, conn);
		close(conn->fd);
		free(conn);
	}
}

static void sample_locked(struct conns *conns)
{
	for (struct conn *conn = conns->head; conn != NULL; conn = conn->next)
		account_locked(conns, conn);
	drop_lingering_locked(conns, false);
	if (conns->sample_count == conns->sample_cap) {
		conns->sample_cap = conns->sample_cap > 0 ? conns->sample_cap * 2 : 1024;
		conns->samples =
		    xrealloc(conns->samples, conns->sample_cap * sizeof(*conns->samples));
	}
	conns->samples[conns->sample_count++] =
	    (struct sample){monotonic_ns(), conns->delivered, conns->received};
}

/* Who has a body to send, or still something in its send buffer, gets an equal share. */
static void share_nic_locked(struct conns *conns)
{
	conns->senders = 0;
	for (struct conn *conn = conns->head; conn != NULL; conn = conn->next)
		conns->senders += conn->sending || is_delivering(conn);
	for (struct conn *conn = conns->head; conn != NULL; conn = conn->next)
		set_pacing_locked(conns, conn);
	if (!conns->sampling)
		drop_lingering_locked(conns, false);
}

static void wait_locked(struct conns *conns, uint64_t until_ns)
{
	struct timespec until = {.tv_sec = (time_t)(until_ns / NS_PER_S),
				 .tv_nsec = (long)(until_ns % NS_PER_S)};

	if (conns->sampling || conns->settings->nic_bytes_per_s > 0)
		pthread_cond_timedwait(&conns->wake, &conns->lock, &until);
	else
		pthread_cond_wait(&conns->wake, &conns->lock);
}

static void *ticker(void *arg)
{
	struct conns *conns = arg;
	uint64_t due_ns = monotonic_ns();
	unsigned ticks = 0;

	pthread_mutex_lock(&conns->lock);
	while (!conns->stopping) {
		uint64_t now = monotonic_ns();

		if (now < due_ns) {
			wait_locked(conns, due_ns);
			continue;
		}
		due_ns = due_ns + TICK_NS > now ? due_ns + TICK_NS : now + TICK_NS;
		if (conns->settings->nic_bytes_per_s > 0)
			share_nic_locked(conns);
		if (conns->sampling && ticks++ % SAMPLE_TICKS == 0)
			sample_locked(conns);
	}
	pthread_mutex_unlock(&conns->lock);
	return NULL;
}

struct conns *conns_create(struct settings *settings)
{
	struct conns *conns = xcalloc(1, sizeof(*conns));
	pthread_condattr_t attr;

	conns->settings = settings;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&conns->wake, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&conns->lock, NULL);
	if (pthread_create(&conns->thread, NULL, ticker, conns) != 0)
		abort();
	return conns;
}

void conns_destroy(struct conns *conns)
{
	if (conns == NULL)
		return;
	pthread_mutex_lock(&conns->lock);
	conns->stopping = true;
	pthread_cond_signal(&conns->wake);
	pthread_mutex_unlock(&conns->lock);
	pthread_join(conns->thread, NULL);
	drop_lingering_locked(conns, true);
	pthread_cond_destroy(&conns->wake);
	pthread_mutex_destroy(&conns->lock);
	free(conns->samples);
	free(conns);
}

void conns_settings_changed(struct conns *conns)
{
	pthread_mutex_lock(&conns->lock);
	for (struct conn *conn = conns->head; conn != NULL; conn = conn->next) {
		set_pacing_locked(conns, conn);
		limit_rcvbuf(conns, conn);
	}
	pthread_cond_signal(&conns->wake);
	pthread_mutex_unlock(&conns->lock);
}

size_t conns_count(struct conns *conns)
{
	size_t count;

	pthread_mutex_lock(&conns->lock);
	count = conns->count;
	pthread_mutex_unlock(&conns->lock);
	return count;
}

struct conn *conn_open(struct conns *conns, int fd)
{
	struct conn *conn = xcalloc(1, sizeof(*conn));

	conn->fd = fd;
	limit_rcvbuf(conns, conn);
	pthread_mutex_lock(&conns->lock);
	conn->id = ++conns->next_id;
	conn->next = conns->head;
	if (conns->head != NULL)
		conns->head->prev = conn;
	conns->head = conn;
	conns->count++;
	set_pacing_locked(conns, conn);
	pthread_mutex_unlock(&conns->lock);
	return conn;
}

void conn_close(struct conns *conns, struct conn *conn)
{
	int fd = -1;

	pthread_mutex_lock(&conns->lock);
	conns->count--;
	if (conns->sampling || conns->settings->nic_bytes_per_s > 0) {
		account_locked(conns, conn);
		fd = conn_unsent(conn) > 0 ? fcntl(conn->fd, F_DUPFD_CLOEXEC, 0) : -1;
	}
	if (fd >= 0) {
		shutdown(fd, SHUT_WR); /* what the caller's close would do */
		conn->fd = fd;
		conn->lingering = true;
		conn->sending = false;
	} else {
		unlink_locked(conns, conn);
		free(conn);
	}
	pthread_mutex_unlock(&conns->lock);
}

uint64_t conn_id(const struct conn *conn)
{
	return conn->id;
}

int conn_fd(const struct conn *conn)
{
	return conn->fd;
}

uint64_t conn_acked(const struct conn *conn)
{
	struct tcp_info info;

	tcp_info(conn, &info);
	return info.tcpi_bytes_acked;
}

bool conn_peer_gone(const struct conn *conn)
{
	struct tcp_info info;

	tcp_info(conn, &info);
	return info.tcpi_state != STATE_ESTABLISHED;
}

int conn_unsent(const struct conn *conn)
{
	int bytes = 0;

	ioctl(conn->fd, SIOCOUTQ, &bytes);
	return bytes;
}

void conn_reset(const struct conn *conn)
{
	struct sockaddr none = {.sa_family = AF_UNSPEC};
	struct linger now = {.l_onoff = 1};

	setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	(void)connect(conn->fd, &none, sizeof(none)); /* disconnects: a RST, before any FIN */
}

void conn_sending(struct conns *conns, struct conn *conn, bool sending)
{
	pthread_mutex_lock(&conns->lock);
	if (!conn->sending && sending && conns->settings->nic_bytes_per_s > 0) {
		conns->senders++; /* the others learn it at the next tick */
		set_pacing_locked(conns, conn);
	}
	conn->sending = sending;
	pthread_mutex_unlock(&conns->lock);
}

/* Moves a clock on by the time that these bytes take at this rate. */
static void spend(uint64_t *due_ns, uint64_t now, size_t bytes, int64_t rate)
{
	if (*due_ns + UPLOAD_BURST_NS < now)
		*due_ns = now - UPLOAD_BURST_NS;
	*due_ns += (uint64_t)((double)bytes * (double)NS_PER_S / (double)rate);
}

uint64_t conn_received(struct conns *conns, struct conn *conn, size_t bytes)
{
	int64_t pace = conns->settings->pace_bytes_per_s, nic = conns->settings->nic_bytes_per_s;
	uint64_t now = monotonic_ns(), due = 0;

	if (pace <= 0 && nic <= 0)
		return 0;
	pthread_mutex_lock(&conns->lock);
	if (pace > 0) {
		spend(&conn->upload_due_ns, now, bytes, pace);
		due = conn->upload_due_ns;
	}
	if (nic > 0) {
		spend(&conns->nic_due_ns, now, bytes, nic);
		if (conns->nic_due_ns > due)
			due = conns->nic_due_ns;
	}
	pthread_mutex_unlock(&conns->lock);
	return due;
}

void traffic_switch(struct conns *conns, bool on)
{
	pthread_mutex_lock(&conns->lock);
	if (on) {
		for (struct conn *conn = conns->head; conn != NULL; conn = conn->next)
			account_locked(conns, conn);
		drop_lingering_locked(conns, true);
		conns->delivered = conns->received = 0;
		conns->sample_count = 0;
	}
	conns->sampling = on;
	pthread_cond_signal(&conns->wake);
	pthread_mutex_unlock(&conns->lock);
}

void traffic_write(struct conns *conns, uint64_t start_ns, struct buf *to)
{
	pthread_mutex_lock(&conns->lock);
	buf_puts(to, "[");
	for (size_t i = 0; i < conns->sample_count; i++) {
		const struct sample *s = &conns->samples[i];

		buf_printf(to, "%s[%.6f,%" PRIu64 ",%" PRIu64 "]", i > 0 ? "," : "",
			   (double)(s->ns - start_ns) / (double)NS_PER_S, s->delivered,
			   s->received);
	}
	buf_puts(to, "]\n");
	pthread_mutex_unlock(&conns->lock);
}
