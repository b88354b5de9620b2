/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks with a rank, and waits that can be cancelled.
 *
 * Every lock has a rank; a thread takes locks only in rising rank and asserts it (per-thread
 * record of held ranks; always on, it is one compare). No lock is held across a curl call, a
 * done callback, a budget wait, a FUSE reply or any I/O.
 */
#ifndef PAILFS_LOCK_H
#define PAILFS_LOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <pailfs/cleanup.h>

/* In the order in which they may be nested: a later one may be taken under an earlier one. */
enum lock_rank {
	LOCK_FS = 1, /* the table of inodes and names */
	LOCK_INODE,  /* one inode */
	LOCK_HANDLE, /* one open handle (reader state) */
	LOCK_CACHE,  /* the block cache */
	LOCK_BUDGET, /* the memory budget */
	LOCK_XFER,   /* the scheduler */
	LOCK_PACER,  /* the token bucket of a direction */
	LOCK_CRED,   /* the current keys */
	LOCK_LOOP,   /* the inbox of an HTTP loop */
	LOCK_SLAB,   /* the free list of a slab */
	LOCK_LEAF,   /* anything that calls nothing: statistics, a waiter's flag */
	LOCK_LOG,    /* the log */
	LOCK_RANKS,
};

struct lock {
	pthread_mutex_t mutex;
	enum lock_rank rank;
	pthread_t owner; /* valid while held: for lock_assert_held */
	bool held;
};

/*
 * A condition on CLOCK_MONOTONIC. Who signals it under a lock wakes the waiters when he lets a lock
 * go: woken before, they would take his core only to wait for the lock.
 */
struct cond {
	/* atomic */
	uint32_t signals; /* the futex that waiters sleep on */
	uint32_t waiters;
};

/*
 * Who waits may be told to give up. poll is asked every 250 ms of a wait (never under a lock) and
 * answers 0 to go on or -EINTR (the caller was killed). A NULL struct cancel never cancels.
 */
struct cancel {
	int (*poll)(struct cancel *c);
};

#define CANCEL_POLL_NS (250 * NS_PER_MS)

/* Initialises a lock of that rank; finish releases it (not held). Neither fails. */
void lock_init(struct lock *l, enum lock_rank rank);
/* Ends a lock that nobody holds. */
void lock_finish(struct lock *l);
/* Takes the lock; blocks. Asserts that no lock of the same or a higher rank is held. */
void lock_acquire(struct lock *l);
/* Gives the lock back; asserts that this thread holds it. */
void lock_release(struct lock *l);
/* Asserts that this thread holds l: first line of every _locked function. */
void lock_assert_held(const struct lock *l);

/* Initialises a condition on the monotonic clock. */
void cond_init(struct cond *c);
/* Ends a condition that nobody waits on. */
void cond_finish(struct cond *c);
/* Wakes one waiter, which may end the condition as soon as it has the lock. */
void cond_signal(struct cond *c);
/* Wakes all waiters. */
void cond_broadcast(struct cond *c);
/* Waits without bound; the caller loops over its predicate. Asserts that l is held. */
void cond_wait(struct cond *c, struct lock *l);
/* Waits until deadline_ns (monotonic): 0, or -ETIMEDOUT. UINT64_MAX waits without bound. */
int cond_wait_until(struct cond *c, struct lock *l, uint64_t deadline_ns);
/*
 * Waits until woken, deadline_ns or cancelled: 0 (woken, perhaps for nothing: loop over the
 * predicate), -ETIMEDOUT or what cancel->poll answered. The lock is released while poll runs.
 */
int cond_wait_cancel(struct cond *c, struct lock *l, uint64_t deadline_ns, struct cancel *cancel);

/* What SCOPED_LOCK calls on entry. */
static inline struct lock *scoped_lock_acquire(struct lock *l)
{
	lock_acquire(l);
	return l;
}

/* What SCOPED_LOCK calls on exit. */
static inline void scoped_lock_releasep(struct lock **l)
{
	if (*l != NULL)
		lock_release(*l);
}

#define LOCK_CONCAT_(a, b) a##b
#define LOCK_CONCAT(a, b) LOCK_CONCAT_(a, b)

/* Holds the lock until the end of the enclosing block. */
#define SCOPED_LOCK(l)                                                                             \
	__attribute__((cleanup(scoped_lock_releasep), unused)) struct lock *LOCK_CONCAT(           \
	    scoped_lock_, __LINE__) = scoped_lock_acquire(l)

#endif
