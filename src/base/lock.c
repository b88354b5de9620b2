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
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <pailfs/clock.h>

#define WAKES_MAX 4

static _Thread_local uint32_t held_ranks;

/*
 * Wakes that are due when this thread lets a lock go. A waiter that needs none (it saw the
 * predicate) may have freed the futex by then: waking nobody there, or somebody else for nothing,
 * is harmless, since whoever waits looks at his predicate again.
 */
static _Thread_local struct {
	unsigned count;
	struct {
		uint32_t *futex;
		int waiters;
	} wakes[WAKES_MAX];
} due;

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

static void futex_wake(uint32_t *futex, int waiters)
{
	syscall(SYS_futex, futex, FUTEX_WAKE_PRIVATE, waiters, NULL, NULL, 0);
}

/* Until woken, for nothing perhaps, or at_ns. Does not sleep when *futex is another value. */
static int futex_wait(uint32_t *futex, uint32_t value, uint64_t at_ns)
{
	struct timespec ts = clock_timespec(at_ns);

	if (syscall(SYS_futex, futex, FUTEX_WAIT_BITSET_PRIVATE, value,
		    at_ns == UINT64_MAX ? NULL : &ts, NULL, FUTEX_BITSET_MATCH_ANY) == 0)
		return 0;
	return errno == ETIMEDOUT ? -ETIMEDOUT : 0;
}

static void unlock_and_wake(struct lock *l)
{
	note_released(l);
	pthread_mutex_unlock(&l->mutex);
	while (due.count > 0) {
		due.count--;
		futex_wake(due.wakes[due.count].futex, due.wakes[due.count].waiters);
	}
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
	unlock_and_wake(l);
}

void lock_assert_held(const struct lock *l)
{
	assert((held_ranks & rank_bit(l->rank)) != 0);
	assert(l->held && pthread_equal(l->owner, pthread_self()));
}

void cond_init(struct cond *c)
{
	*c = (struct cond){0};
}

void cond_finish(struct cond *c)
{
	assert(__atomic_load_n(&c->waiters, __ATOMIC_RELAXED) == 0);
}

/* A waiter counts itself before it lets the lock go under which it saw the predicate. */
static void cond_wake(struct cond *c, int waiters)
{
	if (__atomic_load_n(&c->waiters, __ATOMIC_SEQ_CST) == 0)
		return;
	__atomic_fetch_add(&c->signals, 1, __ATOMIC_SEQ_CST);
	if (held_ranks == 0 || due.count == WAKES_MAX) {
		futex_wake(&c->signals, waiters);
		return;
	}
	due.wakes[due.count].futex = &c->signals;
	due.wakes[due.count].waiters = waiters;
	due.count++;
}

void cond_signal(struct cond *c)
{
	cond_wake(c, 1);
}

void cond_broadcast(struct cond *c)
{
	cond_wake(c, INT_MAX);
}

void cond_wait(struct cond *c, struct lock *l)
{
	cond_wait_until(c, l, UINT64_MAX);
}

int cond_wait_until(struct cond *c, struct lock *l, uint64_t deadline_ns)
{
	uint32_t signals;
	int rc;

	lock_assert_held(l);
	signals = __atomic_load_n(&c->signals, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&c->waiters, 1, __ATOMIC_SEQ_CST);
	unlock_and_wake(l);
	rc = futex_wait(&c->signals, signals, deadline_ns);
	pthread_mutex_lock(&l->mutex);
	__atomic_fetch_sub(&c->waiters, 1, __ATOMIC_SEQ_CST);
	note_acquired(l);
	return rc;
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
