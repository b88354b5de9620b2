/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locals that clean up after themselves.
 *
 *	CLEANUP(free) char *text = text_dup(...);
 *	return TAKE(text);		gives it away
 */
#ifndef PAILFS_CLEANUP_H
#define PAILFS_CLEANUP_H

#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

/* CLEANUP(fn): calls fn##p(&variable) when the variable goes out of scope. */
#define CLEANUP(fn) __attribute__((cleanup(fn##p)))

/* TAKE(p): the value of p; p itself becomes NULL, so that its cleanup does nothing. */
#define TAKE(p)                                                                                    \
	({                                                                                         \
		__typeof__(p) take_ = (p);                                                         \
		(p) = NULL;                                                                        \
		take_;                                                                             \
	})

/* DEFINE_CLEANUP(type, fn): makes CLEANUP(fn) work for pointers to type; fn takes NULL. */
#define DEFINE_CLEANUP(type, fn)                                                                   \
	static inline void fn##p(type **p)                                                         \
	{                                                                                          \
		fn(*p);                                                                            \
	}                                                                                          \
	struct swallow_semicolon

/* Cleanup of CLEANUP(free): any pointer that came from malloc. */
static inline void freep(void *p)
{
	free(*(void **)p);
}

/* Cleanup of CLEANUP(close): a descriptor; -1 is nothing. */
static inline void closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* SWAP(a, b): exchanges two variables of one type. */
#define SWAP(a, b)                                                                                 \
	do {                                                                                       \
		__typeof__(a) swap_ = (a);                                                         \
		(a) = (b);                                                                         \
		(b) = swap_;                                                                       \
	} while (0)

/* CONTAINER_OF(ptr, type, member): the struct around a member. */
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)
#define NS_PER_S UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)

#endif
