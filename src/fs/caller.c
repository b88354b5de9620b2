/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process behind a request, and whether it was killed.
 *
 * The kernel sends one INTERRUPT and then waits for the reply, so a waiting thread looks at /proc
 * itself, every CANCEL_POLL_NS, once the INTERRUPT has come. A fatal signal (SIGKILL, or Ctrl-C on
 * a default handler) puts bit 9 into SigPnd of every thread of the process; a signal with a handler
 * does not. So does a normal exit() for the siblings of the thread that calls it: then exit_code
 * (field 52 of stat, in wait() form) has no signal number in its low 7 bits.
 */
#include <pailfs/fs.h>

#include <errno.h>

#include <pailfs/cleanup.h>

#include "process.h"

/* struct cancel's poll: -EINTR once the caller was killed. */
static int caller_poll(struct cancel *cancel)
{
	struct caller *c = CONTAINER_OF(cancel, struct caller, cancel);
	struct process_state state;

	if (!__atomic_load_n(&c->interrupted, __ATOMIC_RELAXED) || c->tid == 0)
		return 0;
	if (!process_kill_pending(c->tid))
		return 0;
	if (process_state(c->tid, &state) == 0 && state.has_exit_code &&
	    (state.exit_code & 0x7f) == 0)
		return 0;
	c->killed = true;
	return -EINTR;
}

void caller_init(struct caller *c, uint32_t uid, uint32_t gid, int32_t tid)
{
	*c = (struct caller){.cancel.poll = caller_poll, .uid = uid, .gid = gid, .tid = tid};
}

void caller_interrupt(struct caller *c)
{
	__atomic_store_n(&c->interrupted, true, __ATOMIC_RELAXED);
}
