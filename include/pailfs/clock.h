/* SPDX-License-Identifier: Apache-2.0 */
/* Time: monotonic nanoseconds for everything that waits, wall clock for what S3 sees. */
#ifndef PAILFS_CLOCK_H
#define PAILFS_CLOCK_H

#include <stdint.h>
#include <time.h>

/*
 * A source of time. Modules with timers take one, so that a test can hand in its own
 * and move it by hand. Both functions may be called from any thread.
 */
struct clock {
	uint64_t (*now_ns)(const struct clock *c); /* monotonic, never 0 */
	time_t (*wall_s)(const struct clock *c);   /* seconds since 1970 */
};

/* The machine's clock (CLOCK_MONOTONIC, CLOCK_REALTIME). Never NULL; static. */
const struct clock *clock_system(void);

/* Now, in monotonic nanoseconds, of the machine's clock. */
uint64_t clock_now_ns(void);

/* The absolute CLOCK_MONOTONIC time of now_ns, for pthread_cond_clockwait. */
struct timespec clock_timespec(uint64_t at_ns);

#endif
