/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How soon a loop gets a processor. Its thread is woken by the network, mostly on the processor
 * where the bytes came in, and works for some microseconds. Linux (from 6.12 on) lets whoever has
 * asked for shorter turns than the running thread go before it; else the loop waits for the rest of
 * that one's turn, though a reader waits for the loop. On the loop's thread, once.
 */
#include "http_private.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

/* struct sched_attr of linux/sched/types.h, which some versions of sched.h cannot stand. */
struct turn_attr {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime_ns, deadline_ns, period_ns;
};

/* The kernel's own choice is 700 us with one processor, more with several. */
#define TURN_NS (NS_PER_MS / 2)

void http_turn_shorten(void)
{
	struct turn_attr attr = {.size = sizeof(attr)};

	if (syscall(SYS_sched_getattr, 0, &attr, sizeof(attr), 0) < 0 || attr.policy != SCHED_OTHER)
		return; /* somebody has chosen, or a sandbox hides it */
	attr.runtime_ns = TURN_NS;
	syscall(SYS_sched_setattr, 0, &attr, 0);
}
