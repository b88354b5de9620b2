/* SPDX-License-Identifier: Apache-2.0 */
/* Conditions: who is woken, when, and how often for nothing. */
#include "../test.h"

#include <errno.h>
#include <semaphore.h>
#include <sys/resource.h>
#include <unistd.h>

#include <pailfs/clock.h>
#include <pailfs/lock.h>

#define ROUNDS 100
#define THREADS 8

struct shared {
	struct lock lock;
	struct cond cond;
	unsigned turns; /* to be taken */
	unsigned taken;
	sem_t took;
	long switches; /* of the waiter: how often it slept */
};

static void shared_init(struct shared *s)
{
	*s = (struct shared){0};
	lock_init(&s->lock, LOCK_LEAF);
	cond_init(&s->cond);
	sem_init(&s->took, 0, 0);
}

static void shared_finish(struct shared *s)
{
	sem_destroy(&s->took);
	cond_finish(&s->cond);
	lock_finish(&s->lock);
}

static long own_switches(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_nvcsw;
}

static void take_turn(struct shared *s)
{
	SCOPED_LOCK(&s->lock);
	while (s->turns == 0)
		cond_wait(&s->cond, &s->lock);
	s->turns--;
	s->taken++;
}

static void *take_all(void *shared)
{
	struct shared *s = shared;
	long before = own_switches();

	for (int i = 0; i < ROUNDS; i++) {
		take_turn(s);
		sem_post(&s->took);
	}
	s->switches = own_switches() - before;
	return NULL;
}

/* The signaller keeps the lock for long enough that a waiter which was woken would run into it. */
static void sleeps_once_a_signal(void **state)
{
	struct shared s;
	pthread_t thread;

	shared_init(&s);
	pthread_create(&thread, NULL, take_all, &s);
	for (int i = 0; i < ROUNDS; i++) {
		usleep(1000); /* it sleeps by now, mostly */
		lock_acquire(&s.lock);
		s.turns++;
		cond_signal(&s.cond);
		usleep(1000);
		lock_release(&s.lock);
		sem_wait(&s.took);
	}
	pthread_join(thread, NULL);
	assert_in_range(s.switches, 0, ROUNDS + ROUNDS / 4);
	shared_finish(&s);
}

static void *take_one(void *shared)
{
	take_turn(shared);
	return NULL;
}

static void wakes_each_waiter(bool all_at_once)
{
	struct shared s;
	pthread_t threads[THREADS];

	shared_init(&s);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, take_one, &s);
	for (int i = 0; i < (all_at_once ? 1 : THREADS); i++) {
		SCOPED_LOCK(&s.lock);
		s.turns += all_at_once ? THREADS : 1;
		if (all_at_once)
			cond_broadcast(&s.cond);
		else
			cond_signal(&s.cond);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(s.taken, THREADS);
	shared_finish(&s);
}

static void a_signal_wakes_one_and_a_broadcast_all(void **state)
{
	for (int i = 0; i < ROUNDS; i++)
		wakes_each_waiter(i % 2 == 0);
}

/* More than are remembered until the lock goes. */
static void many_signals_under_one_lock_are_all_sent(void **state)
{
	struct shared s;
	pthread_t threads[THREADS];

	shared_init(&s);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, take_one, &s);
	usleep(10000);
	lock_acquire(&s.lock);
	for (int i = 0; i < THREADS; i++) {
		s.turns++;
		cond_signal(&s.cond);
	}
	lock_release(&s.lock);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(s.taken, THREADS);
	shared_finish(&s);
}

/* As xfer_run does it: the waiter's stack is gone while the signaller may still be in unlock. */
static void *finish_soon(void *shared)
{
	struct shared **at = shared;
	struct shared s;

	shared_init(&s);
	__atomic_store_n(at, &s, __ATOMIC_SEQ_CST);
	take_turn(&s);
	shared_finish(&s);
	return NULL;
}

static void a_waiter_may_end_its_condition(void **state)
{
	for (int i = 0; i < ROUNDS; i++) {
		struct shared *s = NULL;
		pthread_t thread;

		pthread_create(&thread, NULL, finish_soon, &s);
		while (__atomic_load_n(&s, __ATOMIC_SEQ_CST) == NULL)
			sched_yield();
		lock_acquire(&s->lock);
		s->turns++;
		cond_signal(&s->cond);
		lock_release(&s->lock);
		pthread_join(thread, NULL);
	}
}

static void a_deadline_ends_a_wait(void **state)
{
	uint64_t begin_ns = clock_now_ns();
	struct shared s;
	int rc = 0;

	shared_init(&s);
	lock_acquire(&s.lock);
	while (rc == 0)
		rc = cond_wait_until(&s.cond, &s.lock, begin_ns + 20 * NS_PER_MS);
	assert_int_equal(rc, -ETIMEDOUT);
	assert_true(clock_now_ns() >= begin_ns + 20 * NS_PER_MS);
	lock_assert_held(&s.lock);
	lock_release(&s.lock);
	shared_finish(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sleeps_once_a_signal),
	    cmocka_unit_test(a_signal_wakes_one_and_a_broadcast_all),
	    cmocka_unit_test(many_signals_under_one_lock_are_all_sent),
	    cmocka_unit_test(a_waiter_may_end_its_condition),
	    cmocka_unit_test(a_deadline_ends_a_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
