/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Delays and stalls: MHD suspends the connection, this thread resumes it when its time has come.
 * A suspended connection is not polled by MHD, so the thread also looks, every LOOK_NS, whether
 * the peer of a parked connection has gone. A parked request belongs to this file until it is
 * resumed; nobody else touches it. A list that is walked is enough for a thousand of them.
 */
#include "parker.h"
#include "conn.h"

#include <microhttpd.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/prctl.h>

#define LOOK_NS (50 * NS_PER_MS)

struct parked {
	struct parked *next;
	struct request *request;
	uint64_t due_ns;
};

struct parker {
	pthread_t thread;
	/* under the lock */
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stopping, quit;
	struct parked *head;
	uint64_t next_ns; /* when the thread will look by itself */
};

/* Resumes what is due (or all); the time of the next one. */
static uint64_t walk_locked(struct parker *parker, bool look)
{
	struct parked **at = &parker->head;
	uint64_t now = monotonic_ns(), next = PARK_FOREVER;

	while (*at != NULL) {
		struct parked *parked = *at;
		bool gone = parker->stopping || (look && conn_peer_gone(parked->request->conn));

		if (!gone && parked->due_ns > now) {
			if (parked->due_ns < next)
				next = parked->due_ns;
			at = &parked->next;
			continue;
		}
		if (gone)
			parked->request->phase = PHASE_DEAD;
		*at = parked->next;
		MHD_resume_connection(parked->request->mhd);
		free(parked);
	}
	return next;
}

static void *parker_thread(void *arg)
{
	struct parker *parker = arg;
	uint64_t look_ns = monotonic_ns() + LOOK_NS;

	prctl(PR_SET_TIMERSLACK, 1UL); /* 50 us by default: each answer would be as late */
	pthread_mutex_lock(&parker->lock);
	while (!parker->quit) {
		bool look = monotonic_ns() >= look_ns;
		uint64_t next = walk_locked(parker, look);
		struct timespec until;

		if (look)
			look_ns = monotonic_ns() + LOOK_NS;
		if (parker->head != NULL && look_ns < next)
			next = look_ns;
		parker->next_ns = next;
		if (next == PARK_FOREVER) {
			pthread_cond_wait(&parker->wake, &parker->lock);
			continue;
		}
		until.tv_sec = (time_t)(next / NS_PER_S);
		until.tv_nsec = (long)(next % NS_PER_S);
		pthread_cond_timedwait(&parker->wake, &parker->lock, &until);
	}
	pthread_mutex_unlock(&parker->lock);
	return NULL;
}

struct parker *parker_create(void)
{
	struct parker *parker = xcalloc(1, sizeof(*parker));
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&parker->wake, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&parker->lock, NULL);
	parker->next_ns = PARK_FOREVER;
	if (pthread_create(&parker->thread, NULL, parker_thread, parker) != 0)
		abort();
	return parker;
}

void parker_stop(struct parker *parker)
{
	pthread_mutex_lock(&parker->lock);
	parker->stopping = true;
	walk_locked(parker, false);
	pthread_mutex_unlock(&parker->lock);
}

void parker_destroy(struct parker *parker)
{
	if (parker == NULL)
		return;
	pthread_mutex_lock(&parker->lock);
	parker->quit = true;
	pthread_cond_signal(&parker->wake);
	pthread_mutex_unlock(&parker->lock);
	pthread_join(parker->thread, NULL);
	pthread_cond_destroy(&parker->wake);
	pthread_mutex_destroy(&parker->lock);
	free(parker);
}

bool park(struct parker *parker, struct request *request, uint64_t due_ns)
{
	struct parked *parked = xcalloc(1, sizeof(*parked));

	parked->request = request;
	parked->due_ns = due_ns;
	pthread_mutex_lock(&parker->lock);
	if (parker->stopping) {
		pthread_mutex_unlock(&parker->lock);
		free(parked);
		return false;
	}
	MHD_suspend_connection(request->mhd);
	parked->next = parker->head;
	parker->head = parked;
	if (due_ns < parker->next_ns || parked->next == NULL)
		pthread_cond_signal(&parker->wake);
	pthread_mutex_unlock(&parker->lock);
	return true;
}
