/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's clocks. Any thread; no state. */
#include <pailfs/clock.h>

#include <pailfs/cleanup.h>

static uint64_t system_now_ns(const struct clock *c)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static time_t system_wall_s(const struct clock *c)
{
	return time(NULL);
}

static const struct clock machine = {.now_ns = system_now_ns, .wall_s = system_wall_s};

const struct clock *clock_system(void)
{
	return &machine;
}

uint64_t clock_now_ns(void)
{
	return system_now_ns(&machine);
}

struct timespec clock_timespec(uint64_t at_ns)
{
	return (struct timespec){.tv_sec = (time_t)(at_ns / NS_PER_S),
				 .tv_nsec = (long)(at_ns % NS_PER_S)};
}
