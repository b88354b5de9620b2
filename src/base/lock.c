/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ranked mutexes and cancellable waits.
 *
 * A thread keeps a bit for each rank that it holds; taking a lock asserts that no bit at or above
 * its rank is set. That finds a wrong order on the first run, not in the rare one that deadlocks.
 */
#include <pailfs/lock.h>

#include <assert.h>
#include <errno.h>

#include <pailfs/clock.h>

static _Thread_local uint32_t held_ranks;

static uint32_t rank_bit(enum lock_rank rank)
{
	return UINT32_C(1) << rank;
}

static void note_acquired(struct lock *l)
{
	l->owner = pthread_self();
	l->held = true;
	held_ranks |= rank_bit(l->rank);
}

static void note_released(struct lock *l)
{
	l->held = false;
	held_ranks &= ~rank_bit(l->rank);
}

void lock_init(struct lock *l, enum lock_rank rank)
{
	*l = (struct lock){.rank = rank};
	pthread_mutex_init(&l->mutex, NULL);
}

void lock_finish(struct lock *l)
{
	assert(!l->held);
	pthread_mutex_destroy(&l->mutex);
}

void lock_acquire(struct lock *l)
{
	assert(held_ranks < rank_bit(l->rank)); /* no bit at or above it */
	pthread_mutex_lock(&l->mutex);
	note_acquired(l);
}

void lock_release(struct lock *l)
{
	lock_assert_held(l);
	note_released(l);
	pthread_mutex_unlock(&l->mutex);
}

void lock_assert_held(const struct lock *l)
{
	assert((held_ranks & rank_bit(l->rank)) != 0);
	assert(l->held && pthread_equal(l->owner, pthread_self()));
}

void cond_init(struct cond *c)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->cond, &attr);
	pthread_condattr_destroy(&attr);
}

void cond_finish(struct cond *c)
{
	pthread_cond_destroy(&c->cond);
}

void cond_signal(struct cond *c)
{
	pthread_cond_signal(&c->cond);
}

void cond_broadcast(struct cond *c)
{
	pthread_cond_broadcast(&c->cond);
}

void cond_wait(struct cond *c, struct lock *l)
{
	cond_wait_until(c, l, UINT64_MAX);
}

int cond_wait_until(struct cond *c, struct lock *l, uint64_t deadline_ns)
{
	struct timespec ts = clock_timespec(deadline_ns);
	int rc;

	lock_assert_held(l);
	note_released(l);
	if (deadline_ns == UINT64_MAX)
		rc = pthread_cond_wait(&c->cond, &l->mutex);
	else
		rc = pthread_cond_timedwait(&c->cond, &l->mutex, &ts);
	note_acquired(l);
	return rc == ETIMEDOUT ? -ETIMEDOUT : 0;
}

int cond_wait_cancel(struct cond *c, struct lock *l, uint64_t deadline_ns, struct cancel *cancel)
{
	uint64_t now_ns;
	int rc;

	if (cancel == NULL)
		return cond_wait_until(c, l, deadline_ns);
	now_ns = clock_now_ns();
	if (cond_wait_until(c, l, MIN(deadline_ns, now_ns + CANCEL_POLL_NS)) == 0)
		return 0;
	lock_release(l);
	rc = cancel->poll(cancel);
	lock_acquire(l);
	if (rc < 0)
		return rc;
	return clock_now_ns() >= deadline_ns ? -ETIMEDOUT : 0;
}
